"""What a compressed net will cost for one input, before any training.

Owns the prediction of FLOPs, by the formulas of `lctui.scheme.flops`: exact where shapes and counts tell, an estimate
where the layers of a joint task share what survives, a bound where training decides.  No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from lctui.scheme import flops
from lctui.scheme.check import ResolvedTask
from lctui.scheme.compressions import LowRank, Prune, PruneNM, PruneStructured, members
from lctui.scheme.models import Mu
from lctui.scheme.net import NetInfo
from lctui.scheme.predict import Basis, kept_groups, kept_weights, n_m_slots, rank_of, weakest


@dataclass(frozen=True)
class PredictedFlops:
    """FLOPs of a layer or a whole net for one input, before and after, and how sure that is."""

    reference: int
    compressed: int
    basis: Basis

    @property
    def ratio(self) -> float | None:
        """Before / after; None when nothing is left to multiply."""
        return self.reference / self.compressed if self.compressed else None


@dataclass(frozen=True)
class FlopsPrediction:
    """A whole net, and each of its layers by name."""

    total: PredictedFlops
    layers: dict[str, PredictedFlops]


def predict_flops(net: NetInfo, tasks: Sequence[ResolvedTask], mu: Mu) -> FlopsPrediction | None:
    """FLOPs of the net under the tasks; None where nobody knows how large an input is."""
    if not net.counted:
        return None
    layers = {layer.name: PredictedFlops(layer.flops, layer.flops, "exact") for layer in net.layers}
    for task in tasks:
        counts, basis = _task(task, mu.at(mu.steps - 1))
        for layer, count in zip(task.layers, counts, strict=True):
            if not layer.is_bias:
                layers[layer.name] = PredictedFlops(layer.flops, count, basis)
    total = sum(layer.compressed for layer in layers.values())
    return FlopsPrediction(PredictedFlops(net.flops, total, weakest(each.basis for each in layers.values())), layers)


def _task(task: ResolvedTask, last_mu: float) -> tuple[list[int], Basis]:
    """FLOPs of every layer of a task, and how sure they are; a sum's are the sums of its members'."""
    found = [_member(how, task, last_mu) for how in members(task.how)]
    counts = [sum(each) for each in zip(*(counts for counts, _ in found), strict=True)]
    return counts, weakest(basis for _, basis in found)


def _member(how: Any, task: ResolvedTask, last_mu: float) -> tuple[list[int], Basis]:
    match how:
        case Prune():
            return _prune(how, task)
        case PruneStructured():
            return _structured(how, task)
        case PruneNM():
            return [flops.of_weights(layer, n_m_slots(how, layer)[0]) for layer in task.layers], "exact"
        case LowRank():
            rank, basis = rank_of(how, task.layers[0], last_mu)
            return [flops.of_low_rank(task.layers[0], rank, how.conv_scheme)], basis
    return [layer.flops for layer in task.layers], "exact"


def _prune(how: Prune, task: ResolvedTask) -> tuple[list[int], Basis]:
    kept = kept_weights(how, task.parameters)
    if kept is None:
        return [layer.flops for layer in task.layers], "bound"
    share = kept / task.parameters if task.parameters else 0.0
    counts = [flops.of_weights(layer, round(share * layer.parameters)) for layer in task.layers]
    return counts, "exact" if len(task.layers) == 1 or share in (0, 1) else "estimate"


def _structured(how: PruneStructured, task: ResolvedTask) -> tuple[list[int], Basis]:
    groups = sum(layer.groups for layer in task.layers)
    share = kept_groups(how, task) / groups if groups else 0.0
    rows = [round(share * layer.groups) * prod(layer.shape[1:]) for layer in task.layers]
    counts = [flops.of_weights(layer, weights) for layer, weights in zip(task.layers, rows, strict=True)]
    return counts, "exact" if len(task.layers) == 1 or share in (0, 1) else "estimate"
