"""Reading the compared runs: samples first, logs that grow, files that are gone; on recorded runs."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event as Flag

import pytest

from lctui.console import compared_runs
from lctui.console.compared_runs import Compared, Comparison, Reader
from lctui.runs.store import Store

HOME = Path(__file__).parent.parent / "data" / "home"
RECORDED = sorted(path.name for path in (HOME / "runs").iterdir())
RUN = "eexm-quickstart"


def reader(home: Path) -> tuple[Reader, dict[str, Compared], list[Compared]]:
    """A reader, what it said last of each run, and all that it said."""
    latest: dict[str, Compared] = {}
    told: list[Compared] = []

    def tell(run: Compared) -> None:
        latest[run.id] = run
        told.append(run)

    return Reader(Store(home), tell, Flag()), latest, told


def steps_of(path: Path) -> list[dict[str, float]]:
    """The log's steps, read with the standard library."""
    return [event for line in path.read_text().splitlines() if (event := json.loads(line))["event"] == "step"]


def test_recorded_runs_are_read_as_their_files_say(home: Path) -> None:
    reading, latest, told = reader(home)
    reading.add(RECORDED)
    reading.read()
    assert sorted(latest) == RECORDED
    for run_id, run in latest.items():
        steps = steps_of(home / "runs" / run_id / "events.jsonl")
        assert run.steps is not None and not run.steps.sampled
        assert list(run.steps.columns["validation_error_pct"]) == [step["validation_error_pct"] for step in steps]
        assert run.final("test_error_pct") == run.result["final"]["test_error_pct"]
        assert run.best("test_error_pct") == (run.result["best"]["step"], run.result["best"]["test_error_pct"])
    assert len(told) == len(RECORDED)
    reading.read()
    assert len(told) == len(RECORDED), "nothing new, nothing said"


def test_large_logs_are_sampled_before_any_is_read_in_full(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared_runs, "SAMPLE_ABOVE", 5_000)
    reading, _, told = reader(home)
    reading.add(RECORDED)
    reading.read()
    sampled = [run.steps is not None and run.steps.sampled for run in told]
    assert sampled == [True] * len(RECORDED) + [False] * len(RECORDED)
    assert all(run.best("gap")[0] == run.result["best"]["step"] for run in told)


def test_a_run_may_join_while_others_are_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared_runs, "SAMPLE_ABOVE", 5_000)
    latest: dict[str, Compared] = {}

    def tell(run: Compared) -> None:
        latest[run.id] = run
        if run.id == RECORDED[0] and run.steps is not None and not run.steps.sampled:
            reading.add(RECORDED[2:3])  # now the others are being read in full

    reading = Reader(Store(home), tell, Flag())
    reading.add(RECORDED[:2])
    reading.read()
    assert sorted(latest) == RECORDED[:3]
    assert all(run.steps is not None and not run.steps.sampled for run in latest.values())


def test_a_run_that_goes_on_is_followed(home: Path) -> None:
    folder = home / "runs" / RUN
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:30]) + lines[30][:20])
    result = (folder / "result.json").read_text()
    (folder / "result.json").unlink()
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    reading, latest, _ = reader(home)
    reading.add([RUN])
    reading.read()
    before = latest[RUN]
    assert before.steps is not None and 0 < len(before.steps) < 15
    assert before.final("gap") == before.steps.columns["gap"][-1]
    assert before.best("gap")[0] is not None

    (folder / "events.jsonl").write_bytes(b"".join(lines))
    (folder / "result.json").write_text(result)
    (folder / "status.json").write_text(json.dumps(status))
    reading.read()
    after = latest[RUN]
    assert after.steps is not None and len(after.steps) == 15
    assert after.status == "finished" and after.result["steps"] == 15


def test_a_log_that_was_replaced_is_read_anew(home: Path) -> None:
    folder = home / "runs" / RUN
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    reading, latest, _ = reader(home)
    reading.add([RUN])
    reading.read()
    (folder / "events.jsonl").unlink()
    (folder / "events.jsonl").write_bytes(b"".join(lines[:30]))
    reading.read()
    steps = latest[RUN].steps
    assert steps is not None
    assert list(steps.columns["step"]) == [step["step"] for step in steps_of(folder / "events.jsonl")]


def test_runs_that_are_not_there_are_said_to_be_empty(home: Path) -> None:
    reading, latest, _ = reader(home)
    reading.add(["nope-gone"])
    reading.read()
    gone = latest["nope-gone"]
    assert gone.steps is None and gone.final("gap") is None and gone.best("gap") == (None, None)


def test_a_stopped_reader_stops(home: Path) -> None:
    stopped = Flag()
    said: list[str] = []

    def tell(run: Compared) -> None:
        said.append(run.id)
        stopped.set()

    reading = Reader(Store(home), tell, stopped)
    reading.add(RECORDED)
    reading.read()
    assert said == RECORDED[:1]


def test_the_base_is_the_pinned_run_or_the_first_drawn() -> None:
    comparison = Comparison(["a", "b", "a", "c"], None)
    assert comparison.ids == ["a", "b", "c"]
    assert comparison.base == "a"
    comparison.hidden.add("a")
    assert comparison.base == "b" and comparison.shown == ["b", "c"]
    comparison.pinned = "c"
    assert comparison.base == "c"
    comparison.pinned = "elsewhere"
    assert comparison.base == "b"
    assert Comparison([], None).base is None


def test_letters_are_those_of_the_runs_that_are_drawn() -> None:
    comparison = Comparison([f"run{i}" for i in range(8)], None)
    assert "".join(comparison.letters.values()) == "abcdefgh"
    assert len(set(comparison.colours.values())) == 8
    comparison.hidden.add("run0")
    assert comparison.letters["run1"] == "a" and "run0" not in comparison.letters
    assert comparison.add("run8") and not comparison.add("run8")
    assert comparison.letters["run8"] == "h"


def test_runs_that_share_a_name_are_told_by_their_ids() -> None:
    comparison = Comparison(["aaaa-x", "bbbb-x", "cccc-y"], None)
    comparison.runs |= {run_id: Compared(run_id, name=run_id[5:]) for run_id in comparison.ids}
    assert [comparison.name(run_id) for run_id in comparison.ids] == ["aaaa-x", "bbbb-x", "y"]


def test_numbers_of_a_result_that_are_none_are_left_out() -> None:
    result = {"final": {"gap": 10**400, "mu": "1", "loss": 2}, "best": {"step": float("nan")}}
    run = Compared("abcd-x", result=result)
    assert (run.final("gap"), run.final("mu"), run.final("loss"), run.best("gap")) == (None, None, 2, (None, None))
