"""Compare: several runs as curves, as points, by what differs, and one run's insides.

Owns the views, the reading thread and the keys that all views share.  What a view shows is the view's.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.timer import Timer
from textual.widgets import ContentSwitcher
from textual.worker import Worker

from lctui.console.compared_runs import Compared, Comparison, Reader
from lctui.console.screens.base import ConsoleScreen
from lctui.console.widgets.compare_curves import Curves
from lctui.console.widgets.compare_differences import Differences
from lctui.console.widgets.compare_insides import Insides
from lctui.console.widgets.compare_pareto import Pareto
from lctui.console.widgets.compare_view import View, ViewLine
from lctui.console.widgets.table import LineTable

if TYPE_CHECKING:
    from lctui.console.exports import Exportable

SLIM = 72
NAMES = ("curves", "pareto", "differences", "insides")
FOLLOW_SECONDS = 1.0
FIRST_PAINT_SECONDS, PAINT_SECONDS = 0.05, 0.5


class CompareScreen(ConsoleScreen):
    """The runs that were marked, side by side."""

    HEADING = "compare"
    ABOUT = (
        "Runs side by side. 1 curves of one metric by LC step, 2 error against compression ratio with the Pareto front "
        "(no other run has both less error and more compression), 3 what differs between the schemes and what came of "
        "it, 4 one run's confusion matrix and weights.\n"
        "Best is the step of lowest validation error, ties to the later; test data chooses nothing."
    )
    BINDINGS = [
        Binding("tab", "turn(1)", "next view"),
        *(Binding(str(place + 1), f"view({place})", name, show=False) for place, name in enumerate(NAMES)),
        Binding("shift+tab", "turn(-1)", "view before", show=False),
        Binding("space", "mark", "draw or not"),
        Binding("p", "pin", "pin"),
        Binding("enter", "open", "open run", show=False),
        Binding("escape,q", "leave", "back"),
    ]
    DEFAULT_CSS = """
    CompareScreen ContentSwitcher { height: 1fr; padding: 0 1; }
    CompareScreen.-slim Pareto { layout: vertical; }
    CompareScreen.-slim Pareto > Plot { width: 1fr; }
    CompareScreen.-slim Pareto > LineTable { width: 1fr; height: 40%; margin-left: 0; min-height: 3; }
    CompareScreen.-slim Insides > Vertical { display: none; }
    CompareScreen.-slim Insides > Vertical.-front { display: block; }
    CompareScreen.-short Insides #weights LineTable { margin-bottom: 0; }
    """

    class Read(Message):
        """More is known of a run."""

        def __init__(self, run: Compared) -> None:
            super().__init__()
            self.run = run

    def __init__(self, run_ids: list[str]) -> None:
        super().__init__()
        self._run_ids = run_ids
        self._stopped = threading.Event()
        self._painting: Timer | None = None
        self._reading: Worker[None] | None = None
        self._waiting: set[str] = set()

    def compose_body(self) -> ComposeResult:
        """The line of views over the one in front."""
        self.comparison = Comparison(self._run_ids, self.app.pinned)
        yield ViewLine(NAMES)
        with ContentSwitcher(initial=NAMES[0]):
            for view in (Curves, Pareto, Differences, Insides):
                yield view(self.comparison)

    def on_mount(self) -> None:
        """Reading begins; what is there is painted as it comes."""
        self.reader = Reader(self.app.store, lambda run: self.post_message(self.Read(run)), self._stopped)
        self._waiting = set(self.comparison.ids)
        self.reader.add(self.comparison.ids)
        self.set_interval(FOLLOW_SECONDS, self._read_on)
        self._read_on()
        self.view.enter()
        self.view.show()
        self._show_line()

    def _read_on(self) -> None:
        """Reads what is new, in a thread, unless one is still at it."""
        if self._reading is None or self._reading.is_finished:
            self._reading = self.run_worker(self.reader.read, thread=True)

    def on_unmount(self) -> None:
        """The thread ends."""
        self._stopped.set()

    @property
    def view(self) -> View:
        """The view in front."""
        return self.query_one(f"#{self.query_one(ContentSwitcher).current}", View)

    @property
    def looked_at(self) -> bool:
        """Has every run been read, or looked at?"""
        return not self._waiting

    def title_words(self) -> str:
        """How many runs, and which they are compared to."""
        count = len(self.comparison.ids)
        base = self.comparison.base
        beside = f", to {self.comparison.legend(base)}" if base is not None and count > 1 else ""
        return f"compare {count} run{'' if count == 1 else 's'}{beside}"

    def on_resize(self, event: Any) -> None:
        """Below 72 columns panes are stacked."""
        super().on_resize(event)
        self.set_class(event.size.width < SLIM, "-slim")
        self.call_after_refresh(self._show_line)

    def on_compare_screen_read(self, message: Read) -> None:
        """Takes it in; paints soon: at once when it completes the first picture, else twice a second at most."""
        run = message.run
        if run.id not in self.comparison.runs:
            return
        self.comparison.runs[run.id] = run
        self._waiting.discard(run.id)
        if not self._waiting and self._painting is not None:
            self._painting.stop()
            self._painting = None
        if self._painting is None:
            self._painting = self.set_timer(PAINT_SECONDS if self._waiting else FIRST_PAINT_SECONDS, self._paint)

    def _paint(self) -> None:
        self._painting = None
        self.view.show()
        self._show_line()
        self.show_title()

    def _show_line(self) -> None:
        place = NAMES.index(str(self.query_one(ContentSwitcher).current))
        self.query_one(ViewLine).show(place, self.app.glyphs.plain(self.view.words()))

    def on_view_changed(self) -> None:
        """The view shows something else."""
        self._show_line()
        self.show_title()

    # Keys

    def on_view_line_picked(self, message: ViewLine.Picked) -> None:
        """A click on a view's name."""
        self.action_view(message.place)

    def action_view(self, place: int) -> None:
        """Brings a view to the front."""
        self.query_one(ContentSwitcher).current = NAMES[place]
        self.view.show()
        self.view.enter()
        self._show_line()

    def action_turn(self, by: int) -> None:
        """The next view, or the one before."""
        place = NAMES.index(str(self.query_one(ContentSwitcher).current))
        self.action_view((place + by) % len(NAMES))

    def action_mark(self) -> None:
        """Draws the run under the cursor or not; one that was not compared joins in."""
        run_id, comparison = self.view.in_hand(), self.comparison
        if run_id is None:
            return
        if run_id in comparison.shown:
            comparison.hidden.add(run_id)
        elif comparison.add(run_id):
            self.reader.add([run_id])
            self._read_on()
        marked = self.app.marked
        if run_id in comparison.hidden and run_id in marked:
            marked.remove(run_id)
        elif run_id not in comparison.hidden and run_id not in marked:
            marked.append(run_id)
        self._paint()

    def action_pin(self) -> None:
        """The run under the cursor is the one that the others are compared to, or no longer."""
        run_id = self.view.in_hand()
        if run_id is None:
            return
        if run_id not in self.comparison.runs:
            self.action_mark()
        self.app.pinned = self.comparison.pinned = None if run_id == self.comparison.pinned else run_id
        self._paint()

    def action_open(self) -> None:
        """Shows the run under the cursor."""
        if (run_id := self.view.in_hand()) is not None:
            self.app.open_run(run_id)

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        """Enter on a row."""
        self.action_open()

    def action_leave(self) -> None:
        """Back to where one came from."""
        self.app.pop_screen()

    def exportable(self) -> Exportable | None:
        """The table or plot in view."""
        return self.view.exportable()
