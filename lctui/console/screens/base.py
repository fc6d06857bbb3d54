"""What all screens have in common: a title line, the key line, and a word to terminals that are too small.

Owns sizes: below `SMALLEST` nothing is laid out; `-narrow` and `-short` tell style sheets which panes to drop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from lctui.console.widgets.keybar import KeyBar
from lctui.console.widgets.stat import Lines

if TYPE_CHECKING:
    from lctui.console.app import Console
    from lctui.console.exports import Exportable

SMALLEST = Size(40, 12)
NARROW, SHORT = 100, 30


class TitleLine(Lines):
    """The top line: where one is on the left, the machine and the runs on the right."""

    DEFAULT_CSS = "TitleLine { dock: top; height: 1; background: $panel; color: $foreground; }"

    def on_mount(self) -> None:
        """One line, from the start."""
        self.show([""])

    def write(self, left: str, right: str) -> None:
        """Both ends of the line; of the right one, as many parts from its beginning as there is room for."""
        while right and cell_len(left) + cell_len(right) + 3 > self.size.width:
            right = right.rpartition("  ")[0].rstrip()
        room = self.size.width - cell_len(left) - cell_len(right) - 2
        text = Text(f" {left}{' ' * room}{right} " if room > 1 else f" {left}")
        text.stylize("bold", 0, len(left) + 1)
        self.show([text])


class TooSmall(Static):
    """Says that the terminal is too small, and what would do."""

    DEFAULT_CSS = "TooSmall { display: none; width: 1fr; height: 1fr; content-align: center middle; }"


class ConsoleScreen(Screen[None]):
    """A screen of the console."""

    DEFAULT_CSS = """
    ConsoleScreen { layout: vertical; }
    ConsoleScreen.-tiny > * { display: none; }
    ConsoleScreen.-tiny > TooSmall { display: block; }
    """
    HEADING: ClassVar[str] = ""
    """The title line's first words."""
    ABOUT: ClassVar[str] = ""
    """What the screen is for: the first lines of its help."""

    _focused_before: Widget | None = None
    """What had the focus before the terminal became too small for anything to have it."""

    app: Console

    def compose(self) -> ComposeResult:
        """Title, body, keys."""
        yield TitleLine()
        yield from self.compose_body()
        yield KeyBar()
        yield TooSmall("", markup=False)

    def compose_body(self) -> ComposeResult:
        """What is between the title and the keys."""
        raise NotImplementedError

    def title_words(self) -> str:
        """The title line's left end."""
        return self.HEADING

    def exportable(self) -> Exportable | None:
        """The table or plot in view, for export; None if there is nothing."""
        return None

    def on_resize(self, event: events.Resize) -> None:
        """Tells style sheets how much room there is."""
        size = event.size
        tiny = size.width < SMALLEST.width or size.height < SMALLEST.height
        if tiny and self.focused is not None:
            self._focused_before = self.focused
        elif not tiny and self._focused_before is not None:
            self.call_after_refresh(self._focused_before.focus)
            self._focused_before = None
        self.set_class(tiny, "-tiny")
        self.set_class(size.width < NARROW, "-narrow")
        self.set_class(size.height < SHORT, "-short")
        if tiny:
            self.query_one(TooSmall).update(
                f"lctui needs {SMALLEST.width}×{SMALLEST.height} cells; here are {size.width}×{size.height}"
            )
        self.call_after_refresh(self.show_title)

    def on_screen_resume(self) -> None:
        """The screen is in front again."""
        self.show_title()

    def show_title(self) -> None:
        """Writes the title line anew."""
        glyphs = self.app.glyphs
        for line in self.query(TitleLine):
            line.write(glyphs.plain(self.title_words()), glyphs.plain(self.app.status_words()))
