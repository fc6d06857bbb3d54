"""Strengths: in which ways, and how strongly, a layer or a joint task may be compressed.

Owns the ladders that a suggestion chooses from, and what a strength is for each kind.  Pure arithmetic over shapes;
measures nothing and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lctui.scheme.check import ResolvedTask
from lctui.scheme.compressions import LowRank, Prune, PruneNM, PruneStructured, QuantizeAdaptive, members

SHARES = (0.005, 0.008, 0.012, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5)
"""Shares of weights, filters or ranks that are kept; besides, a single one is."""
CODEBOOKS = (2, 4, 8, 16, 32, 64)
SURVIVORS_K = 8
"""The codebook of survivors where nobody has said another."""
PRUNED = Prune(kappa=SURVIVORS_K, k=SURVIVORS_K)
"""The least that fills it."""
SPARSELY = -3
"""Of kinds that seldom win, only every third strength is tried, beginning with the gentlest: plain pruning pays 32 bits
for a survivor where a codebook pays three, and low rank for a number."""

Ladder = list[Any]
"""Compressions of one kind, by their strength."""


def ladders(task: ResolvedTask, every: int = 1) -> list[Ladder]:
    """What may be tried on a task: its own kind, or, where nobody has said one (`how` None), each that suits the layer.

    Penalties, and ranks that training would choose, become counts: what they leave cannot be foretold.  Of a sum, one
    member varies, and the others stay as they are.

    Args:
        every: only every so many-th strength of each kind, from its first on.
    """
    if task.how is None:
        return [ladder[::every] for ladder in _kinds(task) if ladder]
    part, put = _varied(task.how)
    return [[put(each) for each in _ladder(part, task)][::every] or [task.how]]


def _kinds(task: ResolvedTask) -> list[Ladder]:
    (layer,) = task.layers
    has_ranks = not layer.is_bias and layer.blocks == 1
    return [
        _ladder(QuantizeAdaptive(k=2), task),
        _ladder(PRUNED, task),
        _ladder(Prune(kappa=1), task)[::SPARSELY],
        _ladder(LowRank(rank=1), task)[::SPARSELY] if has_ranks else [],
    ]


def _ladder(how: Any, task: ResolvedTask) -> Ladder:
    """One kind in several strengths, from strong to gentle; what has none, as it is."""
    match how:
        case Prune() | PruneStructured() | LowRank():
            low, n = _least(how, task), most(how, task)
            return [with_strength(how, number) for number in sorted({low, *(max(low, round(s * n)) for s in SHARES)})]
        case PruneNM():
            return [how.model_copy(update={"n": n}) for n in range(1, how.m)]
        case QuantizeAdaptive():
            return [how.model_copy(update={"k": k}) for k in CODEBOOKS if k <= task.parameters]
    return [how]


def _varied(how: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The part of a compression that varies, and what puts another into its place.

    Of a sum, it is the first member that prunes or has a rank, or else the first.
    """
    if not isinstance(how, list | tuple):
        return how, lambda other: other
    counted = (Prune, PruneStructured, LowRank)
    place = next((place for place, each in enumerate(how) if isinstance(each, counted)), 0)
    return how[place], lambda other: (*how[:place], other, *how[place + 1 :])


def strength(how: Any) -> int | None:
    """The number that can be raised by one: survivors, filters or the rank; None for what has none."""
    match _varied(how)[0]:
        case Prune(kappa=kappa, norm="l0") | PruneStructured(kappa=kappa) if kappa is not None:
            return int(kappa)
        case LowRank(rank=rank) if rank != "auto":
            return int(rank)
    return None


def _least(how: Any, task: ResolvedTask) -> int:
    """The smallest strength that leaves the rest of a compression as it is: survivors fill their codebook."""
    return min(how.k, task.parameters) if isinstance(how, Prune) and how.k is not None else 1


def most(how: Any, task: ResolvedTask) -> int:
    """The greatest strength that a compression which can have one may have on a task."""
    match _varied(how)[0]:
        case PruneStructured():
            return sum(layer.groups for layer in task.layers)
        case LowRank(conv_scheme=scheme):
            return min(task.layers[0].matrix(scheme))
    return task.parameters


def with_strength(how: Any, number: int) -> Any:
    """The same compression with another strength, whatever has set it so far: a count, a share or a penalty."""
    part, put = _varied(how)
    match part:
        case Prune(k=k):
            kept = {"kappa": number, "fraction": None, "alpha": None, "norm": "l0", "k": k and min(k, number)}
        case PruneStructured():
            kept = {"kappa": number, "fraction": None}
        case LowRank():
            kept = {"rank": number, "alpha": None}
        case _:
            raise ValueError(f"{part!r} has no strength")
    return put(part.model_copy(update=kept))


def written(how: Any) -> Any:
    """A compression as a file says it: without what is so by default."""
    if how is None:
        return None
    plain = []
    for each in members(how):
        # What tells kinds apart is each kind's default.
        constants = {name: getattr(each, name) for name in ("type", "codebook") if hasattr(each, name)}
        if constants.get("codebook") == "adaptive":
            del constants["codebook"]
        plain.append({**constants, **each.model_dump(mode="json", exclude_defaults=True)})
    return plain if isinstance(how, list | tuple) else plain[0]
