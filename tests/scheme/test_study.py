"""A study is the product of its grid, plus its variants: each a valid scheme with a name of its own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput, Problem
from lctui.scheme import Scheme
from lctui.scheme.study import Study, load_file, parse_study
from tests.scheme.cases import EXAMPLE, changed, parsed, written


def study(overrides: dict[str, Any] | None = None, **fields: Any) -> Study:
    return parse_study({"version": 1, "study": "s", "base": EXAMPLE} | fields, "study.json", overrides or {})


def problems(overrides: dict[str, Any] | None = None, **fields: Any) -> list[Problem]:
    with pytest.raises(BadInput) as caught:
        study(overrides, **fields)
    return list(caught.value.problems)


def test_the_runs_are_the_product_of_the_grid_in_order() -> None:
    grid = {"compress.1.how.kappa": [5010, 2505], "seed": [0, 1, 2]}
    schemes = study(grid=grid).schemes
    assert [(scheme.compress[1].how.kappa, scheme.seed) for scheme in schemes] == list(
        itertools.product([5010, 2505], [0, 1, 2])
    )
    assert schemes[0].name == "table6-3/1.kappa=5010,seed=0"
    assert len({scheme.name for scheme in schemes}) == 6


def test_a_member_is_its_base_with_the_fields_set_and_nothing_else_changed() -> None:
    (first, second) = study(
        grid={"compress.0.how": [{"type": "quantize", "k": 2}, {"type": "prune", "kappa": 7}]}
    ).schemes
    for member, how in ((first, {"type": "quantize", "k": 2}), (second, {"type": "prune", "kappa": 7})):
        assert member == parsed(changed({"compress.0.how": how, "name": member.name}))


def test_variants_come_after_the_grid() -> None:
    variants = [{"name": "a", "set": {"seed": 9, "lc.mu.steps": 5}}, {"name": "b"}]
    schemes = study(grid={"seed": [0, 1]}, variants=variants).schemes
    assert [(scheme.name, scheme.seed) for scheme in schemes] == [
        ("table6-3/seed=0", 0),
        ("table6-3/seed=1", 1),
        ("table6-3/a", 9),
        ("table6-3/b", 0),
    ]
    assert schemes[2].lc.mu.steps == 5


def test_variants_alone_are_the_runs() -> None:
    assert [scheme.name for scheme in study(variants=[{"name": "a"}]).schemes] == ["table6-3/a"]


def test_without_grid_and_variants_the_base_is_the_run() -> None:
    assert study().schemes == (parsed(EXAMPLE),)


def test_values_too_long_for_a_name_go_by_their_number() -> None:
    values = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][:5], [9, 8, 7, 6, 5], {"x": "y" * 300}]
    hows = [{"type": "quantize", "codebook": "fixed", "values": [i + j for j in range(30)]} for i in range(3)]
    names = [scheme.name for scheme in study(grid={"compress.0.how": hows, "data.classes": values[:2]}).schemes]
    assert len(set(names)) == 6
    assert names[0] == "table6-3/0.how=#1,classes=[0, 1, 2, 3, 4]"
    assert names[-1] == "table6-3/0.how=#3,classes=[9, 8, 7, 6, 5]"


def test_two_runs_may_not_have_one_name() -> None:
    found = problems(variants=[{"name": "a"}, {"name": "a", "set": {"seed": 2}}])
    assert found == [Problem("variants.1", "makes two runs that are both called 'a'")]
    assert problems(grid={"seed": [1, 1]}) == [Problem("grid", "makes two runs that are both called 'seed=1'")]


def test_a_field_that_the_base_lacks_can_be_set() -> None:
    base = {name: value for name, value in EXAMPLE.items() if name not in ("lc", "seed")}
    schemes = study(base=base, grid={"lc.mu.steps": [3, 4], "seed": [7]}).schemes
    assert [(scheme.lc.mu.steps, scheme.seed) for scheme in schemes] == [(3, 7), (4, 7)]


def test_the_base_need_not_be_valid_before_its_members_are() -> None:
    base = {name: value for name, value in EXAMPLE.items() if name != "compress"}
    assert study(base=base, variants=[{"name": "none", "set": {"compress": []}}]).schemes[0].compress == ()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("compress.9.how.kappa", "compress has 4 items, numbered from 0; there is no '9'"),
        ("compress.-1.how", "compress has 4 items, numbered from 0; there is no '-1'"),
        ("compress.first", "compress has 4 items, numbered from 0; there is no 'first'"),
        ("compress.²", "numbered from 0"),
        ("compress." + "9" * 5000, "numbered from 0"),
        ("seed.x", "seed has no fields, so 'x' cannot be set in it"),
        ("name.x.y", "name has no fields"),
        ("lc.mu.stpes", "unknown field; did you mean 'steps'?"),
        ("sede", "unknown field; did you mean 'seed'?"),
        ("l_steps.lr", "unknown field; did you mean 'l_step'?"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_problem(path: str, said: str) -> None:
    (problem,) = problems(grid={path: [1]})
    assert problem.path.startswith("grid.")
    assert said in problem.message
    (problem,) = problems(variants=[{"name": "ok"}, {"name": "a", "set": {path: 1}}])
    assert problem.path.startswith("variants.1.set.")
    assert said in problem.message


def test_every_members_problems_are_said_with_their_place_each_once() -> None:
    found = problems(
        grid={"compress.0.how.kappa": [104, 501, -1], "seed": [0, 1]},
        variants=[{"name": "a", "set": {"l_step.lr": 0}}, {"name": "b", "set": {"model.factory": "lenet6"}}],
    )
    assert [(problem.path, problem.message.split()[0]) for problem in found] == [
        ("grid.compress.0.how.kappa", "501"),
        ("grid.compress.0.how.kappa", "-1"),
        ("variants.0.set.l_step.lr", "0"),
        ("variants.1.set.model.factory", "'lenet6'"),
    ]


def test_a_problem_of_the_base_is_said_once_beside_those_of_the_members() -> None:
    found = problems(base=changed({"seed": -1}), grid={"compress.0.how.kappa": [1, 2, 501]})
    assert [problem.path for problem in found] == ["base.seed", "grid.compress.0.how.kappa"]


def test_a_missing_file_is_said_with_the_member_that_names_it() -> None:
    (problem,) = problems(variants=[{"name": "a", "set": {"model.weights": "/nowhere/w.pt"}}])
    assert problem == Problem("variants.0.set.model.weights", "no file '/nowhere/w.pt'")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"gird": {}}, "gird"),
        ({"version": 2}, "version"),
        ({"study": ""}, "study"),
        ({"study": 3}, "study"),
        ({"base": []}, "base"),
        ({"grid": []}, "grid"),
        ({"grid": {"seed": 3}}, "grid.seed"),
        ({"grid": {"seed": []}}, "grid.seed"),
        ({"variants": {}}, "variants"),
        ({"variants": [{"set": {}}]}, "variants.0.name"),
        ({"variants": [{"name": "a", "sets": {}}]}, "variants.0.sets"),
        ({"variants": [3]}, "variants.0"),
    ],
    ids=str,
)
def test_a_study_file_is_checked_like_a_scheme(fields: dict[str, Any], path: str) -> None:
    assert [problem.path for problem in problems(**fields)] == [path]


def test_a_study_of_too_many_runs_is_refused_before_any_is_made() -> None:
    grid = {f"compress.{i}.how.kappa": list(range(100)) for i in range(4)}
    (problem,) = problems(grid=grid)
    assert (problem.path, "100,000,000 runs" in problem.message) == ("grid", True)


def test_a_file_is_told_to_be_a_study_by_its_field(tmp_path: Path) -> None:
    loaded = load_file(written(tmp_path / "study.json", {"version": 1, "study": "s", "base": EXAMPLE}))
    assert isinstance(loaded, Study)
    assert loaded.name == "s"
    assert isinstance(load_file(written(tmp_path / "scheme.json", EXAMPLE)), Scheme)


def test_fields_are_overridden_by_path_in_schemes_and_studies(tmp_path: Path) -> None:
    file = written(tmp_path / "scheme.json", EXAMPLE)
    overrides = {"l_step.epochs": 2, "compress.0.how.kappa": 9, "reference": {"epochs": 1}, "data.classes.0": 1}
    assert load_file(file, overrides) == parsed(changed(overrides))
    file = written(tmp_path / "study.json", {"study": "s", "base": EXAMPLE, "grid": {"seed": [1, 2]}})
    loaded = load_file(file, {"l_step.epochs": 2})
    assert isinstance(loaded, Study)
    assert [(scheme.seed, scheme.l_step.epochs) for scheme in loaded.schemes] == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("l_step.epochs", 0, "l_step.epochs: 0 must be at least 1"),
        ("l_step.epoch", 2, "did you mean 'epochs'?"),
        ("compress.4.how", {}, "--set compress.4.how: compress has 4 items"),
        ("model.args.x", float("nan"), "--set model.args.x: nan is not a JSON number"),
        ("name", "\ud800", "half a character"),
        ("l_step.\x1b[2J", 1, r"\x1b[2J"),
    ],
)
def test_a_bad_override_is_a_problem(path: str, value: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        load_file(written(tmp_path / "scheme.json", EXAMPLE), {path: value})
    assert any(said in line for line in caught.value.lines()), caught.value.lines()
    assert all(line.isprintable() for line in caught.value.lines())


def test_overrides_leave_their_values_alone(tmp_path: Path) -> None:
    how = {"type": "prune", "kappa": 1}
    file = written(tmp_path / "study.json", {"study": "s", "base": EXAMPLE, "grid": {"compress.0.how.kappa": [5, 6]}})
    loaded = load_file(file, {"compress.0.how": how})
    assert isinstance(loaded, Study)
    assert [scheme.compress[0].how.kappa for scheme in loaded.schemes] == [5, 6]
    assert how == {"type": "prune", "kappa": 1}
