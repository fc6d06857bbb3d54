"""Where the clusters of an optimal k-means begin: a dynamic program, made fast without giving up exactness.

Owns prefix sums, the row minima of one layer of the program, and the windows that bounds confine the boundaries to.
Knows nothing of codebooks or weights: it sees sorted distinct numbers with multiplicities.

A boundary t_j, j = 1..k−1, is the number of points left of cluster j + 1.  With F_j(t) the least cost of the first t
points in j clusters, F_j(t) = min_s F_{j−1}(s) + cost(s, t), and the minimizing s never falls as t grows, because the
cost satisfies the quadrangle inequality.  So a layer is solved by halving: rows already solved bound those between.

To avoid running this over all points, boundaries are first confined: cut each boundary's range into cells, and let a
boundary that lies in a cell leave out that cell's points.  Leaving points out never raises a cost, so this smaller
program, forwards and backwards, bounds from below the cost of every solution with boundary j in that cell.  A cell
whose bound exceeds the cost of a solution at hand cannot hold the optimum's boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

CELLS = 4096
"""Cells that a boundary's range is cut into while it is narrowed."""
BLOCK = 1 << 15
"""Candidates examined at once: their temporaries stay in the processor's cache."""
LONG_SCAN = 2048
"""Candidates of a row from which on it is examined by itself, on slices."""
LLOYD_STEPS = 300


@dataclass(frozen=True)
class Sums:
    """Prefix sums over the sorted points, [D + 1] each: multiplicity, and its first and second moment."""

    weight: Floats
    first: Floats
    second: Floats

    @classmethod
    def of(cls, x: Floats, counts: npt.NDArray[np.float64]) -> Sums:
        zero = np.zeros(1, dtype=x.dtype)
        weighted = x * counts
        moments = (counts.astype(x.dtype), weighted, weighted * x)
        return cls(*(np.concatenate((zero, np.cumsum(moment))) for moment in moments))

    def cost(self, start: int | Ints, stop: int | Ints) -> Floats:
        """Squared error of points start..stop−1 around their mean; 0 where stop ≤ start."""
        return self.at(start).cost_to(self.at(stop))

    def at(self, where: int | slice | Ints) -> Sums:
        """The sums at some places."""
        return Sums(self.weight[where], self.first[where], self.second[where])

    def mirrored(self) -> Sums:
        """The sums of the points in reverse order."""
        return Sums(*(sums[-1] - sums[::-1] for sums in (self.weight, self.first, self.second)))

    def cost_to(self, stop: Sums) -> Floats:
        """Squared error between the places of these sums and those of `stop`."""
        first = stop.first - self.first
        # Multiplicities are whole: below 1 means nothing in between, and then the error is clipped to 0.
        error = stop.second - self.second - first * first / np.maximum(stop.weight - self.weight, 1)
        return np.maximum(error, 0)


@dataclass(frozen=True)
class Cells:
    """A boundary's window in pieces: cell i holds the values first[i] ≤ t ≤ last[i]; single values cost no slack."""

    first: Ints
    last: Ints

    @classmethod
    def of(cls, measure: Floats, low: int, high: int) -> Cells:
        """At most `CELLS` cells of about equal measure that cover low..high."""
        first = np.arange(low, high + 1)
        if len(first) > CELLS:
            shares = np.linspace(measure[low], measure[high], CELLS + 1)[:-1]
            first = np.unique(np.clip(np.searchsorted(measure, shares), low, high))
        return cls(first, np.append(first[1:] - 1, high))

    def mirrored(self, end: int) -> Cells:
        """The cells of the same boundary, counted from the other end."""
        return Cells(end - self.last[::-1], end - self.first[::-1])


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


