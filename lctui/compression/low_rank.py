"""Low rank: a layer's matrix as a product of two thin ones, of a given rank or of the rank that pays.

Owns both reshapes of a convolution, the truncated SVD, the choice of the rank, and Θ as two factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lctui.compression import fields
from lctui.compression.base import Compressed, Part, Shape, Target, theta_dtype
from lctui.scheme.compressions import LowRank
from lctui.scheme.net import matrix_shape
from lctui.scheme.storage import low_rank_bits, low_rank_parameters


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
        product = outer_sum(self.u, self.z).to(theta_dtype(self.dtype))
        return from_matrix(product, self.shapes[0], self.how.conv_scheme).reshape(-1)

    @property
    def parameters(self) -> int:
        return low_rank_parameters(self.u.shape[0], self.z.shape[0], self.rank)

    @property
    def bits(self) -> int:
        return low_rank_bits(self.u.shape[0], self.z.shape[0], self.rank, self.how.bits)

    @property
    def multiplications(self) -> tuple[int, ...]:
        return (self.parameters,)

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
    how: LowRank, target: Target, v: Tensor, mu: float, pixels: int, energy: float | None = None
) -> LowRankFactors:
    """min ‖V − U Zᵀ‖_F s.t. rank ≤ r, or min over r of α·C(r) + μ/2·‖V − V_r‖²_F [/‖V‖²_F].

    Exact to the precision of the weights (Eckart-Young): float32 weights by the eigenvectors of the smaller Gram
    matrix in float64, float64 weights by an SVD.  A rank beyond min(m, n) means full rank; a zero matrix has rank 0.

    Args:
        v: [N], the target in Θ's dtype.
        mu: μ > 0 for rank "auto"; a given rank does not use it.
        pixels: outputs that each weight is used for; a factor of C(r) when FLOPs are what counts.
        energy: what ‖·‖²_F is divided by under `normalize`; ‖V‖²_F itself when left out.

    Source: Idelbayev & Carreira-Perpiñán, CVPR 2020, eq. (5) and theorem 2.
    """
    matrix = to_matrix(v.reshape(_single(target.shapes)), how.conv_scheme)  # [m, n]
    u, s, z = svd(matrix)
    rank = min(how.rank, s.numel()) if isinstance(how.rank, int) else best_rank(how, matrix, s, mu, pixels, energy)
    if not bool(s.any()):
        rank = 0
    root = s[:rank].sqrt()
    dtype = factor_dtype(how, target.dtype)
    return LowRankFactors(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        u=_rounded(u[:, :rank] * root, dtype),
        z=_rounded(z[:, :rank] * root, dtype),
    )


def best_rank(how: LowRank, matrix: Tensor, s: Tensor, mu: float, pixels: int, energy: float | None = None) -> int:
    """argmin over r = 0..min(m, n) of α·C(r) + μ/2·Σ_{i>r} s_i² [/‖V‖²_F], ties to the smaller r."""
    left = torch.nn.functional.pad(s.double().square().flip(0).cumsum(0).flip(0), (0, 1))  # [min(m, n) + 1]
    if how.normalize:
        norm = float(left[0]) if energy is None else energy
        left = left / norm if norm > 0 else left
    ranks = torch.arange(left.numel(), dtype=torch.float64, device=left.device)
    return int((rank_price(how, matrix.shape, pixels) * ranks + mu / 2 * left).argmin())


def rank_price(how: LowRank, shape: tuple[int, ...], pixels: int) -> float:
    """α·C(1): what each rank of an m × n matrix costs; C(r) = r(m + n), times the output pixels for FLOPs."""
    uses = pixels if how.criterion == "flops" else 1
    return (how.alpha or 0.0) * low_rank_parameters(shape[0], shape[1], 1) * uses


def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U [m, p], s [p], Z [n, p] with V = U diag(s) Zᵀ and p = min(m, n), in float64, s falling."""
    if matrix.dtype == torch.float64:
        u, s, zt = torch.linalg.svd(matrix, full_matrices=False)
        return u, s, zt.mT
    if matrix.shape[0] > matrix.shape[1]:
        z, s, u = svd(matrix.mT)
        return u, s, z
    wide = matrix.double()
    u = torch.linalg.eigh(wide @ wide.mT).eigenvectors.flip(1)
    projected = wide.mT @ u  # [n, p], columns s·z
    s = torch.linalg.vector_norm(projected, dim=0)
    return u, s, projected / torch.where(s > 0, s, 1)


def outer_sum(u: Tensor, z: Tensor) -> Tensor:
    """U Zᵀ: [m, n], float64, the same bits on every machine.

    Products of two float32 are exact in float64, and the sum over ranks runs in a fixed order; a matrix product would
    order it as the device likes.
    """
    total = u.new_zeros((u.shape[0], z.shape[0]), dtype=torch.float64)
    for left, right in zip(u.double().unbind(1), z.double().unbind(1), strict=True):
        total += left[:, None] * right
    return total


def to_matrix(weight: Tensor, conv_scheme: str) -> Tensor:
    """A weight as a matrix [m, n]: n × c·h·w, or for scheme_2 n·h × c·w."""
    moved = weight.movedim(-2, 1) if _moves(weight.dim(), conv_scheme) else weight
    return moved.reshape(matrix_shape(tuple(weight.shape), conv_scheme))


def from_matrix(matrix: Tensor, shape: Shape, conv_scheme: str) -> Tensor:
    """The inverse of `to_matrix`."""
    if not _moves(len(shape), conv_scheme):
        return matrix.reshape(shape)
    moved = (shape[0], shape[-2], *shape[1:-2], shape[-1])
    return matrix.reshape(moved).movedim(1, -2)


def factor_dtype(how: LowRank, dtype: torch.dtype) -> torch.dtype:
    """What the factors are stored in."""
    return torch.float16 if how.bits == 16 else theta_dtype(dtype)


def _moves(dims: int, conv_scheme: str) -> bool:
    return conv_scheme == "scheme_2" and dims >= 4


def _single(shapes: tuple[Shape, ...]) -> Shape:
    if len(shapes) != 1:
        raise ValueError(f"low rank compresses one layer's matrix, this task holds {len(shapes)} tensors")
    return shapes[0]


def _rounded(factor: Tensor, dtype: torch.dtype) -> Tensor:
    limit = torch.finfo(dtype).max
    return factor.clamp(-limit, limit).to(dtype).contiguous()
