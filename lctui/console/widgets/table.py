"""A table of lines: runs, layers, steps, differences.

Owns layout of columns (fixed, flexible, dropped when there is no room), the cursor, and repainting no more than the
lines that changed: over SSH a line costs some hundred bytes where a repainted table costs tens of thousands.  It draws
the rows in view only, so ten thousand rows cost what twenty do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

Cell = str | Text
GAP = 1


@dataclass(frozen=True)
class Column:
    """A column: `width` cells at least; the `flex` columns share what is left; the highest `drop` goes first."""

    title: str
    width: int
    align: Literal["left", "right"] = "left"
    flex: int = 0
    drop: int = 0


@dataclass(frozen=True)
class Row:
    """A row: its key, a cell for each column, and whether it is shown faintly."""

    key: str
    cells: tuple[Cell, ...]
    faint: bool = False


class Line(Protocol):
    """What the table needs of a row; `Row` is the plain one.  Rows that look the same must be equal."""

    @property
    def key(self) -> str:
        """Tells it from the others."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """A cell a column; asked for when the row comes into view."""

    @property
    def faint(self) -> bool:
        """Is it shown faintly?"""


class LineTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows under a header, with a cursor that stays on its key while rows come and go."""

    BINDINGS = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "end(-1)", "first", show=False),
        Binding("end", "end(1)", "last", show=False),
        Binding("enter", "choose", "open", show=False),
    ]
    COMPONENT_CLASSES = {"table--header", "table--cursor", "table--cursor-blurred", "table--faint"}
    DEFAULT_CSS = """
    LineTable {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .table--header { color: $text-muted; text-style: bold; }
        & > .table--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & > .table--cursor-blurred { background: $surface-lighten-1; }
        & > .table--faint { color: $text-muted; }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """The row under the cursor; 0 in an empty table."""

    class Highlighted(Message):
        """The cursor has come to another key (None: the table is empty)."""

        def __init__(self, table: LineTable, key: str | None) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> LineTable:
            """The table."""
            return self.table

    class Chosen(Message):
        """Enter, or a second click, on a row."""

        def __init__(self, table: LineTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> LineTable:
            """The table."""
            return self.table

    def __init__(self, columns: Sequence[Column], *, empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.rows: tuple[Line, ...] = ()
        self.empty = empty
        self._places: dict[str, int] = {}
        self._widths: list[int] = []
        self._told: str | None = None

    @property
    def key(self) -> str | None:
        """The key under the cursor."""
        return self.rows[self.cursor].key if self.rows else None

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Other columns; rows that fit them must follow."""
        self.columns = tuple(columns)
        self.set_rows(())
        self._lay_out()

    def set_rows(self, rows: Sequence[Line]) -> None:
        """Replaces the rows; the cursor stays on its key, or at its place if the key has gone."""
        old, key = self.rows, self.key
        self.rows = tuple(rows)
        self._places = {row.key: place for place, row in enumerate(self.rows)}
        place = self._places.get(key, self.cursor) if key is not None else self.cursor
        if len(old) != len(self.rows):
            self.virtual_size = Size(self.size.width, len(self.rows) + 1)
            self.refresh()
        else:
            pairs = enumerate(zip(old, self.rows, strict=True))
            changed = [i for i, (before, after) in pairs if before is not after and before != after]
            self._refresh_rows(*changed)
        moved = max(0, min(place, len(self.rows) - 1))
        if moved != self.cursor:
            self.cursor = moved
        self._tell()

    def go_to(self, key: str) -> bool:
        """Moves the cursor to a key; says whether it is there."""
        if key in self._places:
            self.cursor = self._places[key]
        return key in self._places

    def on_resize(self) -> None:
        """Lays the columns out anew."""
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)
        self._lay_out()
        self.call_after_refresh(self._keep_in_view)

    def notify_style_update(self) -> None:
        """A theme has changed."""
        super().notify_style_update()
        self.refresh()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        kept = set(range(len(self.columns)))
        while len(kept) > 1 and sum(self.columns[i].width + GAP for i in kept) - GAP > width:
            droppable = max(kept, key=lambda i: (self.columns[i].drop, i))
            if self.columns[droppable].drop == 0:
                break
            kept.remove(droppable)
        left = width - sum(self.columns[i].width + GAP for i in kept) + GAP
        flexible = sum(self.columns[i].flex for i in kept)
        self._widths = [0] * len(self.columns)
        for i in sorted(kept):
            column = self.columns[i]
            extra = max(left, 0) * column.flex // flexible if flexible else 0
            self._widths[i] = column.width + extra
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The header stays; rows scroll below it."""
        width = self.scrollable_content_region.width
        if y == 0:
            style = self.get_component_rich_style("table--header")
            titles = tuple(column.title for column in self.columns)
            return self._strip(titles, style, width)
        place = y - 1 + self.scroll_offset.y
        if place >= len(self.rows):
            words = self.empty if not self.rows and y == 2 else ""
            faint = self._rich(self.get_component_rich_style("table--faint"))
            return Strip([Segment(set_cell_size(words, width), faint)])
        row = self.rows[place]
        style = self.rich_style
        if place == self.cursor:
            style = self.get_component_rich_style("table--cursor" if self.has_focus else "table--cursor-blurred")
        elif row.faint:
            style = self.get_component_rich_style("table--faint")
        # The cursor's colours must stay readable: a cell's own could be the cursor's ground.
        own = not (place == self.cursor and self.has_focus)
        return self._strip(row.cells if own else [_plain(cell) for cell in row.cells], style, width)

    def _rich(self, style: Style) -> Style:
        return self.rich_style + style

    def _strip(self, cells: Sequence[Cell], style: Style, width: int) -> Strip:
        style = self._rich(style)
        segments: list[Segment] = []
        for column, cell, room in zip(self.columns, cells, self._widths, strict=False):
            if room:
                segments += [*fitted(cell, room, column.align, style), Segment(" " * GAP, style)]
        return Strip(segments).adjust_cell_length(width, style)

    def _refresh_rows(self, *places: int) -> None:
        """Repaints those of these rows that are in view."""
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        for place in places:
            y = place - top + 1
            if 1 <= y < height:
                self.refresh(Region(0, y, self.size.width, 1))

    def validate_cursor(self, cursor: int) -> int:
        """Inside the table."""
        return max(0, min(cursor, len(self.rows) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        """Moves the highlight and keeps it in view."""
        self._refresh_rows(old, new)
        self._keep_in_view()
        self._tell()

    def _keep_in_view(self) -> None:
        top, room = self.scroll_offset.y, max(self.scrollable_content_region.height - 1, 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + room:
            self.scroll_to(y=self.cursor - room + 1, animate=False)

    def _tell(self) -> None:
        if self.key != self._told:
            self._told = self.key
            self.post_message(self.Highlighted(self, self.key))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows are in view."""
        super().watch_scroll_y(old_value, new_value)
        self.refresh()

    def on_focus(self) -> None:
        """The cursor shows that keys arrive here."""
        self._refresh_rows(self.cursor)

    def on_blur(self) -> None:
        """The cursor shows that keys go elsewhere."""
        self._refresh_rows(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the row under it, or twice, it opens."""
        place = event.y - 1 + self.scroll_offset.y
        if event.y == 0 or place >= len(self.rows):
            return
        again = place == self.cursor and event.chain > 1
        self.cursor = place
        if again:
            self.action_choose()

    def action_move(self, by: int) -> None:
        """Up or down."""
        self.cursor += by

    def action_page(self, by: int) -> None:
        """A windowful up or down."""
        self.cursor += by * max(self.scrollable_content_region.height - 2, 1)

    def action_end(self, which: int) -> None:
        """To the first or the last row."""
        self.cursor = 0 if which < 0 else len(self.rows) - 1

    def action_choose(self) -> None:
        """Opens the row under the cursor."""
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))


def _plain(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.plain


def fitted(cell: Cell, width: int, align: str, style: Style) -> list[Segment]:
    """A cell cut or filled to its width; its own colours over the row's style."""
    text = Text(cell) if isinstance(cell, str) else cell.copy()
    length = cell_len(text.plain)
    if length > width:
        text.truncate(width, overflow="ellipsis")
        length = cell_len(text.plain)
    fill = " " * (width - length)
    own = text.style
    text.style = ""
    text.stylize_before(own)
    padded = Text(fill) + text if align == "right" else text + Text(fill)
    runs: list[Segment] = []
    plain = padded.plain
    marks = [style] * len(plain)
    for span in padded.spans:
        own = span.style if isinstance(span.style, Style) else Style.parse(span.style)
        for i in range(span.start, min(span.end, len(plain))):
            marks[i] = marks[i] + own
    start = 0
    for i in range(1, len(plain) + 1):
        if i == len(plain) or marks[i] != marks[start]:
            runs.append(Segment(plain[start:i], marks[start]))
            start = i
    return runs
