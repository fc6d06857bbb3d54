"""Pruning with a codebook: at most κ weights stay, and those share k values.

Owns the alternation between survivors and codebook, and Θ as positions, indices and codebook.
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
from lctui.compression.codebooks import look_up, nearest
from lctui.compression.gaps import gap_bits
from lctui.compression.pruning import kept, largest, nonzeros
from lctui.compression.quantization import learn_codebook
from lctui.scheme.compressions import Prune
from lctui.scheme.storage import survivors_bits

STEPS = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class PrunedCodebook(Compressed):
    """θ as n survivors: `positions` [n], `indices` [n] into `codebook` [k]; every other weight is zero."""

    positions: Tensor
    indices: Tensor
    codebook: Tensor

    def flat(self) -> Tensor:
        zeros = self.codebook.new_zeros(self.n)
        return zeros.index_copy(0, self.positions, look_up(self.codebook, self.indices))

    @property
    def parameters(self) -> int:
        return self.positions.numel() + self.codebook.numel()

    @cached_property
    def bits(self) -> int:
        return survivors_bits(self.positions.numel(), self.codebook.numel()) + gap_bits(self.positions)

    @cached_property
    def multiplications(self) -> tuple[int, ...]:
        return nonzeros(self)

    def learned(self) -> dict[str, Any]:
        return {"nonzeros": self.positions.numel(), "codebook": self.codebook.tolist()}

    def parts(self) -> dict[str, Part]:
        return {
            "indices": Part(self.indices, "index", self.codebook.numel()),
            "codebook": Part(self.codebook, "float"),
            "positions": Part(self.positions, "gaps", self.n),
        }

    @classmethod
    def from_parts(
        cls, how: Prune, shapes: tuple[Shape, ...], tensors: Mapping[str, Tensor], dtype: torch.dtype, listed: bool
    ) -> PrunedCodebook:
        fields.expect(tensors, "indices", "codebook", "positions")
        k = how.k or 1
        entries = fields.codebook(tensors, "codebook", k, theta_dtype(dtype))
        positions = fields.positions(tensors, "positions", sum(map(math.prod, shapes)))
        indices = fields.indices(tensors, "indices", positions.numel(), k)
        return cls(
            how=how,
            shapes=shapes,
            dtype=dtype,
            listed=listed,
            positions=positions,
            indices=indices,
            codebook=entries,
        )


def prune_with_codebook(how: Prune, target: Target, v: Tensor, previous: Compressed | None) -> PrunedCodebook:
    """min ‖v − θ‖² s.t. ‖θ‖₀ ≤ κ and the non-zeros of θ take at most k values: a local optimum.

    Alternates optimal 1-D k-means of the survivors with the choice of survivors, the κ weights that gain most,
    v² − min_c (v − c)², until the error stops falling.  Starts from the κ largest magnitudes, and from the previous
    codebook; the better end is returned, so that it is never worse than the previous Θ.
    """
    kappa, k = kept(how.kappa, how.fraction, v.numel()), how.k or 1
    starts = [_fit(v, largest(v.abs(), kappa) & (v != 0), k)]
    if isinstance(previous, PrunedCodebook) and previous.how == how:
        starts.append(previous.codebook.to(device=v.device, dtype=v.dtype))
    codebook, survivors, _ = min((_alternate(v, start, kappa) for start in starts), key=lambda end: end[2])
    positions = survivors.nonzero().squeeze(1)
    return PrunedCodebook(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        positions=positions,
        indices=nearest(v[positions], codebook),
        codebook=codebook,
    )


def _alternate(v: Tensor, codebook: Tensor, kappa: int) -> tuple[Tensor, Tensor, float]:
    """The codebook, survivors [N] and negative gain that the alternation ends with."""
    survivors, gain = _survivors(v, codebook, kappa)
    for _ in range(STEPS):
        learned = _fit(v, survivors, codebook.numel())
        following, more = _survivors(v, learned, kappa)
        if not more > gain:
            break
        codebook, survivors, gain = learned, following, more
    return codebook, survivors, -gain


def _fit(v: Tensor, survivors: Tensor, k: int) -> Tensor:
    """The survivors' optimal codebook: [k]; zeros if there are none."""
    return learn_codebook(v[survivors], k) if bool(survivors.any()) else v.new_zeros(k)


def _survivors(v: Tensor, codebook: Tensor, kappa: int) -> tuple[Tensor, float]:
    """The κ weights that gain most from the codebook, if they gain at all: a mask [N]; and what they gain together."""
    exact, entry = v.double(), look_up(codebook, nearest(v, codebook)).double()
    gain = entry * (2 * exact - entry)  # v² − (v − c)², without cancellation
    survivors = largest(gain, kappa) & (gain > 0)
    return survivors, float(gain[survivors].sum())
