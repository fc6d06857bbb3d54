"""The history of a run: the same numbers as its deduplicated events, in any batches; samples of large logs."""

from __future__ import annotations

import json
from itertools import pairwise
from math import inf, isnan, nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lctui.headless.words import learned, size_of
from lctui.runs import follow
from lctui.runs.follow import Columns, RunHistory, TaskHistory, histories
from lctui.runs.log import read_events
from lctui.scheme.measure import ERROR

RECORDED = sorted((Path(__file__).parents[1] / "data" / "home" / "runs").glob("*/events.jsonl"))

ODD = (None, "3", True, nan, inf, 10**400, [1], {"a": 1}, 2.5)
NUMBER = st.one_of(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.sampled_from(ODD))
TASK = st.fixed_dictionaries(
    {"layers": st.just(["fc1"]), "type": st.sampled_from(["prune", "low_rank"]), "rank": NUMBER, "bits": NUMBER}
)
LAYERS = st.one_of(st.lists(st.one_of(TASK, TASK, st.just({}), st.just(3)), max_size=3), st.sampled_from(ODD))
EVENT = st.fixed_dictionaries(
    {
        "event": st.sampled_from(
            ["step", "epoch", "reference_epoch", "reference_finished", "direct_compression", "run_started", "new"]
        )
    },
    optional={"step": NUMBER, "epoch": NUMBER, "epochs": NUMBER, "loss": NUMBER, "layers": LAYERS},
)
RESUMED = st.fixed_dictionaries(
    {"event": st.just("run_resumed"), "phase": st.sampled_from(["reference", "l_step", "l_step", None])},
    optional={"step": NUMBER, "epoch": NUMBER},
)
EVENTS = st.lists(st.one_of(EVENT, EVENT, EVENT, RESUMED), max_size=40)


def state(history: RunHistory) -> Any:
    """All that a history holds, comparable: nan equals nan."""

    def table(columns: Columns) -> dict[str, list[str]]:
        return {name: list(map(repr, columns[name])) for name in columns.names}

    def task(each: TaskHistory) -> Any:
        return each.layers, each.type, table(each.numbers), repr(each.last)

    tables = [table(columns) for columns in (history.reference, history.epochs, history.steps)]
    texts = [repr(each) for each in (history.direct, history.reference_errors, list(history.recent))]
    return tables, texts, [task(each) for each in history.tasks]


def of(events: list[dict[str, Any]]) -> RunHistory:
    history = RunHistory()
    history.extend(events)
    return history


