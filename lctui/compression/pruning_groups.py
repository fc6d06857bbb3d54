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
from torch.nn.functional import pad

from lctui.compression import fields
from lctui.compression.base import Compressed, Part, Shape, Target, theta_dtype
from lctui.compression.pruning import kept, largest, nonzeros
from lctui.scheme.compressions import PruneNM, PruneStructured
from lctui.scheme.storage import n_m_bits, structured_bits

TABLE = 1 << 12
"""Patterns of at most so many kinds are decoded once a kind."""


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
        where = self.kept.repeat_interleave(group_sizes(self.shapes, self.kept.device))
        return self.values.new_zeros(self.n).masked_scatter(where, self.values)

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


def group_sizes(shapes: tuple[Shape, ...], device: torch.device) -> Tensor:
    """Weights in each group of the task: [groups]."""
    counts = [shape[0] if shape else 1 for shape in shapes]
    sizes = [math.prod(shape[1:]) for shape in shapes]
    return torch.tensor(sizes, device=device).repeat_interleave(torch.tensor(counts, device=device))


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
        where = slots(self.patterns, self.how.n, self.how.m) & exists(self.shapes, self.how.m, self.values.device)
        return ungroup(self.values.new_zeros(where.shape).masked_scatter(where, self.values), self.shapes)

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


def rows_and_columns(shape: Shape) -> tuple[int, int]:
    """Outputs, and inputs of each; a vector is one output's inputs."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))


def group(flat: Tensor, shapes: tuple[Shape, ...], m: int) -> Tensor:
    """[N] → [groups, m]: each output's inputs in groups of m, the last one filled up with zeros."""
    pieces = flat.split([math.prod(shape) for shape in shapes])
    matrices = [piece.reshape(rows_and_columns(shape)) for piece, shape in zip(pieces, shapes, strict=True)]
    return torch.cat([pad(matrix, (0, -matrix.shape[1] % m)).reshape(-1, m) for matrix in matrices])


def ungroup(grouped: Tensor, shapes: tuple[Shape, ...]) -> Tensor:
    """[groups, m] → [N]: the inverse of `group`."""
    m = grouped.shape[1]
    sizes = [rows_and_columns(shape) for shape in shapes]
    pieces = grouped.split([rows * -(-columns // m) for rows, columns in sizes])
    return torch.cat(
        [piece.reshape(rows, -1)[:, :columns].reshape(-1) for piece, (rows, columns) in zip(pieces, sizes, strict=True)]
    )


def exists(shapes: tuple[Shape, ...], m: int, device: torch.device) -> Tensor:
    """Which slots of the groups are weights, not filling: [groups, m]."""
    return group(torch.ones(sum(map(math.prod, shapes)), dtype=torch.bool, device=device), shapes, m)


def _binomials(n: int, m: int, device: torch.device) -> Tensor:
    """C(c, i) for c = 0..m−1 and i = 0..n: [m, n + 1]; all stay below 2⁶³ up to m = 64."""
    return torch.tensor([[math.comb(c, i) for i in range(n + 1)] for c in range(m)], device=device)


def pattern_numbers(where: Tensor, n: int) -> Tensor:
    """The combinatorial number Σ C(cᵢ, i) of the slots c₁ < … < cₙ of each group: [groups, m] → [groups]."""
    m = where.shape[1]
    order = where.cumsum(1)  # i of each chosen slot
    terms = _binomials(n, m, where.device)[torch.arange(m, device=where.device), order]
    return (terms * where).sum(1)


def slots(patterns: Tensor, n: int, m: int) -> Tensor:
    """The slots of each combinatorial number, largest first and greedily: [groups] → [groups, m]."""
    if math.comb(m, n) <= min(TABLE, patterns.numel()):
        every = torch.arange(math.comb(m, n), device=patterns.device)
        return _greedy_slots(every, n, m)[patterns.to(torch.int64)]
    return _greedy_slots(patterns, n, m)


def _greedy_slots(patterns: Tensor, n: int, m: int) -> Tensor:
    binomials = _binomials(n, m, patterns.device)
    rest = patterns.to(torch.int64)
    left = torch.full_like(rest, n)
    chosen = torch.zeros((patterns.numel(), m), dtype=torch.bool, device=patterns.device)
    for slot in reversed(range(m)):
        term = binomials[slot][left]
        take = (left > 0) & (rest >= term)
        chosen[:, slot] = take
        rest = rest - term * take
        left = left - take.to(torch.int64)
    return chosen
