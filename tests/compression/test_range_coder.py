"""The range coder: what is written is read, in no more bytes than the intervals call for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.compression.range_coder import MAX_TOTAL, Reader, Writer


@st.composite
def intervals(draw: st.DrawFn) -> tuple[int, int, int]:
    total = draw(st.one_of(st.integers(1, 20), st.integers(1, MAX_TOTAL)))
    low = draw(st.one_of(st.just(0), st.integers(0, total - 1)))
    high = draw(st.one_of(st.just(total), st.just(low + 1), st.integers(low + 1, total)))
    return low, high, total


def written(sequence: list[tuple[int, int, int]]) -> np.ndarray:
    writer = Writer()
    for interval in sequence:
        writer.put(*interval)
    return writer.finish()


@given(st.lists(intervals(), max_size=60))
def test_what_is_written_is_read_and_costs_what_it_should(sequence: list[tuple[int, int, int]]) -> None:
    packed = written(sequence)
    reader = Reader(packed)
    for low, high, total in sequence:
        assert low <= reader.target(total) < high
        reader.take(low, high)
    ideal = sum(math.log2(total / (high - low)) for low, high, total in sequence)
    # A range is cut to multiples of 2⁻¹⁶ of itself, and the last byte is filled.
    assert 8 * packed.size <= ideal + len(sequence) * 2**-15 + 16


def test_intervals_by_exact_fractions() -> None:
    """Halves and quarters cut every range exactly: the bytes are the number's binary digits."""
    sequence = [(1, 2, 2), (0, 1, 2), (3, 4, 4), (1, 2, 4), (5, 6, 8)]
    low, width = Fraction(0), Fraction(1)
    for start, end, total in sequence:
        low, width = low + width * Fraction(start, total), width * Fraction(end - start, total)
    packed = written(sequence)
    number = Fraction(int.from_bytes(packed.tobytes(), "big"), 256**packed.size)
    assert low <= number < low + width
    assert packed.size == 2  # 10 bits


def test_a_carry_runs_through_bytes_of_ones() -> None:
    # Just below one half, narrowed 6 times to its upper end, then beyond the middle of what is left.
    sequence = [(2**39 - 1, 2**39 + 1, MAX_TOTAL), *[(2**39 - 1, 2**39 + 1, MAX_TOTAL)] * 6, (1, 2, 2)]
    reader = Reader(written(sequence))
    for low, high, total in sequence:
        assert low <= reader.target(total) < high
        reader.take(low, high)


def test_certainty_costs_nothing() -> None:
    assert written([(0, 7, 7)] * 100).size == 0


def test_reading_stops_where_bytes_do() -> None:
    reader = Reader(np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="end too soon"):
        for _ in range(100):
            reader.read(256)


def test_a_number_beyond_all_intervals_is_refused() -> None:
    reader = Reader(np.full(40, 255, np.uint8))
    with pytest.raises(ValueError, match="no writer writes"):
        for _ in range(100):
            reader.read(3)


@pytest.mark.parametrize("packed", [np.zeros(3, np.int64), np.zeros((2, 2), np.uint8)])
def test_anything_but_a_row_of_bytes_is_refused(packed: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a row of bytes"):
        Reader(packed)
