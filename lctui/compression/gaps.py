"""The gap code's size: how many bits the positions of a pruned task's survivors take.

Owns the choice of the symbol width and the exact count.  Writes no bytes: the artifact's encoder asks here for the
width, so that what is promised and what is written come from one rule.

Positions are coded by the gaps between them, the first from position −1, as symbols of b bits.  The symbol 2ᵇ − 1
says "advance by 2ᵇ − 1 and go on"; any other ends the gap.  A gap d thus takes e(d) = ⌊d / (2ᵇ − 1)⌋ + 1 symbols.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lctui.scheme.storage import GAP_WIDTHS


def gaps(positions: Tensor) -> Tensor:
    """d: [n], the distance of each position from the one before it, the first from −1."""
    positions = positions.to(torch.int64)
    return torch.diff(positions, prepend=positions.new_full((1,), -1))


def gap_code(positions: Tensor) -> tuple[int, int]:
    """The best symbol width b in bits, and the code's size in bits, b·Σ e(d).

    Exact, in integers: the smallest size over b = 2..32, ties to the smaller b.  No positions take no bits.

    Args:
        positions: [n], increasing, from 0.
    """
    narrowest = GAP_WIDTHS[0]
    if positions.numel() == 0:
        return narrowest, 0
    distances = gaps(positions)
    counts = torch.ones_like(distances)
    longest = int(distances.max())
    if longest < distances.numel():
        # Fewer different gaps than gaps: each is looked at once.
        counts = torch.bincount(distances)
        distances = torch.arange(longest + 1, device=distances.device)
    best = (narrowest, _size(distances, counts, narrowest))
    for width in GAP_WIDTHS[1:]:
        if longest < 2 ** (width - 1) - 1:
            # Every gap was one symbol already at the width before; wider symbols only cost more.
            break
        size = _size(distances, counts, width)
        if size < best[1]:
            best = (width, size)
    return best


def gap_width(positions: Tensor) -> int:
    """b: the symbol width, in bits, that codes these positions smallest."""
    return gap_code(positions)[0]


def gap_bits(positions: Tensor) -> int:
    """Size of the gap code of these positions, in bits, at the best width."""
    return gap_code(positions)[1]


def _size(distances: Tensor, counts: Tensor, width: int) -> int:
    symbols = distances.div(2**width - 1, rounding_mode="floor") + 1
    return width * int((symbols * counts).sum())
