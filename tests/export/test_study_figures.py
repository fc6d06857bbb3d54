"""A study's figures: what is drawn is what the rows hold, and far-off values do not hide the others."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.console import inspection
from lctui.errors import BadInput
from lctui.export import beyond, study_figures
from lctui.export.figures import draw
from lctui.export.plots import Figure, Series
from lctui.export.study_insight import Answers, Question, ask, verdicts
from lctui.export.study_numbers import Measured
from lctui.scheme.layout import Layout, LayoutFigure
from tests.export.conftest import Made, export

PARETO = LayoutFigure(name="f", title="F", plot="pareto", rows=("*",))
ACCURACY = LayoutFigure(name="f", title="F", plot="accuracy", rows=("*",))
NOTHING = Answers({}, {})


@pytest.fixture
def rows(small_study: Made) -> dict[str, Measured]:
    return {row.name: Measured(row, {}) for row in small_study.study.rows}


def means(made: Made, row: str) -> tuple[float, float]:
    finals = [result["final"] for result in made.results(row)]
    return sum(f["compression_ratio"] for f in finals) / 2, sum(f["test_error_pct"] for f in finals) / 2


def series_of(figure: Figure | None, kind: str) -> list[Series]:
    assert figure is not None
    return [each for each in figure.series if each.kind == kind]


def texts(path: Path) -> list[str]:
    """The texts of an SVG, in order."""
    root = ElementTree.parse(path).getroot()
    return ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_points_are_means_with_their_deviation_and_the_published_beside(
    small_study: Made, rows: dict[str, Measured]
) -> None:
    groups = {"a": [rows["prune_a"], rows["never|run"]], "b": [rows["sweep/k=4"]]}
    figure = study_figures.tradeoff(PARETO, groups)
    for each, row in zip(series_of(figure, "solid"), ("prune_a", "sweep/k=4"), strict=True):
        ratio, error = means(small_study, row)
        assert each.x == pytest.approx((ratio,)) and each.y == pytest.approx((error,))
        assert each.labels == (row.rpartition("/")[2],)
    (hollow,) = series_of(figure, "hollow")
    assert (hollow.name, hollow.x, hollow.y) == ("a", (9.5,), (2.0,))
    spread = [each for each in series_of(figure, "spread") if each.name == "b"]
    errors = [result["final"]["test_error_pct"] for result in small_study.results("sweep/k=4")]
    if errors[0] != errors[1]:
        sd = abs(errors[0] - errors[1]) / 2**0.5
        assert spread[0].y == pytest.approx((sum(errors) / 2 - sd, sum(errors) / 2 + sd))
    (level,) = series_of(figure, "level")
    references = [result["reference"]["test_error_pct"] for result in small_study.results("prune_a")]
    assert (level.name, level.y) == ("reference", (sum(references) / 2,))


def test_rows_that_nobody_ran_are_not_drawn(rows: dict[str, Measured]) -> None:
    for make, layout in ((study_figures.tradeoff, PARETO), (study_figures.accuracy, ACCURACY)):
        assert make(layout, {"": [rows["never|run"]]}) is None
    assert study_figures.by_step(PARETO, [rows["never|run"]]) is None
    assert study_figures.of_first(PARETO, [rows["never|run"]], NOTHING) is None


def test_a_collapsed_row_breaks_the_axis(small_study: Made, rows: dict[str, Measured], tmp_path: Path) -> None:
    sound = [rows["prune_a"], rows["sweep/k=4"]]
    errors = [means(small_study, row.name)[1] for row in sound]
    whole, broken = (study_figures.tradeoff(PARETO, {"": some}) for some in (sound, [*sound, rows["sweep/zero"]]))
    assert whole is not None and whole.y_range is None
    assert broken is not None and broken.y_range is not None
    assert broken.y_range[0] <= min(errors) and max(errors) < broken.y_range[1] < 10
    draw(broken, tmp_path / "f.svg")
    found = texts(tmp_path / "f.svg")
    assert "50.0" in found  # beside the strip; the axis itself ends before
    assert {"prune_a", "Pareto front", "published", "reference"} <= set(found)
    upside_down = study_figures.accuracy(ACCURACY, {"": [*sound, rows["sweep/zero"]]})
    assert upside_down is not None and upside_down.y_range is not None
    assert 90 < upside_down.y_range[0] < 100 - max(errors)
    (line,) = series_of(upside_down, "line")
    assert list(line.x) == sorted(line.x) and line.y[-1] == 50


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_no_point_leaves_the_picture_and_order_is_kept(errors: list[float]) -> None:
    figure = Figure(
        "pareto", series=(Series("a", tuple(range(len(errors))), tuple(errors), "solid"),), y_range=(10, 30)
    )
    drawn = beyond.clipped(figure).series[0].y
    for value, place in zip(errors, drawn, strict=True):
        assert place == value if 10 <= value <= 30 else 7 < place < 33 and not 10 <= place <= 30
    pairs = sorted(zip(errors, drawn, strict=True))
    assert [place for _, place in pairs] == sorted(drawn)


def test_a_range_that_is_none_is_refused() -> None:
    good = Figure("pareto", series=(Series("a", (1, 1), (2, 3), "spread"),), y_range=(0.0, 4.0))
    assert Figure.from_json(json.loads(json.dumps(good.to_json()))) == good
    odd = replace(good, series=(Series("a", (1,), (2,), "spread"),))
    for bad, said in ((replace(good, y_range=(4.0, 0.0)), "y_range"), (odd, "two points a deviation")):
        with pytest.raises(BadInput, match=said):
            Figure.from_json(bad.to_json())


def test_the_confusion_of_the_reference_makes_its_error(small_study: Made) -> None:
    (row,) = [row for row in small_study.study.rows if row.name == "prune_a"]
    run = row.runs[1]
    assert run is not None
    asked = [Question(run.id, "reference"), Question(run.id), Question("none"), Question(run.id, "weights")]
    with inspection.Answers(small_study.home) as insides:
        answers = ask(insides, asked)
    result = run.read("result.json")
    for question, block in ((asked[0], "reference"), (asked[1], "final")):
        matrix = answers.told[question]["matrix"]
        wrong = sum(map(sum, matrix)) - sum(matrix[n][n] for n in range(2))
        assert 100 * wrong / 200 == result[block]["test_error_pct"]
    assert [layer["name"] for layer in answers.told[asked[3]]["layers"]] == ["fc1", "fc2", "fc3"]
    assert answers.failures.keys() == {asked[2]} and "no such run" in answers.failures[asked[2]]


def test_a_net_is_collapsed_only_if_it_always_says_the_same(small_study: Made, rows: dict[str, Measured]) -> None:
    row = rows["sweep/zero"]
    first, second = row.runs
    one, two = ({"classes": [3, 8], "matrix": matrix} for matrix in ([[100, 0], [100, 0]], [[50, 50], [50, 50]]))
    told = {Question(first.id): one, Question(second.id): two}
    found = verdicts(row, Answers(told, {}))
    assert found == {first.id: "collapsed to one class", second.id: "at chance level"}
    assert replace(row, verdicts=found).remark == "at chance level"
    half = replace(row, verdicts={first.id: "collapsed to one class"})
    assert half.remark == "collapsed to one class in 1 of 2 seeds"
    # Nobody could be asked: the error alone says no more than that.
    assert set(verdicts(row, NOTHING).values()) == {"at chance level"}
    assert verdicts(rows["prune_a"], Answers({Question(run.id): one for run in rows["prune_a"].runs}, {})) == {}


def test_without_a_format_to_draw_in_there_are_numbers(small_study: Made, tmp_path: Path) -> None:
    figure = {"name": "b", "title": "B", "plot": "pareto", "rows": ["prune_a"]}
    study = replace(small_study.sound, layout=Layout.model_validate({"title": "T", "figures": [figure]}))
    export(study, small_study.home, tmp_path, ("csv",))
    assert "Not drawn: B (neither png nor svg was asked for)" in (tmp_path / "report.md").read_text()
    assert sorted(path.name for path in tmp_path.glob("b.*")) == ["b.csv"]
