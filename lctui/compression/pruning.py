"""Pruning: C steps whose solution is sparse, and Θ as the survivors' values and positions.

Owns the ℓ0 and ℓ1 norms, as constraint and as penalty.  Groups are in `pruning_groups`, survivors that share a
codebook in `pruning_codebook`.  All four solutions are exact and none needs a start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from lctui.compression import fields
from lctui.compression.base import Compressed, Part, Shape, Target, theta_dtype
from lctui.compression.deltas import sparse
from lctui.compression.order import kth_largest
from lctui.scheme.compressions import Prune


@dataclass(frozen=True, kw_only=True, eq=False)
class Pruned(Compressed):
    """θ as its non-zeros: `values` [n] and `positions` [n] in the flattened task; a value of zero is never stored."""

    values: Tensor
    positions: Tensor

    def flat(self) -> Tensor:
        return sparse(self.positions, self.values, self.n)

    @property
    def parameters(self) -> int:
        return self.values.numel()

    @cached_property
    def bits(self) -> int:
        return sum(part.bits for part in self.parts().values())

    @cached_property
    def multiplications(self) -> tuple[int, ...]:
        ends = torch.tensor(list(accumulate(map(math.prod, self.shapes))), device=self.positions.device)
        return tuple(torch.searchsorted(self.positions, ends).diff(prepend=ends.new_zeros(1)).tolist())

    def learned(self) -> dict[str, Any]:
        return {"nonzeros": self.values.numel()}

    def parts(self) -> dict[str, Part]:
        return {
            "values": Part(self.values, "float"),
            "positions": Part.of_positions(self.positions, self.shapes, self.how.code),
        }

    @classmethod
    def from_parts(
        cls, how: Prune, shapes: tuple[Shape, ...], tensors: Mapping[str, Tensor], dtype: torch.dtype, listed: bool
    ) -> Pruned:
        fields.expect(tensors, "values", "positions")
        positions = fields.positions(tensors, "positions", sum(map(math.prod, shapes)))
        values = fields.floats(tensors, "values", (positions.numel(),), theta_dtype(dtype))
        return cls(how=how, shapes=shapes, dtype=dtype, listed=listed, values=values, positions=positions)

    @classmethod
    def of(cls, how: Prune, target: Target, theta: Tensor) -> Pruned:
        """Θ of a sparse vector θ: [N]."""
        # Rounded first: a double that is zero as a float is no survivor.
        theta = theta.to(theta_dtype(target.dtype))
        positions = theta.nonzero().squeeze(1)
        return cls(
            how=how,
            shapes=target.shapes,
            dtype=target.dtype,
            listed=target.listed,
            values=theta[positions],
            positions=positions,
        )


def nonzeros(theta: Compressed) -> tuple[int, ...]:
    """Non-zero weights in every tensor of the task."""
    return tuple(int(torch.count_nonzero(piece)) for piece in theta.pieces(theta.flat()))


def prune(how: Prune, target: Target, v: Tensor, mu: float) -> Pruned:
    """The C step of pruning without a codebook.

    Args:
        v: [N], the target in Θ's dtype.
        mu: μ > 0 for the penalties; the constraints do not use it.
    """
    if how.alpha is not None:
        theta = soft_threshold(v, how.alpha / mu) if how.norm == "l1" else hard_threshold(v, 2 * how.alpha / mu)
    elif how.norm == "l1":
        theta = l1_ball(v, float(how.kappa or 0))
    else:
        theta = torch.where(largest(v.abs(), kept(how.kappa, how.fraction, v.numel())), v, 0)
    return Pruned.of(how, target, theta)


def kept(kappa: float | None, fraction: float | None, n: int) -> int:
    """κ: how many of n may stay, from a count or a fraction."""
    return round(fraction * n) if fraction is not None else min(int(kappa or 0), n)


def largest(score: Tensor, kappa: int) -> Tensor:
    """The κ entries of largest score, ties by lowest index: a mask [N].  Selects, without sorting all."""
    if kappa <= 0 or kappa >= score.numel():
        return torch.full_like(score, kappa > 0, dtype=torch.bool)
    threshold = kth_largest(score, kappa)
    keep = score >= threshold
    surplus = int(torch.count_nonzero(keep)) - kappa
    if surplus:
        keep[(score == threshold).nonzero().squeeze(1)[-surplus:]] = False
    return keep


def hard_threshold(v: Tensor, cut: float) -> Tensor:
    """argmin over θ of ‖v − θ‖² + cut·‖θ‖₀: v where v² > cut, else 0.  The ℓ0 penalty has cut = 2α/μ."""
    return torch.where(v.abs().double() > math.sqrt(cut), v, 0)


def soft_threshold(v: Tensor, tau: float) -> Tensor:
    """argmin over θ of ½‖v − θ‖² + τ‖θ‖₁: v shrunk by τ towards zero, in float64.  The ℓ1 penalty has τ = α/μ."""
    v = v.double()
    return v.sign() * (v.abs() - tau).clamp_min(0)


def l1_ball(v: Tensor, kappa: float) -> Tensor:
    """argmin over θ of ‖v − θ‖² s.t. ‖θ‖₁ ≤ κ: Euclidean projection on the ℓ1 ball (Duchi et al. 2008).

    A soft threshold at the τ that makes ‖θ‖₁ = κ, found without sorting (Michelot 1986); exact: ‖θ‖₁
    meets κ to float precision whenever ‖v‖₁ > κ.

    Args:
        v: [N].
        kappa: the ball's radius, in the weights' unit.

    Returns:
        θ: [N], float64, or v itself if it lies in the ball.
    """
    if float(v.abs().double().sum()) <= kappa:
        return v
    if kappa == 0:
        return torch.zeros_like(v)
    # Newton's method on ‖θ(τ)‖₁ = κ, convex and piecewise linear in τ: what falls below one τ falls below all later.
    above = v.abs().double()
    while True:
        active = above.numel()
        tau = (float(above.sum()) - kappa) / active
        above = above[above > tau]
        if above.numel() in (0, active):
            break
    theta = soft_threshold(v, tau)
    # One more step, on the whole vector, removes what rounding left.
    return soft_threshold(v, tau + (float(theta.abs().sum()) - kappa) / active)
