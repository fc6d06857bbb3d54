"""Sorted points as prefix sums: the price of any run of them as one cluster, in constant time.

Owns `Sums` and the places that cells end at.  Decides nothing about clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Where = int | slice | Ints | tuple[Any, ...]

STEPS = 4096
"""Equal parts of the points, by number and by weight, between which `Measure` is linear."""
ENDS = 1024
"""Widest gaps between points that `Measure` sees one by one: in heavy tails a few points decide over many clusters."""
COUNTED = 0.1
"""What the number of points counts for in `Measure`."""


@dataclass(frozen=True)
class Sums:
    """Prefix sums over the sorted points, [D + 1] each: multiplicity, and its first and second moment."""

    weight: Floats
    first: Floats
    second: Floats

    @classmethod
    def of(cls, x: Floats, counts: npt.NDArray[np.float64] | None = None) -> Sums:
        """The sums of sorted points, that count once if not said otherwise."""
        weight, first, second = sums = np.zeros((3, len(x) + 1), dtype=x.dtype)
        if counts is None:
            weight[:] = np.arange(len(x) + 1)
            np.cumsum(x, out=first[1:])
            np.cumsum(x * x, out=second[1:])
        else:
            np.cumsum(counts, out=weight[1:])
            np.cumsum(x * counts, out=first[1:])
            np.cumsum(x * x * counts, out=second[1:])
        return cls(*sums)

    def cost(self, start: int | Ints, stop: int | Ints) -> Floats:
        """Squared error of points start..stop−1 around their mean; 0 where stop ≤ start."""
        return self.at(start).cost_to(self.at(stop))

    def at(self, where: Where) -> Sums:
        """The sums at some places."""
        return Sums(self.weight[where], self.first[where], self.second[where])

    def taken(self, where: Ints) -> Sums:
        """The same as `at`, faster."""
        return Sums(self.weight.take(where), self.first.take(where), self.second.take(where))

    def flat(self) -> Sums:
        """The sums in one row."""
        return Sums(self.weight.reshape(-1), self.first.reshape(-1), self.second.reshape(-1))

    def doubles(self) -> Sums:
        """The same sums, rounded to float64."""
        return Sums(*(sums.astype(np.float64, copy=False) for sums in (self.weight, self.first, self.second)))

    def cost_to(self, stop: Sums) -> Floats:
        """Squared error between the places of these sums and those of `stop`."""
        first = stop.first - self.first
        # Multiplicities are whole: below 1 means nothing in between, and then the error is clipped to 0.
        error = stop.second - self.second - first * first / np.maximum(stop.weight - self.weight, 1)
        return np.maximum(error, 0)

    def mean_to(self, stop: Sums) -> Floats:
        """The mean of the points between; 0 where there are none."""
        return (stop.first - self.first) / np.maximum(stop.weight - self.weight, 1)

    def total(self, cuts: Ints) -> float:
        """The cost of the clustering with these boundaries."""
        edges = np.concatenate(([0], cuts, [len(self.weight) - 1]))
        return float(self.cost(edges[:-1], edges[1:]).sum())


@dataclass(frozen=True)
class Measure:
    """A measure of the places 0..D that cells take equal shares of: `share` at the places `at`, linear in between.

    Mostly the integral of density^(1/3), which is how optimal clusters spread out when they are many (Panter & Dite
    1951); a part counts points.  Points that weigh much and gaps that are wide are seen one by one.
    """

    at: Floats
    share: Floats

    @classmethod
    def of(cls, x: Floats, sums: Sums) -> Measure:
        """The measure of the sorted points x: [D], D ≥ 2."""
        end = len(x)
        gaps, weight = np.diff(x), sums.weight
        heavy = np.searchsorted(weight, np.linspace(0, weight[-1], STEPS)[1:])
        wide = np.arange(1, end)
        if end > 2 * ENDS:
            wide = np.flatnonzero(gaps >= np.partition(gaps, -ENDS)[-ENDS])[:ENDS] + 1
        steps = np.arange(0, end, max(1, end // STEPS))
        tails = np.concatenate((np.arange(min(ENDS, end)), np.arange(max(0, end - ENDS), end)))
        at = np.unique(np.concatenate((steps, heavy - 1, heavy, wide - 1, wide, tails, [end])))
        # The point before place t counts towards t, and so does the gap before that point's successor.
        reach = np.diff(x[np.minimum(at, end - 1)])
        share = np.cbrt(np.diff(weight[at]) * reach * reach)
        for _ in range(4):
            # One gap needs no more than a few edges, however wide it is.
            share[np.diff(at) == 1] = np.minimum(share[np.diff(at) == 1], float(share.sum()) / 64)
        share = _shares(share) + COUNTED * _shares(np.diff(weight[at]))
        return cls(at.astype(np.float64), np.append(0.0, np.cumsum(share)))

    def parts(self, low: Ints, high: Ints, count: int) -> Ints:
        """Places that cut each low_j..high_j into `count` parts of about equal measure: [len(low), count + 1]."""
        start, stop = (np.interp(side, self.at, self.share)[:, None] for side in (low, high))
        found = np.interp(start + (stop - start) * np.linspace(0, 1, count + 1), self.share, self.at)
        # Up, so that what a gap or a heavy point adds is cut off behind it.
        return np.clip(np.ceil(found - 1e-6).astype(np.int64), low[:, None], high[:, None])


def _shares(parts: Floats) -> Floats:
    return parts / max(float(parts.sum()), np.finfo(np.float64).tiny)
