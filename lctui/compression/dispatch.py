"""The C step: which solver answers for which compression, and the checks that all of them share.

Owns the two entry points, `c_step` and its counterpart for stored Θ, `restore`.  Solves nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lctui.compression.additive import Additive, add
from lctui.compression.base import Compressed, Shape, Target, theta_dtype
from lctui.compression.codebooks import GivenCodebook, LearnedCodebook
from lctui.compression.low_rank import LowRankFactors, low_rank
from lctui.compression.pruning import Pruned, prune
from lctui.compression.pruning_codebook import PrunedCodebook, prune_with_codebook
from lctui.compression.pruning_groups import PrunedNM, PrunedStructured, prune_n_m, prune_structured
from lctui.compression.quantization import quantize
from lctui.scheme.compressions import (
    Block,
    LowRank,
    Prune,
    PruneNM,
    PruneStructured,
    QuantizeAdaptive,
    QuantizeBinary,
    QuantizeFixed,
    QuantizePowersOfTwo,
    QuantizeTernary,
    members,
)


def c_step(
    how: Block | Sequence[Block],
    v: Tensor | Sequence[Tensor],
    mu: float,
    *,
    pixels: int = 1,
    previous: Compressed | None = None,
) -> Compressed:
    """Θ = argmin ‖v − Δ(Θ)‖² under the compression `how`, or with its penalty, weighted by μ.

    A pure function: v is not changed and equal inputs give equal outputs.  Counts too large are clamped: κ ≥ N keeps
    v, a rank beyond min(m, n) is full rank.

    Args:
        how: one compression, or several: their sum.
        v: the target w − λ/μ, a float tensor, or a list of them: a joint task.  Any device, dtype and memory format.
        mu: μ; penalties and automatic ranks need μ > 0, nothing else looks at it.
        pixels: output pixels of the layer, which an automatic rank under the criterion "flops" counts.
        previous: Θ of the same task's last C step.  Where the algorithm alternates (sums, codebooks of survivors) it
            is a further start, and the result is at least as good for v; exact solvers may start from it, and find
            the same without.

    Raises:
        ValueError: v is empty or not finite, μ ≤ 0 where it matters, or several tensors for low rank.
        TypeError: v is not made of floating-point tensors.
    """
    target = Target.of(v)
    flat = _checked(target.flat()).to(theta_dtype(target.dtype))
    hows = members(how if isinstance(how, Block) else tuple(how))
    for one in hows:
        _check_mu(one, mu)

    def solve(one: Block, rest: Tensor, before: Compressed | None, energy: float | None) -> Compressed:
        return _solve(one, target, rest.to(flat.dtype), mu, pixels, before, energy)

    if len(hows) == 1:
        return solve(hows[0], flat, previous, None)
    return add(hows, target, flat, mu, pixels, previous, solve)


def restore(
    how: Block | Sequence[Block],
    shapes: Sequence[Shape],
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float32,
    listed: bool = False,
) -> Compressed:
    """Θ from the tensors of `Compressed.parts()`.

    Raises:
        ValueError: the tensors do not describe such a Θ (names, shapes, ranges, order, finiteness).
    """
    hows = members(how if isinstance(how, Block) else tuple(how))
    shapes = tuple(tuple(shape) for shape in shapes)
    if not shapes or (len(shapes) > 1 and not listed):
        raise ValueError(f"a task of {len(shapes)} tensors cannot be {'a list' if listed else 'one tensor'}")
    if any(size < 0 for shape in shapes for size in shape):
        raise ValueError(f"shapes {shapes} hold negative sizes")
    if len(hows) > 1:
        return Additive.from_parts(hows, shapes, tensors, dtype, listed)
    return _theta(hows[0]).from_parts(hows[0], shapes, tensors, dtype, listed)


def _solve(
    how: Block,
    target: Target,
    v: Tensor,
    mu: float,
    pixels: int,
    previous: Compressed | None,
    energy: float | None,
) -> Compressed:
    if isinstance(how, Prune):
        return prune(how, target, v, mu) if how.k is None else prune_with_codebook(how, target, v, previous)
    if isinstance(how, PruneStructured):
        return prune_structured(how, target, v)
    if isinstance(how, PruneNM):
        return prune_n_m(how, target, v)
    if isinstance(how, LowRank):
        return low_rank(how, target, v, mu, pixels, energy, previous)
    if isinstance(how, QuantizeAdaptive | QuantizeFixed | QuantizePowersOfTwo | QuantizeBinary | QuantizeTernary):
        return quantize(how, target, v)
    raise TypeError(f"{type(how).__name__} is no compression")


def _theta(how: Block) -> type[Compressed]:
    """The form that Θ has under a compression."""
    if isinstance(how, Prune):
        return Pruned if how.k is None else PrunedCodebook
    kinds: dict[type[Block], type[Compressed]] = {
        PruneStructured: PrunedStructured,
        PruneNM: PrunedNM,
        LowRank: LowRankFactors,
        QuantizeAdaptive: LearnedCodebook,
    }
    return kinds.get(type(how), GivenCodebook)


def _checked(flat: Tensor) -> Tensor:
    if flat.numel() == 0:
        raise ValueError("v has no weights")
    # The extremes are NaN if any value is.
    if not bool(torch.isfinite(torch.stack(flat.aminmax())).all()):
        bad = int((~torch.isfinite(flat)).sum())
        raise ValueError(f"v has {bad} of {flat.numel()} values that are NaN or infinite: it must be finite")
    return flat


def _check_mu(how: Block, mu: float) -> None:
    """Penalties are weighed against the error by μ: without it their solution is the zero net."""
    penalized = (isinstance(how, Prune) and how.alpha is not None) or (isinstance(how, LowRank) and how.rank == "auto")
    if penalized and not (mu > 0 and math.isfinite(mu)):
        raise ValueError(f"mu is {mu}: a penalty needs a finite mu > 0")
