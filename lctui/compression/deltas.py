"""Δ(Θ): a task's weights from the tensors of its Θ, family by family.

Owns decompression, the same bits on every machine; every Θ's `flat()` ends here.  Knows torch alone, no compression and
no file: a net that is deployed brings this module along (`lctui.export.packed`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

Shape = tuple[int, ...]

TABLE = 1 << 12
"""Patterns of at most so many kinds are decoded once a kind."""


def theta_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of Θ's numbers for weights of the given dtype: float32, or float64 to keep what a caller has."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def sparse(positions: Tensor, values: Tensor, n: int) -> Tensor:
    """Values at their positions, zeros elsewhere: [N]."""
    return values.new_zeros(n).index_copy(0, positions, values)


def look_up(entries: Tensor, indices: Tensor) -> Tensor:
    """c_{zᵢ}: [N]."""
    return entries[indices.to(torch.int64)]


def given_entries(codebook: str, values: Sequence[float] = (), c: int = 0) -> tuple[float, ...]:
    """The entries of a codebook that is not learned, before scaling, in the order that indices refer to."""
    if codebook == "fixed":
        return tuple(values)
    if codebook == "binary":
        return (-1.0, 1.0)
    if codebook == "ternary":
        return (-1.0, 0.0, 1.0)
    powers = [2.0**-i for i in range(c + 1)]
    return (*(-power for power in powers), 0.0, *reversed(powers))


def scaled_entries(entries: Sequence[float], scale: Tensor | None, dtype: torch.dtype, device: torch.device) -> Tensor:
    """a·c: [k], in Θ's dtype."""
    plain = torch.tensor(entries, dtype=torch.float64, device=device).to(theta_dtype(dtype))
    return plain if scale is None else plain * scale


def kept_groups(kept: Tensor, values: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """The groups that stay, one after the other, at their places: [N]."""
    where = kept.repeat_interleave(group_sizes(shapes, kept.device))
    return values.new_zeros(sum(map(math.prod, shapes))).masked_scatter(where, values)


def group_sizes(shapes: Sequence[Shape], device: torch.device) -> Tensor:
    """Weights in each group of the task: [groups]."""
    counts = [shape[0] if shape else 1 for shape in shapes]
    sizes = [math.prod(shape[1:]) for shape in shapes]
    return torch.tensor(sizes, device=device).repeat_interleave(torch.tensor(counts, device=device))


def n_of_m(patterns: Tensor, values: Tensor, shapes: Sequence[Shape], n: int, m: int) -> Tensor:
    """The values of every group's slots, at their places: [N]."""
    where = slots(patterns, n, m) & exists(shapes, m, values.device)
    return ungroup(values.new_zeros(where.shape).masked_scatter(where, values), shapes)


def rows_and_columns(shape: Shape) -> tuple[int, int]:
    """Outputs, and inputs of each; a vector is one output's inputs."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))


def group(flat: Tensor, shapes: Sequence[Shape], m: int) -> Tensor:
    """[N] → [groups, m]: each output's inputs in groups of m, the last one filled up with zeros."""
    pieces = flat.split([math.prod(shape) for shape in shapes])
    matrices = [piece.reshape(rows_and_columns(shape)) for piece, shape in zip(pieces, shapes, strict=True)]
    return torch.cat([pad(matrix, (0, -matrix.shape[1] % m)).reshape(-1, m) for matrix in matrices])


def ungroup(grouped: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """[groups, m] → [N]: the inverse of `group`."""
    m = grouped.shape[1]
    sizes = [rows_and_columns(shape) for shape in shapes]
    pieces = grouped.split([rows * -(-columns // m) for rows, columns in sizes])
    return torch.cat(
        [piece.reshape(rows, -1)[:, :columns].reshape(-1) for piece, (rows, columns) in zip(pieces, sizes, strict=True)]
    )


def exists(shapes: Sequence[Shape], m: int, device: torch.device) -> Tensor:
    """Which slots of the groups are weights, not filling: [groups, m]."""
    return group(torch.ones(sum(map(math.prod, shapes)), dtype=torch.bool, device=device), shapes, m)


def binomials(n: int, m: int, device: torch.device) -> Tensor:
    """C(c, i) for c = 0..m−1 and i = 0..n: [m, n + 1]; all stay below 2⁶³ up to m = 64."""
    return torch.tensor([[math.comb(c, i) for i in range(n + 1)] for c in range(m)], device=device)


def slots(patterns: Tensor, n: int, m: int) -> Tensor:
    """The slots of each combinatorial number, largest first and greedily: [groups] → [groups, m]."""
    if math.comb(m, n) <= min(TABLE, patterns.numel()):
        every = torch.arange(math.comb(m, n), device=patterns.device)
        return _greedy_slots(every, n, m)[patterns.to(torch.int64)]
    return _greedy_slots(patterns, n, m)


def _greedy_slots(patterns: Tensor, n: int, m: int) -> Tensor:
    table = binomials(n, m, patterns.device)
    rest = patterns.to(torch.int64)
    left = torch.full_like(rest, n)
    chosen = torch.zeros((patterns.numel(), m), dtype=torch.bool, device=patterns.device)
    for slot in reversed(range(m)):
        term = table[slot][left]
        take = (left > 0) & (rest >= term)
        chosen[:, slot] = take
        rest = rest - term * take
        left = left - take.to(torch.int64)
    return chosen


def product(u: Tensor, z: Tensor, shape: Shape, conv_scheme: str, dtype: torch.dtype) -> Tensor:
    """U Zᵀ, laid out as the weight is: [N]."""
    return from_matrix(outer_sum(u, z).to(theta_dtype(dtype)), shape, conv_scheme).reshape(-1)


def outer_sum(u: Tensor, z: Tensor) -> Tensor:
    """U Zᵀ: [m, n], float64, the same bits on every machine.

    Products of two float32 are exact in float64, and the sum over ranks runs in a fixed order; a matrix product would
    order it as the device likes.
    """
    total = u.new_zeros((u.shape[0], z.shape[0]), dtype=torch.float64)
    for left, right in zip(u.double().mT.contiguous(), z.double().mT.contiguous(), strict=True):
        if u.dtype == torch.float64:
            total += left[:, None] * right
        else:
            # In one pass, be it fused into one rounding or not: an exact product is not rounded anyway.
            total.addcmul_(left[:, None], right)
    return total


def moves(dims: int, conv_scheme: str) -> bool:
    """Do a kernel's rows go with the outputs in the matrix of a weight?"""
    return conv_scheme == "scheme_2" and dims >= 4


def from_matrix(matrix: Tensor, shape: Shape, conv_scheme: str) -> Tensor:
    """A weight from its matrix [m, n]: n × c·h·w, or for scheme_2 n·h × c·w."""
    if not moves(len(shape), conv_scheme):
        return matrix.reshape(shape)
    moved = (shape[0], shape[-2], *shape[1:-2], shape[-1])
    return matrix.reshape(moved).movedim(1, -2)


def add_up(deltas: Sequence[Tensor]) -> Tensor:
    """Σ_j Δ_j: [N], float64, added in order."""
    total = deltas[0].double()
    for delta in deltas[1:]:
        total = total + delta.double()
    return total
