"""Positions of survivors, arithmetic-coded: few bits where they gather, and next to none where there are none.

Owns the model that says how likely a weight is to have survived, and the code built on it.  The model knows the
task's shapes and learns everything else on the way, the same in writing and reading, in integers alone.

How likely a weight is to have survived is said by `survival_model`, batch by batch, as its hazard −log₂(1 − p).  Time
is spent on survivors alone: from one to the next is a distance in the sum of hazards, and what is coded is an interval
of the chance of getting so far.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from lctui.compression.range_coder import MAX_TOTAL, Bytes, Reader, Writer
from lctui.compression.survival_model import HALF, Flags, Ints, Shape, SurvivalModel
from lctui.scheme.storage import CODED_ROWS, CODED_WEIGHTS

LONGEST = 16 * HALF
"""Hazard that one interval spans; a longer way to the next survivor takes several."""


def encode(positions: Ints, shapes: Sequence[Shape]) -> Bytes:
    """Increasing positions in tensors of these shapes, laid one after the other, as bytes.

    How many positions there are is for the caller to store.

    Raises:
        ValueError: positions that do not increase, or lie outside; a layer that is too large.
    """
    _check_shapes(shapes)
    if len(positions) and (int(np.diff(positions, prepend=-1).min()) < 1 or positions[-1] >= _size(shapes)):
        raise ValueError("positions must increase within the task")
    writer = Writer()
    start, left = 0, len(positions)
    before: Ints | None = None
    for shape in shapes:
        n = math.prod(shape)
        first, last = np.searchsorted(positions, (start, start + n)).tolist()
        count = last - first
        writer.put(count, count + 1, min(n, left) + 1)
        survives = np.zeros(n, bool)
        survives[positions[first:last] - start] = True
        before = _layer(_Writing(writer, survives != _crowded(count, n)), count, shape, before)[1]
        start, left = start + n, left - count
    return writer.finish()


def decode(packed: Bytes, count: int, shapes: Sequence[Shape]) -> Ints:
    """The inverse of `encode`: `count` positions.

    Raises:
        ValueError: anything that `encode` does not write for such positions.
    """
    _check_shapes(shapes)
    if not 0 <= count <= _size(shapes):
        raise ValueError(f"{count} positions do not fit shapes {shapes}")
    reader = Reader(packed)
    pieces = [np.empty(0, np.int64)]
    start, left = 0, count
    before: Ints | None = None
    for shape in shapes:
        here = reader.read(min(math.prod(shape), left) + 1)
        survives, before = _layer(_Reading(reader), here, shape, before)
        pieces.append(np.flatnonzero(survives) + start)
        start, left = start + len(survives), left - here
    positions = np.concatenate(pieces)
    if len(positions) != count or not np.array_equal(encode(positions, shapes), packed):
        raise ValueError(f"{packed.size} bytes are not the code of {count} positions")
    return positions


def _size(shapes: Sequence[Shape]) -> int:
    return sum(map(math.prod, shapes))


def _check_shapes(shapes: Sequence[Shape]) -> None:
    for shape in shapes:
        if math.prod(shape) > CODED_WEIGHTS or (len(shape) > 1 and shape[0] > CODED_ROWS):
            bounds = f"{CODED_WEIGHTS:,} weights in {CODED_ROWS:,} rows"
            raise ValueError(f"a layer of shape {shape} is too large for code 'arithmetic': {bounds} at most")


def _crowded(count: int, n: int) -> bool:
    """Of a crowded layer, those that did not survive are coded in place of the survivors."""
    return 2 * count > n


def _layer(coder: _Coder, count: int, shape: Shape, before: Ints | None) -> tuple[Flags, Ints | None]:
    """Codes a layer with `count` survivors.

    Returns:
        Which weights survive, [n], and how many in each row; of a bias, what came before it.
    """
    n = math.prod(shape)
    crowded = _crowded(count, n)
    left = n - count if crowded else count
    known = np.zeros(n, bool)
    if left:
        model = SurvivalModel(known, left, shape, before)
        for batch in model.batches():
            places = coder.batch(batch.cells, np.cumsum(model.hazards(batch)), left)
            model.learn(batch, places)
            left -= len(places)
            if not left:
                break
    survives = known != crowded
    return survives, before if len(shape) < 2 else survives.reshape(shape[0], math.prod(shape[1:])).sum(1)


class _Coder(Protocol):
    def batch(self, cells: Ints, ends: Ints, left: int) -> Ints:
        """Codes which of these weights survive, `left` at most: their places in the batch.

        `ends` is the running sum of the weights' hazards.
        """


class _Writing:
    def __init__(self, writer: Writer, survives: Flags) -> None:
        self.writer, self.survives = writer, survives

    def batch(self, cells: Ints, ends: Ints, left: int) -> Ints:
        places = np.flatnonzero(self.survives[cells])
        stops = ends[places].tolist()
        starts = np.where(places > 0, ends[places - 1], 0).tolist()
        at = 0
        for start, stop in zip(starts, stops, strict=True):
            while stop - at > LONGEST:
                at = self._pass(ends, at)
            self.writer.put(chance(stop - at), chance(start - at), MAX_TOTAL)
            at = stop
        while len(places) < left and at < ends[-1]:
            at = self._pass(ends, at)
        return places

    def _pass(self, ends: Ints, at: int) -> int:
        """No survivor as far as one interval reaches."""
        end = int(ends[_reach(ends, at)])
        self.writer.put(0, chance(end - at), MAX_TOTAL)
        return end


class _Reading:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def batch(self, cells: Ints, ends: Ints, left: int) -> Ints:
        places: list[int] = []
        at = first = 0
        while first < len(ends) and len(places) < left:
            target = self.reader.target(MAX_TOTAL)
            reach = _reach(ends, at)
            place = _first_below(ends, at, target, first, reach)
            if place > reach:
                end = int(ends[reach])
                self.reader.take(0, chance(end - at))
            else:
                start, end = int(ends[place - 1]) if place else 0, int(ends[place])
                self.reader.take(chance(end - at), chance(start - at))
                places.append(place)
            at, first = end, min(place, reach) + 1
        return np.array(places, np.int64)


def _reach(ends: Ints, at: int) -> int:
    """The last weight that one interval reaches from hazard `at`; it reaches one at least, as none has LONGEST."""
    return int(np.searchsorted(ends, at + LONGEST, side="right")) - 1


def _first_below(ends: Ints, at: int, target: int, first: int, reach: int) -> int:
    """The first of the weights from `first` behind which the chance has fallen to the target; reach + 1 if none."""
    return bisect_left(range(reach + 1), True, first, key=lambda j: chance(int(ends[j]) - at) <= target)


def _halvings() -> tuple[list[int], list[int]]:
    """2^(40 − i/1024) for i = 0 to 1024, and the differences from each to the next."""
    one = 1 << 200
    root = one >> 1
    for _ in range(10):
        root = math.isqrt(root * one)
    values, power = [], one
    for _ in range(1025):
        values.append(power >> 160)
        power = power * root // one
    return values, [value - following for value, following in pairwise(values)]


_VALUES, _STEPS = _halvings()


def chance(hazard: int) -> int:
    """2^(−hazard/HALF) of MAX_TOTAL, for hazards up to LONGEST: straight between 1024 knots, and falling strictly."""
    place = hazard & (HALF - 1)
    knot = place >> 10
    return (_VALUES[knot] - (_STEPS[knot] * (place & 1023) >> 10)) >> (hazard >> 20)
