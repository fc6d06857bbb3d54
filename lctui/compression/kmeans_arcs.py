"""Shortest paths through cells: which pairs of neighbouring boundaries' cells an optimal clustering may use.

Owns the layout of such pairs, arcs, in flat arrays, and the two passes over them.  Knows arcs' lengths only as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lctui.compression.kmeans_sums import Floats, Ints

BLOCK = 1 << 14
"""Arcs that are looked at at once."""


@dataclass(frozen=True)
class Arcs:
    """From cell (l, i) arcs lead to the cells (l + 1, low[l, i]..high[l, i]): [L − 1, C] each.

    Both rise with i, they leave no cell out, and cells are numbered l·C + i.  Arrays over arcs are ordered by source,
    then target; `by_target` holds the places in that order of the arcs ordered by target, then source.
    """

    low: Ints
    high: Ints

    @classmethod
    def between(cls, low: Ints, high: Ints) -> Arcs:
        """Arcs to at least the cells low..high, and as few more as leave no cell out."""
        low = np.minimum.accumulate(low[:, ::-1], axis=1)[:, ::-1].copy()
        high = np.maximum.accumulate(high, axis=1)
        low[:, 0], high[:, -1] = 0, low.shape[1] - 1
        high = np.maximum(high, low)
        low[:, 1:] = np.minimum(low[:, 1:], high[:, :-1] + 1)
        return cls(low, high)

    def blocks(self) -> list[slice]:
        """The arcs in pieces whose temporaries stay in the processor's cache."""
        return [slice(i, i + BLOCK) for i in range(0, len(self.source), BLOCK)]

    @cached_property
    def starts(self) -> Ints:
        """Where each source's arcs start."""
        lengths = (self.high - self.low + 1).reshape(-1)
        return np.cumsum(lengths) - lengths

    @cached_property
    def _first(self) -> Ints:
        width = self.low.shape[1]
        return (self.low + width * np.arange(1, len(self.low) + 1)[:, None]).reshape(-1)

    @cached_property
    def source(self) -> Ints:
        lengths = (self.high - self.low + 1).reshape(-1)
        return np.repeat(np.arange(len(lengths)), lengths)

    @cached_property
    def target(self) -> Ints:
        return np.arange(len(self.source)) + (self._first - self.starts).take(self.source)

    @cached_property
    def _columns(self) -> tuple[Ints, Ints]:
        """Every target's first source, and where its arcs start."""
        width = self.low.shape[1]
        targets = np.arange(width, width + self._first.size)
        last = self._first + (self.high - self.low).reshape(-1)
        first = np.searchsorted(last, targets)
        lengths = np.searchsorted(self._first, targets, side="right") - first
        return first, np.cumsum(lengths) - lengths

    @cached_property
    def column_source(self) -> Ints:
        """The sources of arcs in order of targets."""
        first, starts = self._columns
        lengths = np.diff(np.append(starts, len(self.source)))
        return np.arange(len(self.source)) + np.repeat(first - starts, lengths)

    @cached_property
    def by_target(self) -> Ints:
        starts = self._columns[1]
        targets = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(self.source)))) + self.low.shape[1]
        return (self.starts - self._first).take(self.column_source) + targets

    def forward(self, lengths: Floats, start: Floats) -> Floats:
        """The shortest way to every cell: [L, C]; `start` [C] is that to the first boundary's."""
        return self._pass(start, self.column_source, lengths.take(self.by_target), self._columns[1])

    def backward(self, lengths: Floats, end: Floats) -> Floats:
        """The shortest way from every cell: [L, C]; `end` [C] is that from the last boundary's."""
        back = self.low.size - 1 + self.low.shape[1] - self.target[::-1]
        starts = len(lengths) - np.append(self.starts[1:], len(lengths))[::-1]
        return self._pass(end[::-1], back, lengths[::-1], starts)[::-1, ::-1]

    def before(self, lengths: Floats, forward: Floats) -> Ints:
        """For every cell but the first boundary's, the cell from which the shortest way arrives: [L − 1, C]."""
        starts = self._columns[1]
        reached = np.repeat(forward[1:].reshape(-1), np.diff(np.append(starts, len(lengths))))
        hits = np.flatnonzero(forward.reshape(-1).take(self.column_source) + lengths.take(self.by_target) == reached)
        return self.column_source[hits[np.searchsorted(hits, starts)]].reshape(self.low.shape)

    def after(self, lengths: Floats, backward: Floats) -> Ints:
        """For every cell but the last boundary's, the cell to which the shortest way leaves: [L − 1, C]."""
        reached = backward[:-1].reshape(-1).take(self.source)
        hits = np.flatnonzero(backward.reshape(-1).take(self.target) + lengths == reached)
        return self.target[hits[np.searchsorted(hits, self.starts)]].reshape(self.low.shape)

    def _pass(self, start: Floats, source: Ints, lengths: Floats, starts: Ints) -> Floats:
        """Layer by layer, the least of `lengths` + the value at `source` over the arcs from each of `starts` on."""
        width = self.low.shape[1]
        least = np.empty((len(self.low) + 1, width))
        least[0] = start
        ends = np.append(starts[width::width], len(lengths))
        for layer, end in enumerate(ends.tolist()):
            begin = int(starts[layer * width])
            ways = least.reshape(-1).take(source[begin:end]) + lengths[begin:end]
            np.minimum.reduceat(ways, starts[layer * width : (layer + 1) * width] - begin, out=least[layer + 1])
        return least
