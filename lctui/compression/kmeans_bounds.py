"""How little a clustering can cost whose boundaries lie in given cells: bounds from below, for proofs of optimality.

Owns cells of boundaries and the bound for one cluster between two cells.  Searches nothing.

A boundary t, the number of points left of it, lies in a cell first ≤ t ≤ last.  A cluster between two cells holds the
points between the cells for certain, its core, and of either cell the part that lies on its side.  For each boundary,
every point within a cell is given a price: the cluster right of the boundary pays for the cell's points that it leaves
to the left one, and is paid for none that it takes.  Over a whole clustering prices cancel, so that any will do; good
ones are what the point costs at the best boundary nearby, as then neither cluster gains by moving the boundary.  A
cluster's least cost, plus prices, over all boundaries in its two cells is bounded here, and the sum of such bounds
along a path of cells is a bound for all clusterings in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lctui.compression.kmeans_sums import Floats, Ints, Measure, Sums, Where

ROUNDING = 1e-13
"""What rounding may add up to in prefix sums of float64, in units of the second moment of all points."""


@dataclass(frozen=True)
class Inside:
    """The points of cells, [...] each: multiplicity, mean, an upper bound of the variance, and the price of a point."""

    mass: Floats
    mean: Floats
    variance: Floats
    price: Floats

    def at(self, where: Where) -> Inside:
        """Some of the cells."""
        return Inside(self.mass[where], self.mean[where], self.variance[where], self.price[where])

    def taken(self, where: Ints) -> Inside:
        """The same as `at`, faster."""
        return Inside(*(part.take(where) for part in (self.mass, self.mean, self.variance, self.price)))

    def flat(self) -> Inside:
        """The cells in one row."""
        return Inside(*(part.reshape(-1) for part in (self.mass, self.mean, self.variance, self.price)))


@dataclass(frozen=True)
class Cells:
    """For each of L boundaries, C cells that cover its window, [L, C] each; a cell may be empty.

    `first` and `last`: the least and the largest value; `left` and `right`: the sums there.
    """

    first: Ints
    last: Ints
    empty: npt.NDArray[np.bool_]
    left: Sums
    right: Sums
    inside: Inside

    @classmethod
    def of(cls, x: Floats, sums: Sums, edges: Ints) -> Cells:
        """Cell i of a boundary holds edges[i] ≤ t < edges[i + 1]: [L, C + 1], ascending; prices are zero."""
        empty = edges[:, 1:] == edges[:, :-1]
        first = np.minimum(edges[:, :-1], len(x))
        last = np.where(empty, first, edges[:, 1:] - 1)
        left, right = sums.at(first), sums.at(last)
        mass = right.weight - left.weight
        # Differences of sums lose digits: the range of the values bounds the variance where that is less.
        spread = (x[np.maximum(last, 1) - 1] - x[np.minimum(first, len(x) - 1)]) ** 2 / 4
        blur = ROUNDING * float(sums.second[-1])
        variance = np.minimum(spread, (left.cost_to(right) + blur) / np.maximum(mass, 1))
        variance[mass == 0] = 0
        return cls(first, last, empty, left, right, Inside(mass, left.mean_to(right), variance, np.zeros_like(mass)))

    def priced(self, price: Floats) -> Cells:
        """The same cells with prices ≥ 0: [L, C]."""
        inside = Inside(self.inside.mass, self.inside.mean, self.inside.variance, price)
        return Cells(self.first, self.last, self.empty, self.left, self.right, inside)


def layout(measure: Measure, low: Ints, high: Ints, known: Ints, even: int, near: int) -> Ints:
    """Edges of cells that cover low..high: [L, even + 2·near + 1].

    `even` cells are of equal measure; `near` on either side of the boundary that is known grow with the distance
    from it, starting with single values.  Where both kinds' edges fall together, cells are empty.
    """
    ends = [known - low, high - known]
    steps = [_growing(distance.astype(np.float64), near) for distance in ends]
    parts = (measure.parts(low, high + 1, even), known[:, None] - steps[0], known[:, None] + 1 + steps[1])
    edges = np.rint(np.concatenate(parts, axis=1)).astype(np.int64)
    edges = np.sort(np.clip(edges, low[:, None], high[:, None] + 1), axis=1)
    edges[:, 0] = low
    return edges


def _growing(distance: Floats, count: int) -> Floats:
    """(exp(εi) − 1)/ε, i = 0..count − 1, with the ε that makes the step after the last one reach the distance."""
    low, high = np.full_like(distance, 1e-9), np.ones_like(distance)
    for _ in range(30):
        middle = (low + high) / 2
        beyond = np.expm1(middle * count) > middle * distance
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.expm1(high[:, None] * np.arange(count)) / high[:, None]


def bound(left: Sums, a: Inside, right: Sums, b: Inside) -> Floats:
    """Least cost, with prices, of a cluster whose boundaries lie in cells a and b: a bound from below.

    With y the distance from the core's mean and n its size, a cluster that takes points T besides costs
    core + Σ_T y² − (Σ_T y)²/(n + |T|).  If Σ_T y ≤ 0, then −Σ_T y/(n + |T|) is at most κ, the value for all of a and
    none of b, so that the cluster costs at least core + Σ_T (y² + κy); if not, the same holds with b's −κ.  Each sum
    of y² + κy − price over a part of a cell is at least the sum of its negative terms.  With y² replaced by its tangent
    at the cell's mean, terms ℓ are linear in y, and by Cauchy and Schwarz the m of a cell have
    2·Σ min(0, ℓ) = Σℓ − Σ|ℓ| ≥ Σℓ − (m·Σℓ²)^½, which needs but mean and variance.  Two more bounds hold: points
    taken cost no less than nothing.

    Args:
        left: the sums at the last value of cell a; `right`: at the first value of cell b.
        a: the points in cell a; `b`: in cell b.  All of shapes that broadcast.
    """
    size = right.weight - left.weight
    some = size > 0
    size = np.maximum(size, 1)
    first = right.first - left.first
    mean = first / size
    first *= mean
    core = np.maximum(right.second - left.second - first, 0)
    below, above = a.mean - mean, b.mean - mean
    pull_a = -a.mass / (size + a.mass) * below
    pull_b = -b.mass / (size + b.mass) * above
    paid_a, paid_b = a.mass * a.price, b.mass * b.price
    a_alone, b_alone = _taken(a, below, pull_a), _taken(b, above, pull_b)
    least = np.minimum(a_alone + _taken(b, above, pull_a), b_alone + _taken(a, below, pull_b))
    b_alone -= paid_a
    # With a negative cost of a's points replaced by nothing paid, of b's, or of both.
    np.maximum(a_alone, -paid_a, out=a_alone)
    a_alone -= paid_b
    np.maximum(least, np.maximum(a_alone, b_alone, out=a_alone), out=least)
    least += core
    # Without a core nothing is known but that costs are not negative.
    return np.where(some, least + paid_b, -paid_a)


def _taken(cell: Inside, y: Floats, kappa: Floats) -> Floats:
    """A bound from below of Σ (y² + κy − price) over any of the cell's points, y being their mean."""
    middle = y + kappa
    root = middle + y  # the slope
    root *= root
    middle *= y
    middle -= cell.price
    root = root * cell.variance
    root += middle * middle
    middle -= np.sqrt(root, out=root)
    middle *= cell.mass
    middle /= 2
    return middle
