"""A run's status is derived: from what its worker said, whether the worker lives, and how long it has been silent."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lctui.errors import BadInput
from lctui.runs import atomic, status
from lctui.runs.control import prepare_to_resume
from lctui.runs.locks import Lock
from lctui.runs.process import start_time
from lctui.runs.status import Progress, StatusFile, derive
from lctui.runs.store import Run
from tests.runs.children import HOLD, child, kill


def say(folder: Path, state: Any, age: float = 0.0, **fields: Any) -> None:
    then = time.time() - age
    atomic.write_json(folder / "status.json", {"state": state, "heartbeat_unix": then} | fields)
    os.utime(folder / "status.json", (then, then))


@pytest.mark.parametrize("state", ["queued", "finished", "failed", "diverged", "interrupted"])
def test_a_run_at_rest_is_what_was_said_last(state: str, tmp_path: Path) -> None:
    say(tmp_path, state, age=1e6)
    assert derive(tmp_path) == state


def test_a_run_is_running_while_its_worker_has_the_lock_and_crashed_once_it_was_killed(tmp_path: Path) -> None:
    say(tmp_path, "running")
    with child(HOLD, tmp_path / "lock") as process:
        assert derive(tmp_path) == "running"
        kill(process)
        assert derive(tmp_path) == "crashed"


def test_a_worker_that_lives_but_is_silent_has_stalled(tmp_path: Path) -> None:
    with child(HOLD, tmp_path / "lock"):
        say(tmp_path, "running", age=status.STALLED_AFTER_SECONDS + 5)
        assert derive(tmp_path) == "stalled"
        say(tmp_path, "running", age=status.STALLED_AFTER_SECONDS - 30)
        assert derive(tmp_path) == "running"


@pytest.mark.parametrize("ahead", [-1e6, 1e6])
def test_a_worker_whose_clock_differs_has_not_stalled(ahead: float, tmp_path: Path) -> None:
    """The file that it writes every second is young by the clock that dates files."""
    with child(HOLD, tmp_path / "lock"):
        say(tmp_path, "running", age=-ahead)
        os.utime(tmp_path / "status.json")
        assert derive(tmp_path) == "running"
        say(tmp_path, "running", age=-ahead)  # silent since before a clock was set
        assert derive(tmp_path) == "stalled"


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_set_between_two_heartbeats_changes_no_status(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one machine, the time since its start says how old a heartbeat is."""
    status.StatusFile(tmp_path / "running").write()
    running = json.loads((tmp_path / "running").read_text())
    wrong = time.time() + days * 86400
    monkeypatch.setattr(time, "time", lambda: wrong)
    atomic.write_json(tmp_path / "status.json", status.starting() | {"heartbeat_unix": wrong - days * 86400})
    assert derive(tmp_path) == "starting"
    atomic.write_json(tmp_path / "status.json", running)
    with child(HOLD, tmp_path / "lock"):
        assert derive(tmp_path) == "running"
        atomic.write_json(tmp_path / "status.json", running | {"uptime": time.monotonic() - 100})
        assert derive(tmp_path) == "stalled"
        atomic.write_json(tmp_path / "status.json", running | {"machine": "another", "uptime": time.monotonic()})
        assert derive(tmp_path) == "stalled"


def test_of_a_stalled_worker_is_said_who_since_when_and_what_to_do(tmp_path: Path) -> None:
    """A pid alone says nothing: a process that lives but began at another time is not the worker."""
    since = "has not been heard of since 2026-01-02T03:04:05Z"
    run = Run(tmp_path / "abcd")
    run.folder.mkdir()
    with child(HOLD, run.file("lock")) as process:
        own = {"pid": process.pid, "started": start_time(process.pid), "host": socket.gethostname()}
        for who, what in (
            ({"host": "far"}, f"on far, {since}; if that machine is dead, delete {run.file('lock')} and resume"),
            ({}, f"on {own['host']}, {since} but lives; if it does not go on, `kill -9 {process.pid}`, and resume"),
            ({"started": "1"}, f"on {own['host']}, {since} and is gone, but something that it started holds"),
        ):
            say(run.folder, "running", age=1e4, **(own | {"heartbeat": "2026-01-02T03:04:05Z"} | who))
            with pytest.raises(BadInput) as caught:
                prepare_to_resume(run)
            (line,) = caught.value.lines()
            assert line.startswith(f"abcd: is stalled: its worker, process {process.pid} {what}")
            assert since in run.summary()["error"]
    assert derive(run.folder) == "crashed"
    prepare_to_resume(run)


