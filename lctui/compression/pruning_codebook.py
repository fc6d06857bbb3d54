"""Pruning with a codebook: at most κ weights stay, and those share k values.

Owns the alternation between survivors and codebook, and Θ as positions, indices and codebook.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lctui.compression import fields
from lctui.compression.base import Compressed, Part, Shape, Target, theta_dtype
from lctui.compression.codebooks import nearest
from lctui.compression.deltas import look_up, sparse
from lctui.compression.kmeans import codebook_of_sorted
from lctui.compression.kmeans_sums import Floats
from lctui.compression.order import ascending
from lctui.compression.pruning import kept, largest, nonzeros
from lctui.scheme.compressions import Prune

STEPS = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class PrunedCodebook(Compressed):
    """θ as n survivors: `positions` [n], `indices` [n] into `codebook` [k]; every other weight is zero."""

    positions: Tensor
    indices: Tensor
    codebook: Tensor

    def flat(self) -> Tensor:
        return sparse(self.positions, look_up(self.codebook, self.indices), self.n)

    @property
    def parameters(self) -> int:
        return self.positions.numel() + self.codebook.numel()

    @cached_property
    def bits(self) -> int:
        return sum(part.bits for part in self.parts().values())

    @cached_property
    def multiplications(self) -> tuple[int, ...]:
        return nonzeros(self)

    def learned(self) -> dict[str, Any]:
        return {"nonzeros": self.positions.numel(), "codebook": self.codebook.tolist()}

    def parts(self) -> dict[str, Part]:
        return {
            "indices": Part.of_indices(self.indices, self.codebook.numel(), self.how.code),
            "codebook": Part(self.codebook, "float"),
            "positions": Part.of_positions(self.positions, self.shapes, self.how.code),
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
    tails = _Tails.of(ascending(v).cpu().numpy(), kappa)
    starts = [tails.fit(tails.chosen(np.abs(tails.values))[0], k, None)]
    if isinstance(previous, PrunedCodebook) and previous.how == how:
        starts.append(previous.codebook.to(device="cpu", dtype=v.dtype).numpy())
    found, _ = max((_alternate(tails, start) for start in starts), key=lambda end: end[1])
    codebook = torch.from_numpy(found).to(v.device)
    positions = _survivors(v, codebook, kappa).nonzero().squeeze(1)
    return PrunedCodebook(
        how=how,
        shapes=target.shapes,
        dtype=target.dtype,
        listed=target.listed,
        positions=positions,
        indices=nearest(v[positions], codebook),
        codebook=codebook,
    )


@dataclass(frozen=True)
class _Tails:
    """The weights that can survive, ascending: the κ least below zero and the κ largest above.

    A weight's gain, v² − min_c (v − c)² = max_c (2cv − c²), is convex in v and not positive at zero: from zero outwards
    it rises once it is positive.  Survivors are the first so many values and the last so many.
    """

    values: Floats
    below: int
    kappa: int

    @classmethod
    def of(cls, ordered: Floats, kappa: int) -> _Tails:
        negative, rest = np.searchsorted(ordered, 0), np.searchsorted(ordered, 0, side="right")
        low, high = ordered[:negative][:kappa], ordered[rest:][max(0, len(ordered) - rest - kappa) :]
        return cls(np.concatenate((low, high)), len(low), kappa)

    def chosen(self, gain: Floats) -> tuple[Floats, float]:
        """The at most κ values that gain most, and gain at all, ascending; and what they gain together."""
        gain = np.maximum(gain, 0)
        least = 0.0
        if len(gain) > self.kappa > 0:
            least = np.partition(gain, len(gain) - self.kappa)[len(gain) - self.kappa]
        more, equal = gain > least, (gain == least) & (gain > 0)
        equal &= np.cumsum(equal) <= self.kappa - np.count_nonzero(more)
        taken = more | equal
        return self.values[taken], float(gain[taken].sum())

    def gains(self, codebook: Floats) -> npt.NDArray[np.float64]:
        """What every value gains from the codebook: [len(values)]."""
        exact, entries = self.values.astype(np.float64), np.sort(codebook).astype(np.float64)
        ends = np.searchsorted(exact, (entries[1:] + entries[:-1]) / 2, side="right")
        entry = np.repeat(entries, np.diff(np.concatenate(([0], ends, [len(exact)]))))
        return entry * (2 * exact - entry)  # v² − (v − c)², without cancellation

    def fit(self, survivors: Floats, k: int, start: Floats | None) -> Floats:
        """The survivors' optimal codebook: [k]; zeros if there are none."""
        if len(survivors) == 0:
            return np.zeros(k, dtype=self.values.dtype)
        return codebook_of_sorted(survivors, k, start).astype(self.values.dtype)


def _alternate(tails: _Tails, codebook: Floats) -> tuple[Floats, float]:
    """The codebook that the alternation ends with, and the survivors' gain."""
    survivors, gain = tails.chosen(tails.gains(codebook))
    for _ in range(STEPS):
        learned = tails.fit(survivors, len(codebook), codebook)
        following, more = tails.chosen(tails.gains(learned))
        if not more > gain:
            break
        codebook, survivors, gain = learned, following, more
    return codebook, gain


def _survivors(v: Tensor, codebook: Tensor, kappa: int) -> Tensor:
    """The κ weights that gain most from the codebook, if they gain at all, ties by lowest index: a mask [N]."""
    exact, entry = v.double(), look_up(codebook, nearest(v, codebook)).double()
    gain = entry * (2 * exact - entry)
    return largest(gain, kappa) & (gain > 0)
