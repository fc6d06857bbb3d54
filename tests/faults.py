"""Processes that are killed at a write, or are refused it; and disks that lose what was not forced to them.

The writes are those that the product announces (`lctui.write`, `lctui.written`, `lctui.append`) and those that Python
itself does: files opened for writing, renamed, removed, folders made.  Trials are forked from a process that has
loaded torch already, so that a hundred of them take a minute.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import torch

from lctui import execution
from lctui.errors import LctuiError
from lctui.prepare import prepare
from lctui.runs import status
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from tests.conftest import tiny

Kind = Literal["kill", "torn", "refuse"]

_AT_A_PATH = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "lctui.write",
    "lctui.written",
    "lctui.append",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def net() -> torch.nn.Module:
    """A net of some hundred weights that needs its generator's state to go on exactly."""
    return torch.nn.Sequential(
        *(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(49, 12), torch.nn.ReLU()),
        *(torch.nn.Dropout(0.1), torch.nn.Linear(12, 2)),
    )


def plain_net() -> torch.nn.Module:
    """The same net without dropout, so that several can train together."""
    return torch.nn.Sequential(*(layer for layer in net() if not isinstance(layer, torch.nn.Dropout)))


SMALL: dict[str, Any] = tiny(
    name="small",
    model={"factory": f"{__name__}:net"},
    compress=[
        {"layers": ["2"], "how": [{"type": "low_rank", "rank": 1}, {"type": "prune", "kappa": 60}]},
        {"layers": ["5"], "how": {"type": "quantize", "k": 3}},
    ],
)
"""A scheme for it, whose runs take a fraction of a second."""


@dataclass(frozen=True)
class Fault:
    """What happens at a process's write number `at` under a folder; `refuse` lasts, as a full disk does, with `errno`.

    `torn`: half of what is about to be written, or was just written to a temporary file, is there; then it is killed.
    """

    kind: Kind
    at: int
    errno: int = 0


class _Listener:
    """Counts this process's writes under a folder, and sees to the fault."""

    def __init__(self, folder: Path, fault: Fault | None) -> None:
        self.folder, self.fault, self.count = str(folder), fault, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not (arguments[2] or 0) & _WRITING:
                return
        elif event not in _AT_A_PATH:
            return
        if not isinstance(arguments[0], str | Path) or not str(arguments[0]).startswith(self.folder):
            return
        # Only the run's own thread counts, so that a number means the same write every time.
        self.count += threading.current_thread() is threading.main_thread()
        if self.fault is not None and self.count >= self.fault.at:
            self._happen(self.fault, event, arguments)

    def _happen(self, fault: Fault, event: str, arguments: tuple[Any, ...]) -> None:
        if fault.kind == "refuse":
            raise OSError(fault.errno, os.strerror(fault.errno), str(arguments[0]))
        self.fault = None
        if fault.kind == "torn" and event == "lctui.append":
            descriptor = os.open(arguments[0], os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, arguments[1][: len(arguments[1]) // 2])
        elif fault.kind == "torn" and event == "lctui.written":
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)


class Trial:
    """The small scheme worked on in one home by processes that end however they are made to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.outcome = home.with_name(f"{home.name}.outcome")
        self.ledger = home.with_name(f"{home.name}.ledger")

    def work(self, fault: Fault | None = None, seconds: float | None = None) -> dict[str, Any]:
        """Starts or resumes the run in a process, which is killed after some seconds if it is told so.

        Returns:
            `writes`: how many there were, `error`: what it said, both unless it was killed.
        """
        self.outcome.unlink(missing_ok=True)
        if self.run is not None and self.run.status() == "finished":
            return {"error": None}
        process = _started(_work, self.home, fault, self.outcome, self.ledger)
        process.join(seconds)
        process.kill()
        process.join()
        if self.outcome.exists():
            return dict(json.loads(self.outcome.read_text()))
        assert process.exitcode == -signal.SIGKILL, process.exitcode
        return {}

    @property
    def run(self) -> Run | None:
        """The run, if there is one."""
        runs = Store(self.home).folders()
        assert len(runs) <= 1
        return runs[0] if runs else None

    def lose_power(self) -> None:
        """What was not forced to the disk is lost: files replaced without that are empty, logs end where they did."""
        for file in _unsafe(self.ledger):
            if file.exists():
                file.write_bytes(b"")
        for log in self.home.glob("runs/*/events.jsonl"):
            content, safe = log.read_bytes(), _synced(self.ledger).get(str(log), 0)
            log.write_bytes(content[:safe] + bytes(min(len(content) - safe, 7)))


def _started(target: Any, *arguments: Any) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def _work(home: Path, fault: Fault | None, outcome: Path, ledger: Path) -> None:
    """In a process of its own: what a worker does, with a checkpoint after every epoch and a quick heartbeat."""
    torch.set_num_threads(1)
    execution.SAVE_SHARE, status.HEARTBEAT_SECONDS = math.inf, 0.02
    _keep_ledger(ledger)
    listener, error = _Listener(home, fault), None
    sys.addaudithook(listener)
    try:
        runs = Store(home).folders()
        run = runs[0] if runs else new_run(Store(home), Scheme.model_validate(SMALL), "cpu")
        execution.execute(run, prepare(run.scheme(), home, "cpu", ""), home, StopRequest(), execution.Nobody())
    except LctuiError as failure:
        error = str(failure)
    listener.fault = None
    outcome.write_text(json.dumps({"writes": listener.count, "error": error}))


def _keep_ledger(path: Path) -> None:
    """Writes down what is forced to the disk, and what is renamed."""
    kept = path.open("a", buffering=1)
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        kept.write(json.dumps(["synced", name, os.fstat(descriptor).st_size]) + "\n")

    def note_renames(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            kept.write(json.dumps(["renamed", str(arguments[0]), str(arguments[1])]) + "\n")

    os.fsync = noting
    sys.addaudithook(note_renames)


def _entries(ledger: Path) -> list[Any]:
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def _synced(ledger: Path) -> dict[str, int]:
    """How much of each file was on the disk when it was last forced there."""
    return {path: size for kind, path, size in _entries(ledger) if kind == "synced"}


def _unsafe(ledger: Path) -> list[Path]:
    """Files that were put in their place before their content was on the disk."""
    synced: set[str] = set()
    unsafe: dict[str, None] = {}
    for kind, path, more in _entries(ledger):
        if kind == "synced":
            synced.add(path)
        elif path in synced:
            synced.add(more)
            unsafe.pop(more, None)
        else:
            unsafe[more] = None
    return [Path(path) for path in unsafe]
