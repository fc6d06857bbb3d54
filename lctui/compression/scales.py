"""The best scale of a codebook {0, ±l₁, …, ±l_L}: exact, however many levels there are.

Owns the search over all assignments that a scale can lead to, by branch and bound.  Knows nothing of Θ.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from lctui.compression.order import ascending

CHUNK = 1 << 18
"""Changes of level that are examined together: bounds the memory."""
CELLS = (1 << 11, 1 << 16)
"""Into about so many cells the scales are divided, at first and where the best may be."""


def best_scale(v: Tensor, levels: Tensor) -> Tensor:
    """argmin over a ≥ 0 of Σᵢ min_l (|vᵢ| − a·l)², the global optimum up to float64 rounding.

    As a grows from 0, a weight drops from one level to the next below when a·(their middle) passes its magnitude, so
    that only N·L assignments ever are nearest.  An assignment's best scale is p/q with p = Σ|vᵢ|lᵢ and q = Σlᵢ²; it
    lowers the error by p²/q; at any a it lowers it by 2ap − a²q.  Both p and q fall as a grows: between a₁ and a₂
    nothing gains more than the largest 2ap(a₁) − a²q(a₂) there.  Ranges of scales where that is less than some scale
    gains are set aside, which leaves few; in those, all assignments are examined, in the order of the scales at which
    they change, by running sums.

    Args:
        v: [N].
        levels: [L + 1], float64, ascending from 0.

    Returns:
        a: [], float64; 0 if every weight is.
    """
    search = _Search(v, levels)
    if search.magnitudes.numel() == 0:
        return torch.zeros((), dtype=torch.float64, device=v.device)
    gains, scales = zip(*(search.examined(*some) for some in search.batches()), strict=True)
    return _smallest_of_the_best(torch.stack(gains), torch.stack(scales))[1]


def _smallest_of_the_best(gains: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """A scale that gains most, and its gain: scales often tie, a and a/2, and rounding shall not decide."""
    best = torch.where(gains >= gains.max() * (1 - 1e-12), scales, torch.inf).argmin()
    return gains[best], scales[best]


class _Search:
    def __init__(self, v: Tensor, levels: Tensor) -> None:
        self.levels = levels
        self.middles = (levels[1:] + levels[:-1]) / 2
        # Weights of zero stay at level zero whatever the scale.
        self.magnitudes = ascending(v[v != 0].abs()).double()
        self.sums = pad(self.magnitudes.cumsum(0), (1, 0))

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Ranges of scales that hold the best, some at a time, falling.

        A range is given by how many magnitudes lie below each level's middle at either end: [ranges, L] twice.
        """
        top = self.magnitudes[-1:] / self.middles[0]
        scales = torch.cat((torch.zeros_like(top), top))
        alive = torch.ones(1, dtype=torch.bool, device=top.device)
        for cells in CELLS:
            # Every so many magnitudes: no cell holds many changes.
            step = -(-self.magnitudes.numel() * self.middles.numel() // cells)
            finer = (self.magnitudes[step::step, None] / self.middles).reshape(-1)
            finer = finer[alive[torch.searchsorted(scales[1:-1], finer)]]
            scales = ascending(torch.cat((scales, finer)))
            below, alive = self.cells(scales)
        where = alive.nonzero().squeeze(1).flip(0)
        low, high = below[where], below[where + 1]
        batch = (high - low).sum(1).cumsum(0) // CHUNK
        sizes = batch.unique_consecutive(return_counts=True)[1].tolist()
        return list(zip(low.split(sizes), high.split(sizes), strict=True))

    def cells(self, scales: Tensor) -> tuple[Tensor, Tensor]:
        """The counts [cells + 1, L] at either end of each cell between these scales, and which may hold the best."""
        below = torch.searchsorted(self.magnitudes, scales[:, None] * self.middles, right=True)
        below[0], below[-1] = 0, self.magnitudes.numel()
        p, q = self.state(below)
        gained = (scales * (2 * p - scales * q)).max()
        best = torch.minimum(p[:-1] / q[1:], scales[1:])
        # By more than the running sums' rounding: an assignment as good is not set aside.
        return below, best * (2 * p[:-1] - best * q[1:]) >= gained * (1 - 1e-9)

    def examined(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The largest p²/q in some ranges of scales, and the scale p/q that has it."""
        count = (high - low).reshape(-1)
        ends = count.cumsum(0)
        # Every change of level: of which range, to the level below which middle, of which magnitude.
        place = torch.arange(count.numel(), device=low.device).repeat_interleave(count)
        offset = torch.arange(place.numel(), device=low.device) - (ends - count)[place]
        dropped = self.magnitudes[low.reshape(-1)[place] + offset]
        level = place % self.middles.numel()
        # From the largest scale downwards p and q only grow: a small q is not lost in the rounding of a large one.
        order = (dropped / self.middles[level]).argsort(stable=True, descending=True)
        order = order[(place // self.middles.numel())[order].argsort(stable=True)]
        dropped, level = dropped[order], level[order]
        p_high, q_high = self.state(high)
        within = torch.arange(high.shape[0], device=low.device).repeat_interleave((high - low).sum(1))
        before = pad((high - low).sum(1).cumsum(0), (1, 0))[:-1]
        p = pad((dropped * self.levels.diff()[level]).cumsum(0), (1, 0))
        q = pad(self.levels.square().diff()[level].cumsum(0), (1, 0))
        # At each range's upper end, and after each change in it.
        p = torch.cat((p_high, (p_high - p[before])[within] + p[1:]))
        q = torch.cat((q_high, (q_high - q[before])[within] + q[1:]))
        return _smallest_of_the_best(torch.where(q > 0, p.square() / q, -1), p / q)

    def state(self, below: Tensor) -> tuple[Tensor, Tensor]:
        """p and q with `below[…, j]` magnitudes under the middle of levels j and j + 1."""
        ends = pad(pad(below, (1, 0)), (0, 1), value=self.magnitudes.numel())
        return self.sums[ends].diff() @ self.levels, ends.diff().double() @ self.levels.square()
