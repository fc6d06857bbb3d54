"""Optimal k-means of numbers: the globally best codebook of k entries.

Owns the problem as a whole: sorting, ties, the cases k = 1 and 2, and the codebook that comes out.  The search for the
boundaries when k > 2 is in `kmeans_search`.  Never starts at random and never stops at a local optimum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lctui.compression.kmeans_search import best_boundaries
from lctui.compression.kmeans_sums import Floats, Ints, Sums

EXTENDED_UP_TO = 8192
"""Problems of up to so many distinct values are solved in extended precision, where the platform has it."""
SPLITS = 4096
"""Cells that the boundary of two clusters is first looked for in."""


def optimal_codebook(values: Floats, k: int) -> npt.NDArray[np.float64]:
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
    return codebook_of_sorted(np.sort(values), k)


def codebook_of_sorted(ordered: Floats, k: int, start: Floats | None = None) -> npt.NDArray[np.float64]:
    """`optimal_codebook` of values that are in ascending order.

    A good codebook to start from, [k], ascending, saves time, and changes nothing else.
    """
    points, counts = _distinct(ordered, k)
    if len(points) <= k:
        return _padded(points.astype(np.float64), k)
    x: Floats = points.astype(np.longdouble if len(points) <= EXTENDED_UP_TO else np.float64)
    # A power of two scales without rounding, and keeps squares within range.
    unit = np.ldexp(1.0, int(np.frexp(max(abs(float(x[0])), abs(float(x[-1]))))[1]))
    x = x / unit
    middle = np.average(x, weights=counts)
    x = x - middle
    known = None if start is None else np.searchsorted(points, (start[1:] + start[:-1]) / 2, side="right")
    cuts = _cuts(x, counts, k, known)
    starts = np.concatenate(([0], cuts))
    weighted = x if counts is None else x * counts
    sizes = np.diff(np.append(starts, len(x))) if counts is None else np.add.reduceat(counts, starts)
    means = np.add.reduceat(weighted, starts) / sizes
    return _padded(((means + middle) * unit).astype(np.float64), k)


def _distinct(ordered: Floats, k: int) -> tuple[Floats, npt.NDArray[np.float64] | None]:
    """The different values, and how often each occurs; or all values, where few are equal, as that costs nothing.

    Equal values that are points by themselves may end up on both sides of a boundary, which no optimum needs, and which
    is no worse than one.
    """
    fresh = ordered[1:] != ordered[:-1]
    count = 1 + int(np.count_nonzero(fresh))
    if count > max(k, 0.75 * len(ordered)):
        return ordered, None
    first = np.append(0, np.flatnonzero(fresh) + 1)
    return ordered[first], np.diff(np.append(first, len(ordered))).astype(np.float64)


def _cuts(x: Floats, counts: npt.NDArray[np.float64] | None, k: int, start: Ints | None) -> Ints:
    """Where clusters 2..k of the optimum start, among more than k points x."""
    if k == 1:
        return np.empty(0, dtype=np.int64)
    sums = Sums.of(x, counts)
    # Rounding may leave a cluster empty only where that changes no cost.
    cuts = np.unique(best_boundaries(x, sums, k, start) if k > 2 else _best_split(sums))
    return cuts[(cuts > 0) & (cuts < len(x))]


def _best_split(sums: Sums) -> Ints:
    """The boundary of the best two clusters: [1].

    A cell of boundaries cannot hold it if even without the cell's points both clusters together cost more than a
    solution at hand.
    """
    end = len(sums.weight) - 1
    edges = np.unique(np.append(np.arange(1, end, max(1, end // SPLITS)), end))
    least = float((sums.cost(0, edges) + sums.cost(edges, end)).min())
    bounds = sums.cost(0, edges[:-1]) + sums.cost(edges[1:] - 1, end)
    alive = np.flatnonzero(bounds <= least * (1 + 1e-9) + 1e-13 * float(sums.second[-1]))
    cuts = np.concatenate([np.arange(edges[cell], edges[cell + 1]) for cell in alive])
    return cuts[np.argmin(sums.cost(0, cuts) + sums.cost(cuts, end), keepdims=True)]


def _padded(entries: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.float64]:
    return np.pad(entries, (0, k - len(entries)), mode="edge")
