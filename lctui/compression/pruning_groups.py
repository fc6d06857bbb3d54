"""Pruning in groups: whole filters or neurons (structured), and N of every M consecutive inputs.

Owns both C steps, exact selections of the largest, and their Θ: which groups or slots stay, and the values there.
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
from lctui.compression.base import Compressed, Part, Shape, Target, theta_dtype
from lctui.compression.deltas import binomials, exists, group, group_sizes, kept_groups, n_of_m, rows_and_columns, slots
from lctui.compression.pruning import kept, largest, nonzeros
from lctui.scheme.compressions import PruneNM, PruneStructured
from lctui.scheme.storage import n_m_bits, structured_bits


class _Grouped(Compressed):
    """What both kinds share: a float stored for every weight that stays, be it zero or not."""

    values: Tensor

    @property
    def parameters(self) -> int:
        return self.values.numel()

    @cached_property
    def multiplications(self) -> tuple[int, ...]:
        return nonzeros(self)

    def learned(self) -> dict[str, Any]:
        return {"nonzeros": sum(self.multiplications)}


@dataclass(frozen=True, kw_only=True, eq=False)
class PrunedStructured(_Grouped):
    """θ as the groups that stay: `kept` [groups], and their weights `values`, group after group.

    A group is a filter of a convolution or a neuron of a linear layer: one index of the first dimension.
    """

    kept: Tensor
    values: Tensor

    def flat(self) -> Tensor:
        return kept_groups(self.kept, self.values, self.shapes)

    @property
    def bits(self) -> int:
        return structured_bits(self.values.numel(), self.kept.numel())

    def learned(self) -> dict[str, Any]:
        return {**super().learned(), "groups_kept": int(self.kept.sum())}

    def parts(self) -> dict[str, Part]:
        return {"kept": Part(self.kept, "mask"), "values": Part(self.values, "float")}

    @classmethod
    def from_parts(
        cls,
        how: PruneStructured,
        shapes: tuple[Shape, ...],
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype,
        listed: bool,
    ) -> PrunedStructured:
        fields.expect(tensors, "kept", "values")
        mask = fields.mask(tensors, "kept", sum(shape[0] if shape else 1 for shape in shapes))
        sizes = group_sizes(shapes, mask.device)
        values = fields.floats(tensors, "values", (int(sizes[mask].sum()),), theta_dtype(dtype))
        return cls(how=how, shapes=shapes, dtype=dtype, listed=listed, kept=mask, values=values)


def prune_structured(how: PruneStructured, target: Target, v: Tensor) -> PrunedStructured:
    """min ‖v − θ‖² s.t. at most κ groups are non-zero: the κ groups of largest ℓ2 norm, over all layers of the task.

    Exact; ties by lowest index.  A group that is zero anyway is not kept.
    """
    sizes = group_sizes(target.shapes, v.device)
    rows = v.split([math.prod(shape) for shape in target.shapes])
    squares = [
        row.double().square().reshape(shape[0] if shape else 1, -1).sum(1)
        for row, shape in zip(rows, target.shapes, strict=True)
    ]
    energy = torch.cat(squares)  # [groups]
    keep = largest(energy, kept(how.kappa, how.fraction, energy.numel())) & (energy > 0)
    return PrunedStructured(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        kept=keep,
        values=v[keep.repeat_interleave(sizes)],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class PrunedNM(_Grouped):
    """θ as n slots of every group of m: `patterns` [groups] says which, `values` holds them, group after group.

    A pattern is the combinatorial number of its slots, 0 ≤ p < C(m, n).  Groups never cross from one output to the
    next, so that the last group of a row may be short; slots that it lacks have no value.
    """

    patterns: Tensor
    values: Tensor

    def flat(self) -> Tensor:
        return n_of_m(self.patterns, self.values, self.shapes, self.how.n, self.how.m)

    @property
    def bits(self) -> int:
        return n_m_bits(self.values.numel(), self.patterns.numel(), self.how.n, self.how.m)

    def parts(self) -> dict[str, Part]:
        size = math.comb(self.how.m, self.how.n)
        return {"patterns": Part(self.patterns, "index", size), "values": Part(self.values, "float")}

    @classmethod
    def from_parts(
        cls, how: PruneNM, shapes: tuple[Shape, ...], tensors: Mapping[str, Tensor], dtype: torch.dtype, listed: bool
    ) -> PrunedNM:
        fields.expect(tensors, "patterns", "values")
        groups = sum(rows * -(-columns // how.m) for rows, columns in map(rows_and_columns, shapes))
        patterns = fields.indices(tensors, "patterns", groups, math.comb(how.m, how.n))
        count = int((slots(patterns, how.n, how.m) & exists(shapes, how.m, patterns.device)).sum())
        values = fields.floats(tensors, "values", (count,), theta_dtype(dtype))
        return cls(how=how, shapes=shapes, dtype=dtype, listed=listed, patterns=patterns, values=values)


def prune_n_m(how: PruneNM, target: Target, v: Tensor) -> PrunedNM:
    """min ‖v − θ‖² s.t. at most n of every m consecutive inputs of an output are non-zero: the n largest by magnitude.

    Exact; ties by lowest index.  Inputs run in row-major order; a vector is the inputs of one output.  Always n slots
    are stored, even where zeros would leave fewer: the pattern has no room to say so.
    """
    there = exists(target.shapes, how.m, v.device)
    grouped = group(v, target.shapes, how.m)  # [groups, m]
    magnitude = torch.where(there, grouped.abs(), -1)
    where = torch.zeros_like(there)
    if how.n:
        threshold = magnitude.topk(how.n, dim=1, sorted=False).values.amin(1, keepdim=True)
        above, ties = magnitude > threshold, magnitude == threshold
        where = above | (ties & (ties.cumsum(1) <= how.n - above.sum(1, keepdim=True)))
    return PrunedNM(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        patterns=pattern_numbers(where, how.n).to(fields.index_dtype(math.comb(how.m, how.n))),
        values=grouped[where & there],
    )


def pattern_numbers(where: Tensor, n: int) -> Tensor:
    """The combinatorial number Σ C(cᵢ, i) of the slots c₁ < … < cₙ of each group: [groups, m] → [groups]."""
    m = where.shape[1]
    order = where.cumsum(1)  # i of each chosen slot
    terms = binomials(n, m, where.device)[torch.arange(m, device=where.device), order]
    return (terms * where).sum(1)
