"""Figures as files: what a reader of the SVG finds in it, what the pixels say, and how the drawing process fails."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from array import array
from dataclasses import replace
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.errors import BadInput
from lctui.export.figures import draw, main
from lctui.export.labels import decade
from lctui.export.plots import Figure, Series, pareto_front, run_figures
from lctui.runs.store import Run

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"

STEPS = tuple(range(31))
CURVES = Figure(
    "curve",
    "table6-3",
    "LC step",
    "error (%)",
    series=(
        Series("train", STEPS, tuple(5 / (n + 1) for n in STEPS)),
        Series("_test $x_", STEPS, tuple(6 / (n + 1) + 0.5 for n in STEPS)),
        Series("reference <test> & more", (), (0.49,), "level"),
    ),
)
CONFUSION = Figure(
    "confusion",
    x_title="predicted class",
    y_title="true class",
    classes=("cat", "dog", "ankle boot"),
    matrix=((90, 10, 0), (7, 93, 0), (0, 1, 99)),
)
PARETO = Figure(
    "pareto",
    "sweep",
    "compression ratio",
    "test error (%)",
    log_x=True,
    series=(
        Series("prune", (10.0, 20.0, 40.0), (0.5, 0.9, 0.8), "points", ("a_1", "b$2", "c")),
        Series("quantize", (30.0,), (0.6,), "points", ("q",)),
    ),
)
HISTOGRAM = Figure(
    "histogram",
    "conv2",
    "weight",
    "count",
    log_y=True,
    series=(
        Series("dense", (-1.0, -0.5, 0.0, 0.5, 1.0), (1, 20, 3000, 0), "step"),
        Series("codebook", (-0.4, 0.3), (25, 2999), "stems"),
    ),
)
SPECTRUM = Figure(
    "curve",
    "fc1",
    "index",
    "singular value",
    log_x=True,
    log_y=True,
    series=(
        Series("kept", (1, 2), (9.0, 4.0)),
        Series("whole", (1, 2, 3), (8.0, 3.0, 0.5)),
        Series("rank 2", (2.5,), (), "place"),
    ),
)
BARS = Figure(
    "bars",
    "quickstart",
    "share of the bits (%)",
    classes=("conv1", "fc1"),
    series=(
        Series("compressed", (0, 1), (30.0, 70.0), "bar", ("250 non-zeros", "rank 10")),
        Series("reference", (0, 1), (6.5, 93.5), "bar"),
    ),
)
ALL = {
    "spectrum": SPECTRUM,
    "bars": BARS,
    "curve": CURVES,
    "confusion": CONFUSION,
    "pareto": PARETO,
    "histogram": HISTOGRAM,
}


def read_svg(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()


def texts(path: Path) -> list[str]:
    """The texts of an SVG, as texts: not as outlines."""
    return ["".join(each.itertext()).strip() for each in read_svg(path).iter(f"{SVG}text")]


def styles(path: Path, group: str = "line2d") -> list[str]:
    """The style of each path that a group of that name draws inside the axes."""
    root = read_svg(path)
    groups = [each for each in root.iter(f"{SVG}g") if re.fullmatch(rf"{group}_\d+", each.get("id", ""))]
    return [each[0].get("style", "") for each in groups if len(each) and each[0].tag == f"{SVG}path"]


@pytest.mark.parametrize("kind", ALL)
def test_equal_figures_make_equal_files(kind: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for suffix in ("svg", "png"):
            draw(ALL[kind], tmp_path / f"{name}.{suffix}")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]


@pytest.mark.parametrize("kind", ALL)
def test_every_word_is_in_the_svg_as_text(kind: str, tmp_path: Path) -> None:
    figure = ALL[kind]
    draw(figure, tmp_path / "f.svg")
    found = texts(tmp_path / "f.svg")
    expected = [figure.title, figure.x_title, figure.y_title, *figure.classes]
    expected += [label for each in figure.series for label in each.labels]
    expected += [each.name for each in figure.series]
    assert set(filter(None, expected)) <= set(found)


def test_a_figure_is_sharp_enough_for_print(tmp_path: Path) -> None:
    draw(CURVES, tmp_path / "f.png")
    data = (tmp_path / "f.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and width >= 1400 and height >= 900
    place = data.index(b"pHYs")
    assert round(struct.unpack(">I", data[place + 4 : place + 8])[0] * 0.0254) == 300


def test_curves_differ_without_their_colours(tmp_path: Path) -> None:
    """In grey, a line is known by its dashes; each of many has its own dashes or markers."""
    series = tuple(Series(f"run {n}", STEPS, tuple(n + 1 / (s + 1) for s in STEPS)) for n in range(20))
    draw(Figure("curve", series=series), tmp_path / "f.svg")
    root = read_svg(tmp_path / "f.svg")
    looks = set()
    for group in root.iter(f"{SVG}g"):
        line = [each for each in group if each.tag == f"{SVG}path" and "stroke-width: 1.4" in each.get("style", "")]
        marker = [each.get("d") for each in group.findall(f"{SVG}defs/{SVG}path")]
        if line and marker:
            dashes = re.search(r"stroke-dasharray: ([^;]*)", line[0].get("style", ""))
            looks.add((dashes and dashes[1], *marker))
    assert len(looks) == 20


@pytest.mark.parametrize("log_y", [False, True])
def test_curves_go_through_their_points(log_y: bool, tmp_path: Path) -> None:
    """Equal steps stand at equal distances, and heights order as the numbers (or their logarithms) do."""
    y = (1.0, 10.0, 100.0, 1000.0)
    draw(Figure("curve", log_y=log_y, series=(Series("a", (0, 1, 2, 3), y),)), tmp_path / "f.svg")
    (path,) = [
        each.get("d", "")
        for each in read_svg(tmp_path / "f.svg").iter(f"{SVG}path")
        if "#0072b2; stroke-width: 1.4" in each.get("style", "")
    ]
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)]
    across = [after[0] - before[0] for before, after in pairwise(points)]
    up = [before[1] - after[1] for before, after in pairwise(points)]
    assert across == pytest.approx([across[0]] * 3)
    assert [rise / up[0] for rise in up] == pytest.approx([1, 1, 1] if log_y else [1, 10, 100], rel=1e-3)


def test_error_free_steps_do_not_hide_a_logarithmic_curve(tmp_path: Path) -> None:
    figure = Figure("curve", log_y=True, series=(Series("a", (0, 1, 2), (90.0, 1.0, 0.0)),))
    draw(figure, tmp_path / "f.svg")
    assert {"1", "10"} <= set(texts(tmp_path / "f.svg"))


def test_a_long_title_takes_lines_instead_of_being_cut_off(tmp_path: Path) -> None:
    title = "a title of more letters than stand above three classes"
    draw(replace(CONFUSION, title=title), tmp_path / "f.svg")
    lines = [text for text in texts(tmp_path / "f.svg") if text and text in title]
    assert " ".join(lines) == title and max(map(len, lines)) < 40


def test_counts_of_a_confusion_matrix(tmp_path: Path) -> None:
    draw(CONFUSION, tmp_path / "f.svg")
    found = texts(tmp_path / "f.svg")
    assert sorted(int(text) for text in found if text.isdigit()) == [1, 7, 10, 90, 93, 99]


def test_many_classes_are_shaded_without_counts(tmp_path: Path) -> None:
    matrix = tuple(tuple(7.0 if row == column else 0.0 for column in range(100)) for row in range(100))
    names = tuple(f"class {n}" for n in range(100))
    draw(Figure("confusion", classes=names, matrix=matrix), tmp_path / "f.svg")
    found = texts(tmp_path / "f.svg")
    assert "share of the true class" in found and "7" not in found
    assert 10 <= sum(text.startswith("class") for text in found) <= 60


def test_bars_are_as_long_as_their_numbers_and_known_in_grey(tmp_path: Path) -> None:
    """The lengths order as the numbers do; of two series, the second is hatched."""
    draw(BARS, tmp_path / "f.svg")
    patches = [each for each in read_svg(tmp_path / "f.svg").iter(f"{SVG}g") if each.get("id", "").startswith("patch_")]
    paths = [group[0] for group in patches if len(group) and "clip-path" in group[0].attrib]
    across = [[float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", path.get("d", ""))] for path in paths]
    lengths = [max(xs) - min(xs) for xs in across]
    assert [length / lengths[0] for length in lengths] == pytest.approx([1, 70 / 30, 6.5 / 30, 93.5 / 30], rel=1e-3)
    assert ["url(#" in path.get("style", "") for path in paths] == [False, False, True, True]
    assert {"30.0", "70.0", "6.5", "93.5"} <= set(texts(tmp_path / "f.svg"))


def test_the_front_is_drawn_and_its_points_are_filled(tmp_path: Path) -> None:
    draw(PARETO, tmp_path / "f.svg")
    assert "Pareto front" in texts(tmp_path / "f.svg")
    # a (10, 0.5), q (30, 0.6) and c (40, 0.8) stand on the front; b (20, 0.9) is beaten by q.
    hollow = [
        use
        for use in read_svg(tmp_path / "f.svg").iter(f"{SVG}use")
        if re.search(r"fill: #ffffff; stroke: #0072b2", use.get("style", ""))
    ]
    assert len(hollow) == 1


@pytest.mark.parametrize(
    "figure",
    [
        Figure("curve"),
        Figure("pareto"),
        Figure("histogram"),
        Figure("confusion"),
        Figure("bars"),
        Figure("bars", classes=("nothing",), series=(Series("none", (0,), (nan,), "bar"),)),
        Figure("histogram", log_y=True, series=(Series("unused", (0, 1), (0, 5), "stems", ("0 %", "100 %")),)),
        Figure("curve", log_y=True, log_x=True, series=(Series("zeros", (0, 0), (0, 0)),)),
        Figure("curve", log_y=True, series=(Series("one", (1,), (5,)),)),
        Figure("curve", series=(Series("holes", (1, 2, 3), (nan, 1.0, nan)), Series("none", (), ()))),
        Figure("curve", series=(Series("网络 \x1b[31m", (1, 2), (1, 2)), Series("b" * 500, (1, 2), (1, 2)))),
        Figure("pareto", series=(Series("twins", (5, 5, nan), (1, 1, 1), "points", ("a", "b", "c")),)),
        Figure("histogram", log_y=True, series=(Series("empty", (0, 1), (0,), "step"),)),
        Figure("confusion", classes=("a", "b"), matrix=((0, 0), (0.5, 0))),
        Figure("curve", series=tuple(Series(str(n), (0, 1), (n, n)) for n in range(60))),
    ],
    ids=lambda figure: figure.kind,
)
def test_odd_figures_are_drawn_all_the_same(figure: Figure, tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        draw(figure, tmp_path / f"f.{suffix}")
    read_svg(tmp_path / "f.svg")


def test_a_users_own_matplotlib_settings_do_not_show(tmp_path: Path) -> None:
    import matplotlib

    draw(CURVES, tmp_path / "plain.svg")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "text.usetex": True}):
        draw(CURVES, tmp_path / "set.svg")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "set.svg").read_bytes()


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"must end in \.png or \.svg"):
        draw(CURVES, tmp_path / "f.pdf")


@pytest.mark.parametrize("kind", ALL)
def test_a_figure_crosses_as_json(kind: str) -> None:
    sent = json.loads(json.dumps(ALL[kind].to_json(), allow_nan=False))
    assert Figure.from_json(sent) == ALL[kind]


def test_numbers_that_json_does_not_know_cross_as_holes() -> None:
    figure = Figure("curve", series=(Series("a", (1.0, 2.0), (nan, float("inf"))),))
    (series,) = Figure.from_json(json.loads(json.dumps(figure.to_json(), allow_nan=False))).series
    assert [value != value for value in series.y] == [True, True]


def test_a_figure_is_written_in_pieces_that_are_short() -> None:
    x = tuple(map(float, range(12_345)))
    many = Figure("curve", 'a "title"', series=(Series("a", x, (*x[:-1], nan)), Series("b", (), (1,), "level")))
    pieces = list(many.json_pieces())
    assert max(map(len, pieces)) < 20_000
    sent = json.loads("".join(pieces))
    assert sent == many.to_json() and sent["series"][0]["y"][-2:] == [12_343.0, None]
    assert Figure.from_json(sent).series[1] == many.series[1]


def test_columns_that_grow_are_copied_and_cut() -> None:
    x, y = array("d", [1, 2, 3]), array("d", [5, 6])  # a thread has come as far as this
    series = Series("a", x, y)
    y.append(7)
    assert (list(series.x), list(series.y)) == ([1, 2], [5, 6])
    Figure("curve", series=(series,)).check()


def test_the_figures_of_recorded_runs_show_what_their_logs_say() -> None:
    runs = [Run(path) for path in sorted((ROOT / "tests/data/home/runs").iterdir())[:2]]
    events = [json.loads(line) for line in runs[0].file("events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    (direct,) = [event for event in events if event["event"] == "direct_compression"]
    alone, both = run_figures(runs[:1]), run_figures(runs)
    assert (list(alone), list(both)) == (["error", "gap"], ["error", "gap", "pareto"])
    (gap,) = alone["gap"].series
    assert list(zip(gap.x, gap.y, strict=True)) == [(step["step"], step["gap"]) for step in steps]
    test = next(each for each in alone["error"].series if each.name == "test")
    assert list(test.x) == [0, *(step["step"] for step in steps)]
    assert list(test.y) == [direct["test_error_pct"], *(step["test_error_pct"] for step in steps)]
    assert list(both["error"].series[0].y) == list(test.y)


def test_the_numbers_of_a_figure_are_a_table() -> None:
    rows = PARETO.data().rows
    assert rows[1] == ("prune", 20.0, 0.9, "b$2") and len(rows) == 4
    assert [column.heading for column in PARETO.data().columns][1:3] == ["compression ratio", "test error (%)"]
    assert HISTOGRAM.data().rows[4] == ("dense", 1.0, None, None)  # the last edge
    assert CURVES.data().rows[-1] == ("reference <test> & more", None, 0.49, None)
    assert SPECTRUM.data().rows[-1] == ("rank 2", 2.5, None, None)
    assert BARS.data().rows[1] == ("compressed", "fc1", 70.0, "rank 10")
    assert [column.heading for column in BARS.data().columns][2] == "share of the bits (%)"
    assert CONFUSION.data().rows[1] == ("dog", 7, 93, 0)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), max_size=12))
def test_the_front_is_what_no_other_point_beats(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)
    beaten = {
        (x, y)
        for x, y in points
        if any(other_x >= x and other_y <= y and (other_x, other_y) != (x, y) for other_x, other_y in points)
    }
    assert set(front) == set(points) - beaten
    assert front == sorted(set(front))


@pytest.mark.parametrize(
    ("value", "label"),
    [(1, "1"), (0.001, "0.001"), (20000, "20000"), (1e5, "10⁵"), (5e-5, "5·10⁻⁵"), (1e-12, "10⁻¹²"), (2e10, "2·10¹⁰")],
)
def test_labels_of_decades(value: float, label: str) -> None:
    assert decade(value) == label


def process(stdin: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The drawing process, started elsewhere as the console starts it."""
    command = [sys.executable, "-P", "-m", "lctui.export.figures"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=120
    )


