"""Quantization: the C steps of learned and given codebooks.

Owns which codebook or scale is best for each kind; all are exact and need no start.  How Θ is held, and how weights
are assigned, is in `codebooks`; optimal k-means in `kmeans`; the best scale of powers of two in `scales`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lctui.compression.base import Compressed, Target, theta_dtype
from lctui.compression.codebooks import Given, GivenCodebook, LearnedCodebook, entries_of, nearest
from lctui.compression.kmeans import codebook_of_sorted
from lctui.compression.order import ascending
from lctui.compression.pruning import largest
from lctui.compression.scales import best_scale
from lctui.scheme.compressions import (
    Quantize,
    QuantizeAdaptive,
    QuantizeBinary,
    QuantizeFixed,
    QuantizePowersOfTwo,
    QuantizeTernary,
)


def quantize(how: Quantize, target: Target, v: Tensor) -> Compressed:
    """The C step of quantization.

    Args:
        v: [N], the target in Θ's dtype.
    """
    if isinstance(how, QuantizeAdaptive):
        return _adaptive(how, target, v)
    if isinstance(how, QuantizeFixed):
        return _given(how, target, nearest(v, _fixed_entries(how, v)), None)
    if isinstance(how, QuantizeBinary):
        return _given(how, target, (v >= 0).to(torch.uint8), v.abs().double().mean() if how.scaled else None)
    if isinstance(how, QuantizeTernary):
        return _scaled_ternary(how, target, v) if how.scaled else _unscaled(how, target, v)
    return _scaled_powers(how, target, v) if how.scaled else _unscaled(how, target, v)


def learn_codebook(v: Tensor, k: int) -> Tensor:
    """argmin over c of Σᵢ min_j (vᵢ − c_j)²: [k], ascending, in v's dtype and on its device.

    The device sorts; boundaries are found on the CPU.
    """
    codebook = codebook_of_sorted(ascending(v.detach()).cpu().numpy(), k)
    return torch.from_numpy(codebook).to(v.dtype).to(v.device)


def _adaptive(how: QuantizeAdaptive, target: Target, v: Tensor) -> LearnedCodebook:
    codebook = learn_codebook(v, how.k)
    return LearnedCodebook(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        indices=nearest(v, codebook),
        codebook=codebook,
    )


def _given(how: Given, target: Target, indices: Tensor, scale: Tensor | None) -> GivenCodebook:
    return GivenCodebook(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        indices=indices,
        scale=None if scale is None else scale.reshape(1).to(theta_dtype(target.dtype)),
    )


def _unscaled(how: QuantizePowersOfTwo | QuantizeTernary, target: Target, v: Tensor) -> GivenCodebook:
    return _given(how, target, nearest(v, _entries(how, v)), None)


def _entries(how: Given, v: Tensor) -> Tensor:
    return torch.tensor(entries_of(how), dtype=torch.float64, device=v.device).to(v.dtype)


def _fixed_entries(how: QuantizeFixed, v: Tensor) -> Tensor:
    entries = _entries(how, v)
    if not bool(torch.isfinite(entries).all()):
        raise ValueError(f"values {list(how.values)} do not all fit {v.dtype}")
    return entries


def _scaled_ternary(how: QuantizeTernary, target: Target, v: Tensor) -> GivenCodebook:
    """min over a, θ in {−a, 0, a} of ‖v − θ‖²: exact (Carreira-Perpiñán & Idelbayev, part II, theorem A.3).

    With the j largest magnitudes kept, the best a is their mean and the error falls by (Σ of them)²/j: the j* that
    maximizes Σ/√j is best, ties to the smaller j, equal magnitudes by lowest index.
    """
    magnitude = v.abs()
    sums = ascending(magnitude).double().flip(0).cumsum(0)
    counts = torch.arange(1, v.numel() + 1, device=v.device, dtype=torch.float64)
    best = int((sums / counts.sqrt()).argmax())
    sign = torch.where(largest(magnitude, best + 1), v.sign(), 0)
    return _given(how, target, (1 + sign).to(torch.uint8), sums[best] / (best + 1))


def _scaled_powers(how: QuantizePowersOfTwo, target: Target, v: Tensor) -> GivenCodebook:
    """min over a ≥ 0, θ in a·{0, ±1, ±2⁻¹, …, ±2⁻ᶜ} of ‖v − θ‖²: exact, all scales are compared."""
    entries = _entries(how, v)
    scale = best_scale(v, entries[entries >= 0].double()).to(v.dtype)
    return _given(how, target, nearest(v, entries * scale), scale)