def test_a_resumed_run_is_running_whatever_its_last_worker_said(tmp_path: Path) -> None:
    with child(HOLD, tmp_path / "lock"):
        for state in ("interrupted", "starting", "running", "failed"):
            say(tmp_path, state)
            assert derive(tmp_path) == "running"


def test_a_run_without_a_worker_yet_is_starting_for_a_while(tmp_path: Path) -> None:
    say(tmp_path, "starting")
    assert derive(tmp_path) == "starting"
    say(tmp_path, "starting", age=status.START_GRACE_SECONDS + 5)
    assert derive(tmp_path) == "crashed"


def test_a_clock_that_was_set_back_keeps_no_run_starting(tmp_path: Path) -> None:
    say(tmp_path, "starting", age=-10)
    assert derive(tmp_path) == "starting"
    say(tmp_path, "starting", age=-status.START_GRACE_SECONDS - 60)
    assert derive(tmp_path) == "crashed"


@pytest.mark.parametrize("beat", ["null", '"x"', "true", "[]", "NaN", "-Infinity", "1" + "0" * 400])
def test_a_heartbeat_that_is_no_time_is_none(beat: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(f'{{"state": "starting", "heartbeat_unix": {beat}}}')
    assert derive(tmp_path) == "crashed"
    with child(HOLD, tmp_path / "lock"):
        assert derive(tmp_path) == "running"


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "3", "{}", '{"state": 3}', '{"state": "starting", "heartbeat_unix": "x"}']
)
def test_a_broken_status_without_a_worker_is_a_crash(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "status.json").write_text(content)
    assert derive(tmp_path) == "crashed"
    assert derive(tmp_path / "missing") == "crashed"


def test_a_worker_that_ends_while_it_is_looked_at_has_not_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(tmp_path, "running")
    worker = Lock(tmp_path / "lock")
    assert worker.acquire()
    real = status.is_held

    def held(path: Path) -> bool:
        say(tmp_path, "finished")
        worker.release()
        return real(path)

    monkeypatch.setattr(status, "is_held", held)
    assert derive(tmp_path) == "finished"


def test_a_worker_that_begins_while_it_is_looked_at_has_not_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(tmp_path, "interrupted")
    worker = Lock(tmp_path / "lock")
    real = status.is_held

    def held(path: Path) -> bool:
        before = real(path)
        worker.acquire()
        say(tmp_path, "running")
        return before

    monkeypatch.setattr(status, "is_held", held)
    assert derive(tmp_path) == "running"
    worker.release()


def test_the_file_says_who_works_and_how_far_it_is(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "status.json")
    file.open()
    file.update(phase="l_step", step=3, steps=9, mu=0.5)
    file.write()
    said = json.loads(file.path.read_text())
    assert said["state"] == "running"
    assert (said["progress"]["step"], said["progress"]["steps"], said["progress"]["mu"]) == (3, 9, 0.5)
    assert said["pid"] > 0
    assert said["started"]
    assert said["host"]
    assert abs(said["heartbeat_unix"] - time.time()) < 60
    file.close("failed", "out of memory")
    said = json.loads(file.path.read_text())
    assert (said["state"], said["error"], said["progress"]["step"]) == ("failed", "out of memory", 3)
    assert derive(tmp_path) == "failed"


def test_the_heartbeat_goes_on_by_itself_and_ends_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "HEARTBEAT_SECONDS", 0.001)
    beaten = Event()
    file = StatusFile(tmp_path / "status.json", on_beat=beaten.set)
    file.open()
    assert beaten.wait(timeout=30)
    file.close("finished")
    before = file.path.read_bytes()
    assert not file._thread.is_alive()
    assert file.path.read_bytes() == before


def test_a_heartbeat_outlives_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HEARTBEAT_SECONDS", 0.001)
    beaten = [Event(), Event()]
    folder = tmp_path / "run"
    folder.mkdir()

    def beat() -> None:
        (beaten[0] if not beaten[0].is_set() else beaten[1]).set()
        if not beaten[1].is_set():
            raise OSError("disk full")

    file = StatusFile(folder / "status.json", on_beat=beat)
    file.open()
    assert all(event.wait(timeout=30) for event in beaten)
    file.close("finished")


def test_a_file_that_was_never_opened_can_be_closed(tmp_path: Path) -> None:
    StatusFile(tmp_path / "status.json").close("failed", "no data")
    assert derive(tmp_path) == "failed"


def test_progress_says_nothing_it_does_not_know() -> None:
    assert Progress().eta_seconds is None
    assert Progress().test_error_pct is None
