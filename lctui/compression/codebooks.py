"""Θ of quantized tasks: which codebook entry every weight takes, and the codebook.

Owns both layouts (a learned codebook that is stored, a given one that is not) and the assignment of weights to
entries.  Which codebook is best is decided in `quantization`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lctui.compression import fields
from lctui.compression.base import Compressed, Part, Shape, theta_dtype
from lctui.compression.deltas import given_entries, look_up, scaled_entries
from lctui.scheme.compressions import (
    QuantizeAdaptive,
    QuantizeBinary,
    QuantizeFixed,
    QuantizePowersOfTwo,
    QuantizeTernary,
)

TABLE = 1 << 13
"""Cells of the table that assigns weights to entries."""
CROWDED = 4
"""With more limits than this in one cell, weights are assigned by binary search."""

Given = QuantizeFixed | QuantizePowersOfTwo | QuantizeBinary | QuantizeTernary


def nearest(v: Tensor, entries: Tensor) -> Tensor:
    """argmin_j |vᵢ − c_j| for every weight, ties to the smaller entry (and of equal entries to one fixed).

    Args:
        v: [N].
        entries: [k], in any order; compared in float64.

    Returns:
        [N], indices into `entries` as they stand.
    """
    ascending, order = entries.double().sort(stable=True)
    middles = (ascending[1:] + ascending[:-1]) / 2
    # A number of v's dtype exceeds a middle if it exceeds the middle rounded down; on a middle it stays with the lower.
    rounded = middles.to(v.dtype)
    below = torch.where(rounded.double() > middles, rounded.nextafter(torch.full_like(rounded, -math.inf)), rounded)
    dtype = fields.index_dtype(entries.numel())
    found = _exceeded(v, below, dtype)
    if torch.equal(order, torch.arange(len(order), device=order.device)):
        return found
    return order.to(dtype).index_select(0, found.to(torch.int32))


def _exceeded(v: Tensor, limits: Tensor, dtype: torch.dtype) -> Tensor:
    """How many of the ascending limits each of v exceeds: [N].

    The range of the limits is cut into cells; all but the limits in a value's own cell are counted by a table.
    """
    if limits.numel() == 0:
        return torch.zeros_like(v, dtype=dtype)
    scale = TABLE / (limits[-1] - limits[0])
    if v.numel() < TABLE or not 0 < float(scale) < math.inf:
        return torch.bucketize(v, limits).to(dtype)

    def cell(x: Tensor) -> Tensor:
        # Every step rounds upwards only what is larger: no value falls into a cell before a smaller one's.
        return ((x - limits[0]) * scale).clamp_(0, TABLE - 1).to(torch.int32)

    inside = torch.bincount(cell(limits), minlength=TABLE)
    if (most := int(inside.max())) > CROWDED:
        return torch.bucketize(v, limits).to(dtype)
    before = inside.cumsum(0) - inside
    where = cell(v)
    found = before.to(dtype).index_select(0, where)
    padded = torch.cat((limits, limits.new_full((most,), math.inf)))
    for i in range(most):
        limit = torch.where(i < inside, padded[before + i], math.inf)
        found += v > limit.index_select(0, where)
    return found


class _Quantized(Compressed):
    indices: Tensor

    @property
    def multiplications(self) -> tuple[int, ...]:
        return tuple(math.prod(shape) for shape in self.shapes)


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedCodebook(_Quantized):
    """θᵢ = c_{zᵢ}: `indices` z [N] and `codebook` c [k], ascending."""

    indices: Tensor
    codebook: Tensor

    def flat(self) -> Tensor:
        return look_up(self.codebook, self.indices)

    @property
    def parameters(self) -> int:
        return self.n + self.codebook.numel()

    @cached_property
    def bits(self) -> int:
        return sum(part.bits for part in self.parts().values())

    def learned(self) -> dict[str, Any]:
        return {"codebook": self.codebook.tolist()}

    def parts(self) -> dict[str, Part]:
        return {
            "indices": Part.of_indices(self.indices, self.codebook.numel(), self.how.code),
            "codebook": Part(self.codebook, "float"),
        }

    @classmethod
    def from_parts(
        cls,
        how: QuantizeAdaptive,
        shapes: tuple[Shape, ...],
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype,
        listed: bool,
    ) -> LearnedCodebook:
        fields.expect(tensors, "indices", "codebook")
        entries = fields.codebook(tensors, "codebook", how.k, theta_dtype(dtype))
        indices = fields.indices(tensors, "indices", sum(map(math.prod, shapes)), how.k)
        return cls(how=how, shapes=shapes, dtype=dtype, listed=listed, indices=indices, codebook=entries)


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenCodebook(_Quantized):
    """θᵢ = a·c_{zᵢ}: `indices` z [N] into the entries c that `how` lists, and the learned `scale` a [1], if any."""

    indices: Tensor
    scale: Tensor | None

    def codebook(self) -> Tensor:
        """a·c: [k], in the order of the indices."""
        return scaled_entries(entries_of(self.how), self.scale, self.dtype, self.indices.device)

    def flat(self) -> Tensor:
        return look_up(self.codebook(), self.indices)

    @property
    def parameters(self) -> int:
        return self.n + (self.scale is not None)

    @cached_property
    def bits(self) -> int:
        return sum(part.bits for part in self.parts().values())

    def learned(self) -> dict[str, Any]:
        if self.scale is None:
            return {"codebook": list(entries_of(self.how))}
        return {"scale": float(self.scale), "codebook": self.codebook().tolist()}

    def parts(self) -> dict[str, Part]:
        # A code for two equally likely values has nothing to gain: binary has none.
        code = getattr(self.how, "code", "plain")
        parts = {"indices": Part.of_indices(self.indices, len(entries_of(self.how)), code)}
        return parts if self.scale is None else {**parts, "scale": Part(self.scale, "float")}

    @classmethod
    def from_parts(
        cls, how: Given, shapes: tuple[Shape, ...], tensors: Mapping[str, Tensor], dtype: torch.dtype, listed: bool
    ) -> GivenCodebook:
        scaled = getattr(how, "scaled", False)
        fields.expect(tensors, *(("indices", "scale") if scaled else ("indices",)))
        indices = fields.indices(tensors, "indices", sum(map(math.prod, shapes)), len(entries_of(how)))
        scale = fields.scale(tensors, "scale", theta_dtype(dtype)) if scaled else None
        return cls(how=how, shapes=shapes, dtype=dtype, listed=listed, indices=indices, scale=scale)


def entries_of(how: Given) -> tuple[float, ...]:
    """The codebook's entries before scaling, in the order that indices refer to."""
    return given_entries(how.codebook, getattr(how, "values", ()), getattr(how, "c", 0))
