"""Sums of compressions: the objective never rises, and a sum is never worse than its parts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from c_step_oracles import error, how, modest, solve
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lctui.compression import Compressed, additive
from lctui.compression.low_rank import improved

LOW = {"type": "low_rank", "rank": 1}
FEW = {"type": "prune", "kappa": 6}
TWO = {"type": "quantize", "k": 2}
SIGN = {"type": "quantize", "codebook": "binary"}
PRICED = {"type": "prune", "alpha": 0.3}
SHRUNK = {"type": "prune", "alpha": 0.05, "norm": "l1"}
CHOSEN = {"type": "low_rank", "rank": "auto", "alpha": 1e-3}
CHOSEN_PLAIN = {"type": "low_rank", "rank": "auto", "alpha": 0.05, "normalize": False}
HALF = {"type": "low_rank", "rank": 2, "bits": 16}
SHARED = {"type": "prune", "kappa": 9, "k": 2}

SUMS = [[LOW, FEW], [TWO, FEW], [SIGN, SIGN], [FEW, SHARED, TWO], [CHOSEN, PRICED], [CHOSEN_PLAIN, SHRUNK], [HALF, FEW]]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def objective(v: Tensor, mu: float, theta: Compressed) -> float:
    """‖v − Δ(Θ)‖² + (2/μ)·penalties, from what Θ shows to the outside."""
    total = error(v, theta.dense())
    for member, learned in zip(theta.how, theta.learned()["parts"], strict=True):
        if member.type == "prune" and member.alpha is not None:
            values = theta.parts()[f"{theta.how.index(member)}.values"].tensor.double()
            total += 2 / mu * member.alpha * (float(values.abs().sum()) if member.norm == "l1" else learned["nonzeros"])
        if member.type == "low_rank" and member.rank == "auto":
            unit = float(v.double().square().sum()) if member.normalize else 1.0
            total += 2 / mu * member.alpha * learned["rank"] * (v.shape[0] + v.shape[1]) * unit
    return total


@pytest.mark.parametrize("fields", SUMS, ids=str)
def test_more_sweeps_never_raise_the_objective(fields: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    v = normal(8, 12)
    found = []
    for sweeps in (0, 1, 2, 3, 8, 30):
        monkeypatch.setattr(additive, "SWEEPS", sweeps)
        found.append(objective(v, 2.0, solve(fields, v, 2.0)))
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(found))


@modest
@given(st.sampled_from(SUMS), st.integers(0, 50), st.floats(0.0, 1.0))
def test_never_worse_than_the_previous_theta(fields: Any, seed: int, moved: float) -> None:
    v = normal(6, 8, seed=seed)
    previous = solve(fields, v, 1.0)
    target = v + moved * normal(6, 8, seed=seed + 1000)
    found = solve(fields, target, 1.5, previous=previous)
    assert objective(target, 1.5, found) <= objective(target, 1.5, previous) * (1 + 1e-6)
    assert objective(target, 1.5, found) <= objective(target, 1.5, solve(fields, target, 1.5)) * (1 + 1e-6)


@pytest.mark.parametrize("fields", [[LOW, FEW], [TWO, FEW], [SIGN, FEW]], ids=str)
def test_a_sum_beats_its_first_member(fields: Any) -> None:
    v = normal(8, 12)
    assert error(v, solve(fields, v).dense()) < error(v, solve(fields[0], v).dense())


def test_parameters_bits_and_work_add_up() -> None:
    v = normal(8, 12)
    theta = solve([LOW, FEW, SIGN], v)
    assert theta.parameters == 20 + 6 + 97
    gaps = theta.bits - 32 * 20 - 32 * 6 - (96 + 32)
    assert 0 < gaps < 6 * 32
    assert theta.multiplications == (20 + 6 + 96,)
    assert [set(part) for part in theta.learned()["parts"]] == [{"rank"}, {"nonzeros"}, {"scale", "codebook"}]
    assert set(theta.parts()) == {"0.u", "0.z", "1.values", "1.positions", "2.indices", "2.scale"}


def test_several_sums_can_be_solved_in_a_row() -> None:
    v = normal(8, 12)
    first = solve([LOW, FEW], v)
    solve([TWO, FEW], normal(9, 3))
    again = solve([LOW, FEW], v)
    assert torch.equal(first.dense(), again.dense())


def test_a_weight_that_a_sum_can_express_is_met() -> None:
    v = torch.outer(normal(6), normal(9))
    v[2, 3] += 40
    v[5, 0] -= 30
    theta = solve([{"type": "prune", "kappa": 2}, LOW], v)
    assert error(v, theta.dense()) < 1e-6 * float(v.square().sum())


def test_a_list_of_one_is_that_one() -> None:
    v = normal(4, 4)
    theta = solve([FEW], v)
    assert theta.how == how(FEW)
    assert torch.equal(theta.dense(), solve(FEW, v).dense())


def test_the_previous_theta_of_another_compression_is_ignored() -> None:
    v = normal(8, 12)
    expected = solve([LOW, FEW], v).dense()
    for other in (solve([TWO, FEW], v), solve(FEW, v), solve([LOW, FEW], normal(3, 5))):
        assert torch.equal(solve([LOW, FEW], v, previous=other).dense(), expected)


def test_a_joint_sum_takes_lists() -> None:
    v = [normal(4, 5), normal(3)]
    theta = solve([TWO, FEW], v)
    assert [tuple(piece.shape) for piece in theta.dense()] == [(4, 5), (3,)]
    assert len(theta.multiplications) == 2


@modest
@given(st.integers(0, 100), st.integers(1, 6), st.booleans())
def test_a_low_rank_step_never_loses(seed: int, rank: int, same: bool) -> None:
    v = normal(9, 14, seed=seed)
    theta = solve({"type": "low_rank", "rank": rank}, v if same else normal(9, 14, seed=seed + 1000))
    better = improved(theta, v.reshape(-1))
    assert error(v, better.dense()) <= error(v, theta.dense()) * (1 + 1e-6)
    assert better.rank == theta.rank
    for _ in range(80):
        better = improved(better, v.reshape(-1))
    assert error(v, better.dense()) <= error(v, solve({"type": "low_rank", "rank": rank}, v).dense()) * 1.02 + 1e-9
