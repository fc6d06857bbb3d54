"""Indices into a codebook, arithmetic-coded: a common entry, or one that often follows the last, takes few bits.

Owns the code and what it expects of an index: how often each entry came after the one before it, and lately, both
fading.  Weights follow one another by layer, neuron and kernel, and those differ.  Expectations change from batch to
batch, the same in writing and reading, in integers alone.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from lctui.compression.range_coder import Bytes, Reader, Writer

Ints = npt.NDArray[np.int64]

LARGEST = 1 << 16
"""Entries of a codebook."""

BATCH = 16
LONGEST_BATCH = 1 << 16
CELLS = 1 << 12
"""Entries by contexts that are kept: with many entries, several that came before share their expectations."""

SEEN = 1 << 8
"""What an index adds to its entry's count."""
UNSEEN = 820
"""What entries that did not come share between them."""
FADING = 4
"""What came lately fades by a fourth a batch; what came after an entry, by as much in so many batches of it."""


def encode(indices: Ints, size: int) -> Bytes:
    """Indices in [0, size) as bytes.

    How many there are is for the caller to store.

    Raises:
        ValueError: an index out of range.
    """
    _check_size(size)
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < size:
        raise ValueError(f"indices from {indices.min()} to {indices.max()} must lie in 0..{size - 1}")
    writer = Writer()
    if size < 2:
        return writer.finish()
    expected = _Expected(len(indices), size)
    before = 0
    for start in range(0, len(indices), expected.batch):
        batch = indices[start : start + expected.batch]
        contexts = expected.contexts_of(np.concatenate(([before], batch[:-1])))
        bounds = expected.bounds()
        lows, highs = bounds[contexts, batch].tolist(), bounds[contexts, batch + 1].tolist()
        for low, high, total in zip(lows, highs, bounds[contexts, -1].tolist(), strict=True):
            writer.put(low, high, total)
        expected.learn(contexts, batch)
        before = int(batch[-1])
    return writer.finish()


def decode(packed: Bytes, count: int, size: int) -> Ints:
    """The inverse of `encode`: `count` indices.

    Raises:
        ValueError: anything that `encode` does not write for such indices.
    """
    _check_size(size)
    if count < 0:
        raise ValueError(f"{count} indices cannot be")
    indices = np.zeros(count, np.int64)
    if size > 1:
        expected, reader = _Expected(count, size), Reader(packed)
        before = 0
        for start in range(0, count, expected.batch):
            batch = _read(reader, expected, before, min(expected.batch, count - start))
            indices[start : start + len(batch)] = batch
            before = int(batch[-1])
    if not np.array_equal(encode(indices, size), packed):
        raise ValueError(f"{packed.size} bytes are not the code of {count} indices")
    return indices


def _check_size(size: int) -> None:
    if not 1 <= size <= LARGEST:
        raise ValueError(f"a codebook of {size} must have 1 to {LARGEST} entries")


def _read(reader: Reader, expected: _Expected, before: int, count: int) -> Ints:
    """A batch of so many indices, the first after `before`."""
    rows = expected.bounds().tolist()
    contexts, found = [], []
    for _ in range(count):
        contexts.append(before * expected.contexts // expected.size)
        bounds = rows[contexts[-1]]
        before = bisect_right(bounds, reader.target(bounds[-1])) - 1
        reader.take(bounds[before], bounds[before + 1])
        found.append(before)
    batch = np.array(found, np.int64)
    expected.learn(np.array(contexts, np.int64), batch)
    return batch


class _Expected:
    """How likely each entry is, after each other."""

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self.batch = min(max(BATCH, count >> 10, size >> 2), LONGEST_BATCH)
        self.contexts = min(size, max(1, CELLS // size))
        self.lately = np.zeros(size, np.int64)
        self.after = np.zeros((self.contexts, size), np.int64)

    def contexts_of(self, before: Ints) -> Ints:
        return before * self.contexts // self.size

    def bounds(self) -> Ints:
        """Every entry's interval, after each context: [contexts, size + 1], ascending from 0."""
        bounds = np.zeros((self.contexts, self.size + 1), np.int64)
        np.cumsum(2 * self.after + self.lately + max(1, UNSEEN // self.size), axis=1, out=bounds[:, 1:])
        return bounds

    def learn(self, contexts: Ints, batch: Ints) -> None:
        """Takes in a batch, and forgets a little."""
        came = np.bincount(contexts, minlength=self.contexts)[:, None]
        self.lately -= self.lately // FADING
        self.after -= self.after * came // (FADING * self.batch)
        self.lately += SEEN * np.bincount(batch, minlength=self.size)
        places = np.bincount(contexts * self.size + batch, minlength=self.after.size)
        self.after += SEEN * places.reshape(self.after.shape)
