"""Cells, lines, axes and reduction, each against an oracle that looks at every point."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.console.axes import Axis, linear_ticks, log_ticks, reading, tick_labels
from lctui.console.canvas import FAINT, NOBODY, PLAIN, STRONG, Canvas, steps
from lctui.console.series import Reduction, Series, smoothed

COORDINATES = st.integers(-40, 40)
FINITE = st.floats(-1e12, 1e12)


def lit(canvas: Canvas) -> set[tuple[int, int]]:
    """The dots that are set, read back from the signs."""
    bits = {(0, 0): 1, (0, 1): 2, (0, 2): 4, (1, 0): 8, (1, 1): 16, (1, 2): 32, (0, 3): 64, (1, 3): 128}
    found = set()
    for row in range(canvas.height):
        for column, sign in enumerate("".join(text for text, _ in canvas.runs(row))):
            for (x, y), bit in bits.items():
                if sign != " " and (ord(sign) - 0x2800) & bit:
                    found.add((2 * column + x, 4 * row + y))
    return found


@given(st.lists(st.tuples(st.integers(-3, 25), st.integers(-3, 25)), max_size=30))
def test_every_dot_falls_in_its_cell_and_none_outside(dots: list[tuple[int, int]]) -> None:
    canvas = Canvas(10, 5)
    for x, y in dots:
        canvas.span(x, y, y, 0)
    assert lit(canvas) == {(x, y) for x, y in dots if 0 <= x < 20 and 0 <= y < 20}


@given(COORDINATES, COORDINATES, COORDINATES, COORDINATES)
def test_a_line_has_its_ends_no_holes_and_stays_near_the_true_one(x0: int, y0: int, x1: int, y1: int) -> None:
    spans = list(steps(x0, y0, x1, y1))
    dots = [(x, y) for x, first, last in spans for y in range(first, last + 1)]
    assert (x0, y0) in dots and (x1, y1) in dots
    assert [x for x, _, _ in spans] == list(range(x0, x1 + 1) if x0 <= x1 else range(x0, x1 - 1, -1))
    assert len(dots) == max(abs(x1 - x0), abs(y1 - y0)) + 1
    for (_, a0, a1), (_, b0, b1) in pairwise(spans):
        assert b0 - a1 <= 1 and a0 - b1 <= 1
    length = max(abs(x1 - x0), abs(y1 - y0), 1)
    for x, y in dots:
        assert abs((y - y0) * (x1 - x0) - (x - x0) * (y1 - y0)) <= length * 0.5 + 1e-9


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), min_size=1, max_size=12))
def test_a_polyline_is_the_lines_between_its_dots(dots: list[tuple[int, int]]) -> None:
    whole, pieces = Canvas(10, 5), Canvas(10, 5)
    whole.polyline(dots, 0)
    pieces.polyline(dots[:1], 0)
    for start, end in pairwise(dots):
        pieces.polyline([start, end], 0)
    assert lit(whole) == lit(pieces)


@pytest.mark.parametrize(("first", "second", "owner"), [(PLAIN, PLAIN, 2), (STRONG, PLAIN, 1), (PLAIN, STRONG, 2)])
def test_a_shared_cell_keeps_all_dots_and_the_strongest_colour(first: int, second: int, owner: int) -> None:
    canvas = Canvas(1, 1)
    canvas.span(0, 0, 3, 1, first)
    canvas.span(1, 2, 2, 2, second)
    assert canvas.runs(0) == [(chr(0x2800 + 1 + 2 + 4 + 64 + 32), owner)]


def test_a_faint_curve_gives_way() -> None:
    for order in ((FAINT, PLAIN), (PLAIN, FAINT)):
        canvas = Canvas(1, 1)
        for rank in order:
            canvas.span(rank, 0, 0, rank, rank)
        assert canvas.runs(0) == [(chr(0x2800 + 8), PLAIN)]


def test_blanks_take_the_colour_before_them_unless_it_has_a_ground() -> None:
    canvas = Canvas(6, 1)
    canvas.text(1, 0, "a", 1)
    canvas.text(3, 0, "b", 2)
    assert canvas.runs(0) == [(" a ", 1), ("b  ", 2)]
    canvas.solid.add(1)
    assert canvas.runs(0) == [(" ", NOBODY), ("a", 1), (" b  ", 2)]


def test_wide_signs_take_two_cells() -> None:
    canvas = Canvas(4, 1)
    canvas.text(0, 0, "網x網", 0)  # the second one does not fit whole
    assert canvas.runs(0) == [("網x ", 0)]


def test_ascii_draws_with_the_sign_of_the_owner() -> None:
    canvas = Canvas(4, 2, ascii=True)
    canvas.signs[1] = "b"
    canvas.polyline([(0, 1), (3, 1)], 0)
    canvas.polyline([(1, 0), (1, 1)], 1)
    assert [[text for text, _ in canvas.runs(row)] for row in range(2)] == [[" b  "], ["*", "b", "**"]]


@given(FINITE, FINITE, st.integers(1, 30))
def test_linear_ticks_are_round_inside_and_cover_the_range(one: float, other: float, most: int) -> None:
    axis = Axis.around(min(one, other), max(one, other))
    ticks = axis.ticks(most)
    assert len(ticks) <= most
    span = axis.high - axis.low
    assert all(axis.low - 1e-6 * span <= tick <= axis.high + 1e-6 * span for tick in ticks)
    if most >= 5:
        assert len(ticks) >= 2
        step = ticks[1] - ticks[0]
        assert ticks[0] - axis.low < step * 1.001 and axis.high - ticks[-1] < step * 1.001
        assert f"{step:.0e}"[0] in "125"
        labels = tick_labels(ticks)
        assert len(set(labels)) == len(labels)


@given(st.floats(-12, 12), st.floats(0.01, 20), st.integers(3, 30))
def test_log_ticks_are_inside_and_told_apart(exponent: float, decades: float, most: int) -> None:
    low, high = 10.0**exponent, 10.0 ** (exponent + decades)
    ticks = log_ticks(low, high, most)
    assert 1 <= len(ticks) <= most or high < 10 * low
    assert all(low * (1 - 1e-6) <= tick <= high * (1 + 1e-6) for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert len(set(tick_labels(ticks))) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (0, 1, 6, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.5, 0.56, 4, ["0.50", "0.52", "0.54", "0.56"]),
        (0, 1500, 4, ["0", "500", "1k", "1.5k"]),
        (50_000, 50_010, 6, ["50000", "50002", "50004", "50006", "50008", "50010"]),
        (0, 3e6, 4, ["0", "1M", "2M", "3M"]),
        (0, 1e-4, 3, ["0", "5e-05", "1e-04"]),
    ],
)
def test_linear_labels(low: float, high: float, most: int, labels: list[str]) -> None:
    assert tick_labels(linear_ticks(low, high, most)) == labels


def test_log_labels() -> None:
    assert tick_labels(log_ticks(1e-5, 1e4, 10)) == [
        "1e-05",
        "1e-04",
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
        "100",
        "1k",
        "10k",
    ]
    assert log_ticks(1, 100, 8) == [1, 2, 5, 10, 20, 50, 100]
    assert log_ticks(1e-8, 1e8, 5) == [1e-8, 1e-4, 1, 1e4, 1e8]
    assert len(log_ticks(3, 4, 6)) >= 3


def test_whole_numbers_have_whole_ticks() -> None:
    assert linear_ticks(1, 3, 9, whole=True) == [1, 2, 3]


def test_readings_are_short_and_say_when_there_is_none() -> None:
    assert [reading(value) for value in (0.53124, 12.0, 50_001, 5e-5, math.nan, None)] == [
        "0.5312", "12", "50001", "5e-05", "–", "–",
    ]  # fmt: skip


VALUES = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0]))


@st.composite
def long_series(draw: st.DrawFn) -> tuple[array[float], array[float]]:
    """A series with far more points than columns, uneven in x, with gaps and values that a log axis cannot show."""
    pieces = draw(st.lists(st.tuples(VALUES, st.integers(1, 40)), min_size=20, max_size=60))
    y = array("d", [value + i * 1e-3 for value, times in pieces for i in range(times)])
    gaps = draw(st.lists(st.integers(0, 5), min_size=7, max_size=7))
    x = array("d", [0.0])
    for i in range(len(y) - 1):
        x.append(x[-1] + gaps[i % 7])
    return x, y


@given(long_series(), st.integers(2, 30), st.booleans(), st.booleans())
def test_a_column_of_dots_keeps_its_lowest_and_highest_value(
    data: tuple[array[float], array[float]], columns: int, log_y: bool, zoomed: bool
) -> None:
    x, y = data
    low, high = (x[-1] * 0.3, x[-1] * 0.8) if zoomed else (x[0], x[-1])
    if not low < high:
        return
    how = Reduction(low, high, columns, log_y=log_y)
    found = Series(x, y).lines(how)
    axis = Axis(low, high)
    must: dict[int, list[float]] = {}
    may: dict[int, list[float]] = {}  # a point between two columns may stand in either
    left_out = 0
    for one, value in zip(x, y, strict=True):
        if low <= one <= high and abs(value) < 1e300:
            left_out += log_y and value <= 0
            if not log_y or value > 0:
                place = (one - low) / (high - low) * (columns - 1)
                around = {round(place - 1e-6), round(place + 1e-6)}
                for column in around:
                    (must if len(around) == 1 else may).setdefault(column, []).append(
                        math.log10(value) if log_y else value
                    )
    seen: dict[int, list[float]] = {}
    for line in found.lines:
        for u, v in line:
            assert low <= u <= high
            seen.setdefault(axis.place(u, columns), []).append(v)
    assert found.left_out == left_out
    for column, values in must.items():
        assert min(seen[column]) <= min(values) and max(seen[column]) >= max(values)
    edge = {0, columns - 1} if zoomed else set()  # where the window cuts the line there are new vertices
    for column in set(seen) - edge:
        assert set(seen[column]) <= set(must.get(column, []) + may.get(column, []))


def test_gaps_break_a_line() -> None:
    nan = math.nan
    series = Series(range(7), [1, 2, nan, 4, nan, 6, 7])
    assert series.lines(Reduction(0, 6, 50)).lines == [[(0, 1), (1, 2)], [(3, 4)], [(5, 6), (6, 7)]]
    assert series.lines(Reduction(0, 6, 50, log_y=True)).left_out == 0


def test_a_window_between_two_points_shows_the_line_through_it() -> None:
    assert Series([0, 10], [0, 100]).lines(Reduction(4, 6, 50)).lines == [[(4, 40), (6, 60)]]


def test_a_line_that_runs_backwards_is_drawn_as_it_comes() -> None:
    assert Series([3, 1, 2], [0, 1, 2]).lines(Reduction(1, 3, 50)).lines == [[(3, 0), (1, 1), (2, 2)]]
    assert Series([4, 0, 4], [0, 4, 8]).lines(Reduction(1, 3, 9)).lines == [[(3, 1), (1, 3)], [(1, 5), (3, 7)]]


@given(st.lists(VALUES, max_size=200), st.sampled_from([0.6, 0.9, 0.97]))
def test_smoothing_is_the_weighted_mean_of_all_before(values: list[float], weight: float) -> None:
    found = smoothed(array("d", values), weight)
    past: list[float] = []
    for value, smooth in zip(values, found, strict=True):
        if not math.isfinite(value):
            assert math.isnan(smooth)
            continue
        past.append(value)
        weights = [weight ** (len(past) - 1 - i) for i in range(len(past))]
        mean = sum(w * v for w, v in zip(weights, past, strict=True)) / sum(weights)
        assert smooth == pytest.approx(mean, rel=1e-9, abs=1e-6)


def test_a_smoothed_long_series_is_drawn_as_one_value_a_column() -> None:
    y = array("d", [i % 2 for i in range(10_000)])
    (line,) = Series(range(10_000), y).lines(Reduction(0, 9999, 100, weight=0.9)).lines
    assert len(line) == 100
    assert all(v == pytest.approx(0.5, abs=0.01) for _, v in line[1:])


@pytest.mark.parametrize("change", ["grown", "same", "other tail", "other middle", "shorter"])
def test_what_is_kept_from_the_series_before_changes_nothing(change: str) -> None:
    how = Reduction(0, 4999, 40)
    x, y = array("d", range(5000)), array("d", [math.sin(i / 50) + (i % 7) for i in range(5000)])
    before = Series(x, y)
    before.lines(how)
    if change == "grown":
        x, y = array("d", range(6000)), y + array("d", [9.0] * 1000)
    elif change == "other tail":
        y = y[:4000] + array("d", [50.0] * 1000)
    elif change == "other middle":
        y = y[:1000] + array("d", [math.nan, -50.0]) + y[1002:]
    elif change == "shorter":
        x, y = x[:3000], y[:3000]
    assert Series(x, y, before).lines(how) == Series(x, y).lines(how)


def test_the_numbers_are_copied() -> None:
    y = array("d", [1, 2, 3])
    series = Series([0, 1, 2, 3], y)
    y.append(4)
    assert len(series) == 3
    assert math.isnan(Series([0], [None]).y[0])  # type: ignore[list-item]


def test_search_along_x() -> None:
    series = Series([0, 1, 1, 5], [0, 0, 0, 0])
    assert [series.nearest(x) for x in (-9, 0.6, 3.5, 99)] == [0, 1, 3, 3]
    assert series.beyond(0, 0.1) == 1 and series.beyond(1, 0.1) == 5 and series.beyond(5, 0.1) is None
    assert series.beyond(5, -0.1) == 1 and series.beyond(1, -0.1) == 0 and series.beyond(0, -0.1) is None
    assert series.beyond(0, 2) == 5
    assert Series([], []).nearest(0) is None
