"""Θ as stored tensors: round trips, sizes, and files that lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from c_step_oracles import EVERY, gap_bits, how, one_layer_only, solve
from torch import Tensor

from lctui.compression import Compressed, Part, restore

every = pytest.mark.parametrize("fields", EVERY.values(), ids=EVERY.keys())
Tensors = dict[str, Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensors(theta: Compressed) -> Tensors:
    return {name: part.tensor.clone() for name, part in theta.parts().items()}


def coded_bits(part: Part) -> int:
    """A part's size by its code, without padding to bytes."""
    if part.code == "float":
        return 8 * part.tensor.element_size() * part.tensor.numel()
    if part.code == "index":
        return math.ceil(math.log2(part.size)) * part.tensor.numel()
    return gap_bits(part.tensor.tolist()) if part.code == "gaps" else part.tensor.numel()


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_round_trip_keeps_every_bit(fields: Any, dtype: torch.dtype) -> None:
    theta = solve(fields, normal(6, 4, 3, 3).to(dtype), 2.0)
    again = restore(how(fields), theta.shapes, tensors(theta), dtype)
    assert torch.equal(again.dense(), theta.dense())
    assert again.dense().dtype == dtype
    assert (again.bits, again.parameters, again.learned()) == (theta.bits, theta.parameters, theta.learned())
    assert all(torch.equal(again.parts()[name].tensor, part.tensor) for name, part in theta.parts().items())


@pytest.mark.parametrize(
    "fields", [one for one in EVERY.values() if not one_layer_only(one)], ids=lambda fields: str(fields)[:40]
)
def test_round_trip_of_a_joint_task(fields: Any) -> None:
    theta = solve(fields, [normal(4, 3, 2, 2), normal(5, 6)], 2.0)
    again = restore(how(fields), theta.shapes, tensors(theta), listed=True)
    assert all(torch.equal(a, b) for a, b in zip(again.dense(), theta.dense(), strict=True))


@every
def test_parts_take_no_more_than_promised(fields: Any) -> None:
    theta = solve(fields, normal(6, 4, 3, 3), 2.0)
    assert sum(map(coded_bits, theta.parts().values())) == theta.bits
    for part in theta.parts().values():
        if part.code in ("index", "gaps") and part.tensor.numel():
            assert int(part.tensor.min()) >= 0
            assert int(part.tensor.max()) < part.size


@every
def test_any_integer_type_and_device_layout_is_read(fields: Any) -> None:
    theta = solve(fields, normal(6, 4, 3, 3), 2.0)
    wide = {
        name: part.tensor.to(torch.int64) if part.code in ("index", "gaps") else part.tensor
        for name, part in theta.parts().items()
    }
    assert torch.equal(restore(how(fields), theta.shapes, wide).dense(), theta.dense())


@every
def test_missing_and_foreign_tensors_are_refused(fields: Any) -> None:
    theta = solve(fields, normal(6, 4, 3, 3), 2.0)
    good = tensors(theta)
    for name in good:
        with pytest.raises(ValueError, match="tensors are"):
            restore(how(fields), theta.shapes, {key: good[key] for key in good if key != name})
    with pytest.raises(ValueError, match=r"tensors are|belongs to none"):
        restore(how(fields), theta.shapes, {**good, "more": torch.ones(1)})


@every
def test_tensors_of_the_wrong_kind_or_length_are_refused(fields: Any) -> None:
    theta = solve(fields, normal(6, 4, 3, 3), 2.0)
    for name, part in theta.parts().items():
        wrong: list[Tensor] = [part.tensor[None], torch.cat((part.tensor, part.tensor[:1], part.tensor[:1]))]
        wrong.append(part.tensor.to(torch.int32) if part.code in ("float", "mask") else part.tensor.float())
        if part.code == "float" and part.tensor.numel():
            broken = part.tensor.clone()
            broken.view(-1)[0] = math.nan
            wrong.append(broken)
        if part.code == "index":
            wrong += [part.tensor.long() + part.size, part.tensor.long() - part.size]
        for tensor in wrong:
            with pytest.raises(ValueError):
                restore(how(fields), theta.shapes, {**tensors(theta), name: tensor})


@every
def test_other_shapes_are_refused(fields: Any) -> None:
    theta = solve(fields, normal(6, 4, 3, 3), 2.0)
    for shapes in ([], [(-6, -36)], [(2, 2)], [(6, 4, 3, 3), (2,)]):
        with pytest.raises(ValueError):
            restore(how(fields), shapes, tensors(theta))


def spoiled(change: Callable[[Tensors], None], fields: Any) -> None:
    theta = solve(fields, normal(8, 8), 2.0)
    stored = tensors(theta)
    change(stored)
    restore(how(fields), theta.shapes, stored)


def test_positions_must_increase_within_the_task() -> None:
    fields = {"type": "prune", "kappa": 5}
    spoiled(lambda stored: None, fields)
    changes = {
        "increase": lambda stored: stored["positions"].copy_(stored["positions"].flip(0)),
        "lie in": lambda stored: stored["positions"][-1:].fill_(64),
        "lie in 0": lambda stored: stored["positions"][:1].fill_(-1),
        "must increase": lambda stored: stored["positions"].fill_(3),
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=message):
            spoiled(change, fields)


def test_a_rank_that_no_matrix_has_is_refused() -> None:
    def grow(stored: Tensors) -> None:
        stored.update(u=torch.ones(8, 9), z=torch.ones(8, 9))

    with pytest.raises(ValueError, match="at most 8"):
        spoiled(grow, {"type": "low_rank", "rank": 2})


def test_codebooks_ascend_and_scales_are_not_negative() -> None:
    with pytest.raises(ValueError, match="ascend"):
        spoiled(lambda stored: stored["codebook"].neg_(), {"type": "quantize", "k": 4})
    with pytest.raises(ValueError, match="negative"):
        spoiled(lambda stored: stored["scale"].neg_(), {"type": "quantize", "codebook": "binary"})


@pytest.mark.parametrize("name", ["-1.values", "2.values", "00.values", "x", "0", "٠.values"])
def test_names_outside_the_sum_are_refused(name: str) -> None:
    fields = [{"type": "prune", "kappa": 5}, {"type": "quantize", "k": 2}]
    with pytest.raises(ValueError, match=r"belongs to none|tensors are"):
        spoiled(lambda stored: stored.update({name: torch.ones(1)}), fields)
