"""Fronts, differences, best steps and comparability, against brute force and on recorded runs."""

from __future__ import annotations

import json
from itertools import groupby
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.console.comparison import (
    METRICS,
    OUTCOMES,
    Point,
    Steps,
    comparable,
    differences,
    pareto_front,
    point,
    value_text,
)
from lctui.runs.facts import facts_of
from lctui.runs.follow import best_step
from lctui.runs.store import Run

RUNS = Path(__file__).parent.parent / "data" / "home" / "runs"
RECORDED = sorted(path.name for path in RUNS.iterdir())

coordinate = st.one_of(st.integers(0, 6).map(float), st.floats(allow_nan=True, allow_infinity=True))


def beaten(each: Point, by: Point) -> bool:
    """The definition: no worse in both, better in one."""
    no_worse = by.error <= each.error and by.ratio >= each.ratio
    return no_worse and (by.error < each.error or by.ratio > each.ratio)


@given(st.lists(st.tuples(coordinate, coordinate), max_size=40))
def test_the_front_is_what_no_point_beats(pairs: list[tuple[float, float]]) -> None:
    points = [Point(str(place), *pair) for place, pair in enumerate(pairs)]
    finite = [each for each in points if isfinite(each.ratio) and isfinite(each.error)]
    expected = {each.run_id for each in finite if not any(beaten(each, other) for other in finite)}
    front = pareto_front(points)
    assert {each.run_id for each in front} == expected
    assert len(front) == len(expected)
    assert [each.ratio for each in front] == sorted(each.ratio for each in front)
    assert [each.error for each in front] == sorted(each.error for each in front)


def test_a_front_of_none_and_of_one() -> None:
    assert pareto_front([]) == []
    assert pareto_front([Point("a", 2.0, 1.0)]) == [Point("a", 2.0, 1.0)]
    assert pareto_front([Point("a", nan, 1.0), Point("b", 2.0, inf)]) == []


def test_equal_points_stand_together() -> None:
    twins = [Point("a", 2.0, 1.0), Point("b", 2.0, 1.0)]
    assert {each.run_id for each in pareto_front([*twins, Point("c", 2.0, 1.5)])} == {"a", "b"}


def test_no_point_without_numbers() -> None:
    assert point("a", None, 1.0) is None
    assert point("a", 3.0, nan) is None
    assert point("a", 3, 1.5) == Point("a", 3.0, 1.5)


@given(st.lists(st.one_of(st.just(nan), st.integers(0, 5).map(float)), max_size=30))
def test_best_is_the_lowest_and_of_these_the_last(errors: list[float]) -> None:
    judged = [error for error in errors if error == error]
    place = best_step(errors)
    if not judged:
        assert place is None
    else:
        assert place is not None
        assert errors[place] == min(judged)
        assert min(judged) not in errors[place + 1 :]


def scheme(run_id: str) -> dict[str, Any]:
    return json.loads((RUNS / run_id / "scheme.json").read_text())


def test_recorded_variants_differ_in_what_was_varied() -> None:
    found = differences([scheme(name) for name in RECORDED if "-k-0" in name])
    assert [each.field for each in found] == ["compress.fc1.how.k"]
    assert sorted(map(value_text, found[0].values)) == ["16", "4", "8"]


def test_tasks_are_told_by_their_layers_not_by_their_place() -> None:
    one = {"compress": [{"layers": ["fc1"], "how": {"type": "quantize", "k": 2}}]}
    two = {"compress": [{"layers": ["conv1"], "how": {"type": "prune", "kappa": 9}}, *one["compress"]]}
    found = {each.field: each.values for each in differences([one, two])}
    assert found == {"compress.conv1.how.type": (None, "prune"), "compress.conv1.how.kappa": (None, 9)}


