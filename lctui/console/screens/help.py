"""The help: what a screen is for, and every key that works there.

Owns the layout of that list; the keys and their words come from the bindings themselves.
"""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static


class HelpScreen(ModalScreen[None]):
    """A list of keys over the screen it is about."""

    BINDINGS = [Binding("escape,q,question_mark,f1,enter", "dismiss", "close")]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen VerticalScroll {
        width: 80; max-width: 96%; height: auto; max-height: 94%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    HelpScreen Static { height: auto; }
    """

    def __init__(self, about: str, groups: list[tuple[str, list[tuple[str, str]]]]) -> None:
        super().__init__()
        self._about, self._groups = about, groups

    def compose(self) -> ComposeResult:
        """One scrolling box."""
        box = VerticalScroll()
        box.border_title = "help"
        box.border_subtitle = "escape closes"
        with box:
            if self._about:
                yield Static(Text(self._about + "\n"))
            yield Static(self._keys())

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one(VerticalScroll).focus()

    def _keys(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="bold", no_wrap=True)
        table.add_column()
        for heading, keys in self._groups:
            table.add_row("", Text(heading, style="underline"))
            for key, words in keys:
                table.add_row(Text(key), Text(words))
            table.add_row("", "")
        return table


def key_groups(screen: Screen[object]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Every active binding with a description, by what it acts on: the focused widget first, then screen and app."""
    groups: dict[str, dict[str, list[str]]] = {}
    app = screen.app
    for active in screen.active_bindings.values():
        binding = active.binding
        if not binding.description or not active.enabled or _is_textuals_own(binding):
            continue
        if active.node is screen:
            heading = "this screen"
        elif active.node is app:
            heading = "everywhere"
        else:
            heading = f"the {'list' if 'Table' in type(active.node).__name__ else type(active.node).__name__.lower()}"
        keys = groups.setdefault(heading, {}).setdefault(binding.description, [])
        display = app.get_key_display(binding)
        if display not in keys:
            keys.append(display)
    order = sorted(groups, key=lambda name: (name == "everywhere", name == "this screen"))
    return [(name, [(" ".join(keys), words) for words, keys in groups[name].items()]) for name in order]


def _is_textuals_own(binding: Binding) -> bool:
    """Chords that every Textual program has; nothing here needs one."""
    return binding.key.startswith(("ctrl+", "super+")) or binding.description in ("Focus Next", "Focus Previous")
