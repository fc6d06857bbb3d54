"""Structured and N:M pruning against brute force over groups and slots."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from c_step_oracles import error, modest, solve
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lctui.compression.deltas import slots
from lctui.compression.pruning_groups import pattern_numbers


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@modest
@given(st.integers(0, 8), st.integers(0, 99))
def test_structured_is_the_best_set_of_groups(kappa: int, seed: int) -> None:
    v = [normal(4, 2, 3, 3, seed=seed), normal(3, 5, seed=seed + 1)]
    energies = [float(row.double().square().sum()) for layer in v for row in layer]
    best = max(sum(some) for some in itertools.combinations(energies, min(kappa, 7)))
    theta = solve({"type": "prune_structured", "kappa": kappa}, v)
    assert error(v, theta.dense()) == pytest.approx(sum(energies) - best, rel=1e-9, abs=1e-9)
    assert theta.learned()["groups_kept"] == min(kappa, 7)


def test_structured_size() -> None:
    v = [torch.cat((normal(3, 2, 3, 3), 9 * torch.ones(1, 2, 3, 3))), torch.cat((normal(2, 5), 9 * torch.ones(1, 5)))]
    theta = solve({"type": "prune_structured", "kappa": 2}, v)
    assert theta.parameters == 18 + 5
    assert theta.bits == 32 * (18 + 5) + 7
    assert theta.learned() == {"nonzeros": 23, "groups_kept": 2}
    assert theta.multiplications == (18, 5)


def test_structured_ties_and_zero_groups() -> None:
    assert solve({"type": "prune_structured", "kappa": 2}, torch.ones(4, 3)).dense().sum(1).tolist() == [3, 3, 0, 0]
    assert solve({"type": "prune_structured", "kappa": 0}, torch.ones(4, 3)).bits == 4
    zeros = solve({"type": "prune_structured", "fraction": 1.0}, torch.zeros(4, 3))
    assert (zeros.parameters, zeros.bits, zeros.learned()["groups_kept"]) == (0, 4, 0)


def test_structured_beyond_all_groups_keeps_everything() -> None:
    v = normal(4, 3)
    assert torch.equal(solve({"type": "prune_structured", "kappa": 99}, v).dense(), v)


@modest
@given(st.integers(1, 6), st.integers(0, 6), st.integers(1, 9), st.integers(0, 99))
def test_n_m_is_the_best_choice_in_every_group(m: int, n: int, columns: int, seed: int) -> None:
    n = min(n, m)
    v = normal(3, columns, seed=seed)
    best = 0.0
    for row in v.double().tolist():
        for start in range(0, columns, m):
            squares = [x * x for x in row[start : start + m]]
            best += max(sum(some) for some in itertools.combinations(squares, min(n, len(squares))))
    theta = solve({"type": "prune_n_m", "n": n, "m": m}, v)
    assert error(v, theta.dense()) == pytest.approx(float(v.double().square().sum()) - best, rel=1e-9, abs=1e-9)
    groups = 3 * math.ceil(columns / m)
    per_group = math.ceil(math.log2(math.comb(m, n)))
    assert theta.bits == 32 * theta.learned()["nonzeros"] + groups * per_group


def test_n_m_runs_along_the_inputs_of_one_output() -> None:
    v = torch.tensor([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]])
    assert solve({"type": "prune_n_m", "n": 1, "m": 2}, v).dense().tolist() == [[0, 2, 3], [6, 0, 4]]
    # A vector is the inputs of one output.
    assert solve({"type": "prune_n_m", "n": 1, "m": 2}, v.reshape(-1)).dense().tolist() == [0, 2, 0, 6, 5, 0]


def test_n_m_ties_go_to_the_lowest_index() -> None:
    assert solve({"type": "prune_n_m"}, torch.ones(1, 8)).dense().tolist() == [[1, 1, 0, 0, 1, 1, 0, 0]]


def test_n_m_of_zeros_still_fills_its_slots() -> None:
    theta = solve({"type": "prune_n_m"}, torch.zeros(2, 8))
    assert theta.bits == 4 * (2 * 32 + 3)
    assert theta.learned() == {"nonzeros": 0}


def test_n_m_joint_task() -> None:
    v = [normal(2, 6), normal(3, 2, 2, 2)]
    theta = solve({"type": "prune_n_m"}, v)
    alone = [solve({"type": "prune_n_m"}, one) for one in v]
    assert all(torch.equal(a, b.dense()) for a, b in zip(theta.dense(), alone, strict=True))
    assert theta.bits == sum(one.bits for one in alone)


@pytest.mark.parametrize("n, m", [(0, 3), (1, 1), (2, 4), (3, 6), (5, 5)])
def test_pattern_numbers_count_all_patterns(n: int, m: int) -> None:
    chosen = [[slot in some for slot in range(m)] for some in itertools.combinations(range(m), n)]
    where = torch.tensor(chosen)
    numbers = pattern_numbers(where, n)
    assert sorted(numbers.tolist()) == list(range(math.comb(m, n)))
    assert torch.equal(slots(numbers, n, m), where)


def test_pattern_numbers_of_the_widest_groups() -> None:
    where = torch.zeros(2, 64, dtype=torch.bool)
    where[0, 32:] = True
    where[1, :32] = True
    numbers = pattern_numbers(where, 32)
    assert numbers.tolist() == [math.comb(64, 32) - 1, 0]
    assert torch.equal(slots(numbers, 32, 64), where)
