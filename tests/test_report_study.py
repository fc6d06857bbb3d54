"""The published study as one file: its 28 rows as the single schemes have them, its numbers, its tables and figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from lctui.scheme.layout import Layout, chosen, find_layout_problems
from lctui.scheme.study import Study, load_file

ROOT = Path(__file__).parent.parent
STUDY: dict[str, Any] = json.loads((ROOT / "schemes/report.json").read_text())
TABLES: dict[str, Any] = json.loads((ROOT / "tests/data/report_tables.json").read_text())
ROWS: dict[str, dict[str, Any]] = {row["id"]: row for row in TABLES["rows"]}
LAYOUT = Layout.model_validate(STUDY["report"])


def row_names(part: dict[str, Any], prefix: str = "") -> list[str]:
    """The rows of a part: its grid's points, its variants, its parts' rows."""
    names = [prefix + variant["name"] for variant in part.get("variants", [])]
    if "grid" in part:
        (path, values), *others = part["grid"].items()
        assert not others
        names += [f"{prefix}{path.rpartition('.')[2]}={json.dumps(value)}" for value in values]
    return names + [name for each in part.get("parts", []) for name in row_names(each, f"{prefix}{each['name']}/")]


def test_the_published_rows_are_there_with_their_numbers() -> None:
    variants = {variant["name"]: variant for variant in STUDY["variants"]}
    assert variants.keys() == ROWS.keys() and len(variants) == 28
    for name, variant in variants.items():
        single = json.loads((ROOT / f"schemes/report/{name}.json").read_text())
        assert variant["set"] == {"compress": single["compress"]}
        names = ("train_error_pct", "test_error_pct", "compressed_parameters", "compression_ratio")
        assert variant["published"] == {each: ROWS[name][each] for each in names}


def test_it_is_a_study_of_these_rows_on_two_nets() -> None:
    study = load_file(ROOT / "schemes/report.json")
    assert isinstance(study, Study) and study.layout == LAYOUT
    assert [row.name for row in study.rows] == row_names(STUDY)
    for row in study.rows:
        assert {scheme.model.factory for scheme in row.schemes} == {"lenet300" if row.name[:3] == "fc/" else "lenet5"}


def test_the_search_goes_through_the_published_stages() -> None:
    reach = {path: values for stage in STUDY["search"] for path, values in stage.items()}
    stages = [path.removeprefix("reference.") for stage in STUDY["search"] for path in stage]
    assert stages == ["batch_size", "lr", "lr_decay", "momentum", "nesterov", "epochs"]
    published = {"batch_size": 16, "lr_decay": 0.95, "momentum": 0.9, "nesterov": True}
    for name, value in published.items():
        assert value in reach[f"reference.{name}"]
    assert STUDY["parts"][-1]["search"] == STUDY["search"]


def test_single_types_are_swept_over_the_published_range_on_both_nets() -> None:
    fc = STUDY["parts"][-1]
    for parts, layers in ((STUDY["parts"], ["conv1", "conv2", "fc1", "fc2"]), (fc["parts"], ["fc1", "fc2", "fc3"])):
        sweeps = {part["name"]: part for part in parts if part["name"] != "fc"}
        assert sweeps.keys() == {"quantize", "low_rank", "prune"}
        for part in sweeps.values():
            assert [task["layers"] for task in part["set"]["compress"]] == [[layer] for layer in layers]
        values = {name: next(iter(part["grid"].values())) for name, part in sweeps.items()}
        assert values["quantize"] == [2, 4, 8, 16, 32, 64]
        assert [min(values["low_rank"]), max(values["low_rank"])] == [1e-9, 5e-8]
        assert [min(values["prune"]), max(values["prune"])] == pytest.approx([1 / 35, 1 / 5], rel=1e-5)


def test_every_row_is_shown_and_every_pattern_has_rows() -> None:
    names = row_names(STUDY)
    assert len(names) == len(set(names)) == 28 + 2 * (6 + 6 + 4)
    assert find_layout_problems(LAYOUT, names) == []
    patterns = [table.rows for table in LAYOUT.tables]
    patterns += [globs for figure in LAYOUT.figures for globs in figure.groups.values()]
    assert set(names) == {name for globs in patterns for name in chosen(globs, names)}


def test_tables_and_figures_are_the_published_ones() -> None:
    for n, table in enumerate(LAYOUT.tables, 1):
        rows = chosen(table.rows, row_names(STUDY))
        assert table.name == f"table{n}" and rows == [name for name, row in ROWS.items() if row["table"] == n]
    assert [figure.name.removeprefix("figure") for figure in LAYOUT.figures] == ["1a", "1b", "2a", "2b", *"345678"]
    assert [figure.plot for figure in LAYOUT.figures] == [
        *("reference", "confusion"),
        *itertools.repeat("pareto", 5),
        *itertools.repeat("accuracy", 3),
    ]
