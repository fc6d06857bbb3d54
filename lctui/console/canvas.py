"""A grid of terminal cells to draw curves on: braille dots (2 by 4 a cell), or plain ASCII signs (1 by 1).

A cell can have one colour only.  Every dot that was set stays, and the cell takes the colour of the strongest curve in
it: an emphasised one before the others, the later one among equals.  Faint curves (the raw one behind a smoothed one)
give a cell up altogether when a stronger one enters.  Knows neither data nor Textual: dots, owners and text only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.cells import cell_len

NOBODY = -1
BRAILLE = 0x2800
LEFT = (0x01, 0x02, 0x04, 0x40)
RIGHT = (0x08, 0x10, 0x20, 0x80)
FAINT, PLAIN, STRONG = 0, 1, 2

Run = tuple[str, int]
"""Text in the colour of one owner."""


def _masks(bits: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """[first][last] -> the dots from row first to row last of a cell's dot column."""
    return tuple(tuple(sum(bits[first : last + 1]) for last in range(4)) for first in range(4))


MASKS = (_masks(LEFT), _masks(RIGHT))


class Canvas:
    """Cells `width` by `height`; dots count from the top left.  What falls outside is not drawn."""

    def __init__(self, width: int, height: int, ascii: bool = False) -> None:
        self.width, self.height, self.ascii = width, height, ascii
        self.across, self.down = (1, 1) if ascii else (2, 4)
        self.dots = (width * self.across, height * self.down)
        self.signs: dict[int, str] = {}
        """ASCII only: the sign that an owner's line is made of (`*` unless said)."""
        self.solid: set[int] = set()
        """Owners whose ground is coloured: blanks are never given to them."""
        self._bits = [0] * (width * height)
        self._owners = [NOBODY] * (width * height)
        self._ranks = [FAINT] * (width * height)
        self._texts: dict[int, tuple[str, int]] = {}

    def span(self, x: int, top: int, bottom: int, owner: int, rank: int = PLAIN) -> None:
        """Dots from `top` to `bottom` in one column of dots."""
        if not 0 <= x < self.dots[0] or bottom < 0 or top >= self.dots[1]:
            return
        top, bottom = max(top, 0), min(bottom, self.dots[1] - 1)
        bits, owners, ranks, down = self._bits, self._owners, self._ranks, self.down
        masks = MASKS[x % self.across]
        first, last = top // down, bottom // down
        place = first * self.width + x // self.across
        for row in range(first, last + 1):
            start = top % down if row == first else 0
            end = bottom % down if row == last else down - 1
            if rank >= ranks[place] or owners[place] == NOBODY:
                if rank > ranks[place] and ranks[place] == FAINT:
                    bits[place] = 0
                owners[place], ranks[place] = owner, rank
                bits[place] |= masks[start][end]
            elif rank > FAINT:
                bits[place] |= masks[start][end]
            place += self.width

    def polyline(self, dots: Sequence[tuple[int, int]], owner: int, rank: int = PLAIN) -> None:
        """Lines without holes from dot to dot; what touches in one column of dots is set at once."""
        if not dots:
            return
        x, top = dots[0]
        bottom = top
        for start, end in pairwise(dots):
            for column, first, last in steps(*start, *end):
                if column != x:
                    self.span(x, top, bottom, owner, rank)
                    x, top, bottom = column, first, last
                else:
                    top, bottom = min(top, first), max(bottom, last)
        self.span(x, top, bottom, owner, rank)

    def copy(self) -> Canvas:
        """The same drawing, to draw more on."""
        other = Canvas(0, self.height, self.ascii)
        other.width, other.dots = self.width, self.dots
        other.signs, other.solid, other._texts = dict(self.signs), set(self.solid), dict(self._texts)
        other._bits, other._owners, other._ranks = self._bits[:], self._owners[:], self._ranks[:]
        return other

    def cell(self, x: int, y: int) -> tuple[int, int]:
        """The cell (column, row) of a dot."""
        return x // self.across, y // self.down

    def owner(self, column: int, row: int) -> int:
        """Whose colour a cell has; NOBODY where it is empty."""
        return self._owners[row * self.width + column]

    def is_free(self, column: int, row: int, width: int = 1) -> bool:
        """Whether cells are inside and have neither dots nor text."""
        if not (0 <= row < self.height and column >= 0 and column + width <= self.width):
            return False
        places = range(row * self.width + column, row * self.width + column + width)
        return not any(self._bits[place] or place in self._texts for place in places)

    def has_text(self, column: int, row: int) -> bool:
        """Whether a cell shows a sign or text instead of dots."""
        return row * self.width + column in self._texts

    def text(self, column: int, row: int, text: str, owner: int) -> None:
        """Writes over cells, as far as they are inside; a wide sign takes two cells."""
        for sign in text:
            width = cell_len(sign)
            if 0 <= row < self.height and column >= 0 and column + width <= self.width:
                place = row * self.width + column
                if width:
                    self._texts[place] = (sign, owner)
                for more in range(1, width):
                    self._texts[place + more] = ("", owner)
            column += width

    def runs(self, row: int) -> list[Run]:
        """A row as text of one colour after the other; blanks go with what is before them, to save colour changes."""
        runs: list[Run] = []
        signs: list[str] = []
        current = NOBODY
        for place in range(row * self.width, (row + 1) * self.width):
            sign, owner = self._sign(place)
            if owner != current and (sign != " " or current in self.solid):
                if current == NOBODY and owner not in self.solid:
                    current = owner
                elif signs:
                    runs.append(("".join(signs), current))
                    signs = []
                current = owner
            signs.append(sign)
        return [*runs, ("".join(signs), current)] if signs else runs

    def _sign(self, place: int) -> Run:
        if place in self._texts:
            return self._texts[place]
        bits, owner = self._bits[place], self._owners[place]
        if not bits:
            return " ", NOBODY
        return (self.signs.get(owner, "*") if self.ascii else chr(BRAILLE + bits)), owner


def steps(x0: int, y0: int, x1: int, y1: int) -> Iterator[tuple[int, int, int]]:
    """A line from dot to dot, both included, as (column, first row, last row), in the order it runs."""
    ahead, across, tall = (1 if x1 > x0 else -1), abs(x1 - x0), y1 - y0
    if not across:
        yield x0, min(y0, y1), max(y0, y1)
        return
    if abs(tall) <= across:
        for i in range(across + 1):
            y = y0 + (2 * tall * i + across) // (2 * across)
            yield x0 + ahead * i, y, y
        return
    down = 1 if tall > 0 else -1
    start = y0
    for i in range(across + 1):
        # the last row that is nearer to this column than to the next one
        end = y1 if i == across else y0 + down * ((2 * i + 1) * abs(tall) // (2 * across))
        yield x0 + ahead * i, min(start, end), max(start, end)
        start = end + down
