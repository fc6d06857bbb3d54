"""Which process is meant: a pid alone does not say, since pids are reused.

Owns process identity (host, pid, start time), starting workers that outlive whoever started them, and how they share
the machine's cores.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
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
    """Starts a worker on a run folder of `home` in a session of its own; returns its pid.

    It has no terminal, so a hangup of the caller's does not reach it; what it prints goes to `worker.log`.
    """
    # -P keeps the current folder's files from shadowing modules; lctui itself is found where this process found it.
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "lctui.worker", str(folder), "--home", str(home), "--device", device],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
    return worker.pid
