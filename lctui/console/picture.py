"""A plot as lines of text: axes, curves, points, cursor and legend, laid out for the room there is.

Pure: curves and a view go in, rows of coloured text come out.  What does not fit is dropped in a fixed order: the
legend at the right, the axis line, tick labels, the top line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rich.cells import cell_len

from lctui.console.axes import LARGEST, Axis, reading, tick_labels
from lctui.console.canvas import FAINT, PLAIN, STRONG, Canvas, Run
from lctui.console.frame import horizontal_axis, vertical
from lctui.console.legend import (
    SIDE_FROM,
    Entry,
    Ink,
    clean,
    fitted,
    header,
    header_length,
    shortened,
    shown_value,
    side,
    side_width,
    signs,
)
from lctui.console.series import Lines, Reduction, Series

GUTTER = 7
MOST_FAINT = 3
"""With more lines than this, the raw ones are not drawn behind the smoothed ones."""
MOST_LABELS = 300
LABEL_WIDTH = 18


@dataclass(frozen=True)
class Curve:
    """What to draw: a line (x must not decrease) or points, with a label each if there are any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    kind: Literal["line", "points"] = "line"
    emphasis: bool = False
    labels: Sequence[str] | None = None


@dataclass(frozen=True)
class View:
    """How to see the curves."""

    width: int
    height: int
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    empty: str = "no steps yet"
    log_x: bool = False
    log_y: bool = False
    smoothing: float = 0.0
    cursor: float | None = None
    window: tuple[float, float] | None = None
    picked: tuple[int, int] | None = None
    """The point under the cursor: which curve, which of its points."""
    ascii: bool = False


@dataclass
class Picture:
    """Rows of runs, each exactly as wide as the view; where the curves are in them; the horizontal scale there."""

    rows: list[list[Run]]
    left: int = 0
    top: int = 0
    width: int = 0
    height: int = 0
    x_axis: Axis | None = None
    y_axis: Axis | None = None
    spots: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Points as (column, row, curve, index), in cells of the curves' area."""
    painter: _Painter | None = None
    """What drew it: a picture that differs in its cursor only need not draw the curves again."""


def _top(view: View) -> int:
    """Lines above the curves: one if there is room; sooner with a cursor, which is read there."""
    narrow, flat = (8, 3) if view.cursor is not None else (16, 5)
    return int(view.width >= narrow and view.height >= flat)


