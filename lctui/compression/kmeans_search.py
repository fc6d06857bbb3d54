"""Where the clusters of an optimal k-means begin: a good clustering is found first, then proven to be the best.

Owns the order of the steps, and when they end.  Knows nothing of codebooks or weights: it sees sorted numbers with
multiplicities.

The clustering of `kmeans_start` is the optimum nearly always; the work is in the proof.  Windows of boundaries are
narrowed from the whole range to a few points (`kmeans_windows`) by bounds whose slack is of second order in the size
of the cells that windows are cut into (`kmeans_bounds`), so that few rounds are enough.  What remains is solved exactly
(`kmeans_exact`), whether that is one clustering or, where bounds do not help, all of them.
"""

from __future__ import annotations

import numpy as np

from lctui.compression.kmeans_exact import exact
from lctui.compression.kmeans_start import coarse, improved, limits, spaced
from lctui.compression.kmeans_sums import Floats, Ints, Measure, Sums
from lctui.compression.kmeans_windows import first_round, later_round

FEW = 48
"""Windows of up to so many values are solved at once."""
STALL = 0.9
"""A round that leaves more than this share of the windows is the last."""


def best_boundaries(x: Floats, sums: Sums, k: int, start: Ints | None = None) -> Ints:
    """The boundaries t_1..t_{k−1} of an optimal clustering of the sorted points x into k ≥ 3 clusters.

    Args:
        x: [D], ascending, D > k.
        sums: the prefix sums of x.
        start: boundaries of a good clustering, if one is known: they save time, and change nothing else.
    """
    end = len(x)
    low, high = limits(end, k)
    if end - k > FEW:
        low, high = _narrowed(x.astype(np.float64, copy=False), sums.doubles(), k, start)
    return exact(sums, low, high)


def _narrowed(x: Floats, sums: Sums, k: int, start: Ints | None) -> tuple[Ints, Ints]:
    """Windows low_j..high_j that hold the boundaries of an optimum."""
    measure = Measure.of(x, sums)
    known = improved(sums, coarse(sums, measure, k) if start is None else spaced(start, len(x)))
    windows = first_round(x, sums, measure, known)
    while int((windows.high - windows.low).max()) > FEW:
        before = int((windows.high - windows.low).sum())
        windows = later_round(x, sums, measure, windows)
        if int((windows.high - windows.low).sum()) > STALL * before:
            break
    return windows.low, windows.high
