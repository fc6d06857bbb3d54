"""What differs between two drawn lines, so that no more than that is sent to the terminal.

Owns comparing strips cell by cell.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.style import Style
from textual.strip import Strip


def changed_cells(old: Strip, new: Strip) -> tuple[int, int]:
    """The first and one past the last cell in which two lines of equal width differ."""
    before, after = list(_cells(old)), list(_cells(new))
    if len(before) != len(after):  # a sign two cells wide: not worth the trouble
        return 0, new.cell_length
    differ = [x for x, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    return (differ[0], differ[-1] + 1) if differ else (0, 0)


def _cells(strip: Strip) -> Iterator[tuple[str, Style | None]]:
    return ((sign, segment.style) for segment in strip for sign in segment.text)
