"""Survivors that share a codebook: feasibility, size, and an alternation written down independently."""

from __future__ import annotations

import math

import kmeans1d
import numpy as np
import pytest
import torch
from c_step_oracles import error, gap_bits, modest, solve, vectors
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor


def alternation_error(v: np.ndarray, kappa: int, k: int) -> float:
    """The error that alternating from the largest magnitudes ends with."""
    chosen = np.argsort(-np.abs(v), kind="stable")[:kappa]
    least = float((v**2).sum())
    for _ in range(50):
        centres = np.array(kmeans1d.cluster(v[chosen], min(k, len(set(v[chosen])))).centroids)
        gain = v**2 - ((v[:, None] - centres) ** 2).min(axis=1)
        chosen = np.argsort(-gain, kind="stable")[:kappa]
        found = float((v**2).sum() - gain[chosen].sum())
        if found >= least - 1e-12:
            break
        least = found
    return least


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("kappa", [3, 20, 60])
def test_at_least_as_good_as_the_alternation(kappa: int, k: int) -> None:
    for seed in range(5):
        v = torch.randn(8, 10, generator=torch.Generator().manual_seed(seed))
        theta = solve({"type": "prune", "kappa": kappa, "k": k}, v)
        expected = alternation_error(v.double().reshape(-1).numpy(), kappa, k)
        assert error(v, theta.dense()) <= expected * (1 + 1e-6)


@modest
@given(vectors(max_size=30), st.integers(0, 30), st.integers(1, 5))
def test_feasible_and_sized_as_promised(v: Tensor, kappa: int, k: int) -> None:
    theta = solve({"type": "prune", "kappa": kappa, "k": k}, v)
    dense = theta.dense()
    where = dense.nonzero().squeeze(1).tolist()
    assert len(where) <= kappa
    assert len(set(dense[where].tolist())) <= k
    assert error(v, dense) <= error(v, torch.zeros_like(v)) + 1e-9
    assert theta.learned()["nonzeros"] == len(where)
    assert len(theta.learned()["codebook"]) == k
    assert theta.parameters == len(where) + k
    assert theta.bits == len(where) * math.ceil(math.log2(k)) + 32 * k + gap_bits(where)


def test_a_survivor_that_only_adds_error_stays_zero() -> None:
    # One value for both would be 5.5, and cost more than leaving the 1 out.
    theta = solve({"type": "prune", "kappa": 2, "k": 1}, torch.tensor([10.0, 1.0]))
    assert theta.dense().tolist() == [10.0, 0.0]


def test_enough_entries_lose_nothing_but_the_pruned() -> None:
    v = torch.tensor([3.0, -2.0, 1.0, 0.5])
    assert solve({"type": "prune", "kappa": 3, "k": 8}, v).dense().tolist() == [3.0, -2.0, 1.0, 0.0]
