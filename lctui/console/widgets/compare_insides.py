"""One run's insides: which classes its compressed net confuses, and what became of each layer's weights.

Owns asking for them (they need torch, and so another process), waiting, and which layer is shown.  The charts are drawn
by `lctui.console.insides`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical

from lctui.console.compared_runs import Comparison
from lctui.console.exports import Exportable
from lctui.console.insides import LayerChart, layer_cells, layer_charts
from lctui.console.inspection import InspectionError, Superseded
from lctui.console.widgets.charts import confusion
from lctui.console.widgets.compare_view import View
from lctui.console.widgets.stat import Lines
from lctui.console.widgets.table import Column, LineTable, Row
from lctui.errors import printable
from lctui.export.insides import confusion_figure

LAYERS = (
    Column("layer", 8, flex=2),
    Column("shape", 11, flex=1, drop=2),
    Column("task", 9, flex=1, drop=1),
    Column("non-zeros", 9, "right"),
)
WAIT = "asking the run's compressed net; torch takes a few seconds the first time"

Answer = dict[str, Any] | str
"""What the inspection says, or why it cannot."""


class Insides(View):
    """Confusion matrix beside layers and the chart of the one under the cursor."""

    BINDINGS = [
        Binding("left_square_bracket", "run(-1)", "run before", key_display="["),
        Binding("right_square_bracket", "run(1)", "next run", key_display="]"),
        Binding("w", "pane", "confusion or weights"),
        Binding("v", "chart", "other chart"),
    ]
    DEFAULT_CSS = """
    Insides { layout: horizontal; }
    Insides > Vertical { width: 1fr; height: 1fr; border: round $primary; padding: 0 1; overflow: hidden; }
    Insides > #confusion.-front, Insides > #weights.-front { border: round $accent; }
    Insides #weights LineTable { height: auto; max-height: 40%; margin-bottom: 1; }
    Insides #chart { height: 1fr; }
    """

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison, id="insides")
        self._run: str | None = None
        self._asked: tuple[str, str] | None = None
        self._answers: dict[tuple[str, str, str], Answer] = {}
        self._front = "confusion"
        self._chart = 0

    def compose(self) -> ComposeResult:
        """Two panes."""
        with Vertical(id="confusion"):
            yield Lines(id="matrix")
        with Vertical(id="weights"):
            yield LineTable(LAYERS, id="layers")
            yield Lines(id="chart")

    def enter(self) -> None:
        """Up and down go through the layers."""
        self.query_one(LineTable).focus()

    def words(self) -> str:
        """Which run."""
        run_id, ids = self.in_hand(), self.comparison.ids
        return f"{self.comparison.legend(run_id)}  {ids.index(run_id) + 1}/{len(ids)}" if run_id is not None else ""

    def in_hand(self) -> str | None:
        """The run that is looked into: at first the one that the others are compared to."""
        return self._run if self._run in self.comparison.runs else self.comparison.base

    def on_resize(self, event: events.Resize) -> None:
        """Charts are made to measure."""
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """What is known of the run; the rest is asked for."""
        run_id = self.in_hand()
        if run_id is None or not self.display:
            return
        self._ask(run_id)
        for name in ("confusion", "weights"):
            self.query_one(f"#{name}").set_class(name == self._front, "-front")
        self._show_confusion()
        self._show_layers()

    # Asking

    def _ask(self, run_id: str) -> None:
        """Asks once for each state that the run is in: what a finished run holds does not change."""
        key = (run_id, self.comparison.runs[run_id].status)
        if key[1] and key != self._asked:
            self._asked = key
            if any((*key, name) not in self._answers for name in ("confusion", "weights")):
                self.run_worker(self._await_both(key), group="insides", exclusive=True)

    async def _await_both(self, key: tuple[str, str]) -> None:
        inspection = self.app.inspection
        await asyncio.gather(
            self._await_answer((*key, "weights"), inspection.weights(key[0])),
            self._await_answer((*key, "confusion"), inspection.confusion(key[0])),
        )

    async def _await_answer(self, key: tuple[str, str, str], question: Awaitable[dict[str, Any]]) -> None:
        try:
            self._answers[key] = await question
        except Superseded:
            # Another screen asked the same kind of question: ours is asked again when it is looked at again.
            self._asked = None
            return
        except InspectionError as error:
            self._answers[key] = printable(str(error))
        self.show()

    def _answer(self, name: str) -> Answer:
        run_id = self.in_hand()
        key = (run_id or "", self.comparison.runs[run_id].status if run_id is not None else "", name)
        return self._answers.get(key, WAIT)

    # Showing

    def _show_confusion(self) -> None:
        answer, lines, plain = self._answer("confusion"), self.query_one("#matrix", Lines), self.app.glyphs.plain
        box = self.query_one("#confusion")
        if isinstance(answer, str):
            box.border_title = "confusion"
            lines.show(_told(plain(answer), box.content_size.width))
            return
        box.border_title = plain(f"confusion, {answer['split']} images, {answer['error_pct']:.2f} % wrong")
        ascii, dark = self.app.glyphs.ascii, self.app.current_theme.dark
        text = confusion(list(map(str, answer["classes"])), answer["matrix"], box.content_size.width, ascii, dark)
        lines.show(list(text.split("\n")))

    def _show_layers(self) -> None:
        answer, table, plain = self._answer("weights"), self.query_one(LineTable), self.app.glyphs.plain
        box = self.query_one("#weights")
        box.border_title = "weights"
        if isinstance(answer, str):
            table.display = False
            table.set_rows(())
            self.query_one("#chart", Lines).show(_told(plain(answer), box.content_size.width))
            return
        rows = [Row(layer["name"], tuple(map(plain, layer_cells(layer)))) for layer in answer["layers"]]
        table.display = True
        table.styles.height = len(rows) + 1
        table.set_rows(rows)
        self.call_after_refresh(self._show_chart)

    def _layer(self) -> dict[str, Any] | None:
        answer, name = self._answer("weights"), self.query_one(LineTable).key
        layers = [] if isinstance(answer, str) else answer["layers"]
        return next((layer for layer in layers if layer["name"] == name), None)

    def _charts(self) -> list[LayerChart]:
        layer = self._layer()
        return layer_charts(layer) if layer is not None else []

    def _show_chart(self) -> None:
        charts, lines = self._charts(), self.query_one("#chart", Lines)
        if charts:
            chart = charts[self._chart % len(charts)]
            width, height = lines.size
            title = Text(self.app.glyphs.plain(chart.title), style="bold", no_wrap=True)
            lines.show([title, *chart.lines(width, height - 1, self.app.glyphs.ascii)])

    def on_line_table_highlighted(self) -> None:
        """Another layer."""
        self._show_chart()

    # Keys

    def action_run(self, by: int) -> None:
        """Looks into another run."""
        ids, run_id = self.comparison.ids, self.in_hand()
        if run_id is not None:
            self._run = ids[(ids.index(run_id) + by) % len(ids)]
            self.show()
            self.post_message(self.Changed())

    def action_pane(self) -> None:
        """The other pane: what is exported, and at narrow widths what is seen."""
        self._front = "weights" if self._front == "confusion" else "confusion"
        self.show()
        self.call_after_refresh(self.show)  # a pane that was not displayed had no size to draw for

    def action_chart(self) -> None:
        """The layer's other chart: histogram, codebook, singular values."""
        self._chart += 1
        self._show_chart()

    def exportable(self) -> Exportable | None:
        """The confusion matrix, or the chart of the layer under the cursor: whichever pane is in front."""
        run_id = self.in_hand()
        name = self.comparison.name(run_id) if run_id is not None else ""
        if self._front == "confusion":
            answer = self._answer("confusion")
            return None if isinstance(answer, str) else Exportable("confusion", figure=confusion_figure(name, answer))
        charts = self._charts()
        return Exportable("weights", figure=charts[self._chart % len(charts)].figure) if charts else None


def _told(words: str, width: int) -> list[Text]:
    """Words that may take several lines."""
    lines: list[str] = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > max(width, 8):
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [Text(line, style="dim") for line in lines]
