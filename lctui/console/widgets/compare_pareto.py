"""Error against compression ratio, a point a run, and the Pareto front among them.

Owns which runs have a point and walking through them.  What a front is, is the comparison's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding

from lctui.console.compared_runs import Comparison
from lctui.console.comparison import ERRORS, METRICS, Metric, Point, comparable, pareto_front, point
from lctui.console.exports import Exportable
from lctui.console.legend import signs
from lctui.console.widgets.compare_view import View
from lctui.console.widgets.plot import Curve, Plot
from lctui.console.widgets.table import Column, LineTable, Row
from lctui.errors import printable
from lctui.export import formats
from lctui.export.plots import Figure, Series

OTHERS, FRONT = "#8a8f98", "#9aa0a6"
COLUMNS = (
    Column("", 3),
    Column("run", 10, flex=1),
    Column("error %", 7, "right"),
    Column("ratio", 7, "right"),
    Column("front", 5, drop=1),
)


class Scatter(Plot):
    """A plot that smooths nothing: its only line is the front."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """As any plot's, but for smoothing."""
        return False if action == "smooth" else super().check_action(action, parameters)


class Pareto(View):
    """A scatter beside its points in rows."""

    BINDINGS = [
        Binding("e", "error", "which error"),
        Binding("b", "best", "best or final"),
        Binding("a", "all", "all comparable runs"),
        Binding("up,k", "move(-1)", "point before", show=False),
        Binding("down,j", "move(1)", "next point", show=False),
    ]
    DEFAULT_CSS = """
    Pareto { layout: horizontal; }
    Pareto > Plot { width: 3fr; height: 1fr; min-height: 4; }
    Pareto > LineTable { width: 2fr; height: 1fr; min-width: 36; margin-left: 1; }
    """

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison, id="pareto")
        self._place = 1
        self.at_best = False
        self.everyone = False
        self._others: dict[str, str] = {}
        self._points: dict[str, Point] = {}
        self._front: list[Point] = []
        self._signs: dict[str, str] = {}

    @property
    def error(self) -> Metric:
        """Which error is drawn."""
        return ERRORS[self._place].of(self.comparison.measure)

    def compose(self) -> ComposeResult:
        """Plot beside table."""
        yield Scatter(ascii=self.app.glyphs.ascii, empty="no run has an error and a ratio yet")
        yield LineTable(COLUMNS, empty="  no runs to compare")

    def enter(self) -> None:
        """Left and right walk the points as up and down do."""
        self.query_one(Plot).focus()

    def words(self) -> str:
        """Which error, of which step, of which runs."""
        which = "best step" if self.at_best else "final"
        return f"{self.error.title}, {which}" + (f", {len(self._others)} other runs" if self.everyone else "")

    def in_hand(self) -> str | None:
        """The run under the cursor."""
        return self.query_one(LineTable).key

    def show(self) -> None:
        """Points, front, rows."""
        self._others = self._comparable() if self.everyone else {}
        found = [*(self._compared(run_id) for run_id in self.comparison.shown), *map(self._other, self._others)]
        self._points = {each.run_id: each for each in found if each is not None}
        self._front = pareto_front(self._points.values())
        self._signs = self._sign_points()
        self.query_one(LineTable).set_rows(self._rows())
        self._draw()
        self.post_message(self.Changed())

    def _compared(self, run_id: str) -> Point | None:
        run, names = self.comparison.runs[run_id], (METRICS[-1].column, self.error.column)
        values = [run.best(name)[1] if self.at_best else run.final(name) for name in names]
        return point(run_id, *values)

    def _other(self, run_id: str) -> Point | None:
        row = self.app.index.get(run_id)
        facts: Mapping[str, Any] = row.facts if row is not None else {}
        block = "best" if self.at_best else "final"
        return point(run_id, *(facts.get(f"{block}.{name}") for name in (METRICS[-1].column, self.error.column)))

    def _comparable(self) -> dict[str, str]:
        """Names of the other finished runs whose errors are errors on the same data and classes."""
        base = self.app.index.get(self.comparison.base or "")
        if base is None:
            return {}
        return {
            row.id: printable(str(row.summary["name"]))
            for row in self.app.index.rows
            if row.summary["status"] == "finished"
            and row.id not in self.comparison.runs
            and comparable(row.facts, base.facts)
        }

    def _rows(self) -> list[Row]:
        front = {each.run_id for each in self._front}
        placed = sorted(self._points.values(), key=_place)
        ids = [each.run_id for each in placed]
        ids += [run_id for run_id in self.comparison.ids if run_id not in self._points]
        return [self._row(run_id, run_id in front) for run_id in ids]

    def _row(self, run_id: str, in_front: bool) -> Row:
        plain, compared = self.app.glyphs.plain, run_id in self.comparison.runs
        place = self._points.get(run_id)
        sign = self.signed(run_id, self._signs.get(run_id, "")) if compared else Text(self._signs.get(OTHERS, ""))
        name = self.comparison.name(run_id) if compared else self._others[run_id]
        error = plain(self.error.text(None if place is None else place.error))
        ratio = plain(METRICS[-1].text(None if place is None else place.ratio))
        mark = self.app.glyphs.finished if in_front else ""
        return Row(run_id, (sign, Text(plain(name)), error, ratio, mark), faint=place is None or not compared)

    def _draw(self) -> None:
        plot = self.query_one(Plot)
        plot.show([curve for _, curve in self._curves()], x_title="compression ratio", y_title="error %", now=True)
        here = self._points.get(self.in_hand() or "")
        plot.cursor = here.ratio if here is not None else None

    def _curves(self) -> list[tuple[list[str], Curve]]:
        """Each compared run as a point of its own, the front as a line, other runs as one cloud; with whose points."""
        comparison = self.comparison
        drawn: list[tuple[list[str], Curve]] = []
        for run_id in comparison.shown:
            if (here := self._points.get(run_id)) is not None:
                strong = run_id in (comparison.pinned, self.in_hand())
                labels = [comparison.name(run_id)]
                drawn.append(
                    ([run_id], _curve(labels[0], [here], comparison.colours[run_id], "points", strong, labels))
                )
        if self._front:
            drawn.append(([], _curve("Pareto front", self._front, FRONT, "line")))
        others = sorted((each for name, each in self._points.items() if name not in comparison.runs), key=_place)
        if others:
            drawn.append(([each.run_id for each in others], _curve("other runs", others, OTHERS, "points")))
        return drawn

    def _sign_points(self) -> dict[str, str]:
        """The signs that the plot gives to the runs, and to the cloud of others."""
        drawn = self._curves()
        given = signs([curve.kind for _, curve in drawn], self.app.glyphs.ascii)
        return {
            ids[0] if ids[0] in self.comparison.runs else OTHERS: sign
            for (ids, _), sign in zip(drawn, given, strict=True)
            if ids
        }

    def exportable(self) -> Exportable:
        """The points, and whether each is in the front; drawn by name."""
        front, runs = {each.run_id for each in self._front}, self.comparison.runs
        placed = sorted(self._points.values(), key=_place)
        names = [
            self.comparison.name(each.run_id) if each.run_id in runs else self._others[each.run_id] for each in placed
        ]
        columns = (
            formats.Column("id", detail=True),
            formats.Column("run"),
            formats.Column(
                self.error.column, self.error.title, "percent" if self.error.measure.is_percent else "number"
            ),
            formats.Column("compression_ratio", "ratio", "ratio"),
            formats.Column("pareto_front", "front"),
        )
        rows = tuple(
            (each.run_id, name, each.error, each.ratio, "yes" if each.run_id in front else "")
            for each, name in zip(placed, names, strict=True)
        )
        x, y = tuple(each.ratio for each in placed), tuple(each.error for each in placed)
        points = Series("runs", x, y, "points", tuple(names))
        figure = Figure(
            "pareto", "", "compression ratio", self.error.title, log_y=self.query_one(Plot).log_y, series=(points,)
        )
        return Exportable("compare-pareto", formats.Table(self.words(), columns, rows), figure)

    def on_line_table_highlighted(self) -> None:
        """The table's cursor stands on another point."""
        self._draw()

    def on_plot_cursor_moved(self, event: Plot.CursorMoved) -> None:
        """The plot's cursor stands on another point."""
        if event.point is not None:
            ids = self._curves()[event.point[0]][0]
            self.query_one(LineTable).go_to(ids[event.point[1]])

    def action_error(self) -> None:
        """The next kind of error."""
        self._place = (self._place + 1) % len(ERRORS)
        self.show()

    def action_best(self) -> None:
        """The best step by validation, or the final one."""
        self.at_best = not self.at_best
        self.show()

    def action_all(self) -> None:
        """All finished runs of the same data and classes, or only those compared."""
        self.everyone = not self.everyone
        self.show()

    def action_move(self, by: int) -> None:
        """The next point to the left or right."""
        self.query_one(LineTable).action_move(by)


def _place(point: Point) -> tuple[float, float, str]:
    return point.ratio, point.error, point.run_id


def _curve(
    name: str,
    points: Sequence[Point],
    colour: str,
    kind: Literal["line", "points"],
    strong: bool = False,
    labels: Sequence[str] | None = None,
) -> Curve:
    x, y = [each.ratio for each in points], [each.error for each in points]
    return Curve(name, x, y, colour, kind, strong, labels)