def test_the_process_draws_what_the_function_draws(tmp_path: Path) -> None:
    paths = [str(tmp_path / "f.svg"), str(tmp_path / "f.png")]
    done = process(json.dumps({"figure": PARETO.to_json(), "paths": paths}), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    draw(PARETO, tmp_path / "here.svg")
    assert (tmp_path / "f.svg").read_bytes() == (tmp_path / "here.svg").read_bytes()


def broken(**changes: Any) -> dict[str, Any]:
    return CURVES.to_json() | changes


@pytest.mark.parametrize(
    ("figure", "paths", "code", "line"),
    [
        (broken(kind="pie"), ["f.svg"], 2, "figure.kind: must be one of curve, pareto, confusion, histogram"),
        (broken(series=[{"name": "a"}]), ["f.svg"], 2, "figure: is not one: KeyError: 'x'"),
        (replace(CURVES, series=(Series("a", (1,), (1, 2)),)).to_json(), ["f.svg"], 2, "figure.series.0: must have as"),
        (replace(CONFUSION, classes=("a",)).to_json(), ["f.svg"], 2, "figure.matrix: must be square"),
        (replace(BARS, classes=("a",)).to_json(), ["f.svg"], 2, "figure.series: must have a bar for each class"),
        ([], ["f.svg"], 2, "figure: is not one: TypeError"),
        (CURVES.to_json(), "f.svg", 2, 'stdin: must be a JSON object with "figure" and "paths"'),
        (CURVES.to_json(), ["f.pdf"], 2, "f.pdf: must end in .png or .svg"),
        (CURVES.to_json(), ["no/such/f.svg"], 1, "no/such/f.svg: cannot be written: No such file"),
    ],
)
def test_the_process_fails_in_one_line(
    figure: Any,
    paths: Any,
    code: int,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"figure": figure, "paths": paths})))
    assert main() == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(line) and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_process_reads_json_only(tmp_path: Path) -> None:
    done = process("{", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("stdin: is no JSON: ")
