"""Arithmetic-coded positions: exact inverses, never much longer than an enumeration, short where survivors gather."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lctui.compression import coded_positions as coded
from lctui.compression import gap_bits
from lctui.compression.coded_positions import LONGEST, chance, decode, encode
from lctui.compression.range_coder import MAX_TOTAL
from lctui.compression.survival_model import HALF, SurvivalModel

LENET5 = [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (5, 500)]


def size_of(shapes: list[tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes))


def scattered(shapes: list[tuple[int, ...]], count: int, seed: int = 0) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(size_of(shapes), count, replace=False))


def log2_sets(n: int, m: int) -> float:
    return math.log2(math.comb(n, m))


shapes = st.one_of(
    st.tuples(st.integers(0, 30)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.just(()),
    st.just((2, 2, 1025)),
)


@st.composite
def tasks(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], np.ndarray]:
    drawn = draw(st.lists(shapes, min_size=1, max_size=4))
    n = size_of(drawn)
    share = draw(st.sampled_from((0.0, 0.02, 0.3, 0.8, 1.0)))
    chosen = np.random.default_rng(draw(st.integers(0, 99))).random(n) < share
    return drawn, np.flatnonzero(chosen)


@given(tasks())
def test_positions_come_back(task: tuple[list[tuple[int, ...]], np.ndarray]) -> None:
    shapes, positions = task
    packed = encode(positions, shapes)
    assert np.array_equal(decode(packed, len(positions), shapes), positions)


@pytest.mark.parametrize("shapes", [[(7,)], [(2, 3)], [(2, 1, 2, 2)], [(2, 2), (2,), (2, 1)]])
def test_every_set_has_its_own_code_and_no_other_bytes_are_taken(shapes: list[tuple[int, ...]]) -> None:
    """By brute force over all sets, and over all strings of up to two bytes (few of each length tell all of them)."""
    n = size_of(shapes)
    codes = {}
    for count in range(n + 1):
        for places in combinations(range(n), count):
            packed = encode(np.array(places, np.int64), shapes)
            codes[count, packed.tobytes()] = places
            assert decode(packed, count, shapes).tolist() == list(places)
    assert len(codes) == 2**n
    strings = [b"", *(bytes([i]) for i in range(256)), *(bytes([i, j]) for i in range(0, 256, 51) for j in (0, 128))]
    for count in range(n + 1):
        for string in strings:
            packed = np.frombuffer(string, np.uint8)
            if (count, string) in codes:
                assert tuple(decode(packed, count, shapes)) == codes[count, string]
            else:
                with pytest.raises(ValueError, match="bytes"):
                    decode(packed, count, shapes)


@pytest.mark.parametrize("count", [1, 40, 1000, 20_000, 428_000])
def test_evenly_scattered_positions_cost_little_more_than_an_enumeration(count: int) -> None:
    positions = scattered(LENET5, count)
    packed = encode(positions, LENET5)
    assert 8 * packed.size <= 1.03 * log2_sets(428_000, count) + 200


def test_positions_that_gather_in_rows_and_columns_cost_far_less() -> None:
    chance = np.random.default_rng(3)
    rows, columns = chance.random(500) < 0.2, chance.random(800) < 0.2
    alive = np.outer(rows, columns) & (chance.random((500, 800)) < 0.1)
    positions = np.flatnonzero(alive)
    size = 8 * encode(positions, [(500, 800)]).size
    within = log2_sets(int(rows.sum()) * int(columns.sum()), len(positions))
    # To know rows and columns beforehand would save so much at most.
    assert within < size < within + log2_sets(500, int(rows.sum())) + log2_sets(800, int(columns.sum())) + 500
    assert size < 0.7 * log2_sets(400_000, len(positions)) < gap_bits(torch.from_numpy(positions))


def test_positions_that_gather_in_kernels_cost_far_less() -> None:
    chance = np.random.default_rng(3)
    kernels = np.repeat(chance.random((50, 20)) < 0.2, 25, axis=1)
    positions = np.flatnonzero(kernels.reshape(-1) & (chance.random(25_000) < 0.3))
    assert 8 * encode(positions, [(50, 20, 5, 5)]).size < 0.85 * log2_sets(25_000, len(positions))


def test_a_layer_learns_from_the_one_before_it() -> None:
    chance = np.random.default_rng(5)
    alive = chance.random(200) < 0.3
    first = alive[:, None] & (chance.random((200, 20)) < 0.3)
    second = alive[None] & (chance.random((20, 200)) < 0.3)
    both = np.flatnonzero(np.concatenate((first.reshape(-1), second.reshape(-1))))
    joint = encode(both, [(200, 20), (20, 200)]).size
    apart = encode(np.flatnonzero(first), [(200, 20)]).size + encode(np.flatnonzero(second), [(20, 200)]).size
    assert joint < 0.97 * apart


def test_the_code_is_the_same_everywhere() -> None:
    """Pinned: other bytes would make the artifacts of before unreadable."""
    positions = np.array([i for i in range(1930) if (i * i * 31 + i) % 37 * (i % 40) < 20])
    packed = encode(positions, [(20, 2, 3, 3), (30, 40), (30,), (34, 10)])
    assert (packed.size, packed[:8].tobytes().hex(), packed[-8:].tobytes().hex()) == (
        127,
        "331fd629f2f4ed8b",
        "bb65dfc511b92446",
    )


def test_damaged_bytes_are_refused_or_are_another_code() -> None:
    shapes = [(10, 2, 3, 3), (12, 20)]
    positions = scattered(shapes, 60)
    packed = encode(positions, shapes)
    chance = np.random.default_rng(0)
    strings = [packed[:cut] for cut in range(packed.size)]
    for _ in range(100):
        strings.append(packed.copy())
        strings[-1][chance.integers(packed.size)] ^= 1 << chance.integers(8)
    refused = 0
    for string in strings:
        try:
            found = decode(string, 60, shapes)
        except ValueError:
            refused += 1
            continue
        assert np.array_equal(encode(found, shapes), string)
    assert refused > packed.size / 2


@pytest.mark.parametrize(
    ("positions", "shapes", "problem"),
    [
        ([3, 3], [(5,)], "must increase"),
        ([4, 2], [(5,)], "must increase"),
        ([-1], [(5,)], "must increase"),
        ([5], [(5,)], "must increase"),
        ([], [(1 << 14, 1 << 14)], "too large"),
        ([], [(1 << 23, 1)], "too large"),
    ],
)
def test_what_cannot_be_coded_is_refused(positions: list[int], shapes: list[tuple[int, ...]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        encode(np.array(positions, np.int64), shapes)


@pytest.mark.parametrize(("count", "shape"), [(-1, (5,)), (6, (5,)), (0, (1 << 28,))])
def test_counts_and_shapes_that_cannot_be_are_refused(count: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"do not fit|too large"):
        decode(np.empty(0, np.uint8), count, [shape])


def test_the_chance_halves_with_every_half_and_falls_strictly() -> None:
    assert chance(0) == MAX_TOTAL
    assert [chance(i * HALF) for i in range(17)] == [MAX_TOTAL >> i for i in range(17)]
    places = np.random.default_rng(0).integers(0, LONGEST, 2000).tolist()
    assert all(chance(place) / MAX_TOTAL == pytest.approx(2 ** (-place / HALF), rel=2e-6) for place in places)
    assert all(chance(place) > chance(place + 1) for place in [*places, LONGEST - 1])


@pytest.mark.parametrize("shape", [(7,), (6, 11), (1, 9), (13, 1), (4, 3, 2, 5), (3, 1, 2), (300, 7)])
def test_batches_visit_every_weight_once(shape: tuple[int, ...]) -> None:
    n = math.prod(shape)
    model = SurvivalModel(np.zeros(n, bool), 1, shape, None)
    batches = list(model.batches())
    assert sorted(np.concatenate([batch.cells for batch in batches]).tolist()) == list(range(n))
    for batch in batches:
        where = np.unravel_index(batch.cells, (model.rows, model.groups, model.spots))
        assert all(np.array_equal(*pair) for pair in zip(where, (batch.rows, batch.groups, batch.spots), strict=True))


def test_hazards_stay_within_what_an_interval_spans() -> None:
    for count in (1, 50, 100):
        model = SurvivalModel(np.zeros(200, bool), count, (4, 2, 5, 5), np.array([0, 9]))
        for batch in model.batches():
            hazards = model.hazards(batch)
            assert hazards.min() >= 1
            assert hazards.max() < LONGEST
            model.learn(batch, np.arange(len(batch.cells)))
    assert coded.LONGEST == 16 * HALF
