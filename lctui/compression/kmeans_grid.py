"""The first windows of boundaries: bounds on one grid of cells that all boundaries share.

Owns the band of pairs of cells that a cluster of an optimum can lie between, and the passes over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lctui.compression.kmeans_bounds import Cells, Inside, bound
from lctui.compression.kmeans_prices import usual
from lctui.compression.kmeans_sums import Floats, Ints, Measure, Sums

CELLS = 32
"""Cells that the whole range is cut into, for each cluster, within what `LEAST` and `MOST` leave."""
LEAST, MOST = 256, 8192
PAIRS, PAIRS_EACH = 1 << 19, 1 << 13
"""With more pairs in the band than this, in all and for each cluster, cells are made larger."""
BLOCK = 1 << 14
"""Pairs of cells bounded at once: their temporaries stay in the processor's cache."""


@dataclass(frozen=True)
class Grid:
    """Bounds for a cluster from cell i to cell i + d, d < K: `onward[i, d]`; `into[i, j]` is that from i + j − K + 1.

    `cells` [1, M]; K is wide enough for every cluster that by itself costs no more than the budget.
    """

    cells: Cells
    onward: Floats
    into: Floats

    @classmethod
    def of(cls, x: Floats, sums: Sums, measure: Measure, known: Ints, budget: float) -> Grid:
        """The grid for finding what is no better than a known clustering, or costs no more than the budget."""
        count = 2 * max(LEAST, min(CELLS * (len(known) + 1), MOST))
        while True:
            count //= 2
            places = measure.parts(np.array([1]), np.array([len(x)]), count)
            cells = Cells.of(x, sums, np.unique(places)[None])
            width = _width(cells, budget)
            if width * cells.first.size <= max(PAIRS, PAIRS_EACH * len(known)) or count <= LEAST:
                break
        cells = cells.priced(usual(sums, known, cells))
        onward = _onward(cells, width)
        row, column = np.arange(cells.first.size)[:, None], np.arange(width)
        source = row + column - (width - 1)
        into = onward[np.maximum(source, 0), width - 1 - column]
        into[source < 0] = np.inf
        return cls(cells, onward, into)

    def ways(self, start: Floats, layers: int, budget: float) -> Floats:
        """The shortest way to each cell as boundary 1, 2, …: [layers, M], infinite where nothing can follow."""
        count, width = self.onward.shape
        # What follows costs at least nothing, but may be paid for the points of the cell.
        most = budget + self.cells.inside.mass[0] * self.cells.inside.price[0]
        ways = np.full((layers, count), np.inf)
        ways[0] = np.where(start <= most, start, np.inf)
        for before, after in pairwise(ways):
            some = np.flatnonzero(before < np.inf)
            low, high = (int(some[0]), min(int(some[-1]) + width, count)) if len(some) else (0, 0)
            from_all = sliding_window_view(np.pad(before, (width - 1, 0), constant_values=np.inf), width)
            found = (from_all[low:high] + self.into[low:high]).min(1)
            after[low:high] = np.where(found <= most[low:high], found, np.inf)
        return ways

    def rest(self, end: Floats, ways: Floats, budget: float) -> Floats:
        """The shortest way from each cell on: [layers, M], infinite where with the way to it the budget is exceeded."""
        width = self.onward.shape[1]
        rest = np.full_like(ways, np.inf)
        rest[-1] = np.where(ways[-1] + end <= budget, end, np.inf)
        for layer in range(len(ways) - 2, -1, -1):
            some = np.flatnonzero(ways[layer] < np.inf)
            low, high = (int(some[0]), int(some[-1]) + 1) if len(some) else (0, 0)
            to_all = sliding_window_view(np.pad(rest[layer + 1], (0, width - 1), constant_values=np.inf), width)
            reach = np.flatnonzero(rest[layer + 1] < np.inf)
            low, high = (max(low, int(reach[0]) - width + 1), min(high, int(reach[-1]) + 1)) if len(reach) else (0, 0)
            found = (to_all[low:high] + self.onward[low:high]).min(1) if low < high else np.empty(0)
            found[ways[layer, low:high] + found > budget] = np.inf
            rest[layer, low : low + len(found)] = found
        return rest

    def used(self, before: Floats, after: Floats, low: int, high: int, budget: float) -> tuple[Ints, Ints]:
        """For the cells low..high − 1 of a boundary, the first and the last cell that the next one can be in.

        Where there is none, first is M and last is −1.
        """
        count, width = self.onward.shape
        to_all = sliding_window_view(np.pad(after, (0, width - 1), constant_values=np.inf), width)
        used = before[low:high, None] + self.onward[low:high] + to_all[low:high] <= budget
        some, row = used.any(1), np.arange(low, high)
        first = np.where(some, row + used.argmax(1), count)
        return first, np.where(some, row + width - 1 - used[:, ::-1].argmax(1), -1)


def ends(sums: Sums, cells: Cells) -> tuple[Floats, Floats]:
    """Bounds for a cluster from the first point to every cell, and from every cell to the last point: [L, C]."""
    nothing = Inside(*np.zeros((4, 1)))
    start = bound(sums.at(np.s_[:1]), nothing, cells.left, cells.inside)
    return start, bound(cells.right, cells.inside, sums.at(np.s_[-1:]), nothing)


def _width(cells: Cells, budget: float) -> int:
    """How many cells a cluster can reach across at a cost within the budget."""
    left, right = cells.left.at(np.s_[0]), cells.right.at(np.s_[0])
    low = np.arange(cells.first.size)
    high = np.full_like(low, cells.first.size - 1)
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = right.cost_to(left.at(middle)) <= budget
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return int((low - np.arange(cells.first.size)).max()) + 1


def _onward(cells: Cells, width: int) -> Floats:
    """The bounds for pairs of cells in the band: [M, K], infinite beyond the last cell."""
    count = cells.first.size

    def windows(part: Floats) -> Floats:
        return sliding_window_view(np.pad(part[0], (0, width - 1), mode="edge"), width)

    left = Sums(*map(windows, (cells.left.weight, cells.left.first, cells.left.second)))
    inside = cells.inside
    b = Inside(*map(windows, (inside.mass, inside.mean, inside.variance, inside.price)))
    step = max(1, BLOCK // width)
    rows = [slice(i, i + step) for i in range(0, count, step)]
    found = np.concatenate(
        [bound(cells.right.at(np.s_[0, r, None]), inside.at(np.s_[0, r, None]), left.at(r), b.at(r)) for r in rows]
    )
    found[np.arange(count)[:, None] + np.arange(width) >= count] = np.inf
    return found
