"""The run view: one run, live.

Owns what is shown of a run and how it is kept current: its files are read in a thread, the screen repaints what
changed, plots at most twice a second.
"""

from __future__ import annotations

import textwrap
from math import isfinite
from typing import Any

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.worker import Worker, get_current_worker

from lctui.console.exports import Exportable
from lctui.console.following import Followed
from lctui.console.screens.base import ConsoleScreen
from lctui.console.settings import save_settings
from lctui.console.views import (
    curve_of,
    error_curves,
    error_lines,
    event_words,
    last,
    log_export,
    number,
    plot_export,
    progress_lines,
    size_words,
    tasks_export,
)
from lctui.console.widgets.charts import sparkline
from lctui.console.widgets.plot import Plot
from lctui.console.widgets.stat import Lines
from lctui.console.widgets.table import Column, LineTable, Row
from lctui.headless.tables import age
from lctui.headless.words import duration, learned, size_of
from lctui.runs.status import AT_WORK
from lctui.scheme.measure import Measure

FOLLOW_SECONDS = 0.5
COUNTED = ("rank", "nonzeros", "groups_kept")
"""What shows best how a task develops."""
PANES = ("errors", "gap", "mu", "tasks", "log")
TASKS = (
    Column("layers", 8, flex=2),
    Column("type", 9, flex=1, drop=2),
    Column("learned", 14, flex=4),
    Column("by step", 12, drop=1),
    Column("size", 8, "right"),
)


