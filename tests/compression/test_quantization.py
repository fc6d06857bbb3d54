"""Quantization against brute force over assignments, supports and scales."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from c_step_oracles import best_partition_error, error, modest, nearest_error, solve, vectors
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lctui.compression import scales


def powers(c: int) -> list[float]:
    return [0.0] + [sign * 2.0**-i for sign in (-1, 1) for i in range(c + 1)]


def best_scaled_error(v: Tensor, levels: list[float]) -> float:
    """min over a of the error of a·levels, over every assignment of weights to levels."""
    values = v.double().tolist()
    best = sum(x * x for x in values)
    for chosen in itertools.product(levels, repeat=len(values)):
        square = sum(level * level for level in chosen)
        product = sum(x * level for x, level in zip(values, chosen, strict=True))
        if square > 0 and product > 0:
            best = min(best, sum(x * x for x in values) - product * product / square)
    return best


@modest
@given(vectors(), st.integers(1, 9))
def test_adaptive_codebook_is_optimal(v: Tensor, k: int) -> None:
    theta = solve({"type": "quantize", "k": k}, v)
    assert error(v, theta.dense()) <= best_partition_error(v, k) * (1 + 1e-6) + 1e-9
    assert len(theta.learned()["codebook"]) == k


@modest
@given(vectors(max_size=30), st.sets(st.integers(-20, 20).map(lambda i: i / 4), min_size=1, max_size=9))
def test_fixed_codebook_takes_the_nearest(v: Tensor, values: set[float]) -> None:
    listed = sorted(values, key=lambda x: (x * 7) % 3)
    theta = solve({"type": "quantize", "codebook": "fixed", "values": listed}, v)
    assert error(v, theta.dense()) == pytest.approx(nearest_error(v, listed), rel=1e-9)
    assert theta.learned() == {"codebook": listed}
    assert theta.bits == v.numel() * math.ceil(math.log2(len(listed)))


def test_nearest_ties_go_to_the_smaller_entry() -> None:
    theta = solve({"type": "quantize", "codebook": "fixed", "values": [1.0, -1.0, 0.0]}, torch.tensor([0.5, -0.5]))
    assert theta.dense().tolist() == [0.0, -1.0]


def test_fixed_values_beyond_the_weights_range_are_refused() -> None:
    with pytest.raises(ValueError, match="do not all fit"):
        solve({"type": "quantize", "codebook": "fixed", "values": [0.0, 1e300]}, torch.ones(2))


@modest
@given(vectors(max_size=30), st.integers(0, 5))
def test_powers_of_two_take_the_nearest(v: Tensor, c: int) -> None:
    theta = solve({"type": "quantize", "codebook": "powers_of_two", "c": c}, v)
    assert error(v, theta.dense()) == pytest.approx(nearest_error(v, powers(c)), rel=1e-9)
    assert sorted(theta.learned()["codebook"]) == sorted(powers(c))
    assert (theta.parameters, theta.bits) == (v.numel(), v.numel() * math.ceil(math.log2(2 * c + 3)))


@modest
@given(vectors(max_size=5), st.integers(0, 1))
def test_scaled_powers_of_two_are_the_best_of_all_assignments(v: Tensor, c: int) -> None:
    theta = solve({"type": "quantize", "codebook": "powers_of_two", "c": c, "scaled": True}, v)
    assert error(v, theta.dense()) <= best_scaled_error(v, powers(c)) * (1 + 1e-6) + 1e-9
    assert theta.bits == v.numel() * math.ceil(math.log2(2 * c + 3)) + 32
    assert theta.parameters == v.numel() + 1


@pytest.mark.parametrize("c", [0, 2, 6, 30])
@pytest.mark.parametrize("chunk", [3, 1 << 15])
def test_no_scale_on_a_fine_grid_is_better(c: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scales, "CHUNK", chunk)
    v = torch.from_numpy(np.random.default_rng(c).standard_t(2, size=101).astype(np.float32))
    theta = solve({"type": "quantize", "codebook": "powers_of_two", "c": c, "scaled": True}, v)
    grid = float(v.abs().max()) * np.geomspace(1e-3, 2, 3000)
    best = min(nearest_error(v, scale * np.array(powers(c))) for scale in grid)
    assert error(v, theta.dense()) <= best * (1 + 1e-6)


def best_scale_of_all(v: np.ndarray, levels: np.ndarray) -> float:
    """The least error over the assignments at every scale where a weight changes its level."""
    magnitude, middles = np.abs(v.astype(np.float64)), (levels[1:] + levels[:-1]) / 2
    best = float((magnitude**2).sum())
    changes = np.unique((magnitude[magnitude > 0, None] / middles).ravel())
    for a in np.concatenate((changes * (1 - 1e-12), changes * (1 + 1e-12))):
        chosen = levels[np.searchsorted(a * middles, magnitude)]
        if chosen.any():
            best = min(best, float((magnitude**2).sum() - (magnitude @ chosen) ** 2 / (chosen @ chosen)))
    return best


@pytest.mark.parametrize("cells", [(2, 3), (8, 64), (1 << 11, 1 << 16)])
@pytest.mark.parametrize("kind", ["normal", "heavy", "coarse", "two sizes"])
def test_no_range_of_scales_is_set_aside_wrongly(
    kind: str, cells: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scales, "CELLS", cells)
    monkeypatch.setattr(scales, "CHUNK", 50)
    rng = np.random.default_rng(5)
    v = {
        "normal": rng.normal(size=300),
        "heavy": rng.standard_t(1.5, size=300),
        "coarse": rng.integers(-4, 5, size=300) / 4,
        "two sizes": rng.normal(size=300) * rng.choice([1, 1e-3], size=300),
    }[kind].astype(np.float32)
    for c in (0, 1, 4):
        theta = solve({"type": "quantize", "codebook": "powers_of_two", "c": c, "scaled": True}, torch.from_numpy(v))
        least = best_scale_of_all(v, np.array([0.0] + [2.0**-i for i in range(c, -1, -1)]))
        assert error(torch.from_numpy(v), theta.dense()) == pytest.approx(least, rel=1e-6)


def test_of_scales_as_good_the_smallest_is_taken() -> None:
    # {0, ±2, ±1} and {0, ±4, ±2, ±1} fit equally well.
    theta = solve({"type": "quantize", "codebook": "powers_of_two", "c": 2, "scaled": True}, torch.tensor([1.0, -2, 0]))
    assert theta.learned()["scale"] == 2.0


@modest
@given(vectors(max_size=30))
def test_binary_is_the_sign(v: Tensor) -> None:
    signs = torch.tensor([1.0 if x >= 0 else -1.0 for x in v.tolist()])
    plain = solve({"type": "quantize", "codebook": "binary", "scaled": False}, v)
    assert torch.equal(plain.dense(), signs)
    assert (plain.parameters, plain.bits) == (v.numel(), v.numel())
    scaled = solve({"type": "quantize", "codebook": "binary"}, v)
    mean = sum(map(abs, v.tolist())) / v.numel()
    np.testing.assert_allclose(scaled.dense().numpy(), mean * signs.numpy(), rtol=1e-6)
    assert scaled.learned()["scale"] == pytest.approx(mean)
    assert (scaled.parameters, scaled.bits) == (v.numel() + 1, v.numel() + 32)


@modest
@given(vectors(max_size=6))
def test_scaled_ternary_is_the_best_of_all_supports(v: Tensor) -> None:
    theta = solve({"type": "quantize", "codebook": "ternary"}, v)
    assert error(v, theta.dense()) == pytest.approx(best_scaled_error(v, [-1, 0, 1]), rel=1e-6, abs=1e-9)
    assert (theta.parameters, theta.bits) == (v.numel() + 1, 2 * v.numel() + 32)


@modest
@given(vectors(max_size=30))
def test_unscaled_ternary_takes_the_nearest(v: Tensor) -> None:
    theta = solve({"type": "quantize", "codebook": "ternary", "scaled": False}, v)
    assert error(v, theta.dense()) == pytest.approx(nearest_error(v, [-1, 0, 1]), rel=1e-9)
    assert (theta.parameters, theta.bits) == (v.numel(), 2 * v.numel())


@pytest.mark.parametrize("codebook", ["binary", "ternary"])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 4), (2, 3, 5, 5)])
def test_binary_and_ternary_keep_the_shape(codebook: str, shape: tuple[int, ...]) -> None:
    v = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for scaled in (True, False):
        assert solve({"type": "quantize", "codebook": codebook, "scaled": scaled}, v).dense().shape == shape


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 2},
        {"codebook": "binary"},
        {"codebook": "ternary"},
        {"codebook": "powers_of_two", "c": 2, "scaled": True},
    ],
)
def test_zeros_and_equal_weights_are_met_exactly(fields: dict[str, object]) -> None:
    for value in (0.0, 0.75, -3.0):
        v = torch.full((5, 3), value)
        assert torch.equal(solve({"type": "quantize", **fields}, v).dense(), v)


@pytest.mark.parametrize("k, width", [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (300, 9)])
def test_adaptive_size(k: int, width: int) -> None:
    v = torch.randn(20, 20, generator=torch.Generator().manual_seed(0))
    theta = solve({"type": "quantize", "k": k}, v)
    assert (theta.parameters, theta.bits) == (400 + k, 400 * width + 32 * k)
    assert theta.multiplications == (400,)
