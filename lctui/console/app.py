"""The console's application: screens, services that they share, and what works everywhere.

Owns the store's index kept fresh in the background, starting and stopping runs, settings, help, palette and export.
It trains nothing: runs live in workers of their own and go on without it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.screen import Screen
from textual.worker import Worker

from lctui.console import clipboard, exports
from lctui.console.ascii import AsciiFilter
from lctui.console.glyphs import ASCII, Glyphs
from lctui.console.inspection import Inspection
from lctui.console.monitor import Load, Monitor
from lctui.console.ordered_keys import OrderedKeys
from lctui.console.palette import colour_of
from lctui.console.screens.base import ConsoleScreen
from lctui.console.screens.help import HelpScreen, key_groups
from lctui.console.screens.home import HomeScreen
from lctui.console.settings import load_settings, save_settings
from lctui.errors import BadInput, LctuiError
from lctui.runs import control
from lctui.runs.index import RunIndex
from lctui.runs.process import module_command, module_environment
from lctui.runs.queue import Queue
from lctui.runs.status import AT_WORK
from lctui.runs.store import Run, Store

if TYPE_CHECKING:
    from lctui.scheme import Scheme

REFRESH_SECONDS = 1.0


class Console(OrderedKeys):
    """`lctui` without arguments."""

    TITLE = "lctui"
    CSS = """
    Toast { width: auto; max-width: 80%; }
    """
    BINDINGS = [
        Binding("question_mark,f1", "help", "help", key_display="?"),
        Binding("x", "export", "export"),
        Binding("y", "copy", "copy", show=False),
        Binding("colon", "command_palette", "commands", show=False, key_display=":"),
        Binding("T", "change_theme", "theme", show=False),
    ]
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(self, home: Path, *, ascii_only: bool = False, theme: str | None = None, device: str = "auto") -> None:
        super().__init__()
        self.animation_level = "none"  # over SSH a moving screen is a slow one
        self.store = Store(home)
        self.index = RunIndex(self.store)
        self.queue = Queue(self.store)
        self.inspection = Inspection(home)
        self.settings = load_settings()
        self.glyphs = ASCII if ascii_only else Glyphs()
        self._ascii = AsciiFilter()
        self.device = device
        self.marked: list[str] = []
        self.pinned: str | None = None
        self.queue_order: list[str] = []
        self.monitor = Monitor()
        self.machine: Load | None = None
        wanted = theme or self.settings.theme
        self.theme = wanted if wanted in self.available_themes else "textual-dark"
        self._queue_taken_up = False
        self._refreshing: Worker[None] | None = None

    def on_mount(self) -> None:
        """Shows the runs, and keeps them fresh."""
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        self.push_screen(HomeScreen())
        with suppress(ValueError, RuntimeError):  # only a program's main thread is told of signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        # Reading competes with painting for the interpreter: first something to look at.
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.refresh_index()
        self.set_interval(REFRESH_SECONDS, self.refresh_index)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Without Unicode, nothing beyond ASCII leaves."""
        filters = super().get_line_filters()
        return [*filters, self._ascii] if self.glyphs.ascii else filters

    def _take_up_queue(self) -> None:
        """Runs that were queued when their dispatcher died must not wait for the next to be added."""
        try:
            self.queue.ensure_dispatcher()
        except (OSError, LctuiError) as error:
            self.call_from_thread(self.say, f"the queue stands still: {error}", "error")

    def _keep_theme(self, theme: Any) -> None:
        self.settings.theme = theme.name
        save_settings(self.settings)

    def refresh_index(self) -> None:
        """Reads what has changed on disk, in a thread; a slow disk is not asked twice at once."""
        if self._refreshing is None or self._refreshing.is_finished:
            self._refreshing = self.run_worker(self._refresh_index, thread=True)

    def _refresh_index(self) -> None:
        changed = self.index.refresh()
        if any(row.summary["status"] == "queued" for row in self.index.rows):
            order = [entry.id for entry in self.queue.entries()]
            changed, self.queue_order = changed or order != self.queue_order, order
        self.call_from_thread(self._refreshed, changed)
        self.index.save()
        self.machine = self.monitor.read()
        if not self._queue_taken_up:
            self._queue_taken_up = True
            self._take_up_queue()

    def _refreshed(self, changed: bool) -> None:
        if not self.screen_stack:
            return  # the console is about to end
        for screen in self.screen_stack:
            if isinstance(screen, HomeScreen) and (changed or screen.minute != int(time.time() // 60)):
                screen.show_runs()
        if isinstance(self.screen, ConsoleScreen):
            self.screen.show_title()

    def status_words(self) -> str:
        """The machine's load, and how many runs are live and queued."""
        states = [row.summary["status"] for row in self.index.rows]
        live, queued = sum(state in AT_WORK for state in states), states.count("queued")
        parts = [f"{live} running"] if live else []
        parts += [f"{queued} queued"] if queued else []
        parts += [self.machine.words()] if self.machine is not None else []
        return "  ".join(parts)

    def colour_of(self, run_id: str) -> str:
        """The run's colour."""
        return colour_of(run_id)

    def say(self, text: str, severity: str = "information") -> None:
        """A word to the user that goes by itself."""
        self.notify(self._plain(text), severity=severity, markup=False, timeout=8)  # type: ignore[arg-type]

    def _plain(self, text: str) -> str:
        return "\n".join(map(self.glyphs.plain, text.split("\n")))

    def run_of(self, run_id: str) -> Run:
        """The run folder of that id."""
        return Run(self.store.runs_folder / run_id)

    # Going places

    def open_run(self, run_id: str) -> None:
        """Shows one run."""
        from lctui.console.screens.run import RunScreen

        if self._are_known([run_id]):
            self.push_screen(RunScreen(run_id))

    def open_editor(self, scheme: dict[str, Any] | None = None, path: Path | None = None) -> None:
        """Edits a scheme: this one, the one in a file, or a new one."""
        from lctui.console.screens.editor import EditorScreen

        self.push_screen(EditorScreen(scheme, path))

    def open_compare(self, run_ids: list[str]) -> None:
        """Compares runs."""
        from lctui.console.screens.compare import CompareScreen

        if self._are_known(run_ids):
            self.push_screen(CompareScreen(run_ids))

    def _are_known(self, run_ids: Sequence[str]) -> bool:
        """Can these runs be read?  Says so of the first that a newer lctui wrote."""
        try:
            for run_id in run_ids:
                self.run_of(run_id).require_known()
        except BadInput as error:
            self.say(str(error), "error")
            return False
        return True

    # Runs

    def start(self, schemes: Sequence[Scheme]) -> list[Run]:
        """Queues schemes; the first begins at once if the device is free.  Blocking: see `attempt`.

        Raises:
            BadInput: the home cannot be written to.
        """
        return self.queue.add(schemes, self.device)

    async def start_file(self, path: Path) -> None:
        """Queues the scheme or what is not done of the study in a file, as `lctui --run FILE --queue` does."""
        arguments = ("--home", str(self.store.home), "--device", self.device, "--run", str(path), "--queue")
        try:
            # A process of its own: whether a study's run is done already can take torch to tell.
            process = await asyncio.create_subprocess_exec(
                *module_command("lctui", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=module_environment(),
                start_new_session=True,  # a lost connection must not leave half a study queued
            )
        except OSError as error:
            self.say(f"{path}: {error.strerror or error}", "error")
            return
        ids, said = (stream.decode("utf-8", "replace").split("\n") for stream in await process.communicate())
        lines = [line for line in said if line.strip()]
        if process.returncode:
            self.say("\n".join(lines[:6]) or f"{path} could not be queued", "error")
        else:
            count = len([run_id for run_id in ids if run_id])
            self.say(f"{path}: {count} queued" + (f"; {len(lines)} done or under way" if lines else ""))
        self.refresh_index()

    async def attempt(self, action: Any, *args: Any) -> Any:
        """Something that touches the disk or waits, in a thread; what goes wrong is said, and the answer is None."""
        try:
            return await asyncio.to_thread(action, *args)
        except (LctuiError, OSError) as error:
            self.say(str(error), "error")
            return None
        finally:
            self.refresh_index()

    async def stop_run(self, run_id: str) -> None:
        """Asks a run to stop, or takes it out of the queue; the list shows when it has."""
        words = await self.attempt(self._stop, run_id)
        if words is not None:
            self.say(f"{run_id}: {words}; r resumes it")

    def _stop(self, run_id: str) -> str:
        run = self.run_of(run_id)
        # Its turn may have come meanwhile: then it is stopped like any other.
        if run.status() == "queued" and self.queue.withdraw(run):
            return "taken out of the queue"
        control.ask_to_stop(run)
        return "stops after the batch under way, and loses nothing"

    async def resume_run(self, run_id: str) -> None:
        """Goes on with a run that was stopped or whose worker died."""
        if await self.attempt(self._resume, run_id):
            self.say(f"{run_id}: goes on")

    def _resume(self, run_id: str) -> bool:
        run = self.run_of(run_id)
        device = run.read("meta.json").get("requested_device")
        self.queue.add([run], device if isinstance(device, str) else self.device)
        return True

    # Everywhere

    def action_help(self) -> None:
        """What the screen is for and what its keys do."""
        screen = self.screen
        if isinstance(screen, HelpScreen):
            return
        about = [screen.ABOUT] if isinstance(screen, ConsoleScreen) else []
        about += [words] if (words := getattr(screen.focused, "HELP", None)) else []
        self.push_screen(HelpScreen("\n\n".join(self._plain(words) for words in about), key_groups(screen)))

    def action_export(self) -> None:
        """Writes the table or plot in view to files."""
        view = self.screen.exportable() if isinstance(self.screen, ConsoleScreen) else None
        if view is None:
            self.say("nothing in view to export", "warning")
        else:
            self.run_worker(self._export(view))

    async def _export(self, view: exports.Exportable) -> None:
        try:
            paths = await exports.export(view)
        except (LctuiError, OSError) as error:
            self.say(str(error), "error")
            return
        for word in clipboard.copy(self, str(paths[0].absolute())):
            self.say(word, "warning")
        self.say("written: " + ", ".join(map(str, paths)) + f"\n{paths[0].absolute()} is copied")

    def action_copy(self) -> None:
        """Copies the table in view, as tab-separated text."""
        view = self.screen.exportable() if isinstance(self.screen, ConsoleScreen) else None
        text = exports.as_text(view) if view is not None else None
        if not text:
            self.say("nothing in view to copy", "warning")
            return
        for word in clipboard.copy(self, text):
            self.say(word, "warning")
        self.say("copied")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The command palette: every key of the screen, and the themes."""
        named: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.description and active.enabled and binding.action not in named:
                named.add(binding.action)
                words = f"{binding.description} ({self.get_key_display(binding)})"
                yield SystemCommand(
                    words,
                    binding.tooltip or words,
                    lambda key=binding.key: self.simulate_key(key),
                    discover=binding.show,
                )
        yield SystemCommand("theme", "other colours; ansi themes are the terminal's own", self.action_change_theme)
        yield SystemCommand("quit", "leave; runs go on", self.action_leave)

    @work(exclusive=True, group="leave")
    async def action_leave(self) -> None:
        """Ends the console, once nothing is unsaved; runs go on."""
        for screen in reversed(self.screen_stack):
            if (may_leave := getattr(screen, "may_leave", None)) is not None and not await may_leave():
                return
        self._end()

    def _end(self) -> None:
        save_settings(self.settings)
        self.inspection.close()
        self.exit()

    async def action_quit(self) -> None:
        """As `leave`."""
        self.action_leave()

    def last_words(self) -> str:
        """What is said in the terminal after the console has gone."""
        going = sum(row.summary["status"] in (*AT_WORK, "queued") for row in self.index.rows)
        if not going:
            return ""
        return f"{going} run{'s' if going > 1 else ''} go{'es' if going == 1 else ''} on; `lctui` shows them again"