def test_defaults_that_only_one_type_has_go_without_saying() -> None:
    quick, other = scheme("eexm-quickstart"), scheme("t2u3-k-0.k=4")
    fields = [each.field for each in differences([quick, other])]
    assert "compress.conv1.how.kappa" in fields and "compress.fc1.how.rank" in fields
    assert "compress.conv1.how.norm" not in fields and "compress.fc1.how.normalize" not in fields
    again = scheme("eexm-quickstart")
    again["compress"][2]["how"]["bits"] = 16
    assert [each.field for each in differences([quick, again])] == ["compress.fc1.how.bits"]
    tasks = [name.split(".how")[0] for name in fields if name.startswith("compress")]
    assert [name for name, _ in groupby(tasks)] == list(dict.fromkeys(tasks)), "kept together"


def test_nothing_differs_by_spelling() -> None:
    a = {"name": "a", "lc": {"tolerance": None, "mu": {"start": 1}}, "model": {"args": {}}}
    b = {"name": "b", "lc": {"mu": {"start": 1.0}}, "model": {}}
    assert differences([a, b]) == []
    assert [each.field for each in differences([{"seed": 1}, {"seed": True}])] == ["seed"]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(["compress", "lc", "name", "seed"]), json_values, max_size=4), max_size=4)
)
def test_any_json_is_compared(schemes: list[dict[str, Any]]) -> None:
    for each in differences(schemes):
        assert len(each.values) == len(schemes)
        assert all(isinstance(value_text(value), str) for value in each.values)
    assert all(differences([one, one, one]) == [] for one in schemes)


def facts(**changes: Any) -> dict[str, Any]:
    run = Run(RUNS / RECORDED[0])
    files = {name: run.read(f"{name}.json") for name in ("meta", "scheme", "result")}
    return {**facts_of(run.summary(), files), **changes}


def test_comparable_means_the_same_data_and_classes() -> None:
    assert comparable(facts(), facts())
    assert not comparable(facts(), facts(data_sha256="0" * 64))
    before = {"data_sha256": None}  # a run that has not said yet what it trains on
    assert comparable(facts(), facts(**before))
    assert not comparable(facts(), facts(**before, **{"data.name": "cifar10"}))
    assert not comparable(facts(), facts(**before, **{"data.args.size": 3}))
    some = {**before, "data.classes": [3, 8]}
    assert not comparable(facts(), facts(**some))
    assert comparable(facts(**some), facts(**some | {"data.classes": [8, 3]}))


def test_values_at_a_step_are_those_of_the_nearest() -> None:
    steps = Steps({"step": [1.0, 2.0, 5.0], "gap": [10.0, nan, 50.0]})
    assert steps.at_step("gap", 1.2) == 10.0
    assert steps.at_step("gap", 2.4) is None
    assert steps.at_step("gap", 4.0) == 50.0
    assert steps.at_step("gap", 7.0) is None
    assert Steps({"step": [], "gap": []}).at_step("gap", 1.0) is None


@pytest.mark.parametrize("run_id", RECORDED)
def test_results_read_as_their_file_says(run_id: str) -> None:
    result = json.loads((RUNS / run_id / "result.json").read_text())
    shown = {outcome.title: outcome.text(outcome.of(result)) for outcome in OUTCOMES}
    assert shown["test error %"] == f"{result['final']['test_error_pct']:.2f}"
    assert all(outcome.text(outcome.of({})) == "–" for outcome in OUTCOMES)


def test_better_is_lower_but_for_the_ratio() -> None:
    ways = {outcome.title: outcome for outcome in OUTCOMES}
    assert ways["test error %"].beats(1.0, 2.0)
    assert ways["ratio"].beats(2.0, 1.0)
    assert not ways["ratio"].beats(None, 1.0)
    assert not ways["time"].beats(5.0, 5.0)


def test_every_metric_words_its_values() -> None:
    assert [metric.text(None) for metric in METRICS] == ["–"] * len(METRICS)
    assert METRICS[0].text(2.5) == "2.50"
    assert METRICS[-1].text(21.7556) == "21.8×"
