"""How likely it is that a weight survived, from where the weights before it did: the model behind coded positions.

Owns the rates.  They are integers computed from integers, so that every machine finds the same, in writing as in
reading; 64 bits have room for layers of up to `CODED_WEIGHTS` weights.  Writes nothing.

A layer is a table of rows (neurons, filters), groups (inputs, channels) and spots (the pixels of a kernel), and is
visited in batches that cross all rows and ever other groups, spot by spot.  A weight's rate is

    λ = (k + 1)/(n + 1/ρ) · (1 + left + up)/(1 + 2λ),    ρ = T/N · row · group

where T of the layer's N weights survive; `row` and `group` say how much denser than the layer they are as far as they
were seen, drawn towards 1, or for groups towards how the layer before, whose outputs they take, fared; k of n weights
seen of the kernel survive; left and up are its neighbours in the kernel.  Last, rates are corrected by what came true
of rates like it.  Source of the first factors: a gamma prior on Poisson rates, whose posterior mean they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Shape = tuple[int, ...]

WIDEST_KERNEL = 1 << 10
"""Spots of a larger kernel are taken for inputs of their own."""

HALF = 1 << 20
"""Hazard that halves the chance of no survivor."""
RATE = 1512775
"""A rate of 1 as hazard: HALF / ln 2."""
MOST = RATE * 17 // 20
"""The largest rate that is believed."""

ONE = 1 << 12
"""A relative density of 1."""
DENSEST = 1 << 24
PULL = 96
"""What draws rows and groups towards their priors: expected survivors, in 256ths."""
PULL_OF_LAYER = 1024
TRUST = 3
"""Expected survivors that draw a correction towards 1."""

GROWTH = 100
"""A batch is a hundredth of what was seen before it, within these bounds."""
SMALLEST = 1 << 8
LARGEST = 1 << 18

_LIMITS = np.array([math.isqrt(1 << half_octaves) for half_octaves in range(1, 42)], np.int64)
"""Rates are alike between two of these."""


@dataclass(frozen=True)
class Batch:
    """Some weights of a layer: their places in it, rows, groups and spots, [b] each."""

    cells: Ints
    rows: Ints
    groups: Ints
    spots: Ints


class SurvivalModel:
    """The rates of one layer; `known` [n] is filled with the survivors as they become known."""

    def __init__(self, known: Flags, total: int, shape: Shape, before: Ints | None) -> None:
        """`total` of the layer's weights survive; `before` says how many did in each row of the layer before it."""
        self.known = known
        self.rows, self.groups, self.spots, self.width = _table(shape)
        self.density = (total << 32) // len(known)
        self.row, self.group = _Density.of(self.rows), _Density.of(self.groups)
        self.kernels = np.zeros((2, self.rows, self.groups if self.spots > 1 else 0), np.int64)  # seen, survived
        self.expected = np.zeros(len(_LIMITS) + 1, np.int64)
        self.came_true = np.zeros(len(_LIMITS) + 1, np.int64)
        self._set_priors(before)

    def _set_priors(self, before: Ints | None) -> None:
        """Groups that take the outputs of one row of the layer before have a prior in common."""
        self.origins = None
        if before is None or len(before) == 0 or self.groups % len(before):
            return
        self.origins = np.arange(self.groups) // (self.groups // len(before))
        self.origin = _Density.of(len(before))
        # Three fifths of how dense the row was, two of how dense rows are.
        self.origin_prior = (3 * ONE * before * len(before) // max(int(before.sum()), 1) + 2 * ONE) // 5

    def batches(self) -> Iterator[Batch]:
        """The layer's weights in the order in which they are coded."""
        every_row = np.arange(self.rows)
        # Neighbouring rows are visited at distant groups.
        shifts = every_row * max(1, self.groups * 618 // 1000)
        step, steps = 0, self.groups * self.spots
        while step < steps:
            some = min(max(SMALLEST // self.rows, step // GROWTH, 1), max(LARGEST // self.rows, 1))
            # A kernel is visited once in a batch at most: its weights learn from one another.
            some = min(some, self.groups, steps - step)
            steps_taken = np.arange(step, step + some)[:, None]
            groups = ((steps_taken + shifts) % self.groups).reshape(-1)
            rows, spots = np.tile(every_row, some), np.repeat(steps_taken // self.groups, self.rows)
            yield Batch((rows * self.groups + groups) * self.spots + spots, rows, groups, spots)
            step += some

    def hazards(self, batch: Batch) -> Ints:
        """−log₂(1 − p) of every weight of the batch, in units of 1/HALF: at least 1."""
        rate = self._rate(batch)
        self._alike = np.searchsorted(_LIMITS, rate, side="right")
        self._said = rate
        correction = (self.came_true + TRUST) * RATE * ONE // (self.expected + TRUST * RATE)
        rate = _clipped(rate * correction[self._alike] // ONE, MOST)
        # −ln(1 − p) = ln(1 + o) ≈ o(6 + o)/(6 + 4o) for the odds o = p/(1 − p).
        return np.maximum(rate * (6 * RATE - 5 * rate) // ((RATE - rate) * (6 * RATE - 2 * rate) // RATE), 1)

    def learn(self, batch: Batch, places: Ints) -> None:
        """Takes in which weights of the batch survive, as places in it."""
        self.known[batch.cells[places]] = True
        self.row.learn(batch.rows, places)
        self.group.learn(batch.groups, places)
        if self.origins is not None:
            self.origin.learn(self.origins[batch.groups], places)
        if self.spots > 1:
            kernels = batch.rows * self.groups + batch.groups
            self.kernels[0].reshape(-1)[kernels] += 1
            self.kernels[1].reshape(-1)[kernels[places]] += 1
        # Sums of integers below 2⁵³: exact in floating point.
        self.expected += np.bincount(self._alike, self._said, len(self.expected)).astype(np.int64)
        self.came_true += np.bincount(self._alike[places], minlength=len(self.expected))

    def _rate(self, batch: Batch) -> Ints:
        """λ in units of 1/RATE, before it is corrected."""
        row = self.row.relative(self.density, PULL, ONE)
        prior: Ints | int = ONE
        if self.origins is not None:
            prior = self.origin.relative(self.density, PULL_OF_LAYER, self.origin_prior)[self.origins]
        group = np.minimum(self.group.relative(self.density, PULL, prior), DENSEST)
        rate = ((RATE * self.density >> 16) * row // ONE)[batch.rows] * group[batch.groups] >> 28
        if self.spots > 1:
            rate = self._within_kernel(batch, _clipped(rate, DENSEST))
        return _clipped(rate, MOST)

    def _within_kernel(self, batch: Batch, rate: Ints) -> Ints:
        seen, survived = self.kernels.reshape(2, -1)[:, batch.rows * self.groups + batch.groups]
        rate = rate * (survived + 1) * RATE // (seen * rate + RATE)
        left = self.known[batch.cells - 1] & (batch.spots % self.width > 0)
        up = self.known[batch.cells - self.width] & (batch.spots >= self.width)
        return rate * (1 + left.astype(np.int64) + up) * RATE // (RATE + 2 * np.minimum(rate, RATE))


def _clipped(rate: Ints, most: int) -> Ints:
    return np.minimum(np.maximum(rate, 1), most)


@dataclass(frozen=True)
class _Density:
    """How many weights of every row (or group) were seen, and survive."""

    seen: Ints
    survive: Ints

    @classmethod
    def of(cls, size: int) -> _Density:
        return cls(np.zeros(size, np.int64), np.zeros(size, np.int64))

    def learn(self, where: Ints, places: Ints) -> None:
        self.seen[:] += np.bincount(where, minlength=len(self.seen))
        self.survive[:] += np.bincount(where[places], minlength=len(self.seen))

    def relative(self, density: int, pull: int, prior: Ints | int) -> Ints:
        """Survivors by expected survivors, drawn to the prior, in units of 1/ONE; `density` in 2⁻³²."""
        expected = self.seen * (density >> 8) >> 16
        return ((self.survive << 20) + pull * prior) // (expected + pull)


def _table(shape: Shape) -> tuple[int, int, int, int]:
    """Rows, groups, spots and a kernel's width.  A bias is a row."""
    if len(shape) < 2:
        return 1, math.prod(shape), 1, 1
    rows, groups, *kernel = shape
    spots = math.prod(kernel)
    if spots > WIDEST_KERNEL:
        return rows, groups * spots, 1, 1
    return rows, groups, spots, kernel[-1] if kernel else 1
