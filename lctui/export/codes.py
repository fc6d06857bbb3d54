"""Bit codes of the artifact: packed indices, gap-coded positions, masks.

Owns turning integers into the fewest bytes that the storage formulas promise, and back.  Decoders trust nothing: what
they are given may be damaged or hostile, and anything but the exact output of the encoder is a ValueError.  NumPy only;
knows nothing of files or compressions.

Bits fill bytes from the lowest up, and values are laid down lowest bit first; the last byte is padded with zeros.
"""

from __future__ import annotations

import numpy as np

MAX_BITS = 63
MAX_WIDTH = 32
_CHUNK = 1 << 18  # values at a time; a multiple of 8, so that every chunk ends on a byte


def packed_bytes(bits: int, count: int) -> int:
    """Bytes that `count` values of `bits` bits take: ⌈count·bits/8⌉."""
    return (count * bits + 7) // 8


def pack_indices(values: np.ndarray, bits: int) -> np.ndarray:
    """Integers in [0, 2^bits) as bytes, `bits` (0 to 63) each; with 0 bits all are 0 and take no bytes.

    Raises:
        ValueError: a value does not fit.
    """
    _check_bits(bits)
    values = np.asarray(values).reshape(-1)
    if values.size and (int(values.min()) < 0 or int(values.max()) >> bits):
        raise ValueError(f"values from {values.min()} to {values.max()} do not fit {bits} bits")
    if bits == 0:
        return np.empty(0, np.uint8)
    word = _word(bits)
    packed = np.empty(packed_bytes(bits, values.size), np.uint8)
    for start in range(0, values.size, _CHUNK):
        chunk = np.ascontiguousarray(values[start : start + _CHUNK], dtype=word)
        spread = np.unpackbits(chunk.view(np.uint8).reshape(-1, word.itemsize), axis=1, bitorder="little")
        done = np.packbits(spread[:, :bits], bitorder="little")
        first = start // 8 * bits
        packed[first : first + done.size] = done
    return packed


def unpack_indices(packed: np.ndarray, bits: int, count: int, size: int | None = None) -> np.ndarray:
    """The inverse of `pack_indices`: `count` integers, int64; below `size` if that is given.

    Raises:
        ValueError: too few or too many bytes, padding that is not zero, or a value out of range.
    """
    _check_bits(bits)
    packed = _checked(packed, bits, count)
    values = np.zeros(count, np.int64)
    if bits:
        word = _word(bits)
        for start in range(0, count, _CHUNK):
            n = min(_CHUNK, count - start)
            first = start // 8 * bits
            flat = np.unpackbits(packed[first : first + packed_bytes(bits, n)], count=n * bits, bitorder="little")
            spread = np.zeros((n, 8 * word.itemsize), np.uint8)
            spread[:, :bits] = flat.reshape(n, bits)
            values[start : start + n] = np.packbits(spread, axis=1, bitorder="little").view(word).reshape(-1)
    if size is not None and count and int(values.max()) >= size:
        raise ValueError(f"index {values.max()} is not below {size}")
    return values


def encode_gaps(positions: np.ndarray, width: int) -> tuple[int, np.ndarray]:
    """Increasing positions as symbols of `width` (2 to 32) bits: how many symbols, and their bytes.

    A gap d = q·(2^width − 1) + r, counted from the position before (the first from −1), is q symbols of all ones and
    then r: each all-ones symbol says to go 2^width − 1 further and read on.

    Raises:
        ValueError: positions that do not increase from 0 or more.
    """
    _check_width(width)
    gaps = np.diff(np.asarray(positions, dtype=np.int64).reshape(-1), prepend=-1)
    if gaps.size and int(gaps.min()) < 1:
        raise ValueError("positions must increase, from 0 or more")
    ones = 2**width - 1
    jumps, rest = np.divmod(gaps, ones)
    ends = np.cumsum(jumps + 1) - 1
    symbols = np.full(int(ends[-1]) + 1 if ends.size else 0, ones, np.uint32)
    symbols[ends] = rest
    return symbols.size, pack_indices(symbols, width)


def decode_gaps(packed: np.ndarray, width: int, symbols: int, count: int, size: int) -> np.ndarray:
    """The inverse of `encode_gaps`: `count` increasing positions in [0, size), int64, from `symbols` symbols.

    Raises:
        ValueError: anything that `encode_gaps` does not write for such positions.
    """
    _check_width(width)
    if count < 0 or symbols < count:
        raise ValueError(f"{symbols} symbols cannot code {count} positions")
    values = unpack_indices(packed, width, symbols)
    ends = np.flatnonzero(values != 2**width - 1)
    if ends.size != count or (ends[-1] + 1 if count else 0) != symbols:
        raise ValueError(f"{symbols} symbols code {ends.size} positions, not {count}")
    # An all-ones symbol advances by its own value: positions are running sums.
    positions = np.cumsum(values)[ends] - 1
    if count and (int(positions[-1]) >= size or int(np.diff(positions, prepend=-1).min()) < 1):
        raise ValueError(f"positions do not increase within 0 to {size - 1}")
    return positions


def pack_mask(mask: np.ndarray) -> np.ndarray:
    """Booleans as bytes, one bit each."""
    return np.packbits(np.asarray(mask, dtype=bool).reshape(-1), bitorder="little")


def unpack_mask(packed: np.ndarray, count: int) -> np.ndarray:
    """The inverse of `pack_mask`: `count` booleans.

    Raises:
        ValueError: too few or too many bytes, or padding that is not zero.
    """
    return np.unpackbits(_checked(packed, 1, count), count=count, bitorder="little").astype(bool)


def _checked(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    packed = np.asarray(packed)
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise ValueError(f"packed values are a row of bytes, not {packed.dtype} of shape {packed.shape}")
    if count < 0 or packed.size != packed_bytes(bits, count):
        raise ValueError(f"{count} values of {bits} bits do not take {packed.size} bytes")
    used = count * bits % 8
    if used and int(packed[-1]) >> used:
        raise ValueError("the last byte is not padded with zeros")
    return packed


def _check_bits(bits: int) -> None:
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"{bits} bits a value must be 0 to {MAX_BITS}")


def _check_width(width: int) -> None:
    if not 2 <= width <= MAX_WIDTH:
        raise ValueError(f"{width} bits a symbol must be 2 to {MAX_WIDTH}")


def _word(bits: int) -> np.dtype:
    """The smallest little-endian unsigned integer of at least `bits` bits."""
    return np.dtype(f"<u{next(size for size in (1, 2, 4, 8) if bits <= 8 * size)}")
