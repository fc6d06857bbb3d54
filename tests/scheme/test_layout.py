"""The layout of a study's report: what it may say, and what is wrong with what it may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lctui.scheme.layout import Layout, chosen, find_layout_problems

TABLE = {"name": "t", "title": "T", "rows": ["a*"]}
FIGURE = {"name": "f", "title": "F", "plot": "pareto", "rows": ["*"]}
NAMES = ["a1", "a2", "part/a3", "part/k=[2]"]


def layout(*, tables: Any = (), figures: Any = ()) -> Layout:
    return Layout.model_validate({"title": "L", "tables": list(tables), "figures": list(figures)})


@pytest.mark.parametrize(
    ("tables", "figures", "said"),
    [
        ([TABLE | {"colour": "red"}], [], "Extra inputs"),
        ([TABLE | {"rows": []}], [], "at least 1 item"),
        ([TABLE | {"name": "a/b"}], [], "should match pattern"),
        ([TABLE, TABLE | {"name": "T"}], [], "must differ, 't' stands there more than once"),
        ([TABLE], [FIGURE | {"name": "t"}], "must differ"),
        ([TABLE | {"name": "Runs"}], [], "'runs' is a file that every report has"),
        ([TABLE | {"text": "a\x1b[31m"}], [], "control character"),
        ([], [FIGURE | {"rows": None}], "exactly one of 'rows', 'series' is needed, got none"),
        ([], [FIGURE | {"series": {"x": ["a*"]}}], "got 'rows' and 'series'"),
        ([], [{**FIGURE, "plot": "reference", "rows": None, "series": {"x": ["a*"]}}], "'reference' takes rows"),
        ([], [FIGURE | {"of": "compressed"}], "goes with plot 'confusion'"),
        ([], [FIGURE | {"plot": "codebook"}], "layer goes with plot 'codebook' or 'singular_values', and they need it"),
        ([], [FIGURE | {"layer": "fc1"}], "layer goes with"),
        ([], [FIGURE | {"plot": "pie"}], "Input should be 'pareto'"),
    ],
)
def test_what_a_layout_may_not_say(tables: Any, figures: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        layout(tables=tables, figures=figures)


def test_rows_come_in_the_order_of_their_patterns_and_once() -> None:
    assert chosen(["a2", "a*", "part/*"], NAMES) == ["a2", "a1", "part/a3", "part/k=[2]"]
    assert chosen(["*"], NAMES) == NAMES
    assert chosen(["part/k=[2]"], NAMES) == ["part/k=[2]"]  # a name first, and only then a glob
    assert chosen(["none"], NAMES) == []


def test_what_stands_for_no_row_is_said_with_its_place() -> None:
    bad = layout(tables=[TABLE | {"rows": ["a*", "part/a4"]}], figures=[FIGURE | {"rows": ["z"]}])
    assert [str(problem) for problem in find_layout_problems(bad, NAMES)] == [
        "report.tables.0.rows.1: 'part/a4' is no row of the study; did you mean 'part/a3'?",
        "report.figures.0.rows.0: 'z' is no row of the study",
    ]
    assert find_layout_problems(layout(tables=[TABLE], figures=[FIGURE]), NAMES) == []


def test_a_layout_is_frozen_and_described() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        layout(tables=[TABLE]).tables[0].title = "other"  # type: ignore[misc]
    for name, model in Layout.model_json_schema()["$defs"].items():
        assert all(field.get("description") for field in model["properties"].values()), name
