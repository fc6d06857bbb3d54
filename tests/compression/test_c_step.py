"""What every C step keeps: purity, shapes, dtypes, idempotence, never losing to the previous Θ."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from c_step_oracles import CONSTRAINTS, EVERY, PENALTIES, error, how, modest, one_layer_only, solve
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lctui.compression import c_step

every = pytest.mark.parametrize("fields", EVERY.values(), ids=EVERY.keys())
constrained = pytest.mark.parametrize("fields", CONSTRAINTS.values(), ids=CONSTRAINTS.keys())
priced = pytest.mark.parametrize("fields", PENALTIES.values(), ids=PENALTIES.keys())
joint = pytest.mark.parametrize(
    "fields", [one for one in EVERY.values() if not one_layer_only(one)], ids=lambda fields: str(fields)[:40]
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every
def test_pure(fields: Any) -> None:
    v = normal(6, 4, 3, 2).requires_grad_()
    before = v.detach().clone()
    first, second = solve(fields, v, 2.0), solve(fields, v, 2.0)
    assert torch.equal(v, before)
    assert torch.equal(first.dense(), second.dense())
    assert not first.dense().requires_grad
    first.dense().zero_()
    assert torch.equal(v, before)
    assert torch.equal(first.dense(), second.dense())


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_dtype_stay(fields: Any, dtype: torch.dtype) -> None:
    v = normal(6, 4, 3, 2).to(dtype)
    theta = solve(fields, v, 2.0)
    assert (theta.dense().shape, theta.dense().dtype) == (v.shape, dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert theta.flat().dtype == wide
    assert error(v, theta.dense()) <= error(v, solve(fields, v.to(wide), 2.0).dense()) * 1.05 + 0.05


@every
def test_memory_format_does_not_matter(fields: Any) -> None:
    v = normal(6, 4, 3, 2)
    expected = solve(fields, v, 2.0)
    last = v.contiguous(memory_format=torch.channels_last)
    strided = torch.zeros(6, 8, 3, 2)[:, ::2].copy_(v)
    for other in (last, strided):
        assert not other.is_contiguous()
        found = solve(fields, other, 2.0)
        assert torch.equal(found.dense(), expected.dense())
        assert found.bits == expected.bits


@joint
def test_a_list_comes_back_as_a_list(fields: Any) -> None:
    v = [normal(4, 3, 2, 2), normal(5, 6), normal(7)]
    theta = solve(fields, v, 2.0)
    assert [piece.shape for piece in theta.dense()] == [piece.shape for piece in v]
    assert theta.n == sum(piece.numel() for piece in v)
    assert len(theta.multiplications) == 3
    alone = solve(fields, [v[0]], 2.0)
    assert isinstance(alone.dense(), list)
    assert torch.equal(alone.dense()[0], solve(fields, v[0], 2.0).dense())


@joint
def test_the_order_of_layers_does_not_matter(fields: Any) -> None:
    v = [normal(4, 3, 2, 2), normal(5, 6, seed=1), normal(3, 7, seed=2)]
    order = [2, 0, 1]
    first, second = solve(fields, v, 2.0), solve(fields, [v[i] for i in order], 2.0)
    for place, i in enumerate(order):
        torch.testing.assert_close(second.dense()[place], first.dense()[i])
    assert second.parameters == first.parameters
    if "positions" not in {name.rpartition(".")[2] for name in first.parts()}:
        assert second.bits == first.bits


@constrained
def test_idempotent(fields: Any) -> None:
    theta = solve(fields, normal(6, 4, 3, 2), 2.0)
    again = solve(fields, theta.dense(), 2.0, previous=theta)
    assert error(theta.dense(), again.dense()) <= 1e-5 * float(theta.dense().square().sum())


@modest
@given(st.sampled_from(sorted(CONSTRAINTS)), st.integers(0, 200), st.floats(0.01, 2))
def test_never_worse_than_the_previous_theta(name: str, seed: int, moved: float) -> None:
    v = normal(4, 3, 2, 3, seed=seed)
    previous = solve(CONSTRAINTS[name], v)
    target = v + moved * normal(4, 3, 2, 3, seed=seed + 1000)
    found = solve(CONSTRAINTS[name], target, previous=previous)
    slack = 1e-3 if name == "rank-float16" else 1e-6
    assert error(target, found.dense()) <= error(target, previous.dense()) * (1 + slack)


@modest
@given(st.sampled_from(sorted(CONSTRAINTS)), st.integers(0, 200))
def test_never_worse_than_any_other_feasible_theta(name: str, seed: int) -> None:
    v = normal(4, 3, 2, 3, seed=seed)
    other = solve(CONSTRAINTS[name], normal(4, 3, 2, 3, seed=seed + 1000))
    slack = 1e-3 if name == "rank-float16" else 1e-6
    assert error(v, solve(CONSTRAINTS[name], v).dense()) <= error(v, other.dense()) * (1 + slack)


@every
def test_one_weight(fields: Any) -> None:
    for v in (torch.tensor([[0.25]]), torch.tensor([0.0]), torch.tensor(-1.0)):
        theta = solve(fields, v, 1e6)
        assert theta.dense().shape == v.shape
        assert theta.bits >= 0
        assert json.dumps(theta.learned())


@every
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_equal_weights(fields: Any, value: float) -> None:
    v = torch.full((4, 3, 2, 2), value)
    theta = solve(fields, v, 2.0)
    assert torch.isfinite(theta.dense()).all()
    assert json.dumps(theta.learned())


@every
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(fields: Any, bad: float) -> None:
    v = normal(4, 3)
    v[1, 1] = bad
    with pytest.raises(ValueError, match="1 of 12 values that are NaN or infinite"):
        solve(fields, v)


@pytest.mark.parametrize("mu", [0.0, -1.0, float("nan"), float("inf")])
@priced
def test_penalties_need_mu(fields: Any, mu: float) -> None:
    with pytest.raises(ValueError, match="mu > 0"):
        solve(fields, normal(4, 3), mu)


@constrained
def test_constraints_do_not_look_at_mu(fields: Any) -> None:
    v = normal(4, 3, 2, 2)
    assert torch.equal(solve(fields, v, 0.0).dense(), solve(fields, v, 3.0).dense())


@priced
def test_direct_compression_with_a_penalty_is_not_the_zero_net(fields: Any) -> None:
    # A start of μ and a price that fit each other leave weights alive.
    assert solve(fields, normal(6, 4, 3, 2), 5.0).dense().count_nonzero() > 0


def test_no_weights_are_refused() -> None:
    for nothing in (torch.empty(0, 3), []):
        with pytest.raises(ValueError, match=r"no weights|at least one tensor"):
            solve({"type": "prune", "kappa": 1}, nothing)


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="floating-point"):
        c_step(how({"type": "prune", "kappa": 1}), torch.arange(3), 1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu() -> None:
    for name, fields in EVERY.items():
        v = normal(20, 7, 3, 5)
        theta = solve(fields, v.cuda(), 2.0)
        assert theta.dense().device == v.cuda().device
        assert error(v, theta.dense().cpu()) == pytest.approx(error(v, solve(fields, v, 2.0).dense()), rel=1e-3), name
        assert torch.equal(theta.to(torch.device("cpu")).dense(), theta.dense().cpu()), name
