"""The artifact's bit codes: exact inverses, as small as the formulas say, and closed to anything else."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lctui.export.codes import (
    decode_gaps,
    encode_gaps,
    pack_indices,
    pack_mask,
    packed_bytes,
    unpack_indices,
    unpack_mask,
)


def packed_by_hand(values: list[int], bits: int) -> bytes:
    """The same layout as one big integer: value i shifted by i·bits, written lowest byte first."""
    whole = sum(value << (i * bits) for i, value in enumerate(values))
    return whole.to_bytes(-(-len(values) * bits // 8), "little")


@st.composite
def indices(draw: st.DrawFn) -> tuple[int, list[int]]:
    bits = draw(st.integers(0, 63))
    return bits, draw(st.lists(st.integers(0, 2**bits - 1), max_size=60))


@settings(max_examples=150, deadline=None)
@given(indices())
def test_indices_are_laid_out_as_one_big_integer_and_come_back(case: tuple[int, list[int]]) -> None:
    bits, values = case
    packed = pack_indices(np.array(values, np.int64), bits)
    assert packed.tobytes() == packed_by_hand(values, bits)
    assert unpack_indices(packed, bits, len(values)).tolist() == values


@pytest.mark.parametrize("bits", [1, 3, 9, 17, 33])
@pytest.mark.parametrize("count", [2**18 - 1, 2**18, 2**18 + 3])
def test_chunks_join_without_a_seam(bits: int, count: int) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, count)
    packed = pack_indices(values, bits)
    assert packed.size == packed_bytes(bits, count)
    assert np.array_equal(unpack_indices(packed, bits, count), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_any_integer_type_packs_the_same(dtype: type) -> None:
    values = [5, 0, 7, 127]
    assert pack_indices(np.array(values, dtype), 7).tobytes() == packed_by_hand(values, 7)


def test_millions_of_indices_need_little_more_memory_than_themselves() -> None:
    values = np.zeros(4_000_000, np.uint8)
    tracemalloc.start()
    packed = pack_indices(values, 4)
    assert tracemalloc.get_traced_memory()[1] < packed.size + 16e6
    tracemalloc.reset_peak()
    unpack_indices(packed, 4, values.size)
    assert tracemalloc.get_traced_memory()[1] < packed.size + 8 * values.size + 16e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("values", "bits", "problem"),
    [([4], 2, "do not fit 2 bits"), ([-1], 2, "do not fit"), ([1], 0, "do not fit 0 bits"), ([0], 64, "must be 0 to")],
)
def test_values_that_do_not_fit_are_refused(values: list[int], bits: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pack_indices(np.array(values), bits)


def row(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


@pytest.mark.parametrize(
    ("packed", "bits", "count", "size", "problem"),
    [
        (row(1), 3, 3, None, "do not take 1 bytes"),
        (row(1, 0), 3, 2, None, "do not take 2 bytes"),
        (row(1), 3, -1, None, "do not take"),
        (row(0b1000000), 3, 2, None, "padded"),
        (row(0b111), 3, 2, 7, "7 is not below 7"),
        (row(1), 64, 1, None, "must be 0 to"),
        (np.array([1], np.int64), 3, 1, None, "a row of bytes"),
        (np.zeros((1, 1), np.uint8), 3, 1, None, "a row of bytes"),
    ],
)
def test_bytes_that_no_packer_writes_are_refused(
    packed: np.ndarray, bits: int, count: int, size: int | None, problem: str
) -> None:
    with pytest.raises((ValueError, MemoryError), match=problem):
        unpack_indices(packed, bits, count, size)


positions = st.lists(st.integers(1, 70), max_size=60).map(lambda gaps: (np.cumsum(gaps, dtype=np.int64) - 1).tolist())


@settings(max_examples=150, deadline=None)
@given(positions, st.integers(2, 32))
def test_gaps_come_back_and_take_the_bits_of_the_formula(places: list[int], width: int) -> None:
    symbols, packed = encode_gaps(np.array(places, np.int64), width)
    gaps = [place - before for before, place in zip([-1, *places], places, strict=False)]
    assert symbols == sum(1 if d < 2**width - 1 else d // (2**width - 1) + 1 for d in gaps)
    assert packed.size == -(-symbols * width // 8)
    size = places[-1] + 1 if places else 0
    assert decode_gaps(packed, width, symbols, len(places), size).tolist() == places


def test_a_gap_by_hand() -> None:
    # Gaps 1, 3 and 8 in 2 bits: 1 · all ones, 0 · all ones, all ones, 2.
    symbols, packed = encode_gaps(np.array([0, 3, 11]), 2)
    assert symbols == 6
    assert unpack_indices(packed, 2, 6).tolist() == [1, 3, 0, 3, 3, 2]


def test_positions_beyond_32_bits() -> None:
    places = [0, 2**33, 2**33 + 1]
    symbols, packed = encode_gaps(np.array(places), 32)
    assert decode_gaps(packed, 32, symbols, 3, 2**33 + 2).tolist() == places


@pytest.mark.parametrize("places", [[-1], [3, 3], [4, 2]])
def test_positions_that_do_not_increase_are_refused(places: list[int]) -> None:
    with pytest.raises(ValueError, match="must increase"):
        encode_gaps(np.array(places), 4)


@pytest.mark.parametrize(
    ("symbols", "width", "count", "size", "problem"),
    [
        ([1, 2], 4, 3, 100, "cannot code 3"),
        ([1, 2], 4, 1, 100, "code 2 positions, not 1"),
        ([1, 15], 4, 1, 100, "code 1 positions"),
        ([1, 15], 4, 2, 100, "code 1 positions"),
        ([0, 2], 4, 2, 100, "do not increase"),
        ([1, 0], 4, 2, 100, "do not increase"),
        ([1, 10], 4, 2, 10, "do not increase within 0 to 9"),
        ([1], 4, -1, 100, "cannot code"),
        ([1], 1, 1, 100, "must be 2 to 32"),
        ([1], 33, 1, 100, "must be 2 to 32"),
    ],
)
def test_symbols_that_code_no_positions_are_refused(
    symbols: list[int], width: int, count: int, size: int, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_gaps(pack_indices(np.array(symbols), width), width, len(symbols), count, size)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), max_size=40))
def test_masks_take_a_bit_each_and_come_back(mask: list[bool]) -> None:
    packed = pack_mask(np.array(mask, dtype=bool))
    assert packed.tobytes() == packed_by_hand([int(bit) for bit in mask], 1)
    assert unpack_mask(packed, len(mask)).tolist() == mask


def test_a_mask_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="do not take"):
        unpack_mask(row(255, 1), 8)
    with pytest.raises(ValueError, match="padded"):
        unpack_mask(row(255), 7)
