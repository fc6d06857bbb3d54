"""Arithmetic-coded indices: exact inverses, close to their entropy or below it."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lctui.compression.coded_indices import decode, encode


def entropy(indices: np.ndarray) -> float:
    """Bits of all indices together, by how often each entry comes."""
    share = np.bincount(indices) / len(indices)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() * len(indices))


@st.composite
def sequences(draw: st.DrawFn) -> tuple[int, list[int]]:
    size = draw(st.one_of(st.integers(1, 10), st.sampled_from((16, 300, 5000, 65536))))
    return size, draw(st.lists(st.integers(0, size - 1), max_size=100))


@given(sequences())
def test_indices_come_back(case: tuple[int, list[int]]) -> None:
    size, values = case
    packed = encode(np.array(values, np.int64), size)
    assert decode(packed, len(values), size).tolist() == values


def test_every_sequence_has_its_own_code_and_no_other_bytes_are_taken() -> None:
    codes = {}
    for values in product(range(3), repeat=5):
        codes[encode(np.array(values), 3).tobytes()] = values
    assert len(codes) == 3**5
    for string in [
        b"",
        *(bytes([i]) for i in range(256)),
        *(bytes([i, j]) for i in range(0, 256, 15) for j in (0, 128)),
    ]:
        packed = np.frombuffer(string, np.uint8)
        if string in codes:
            assert tuple(decode(packed, 5, 3)) == codes[string]
        else:
            with pytest.raises(ValueError, match="bytes"):
                decode(packed, 5, 3)


@pytest.mark.parametrize(("size", "count"), [(2, 30_000), (8, 5000), (16, 30_000), (300, 30_000)])
def test_independent_indices_take_little_more_than_their_entropy(size: int, count: int) -> None:
    spread = np.random.default_rng(size).exponential(size / 5, count).astype(np.int64)
    indices = np.minimum(spread, size - 1)
    assert 8 * encode(indices, size).size < 1.07 * entropy(indices) + 60 * size


def test_indices_that_follow_one_another_take_less() -> None:
    chance = np.random.default_rng(0)
    steps = chance.integers(-1, 2, 4000)
    indices = np.abs(np.cumsum(steps) % 15 - 7)
    assert 8 * encode(indices, 8).size < 0.75 * entropy(indices)


def test_a_change_of_layer_is_noticed() -> None:
    chance = np.random.default_rng(0)
    indices = np.concatenate((chance.integers(0, 2, 1500), chance.integers(6, 8, 1500)))
    assert 8 * encode(indices, 8).size < 0.65 * entropy(indices)


def test_one_entry_takes_no_bytes() -> None:
    assert encode(np.zeros(1000, np.int64), 1).size == 0
    assert decode(np.empty(0, np.uint8), 1000, 1).tolist() == [0] * 1000


def test_the_code_is_the_same_everywhere() -> None:
    """Pinned: other bytes would make the artifacts of before unreadable."""
    indices = np.array([min(i * i * 31 % 17, i * 7 % 11, 5) for i in range(500)])
    packed = encode(indices, 6)
    assert (packed.size, packed[:8].tobytes().hex(), packed[-8:].tobytes().hex()) == (
        129,
        "2836c16b955ad7e6",
        "2026738f9d13ce18",
    )


def test_damaged_bytes_are_refused_or_are_another_code() -> None:
    indices = np.random.default_rng(0).integers(0, 8, 200)
    packed = encode(indices, 8)
    chance = np.random.default_rng(1)
    strings = [packed[:cut] for cut in range(packed.size)]
    for _ in range(200):
        strings.append(packed.copy())
        strings[-1][chance.integers(packed.size)] ^= 1 << chance.integers(8)
    refused = 0
    for string in strings:
        try:
            found = decode(string, 200, 8)
        except ValueError:
            refused += 1
            continue
        assert np.array_equal(encode(found, 8), string)
    assert refused > packed.size / 2


def test_counts_beyond_the_bytes_end_soon() -> None:
    with pytest.raises(ValueError, match="end too soon"):
        decode(np.array([7, 7], np.uint8), 10**7, 4)


@pytest.mark.parametrize(("values", "size"), [([3], 3), ([-1], 3), ([0], 0), ([0], 65537)])
def test_what_cannot_be_coded_is_refused(values: list[int], size: int) -> None:
    with pytest.raises(ValueError, match="must"):
        encode(np.array(values, np.int64), size)


def test_length_is_what_the_intervals_call_for() -> None:
    # 16 indices, all expected alike: log₂ 5 bits each.
    indices = np.random.default_rng(0).integers(0, 5, 16)
    assert encode(indices, 5).size == math.ceil(16 * math.log2(5) / 8)
