"""Home: all runs, live and past, and the selected one beside them.

Owns the run list: its order, its filter, its marks, and what one line of it says.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from lctui.console.card import RunCard
from lctui.console.exports import Exportable
from lctui.console.run_list import RunLine, columns, in_order
from lctui.console.screens.base import ConsoleScreen
from lctui.console.screens.dialogs import Choose, Confirm
from lctui.console.settings import SORTS, save_settings
from lctui.console.views import runs_export
from lctui.console.widgets.table import LineTable
from lctui.errors import BadInput, printable
from lctui.runs.filters import Filter, FilterError, parse
from lctui.runs.index import RunRow
from lctui.runs.status import AT_WORK


class HomeScreen(ConsoleScreen):
    """The runs, and the one under the cursor."""

    HEADING = "lctui"
    ABOUT = (
        "All runs of this home, live ones first. Leaving the console leaves runs alone.\n\n"
        "The filter: words look in names, ids, tags and states; `ratio>20 and test<0.6`, `type:prune`, "
        "`compress.0.how.kappa>=1000`, `has:best.step`, and, or, not, parentheses."
    )
    BINDINGS = [
        Binding("n", "new", "new"),
        Binding("e", "edit", "edit a copy"),
        Binding("enter", "open", "open"),
        Binding("space", "mark", "mark"),
        Binding("c", "compare", "compare"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("s", "stop", "stop"),
        Binding("r", "resume", "resume"),
        Binding("f", "start_file", "start a file", show=False),
        Binding("p", "pin", "pin", show=False),
        Binding("o", "sort", "order", show=False),
        Binding("K,shift+up", "queue(-1)", "sooner in the queue", show=False),
        Binding("J,shift+down", "queue(1)", "later in the queue", show=False),
        Binding("d,delete", "delete", "delete", show=False),
        Binding("escape", "no_filter", "no filter", show=False),
        Binding("tab", "pane", "next pane", show=False),
        Binding("i", "details", "details beside the list", show=False),
        Binding("q", "app.leave", "quit"),
    ]
    DEFAULT_CSS = """
    HomeScreen > Horizontal { height: 1fr; }
    HomeScreen #list { width: 3fr; border: round $primary; }
    HomeScreen #list:focus-within { border: round $accent; }
    HomeScreen RunCard { width: 2fr; }
    HomeScreen.-narrow RunCard { width: 33; }
    HomeScreen.-slim > Horizontal { layout: vertical; }
    HomeScreen.-slim #list { width: 1fr; height: 1fr; }
    HomeScreen.-slim RunCard { width: 1fr; height: 12; }
    HomeScreen.-slim.-short RunCard { display: none; }
    HomeScreen.-plain RunCard { display: none; }
    HomeScreen Input, HomeScreen Input:focus { border: none; height: 1; padding: 0 1; background: $boost; }
    HomeScreen Input { display: none; }
    HomeScreen Input.-open { display: block; }
    HomeScreen #complaint { height: 1; color: $error; display: none; padding: 0 1; }
    HomeScreen #complaint.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[RunRow] = []
        self.minute = 0
        """When the ages in the list were worked out."""
        self._filter: Filter | None = None
        self._titles = ("", "")

    def compose_body(self) -> ComposeResult:
        """Filter, list, card."""
        yield Input(self.app.settings.filter, placeholder="filter, e.g. ratio>20 and test<0.6", id="filter")
        yield Static("", id="complaint", markup=False)
        with Horizontal():
            with Vertical(id="list"):
                yield LineTable(columns(self.app.glyphs), empty="  reading the runs …", id="runs")
            yield RunCard()

    def on_mount(self) -> None:
        """The filter of last time holds."""
        self._apply_filter(self.app.settings.filter)
        self.query_one(LineTable).focus()
        self.set_class(not self.app.settings.details, "-plain")
        self.show_runs()

    def on_resize(self, event: Any) -> None:
        """Below 72 columns the card goes under the list."""
        super().on_resize(event)
        self.set_class(event.size.width < 72, "-slim")

    def show_runs(self) -> None:
        """Draws the list from the index as it is now."""
        app = self.app
        rows = [row for row in app.index.rows if self._filter is None or self._filter.matches(row.facts)]
        self.shown = in_order(rows, app.settings.sort, app.queue_order)
        self.minute = minute = int(time.time() // 60)
        marked, pinned = set(app.marked), app.pinned
        lines = [
            RunLine(row, app.glyphs, minute, marked=row.id in marked, pinned=row.id == pinned) for row in self.shown
        ]
        table = self.query_one(LineTable)
        none = "  no runs yet: n makes a scheme, r in the editor runs it"
        table.empty = "  no run fits the filter" if app.index.rows else none
        table.set_rows(lines)
        self._show_border()
        self._show_card()

    def _show_border(self) -> None:
        total, shown, kept = len(self.app.index.rows), len(self.shown), self.app.settings.filter
        words = f"runs  {shown:,} of {total:,}  / {kept}" if kept else f"runs  {total:,}"
        if self.app.marked:
            words += f"  {len(self.app.marked)} marked"
        box, sort = self.query_one("#list"), self.app.settings.sort
        titles = (self.app.glyphs.plain(words), "" if sort == "newest" else f"by {sort}")
        if titles != self._titles:  # a new title repaints the whole pane
            self._titles = titles
            box.border_title, box.border_subtitle = Content(titles[0]), Content(titles[1])

    # The cursor

    def on_line_table_highlighted(self, event: LineTable.Highlighted) -> None:
        """Another run is selected."""
        self._show_card()

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        """Enter opens a run."""
        self.app.open_run(event.key)

    def _show_card(self) -> None:
        key = self.query_one(LineTable).key
        self.query_one(RunCard).show(self.app.index.get(key) if key is not None else None)
        self.refresh_bindings()

    @property
    def selected(self) -> str | None:
        """The run under the cursor."""
        return self.query_one(LineTable).key

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that can do nothing now are not shown."""
        if action in ("edit", "open", "mark", "pin", "delete", "stop", "resume", "queue", "compare"):
            if self.selected is None:
                return False
            status = self._status()
            if action == "stop":
                return status in (*AT_WORK, "queued")
            if action == "resume":
                return status in ("interrupted", "crashed", "failed", "diverged")
            if action == "queue":
                return status == "queued"
        return True

    def _status(self) -> str:
        row = self.app.index.get(self.selected or "")
        return row.summary["status"] if row is not None else ""

    # Filter

    def action_filter(self) -> None:
        """Opens the filter's line."""
        box = self.query_one("#filter", Input)
        box.add_class("-open")
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The list follows each keystroke."""
        self._apply_filter(event.value)
        self.show_runs()

    def on_input_submitted(self) -> None:
        """Enter keeps the filter."""
        self._leave_filter()

    def action_no_filter(self) -> None:
        """Escape leaves the filter's line, or takes the filter off."""
        self.app.settings.filter = ""
        self.query_one("#filter", Input).value = ""
        self._leave_filter()

    def _leave_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("-open")
        self.query_one(LineTable).focus()
        save_settings(self.app.settings)

    def _apply_filter(self, text: str) -> None:
        complaint = self.query_one("#complaint", Static)
        try:
            self._filter = parse(text, self.app.index.fields()) if text.strip() else None
        except FilterError as error:
            complaint.update(f"{self.app.glyphs.error} {error}")
            complaint.add_class("-open")
            return  # the last filter that could be read holds
        complaint.remove_class("-open")
        self.app.settings.filter = text.strip()

    # Actions

    def action_new(self) -> None:
        """A new scheme."""
        self.app.open_editor()

    def action_edit(self) -> None:
        """The selected run's scheme, as a new one."""
        if self.selected is not None:
            self.app.open_editor(scheme=self.app.run_of(self.selected).read("scheme.json"))

    def action_open(self) -> None:
        """The selected run."""
        if self.selected is not None:
            self.app.open_run(self.selected)

    def action_mark(self) -> None:
        """Marks the run for comparing, and goes on to the next."""
        key = self.selected
        if key is None:
            return
        if key in self.app.marked:
            self.app.marked.remove(key)
        else:
            self.app.marked.append(key)
        self.show_runs()
        self.query_one(LineTable).action_move(1)

    def action_pin(self) -> None:
        """Pins the run that others are compared with."""
        self.app.pinned = None if self.app.pinned == self.selected else self.selected
        self.show_runs()

    def action_compare(self) -> None:
        """Compares the marked runs, with the pinned one first."""
        known = [run_id for run_id in self.app.marked if self.app.index.get(run_id) is not None]
        wanted = [self.app.pinned] if self.app.pinned and self.app.index.get(self.app.pinned) else []
        wanted += [run_id for run_id in known if run_id not in wanted]
        if self.selected is not None and not wanted:
            wanted = [self.selected]
        self.app.open_compare(wanted)

    def action_sort(self) -> None:
        """The next order."""
        settings = self.app.settings
        settings.sort = SORTS[(SORTS.index(settings.sort) + 1) % len(SORTS)]
        save_settings(settings)
        self.show_runs()

    def action_details(self) -> None:
        """Shows or hides the card."""
        self.app.settings.details = not self.app.settings.details
        save_settings(self.app.settings)
        self.set_class(not self.app.settings.details, "-plain")

    def action_pane(self) -> None:
        """Focus goes between list and plot."""
        self.focus_next()

    @work
    async def action_stop(self) -> None:
        """Stops the run, or takes it out of the queue."""
        if self.selected is not None:
            await self.app.stop_run(self.selected)

    @work
    async def action_resume(self) -> None:
        """Goes on with the run."""
        if self.selected is not None:
            await self.app.resume_run(self.selected)

    @work
    async def action_start_file(self) -> None:
        """Puts a scheme or a study into the queue, from its file."""
        from lctui.console import scheme_files  # not before it is needed: it takes the models of a scheme along

        files = await asyncio.to_thread(scheme_files.found, [scheme_files.FOLDER, scheme_files.templates()])
        choices = [(str(path), printable(str(path))) for path in files]
        chosen = await self.app.push_screen_wait(Choose("start a scheme, or a study's runs", choices, free=True))
        if chosen is not None:
            await self.app.start_file(Path(chosen))

    @work
    async def action_queue(self, by: int) -> None:
        """Moves a queued run."""
        if self.selected is not None:
            await self.app.attempt(self.app.queue.move, self.selected, by)

    @work
    async def action_delete(self) -> None:
        """Deletes the marked runs, or the one under the cursor, once confirmed."""
        # Marks are made for comparing, and outlive filters: what is not in view, or not meant, must not go.
        shown = {row.id for row in self.shown}
        marked = [run_id for run_id in self.app.marked if run_id in shown]
        doomed = marked if self.selected in marked else [self.selected] if self.selected else []
        names = ", ".join(doomed[:4]) + (f" and {len(doomed) - 4} more" if len(doomed) > 4 else "")
        question = self.app.glyphs.plain(f"Delete {names}? The results go too.")
        sure = await self.app.push_screen_wait(Confirm(question)) if doomed else False
        for run_id in doomed if sure else ():
            await self.app.attempt(self._remove, run_id)
            if run_id in self.app.marked:
                self.app.marked.remove(run_id)

    def _remove(self, run_id: str) -> None:
        run = self.app.run_of(run_id)
        if not run.folder.is_dir():
            raise BadInput.one("", run_id, "is gone already")
        self.app.queue.remove(run)

    def exportable(self) -> Exportable | None:
        """The list as it is shown."""
        return runs_export(self.shown) if self.shown else None
