"""Windows that the boundaries of an optimal clustering are proven to lie in, and the rounds that narrow them.

Each round cuts the windows into cells and bounds from below what every clustering costs that uses a cell, or a pair of
neighbouring boundaries' cells, by shortest paths forwards and backwards.  What exceeds the cost of the clustering at
hand is excluded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lctui.compression.kmeans_arcs import Arcs
from lctui.compression.kmeans_bounds import ROUNDING, Cells, bound, layout
from lctui.compression.kmeans_grid import Grid, ends
from lctui.compression.kmeans_prices import Prices
from lctui.compression.kmeans_start import improved, limits, spaced
from lctui.compression.kmeans_sums import Floats, Ints, Measure, Sums

EVEN, NEAR, MOST = 32, 40, 256
"""Cells of a window in later rounds: of equal measure (and at most how many), on either side of the known boundary."""


@dataclass(frozen=True)
class Windows:
    """What is proven so far: boundary j lies in low[j]..high[j], for any optimum; `known`: the best that was found.

    If it lies at or after `places[j, i]` and before the next place, then boundary j + 1 lies in
    next_low[j, i]..next_high[j, i].
    """

    low: Ints
    high: Ints
    known: Ints
    places: Ints
    next_low: Ints
    next_high: Ints


def first_round(x: Floats, sums: Sums, measure: Measure, known: Ints) -> Windows:
    """Windows from cells that are the same for all boundaries, and so are the bounds."""
    end, layers = len(x), len(known)
    grid = Grid.of(x, sums, measure, known, _budget(sums, known))
    first, last = grid.cells.first[0], grid.cells.last[0]
    start, stop = (each[0] for each in ends(sums, grid.cells))
    ways = grid.ways(start, layers, _budget(sums, known))
    rest = grid.rest(stop, ways, _budget(sums, known))
    guess = improved(sums, spaced(first[(ways + rest).argmin(1)], end))
    known = min(known, guess, key=sums.total)
    budget = _budget(sums, known)
    alive = ways + rest <= budget
    low, high = _span(alive)
    next_low, next_high = np.full((2, layers - 1, len(first)), [[[end]], [[0]]])
    for j, (a, b) in enumerate(zip(low[:-1].tolist(), (high[:-1] + 1).tolist(), strict=True)):
        to_first, to_last = grid.used(ways[j], rest[j + 1], a, b, budget)
        next_low[j, a:b] = np.append(first, end)[to_first]
        next_high[j, a:b] = np.append(last, 0)[to_last]
    least, most = limits(end, layers + 1)
    low = np.maximum(least, np.where(alive.any(1), first[low], least))
    high = np.minimum(most, np.where(alive.any(1), last[high], most))
    return Windows(*_ordered(low, high), known, np.tile(first, (layers, 1)), next_low, next_high)


def later_round(x: Floats, sums: Sums, measure: Measure, windows: Windows) -> Windows:
    """Narrower windows, from finer cells."""
    end = len(x)
    center = np.clip(windows.known, windows.low, windows.high)
    # In clusters' sizes: while windows are wide, cells of equal measure are what helps.
    wide = float((windows.high - windows.low).mean()) * (len(center) + 1) / end
    even, near = min(MOST, round(EVEN * (1 + wide))), round(NEAR / (1 + wide))

    def cut(even: int, near: int) -> tuple[Cells, Arcs]:
        cells = Cells.of(x, sums, layout(measure, windows.low, windows.high, center, even, near))
        return cells, _arcs(cells, windows, end)

    cells, arcs = cut(even, near)
    prices = Prices.of(sums, *cut((even + 1) // 2, (near + 1) // 2))
    cells, guess = cells.priced(prices.at(cells)), prices.clustering
    lengths = _lengths(cells, arcs)
    start, stop = ends(sums, cells)
    never = np.where(cells.empty, np.inf, 0)
    lengths = lengths + never.reshape(-1)[arcs.source]
    ways = arcs.forward(lengths, start[0]) + never
    rest = arcs.backward(lengths, stop[-1] + never[-1])
    known = windows.known
    if sums.total(guess) < sums.total(known):
        known = improved(sums, guess)
    budget = _budget(sums, known)
    alive = ways + rest <= budget
    first, last = _span(alive)
    some, row = alive.any(1), np.arange(len(first))
    low = np.where(some, cells.first[row, first], windows.low)
    high = np.where(some, cells.last[row, last], windows.high)
    used = np.flatnonzero(ways.reshape(-1)[arcs.source] + lengths + rest.reshape(-1)[arcs.target] <= budget)
    next_low, next_high = np.full((2, *arcs.low.shape), [[[end]], [[0]]])
    sources, targets = arcs.source[used], arcs.target[used]
    begins = np.flatnonzero(np.diff(sources, prepend=-1))
    finals = np.append(begins[1:], len(sources))[: len(begins)] - 1
    next_low.reshape(-1)[sources[begins]] = cells.first.reshape(-1)[targets[begins]]
    next_high.reshape(-1)[sources[begins]] = cells.last.reshape(-1)[targets[finals]]
    return Windows(*_ordered(low, high), known, cells.first, next_low, next_high)


def _arcs(cells: Cells, windows: Windows, end: int) -> Arcs:
    """The pairs of cells that are not excluded yet."""
    width = cells.first.shape[1]
    # All boundaries at once: places of different boundaries are kept apart by multiples of `apart`.
    apart = (end + 2) * np.arange(len(cells.first))[:, None]
    coarse_width = windows.places.shape[1]
    layer = np.arange(len(cells.first) - 1)[:, None]

    def within(places: Ints, among: Ints, shift: Ints) -> Ints:
        return np.searchsorted((among + apart).reshape(-1), places + shift, side="right") - 1

    old_first = within(cells.first[:-1], windows.places, apart[:-1]) - layer * coarse_width
    old_last = within(cells.last[:-1], windows.places, apart[:-1]) - layer * coarse_width
    reach_low = np.minimum.accumulate(windows.next_low[:, ::-1], axis=1)[:, ::-1]
    reach_high = np.maximum.accumulate(windows.next_high, axis=1)
    to_low = np.take_along_axis(reach_low, np.clip(old_first, 0, coarse_width - 1), 1)
    to_high = np.take_along_axis(reach_high, np.clip(old_last, 0, coarse_width - 1), 1)
    low = within(np.clip(to_low, windows.low[1:, None], windows.high[1:, None]), cells.first, apart[1:])
    high = within(np.clip(to_high, windows.low[1:, None], windows.high[1:, None]), cells.first, apart[1:])
    # Of cells that start at one place all but the last are empty.
    return Arcs.between(low - (layer + 1) * width, high - (layer + 1) * width)


def _lengths(cells: Cells, arcs: Arcs) -> Floats:
    """Bounds for the clusters between the pairs of cells."""
    left, right, inside = cells.right.flat(), cells.left.flat(), cells.inside.flat()

    def one(source: Ints, target: Ints) -> Floats:
        return bound(left.taken(source), inside.taken(source), right.taken(target), inside.taken(target))

    return np.concatenate([one(arcs.source[block], arcs.target[block]) for block in arcs.blocks()])


def _budget(sums: Sums, known: Ints) -> float:
    """What an optimum cannot exceed, and a bound for it neither, whatever rounding does."""
    return sums.total(known) * (1 + 1e-9) + ROUNDING * float(sums.second[-1])


def _span(mask: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The first and the last true entry of every row; the whole row where there is none."""
    return mask.argmax(1), mask.shape[1] - 1 - mask[:, ::-1].argmax(1)


def _ordered(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """The same windows without the values that no ascending t could use."""
    return np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]
