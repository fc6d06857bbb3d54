"""Small pictures of counts and numbers as text: confusion matrix, histogram, bars, sparkline.

Renderables and strings for any widget; nothing here has keys or state.  Shades help, numbers say it: every picture can
be read without colour, and in plain ASCII.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from lctui.console.axes import tick_labels
from lctui.console.legend import clean, shortened

EIGHTHS = "▁▂▃▄▅▆▇█"
LEFT_EIGHTHS = "▏▎▍▌▋▊▉█"
ASCII_LEVELS = "_.-=+*#@"
RIGHT_GROUND = {True: "#1d3b53", False: "#cfe2f1"}
"""Quiet ground of the diagonal, on dark and on light themes."""
WRONG_GROUNDS = {
    True: ("#4a3312", "#7a4a12", "#b8561b", "#e0452f"),
    False: ("#f6e3c5", "#f2c48d", "#e8924f", "#d9482f"),
}
"""Ground of what was taken for another class, by its share of the largest such count."""
NAME_WIDTH = 10
WORST = 12


def confusion(
    classes: Sequence[str],
    matrix: Sequence[Sequence[int]],
    width: int | None = None,
    ascii: bool = False,
    dark: bool = True,
) -> Text:
    """Counts by true class (rows) and predicted class (columns).

    What was mistaken is shaded by how often, and bold; zeros are dots, so that mistakes stand out without colour too.
    `dark` says which kind of theme it stands on.  Where the matrix is wider than `width`, the most frequent mistakes
    are listed instead.
    """
    names = [shortened(clean(str(name), ascii), NAME_WIDTH, ascii) for name in classes]
    widths = [len(str(count)) for row in matrix for count in row] + [min(cell_len(name), 4) for name in names]
    cell = max(widths, default=1) + 1
    head = max([cell_len(name) for name in names] + [4])
    if width is not None and head + len(names) * cell + 9 > width:
        return _mistakes(names, matrix, width, ascii)
    text = Text(no_wrap=True)
    text.append(_right("true", head), "dim")
    for name in names:
        text.append(_right(shortened(name, cell - 1, ascii), cell), "bold")
    text.append("  error %\n", "dim")
    most = max((count for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j), default=0)
    for i, row in enumerate(matrix):
        total = sum(row)
        text.append(_right(names[i], head), "bold")
        for j, count in enumerate(row):
            words = str(count) if count or i == j else ("." if ascii else "·")
            text.append(_right(words, cell), _shade(0.0 if i == j else count / most if most else 0.0, i == j, dark))
        text.append(f"  {100 * (total - row[i]) / total:7.2f}\n" if total else "\n")
    text.append(_right("", head) + " rows: true class, columns: predicted", "dim")
    return text


def _mistakes(names: Sequence[str], matrix: Sequence[Sequence[int]], width: int, ascii: bool) -> Text:
    """The most frequent mistakes, for matrices that do not fit."""
    pairs = [(count, i, j) for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j and count]
    total, wrong = sum(map(sum, matrix)), sum(count for count, _, _ in pairs)
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    arrow = "->" if ascii else "→"
    labels = [f"{names[i]} {arrow} {names[j]}" for _, i, j in pairs[:WORST]]
    text = Text(shortened(f"{wrong} of {total} wrong, true {arrow} predicted:", width, ascii) + "\n")
    return text.append_text(bars(labels, [count for count, _, _ in pairs[:WORST]], width, ascii))


def _shade(share: float, right: bool, dark: bool) -> Style:
    """The style of a cell: quiet on the diagonal, nothing for zero, else the stronger the larger its share."""
    if right:
        return Style(color="#ffffff" if dark else "#101010", bgcolor=RIGHT_GROUND[dark])
    if not share:
        return Style(dim=True)
    place = min(int(share * 4), 3)
    return Style(color="#ffffff" if dark or place == 3 else "#101010", bgcolor=WRONG_GROUNDS[dark][place], bold=True)


def histogram(
    edges: Sequence[float], counts: Sequence[float], width: int, height: int, ascii: bool = False, color: str = ""
) -> Text:
    """Counts between `edges` (one more than counts) as columns; the last line has the first, middle and last edge.

    More bins than columns are added up in groups; a bin that has anything in it shows at least something.
    """
    size = min(len(counts), len(edges) - 1)
    if size < 1 or width < 1 or height < 1:
        return Text("")
    group = -(-size // width)
    sums = [sum(counts[i : min(i + group, size)]) for i in range(0, size, group)]
    wide = max(width // len(sums), 1)
    rows = max(height - 1, 1)
    most = max(sums) or 1
    levels = [max(round(value / most * rows * 8), 1 if value > 0 else 0) for value in sums]
    text = Text(no_wrap=True)
    for row in range(rows - 1, -1, -1):
        line = "".join(_eighth(level - 8 * row, ascii) * wide for level in levels)
        text.append(line, color).append("\n" if row or height > 1 else "")
    if height > 1:
        text.append(_edge_labels(edges[: size + 1], wide * len(sums), ascii), "dim")
    return text


def _eighth(level: int, ascii: bool) -> str:
    if level <= 0:
        return " "
    if ascii:
        return "#" if level >= 6 else "=" if level >= 3 else "_"
    return EIGHTHS[min(level, 8) - 1]


def _edge_labels(edges: Sequence[float], width: int, ascii: bool) -> str:
    """First, middle and last edge under a histogram, as far as they fit."""
    middle = (edges[0] + edges[-1]) / 2
    left, centre, right = (clean(_number(value), ascii) for value in (edges[0], middle, edges[-1]))
    if len(left) + len(right) + 1 > width:
        return shortened(left, width, ascii)
    line = left + " " * (width - len(left) - len(right)) + right
    start = (width - len(centre)) // 2
    fits = start > len(left) and start + len(centre) < width - len(right)
    return line[:start] + centre + line[start + len(centre) :] if fits else line


def bars(labels: Sequence[str], values: Sequence[float], width: int = 40, ascii: bool = False, color: str = "") -> Text:
    """A horizontal bar a value, its label left, its number right; bars start at zero, negative ones are empty."""
    names = [clean(str(label), ascii) for label in labels]
    numbers = [clean(_number(value), ascii) for value in values]
    head = min(max(map(cell_len, names), default=0), max(width // 2, 1))
    tail = max(map(len, numbers), default=0)
    room = max(width - head - tail - 2, 1)
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    text = Text(no_wrap=True)
    for place, (name, number, value) in enumerate(zip(names, numbers, values, strict=True)):
        share = max(value / most, 0.0) if most > 0 and math.isfinite(value) else 0.0
        bar = _bar(share, room, ascii)
        text.append(_left(shortened(name, head, ascii), head) + " ")
        text.append(bar + " " * (room - cell_len(bar)), color).append(f" {number:>{tail}}")
        text.append("\n" if place < len(names) - 1 else "")
    return text


def _bar(share: float, room: int, ascii: bool) -> str:
    if ascii:
        return "#" * max(round(share * room), 1 if share > 0 else 0)
    eighths = max(round(share * room * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (LEFT_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def sparkline(values: Sequence[float], width: int = 12, ascii: bool = False) -> str:
    """Numbers as one line of at most `width` signs, from the lowest to the highest; a blank where there is none.

    More numbers than signs are reduced to the mean of each stretch; a constant is drawn in the middle.
    """
    if width < 1 or not len(values):
        return ""
    size = min(len(values), width)
    cuts = [len(values) * i // size for i in range(size + 1)]
    means = [_mean(values[start:end]) for start, end in pairwise(cuts)]
    finite = [mean for mean in means if mean is not None]
    if not finite:
        return " " * size
    low, span = min(finite), max(finite) - min(finite)
    signs = ASCII_LEVELS if ascii else EIGHTHS
    places = [None if mean is None else round((mean - low) / span * 7) if span else 3 for mean in means]
    return "".join(" " if place is None else signs[place] for place in places)


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return str(int(value)) if value == int(value) and abs(value) < 1e7 else tick_labels([float(f"{value:.3g}")])[0]


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _left(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
