"""What a scheme will weigh, before any training.

Owns the prediction: exact where the storage formula depends on shapes alone, an estimate where positions or ranks
are only known after training.  Pure arithmetic over `NetInfo`; no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from lctui.scheme import storage
from lctui.scheme.check import ResolvedTask
from lctui.scheme.compressions import (
    LowRank,
    Prune,
    PruneNM,
    PruneStructured,
    QuantizeAdaptive,
    QuantizeBinary,
    QuantizeFixed,
    QuantizePowersOfTwo,
    QuantizeTernary,
    members,
)
from lctui.scheme.models import Mu
from lctui.scheme.net import Layer, NetInfo

Basis = Literal["exact", "estimate", "bound"]
"""What a predicted size is: certain; expected, if the non-zeros scatter evenly; or the most that it can become."""


def weakest(bases: Iterable[Basis]) -> Basis:
    """The least certain of some; of none, certainty."""
    order: list[Basis] = ["exact", "estimate", "bound"]
    return max(bases, key=order.index, default="exact")


@dataclass(frozen=True)
class Predicted:
    """Bits of a task or a whole net, before and after, and how sure that is."""

    reference_bits: int
    compressed_bits: int
    basis: Basis

    @property
    def exact(self) -> bool:
        """Does the size follow from the shapes alone?"""
        return self.basis == "exact"

    @property
    def ratio(self) -> float | None:
        """Reference bits / compressed bits; None when nothing is left to store."""
        return self.reference_bits / self.compressed_bits if self.compressed_bits else None


@dataclass(frozen=True)
class NetPrediction:
    """A whole net, and each of its layers by name; of the biases, those that have a task."""

    total: Predicted
    layers: dict[str, Predicted]


def predict(net: NetInfo, tasks: Sequence[ResolvedTask], mu: Mu) -> NetPrediction:
    """The size of the net under the tasks; `mu` bounds what automatic ranks can become."""
    layers = {
        layer.name: Predicted(storage.dense_bits(layer.parameters), storage.dense_bits(layer.parameters), "exact")
        for layer in net.layers
    }
    for task in tasks:
        layers.update(_shared_out(task, predict_task(task, mu)))
    total = Predicted(
        storage.dense_bits(net.parameters),
        sum(layer.compressed_bits for layer in layers.values()) + storage.dense_bits(untouched(net, tasks)),
        weakest(layer.basis for layer in layers.values()),
    )
    return NetPrediction(total, layers)


def untouched(net: NetInfo, tasks: Sequence[ResolvedTask]) -> int:
    """How many of the net's other values no task compresses."""
    return net.others - sum(layer.parameters for task in tasks for layer in task.layers if layer.is_bias)


def predict_task(task: ResolvedTask, mu: Mu) -> Predicted:
    """The size of one task; a sum's is the sum of its members'."""
    sizes = [_member(how, task, mu.at(mu.steps - 1)) for how in members(task.how)]
    return Predicted(
        storage.dense_bits(task.parameters), sum(bits for bits, _ in sizes), weakest(basis for _, basis in sizes)
    )


def _shared_out(task: ResolvedTask, whole: Predicted) -> dict[str, Predicted]:
    """A joint task's bits shared out over its layers by their size, to the bit."""
    result, seen, given = {}, 0, 0
    for layer in task.layers:
        seen += layer.parameters
        upto = whole.compressed_bits * seen // task.parameters if task.parameters else 0
        result[layer.name] = Predicted(storage.dense_bits(layer.parameters), upto - given, whole.basis)
        given = upto
    return result


