"""What state a run is in: what its worker last said, and whether that worker still lives.

Owns `status.json` and the derivation of a run's status from it, the lock and the result.  A worker that was killed
cannot say so; the lock it no longer holds does.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event as Flag
from threading import Lock as Mutex
from threading import Thread
from typing import Any, Literal

from lctui.runs import atomic
from lctui.runs.locks import is_held
from lctui.runs.log import finite, now
from lctui.runs.process import start_time, this_machine, this_process

State = Literal["queued", "starting", "running", "finished", "failed", "diverged", "interrupted"]
Status = State | Literal["crashed", "stalled"]

AT_WORK: tuple[Status, ...] = ("starting", "running", "stalled")
"""A worker has the run, or is about to."""
AT_REST: tuple[Status, ...] = ("queued", "finished", "failed", "diverged", "interrupted", "crashed")
"""The run does not change before somebody writes its status.json."""

HEARTBEAT_SECONDS = 1.0
STALLED_AFTER_SECONDS = 60.0
START_GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """How far a worker is.  `eta_seconds` is for the whole run, None while there is nothing to judge by."""

    phase: Literal["starting", "waiting", "reference", "l_step", "finishing", "done"] = "starting"
    step: int = 0
    steps: int = 0
    epoch: int = 0
    epochs: int = 0
    batch: int = 0
    batches: int = 0
    mu: float | None = None
    gap: float | None = None
    train_error_pct: float | None = None
    validation_error_pct: float | None = None
    test_error_pct: float | None = None
    compression_ratio: float | None = None
    eta_seconds: float | None = None


def starting() -> dict[str, Any]:
    """The first words of a status, before there is a worker to say more."""
    return words("starting")


def words(state: State | Literal["crashed"], error: str | None = None) -> dict[str, Any]:
    """A status as somebody writes it who is not the worker: whoever queues, cancels or starts a run, or buries it."""
    return {"state": state, **_heartbeat(), "error": error}


def _heartbeat() -> dict[str, Any]:
    """This moment, by the clock and by what nobody can set: seconds since this machine's start."""
    return {"heartbeat": now(), "heartbeat_unix": time.time(), "machine": this_machine(), "uptime": time.monotonic()}


def _age(status: Mapping[str, Any]) -> float:
    """How long ago the last heartbeat was, in seconds; nan, which is neither young nor old, where there is none."""
    if status.get("machine") == this_machine():
        return time.monotonic() - finite(status.get("uptime"))
    return time.time() - finite(status.get("heartbeat_unix"))


@dataclass
class StatusFile:
    """The writing end of `status.json`: kept fresh by a thread until `close`.

    `on_beat` is called with every heartbeat, in the thread.
    """

    path: Path
    on_beat: Callable[[], None] = lambda: None
    state: State = "running"
    progress: Progress = field(default_factory=Progress)
    error: str | None = None

    def __post_init__(self) -> None:
        self._identity = asdict(this_process())
        self._mutex = Mutex()
        self._done = Flag()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def open(self) -> None:
        """Writes the first status and starts the heartbeat."""
        self.write()
        self._thread.start()

    def update(self, **changes: Any) -> None:
        """Changes the progress; the next heartbeat writes it."""
        self.progress = replace(self.progress, **changes)

    def write(self) -> None:
        """Writes the status as it stands."""
        record = {
            "state": self.state,
            **self._identity,
            **_heartbeat(),
            "progress": asdict(self.progress),
            "error": self.error,
        }
        with self._mutex:
            atomic.write_json(self.path, record, durable=self.state != "running")

    def fall_silent(self) -> None:
        """Writes no more: the file is somebody else's."""
        self._done.set()

    def close(self, state: State, error: str | None = None) -> None:
        """Writes the last status and ends the heartbeat."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self.state, self.error = state, error
        self.write()

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS):
            try:
                self.on_beat()
                if not self._done.is_set():
                    self.write()
            except OSError:
                # A full disk or a removed folder: training decides what to do about it, not the heartbeat.
                continue


def is_silent(file: Path, age: float) -> bool:
    """Has nothing been heard of the worker for long, if its last words are `age` seconds old?

    Where they are from another machine, that is by its own clock.  Clocks of two machines differ, and are set: by the
    clock that dates the file, too, they must be old.  Words of the future are from before a clock was set back, and
    tell as little.
    """
    if not abs(age) > STALLED_AFTER_SECONDS:
        return False
    try:
        return abs(time.time() - file.stat().st_mtime) > STALLED_AFTER_SECONDS
    except OSError:
        return True


def silence(status: Mapping[str, Any], lock: Path | None = None) -> str:
    """What a person should know of a stalled worker, from its status file: who it is, since when, what to do.

    `lock` is the lock's file; without it, it is described.
    """
    host, pid = status.get("host"), status.get("pid")
    since = f"its worker, process {pid} on {host}, has not been heard of since {status.get('heartbeat')}"
    if host != socket.gethostname():
        return f"{since}; if that machine is dead, delete {lock or 'the file `lock` in its folder'} and resume"
    if type(pid) is not int or start_time(pid) != status.get("started"):
        return f"{since} and is gone, but something that it started holds the run's lock"
    return f"{since} but lives; if it does not go on, `kill -9 {pid}`, and resume"


def derive(folder: Path) -> Status:
    """The status of the run in a folder."""
    # The lock is asked first: a worker says how it ended before it lets go.
    held = is_held(folder / "lock")
    status = atomic.read_json(folder / "status.json")
    status = status if isinstance(status, dict) else {}
    age = _age(status)
    if held:
        return "stalled" if is_silent(folder / "status.json", age) else "running"
    state = status.get("state")
    if state in ("queued", "finished", "failed", "diverged", "interrupted"):
        return state
    # A heartbeat of the future was written before the clock was set back: it is not young until the clock is there.
    if state == "starting" and abs(age) < START_GRACE_SECONDS:
        return "starting"
    # One that has begun since the lock was asked has not crashed.
    return "running" if is_held(folder / "lock") else "crashed"
