"""The boundaries of an optimal k-means within given windows: a dynamic program over all values in them.

Owns the row minima of one layer of the program.  Decides nothing about windows.

A boundary t_j, j = 1..k−1, is the number of points left of cluster j + 1.  With F_j(t) the least cost of the first t
points in j clusters, F_j(t) = min_s F_{j−1}(s) + cost(s, t), and the minimizing s never falls as t grows, because the
cost satisfies the quadrangle inequality.  So a layer is solved by halving: rows already solved bound those between.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lctui.compression.kmeans_sums import Floats, Ints, Sums

BLOCK = 1 << 15
"""Candidates examined at once: their temporaries stay in the processor's cache."""
LONG_SCAN = 2048
"""Candidates of a row from which on it is examined by itself, on slices."""


def exact(sums: Sums, low: Ints, high: Ints) -> Ints:
    """The boundaries of least cost among all with low_j ≤ t_j ≤ high_j.  Memory: 4 bytes a point of the windows."""
    points = [np.arange(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    rows = [Row(sums.cost(0, points[0]), np.zeros(len(points[0]), dtype=np.int32))]
    for left, right in pairwise(points):
        last = np.minimum(right - left[0], len(left) - 1)
        rows.append(_Layer(rows[-1].cost, sums.at(left), sums.at(right), last).solve())
    end = len(sums.weight) - 1
    cells = _backtrack(rows, rows[-1].cost + sums.cost(points[-1], end))
    return np.array([window[cell] for window, cell in zip(points, cells, strict=True)])


@dataclass(frozen=True)
class Row:
    """One layer's solution: the least cost of every row, and the candidate that attains it."""

    cost: Floats
    choice: npt.NDArray[np.int32]


class _Layer:
    """min over q ≤ last[r] of before[q] + cost(candidate q, row r), for all rows r at once.

    `last` never falls with r.  The first minimizing candidate of each row is found, exactly.
    """

    def __init__(self, before: Floats, candidates: Sums, rows: Sums, last: Ints) -> None:
        self.before, self.candidates, self.rows, self.last = before, candidates, rows, last
        self.cost = np.empty(len(last), dtype=before.dtype)
        self.choice = np.empty(len(last), dtype=np.int64)

    def solve(self) -> Row:
        count = len(self.last)
        self._scan(0, 0, int(self.last[0]))
        stride = 1 << max(0, (count - 1).bit_length() - 1)
        while stride and count > 1:
            # Rows at multiples of 2·stride are solved; each row halfway between lies between its neighbours' choices.
            rows = np.arange(stride, count, 2 * stride)
            above = rows + stride
            bound = np.where(above < count, self.choice[np.minimum(above, count - 1)], self.last[rows])
            self._rows(rows, self.choice[rows - stride], np.minimum(bound, self.last[rows]))
            stride //= 2
        return Row(self.cost, self.choice.astype(np.int32))

    def _rows(self, rows: Ints, low: Ints, high: Ints) -> None:
        ends = np.cumsum(high - low + 1)
        if ends[-1] > LONG_SCAN * len(rows):
            for row, start, stop in zip(rows.tolist(), low.tolist(), high.tolist(), strict=True):
                self._scan(row, start, stop)
            return
        done, begin = 0, 0
        while begin < len(rows):
            end = max(begin + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
            self._ragged(rows[begin:end], low[begin:end], high[begin:end])
            done, begin = int(ends[end - 1]), end

    def _scan(self, row: int, low: int, high: int) -> None:
        span = slice(low, high + 1)
        cost = self.before[span] + self.candidates.at(span).cost_to(self.rows.at(row))
        best = int(np.argmin(cost))
        self.cost[row], self.choice[row] = cost[best], low + best

    def _ragged(self, rows: Ints, low: Ints, high: Ints) -> None:
        lengths = high - low + 1
        starts = np.cumsum(lengths) - lengths
        which = np.arange(starts[-1] + lengths[-1]) + np.repeat(low - starts, lengths)
        cost = self.before[which] + self.candidates.at(which).cost_to(self.rows.at(np.repeat(rows, lengths)))
        least = np.minimum.reduceat(cost, starts)
        hits = np.flatnonzero(cost == np.repeat(least, lengths))
        self.cost[rows] = least
        self.choice[rows] = which[hits[np.searchsorted(hits, starts)]]


def _backtrack(rows: list[Row], totals: Floats) -> list[int]:
    """The choices that lead to the least total, first layer first."""
    cells = [int(np.argmin(totals))]
    for row in reversed(rows[1:]):
        cells.append(int(row.choice[cells[-1]]))
    return cells[::-1]