def _member(how: Any, task: ResolvedTask, last_mu: float) -> tuple[int, Basis]:
    """Bits of one compression of a task, and how sure they are."""
    n = task.parameters
    match how:
        case QuantizeAdaptive(code="arithmetic"):
            return storage.expected_coded_index_bits(n, how.k) + storage.dense_bits(how.k), "estimate"
        case QuantizeFixed(code="arithmetic"):
            return storage.expected_coded_index_bits(n, len(how.values)), "estimate"
        case QuantizePowersOfTwo(code="arithmetic"):
            entries = storage.powers_of_two_size(how.c)
            return storage.expected_coded_index_bits(n, entries) + storage.dense_bits(how.scaled), "estimate"
        case QuantizeTernary(code="arithmetic"):
            return storage.expected_coded_index_bits(n, 3) + storage.dense_bits(how.scaled), "estimate"
        case QuantizeAdaptive():
            return storage.adaptive_codebook_bits(n, how.k), "exact"
        case QuantizeFixed():
            return storage.fixed_codebook_bits(n, len(how.values)), "exact"
        case QuantizePowersOfTwo():
            return storage.fixed_codebook_bits(n, storage.powers_of_two_size(how.c), scaled=how.scaled), "exact"
        case QuantizeBinary():
            return storage.binary_bits(n, scaled=how.scaled), "exact"
        case QuantizeTernary():
            return storage.ternary_bits(n, scaled=how.scaled), "exact"
        case PruneNM():
            return _n_m(how, task), "exact"
        case PruneStructured():
            return _structured(how, task)
        case Prune():
            return _prune(how, n)
        case LowRank():
            return _low_rank(how, task.layers[0], last_mu)
    raise TypeError(f"no prediction for {type(how).__name__}")


def kept_weights(how: Prune, n: int) -> int | None:
    """How many of n weights survive; None where that depends on them: under a penalty, or in the ℓ1 ball."""
    if how.fraction is not None:
        return round(how.fraction * n)
    return int(how.kappa) if how.norm == "l0" and how.kappa is not None else None


def _prune(how: Prune, n: int) -> tuple[int, Basis]:
    kept = kept_weights(how, n)
    if kept is None:
        return storage.survivors_bits(n, how.k) + storage.expected_gap_bits(n, n), "bound"
    if how.code == "arithmetic":
        return _arithmetic(how, kept, n), "estimate"
    bits = storage.survivors_bits(kept, how.k) + storage.expected_gap_bits(kept, n)
    return bits, "exact" if kept == 0 else "estimate"


def _arithmetic(how: Prune, kept: int, n: int) -> int:
    positions = storage.expected_coded_position_bits(kept, n)
    if how.k is None:
        return storage.dense_bits(kept) + positions
    return storage.expected_coded_index_bits(kept, how.k) + storage.dense_bits(how.k) + positions


def kept_groups(how: PruneStructured, task: ResolvedTask) -> int:
    """How many filters or neurons of a task's layers survive."""
    groups = sum(layer.groups for layer in task.layers)
    return how.kappa if how.kappa is not None else round((how.fraction or 0) * groups)


def _structured(how: PruneStructured, task: ResolvedTask) -> tuple[int, Basis]:
    groups, kept = sum(layer.groups for layer in task.layers), kept_groups(how, task)
    sizes = sorted((prod(layer.shape[1:]) for layer in task.layers for _ in range(layer.groups)), reverse=True)
    # Over layers of different widths, which groups survive decides the size: the widest ones bound it.
    return storage.structured_bits(sum(sizes[:kept]), groups), "exact" if len(set(sizes)) <= 1 else "bound"


def _n_m(how: PruneNM, task: ResolvedTask) -> int:
    slots, groups = (sum(counts) for counts in zip(*(n_m_slots(how, layer) for layer in task.layers), strict=True))
    return storage.n_m_bits(slots, groups, how.n, how.m)


def n_m_slots(how: PruneNM, layer: Layer) -> tuple[int, int]:
    """How many weights of a layer stay, and in how many groups of m its rows are cut."""
    full, rest = divmod(prod(layer.shape[1:]), how.m)
    return layer.groups * (full * how.n + min(how.n, rest)), layer.groups * (full + (rest > 0))


def _low_rank(how: LowRank, layer: Layer, last_mu: float) -> tuple[int, Basis]:
    rows, columns = layer.matrix(how.conv_scheme)
    rank, basis = rank_of(how, layer, last_mu)
    return storage.low_rank_bits(rows, columns, rank, how.bits), basis


def rank_of(how: LowRank, layer: Layer, last_mu: float) -> tuple[int, Basis]:
    """The rank that is given, or the largest that automatic selection can choose.

    Under the relative error, rank r is chosen over rank 0 only if α·C(r) ≤ μ/2, which bounds r by the last μ.
    """
    if how.rank != "auto":
        return how.rank, "exact"
    rows, columns = layer.matrix(how.conv_scheme)
    cost = (how.alpha or 0) * (rows + columns) * (layer.pixels if how.criterion == "flops" else 1)
    if how.normalize and cost > 0:
        return min(int(last_mu / 2 / cost), rows, columns), "bound"
    return min(rows, columns), "bound"
