"""Which process is meant: a pid alone does not say, since pids are reused.

Owns process identity (host, pid, start time), starting workers that outlive whoever started them, and how they share
the machine's cores.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


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


def is_alive(identity: Identity) -> bool | None:
    """Does the process still run?  None if it is on another host."""
    if identity.host != socket.gethostname():
        return None
    return start_time(identity.pid) == identity.started


def share_the_cores() -> None:
    """Lets idle OpenMP threads sleep, in this process and its children; call it before torch is loaded.

    By default they spin while they wait, which costs every process on a busy machine several times its own time
    (an L step beside one other run on two cores: 33 s spinning, 19 s sleeping).  What the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def start_worker(folder: Path, arguments: list[str]) -> int:
    """Starts a worker on a run folder in a session of its own; returns its pid.

    It has no terminal, so a hangup of the caller's does not reach it; what it prints goes to `worker.log`.
    """
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "lctui.worker", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
    return worker.pid
