"""Strengths: in which ways, and how strongly, a layer or a joint task may be compressed.

Owns the ladders that a suggestion chooses from: compressions of one kind, from strong to gentle.  Pure arithmetic over
shapes; measures nothing and chooses nothing.
"""

from __future__ import annotations

from typing import Any

from lctui.scheme.check import ResolvedTask
from lctui.scheme.compressions import LowRank, Prune, PruneNM, PruneStructured, QuantizeAdaptive, members

SHARES = (0.005, 0.008, 0.012, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5)
"""Shares of weights, filters or ranks that are kept; besides, a single one is."""
CODEBOOKS = (2, 4, 8, 16, 32, 64)
SURVIVORS_K = 8
"""The codebook of survivors where nobody has said another."""
SPARSELY = -3
"""Of kinds that seldom win, only every third strength is tried, from the gentlest on: plain pruning pays 32 bits for a
survivor where a codebook pays three, and low rank for a number."""

Ladder = list[Any]


def ladders(task: ResolvedTask, every: int = 1) -> list[Ladder]:
    """What may be tried on a task: its own kind, or, where nobody has said one (`how` None), each that suits the layer.

    Penalties, and ranks that training would choose, become counts: what they leave cannot be foretold.  Of a sum, one
    member varies, and the others stay as they are.

    Args:
        every: only every so many-th strength, the strongest among them.
    """
    if task.how is None:
        return [ladder[::every] for ladder in _kinds(task) if ladder]
    found = _sum(task) if isinstance(task.how, list | tuple) else _ladder(task.how, task)
    return [found[::every] or [task.how]]


def _kinds(task: ResolvedTask) -> list[Ladder]:
    (layer,) = task.layers
    n = layer.parameters
    kappas = _shares(n)
    quantized: Ladder = [QuantizeAdaptive(k=k) for k in CODEBOOKS if k <= n]
    with_codebook: Ladder = [Prune(kappa=kappa, k=min(SURVIVORS_K, kappa)) for kappa in kappas]
    plain: Ladder = [Prune(kappa=kappa) for kappa in kappas[::SPARSELY]]
    ranks = [] if layer.is_bias or layer.blocks > 1 else _shares(min(layer.matrix("scheme_2")))[::SPARSELY]
    return [quantized, with_codebook, plain, [LowRank(rank=rank) for rank in ranks]]


def _ladder(how: Any, task: ResolvedTask) -> Ladder:
    """One kind in several strengths; what has none, as it is."""
    match how:
        case Prune():
            kept = {"alpha": None, "fraction": None, "norm": "l0"}
            return [
                how.model_copy(update={**kept, "kappa": kappa, "k": None if how.k is None else min(how.k, kappa)})
                for kappa in _shares(task.parameters)
            ]
        case PruneStructured():
            return [how.model_copy(update={"fraction": None, "kappa": kappa}) for kappa in _shares(_most(how, task))]
        case PruneNM():
            return [how.model_copy(update={"n": n}) for n in range(1, how.m)]
        case QuantizeAdaptive():
            return [how.model_copy(update={"k": k}) for k in CODEBOOKS if k <= task.parameters]
        case LowRank():
            return [how.model_copy(update={"rank": rank, "alpha": None}) for rank in _shares(_most(how, task))]
    return [how]


def _sum(task: ResolvedTask) -> Ladder:
    hows = members(task.how)
    place = _varied(hows)
    return [(*hows[:place], each, *hows[place + 1 :]) for each in _ladder(hows[place], task)]


def _varied(hows: tuple[Any, ...]) -> int:
    """Which member of a sum varies: the first that prunes or has a rank, or else the first."""
    counted = (Prune, PruneStructured, LowRank)
    return next((place for place, how in enumerate(hows) if isinstance(how, counted)), 0)


def _shares(n: int) -> list[int]:
    return sorted({1, *(max(1, round(share * n)) for share in SHARES)})


def strength(how: Any) -> int | None:
    """The number that can be raised by one: survivors, filters or the rank; None for what has none."""
    if isinstance(how, list | tuple):
        return strength(how[_varied(tuple(how))])
    match how:
        case Prune(kappa=kappa, norm="l0") | PruneStructured(kappa=kappa) if kappa is not None:
            return int(kappa)
        case LowRank(rank=rank) if rank != "auto":
            return int(rank)
    return None


def most(how: Any, task: ResolvedTask) -> int:
    """The greatest strength of a compression that has one."""
    return _most(how[_varied(tuple(how))] if isinstance(how, list | tuple) else how, task)


def _most(how: Any, task: ResolvedTask) -> int:
    match how:
        case PruneStructured():
            return sum(layer.groups for layer in task.layers)
        case LowRank():
            return min(task.layers[0].matrix(how.conv_scheme))
    return task.parameters


def with_strength(how: Any, number: int) -> Any:
    """The same compression with another strength."""
    if isinstance(how, list | tuple):
        hows = tuple(how)
        place = _varied(hows)
        return (*hows[:place], with_strength(hows[place], number), *hows[place + 1 :])
    return how.model_copy(update={"rank" if isinstance(how, LowRank) else "kappa": number})


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
