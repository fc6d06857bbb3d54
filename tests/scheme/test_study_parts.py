"""Parts, searches, seeds and tags: which runs a study file stands for."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.errors import BadInput
from lctui.scheme import Scheme
from lctui.scheme.dotted import set_path
from lctui.scheme.study import Study, best_candidate, load_file, parse_study
from lctui.scheme.study_file import StudyFile
from tests.conftest import ROOT, tiny


def parse(**fields: Any) -> Study:
    return parse_study({"study": "s", "base": tiny(), **fields}, "study.json", {})


def problems(**fields: Any) -> list[str]:
    with pytest.raises(BadInput) as caught:
        parse(**fields)
    return caught.value.lines()


def names(study: Study) -> list[str]:
    return [row.name for row in study.rows]


def test_parts_inherit_what_is_set_around_them() -> None:
    study = parse(
        set={"l_step.epochs": 3},
        tags=["all"],
        variants=[{"name": "a", "tags": ["one"], "set": {"lc.mu.steps": 5}}],
        parts=[
            {
                "name": "outer",
                "set": {"lc.mu.steps": 7},
                "grid": {"l_step.lr": [0.1, 0.2]},
                "parts": [{"name": "inner", "tags": ["deep"], "set": {"l_step.epochs": 4}}],
            }
        ],
    )
    assert names(study) == ["a", "outer/lr=0.1", "outer/lr=0.2", "outer/inner"]
    a, low, high, inner = study.schemes
    assert [s.name for s in study.schemes] == ["tiny/a", "tiny/outer/lr=0.1", "tiny/outer/lr=0.2", "tiny/outer/inner"]
    assert [s.lc.mu.steps for s in study.schemes] == [5, 7, 7, 7]
    assert [s.l_step.epochs for s in study.schemes] == [3, 3, 3, 4]
    assert (low.l_step.lr, high.l_step.lr, inner.l_step.lr) == (0.1, 0.2, 0.05)
    assert (a.tags, low.tags, inner.tags) == (("all", "one"), ("all",), ("all", "deep"))


def test_a_star_sets_every_item_of_a_list() -> None:
    tasks = [{"layers": [name], "how": {"type": "quantize", "k": 2}} for name in ("fc1", "fc2", "fc3")]
    study = parse(set={"compress": tasks}, grid={"compress.*.how.k": [3, 4]})
    assert names(study) == ["k=3", "k=4"]
    assert [[task.how.k for task in scheme.compress] for scheme in study.schemes] == [[3] * 3, [4] * 3]  # type: ignore[union-attr]


def test_a_star_over_nothing_is_a_mistake() -> None:
    assert problems(set={"compress": []}, grid={"compress.*.how.k": [3]}) == [
        "study.json: grid.compress.*.how.k: compress has no items, so '*' stands for nothing"
    ]


def test_seeds_repeat_every_row_and_are_inherited() -> None:
    study = parse(seeds=[4, 9], grid={"l_step.epochs": [1, 2]}, parts=[{"name": "once", "seeds": [5]}])
    assert names(study) == ["epochs=1", "epochs=2", "once"]
    assert [[scheme.seed for scheme in row.schemes] for row in study.rows] == [[4, 9], [4, 9], [5]]
    assert [scheme.name for scheme in study.schemes] == [
        "tiny/epochs=1,seed=4",
        "tiny/epochs=1,seed=9",
        "tiny/epochs=2,seed=4",
        "tiny/epochs=2,seed=9",
        "tiny/once",
    ]


def test_without_seeds_the_base_has_its_own() -> None:
    assert [scheme.seed for scheme in parse().schemes] == [3]


def test_stages_try_references_alone_each_with_what_those_before_chose() -> None:
    study = parse(search=[{"reference.lr": [0.1, 0.2]}, {"reference.momentum": [0.5, 0.9]}], variants=[{"name": "row"}])
    first, _ = study.stages
    assert study.undecided is first
    assert [c.scheme.compress for c in first.candidates] == [(), ()]
    assert [c.scheme.name for c in first.candidates] == ["tiny/search/1/lr=0.1", "tiny/search/1/lr=0.2"]
    settled = study.settled(first, 1)
    assert settled.stages[0].winner == 1
    assert settled.undecided is not None and settled.undecided.number == 2
    tried = [(c.scheme.reference.lr, c.scheme.reference.momentum) for c in settled.stages[1].candidates]
    assert tried == [(0.2, 0.5), (0.2, 0.9)]
    done = settled.settled(settled.stages[1], 0)
    assert done.undecided is None
    (row,) = done.schemes
    assert (row.reference.lr, row.reference.momentum) == (0.2, 0.5)
    # As long as nothing is decided, rows stand for what the first candidates would make them.
    assert (study.schemes[0].reference.lr, study.schemes[0].reference.momentum) == (0.1, 0.5)


def test_what_rows_do_afterwards_is_nothing_to_a_candidate() -> None:
    search = [{"reference.lr": [0.1, 0.2]}]
    plain, other = parse(search=search), parse(search=search, base=tiny(l_step={"epochs": 9}, lc={"mu": {"steps": 2}}))
    prints = [[c.scheme.fingerprint() for c in study.stages[0].candidates] for study in (plain, other)]
    assert prints[0] == prints[1]


def test_a_parts_own_search_holds_for_that_part() -> None:
    part = {"name": "other", "set": {"seed": 8}, "search": [{"reference.lr": [0.3, 0.4]}], "grid": {"l_step.lr": [1.0]}}
    study = parse(search=[{"reference.lr": [0.1, 0.2]}], variants=[{"name": "row"}], parts=[part])
    study = study.settled(study.stages[0], 1)
    study = study.settled(study.stages[1], 0)
    assert [(scheme.name, scheme.reference.lr) for scheme in study.schemes] == [
        ("tiny/row", 0.2),
        ("tiny/other/lr=1.0", 0.3),
    ]
    assert [stage.title for stage in study.stages] == ["search/1", "other/search/1"]


def test_a_search_alone_has_no_rows() -> None:
    study = parse(search=[{"reference.lr": [0.1, 0.2]}])
    assert study.schemes == ()
    assert len(study.stages) == 1


def test_what_a_search_may_vary() -> None:
    assert problems(search=[{"l_step.lr": [1.0]}]) == [
        "study.json: search: 'l_step.lr' is no field of the reference: a search varies paths such as reference.lr"
    ]
    base = tiny(data={"name": "mnist_sample", "classes": [3, 8], "validation": 0})
    (line,) = problems(base=base, search=[{"reference.lr": [0.1]}])
    assert line == "study.json: search.0: a search chooses by validation error: data.validation must be greater than 0"
    (line,) = problems(search=[{"reference.lr": [0.1, -1]}])
    assert line == "study.json: search.0.reference.lr: -1 must be greater than 0"


def test_mistakes_name_their_part() -> None:
    part = {"name": "p", "variants": [{"name": "v", "set": {"compress.0.how.kappa": 10**9}}]}
    (line,) = problems(parts=[part])
    assert line.startswith("study.json: parts.0.variants.0.set.compress.0.how.kappa: 1000000000 exceeds")
    (line,) = problems(parts=[{"name": "p", "varants": []}])
    assert line.startswith("study.json: parts.0.varants: unknown field; did you mean 'variants'?")
    (line,) = problems(parts=[{"name": "p"}, {"name": "p"}])
    assert line == "study.json: parts.1.grid: makes two runs that are both called 'p'"
    (line,) = problems(seeds=[1, 1])
    assert line == "study.json: seeds: seeds must differ, 1 stands there more than once"
    (line,) = problems(variants=[{"name": "v", "published": {"test_error_pct": "low"}}])
    assert line == 'study.json: variants.0.published.test_error_pct: "low" must be a number'


def test_too_many_runs_are_refused_before_they_are_made() -> None:
    (line,) = problems(seeds=list(range(200)), grid={"l_step.lr": [0.1 + n for n in range(100)]})
    assert line == "study.json: grid: makes 20,000 runs; a study has at most 10,000"


@given(
    errors=st.lists(st.one_of(st.none(), st.integers(0, 5).map(lambda n: n / 4)), max_size=6),
    test_errors=st.lists(st.floats(0, 100), min_size=6, max_size=6),
)
def test_the_lowest_validation_error_wins_and_test_errors_have_no_say(
    errors: list[float | None], test_errors: list[float]
) -> None:
    results: list[dict[str, Any]] = [
        {"status": "diverged", "reference": None}
        if error is None
        else {"status": "finished", "reference": {"validation_error_pct": error, "test_error_pct": test}}
        for error, test in zip(errors, test_errors, strict=False)
    ]
    expected = None
    for place, error in enumerate(errors):
        if error is not None and (expected is None or error < (errors[expected] or 0.0)):
            expected = place
    assert best_candidate(results) == expected


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), min_size=1, max_size=3), min_size=1))
def test_a_grid_is_the_product_of_its_values(values: dict[str, list[int]]) -> None:
    grid = {f"model.args.{name}": given for name, given in values.items()}
    if any(len(set(each)) != len(each) for each in values.values()):
        return  # equal values make equal names
    try:
        study = parse_study({"study": "s", "base": tiny(model={"factory": "m:n"}), "grid": grid}, "s.json", {})
    except BadInput as error:
        pytest.fail(str(error))
    expected = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    assert [scheme.model.args for scheme in study.schemes] == expected


@pytest.mark.parametrize(
    ("path", "value", "result"),
    [
        ("a.*.x", 1, {"a": [{"x": 1, "y": 0}, {"x": 1}]}),
        ("a.1.z", 2, {"a": [{"x": 5, "y": 0}, {"z": 2}]}),
        ("a.*", 0, {"a": [0, 0]}),
        ("b.c", 3, {"a": [{"x": 5, "y": 0}, {}], "b": {"c": 3}}),
    ],
)
def test_setting_by_dotted_path(path: str, value: Any, result: Any) -> None:
    raw: dict[str, Any] = {"a": [{"x": 5, "y": 0}, {}]}
    assert set_path(raw, path, value) is None
    assert raw == result


def test_values_set_in_several_places_are_not_one() -> None:
    raw: dict[str, Any] = {"a": [{}, {}]}
    assert set_path(raw, "a.*.x", []) is None
    raw["a"][0]["x"].append(1)
    assert raw["a"][1]["x"] == []


def test_the_report_is_the_published_study() -> None:
    """The study's rows are the 28 schemes, and what is published of them is what the report's tables print."""
    study = load_file(ROOT / "schemes/report.json")
    assert isinstance(study, Study)
    rows = {row.name: row for row in study.rows}
    tables = json.loads((ROOT / "tests/data/report_tables.json").read_text())
    assert len(tables["rows"]) == 28
    for published in tables["rows"]:
        row = rows[published["id"]]
        alone = Scheme.load(ROOT / f"schemes/report/{published['id']}.json")
        (scheme,) = row.schemes
        assert (scheme.compress, scheme.lc, scheme.l_step) == (alone.compress, alone.lc, alone.l_step)
        names = ("train_error_pct", "test_error_pct", "compressed_parameters", "compression_ratio")
        assert row.published == {name: published[name] for name in names}
    assert [name for name in rows if name.startswith("quantize/")] == [f"quantize/k={2**n}" for n in range(1, 7)]
    assert study.stages[0].part == ""
    assert {stage.part for stage in study.stages} == {"", "fc"}


def test_the_schema_knows_the_language() -> None:
    schema = StudyFile.model_json_schema()
    assert {"search", "seeds", "parts", "report", "tags"} <= set(schema["properties"])


def test_an_override_reaches_the_candidates(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"study": "s", "base": tiny(), "search": [{"reference.lr": [0.1]}]}))
    study = load_file(path, {"reference.epochs": 9})
    assert isinstance(study, Study)
    assert study.stages[0].candidates[0].scheme.reference.epochs == 9
