"""Optimal k-means of numbers: the globally best codebook of k entries, by dynamic programming over the sorted values.

Owns the problem as a whole: distinct values with multiplicities, the cases k = 1 and 2, and the codebook that comes
out.  The search for the boundaries when k > 2 is in `kmeans_search`.  Never starts at random and never stops at a
local optimum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lctui.compression.kmeans_search import Sums, best_boundaries

EXTENDED_UP_TO = 8192
"""Problems of up to so many distinct values are solved in extended precision, where the platform has it."""


def optimal_codebook(values: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.float64]:
    """argmin over c of Σᵢ min_j (vᵢ − c_j)², the global optimum.

    Exact up to rounding: the prefix sums that clusters are priced with are float64 on centred values, so that the
    error found is within about 1e-15 of the values' total squared spread of the least possible one.

    Args:
        values: [N], float32 or float64, finite, N ≥ 1.
        k: entries of the codebook.

    Returns:
        [k], ascending, in the values' unit; with fewer than k distinct values the last entry is repeated.

    Source: Wu, Optimal quantization by matrix searching, 1991, for the recursion and its monotonicity.
    """
    distinct, counts = _distinct(values)
    if len(distinct) <= k:
        return _padded(distinct.astype(np.float64), k)
    # A power of two scales without rounding, and keeps squares within range.
    unit = np.ldexp(1.0, int(np.frexp(max(abs(float(distinct[0])), abs(float(distinct[-1]))))[1]))
    scaled = distinct.astype(np.longdouble if len(distinct) <= EXTENDED_UP_TO else np.float64) / unit
    middle = np.average(scaled, weights=counts)
    x = scaled - middle
    cuts = _cuts(x, counts, k)
    starts = np.concatenate(([0], cuts))
    means = np.add.reduceat(x * counts, starts) / np.add.reduceat(counts, starts)
    return _padded(((means + middle) * unit).astype(np.float64), k)


def _distinct(values: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.float64]]:
    """The different values, ascending, and how often each occurs."""
    ordered = np.sort(values)
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(np.append(first, len(ordered)))
    return ordered[first], counts.astype(np.float64)


def _cuts(x: npt.NDArray[np.floating], counts: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.int64]:
    """Where clusters 2..k of the optimum start, among more than k distinct values x."""
    if k == 1:
        return np.empty(0, dtype=np.int64)
    sums = Sums.of(x, counts)
    if k == 2:
        cut = np.arange(1, len(x))
        return 1 + np.argmin(sums.cost(0, cut) + sums.cost(cut, len(x)), keepdims=True)
    # Rounding may leave a cluster empty only where that changes no cost.
    cuts = np.unique(best_boundaries(x, sums, k))
    return cuts[(cuts > 0) & (cuts < len(x))]


def _padded(entries: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.float64]:
    return np.pad(entries, (0, k - len(entries)), mode="edge")