def extent(series: Sequence[Series], log: bool = False) -> tuple[float, float] | None:
    """The x, in values, between which all curves lie."""
    found = [span for span in (one.extent(log) for one in series) if span is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def horizontal(curves: Sequence[Curve], series: Sequence[Series], view: View) -> Axis | None:
    """The horizontal scale: the window, or everything."""
    whole = extent(series, view.log_x)
    if whole is None:
        return None
    low, high = view.window or whole
    if view.log_x and low <= 0:
        low, high = whole[0], max(high, whole[0])
    scale = Axis(0.0, 1.0, view.log_x)
    low, high = scale.unit(low), scale.unit(high)
    if view.window is not None and high > low:
        return Axis(low, high, view.log_x)
    points = any(curve.kind == "points" for curve in curves)
    return Axis.around(low, high, view.log_x, 0.04 if points else 1e-9 if view.log_x else 0.0)


def draw(curves: Sequence[Curve], series: Sequence[Series], view: View, before: Picture | None = None) -> Picture:
    """The picture of some curves, whose numbers are in `series`; `before` may be the one drawn before it."""
    if view.width < 1 or view.height < 1:
        return Picture([[] for _ in range(max(view.height, 0))])
    painter = before.painter if before is not None else None
    if painter is None or not painter.serves(curves, series, view):
        painter = _Painter(curves, series, view)
        painter.draw_curves()
    return painter.picture(view)


class _Painter:
    """One picture in the making: first everything but the cursor, then the cursor on a copy."""

    def __init__(self, curves: Sequence[Curve], series: Sequence[Series], view: View) -> None:
        self.curves, self.series, self.view = curves, series, view
        self.signs = signs([curve.kind for curve in curves], view.ascii)
        self.single = "*" if view.ascii else "●"
        self.x_axis = horizontal(curves, series, view)
        self.left_out = 0
        self.canvas = self.drawn = Canvas(0, 0, view.ascii)
        self.ticks: list[float] = []
        self.labels: list[str] = []
        self.top = _top(view)
        self.bottom = 2 if view.height >= 12 else 1 if view.height >= 7 else 0
        self.height = view.height - self.top - self.bottom
        self.entries = [Entry(i, self.signs[i], clean(curve.name, view.ascii)) for i, curve in enumerate(curves)]
        crowded = len(curves) > 1 and header_length(view.title, self.entries) > view.width
        self.side = side_width(self.entries, view.width) if crowded and view.width >= SIDE_FROM else 0
        self.gutter = 0
        self.spots: list[tuple[int, int, int, int]] = []
        if view.width >= 24 and view.height >= 4:
            self.gutter = GUTTER if view.width >= 40 else GUTTER - 2

    def serves(self, curves: Sequence[Curve], series: Sequence[Series], view: View) -> bool:
        """Whether only the cursor is elsewhere."""
        same = self.curves is curves and self.series is series and self.top == _top(view)
        return same and replace(self.view, cursor=None, picked=None) == replace(view, cursor=None, picked=None)

    def draw_curves(self) -> None:
        """Lays out, and draws what does not depend on the cursor."""
        self.ticks, self.labels = self._reduced()
        longest = max(map(len, self.labels), default=0)
        if self.gutter and longest + 1 > self.gutter:
            self.gutter = min(longest + 1, self.view.width // 3)
            self.ticks, self.labels = self._reduced()
        if self.y_axis is None:
            self.gutter = self.bottom = 0
            self.height = self.view.height - self.top
            self._reduced()
            self._say_why_empty()
        else:
            self._draw_lines()
            self._draw_points()
        self.drawn = self.canvas

    def picture(self, view: View) -> Picture:
        """Adds the cursor, and puts the rows together."""
        self.view, self.canvas = view, self.drawn.copy()
        if self.y_axis is not None:
            self._draw_cursor()
            self._draw_labels()
        size = (self.gutter, self.top, self.width, self.height)
        return Picture(self._rows(), *size, self.x_axis, self.y_axis, self.spots, self)

    def _reduced(self) -> tuple[list[float], list[str]]:
        """Reduces the curves to the width that is left; finds the vertical scale and its ticks."""
        view = self.view
        self.width = max(view.width - self.gutter - self.side, 1)
        self.canvas = Canvas(self.width, self.height, view.ascii)
        self.lines: dict[int, Lines] = {}
        self.faint: dict[int, Lines] = {}
        self.points: dict[int, list[tuple[float, float, int]]] = {}
        self.left_out = 0
        self.y_axis: Axis | None = None
        if self.x_axis is None:
            return [], []
        how = self._how(view.smoothing)
        lines = [i for i, curve in enumerate(self.curves) if curve.kind == "line"]
        for i, curve in enumerate(self.curves):
            if curve.kind == "points":
                self.points[i], left_out = self.series[i].points(how)
            else:
                self.lines[i] = self.series[i].lines(how)
                left_out = self.lines[i].left_out
            self.left_out += left_out
        if view.smoothing and len(lines) <= MOST_FAINT and not view.ascii:
            self.faint = {i: self.series[i].lines(self._how(0.0)) for i in lines}
        heights = [v for points in self.points.values() for _, v, _ in points]
        for span in (each.extent() for each in self.lines.values()):
            heights += span or ()
        if not heights:
            return [], []
        self.y_axis = Axis.around(min(heights), max(heights), view.log_y, 0.1 if self.faint else 0.04)
        ticks = self.y_axis.ticks(max(min(3, self.height), self.height // 3)) if self.gutter else []
        return ticks, tick_labels(ticks)

    def _how(self, weight: float) -> Reduction:
        axis, view = self.x_axis, self.view
        assert axis is not None
        low, high = axis.value(axis.low), axis.value(axis.high)
        return Reduction(low, high, self.canvas.dots[0], view.log_x, view.log_y, weight)

    def _say_why_empty(self) -> None:
        words = self.view.empty
        if self.x_axis is not None:
            words = "no values above zero (log scale)" if self.left_out else "no values"
            words = "no values here (0 shows all)" if self.view.window and not self.left_out else words
        words = shortened(clean(words, self.view.ascii), self.width, self.view.ascii)
        self.canvas.text((self.width - cell_len(words)) // 2, self.height // 2, words, Ink.NOTE)

    def _dot(self, u: float, v: float) -> tuple[int, int]:
        """The dot of a position in plot units."""
        assert self.x_axis is not None and self.y_axis is not None
        across, down = self.canvas.dots
        return self.x_axis.place(u, across), down - 1 - self.y_axis.place(v, down)

    def _dots(self, line: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
        """The dots of a polyline in plot units."""
        assert self.x_axis is not None and self.y_axis is not None
        across, down = self.canvas.dots
        rows = self.y_axis.places([v for _, v in line], down)
        columns = self.x_axis.places([u for u, _ in line], across)
        return [(column, down - 1 - row) for column, row in zip(columns, rows, strict=True)]

    def _draw_lines(self) -> None:
        """Faint ones first, emphasised ones last; then the signs of all."""
        for i, faint in self.faint.items():
            for line in faint.lines:
                self.canvas.polyline(self._dots(line), Ink.FAINT + i, FAINT)
        placed = {i: [self._dots(line) for line in found.lines] for i, found in self.lines.items()}
        for i in sorted(placed, key=lambda i: self.curves[i].emphasis):
            self.canvas.signs[i] = self.signs[i] or self.single
            for dots in placed[i]:
                self.canvas.polyline(dots, i, STRONG if self.curves[i].emphasis else PLAIN)
        for i, lines in placed.items():
            if sum(map(len, lines)) == 1:
                column, row = self.canvas.cell(*lines[0][0])
                self._write(column, row, self.signs[i] or self.single, i)
            elif self.signs[i] and not self.view.ascii:
                self._sign_at_the_end(i, lines)

    def _sign_at_the_end(self, i: int, lines: Sequence[Sequence[tuple[int, int]]]) -> None:
        """The letter of a line, as far to the right as the line is seen and nobody else's letter stands."""
        for dot in (dot for line in reversed(lines) for dot in reversed(line)):
            column, row = self.canvas.cell(*dot)
            if self.canvas.owner(column, row) == i and not self.canvas.has_text(column, row):
                self._write(column, row, self.signs[i], i)
                return

    def _write(self, column: int, row: int, text: str, ink: int) -> None:
        if ink >= Ink.PICKED:
            self.canvas.solid.add(ink)
        self.canvas.text(column, row, text, ink)

    def _draw_points(self) -> None:
        for i in sorted(self.points, key=lambda i: self.curves[i].emphasis):
            for column, row, index in self._cells(self.points[i]):
                self.spots.append((column, row, i, index))
                self._write(column, row, self.signs[i], i)

    def _cells(self, points: Sequence[tuple[float, float, int]]) -> list[tuple[int, int, int]]:
        """Points as (column, row, index)."""
        cells = [self.canvas.cell(*dot) for dot in self._dots([(u, v) for u, v, _ in points])]
        return [(*cell, index) for cell, (_, _, index) in zip(cells, points, strict=True)]

    def _draw_labels(self) -> None:
        """Labels where nothing else stands: the picked point's first, then emphasised ones."""

        def weight(spot: tuple[int, int, int, int]) -> tuple[bool, bool]:
            return spot[2:] != self.view.picked, not self.curves[spot[2]].emphasis

        for column, row, i, index in sorted(self.spots, key=weight)[:MOST_LABELS]:
            labels = self.curves[i].labels
            if not labels or index >= len(labels):
                continue
            label = shortened(clean(labels[index], self.view.ascii), LABEL_WIDTH, self.view.ascii)
            size = cell_len(label)
            for left, line in ((column + 2, row), (column - 1 - size, row), *_above_and_below(column, row, size)):
                if label and left >= 0 and self.canvas.is_free(left, line, size):
                    self._write(left, line, label, Ink.PICKED + i if (i, index) == self.view.picked else i)
                    break

    def _draw_cursor(self) -> None:
        """A vertical line where nothing else stands, and the sign of each curve where the cursor meets it."""
        cursor, axis = self.view.cursor, self.x_axis
        if cursor is None or axis is None or (axis.log and cursor <= 0):
            return
        column = axis.place(axis.unit(cursor), self.canvas.dots[0]) // self.canvas.across
        if not 0 <= column < self.width:
            return
        for row in range(self.height):
            if self.canvas.is_free(column, row):
                self._write(column, row, "|" if self.view.ascii else "│", Ink.CURSOR)
        for place, row, i, index in self.spots:
            if (i, index) == self.view.picked:
                self._write(place, row, self.signs[i], Ink.PICKED + i)
        for i in sorted(self.lines, key=lambda i: self.curves[i].emphasis):
            value = self._value(i)
            if value is not None and (0 if self.view.log_y else -LARGEST) < value < LARGEST and self.y_axis is not None:
                row = self.canvas.cell(*self._dot(axis.unit(cursor), self.y_axis.unit(value)))[1]
                self._write(column, row, self.signs[i] or self.single, Ink.PICKED + i)

    def _value(self, i: int) -> float | None:
        """A curve's value under the cursor: that of its nearest point, if the cursor is on the curve at all."""
        cursor, axis, series = self.view.cursor, self.x_axis, self.series[i]
        if cursor is None or axis is None:
            return None
        if self.curves[i].kind == "points" and self.view.picked is not None:
            return series.y[self.view.picked[1]] if self.view.picked[0] == i else None
        index, span = series.nearest(cursor), series.extent(self.view.log_x)
        if index is None or span is None:
            return None
        cell = abs(axis.at(self.canvas.across, self.canvas.dots[0]) - axis.at(0, self.canvas.dots[0]))
        near = abs(series.x[index] - cursor) <= cell
        inside = self.curves[i].kind == "line" and span[0] <= cursor <= span[1]
        weight = self.view.smoothing if self.curves[i].kind == "line" else 0.0
        return series.smoothed(weight)[index] if near or inside else None

    def _rows(self) -> list[list[Run]]:
        view = self.view
        entries = self.entries
        if view.cursor is not None:
            only = view.picked[0] if view.picked is not None else None
            entries = [
                Entry(each.curve, each.sign, each.name, shown_value(self._value(each.curve), view.ascii))
                if only in (None, each.curve)
                else each
                for each in entries
            ]
        rows = [self._header([] if self.side else entries)] if self.top else []
        beside = side(entries, self.side, self.height, view.ascii) if self.side else [[]] * self.height
        gutters = self._gutters()
        for row in range(self.height):
            rows.append([*gutters[row], *self.canvas.runs(row), *beside[row]])
        rows += self._below()
        return [fitted(row, view.width) for row in rows]

    def _header(self, entries: Sequence[Entry]) -> list[Run]:
        view, notes = self.view, []
        if self.left_out and self.y_axis is not None:
            notes.append(f"{self.left_out} ≤ 0 left out")
        notes += [f"smooth {view.smoothing:g}"] if view.smoothing else []
        notes += ["log"] if view.log_y else []
        notes += ["log x"] if view.log_x else []
        notes += ["zoom"] if view.window else []
        title, x_title, y_title = (clean(text, view.ascii) for text in (view.title, view.x_title, view.y_title))
        at = ("", "") if view.cursor is None else (x_title or "x", reading(view.cursor))
        if view.picked is not None:
            labels = self.curves[view.picked[0]].labels or ()
            if view.picked[1] < len(labels):
                label = clean(labels[view.picked[1]], view.ascii)
                at = (at[0], f"{at[1]} {shortened(label, LABEL_WIDTH, view.ascii)}")
        return header(view.width, title, y_title, at, entries, [clean(note, view.ascii) for note in notes], view.ascii)

    def _gutters(self) -> list[list[Run]]:
        """The vertical axis with its labels, a run a row."""
        rows = []
        if self.y_axis is not None and self.gutter:
            places = self.y_axis.places([self.y_axis.unit(tick) for tick in self.ticks], self.canvas.dots[1])
            rows = [(self.canvas.dots[1] - 1 - place) // self.canvas.down for place in places]
        return vertical(self.gutter, self.height, dict(zip(rows, self.labels, strict=False)), self.view.ascii)

    def _below(self) -> list[list[Run]]:
        """The horizontal axis."""
        axis, title = self.x_axis, clean(self.view.x_title, self.view.ascii)
        if axis is None or not self.bottom:
            return []
        ticks = axis.ticks(max(2, self.width // 9), self._whole())
        columns = [axis.place(axis.unit(tick), self.canvas.dots[0]) // self.canvas.across for tick in ticks]
        placed = list(zip(columns, tick_labels(ticks), strict=True))
        return horizontal_axis(self.gutter, self.width, placed, title, self.bottom == 2, self.view.ascii)

    def _whole(self) -> bool:
        """Whether x counts something: whole numbers, as far as a look at the ends tells."""
        ends = [x for one in self.series for x in (*one.x[:50], *one.x[-50:])]
        return bool(ends) and all(-LARGEST < x < LARGEST and x == int(x) for x in ends)


def _above_and_below(column: int, row: int, size: int) -> tuple[tuple[int, int], ...]:
    left = max(column - size // 2, 0)
    return (left, row - 1), (left, row + 1)
