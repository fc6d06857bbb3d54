"""The card beside the run list: the selected run in a few lines and one plot.

Owns when a run's events are read for it: once the cursor has rested, in a thread, and again while the run is live.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.worker import Worker, get_current_worker

from lctui.console.following import Followed
from lctui.console.views import error_curves, error_lines, number, progress_lines, size_words, task_words
from lctui.console.widgets.plot import Plot
from lctui.console.widgets.stat import Lines
from lctui.runs.index import RunRow
from lctui.runs.status import AT_WORK
from lctui.scheme.measure import Measure

if TYPE_CHECKING:
    from lctui.console.app import Console

REST_SECONDS = 0.12
FOLLOW_SECONDS = 1.0


class RunCard(Vertical):
    """One run at a glance."""

    DEFAULT_CSS = """
    RunCard { border: round $primary; padding: 0 1; }
    RunCard Plot { height: 1fr; min-height: 4; }
    RunCard #tasks { max-height: 6; }
    """

    app: Console

    def __init__(self) -> None:
        super().__init__()
        self._row: RunRow | None = None
        self._follower: Followed | None = None
        self._title = ""
        self._resting: Timer | None = None
        self._reading: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """Numbers over a plot over tasks."""
        yield Lines(id="numbers")
        yield Plot(ascii=self.app.glyphs.ascii)
        yield Lines(id="tasks")

    def on_mount(self) -> None:
        """Live runs move."""
        self.query_one(Plot).log_y = self.app.settings.log_y
        self.set_interval(FOLLOW_SECONDS, self._follow)

    def show(self, row: RunRow | None) -> None:
        """Shows a run; its events are read once the cursor has rested on it."""
        before, self._row = self._row, row
        if row is None:
            self.border_title = self._title = ""
            self.query_one("#numbers", Lines).show([])
            self.query_one("#tasks", Lines).show([])
            self.query_one(Plot).show([])
            self._follower = None
            return
        title = self.app.glyphs.plain(f"{row.summary['name']}  {row.summary['status']}")
        if title != self._title:  # a new title repaints the whole card
            self._title = title
            self.border_title = Content(title)
        if before is None or before.id != row.id:
            self._follower = None
            if self._resting is not None:
                self._resting.stop()
            self._resting = self.set_timer(REST_SECONDS, self._follow)
        elif before is not row:
            self._follow()

    def _follow(self) -> None:
        row = self._row
        if row is None or not self.display or self.screen is not self.app.screen:
            return
        if self._follower is None or self._follower.run.id != row.id:
            self._follower = Followed(self.app.run_of(row.id))
        elif row.summary["status"] not in AT_WORK and self._follower.settled:
            return
        if self._reading is None or self._reading.is_finished:
            follower = self._follower
            self._reading = self.run_worker(lambda: self._read(follower), thread=True)

    def _read(self, follower: Followed) -> None:
        for _ in follower.catch_up():
            if get_current_worker().is_cancelled or follower is not self._follower:
                return
            self.app.call_from_thread(self._paint, follower)

    def _paint(self, follower: Followed) -> None:
        if follower is not self._follower or self._row is None or not self.is_attached:
            return
        history, glyphs, summary = follower.history, self.app.glyphs, follower.summary or self._row.summary
        measure = Measure(summary["metric"])
        lines: list[str | Text] = []
        if summary["status"] in AT_WORK:
            lines += progress_lines(summary, follower.progress, glyphs, self.size.width)
        if summary["error"]:
            error = summary["error"].replace(f"{follower.run.folder}/", "")
            wrapped = textwrap.wrap(glyphs.plain(f"{glyphs.error} {error}"), max(self.size.width - 4, 20))
            lines += wrapped[:4]
        gap = history.steps["gap"][-1] if len(history.steps) else None
        lines.append(glyphs.plain(f"μ {number(summary['mu'])}   gap {number(gap)}   {size_words(history)}"))
        lines += [glyphs.plain(line) for line in error_lines(history, measure, self.size.width - 4)]
        self.query_one("#numbers", Lines).show(lines)
        self.query_one("#tasks", Lines).show([glyphs.plain(line) for line in task_words(history)[:6]])
        self.query_one(Plot).show(error_curves(history, train=False), title=measure.error_column(), x_title="LC step")
