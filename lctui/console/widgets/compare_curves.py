"""One metric of several runs by LC step, and what each run says under the plot's cursor.

Owns which metric is shown and how curves are named.  Plotting belongs to the plot, numbers to the comparison.
"""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding

from lctui.console.compared_runs import Compared, Comparison
from lctui.console.comparison import METRICS, Metric
from lctui.console.exports import Exportable
from lctui.console.widgets.compare_view import View
from lctui.console.widgets.plot import Curve, Plot
from lctui.console.widgets.table import Cell, Column, LineTable, Row
from lctui.export.plots import Figure, Series

COLUMNS = (
    Column("", 3),
    Column("run", 12, flex=1),
    Column("at cursor", 9, "right"),
    Column("final", 9, "right"),
    Column("best", 9, "right", drop=1),
    Column("at step", 7, "right", drop=3),
    Column("ratio", 7, "right", drop=2),
)
"""`best` is the metric at the step of lowest validation error, ties to the later."""


class Curves(View):
    """Overlaid curves over a table of their values."""

    BINDINGS = [
        Binding("m", "metric(1)", "metric"),
        Binding("M", "metric(-1)", "metric before", show=False),
        Binding("up,k", "move(-1)", "run above", show=False),
        Binding("down,j", "move(1)", "run below", show=False),
    ]
    DEFAULT_CSS = """
    Curves > Plot { height: 1fr; min-height: 4; }
    Curves > LineTable { height: auto; max-height: 40%; min-height: 3; }
    """

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison, id="curves")
        self._place = 0

    @property
    def metric(self) -> Metric:
        """What is drawn."""
        return METRICS[self._place].of(self.comparison.measure)

    def compose(self) -> ComposeResult:
        """Plot over table."""
        yield Plot(ascii=self.app.glyphs.ascii, empty="no LC steps yet")
        yield LineTable(COLUMNS, empty="  no runs to compare")

    def on_mount(self) -> None:
        """The table follows the plot's cursor."""
        plot = self.query_one(Plot)
        plot.log_y = self.app.settings.log_y
        plot.smoothing = self.app.settings.smoothing
        self.watch(plot, "cursor", self._show_table, init=False)

    def enter(self) -> None:
        """Left and right move the plot's cursor at once."""
        self.query_one(Plot).focus()

    def words(self) -> str:
        """How much is still to be read; the metric stands in the plot."""
        runs = [run.steps for run in self.comparison.runs.values()]
        unread = sum(steps is None or steps.sampled for steps in runs)
        return f"{unread} of {len(runs)} logs still being read" if unread else f"{len(runs)} runs"

    def in_hand(self) -> str | None:
        """The run under the table's cursor."""
        return self.query_one(LineTable).key

    def show(self) -> None:
        """Curves and table."""
        title = self.app.glyphs.plain(self.metric.title)
        self.query_one(Plot).show(self.curves(), title=title, x_title="LC step", now=True)
        self._show_table()

    def curves(self) -> list[Curve]:
        """A curve for each run that is drawn, in the order of its letters: one without steps is an empty one."""
        comparison = self.comparison
        return [
            Curve(
                comparison.name(run_id),
                steps.columns["step"] if steps is not None else (),
                steps.columns[self.metric.column] if steps is not None else (),
                comparison.colours[run_id],
                emphasis=run_id == comparison.pinned,
            )
            for run_id in comparison.shown
            for steps in [comparison.runs[run_id].steps]
        ]

    def exportable(self) -> Exportable:
        """The curves as they are drawn, unsmoothed."""
        plot, metric = self.query_one(Plot), self.metric
        series = tuple(Series(curve.name, curve.x, curve.y) for curve in self.curves())
        figure = Figure("curve", "", "LC step", metric.title, log_y=plot.log_y, series=series)
        return Exportable(f"compare-{metric.column.removesuffix('_pct')}", figure=figure)

    def _show_table(self) -> None:
        table = self.query_one(LineTable)
        rows = [self._row(self.comparison.runs[run_id]) for run_id in self.comparison.ids]
        table.styles.height = len(rows) + 1
        table.set_rows(rows)

    def _row(self, run: Compared) -> Row:
        numbers = [self.app.glyphs.plain(value) for value in self.values(run)]
        cells: tuple[Cell, ...] = (
            self.signed(run.id),
            Text(self.app.glyphs.plain(self.comparison.name(run.id))),
            *numbers,
        )
        return Row(run.id, cells, faint=run.id in self.comparison.hidden)

    def values(self, run: Compared) -> tuple[str, ...]:
        """At the cursor, final, best, at which step, ratio."""
        cursor, metric, steps = self.query_one(Plot).cursor, self.metric, run.steps
        here = metric.text(steps.at_step(metric.column, cursor)) if steps is not None and cursor is not None else ""
        step, best = run.best(metric.column)
        ratio = METRICS[-1].text(run.final("compression_ratio"))
        return (
            here,
            metric.text(run.final(metric.column)),
            metric.text(best),
            "–" if step is None else str(step),
            ratio,
        )

    def action_metric(self, by: int) -> None:
        """The next metric, or the one before."""
        self._place = (self._place + by) % len(METRICS)
        self.query_one(Plot).window = None
        self.show()
        self.post_message(self.Changed())

    def action_move(self, by: int) -> None:
        """Another run of the table."""
        self.query_one(LineTable).action_move(by)
