"""Prices of points near boundaries: what makes the bounds of `kmeans_bounds` tight.

Owns two estimates of what a point costs at the best boundary nearby.  Any price gives valid bounds: nothing here need
be exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lctui.compression.kmeans_arcs import Arcs
from lctui.compression.kmeans_bounds import Cells
from lctui.compression.kmeans_start import spaced
from lctui.compression.kmeans_sums import Floats, Ints, Sums


@dataclass(frozen=True)
class Prices:
    """Prices by the best clusterings through given boundaries: at `places`, means of the clusters on either side.

    [L, P] each; `clustering` is the best one.
    """

    places: Ints
    below: Floats
    above: Floats
    clustering: Ints

    @classmethod
    def of(cls, sums: Sums, cells: Cells, arcs: Arcs) -> Prices:
        """From clusterings whose boundaries are the middles of cells."""
        end = len(sums.weight) - 1
        places = (cells.first + cells.last + 1) // 2
        at = sums.at(places)
        flat = at.flat()

        def costs(source: Ints, target: Ints) -> Floats:
            left, right = flat.taken(source), flat.taken(target)
            return np.where(left.weight < right.weight, left.cost_to(right), np.inf)

        lengths = np.concatenate([costs(arcs.source[block], arcs.target[block]) for block in arcs.blocks()])
        ways = arcs.forward(lengths, sums.cost(0, places[0]))
        rest = arcs.backward(lengths, sums.cost(places[-1], end))
        before, after = np.zeros_like(places), np.full_like(places, end)
        before[1:] = places.reshape(-1)[arcs.before(lengths, ways)]
        after[:-1] = places.reshape(-1)[arcs.after(lengths, rest)]
        best = (ways + rest).argmin(1)
        clustering = spaced(places[np.arange(len(best)), best], end)
        return cls(places, sums.at(before).mean_to(at), at.mean_to(sums.at(after)), clustering)

    def at(self, cells: Cells) -> Floats:
        """For every cell, what a point at its mean costs on average of both sides: [L, C]."""
        mean, middle = cells.inside.mean, (cells.first + cells.last) / 2
        means = [
            np.array([np.interp(x, xp, fp) for x, xp, fp in zip(middle, self.places, side, strict=True)])
            for side in (self.below, self.above)
        ]
        return ((mean - means[0]) ** 2 + (mean - means[1]) ** 2) / 2


def usual(sums: Sums, known: Ints, cells: Cells) -> Floats:
    """Prices as they are near the boundaries of a clustering: [1, M].

    A point half-way between two means costs the square of half their distance, and of points spread evenly, three times
    the variance of a cluster.  The smaller one is taken: between clumps distances are no measure of what clusters are.
    """
    edges = np.concatenate(([0], known, [len(sums.weight) - 1]))
    left, right = sums.at(edges[:-1]), sums.at(edges[1:])
    means, variance = left.mean_to(right), left.cost_to(right) / np.maximum(right.weight - left.weight, 1)
    spread = np.interp((cells.first + cells.last) / 2, (edges[1:] + edges[:-1]) / 2, 3 * variance)
    return np.minimum(spread, np.interp(cells.inside.mean, (means[1:] + means[:-1]) / 2, np.diff(means) ** 2 / 4))
