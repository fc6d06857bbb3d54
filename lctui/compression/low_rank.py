"""Low rank: a layer's matrix as a product of two thin ones, of a given rank or of the rank that pays.

Owns both reshapes of a convolution, the truncated SVD, the choice of the rank, and Θ as two factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lctui.compression import fields
from lctui.compression.base import Compressed, Part, Shape, Target, theta_dtype
from lctui.compression.deltas import moves, product
from lctui.compression.low_rank_leading import Wanted, leading
from lctui.scheme.compressions import LowRank
from lctui.scheme.flops import of_low_rank
from lctui.scheme.net import Layer, matrix_shape
from lctui.scheme.storage import low_rank_bits, low_rank_parameters

STRIPS = 4
"""Into so many strips a Gram matrix is cut; they take 5/8 of the multiplications that the whole would."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRankFactors(Compressed):
    """Δ(Θ) = U Zᵀ: `u` [m, r] and `z` [n, r], with the singular values' roots in both; float16 if stored so."""

    u: Tensor
    z: Tensor

    @property
    def rank(self) -> int:
        """r."""
        return self.u.shape[1]

    def flat(self) -> Tensor:
        return product(self.u, self.z, self.shapes[0], self.how.conv_scheme, self.dtype)

    @property
    def parameters(self) -> int:
        return low_rank_parameters(self.u.shape[0], self.z.shape[0], self.rank)

    @property
    def bits(self) -> int:
        return low_rank_bits(self.u.shape[0], self.z.shape[0], self.rank, self.how.bits)

    @property
    def multiplications(self) -> tuple[int, ...]:
        return (self.parameters,)

    def flops(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        return (of_low_rank(layers[0], self.rank, self.how.conv_scheme),)

    def learned(self) -> dict[str, Any]:
        return {"rank": self.rank}

    def parts(self) -> dict[str, Part]:
        return {"u": Part(self.u, "float"), "z": Part(self.z, "float")}

    @classmethod
    def from_parts(
        cls, how: LowRank, shapes: tuple[Shape, ...], tensors: Mapping[str, Tensor], dtype: torch.dtype, listed: bool
    ) -> LowRankFactors:
        fields.expect(tensors, "u", "z")
        rows, columns = matrix_shape(_single(shapes), how.conv_scheme)
        u = fields.floats(tensors, "u", (rows, None), factor_dtype(how, dtype))
        z = fields.floats(tensors, "z", (columns, u.shape[1]), factor_dtype(how, dtype))
        if u.shape[1] > min(rows, columns):
            raise ValueError(f"u has rank {u.shape[1]}, a {rows}×{columns} matrix has at most {min(rows, columns)}")
        return cls(how=how, shapes=shapes, dtype=dtype, listed=listed, u=u, z=z)


def low_rank(
    how: LowRank,
    target: Target,
    v: Tensor,
    mu: float,
    pixels: int,
    energy: float | None = None,
    previous: Compressed | None = None,
) -> LowRankFactors:
    """min ‖V − U Zᵀ‖_F s.t. rank ≤ r, or min over r of α·C(r) + μ/2·‖V − V_r‖²_F [/‖V‖²_F].

    Exact to the precision of the weights (Eckart-Young): float32 weights by eigenvectors of the smaller Gram matrix
    in float64, only the leading ones where that is cheaper; float64 weights by an SVD.  A rank beyond min(m, n) means
    full rank; a zero matrix has rank 0.

    Args:
        v: [N], the target in Θ's dtype.
        mu: μ > 0 for rank "auto"; a given rank does not use it.
        pixels: outputs that each weight is used for; a factor of C(r) when FLOPs are what counts.
        energy: what ‖·‖²_F is divided by under `normalize`; ‖V‖²_F itself when left out.
        previous: factors to start from, which may make it quicker.

    Source: Idelbayev & Carreira-Perpiñán, CVPR 2020, eq. (5) and theorem 2.
    """
    matrix = to_matrix(v.reshape(_single(target.shapes)), how.conv_scheme)  # [m, n]
    known = previous if isinstance(previous, LowRankFactors) and previous.shapes == target.shapes else None
    if known is not None and known.how.conv_scheme != how.conv_scheme:
        known = None
    u, s, z = truncated_svd(matrix, wanted_values(how, matrix, mu, pixels, energy), known)
    root = s.sqrt()
    dtype = factor_dtype(how, target.dtype)
    return LowRankFactors(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        u=_rounded(u * root, dtype),
        z=_rounded(z * root, dtype),
    )


def wanted_values(how: LowRank, matrix: Tensor, mu: float, pixels: int, energy: float | None = None) -> Wanted:
    """Which squared singular values the solution keeps.

    The rank is given, or argmin over r = 0..min(m, n) of α·C(r) + μ/2·Σ_{i>r} s_i² [/‖V‖²_F], ties to the smaller r.
    C(r) is linear in r and the s_i fall: every s_i² is kept that saves more than a rank costs.
    """
    full = min(matrix.shape)
    if isinstance(how.rank, int):
        return Wanted(min(how.rank, full))
    norm = 1.0
    if how.normalize:
        norm = float(matrix.double().square().sum()) if energy is None else energy
    return Wanted(full, 2 * rank_price(how, matrix.shape, pixels) * (norm if norm > 0 else 1.0) / mu)


def rank_price(how: LowRank, shape: tuple[int, ...], pixels: int) -> float:
    """α·C(1): what each rank of an m × n matrix costs; C(r) = r(m + n), times the output pixels for FLOPs."""
    uses = pixels if how.criterion == "flops" else 1
    return (how.alpha or 0.0) * low_rank_parameters(shape[0], shape[1], 1) * uses


def truncated_svd(matrix: Tensor, wanted: Wanted, known: LowRankFactors | None) -> tuple[Tensor, Tensor, Tensor]:
    """U [m, r], s [r], Z [n, r], float64, s falling: V's singular triplets whose s² are wanted; none if V is zero."""
    if matrix.shape[0] > matrix.shape[1]:
        turned = None if known is None else replace(known, u=known.z, z=known.u)
        z, s, u = truncated_svd(matrix.mT, wanted, turned)
        return u, s, z
    wide = matrix.double()
    if matrix.dtype == torch.float64:
        u, s, zt = torch.linalg.svd(wide, full_matrices=False)
        z = zt.mT
    else:
        gram = gram_matrix(wide)
        expected = wanted.most if wanted.above < 0 else (known.rank if known is not None else 12)
        found = leading(gram, wanted, expected, None if known is None else known.u.double().mT)
        u = all_eigenvectors(gram) if found is None else found
        projected = wide.mT @ u  # [n, p], columns s·z
        s = torch.linalg.vector_norm(projected, dim=0)
        z = projected / torch.where(s > 0, s, 1)
    rank = wanted.count(s.square().tolist()) if bool(s.any()) else 0
    return u[:, :rank], s[:rank], z[:, :rank]


def all_eigenvectors(gram: Tensor) -> Tensor:
    """The eigenvectors of G: [p, p], those of the largest eigenvalues first."""
    return torch.linalg.eigh(gram).eigenvectors.flip(1)


def improved(theta: LowRankFactors, v: Tensor) -> LowRankFactors:
    """Factors of the same rank that fit v [N] no worse, up to their rounding: one step of orthogonal iteration.

    The least-squares U for the old Z, then the least-squares Z for U's span: far cheaper than the best factors, and
    close to them if the old ones were good for nearly the same v.
    """
    matrix = to_matrix(v.reshape(theta.shapes[0]), theta.how.conv_scheme).double()  # [m, n]
    span = torch.linalg.qr((theta.z.double().mT @ matrix.mT).mT).Q  # [m, r]
    projected = span.mT @ matrix  # [r, n]
    squares, turn = torch.linalg.eigh(projected @ projected.mT)
    root = squares.clamp_min(0).sqrt().sqrt()
    u = span @ (turn * root)
    z = projected.mT @ (turn / torch.where(root > 0, root, 1))
    return replace(theta, u=_rounded(u.flip(1), theta.u.dtype), z=_rounded(z.flip(1), theta.z.dtype))


def gram_matrix(wide: Tensor) -> Tensor:
    """V Vᵀ: [p, p], by strips below the diagonal, since it is symmetric."""
    p = wide.shape[0]
    gram = wide.new_empty((p, p))
    for low in range(0, p, -(-p // STRIPS)):
        rows = wide[low : low + -(-p // STRIPS)]
        high = low + rows.shape[0]
        gram[low:high, :high] = rows @ wide[:high].mT
        gram[:low, low:high] = gram[low:high, :low].mT
    return gram


def to_matrix(weight: Tensor, conv_scheme: str) -> Tensor:
    """A weight as a matrix [m, n]: n × c·h·w, or for scheme_2 n·h × c·w."""
    moved = weight.movedim(-2, 1) if moves(weight.dim(), conv_scheme) else weight
    return moved.reshape(matrix_shape(tuple(weight.shape), conv_scheme))


def factor_dtype(how: LowRank, dtype: torch.dtype) -> torch.dtype:
    """What the factors are stored in."""
    return torch.float16 if how.bits == 16 else theta_dtype(dtype)


def _single(shapes: tuple[Shape, ...]) -> Shape:
    if len(shapes) != 1:
        raise ValueError(f"low rank compresses one layer's matrix, this task holds {len(shapes)} tensors")
    return shapes[0]


def _rounded(factor: Tensor, dtype: torch.dtype) -> Tensor:
    limit = torch.finfo(dtype).max
    return factor.clamp(-limit, limit).to(dtype).contiguous()