class RunScreen(ConsoleScreen):
    """One run."""

    HEADING = "run"
    ABOUT = (
        "One run as it goes: μ climbs, the gap between the weights and their compressed form closes, the error falls.\n"
        "Errors are of the compressed net, in percent or by the scheme's metric. Best is by validation error.\n"
        "Test data chooses nothing. "
        "In a small terminal 1 to 5 choose the pane."
    )
    BINDINGS = [
        Binding("s", "stop", "stop"),
        Binding("r", "resume", "resume"),
        Binding("e", "edit", "edit a copy"),
        Binding("c", "compare", "insides"),
        Binding("space", "mark", "mark", show=False),
        Binding("1", "pane('errors')", "errors", show=False),
        Binding("2", "pane('gap')", "gap", show=False),
        Binding("3", "pane('mu')", "mu", show=False),
        Binding("4", "pane('tasks')", "layers", show=False),
        Binding("5", "pane('log')", "log", show=False),
        Binding("z", "zoom_pane", "one pane", key_display="z"),
        Binding("escape,q", "leave", "back"),
    ]
    DEFAULT_CSS = """
    RunScreen #numbers { padding: 0 1; }
    RunScreen Grid { grid-size: 2 3; grid-columns: 3fr 2fr; grid-rows: 1fr 1fr 1fr; height: 1fr; }
    RunScreen Grid > * { border: round $primary; height: 1fr; }
    RunScreen Grid > *:focus-within { border: round $accent; }
    RunScreen #errors { row-span: 2; }
    RunScreen.-one Grid { grid-size: 1 1; grid-columns: 1fr; grid-rows: 1fr; }
    RunScreen.-one Grid > * { display: none; row-span: 1; }
    RunScreen.-one Grid > .-front { display: block; }
    """

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self._front = self.app.settings.pane if self.app.settings.pane in PANES else "errors"
        self._alone = self.app.settings.alone
        self._reading: Worker[None] | None = None
        self._logged = 0

    def compose_body(self) -> ComposeResult:
        """Numbers over five panes."""
        plain, ascii = self.app.glyphs.plain, self.app.glyphs.ascii
        yield Lines(id="numbers")
        with Grid():
            for name, title in (("errors", "1 error %"), ("gap", "2 gap ‖w − Δ(Θ)‖"), ("mu", "3 μ")):
                with Vertical(id=name) as box:
                    box.border_title = Content(plain(title))
                    yield Plot(ascii=ascii)
            with Vertical(id="tasks") as box:
                box.border_title = Content("4 layers")
                yield LineTable(TASKS, empty="  no LC step yet")
            with Vertical(id="log") as box:
                box.border_title = Content("5 log")
                yield LineTable([Column("", 20, flex=1)], empty="  nothing has happened yet", id="events")

    def on_mount(self) -> None:
        """Starts following."""
        self.follower = Followed(self.app.run_of(self.run_id))
        for name in ("errors", "gap", "mu"):
            plot = self.query_one(f"#{name} Plot", Plot)
            plot.log_y = self.app.settings.log_y
            plot.smoothing = self.app.settings.smoothing if name == "errors" else 0.0
        self._show_front()
        self.query(f"#{self._front} Plot, #{self._front} LineTable").first().focus()
        self.set_interval(FOLLOW_SECONDS, self._follow)
        self._follow()

    @property
    def measure(self) -> Measure:
        """What the run's errors are."""
        return Measure(self.follower.summary["metric"]) if self.follower.summary else Measure()

    def title_words(self) -> str:
        """The run's name and state."""
        row = self.app.index.get(self.run_id)
        if row is None:
            return self.run_id
        return f"{row.summary['name']}  {self.run_id}  {row.summary['status']}"

    def on_resize(self, event: Any) -> None:
        """A small terminal shows one pane at a time."""
        super().on_resize(event)
        self._show_front()

    def _follow(self) -> None:
        if not self.is_current or (self._reading is not None and not self._reading.is_finished):
            return
        if self.follower.settled and self._row_status() not in AT_WORK:
            return
        self._reading = self.run_worker(self._read, thread=True)

    def _row_status(self) -> str:
        row = self.app.index.get(self.run_id)
        return row.summary["status"] if row is not None else "gone"

    def _read(self) -> None:
        for _ in self.follower.catch_up():
            if get_current_worker().is_cancelled:
                return
            self.app.call_from_thread(self._paint)

    def _paint(self) -> None:
        follower = self.follower
        if not self.is_attached:
            return  # it was left while the files were read
        if follower.gone:
            self.query_one("#numbers", Lines).show([f"{self.run_id} is gone: its folder was removed"])
            follower.settled = True
            return
        self.query_one("#numbers", Lines).show([self._plain(line) for line in self._numbers()])
        self._paint_plots()
        self._paint_tasks()
        self._paint_log()
        self.refresh_bindings()

    def _plain(self, line: str | Text) -> str | Text:
        return self.app.glyphs.plain(line) if isinstance(line, str) else line

    def _numbers(self) -> list[str | Text]:
        follower, history, glyphs = self.follower, self.follower.history, self.app.glyphs
        summary, meta = follower.summary, follower.meta
        lines: list[str | Text] = []
        if summary["status"] in AT_WORK:
            lines += progress_lines(summary, follower.progress, glyphs, self.size.width)
        else:
            took = f" in {duration(follower.seconds)}" if isfinite(follower.seconds) else ""
            lines.append(f"{summary['status']}{took}, begun {age(summary['created'])} ago")
        if summary["error"]:
            # The reason stands at the end of the line, and is what one came for: all of it is shown.
            error = summary["error"].replace(f"{follower.run.folder}/", "")
            wrapped = textwrap.wrap(glyphs.plain(f"{glyphs.error} {error}"), max(self.size.width - 4, 20))
            lines += [Text(line, style="bold") for line in wrapped[:6]]
        left = error_lines(history, self.measure)
        right = [
            f"μ {number(last(history.steps, 'mu') or summary['mu'])}   lr {number(last(history.epochs, 'lr'), '.3g')}",
            f"gap {number(last(history.steps, 'gap'))}   relative {number(last(history.steps, 'relative_gap'))}",
            f"loss {number(last(history.epochs, 'loss'), '.4f')}   penalty {number(last(history.steps, 'penalty'))}",
            f"size {size_words(history)}" + self._artifact(),
            f"{meta.get('device_name') or '…'} ({meta.get('device') or meta.get('requested_device')})",
        ]
        for place in range(max(len(left), len(right))):
            one = left[place] if place < len(left) else ""
            two = right[place] if place < len(right) else ""
            lines.append(f"{one:<46}{two}" if self.size.width >= 80 else one)
        return lines if self.size.width >= 80 else [*lines, right[1], right[0] + "   " + right[3]]

    def _artifact(self) -> str:
        written = self.follower.artifact_bytes
        return f"   artifact {written:,.0f} bytes" if isfinite(written) else ""

    def _paint_plots(self) -> None:
        history = self.follower.history
        steps = "reference epoch" if not len(history.steps) and len(history.reference) else "LC step"
        self.query_one("#errors").border_title = Content(self.app.glyphs.plain(f"1 {self.measure.error_column()}"))
        self.query_one("#errors Plot", Plot).show(error_curves(history), x_title=steps)
        self.query_one("#gap Plot", Plot).show(curve_of(history, "gap", "#2aa876"), x_title="LC step")
        self.query_one("#mu Plot", Plot).show(curve_of(history, "mu", "#b77bb5", self.app.glyphs.mu), x_title="LC step")

    def _paint_tasks(self) -> None:
        rows = []
        for place, task in enumerate(self.follower.history.tasks):
            # The last values say which number there is; a long history is looked at in a hundred places.
            counted = next((name for name in COUNTED if any(map(isfinite, task.numbers[name][-8:]))), "bits")
            stride = max(len(task.numbers[counted]) // 100, 1)
            cells = (
                " ".join(task.layers),
                task.type,
                learned(task.last),
                sparkline(task.numbers[counted][::stride], 12, ascii=self.app.glyphs.ascii),
                size_of(task.last.get("bits") or 0),
            )
            rows.append(Row(str(place), tuple(self.app.glyphs.plain(cell) for cell in cells)))
        self.query_one("#tasks LineTable", LineTable).set_rows(rows)

    def _paint_log(self) -> None:
        table = self.query_one("#events", LineTable)
        at_end = table.cursor >= len(table.rows) - 1
        recent = self.follower.history.recent
        rows = [
            Row(str(i), (self.app.glyphs.plain(event_words(event, self.measure)),)) for i, event in enumerate(recent)
        ]
        table.set_rows(rows)
        if at_end:
            table.cursor = len(rows) - 1

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that can do nothing now are not shown."""
        if action == "stop":
            return self._row_status() in (*AT_WORK, "queued")
        if action == "resume":
            return self._row_status() in ("interrupted", "crashed", "failed", "diverged")
        return True

    def action_pane(self, name: str) -> None:
        """Brings a pane to the front and the focus to it."""
        self._front = name
        self._show_front()
        self.query(f"#{name} Plot, #{name} LineTable").first().focus()

    def action_zoom_pane(self) -> None:
        """One pane alone, or all of them."""
        self._alone = not self._alone
        focused = self.focused
        for name in PANES:
            if focused is not None and self.query_one(f"#{name}") in focused.ancestors:
                self._front = name
        self._show_front()

    def _show_front(self) -> None:
        self.set_class(self._alone or self.size.width < 100 or self.size.height < 26, "-one")
        for name in PANES:
            for pane in self.query(f"#{name}"):
                pane.set_class(name == self._front, "-front")

    def _keep_look(self) -> None:
        """How the error plot was set with its own keys holds for the next one."""
        plot = self.query_one("#errors Plot", Plot)
        settings = self.app.settings
        settings.log_y, settings.smoothing = plot.log_y, plot.smoothing
        settings.pane, settings.alone = self._front, self._alone
        save_settings(self.app.settings)

    def on_plot_cursor_moved(self, event: Plot.CursorMoved) -> None:
        """All plots are read at the same step."""
        for plot in self.query(Plot):
            plot.cursor = event.x

    def action_edit(self) -> None:
        """The run's scheme, as a new one in the editor."""
        self.app.open_editor(scheme=self.app.run_of(self.run_id).read("scheme.json"))

    def action_compare(self) -> None:
        """Confusion matrix, codebooks and weights of this run; curves beside the pinned one."""
        others = [run_id for run_id in [self.app.pinned, *self.app.marked] if run_id and run_id != self.run_id]
        self.app.open_compare([self.run_id, *others])

    def action_mark(self) -> None:
        """Marks the run for comparing."""
        marked = self.app.marked
        marked.remove(self.run_id) if self.run_id in marked else marked.append(self.run_id)
        self.app.say(f"{self.run_id} {'marked' if self.run_id in marked else 'no longer marked'}")

    @work
    async def action_stop(self) -> None:
        """Stops the run."""
        await self.app.stop_run(self.run_id)

    @work
    async def action_resume(self) -> None:
        """Goes on with the run."""
        self.follower.settled = False
        await self.app.resume_run(self.run_id)

    def action_leave(self) -> None:
        """Back to where one came from."""
        self._keep_look()
        self.app.pop_screen()

    def exportable(self) -> Exportable | None:
        """The pane in focus: a plot, the log, or the layers' table."""
        focused = self.focused
        name = self.title_words().split("  ")[0]
        if isinstance(focused, Plot) and isinstance(pane := focused.parent, Vertical):
            return plot_export(focused, f"{name}-{pane.id}", f"{name}: {str(pane.border_title)[2:]}")
        if self.focused is self.query_one("#events"):
            return log_export(self.follower.history, name, self.measure)
        return tasks_export(self.follower.history, name)