@settings(max_examples=400, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 40), max_size=5))
def test_resumed_runs_count_once_in_any_batches(events: list[dict[str, Any]], cuts: list[int]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        file.write_text("".join(json.dumps(event) + "\n" for event in events))
        once = read_events(file)
        # As it is read: too large a number is no number in JSON either.
        events = list(follow.EventTail(file).read(1 << 30))
    expected = state(of(once))
    assert state(of(events)) == expected
    batched, edges = RunHistory(), [0, *sorted(cuts), len(events)]
    for start, end in pairwise(edges):
        batched.extend(events[start:end])
    assert state(batched) == expected


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_columns_of_a_history_grow_together(events: list[dict[str, Any]]) -> None:
    history = of(events)
    for columns in (history.reference, history.epochs, history.steps, *(task.numbers for task in history.tasks)):
        assert {len(columns[name]) for name in columns.names} == {len(columns)}
    assert all(len(task.numbers) == len(history.steps) for task in history.tasks)
    assert all(event["event"] != "epoch" and "layers" not in event for event in history.recent)


def test_a_run_that_goes_back_far_keeps_the_numbers_of_its_tasks() -> None:
    task = {"layers": ["fc1"], "type": "low_rank", "bits": 64, "codebook": [1.0]}
    history = of([{"event": "step", "step": step, "layers": [task | {"rank": step}]} for step in range(1, 201)])
    assert history.tasks[0].last == task | {"rank": 200}
    history.extend([{"event": "run_resumed", "phase": "l_step", "step": 190, "epoch": 0}])
    assert history.tasks[0].last == task | {"rank": 190}
    history.extend([{"event": "run_resumed", "phase": "l_step", "step": 20, "epoch": 0}])
    assert history.tasks[0].last == {"layers": ["fc1"], "type": "low_rank", "rank": 20, "bits": 64}
    assert history.tasks[0].numbers["rank"].tolist() == list(range(1, 21))


def test_time_in_steps() -> None:
    history = of(
        [
            {"event": "epoch", "step": 1, "epoch": 2, "epochs": 4},
            {"event": "epoch", "step": 3, "epoch": 4, "epochs": 4},
            {"event": "epoch", "step": 3, "epoch": 4, "epochs": 0},
        ]
    )
    assert history.epochs["x"][:2].tolist() == [0.5, 3.0]
    assert isnan(history.epochs["x"][2])


@pytest.mark.parametrize("value", ODD[:-1])
def test_what_is_no_finite_number_is_missing(value: Any) -> None:
    one, many = Columns("loss"), Columns("loss")
    one.append({"loss": value})
    many.extend([{"loss": value}, {"loss": 1}, {}])
    assert isnan(one["loss"][0])
    assert [str(each) for each in many["loss"]] == ["nan", "1.0", "nan"]


def test_columns_are_cut_and_padded_together() -> None:
    columns = Columns("a", "b")
    columns.extend([{"a": i, "b": -i} for i in range(4)])
    columns.truncate(3)
    columns.keep([True, False, True])
    columns.pad(3)
    assert columns["a"].tolist()[:2] == [0, 2]
    assert columns["b"].tolist()[:2] == [0, -2]
    assert len(columns) == 3
    assert isnan(columns["b"][2])


@pytest.mark.parametrize("file", RECORDED, ids=[file.parent.name for file in RECORDED])
def test_recorded_runs(file: Path) -> None:
    (history,) = histories(file)
    steps = [event for event in read_events(file) if event["event"] == "step"]
    assert history.steps["test_error_pct"].tolist() == [event["test_error_pct"] for event in steps]
    assert history.tasks[0].last == steps[-1]["layers"][0]
    assert history.recent[-1]["event"] == "run_finished"
    assert history.direct is not None
    assert not history.sampled


def large(file: Path, count: int) -> None:
    task = {"layers": ["fc1"], "type": "quantize", "codebook": [0.125] * 20, "bits": 9}
    events: list[dict[str, Any]] = [{"event": "run_started"}, {"event": "direct_compression", "layers": [task]}]
    for step in range(1, count + 1):
        events += [{"event": "epoch", "step": step, "epoch": e, "epochs": 2, "loss": 1.0} for e in (1, 2)]
        events.append({"event": "step", "step": step, "gap": 1 / step, "layers": [task]})
        if step == count // 2:
            events.append({"event": "run_resumed", "phase": "l_step", "step": step - 20, "epoch": 0})
            events += [{"event": "step", "step": s, "gap": 2.0, "layers": [task]} for s in range(step - 19, step + 1)]
    file.write_text("".join(json.dumps(event) + "\n" for event in events))


def test_a_large_log_is_sampled_from_its_beginning_to_its_end_first(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    large(file, 5000)
    sample, *growing = histories(file, sample_above=1 << 18)
    assert sample.sampled
    steps = sample.steps["step"].tolist()
    assert (steps[0], steps[-1]) == (1, 5000)
    assert steps == sorted(set(steps))
    assert max(b - a for a, b in pairwise(steps)) < 100
    assert sample.direct is not None
    assert sample.tasks[0].layers == ("fc1",)
    xs = sample.epochs["x"].tolist()
    assert xs == sorted(set(xs))
    assert len(growing) > 1
    assert growing[-1].steps["step"].tolist() == list(range(1, 5001))
    assert state(growing[-1]) == state(of(read_events(file)))
    assert not growing[-1].sampled


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), EVENT.map(lambda e: json.dumps(e).encode())), max_size=30))
def test_a_sample_of_any_file(lines: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        file.write_bytes(b"\n".join(lines))
        found = list(histories(file, sample_above=-1))
    assert found[0].sampled
    assert not found[-1].sampled


def test_logs_that_are_not_there_or_hold_one_huge_line(tmp_path: Path) -> None:
    assert [len(history.steps) for history in histories(tmp_path / "no")] == [0]
    assert [len(history.steps) for history in histories(tmp_path, sample_above=-1)] == [0, 0]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"event": "step", "step": 1, "codebook": [' + b"0.25, " * 300_000 + b"1]}\n")
    assert [len(history.steps) for history in histories(file, sample_above=1 << 20)][-1] == 1
    file.write_bytes(b"x" * (1 << 22))
    assert [len(history.steps) for history in histories(file, sample_above=1 << 20)] == [0, 0]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.just(10**400), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["rank", "codebook", "parts"]), inner, max_size=2)
    ),
    max_leaves=5,
)
ODD_TASK = st.dictionaries(
    st.sampled_from(["layers", "type", "rank", "nonzeros", "groups_kept", "bits", "codebook", "parts"]),
    JSON,
    max_size=5,
)
ODD_EVENT = st.fixed_dictionaries(
    {"event": st.sampled_from(["step", "direct_compression", "reference_finished", "reference_epoch", "epoch"])},
    optional={
        "step": JSON,
        "epoch": JSON,
        "test_error_pct": JSON,
        "compressed_bits": JSON,
        "compression_ratio": JSON,
        "error": JSON,
        "layers": st.one_of(JSON, st.lists(st.one_of(ODD_TASK, JSON), max_size=3)),
    },
)


@given(st.lists(ODD_EVENT, max_size=6))
def test_whoever_wrote_the_log_what_is_kept_of_it_can_be_worded(events: list[dict[str, Any]]) -> None:
    history = of(events)
    for task in history.tasks:
        assert isinstance(learned(task.last), str)
        assert size_of(task.last.get("bits") or 0)
        assert all(isinstance(name, str) for name in task.last.get("layers", []))
    for block in filter(None, (history.direct, history.reference_errors)):
        assert ERROR.text(block.get("test_error_pct"))
        assert size_of(block.get("compressed_bits") or 0)
        assert type(block.get("compression_ratio")) in (int, float, type(None))


def test_what_a_task_learned_is_kept_where_it_is_right() -> None:
    task = {"layers": ["fc1", 3], "type": "prune", "rank": 2, "nonzeros": None, "codebook": [0.5, "x"], "theta": "any"}
    part = {"nonzeros": 7, "codebook": [-1, 1.5]}
    history = of([{"event": "step", "layers": [task, {"parts": [part | {"bits": "9"}]}]}])
    assert history.tasks[0].last == {"layers": ["fc1"], "type": "prune", "rank": 2, "theta": "any"}
    assert history.tasks[1].last == {"parts": [part]}


def test_the_best_step_is_the_later_of_equals() -> None:
    history = of([{"event": "step", "validation_error_pct": error} for error in (3, 2.5, None, 2.5, 9)])
    assert history.best_step() == 3
    assert of([{"event": "step", "test_error_pct": 1}]).best_step() is None
