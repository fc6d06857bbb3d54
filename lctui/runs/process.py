"""Which process is meant: a pid alone does not say, since pids are reused.

Owns process identity (host, pid, start time), starting processes that outlive whoever started them, and how they
share the machine's cores.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lctui.errors import BadInput


@dataclass(frozen=True)
class Identity:
    """A process, told apart from any later one with its pid."""

    host: str
    pid: int
    started: str


def this_process() -> Identity:
    """The identity of the running process."""
    return Identity(socket.gethostname(), os.getpid(), start_time(os.getpid()) or "")


def start_time(pid: int) -> str | None:
    """When a process started, in an opaque form that is equal for one process and differs between two; None if gone."""
    try:
        # Field 22 of /proc/PID/stat, after the command name, which may itself hold spaces and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


@cache
def this_machine() -> str:
    """This machine since it was started, and this process's view of it: where a pid means the same process.

    A host's name alone does not say: containers, and machines that were copied, may share one.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 (not a file)
    except OSError:  # not Linux
        return f"{socket.gethostname()}/{uuid.getnode():x}"


def share_the_cores() -> None:
    """Lets idle OpenMP threads sleep soon, in this process and its children; call it before torch is loaded.

    By default they spin for long while they wait, at the expense of whatever else runs: two L steps side by side on
    two cores take 15 to 19 s an epoch so, 11 to 12 s with short spins, and one alone is as fast either way.  What the
    user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def require_device_name(name: str) -> None:
    """Raises BadInput unless the name is one that a device can have; whether there is such a device, torch knows."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise BadInput.one("", "--device", f"{name!r} is not a device: auto, cpu, cuda or cuda:N")


def start_worker(folder: Path, home: Path, device: str) -> int:
    """Starts a worker on a run folder of `home` in a session of its own; returns its pid."""
    return launch_worker(folder, home, device).pid


def launch_worker(
    folder: Path,
    home: Path,
    device: str,
    *,
    where: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a worker on a run folder, as `launch` does; what it prints goes to `worker.log`."""
    arguments = [str(folder), "--home", str(home), "--device", device]
    return launch("lctui.worker", arguments, folder / "worker.log", where=where, environment=environment)


_children: list[subprocess.Popen[bytes]] = []


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of lctui's; files of the folder that it runs in do not shadow modules."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which lctui is found where this process found it."""
    paths = [str(Path(__file__).parents[2]), *filter(None, [base.get("PYTHONPATH")])]
    return {**base, "PYTHONPATH": os.pathsep.join(paths)}


def launch(
    module: str,
    arguments: Sequence[str],
    log: Path,
    *,
    where: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a module of lctui's as a process with a session of its own, which prints to the end of `log`.

    It has no terminal, so a hangup of the caller's does not reach it.  It works in the folder `where` (default: the
    current one); `environment` holds variables that it has otherwise than the caller, None for those it has not.
    """
    variables: dict[str, str | None] = {**os.environ, **(environment or {})}
    with log.open("ab") as printed:
        child = subprocess.Popen(
            module_command(module, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
            close_fds=True,
            cwd=where,
            env=module_environment({name: value for name, value in variables.items() if value is not None}),
        )
    # Kept until they have ended, and looked at when the next one starts: a console leaves few zombies so.
    _children[:] = [*(other for other in _children if other.poll() is None), child]
    return child
