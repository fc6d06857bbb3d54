"""The editor's list: the net's layers as a table, and the scheme's other blocks below, each as one line.

Owns the keys of the list and how a line that is no layer spans the columns.  What the keys do is for the screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.strip import Strip

from lctui.console.widgets.table import Cell, Column, LineTable

TAKEN = {"a", "j", "u", "U", "d", "s", "o", "E", "r", "n", "g", "x", "y", "T", "plus", "minus"}
"""Letters of the list and of the application, which no compression can have."""


class LayerTable(LineTable, inherit_bindings=False):
    """Layers and blocks; a key for every compression."""

    BINDINGS = [
        Binding("enter,tab,right", "choose", "form", key_display="enter"),
        Binding("s", "screen.save", "save"),
        Binding("r", "screen.run", "run"),
        Binding("u", "screen.undo", "undo"),
        Binding("U", "screen.redo", "redo", show=False),
        Binding("space", "screen.mark", "mark"),
        Binding("j", "screen.join", "joint"),
        Binding("plus,equals_sign", "screen.add", "add to the sum", key_display="+"),
        Binding("minus", "screen.remove", "take away", key_display="-"),
        Binding("delete,backspace", "screen.leave_task", "leave uncompressed", show=False),
        Binding("d", "screen.duplicate", "same for the marked", show=False),
        Binding("a", "screen.suggest", "suggest for a ratio", show=False),
        Binding("o", "screen.open", "open"),
        Binding("n", "screen.new", "new"),
        Binding("E", "screen.outside", "$EDITOR"),
        Binding("g", "screen.next_problem", "next problem", show=False),
        Binding("escape", "screen.back", "back"),
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "end(-1)", "first", show=False),
        Binding("end", "end(1)", "last", show=False),
    ]

    def __init__(self, columns: Sequence[Column], types: Mapping[str, str], *, id: str | None = None) -> None:
        super().__init__(columns, id=id)
        others, self._bindings = self._bindings, type(self._bindings)()
        for key, name in types.items():
            self._bindings.bind(key, f"screen.compress({name!r})", name)
        for key, bindings in others.key_to_bindings.items():
            self._bindings.key_to_bindings.setdefault(key, []).extend(bindings)

    def _strip(self, cells: Sequence[Cell], style: Style, width: int) -> Strip:
        """A row of three cells is a sign, a name, and words that go on to the end."""
        if len(cells) == len(self.columns):
            return super()._strip(cells, style, width)
        sign, name, words = (cell.plain if isinstance(cell, Text) else cell for cell in cells)
        name = f"{sign} {name:<{max(self._widths[1], 9)}} "
        line = Text(name + words, no_wrap=True)
        line.truncate(width, overflow="ellipsis", pad=True)
        base = self._rich(style)
        faint = base if style != self.rich_style else base + self.get_component_rich_style("table--faint")
        parts = [Segment(line.plain[: len(name)], base), Segment(line.plain[len(name) :], faint)]
        return Strip(parts).adjust_cell_length(width, base)
