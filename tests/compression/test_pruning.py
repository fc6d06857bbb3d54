"""Pruning by the ℓ0 and ℓ1 norms against brute force over supports and bisection."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from c_step_oracles import error, gap_bits, modest, solve, vectors
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor


def ball_by_bisection(v: np.ndarray, kappa: float) -> np.ndarray:
    """Projection on the ℓ1 ball: the threshold found by halving an interval."""
    if np.abs(v).sum() <= kappa:
        return v
    low, high = 0.0, float(np.abs(v).max())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(np.abs(v) - middle, 0).sum() > kappa else (low, middle)
    return np.sign(v) * np.maximum(np.abs(v) - high, 0)


def survivors(theta: Tensor) -> list[int]:
    return theta.reshape(-1).nonzero().squeeze(1).tolist()


@modest
@given(vectors(), st.integers(0, 9))
def test_l0_constraint_is_the_best_support(v: Tensor, kappa: int) -> None:
    squares = v.double().square().tolist()
    best = max(sum(some) for some in itertools.combinations(squares, min(kappa, len(squares))))
    theta = solve({"type": "prune", "kappa": kappa}, v)
    assert len(survivors(theta.dense())) <= kappa
    assert error(v, theta.dense()) == pytest.approx(sum(squares) - best, abs=1e-9)


@modest
@given(vectors(), st.floats(0.01, 4), st.floats(0.1, 10))
def test_l0_penalty_is_the_best_support_of_any_size(v: Tensor, alpha: float, mu: float) -> None:
    def objective(theta: Tensor) -> float:
        return error(v, theta) + 2 * alpha / mu * len(survivors(theta))

    masks = itertools.product((0.0, 1.0), repeat=v.numel())
    best = min(objective(v * torch.tensor(mask)) for mask in masks)
    theta = solve({"type": "prune", "alpha": alpha}, v, mu)
    assert objective(theta.dense()) == pytest.approx(best, rel=1e-9, abs=1e-12)


@modest
@given(vectors(max_size=30), st.floats(0, 60))
def test_l1_constraint_is_the_projection(v: Tensor, kappa: float) -> None:
    theta = solve({"type": "prune", "kappa": kappa, "norm": "l1"}, v).dense()
    expected = ball_by_bisection(v.double().numpy(), kappa)
    np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [1e-6, 1e-3, 0.1, 0.5, 0.999])
def test_l1_ball_meets_its_norm(share: float, dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    for seed in range(40):
        v = torch.randn(500, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
        kappa = share * float(v.double().abs().sum())
        theta = solve({"type": "prune", "kappa": kappa, "norm": "l1"}, v).dense()
        assert float(theta.double().abs().sum()) == pytest.approx(kappa, rel=max(eps, 1e-13))


def test_l1_ball_keeps_what_lies_inside() -> None:
    v = torch.tensor([0.5, -0.25, 0.0])
    assert torch.equal(solve({"type": "prune", "kappa": 0.75, "norm": "l1"}, v).dense(), v)


@modest
@given(vectors(max_size=30), st.floats(0, 4), st.floats(0.1, 10))
def test_l1_penalty_is_the_soft_threshold(v: Tensor, alpha: float, mu: float) -> None:
    theta = solve({"type": "prune", "alpha": alpha, "norm": "l1"}, v, mu).dense().double()
    expected = [math.copysign(max(abs(x) - alpha / mu, 0.0), x) for x in v.double().tolist()]
    np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-6, atol=1e-7)


@modest
@given(vectors(max_size=20), st.floats(0.05, 2), st.integers(0, 2**32 - 1))
def test_nothing_random_beats_the_l1_solutions(v: Tensor, alpha: float, seed: int) -> None:
    def objective(theta: Tensor) -> float:
        return error(v, theta) / 2 + alpha * float(theta.double().abs().sum())

    theta = solve({"type": "prune", "alpha": alpha, "norm": "l1"}, v).dense()
    noise = torch.randn(v.shape, generator=torch.Generator().manual_seed(seed))
    for size in (1e-3, 0.1, 1.0):
        assert objective(theta) <= objective(theta + size * noise) + 1e-6


def test_kappa_zero_keeps_nothing() -> None:
    v = torch.tensor([1.0, -2.0, 3.0])
    for fields in ({"kappa": 0}, {"fraction": 0.0}, {"kappa": 0.0, "norm": "l1"}, {"kappa": 0, "k": 2}):
        theta = solve({"type": "prune", **fields}, v)
        assert torch.equal(theta.dense(), torch.zeros(3))
        assert theta.learned()["nonzeros"] == 0
    assert solve({"type": "prune", "kappa": 0}, v).bits == 0


@pytest.mark.parametrize("kappa", [3, 4, 1000])
def test_kappa_beyond_n_keeps_everything(kappa: int) -> None:
    v = torch.tensor([1.0, -2.0, 3.0])
    assert torch.equal(solve({"type": "prune", "kappa": kappa}, v).dense(), v)


@modest
@given(st.integers(1, 40), st.integers(0, 40))
def test_ties_go_to_the_lowest_index(n: int, kappa: int) -> None:
    v = torch.ones(n) * torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0)
    assert survivors(solve({"type": "prune", "kappa": kappa}, v).dense()) == list(range(min(kappa, n)))


@modest
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.integers(0, 60))
def test_selection_agrees_with_a_stable_sort(values: list[int], kappa: int) -> None:
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:kappa]
    expected = sorted(i for i in order if values[i] != 0)
    assert survivors(solve({"type": "prune", "kappa": kappa}, torch.tensor(values).float()).dense()) == expected


@pytest.mark.parametrize("fraction, kept", [(0.0, 0), (0.25, 5), (0.1, 2), (1.0, 20), (0.124, 2), (0.126, 3)])
def test_fraction_is_rounded_to_a_count(fraction: float, kept: int) -> None:
    v = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    assert solve({"type": "prune", "fraction": fraction}, v).parameters == kept


@modest
@given(vectors(max_size=40), st.integers(0, 40))
def test_size_is_values_plus_gap_code(v: Tensor, kappa: int) -> None:
    theta = solve({"type": "prune", "kappa": kappa}, v)
    where = survivors(theta.dense())
    assert theta.parameters == theta.learned()["nonzeros"] == len(where)
    assert theta.bits == 32 * len(where) + gap_bits(where)
    assert theta.multiplications == (len(where),)


def test_the_first_survivor_of_a_layer_counts() -> None:
    # Position 0 has a gap of 1 from position −1: one symbol of two bits.
    assert solve({"type": "prune", "kappa": 1}, torch.tensor([5.0, 0.0, 0.0])).bits == 32 + 2


def test_survivors_that_are_zero_are_not_stored() -> None:
    theta = solve({"type": "prune", "kappa": 3}, torch.tensor([0.0, 2.0, 0.0, -0.0]))
    assert (theta.parameters, theta.bits) == (1, 32 + 2)


def test_joint_task_shares_its_budget() -> None:
    v = [torch.tensor([[9.0, 1.0]]), torch.tensor([8.0, 7.0, 0.5])]
    theta = solve({"type": "prune", "kappa": 3}, v)
    assert [piece.tolist() for piece in theta.dense()] == [[[9.0, 0.0]], [8.0, 7.0, 0.0]]
    assert theta.multiplications == (1, 2)
