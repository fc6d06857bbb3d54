"""A clustering that is optimal in all likelihood, in milliseconds: proofs are left to others.

Owns two programs over few candidate boundaries, one over the whole range and one around a clustering at hand.
"""

from __future__ import annotations

import numpy as np

from lctui.compression.kmeans_sums import Floats, Ints, Measure, Sums

GRID, MOST = 128, 512
"""Places that boundaries may take in the first program, and how many they grow to with k."""
REACH = 12
"""Steps to either side that boundaries may move by in one round of `improved`."""
ROUNDS = 40


def coarse(sums: Sums, measure: Measure, k: int) -> Ints:
    """The best boundaries t_1..t_{k−1} among places that cut the points into parts of equal measure."""
    end = len(sums.weight) - 1
    places = measure.parts(np.array([0]), np.array([end]), max(min(16 * k, MOST), GRID, 2 * k))[0]
    places = np.unique(places)
    if len(places) <= k:
        places = np.unique(np.concatenate((places, np.linspace(0, end, 2 * k).astype(np.int64))))
    at = sums.at(places)
    # Read by columns: the candidates of a place lie side by side.
    costs = at.at(np.s_[None, :]).cost_to(at.at(np.s_[:, None]))
    costs[np.triu_indices(len(places), 1)] = np.inf
    least = [costs[:, 0]]
    for _ in range(k - 2):
        least.append((costs + least[-1]).min(1))
    cuts, place = [], len(places) - 1
    for before in reversed(least):
        place = int(np.argmin(costs[place] + before))
        cuts.append(places[place])
    return spaced(np.array(cuts[::-1]), end)


def improved(sums: Sums, cuts: Ints) -> Ints:
    """A clustering at least as good as `cuts`: all boundaries move at once, by steps that get finer and finer.

    Every round finds the best way to move each boundary by up to `REACH` of its steps, an exact program of (2·REACH+1)²
    costs a boundary.  It moves the slow, joint modes that Lloyd's algorithm takes thousands of iterations for.
    """
    end, k = len(sums.weight) - 1, len(cuts) + 1
    low, high = limits(end, k)
    sizes = np.diff(np.concatenate(([0], cuts, [end])))
    step = np.maximum(np.minimum(sizes[1:], sizes[:-1]) // REACH, 1)
    offsets = np.arange(-REACH, REACH + 1)
    least = sums.total(cuts)
    for _ in range(ROUNDS):
        places = np.clip(cuts[:, None] + step[:, None] * offsets, low[:, None], high[:, None])
        chosen = _path(sums, places)
        found = spaced(places[np.arange(k - 1), chosen], end)
        cost = sums.total(found)
        at_edge = (np.abs(chosen - REACH) == REACH) & (cost < least)
        if cost < least:
            least, cuts = cost, found
        if step.max() == 1 and not at_edge.any():
            break
        step = np.where(at_edge, step, np.maximum(step // 4, 1))
    return cuts


def limits(end: int, k: int) -> tuple[Ints, Ints]:
    """The least and the largest value of each boundary that leave no cluster empty."""
    return np.arange(1, k), end - k + np.arange(1, k)


def spaced(cuts: Ints, end: int) -> Ints:
    """Ascending boundaries moved as little apart as leaves no cluster empty."""
    low, high = limits(end, len(cuts) + 1)
    return np.minimum(np.maximum.accumulate(np.maximum(cuts - low, 0)) + low, high)


def _path(sums: Sums, places: Ints) -> Ints:
    """Which of its places each boundary takes in the best clustering: [k − 1], of places [k − 1, P]."""
    at = sums.at(places)
    left, right = at.at(np.s_[:-1, None, :]), at.at(np.s_[1:, :, None])
    costs: Floats = left.cost_to(right)
    costs[left.weight > right.weight] = np.inf
    least = [sums.cost(0, places[0])]
    for cost in costs:
        least.append((cost + least[-1]).min(1))
    chosen = [int(np.argmin(least[-1] + sums.cost(places[-1], len(sums.weight) - 1)))]
    for cost, before in zip(costs[::-1], least[-2::-1], strict=True):
        chosen.append(int(np.argmin(cost[chosen[-1]] + before)))
    return np.array(chosen[::-1])
