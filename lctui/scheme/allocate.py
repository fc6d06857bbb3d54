"""Which strength each layer is compressed with, so that the whole is small enough and harmed least.

Owns the choice among options whose size and damage are known, and which targets there can be.  Measures nothing:
`lctui.sensitivity` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from lctui.errors import BadInput

CELLS = 2048
"""Sizes are counted in so many parts of the budget, rounded up."""


@dataclass(frozen=True)
class Option:
    """One way to treat a layer (or a joint task): its size in bits, and how much it alone raises the loss."""

    bits: int
    damage: float
    how: Any = None
    """What the option is; no business of the choice's."""


def require_target(source: str, ratio: float | None, error: float | None) -> None:
    """Raises BadInput for what can be no ratio, or no error."""
    if ratio is not None and not 1 < ratio < inf:
        raise BadInput.one(source, "--ratio", f"{ratio:g} must be greater than 1")
    if error is not None and not 0 <= error < inf:
        raise BadInput.one(source, "--error", f"{error:g} must be at least 0")


def allocate(units: Sequence[Sequence[Option]], budget: int) -> list[int] | None:
    """One option for each unit, by its place: the least sum of damages whose sizes fit into `budget` bits.

    That damages add up is the assumption of sensitivity analysis (Han et al. 2015, arXiv 1506.02626, §3.1); what is
    left is the multiple-choice knapsack problem, the discrete form of optimal bit allocation (Shoham & Gersho 1988,
    IEEE Trans. ASSP 36(9)).  It is solved exactly by dynamic programming for sizes rounded up to 1/2048 of the
    budget; where rounding alone leaves no choice, the smallest option of each is taken.  None: nothing fits.
    """
    smallest = [min(range(len(options)), key=lambda i, options=options: options[i].bits) for options in units]  # type: ignore[misc]
    least = sum(options[place].bits for options, place in zip(units, smallest, strict=True))
    if least > budget:
        return None
    # What cannot be avoided is paid first, so that rounding touches only what there is to choose.
    cell = max(-(-(budget - least) // CELLS), 1)
    room = (budget - least) // cell
    best, choices = [0.0] * (room + 1), list[list[int]]()
    for options, place in zip(units, smallest, strict=True):
        after, chosen = [inf] * (room + 1), [place] * (room + 1)
        for i in _worth_a_look(options):
            damage, cost = options[i].damage, -(-(options[i].bits - options[place].bits) // cell)
            for used in range(cost, room + 1):
                if (total := best[used - cost] + damage) < after[used]:
                    after[used], chosen[used] = total, i
        best = after
        choices.append(chosen)
    used, places = room, list[int]()
    for options, chosen, place in zip(reversed(units), reversed(choices), reversed(smallest), strict=True):
        i = chosen[used]
        places.append(i)
        used -= -(-(options[i].bits - options[place].bits) // cell)
    return places[::-1]


def _worth_a_look(options: Sequence[Option]) -> list[int]:
    """The options that do less harm than all smaller ones, by rising size."""
    found: list[int] = []
    for i in sorted(range(len(options)), key=lambda i: (options[i].bits, options[i].damage)):
        if not found or options[i].damage < options[found[-1]].damage:
            found.append(i)
    return found
