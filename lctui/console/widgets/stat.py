"""Lines of labelled numbers that change in place.

Owns repainting a line only when its words change: a number over SSH costs some bytes, a repainted pane thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from lctui.console.widgets.table import fitted


class Lines(Widget):
    """Some lines of text, each cut at the edge."""

    DEFAULT_CSS = "Lines { height: auto; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: tuple[Text, ...] = ()

    def show(self, lines: Sequence[Text | str]) -> None:
        """Replaces the lines; those that stay the same are not painted again."""
        old, self.lines = self.lines, tuple(Text(line) if isinstance(line, str) else line for line in lines)
        if len(old) != len(self.lines):
            self.refresh(layout=True)
            return
        for y, (before, after) in enumerate(zip(old, self.lines, strict=True)):
            if before.plain != after.plain or before.spans != after.spans:
                self.refresh(Region(0, y, self.size.width, 1))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """A line each."""
        return len(self.lines)

    def render_line(self, y: int) -> Strip:
        """One line, filled to the edge."""
        width, style = self.size.width, self.rich_style
        if y >= len(self.lines):
            return Strip([Segment(" " * width, style)])
        return Strip(fitted(self.lines[y], width, "left", style))
