"""The best scale of a codebook {0, ±l₁, …, ±l_L}: exact, however many levels there are.

Owns the search over all assignments that a scale can lead to.  Knows nothing of Θ.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

CHUNK = 1 << 15
"""At most so many weights change level within one chunk of scales, for each level: bounds the memory."""


def best_scale(v: Tensor, levels: Tensor) -> Tensor:
    """argmin over a ≥ 0 of Σᵢ min_l (|vᵢ| − a·l)², the global optimum up to float64 rounding.

    As a grows from 0, a weight drops from one level to the next below when a·(their middle) passes its magnitude, so
    that only N·L assignments ever are nearest.  An assignment's best scale is p/q with p = Σ|vᵢ|lᵢ and q = Σlᵢ²; it
    lowers the error by p²/q.  All are examined, in the order of the scales at which they change, by running sums.
    Takes O(N·L·log N) time.

    Args:
        v: [N].
        levels: [L + 1], float64, ascending from 0.

    Returns:
        a: [], float64; 0 if every weight is.
    """
    search = _Search(v, levels)
    if search.magnitudes.numel() == 0:
        return torch.zeros((), dtype=torch.float64, device=v.device)
    gains, scales = zip(*(search.chunk(low, high) for low, high in search.chunks()), strict=True)
    return torch.stack(scales)[torch.stack(gains).argmax()]


class _Search:
    def __init__(self, v: Tensor, levels: Tensor) -> None:
        self.levels = levels
        self.middles = (levels[1:] + levels[:-1]) / 2
        # Weights of zero stay at level zero whatever the scale.
        self.magnitudes = v[v != 0].abs().sort().values.double()
        self.sums = pad(self.magnitudes.cumsum(0), (1, 0))

    def chunks(self) -> list[tuple[Tensor, Tensor]]:
        """For successive ranges of scales, how many magnitudes lie below each level's middle at either end."""
        ends = (self.magnitudes[CHUNK::CHUNK, None] / self.middles).reshape(-1).sort().values
        below = torch.searchsorted(self.magnitudes, ends[:, None] * self.middles, right=True)
        below = pad(below, (0, 0, 1, 1))
        below[-1] = self.magnitudes.numel()
        return list(pairwise(below))

    def chunk(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The largest p²/q in one range of scales, and the scale p/q that has it."""
        spans = list(enumerate(zip(low.tolist(), high.tolist(), strict=True)))
        dropped = torch.cat([self.magnitudes[start:stop] for _, (start, stop) in spans])
        level = torch.cat([torch.full((stop - start,), j, device=low.device) for j, (start, stop) in spans])
        # From the largest scale downwards p and q only grow: a small q is not lost in the rounding of a large one.
        order = (dropped / self.middles[level]).argsort(stable=True, descending=True)
        dropped, level = dropped[order], level[order]
        p, q = self.state(high)
        p = p + pad((dropped * self.levels.diff()[level]).cumsum(0), (1, 0))
        q = q + pad(self.levels.square().diff()[level].cumsum(0), (1, 0))
        gain = torch.where(q > 0, p.square() / q, -1)
        best = gain.argmax()
        return gain[best], p[best] / q[best]

    def state(self, below: Tensor) -> tuple[Tensor, Tensor]:
        """p and q with `below[j]` magnitudes under the middle of levels j and j + 1."""
        cuts = torch.cat((below.new_zeros(1), below, below.new_full((1,), self.magnitudes.numel())))
        return self.sums[cuts].diff() @ self.levels, cuts.diff().double() @ self.levels.square()
