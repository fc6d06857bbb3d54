"""What stands around a plot: title, names with their signs, values at the cursor, notes; cut to the room there is.

Names come from users and are made printable here.  Returns runs of text in the colour of an owner; knows no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import cycle

from rich.cells import cell_len, set_cell_size

from lctui.console.axes import reading
from lctui.console.canvas import Run
from lctui.console.glyphs import ASCII
from lctui.errors import printable

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHAPES = "●◆▲■○◇△□"
ASCII_SHAPES = "*#@%&$+="
SIDE_FROM = 96
"""Columns from which on a legend may stand to the right of a plot."""


class Ink(IntEnum):
    """Owners that are no curves; curve i is i, its faint form FAINT + i, its form under the cursor PICKED + i."""

    AXIS = -2
    TEXT = -3
    TITLE = -4
    NOTE = -5
    CURSOR = -6
    FAINT = 1 << 16
    PICKED = 1 << 17


@dataclass(frozen=True)
class Entry:
    """A curve in the legend: its sign, its name, its value under the cursor (None: the cursor is not set)."""

    curve: int
    sign: str
    name: str
    value: str | None = None

    def runs(self, name_limit: int, ascii: bool) -> list[Run]:
        """`a name 0.53`, the name cut to a limit."""
        name = shortened(self.name, name_limit, ascii)
        words = " ".join(word for word in (self.sign, name) if word)
        return [(words, self.curve), *([(f" {self.value}", Ink.TEXT)] if self.value is not None else [])]


def signs(kinds: Sequence[str], ascii: bool) -> list[str]:
    """A sign of its own for every curve: shapes for points (then letters), letters for lines; none for a lone line."""
    shapes, letters = iter(ASCII_SHAPES if ascii else SHAPES), cycle(LETTERS)
    if list(kinds) == ["line"]:
        return [""]
    return [next(shapes, None) or next(letters) if kind == "points" else next(letters) for kind in kinds]


def clean(text: str, ascii: bool) -> str:
    """User text as one line that this terminal can show."""
    text = printable(text)
    return ASCII.plain(text) if ascii else text


def shortened(text: str, width: int, ascii: bool = False) -> str:
    """Text in at most `width` cells."""
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    return set_cell_size(text, width - 1).rstrip() + ("~" if ascii else "…")


def shown_value(value: float | None, ascii: bool) -> str:
    """A value under the cursor; a dash where there is none."""
    return clean(reading(value), ascii)


def runs_length(runs: Sequence[Run]) -> int:
    """How many cells runs take."""
    return sum(cell_len(text) for text, _ in runs)


def fitted(runs: Sequence[Run], width: int) -> list[Run]:
    """Runs cut or filled with blanks to exactly `width` cells."""
    found: list[Run] = []
    for text, ink in runs:
        room = width - runs_length(found)
        found.append((text if cell_len(text) <= room else set_cell_size(text, room), ink))
    found = [(text, ink) for text, ink in found if text]
    missing = width - runs_length(found)
    if not missing:
        return found
    if not found:
        return [(" " * missing, Ink.TEXT)]
    return [*found[:-1], (found[-1][0] + " " * missing, found[-1][1])]


def header(
    width: int,
    title: str,
    y_title: str,
    at: tuple[str, str],
    entries: Sequence[Entry],
    notes: Sequence[str],
    ascii: bool,
) -> list[Run]:
    """The top line: as much as fits of title, place of the cursor, legend and notes; names give way first.

    `at` is where the cursor stands, as (name of x, value); ("", "") without a cursor.
    """
    tries = ((99, 3), (16, 3), (10, 3), (99, 2), (10, 2), (6, 2), (10, 1), (4, 1), (0, 0), (0, -1))
    for name_limit, level in tries:
        parts: list[list[Run]] = []
        words = [title if level >= 1 else "", y_title if level >= 3 else ""]
        parts += [[(word, Ink.TITLE if word is title else Ink.NOTE)] for word in words if word]
        place = at[1] if level < 0 else " ".join(word for word in at if word)
        parts += [[(place, Ink.CURSOR)]] if place else []
        parts += [entry.runs(name_limit, ascii) for entry in entries]
        kept = notes if level >= 3 else notes[:1] if level == 2 else ()
        line = _joined(parts)
        note = "  ".join(kept)
        needed = runs_length(line) + (2 + cell_len(note) if note else 0)
        if needed <= width:
            break
    if needed > width:
        return fitted(line, width)
    gap = " " * (width - runs_length(line) - cell_len(note))
    return fitted([*line, (gap + note, Ink.NOTE)] if note else line, width)


def _joined(parts: Sequence[list[Run]]) -> list[Run]:
    """Parts with two blanks between them, which belong to what is before them."""
    line: list[Run] = []
    for part in parts:
        if line:
            line[-1] = (line[-1][0] + "  ", line[-1][1])
        line += part
    return line


def header_length(title: str, entries: Sequence[Entry]) -> int:
    """How long the top line gets with whole names, and room for a value each."""
    return cell_len(title) + 12 + sum(cell_len(entry.name) + 11 for entry in entries)


def side_width(entries: Sequence[Entry], width: int) -> int:
    """Columns for a legend at the right."""
    longest = max(cell_len(entry.name) for entry in entries)
    return min(longest + 12, width // 3)


def side(entries: Sequence[Entry], width: int, height: int, ascii: bool) -> list[list[Run]]:
    """The legend at the right, a line a curve; what does not fit is counted."""
    lines: list[list[Run]] = []
    shown = entries if len(entries) <= height else entries[: height - 1]
    for entry in shown:
        value = entry.value if entry.value is not None else ""
        room = width - 4 - (cell_len(value) + 1 if value else 0)
        name = shortened(entry.name, max(room, 0), ascii)
        blanks = " " * (width - 2 - cell_len(entry.sign) - 1 - cell_len(name) - cell_len(value))
        lines.append(fitted([(f"  {entry.sign} {name}{blanks}", entry.curve), (value, Ink.TEXT)], width))
    if len(shown) < len(entries):
        lines.append(fitted([(f"  +{len(entries) - len(shown)} more", Ink.NOTE)], width))
    return [*lines, *([fitted([], width)] * (height - len(lines)))]