def best_boundaries(x: Floats, sums: Sums, k: int) -> Ints:
    """The boundaries t_1..t_{k−1} of an optimal clustering of the sorted points x into k ≥ 3 clusters.

    Args:
        x: [D], ascending, distinct, D > k.
        sums: the prefix sums of x.
    """
    count = len(x)
    low, high = np.arange(1, k), count - k + np.arange(1, k)
    known = lloyd(x, sums, count * np.arange(1, k) // k)
    while int((high - low).max()) > CELLS:
        before = int((high - low).sum())
        low, high, known = narrow(x, sums, low, high, known)
        if 2 * int((high - low).sum()) > before:
            break
    return exact(sums, low, high)


def narrow(x: Floats, sums: Sums, low: Ints, high: Ints, known: Ints) -> tuple[Ints, Ints, Ints]:
    """Smaller windows low_j ≤ t_j ≤ high_j that still hold an optimum, and a solution at least as good as `known`."""
    end = len(x)
    measure = _measure(x)
    cells = [Cells.of(measure, int(a), int(b)) for a, b in zip(low, high, strict=True)]
    forward = bounds(sums, cells)
    found = _backtrack(forward, forward[-1].cost + sums.cost(cells[-1].last, end))
    guess = np.array([cell.first[i] for cell, i in zip(cells, found, strict=True)])
    known = min((known, lloyd(x, sums, guess)), key=lambda cuts: total(sums, cuts))
    backward = bounds(sums.mirrored(), [cell.mirrored(end) for cell in reversed(cells)])[::-1]
    # What rounding can add up to in the prefix sums is allowed for.
    budget = total(sums, known) * (1 + 1e-9) + 1e-13 * float(sums.second[-1])
    for j, cell in enumerate(cells):
        alive = np.flatnonzero(forward[j].cost + backward[j].cost[::-1] <= budget)
        if len(alive):
            low[j], high[j] = cell.first[alive[0]], cell.last[alive[-1]]
    return (*_ordered(low, high), known)


def bounds(sums: Sums, cells: list[Cells]) -> list[Row]:
    """For every boundary and each of its cells, a lower bound of the cost of all points left of the boundary."""
    rows = [Row(sums.cost(0, cells[0].first), np.zeros(len(cells[0].first), dtype=np.int32))]
    for left, right in pairwise(cells):
        last = np.searchsorted(left.first, right.last, side="right") - 1
        rows.append(_Layer(rows[-1].cost, sums.at(left.last), sums.at(right.first), last).solve())
    return rows


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


def lloyd(x: Floats, sums: Sums, cuts: Ints) -> Ints:
    """A local optimum from the boundaries `cuts`; O(k log D) a step, thanks to the prefix sums."""
    count, k = len(x), len(cuts) + 1
    cuts = np.maximum.accumulate(cuts)
    least, cost = cuts, total(sums, cuts)
    for _ in range(LLOYD_STEPS):
        edges = np.concatenate(([0], cuts, [count]))
        means = np.diff(sums.first[edges]) / np.maximum(np.diff(sums.weight[edges]), 1)
        middles = (means[1:] + means[:-1]) / 2
        cuts = np.maximum.accumulate(np.searchsorted(x, middles, side="right"))
        cuts = np.clip(cuts, np.arange(1, k), count - k + np.arange(1, k))
        if not total(sums, cuts) < cost:
            break
        least, cost = cuts, total(sums, cuts)
    return least


def total(sums: Sums, cuts: Ints) -> float:
    """The cost of the clustering with these boundaries."""
    edges = np.concatenate(([0], cuts, [len(sums.weight) - 1]))
    return float(sums.cost(edges[:-1], edges[1:]).sum())


def _measure(x: Floats) -> Floats:
    """A measure of the points' range that cells take equal shares of: [D + 1], ascending strictly.

    Half of it counts points.  The other half is the integral of density^(1/3), which is how optimal clusters spread
    out when they are many (Panter & Dite 1951): in heavy tails a few points decide over many boundaries.
    """
    spread = np.concatenate(([0.0], np.cumsum(np.cbrt(np.diff(x)) ** 2)))
    share = spread / max(float(spread[-1]), np.finfo(np.float64).tiny)
    return np.append(share, 1.0) + np.linspace(0, 1, len(x) + 1)


def _ordered(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """The same windows without the values that no ascending t could use."""
    return np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]


def _backtrack(rows: list[Row], totals: Floats) -> list[int]:
    """The choices that lead to the least total, first layer first."""
    cells = [int(np.argmin(totals))]
    for row in reversed(rows[1:]):
        cells.append(int(row.choice[cells[-1]]))
    return cells[::-1]
