"""The axes of a plot as text: a vertical one with labels at its left, a horizontal one with labels below.

Owns which labels have to give way to others; where the ticks are is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from lctui.console.canvas import Run
from lctui.console.legend import Ink, shortened


def vertical(gutter: int, height: int, labels: Mapping[int, str], ascii: bool) -> list[list[Run]]:
    """Rows of the vertical axis, `gutter` cells wide; labels by row."""
    if not gutter:
        return [[]] * height
    line, tick_line = "|+" if ascii else "│┤"
    rows: list[list[Run]] = []
    for row in range(height):
        label = shortened(labels.get(row, ""), gutter - 1, ascii)
        rows.append([(label.rjust(gutter - 1) + (tick_line if label else line), int(Ink.AXIS))])
    return rows


def horizontal_axis(
    gutter: int, width: int, labels: Sequence[tuple[int, str]], title: str, with_line: bool, ascii: bool
) -> list[list[Run]]:
    """Labels by column; over them, if there is room, a line with ticks that ends in the title."""
    title = shortened(title, width // 2, ascii)
    title = " " + title if title else ""
    end = width - cell_len(title)
    line, tick_line, corner = "-++" if ascii else "─┬└"
    marks, words = [line] * width, [" "] * width
    free, room = 0, width if with_line else end
    for column, label in labels:
        start = max(0, min(column - len(label) // 2, width - len(label)))
        if 0 <= column < width and start >= free and start + len(label) <= room:
            marks[column] = tick_line
            words[start : start + len(label)] = label
            free = start + len(label) + 1
    titled = [(title, int(Ink.NOTE))] if title else []
    if not with_line:
        return [[(" " * gutter + "".join(words[:end]), int(Ink.AXIS)), *titled]]
    left = corner.rjust(gutter) if gutter else ""
    axis = [(left + "".join(marks[:end]), int(Ink.AXIS)), *titled]
    return [axis, [(" " * gutter + "".join(words), int(Ink.AXIS))]]
