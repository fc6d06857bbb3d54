"""Asking a run to stop, by signal or by file, and knowing whether it can go on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lctui.errors import BadInput, RunFailed
from lctui.runs import atomic, control
from lctui.runs.control import ask_to_stop, prepare_to_resume, request_stop
from lctui.runs.stopping import SIGNALS, StopRequest
from lctui.runs.store import Run
from tests.runs.children import HOLD, child

STOPS_WHEN_ASKED = """
import sys, time
from pathlib import Path
from lctui.runs import atomic
from lctui.runs.locks import Lock
folder = Path(sys.argv[1])
lock = Lock(folder / "lock")
assert lock.acquire()
atomic.write_json(folder / "status.json", {"state": "running", "heartbeat_unix": time.time()})
print("ready", flush=True)
while not (folder / "stop").exists():
    pass
(folder / "stop").unlink()
atomic.write_json(folder / "status.json", {"state": "interrupted"})
lock.release()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "abcd-net").mkdir()
    return Run(tmp_path / "abcd-net")


def say(run: Run, state: str) -> None:
    import time

    atomic.write_json(run.file("status.json"), {"state": state, "heartbeat_unix": time.time()})


def test_a_worker_that_is_asked_to_stop_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "HEARTBEAT_SECONDS", 0.01)
    with child(STOPS_WHEN_ASKED, run.folder):
        assert request_stop(run, timeout=60) == "interrupted"
    assert not run.file("stop").exists()


def test_asking_does_not_wait(run: Run) -> None:
    with child(HOLD, run.file("lock")):
        ask_to_stop(run)
        assert run.file("stop").exists() and run.status() == "running"
    run.file("stop").unlink()
    with pytest.raises(BadInput, match="is not running: crashed"):
        ask_to_stop(run)
    assert not run.file("stop").exists()


def test_a_worker_that_does_not_stop_is_reported_and_stays_asked(run: Run) -> None:
    with child(HOLD, run.file("lock")):
        with pytest.raises(RunFailed, match="has not stopped after 0 s"):
            request_stop(run, timeout=0)
        assert run.file("stop").exists()


@pytest.mark.parametrize("state", ["finished", "failed", "diverged", "interrupted", "crashed"])
def test_a_run_that_is_not_running_cannot_be_stopped(state: str, run: Run) -> None:
    say(run, state)
    with pytest.raises(BadInput) as caught:
        request_stop(run)
    assert caught.value.lines() == [f"abcd-net: is not running: {state}"]
    assert not run.file("stop").exists()


@pytest.mark.parametrize("state", ["interrupted", "crashed", "failed"])
def test_a_run_at_rest_can_go_on_and_is_asked_to_stop_no_more(state: str, run: Run) -> None:
    say(run, state)
    run.file("stop").touch()
    prepare_to_resume(run)
    assert not run.file("stop").exists()


def test_a_finished_run_cannot_go_on(run: Run) -> None:
    say(run, "finished")
    with pytest.raises(BadInput, match="is finished; `lctui show abcd-net`"):
        prepare_to_resume(run)


def test_a_queued_run_goes_on_when_its_turn_comes(run: Run) -> None:
    say(run, "queued")
    with pytest.raises(BadInput, match="is queued; `lctui queue` shows its place"):
        prepare_to_resume(run)


def test_a_run_under_way_cannot_go_on_twice(run: Run) -> None:
    say(run, "starting")
    with pytest.raises(BadInput, match="is starting"):
        prepare_to_resume(run)
    with child(HOLD, run.file("lock")):
        run.file("stop").touch()
        with pytest.raises(BadInput, match="is running; `lctui stop abcd-net` first"):
            prepare_to_resume(run)
        assert run.file("stop").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_for_a_stop_and_the_old_answer_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopRequest()
    with stop.on_signals():
        assert not stop()
        signal.raise_signal(number)
        assert stop()
    assert signal.getsignal(number) == before
    assert not StopRequest()()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process(number: signal.Signals) -> None:
    code = """
import sys
from lctui.runs.stopping import StopRequest
stop = StopRequest()
with stop.on_signals():
    print("ready", flush=True)
    while not stop():
        pass
    print("asked", flush=True)
    sys.stdin.read()
"""
    with child(code) as process:
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)
        assert process.wait(timeout=60) == -number
