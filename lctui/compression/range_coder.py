"""A range coder: a sequence of intervals as one number, in as many bytes as their widths call for.

Owns turning intervals into bytes and back, in integers alone, so that every machine writes and reads the same.  What
the intervals stand for is the caller's business: `coded_positions` and `coded_indices` have the models.

A number is narrowed to ever smaller ranges; an interval of p·total out of total costs log₂(1/p) bits, to a fraction of
a thousandth.  Source: Martin, Range encoding, 1979; carries are passed back into the bytes already written.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

MAX_TOTAL = 1 << 40
"""Intervals are parts of at most so much."""

_TOP = 1 << 64
_LEAST = 1 << 56
"""A range is widened by a byte once it is narrower: intervals then keep 16 bits of precision."""


class Writer:
    """Writes intervals."""

    def __init__(self) -> None:
        self._low, self._range = 0, _TOP
        self._bytes = bytearray()

    def put(self, low: int, high: int, total: int) -> None:
        """The interval [low, high) of [0, total), 0 ≤ low < high ≤ total ≤ 2⁴⁰."""
        part = self._range // total
        self._low += part * low
        self._range = part * (high - low)
        while self._range < _LEAST:
            self._carry()
            self._bytes.append(self._low >> 56)
            self._low = (self._low << 8) & (_TOP - 1)
            self._range <<= 8

    def finish(self) -> Bytes:
        """All bytes; of the last ones, as few as say where the number lies."""
        for bits in range(64, -1, -8):
            # The roundest number in the range: zeros at its end need not be written.
            rounded = -(-self._low >> bits) << bits
            if rounded < self._low + self._range:
                break
        self._low = rounded
        self._carry()
        self._bytes += (self._low >> bits).to_bytes(8 - bits // 8, "big")
        return np.frombuffer(bytes(self._bytes), np.uint8)

    def _carry(self) -> None:
        """Passes a low end beyond the top on to the bytes before it."""
        if self._low < _TOP:
            return
        self._low -= _TOP
        place = len(self._bytes) - 1
        while self._bytes[place] == 255:
            self._bytes[place] = 0
            place -= 1
        self._bytes[place] += 1


class Reader:
    """Reads intervals: `target` says where the number lies, `take` goes on with the interval that it lies in.

    Most bytes can be read; that they are what a writer writes is for the caller to see, by writing again what was read.
    """

    def __init__(self, packed: Bytes) -> None:
        if packed.dtype != np.uint8 or packed.ndim != 1:
            raise ValueError(f"coded values are a row of bytes, not {packed.dtype} of shape {packed.shape}")
        self._bytes = packed.tobytes()
        self._place = 8
        self._offset = int.from_bytes(self._bytes[:8].ljust(8, b"\0"), "big")
        self._range = _TOP

    def target(self, total: int) -> int:
        """The number's place in [0, total).

        Raises:
            ValueError: it lies where no interval does.
        """
        self._part = self._range // total
        found = self._offset // self._part
        if found >= total:
            raise ValueError("coded bytes that no writer writes")
        return found

    def take(self, low: int, high: int) -> None:
        """Goes on within [low, high), of the total that `target` was asked for.

        Raises:
            ValueError: there are too few bytes.
        """
        self._offset -= self._part * low
        self._range = self._part * (high - low)
        while self._range < _LEAST:
            # A writer leaves out up to eight zeros.
            if self._place >= len(self._bytes) + 8:
                raise ValueError("coded bytes end too soon")
            following = self._bytes[self._place] if self._place < len(self._bytes) else 0
            self._offset = (self._offset << 8) | following
            self._place += 1
            self._range <<= 8

    def read(self, total: int) -> int:
        """One of `total` equally likely values."""
        value = self.target(total)
        self.take(value, value + 1)
        return value
