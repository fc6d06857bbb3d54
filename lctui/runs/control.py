"""Asking a worker to stop, and whether a run can go on.

Owns the request file, which works across hosts and never reaches a process that merely has the worker's old pid.
"""

from __future__ import annotations

import time
from typing import Any

from lctui.errors import BadInput, RunFailed
from lctui.runs import atomic
from lctui.runs.locks import is_held
from lctui.runs.status import AT_WORK, HEARTBEAT_SECONDS, Status, silence, starting
from lctui.runs.store import Run

STOP_TIMEOUT_SECONDS = 120.0


def ask_to_stop(run: Run) -> None:
    """Asks the run's worker to stop after its batch, and does not wait for it.

    Raises:
        BadInput: it is not running.
    """
    run.require_known()
    status = run.status()
    if status not in AT_WORK:
        raise BadInput.one("", run.id, f"is not running: {status}")
    run.file("stop").touch()


def request_stop(run: Run, timeout: float = STOP_TIMEOUT_SECONDS) -> Status:
    """As `ask_to_stop`, and waits until it has; returns the status then.

    Raises:
        BadInput: it is not running.
        RunFailed: it has not stopped in `timeout` seconds.
    """
    ask_to_stop(run)
    deadline = time.monotonic() + timeout
    while is_held(run.file("lock")) or run.status() == "starting":
        if time.monotonic() > deadline:
            why = f": {_silence(run)}" if run.status() == "stalled" else ""
            raise RunFailed(f"{run.id} has not stopped after {timeout:.0f} s; the request stands{why}")
        time.sleep(HEARTBEAT_SECONDS / 5)
    return run.status()


def mark_starting(run: Run, device: str) -> None:
    """Says that a worker is on its way, so that nobody takes the run for dead before it has its lock, and where to."""
    remember_device(run, device)
    atomic.write_json(run.file("status.json"), run.read("status.json") | starting())


def remember_device(run: Run, device: str, **facts: Any) -> None:
    """The device that was asked for last, and further facts for `meta.json`."""
    atomic.write_json(run.file("meta.json"), run.read("meta.json") | {"requested_device": device, **facts})


def prepare_to_resume(run: Run) -> None:
    """Withdraws a request to stop that a dead worker never met.

    Raises:
        BadInput: the run is finished, queued or running, has diverged, or a newer lctui wrote it.
    """
    run.require_known()
    status = run.status()
    if status == "finished":
        raise BadInput.one("", run.id, f"is finished; `lctui show {run.id}` shows its result")
    if status == "queued":
        raise BadInput.one("", run.id, "is queued; `lctui queue` shows its place")
    if status == "stalled":
        raise BadInput.one("", run.id, f"is stalled: {_silence(run)}")
    if status in AT_WORK:
        raise BadInput.one("", run.id, f"is {status}; `lctui stop {run.id}` first")
    if status == "diverged":
        # The checkpoint is good; but what is computed from it is what was computed before.
        why = run.read("status.json").get("error") or "it left the finite numbers"
        rule = "the same numbers would do so again: change that setting and start a new run"
        raise BadInput.one("", run.id, f"has diverged ({why}); {rule}")
    run.file("stop").unlink(missing_ok=True)


def _silence(run: Run) -> str:
    return silence(run.read("status.json"), run.file("lock"))
