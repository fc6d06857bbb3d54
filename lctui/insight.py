"""What is inside a compressed net: which classes it confuses, and how its weights are distributed.

Owns the views of a run's artifact that need the net, its data or its reference.  Reads a finished run and changes
nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lctui import models, references
from lctui.compression.low_rank import to_matrix
from lctui.errors import BadInput
from lctui.export import artifact
from lctui.learning.evaluate import Data, batch_size
from lctui.learning.net import FlatNet
from lctui.prepare import pick_device
from lctui.runs.store import Run
from lctui.scheme import Scheme
from lctui.scheme.check import ResolvedTask, resolved_tasks
from lctui.scheme.compressions import LowRank, Prune, PruneNM, PruneStructured, members
from lctui.scheme.net import NetInfo
from lctui.what_if import Session, Sessions

MAX_BINS = 10_000
_CHUNK = 1 << 22  # weights counted together


def confusion(run: Run, scheme: Scheme, sessions: Sessions, *, reference: bool = False) -> dict[str, Any]:
    """How often the compressed net takes an image of one class for another: `matrix`[true][predicted], test images.

    `reference` asks for the run's reference net instead.

    Raises:
        BadInput: the run has no artifact yet, or its data or code are no longer what they were.
        NoReference: the reference is no longer there.
    """
    state = None if reference else _artifact(run)
    session = sessions.get(scheme, str(run.file("scheme.json")))
    require_same_inputs(run, session)
    net = session.reference().net if state is None else FlatNet(session.module, session.device)
    if state is not None:
        net.load_state(state)
    if not session.splits.objective.takes_scores or not session.classes:
        raise BadInput.one("", run.id, "has no confusion matrix: its net does not choose among classes")
    labels, predicted = _predictions(net, session.splits.test)
    # A net may have more outputs than its data have classes.
    classes = max(session.classes, 1 + int(predicted.max()))
    counts = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    names = list(scheme.data.classes or range(session.classes))
    return {
        "classes": names + [f"output {place}" for place in range(len(names), classes)],
        "matrix": counts.reshape(classes, classes).tolist(),
        "split": "test",
        "error_pct": 100 * int((labels != predicted).sum()) / len(labels),
    }


@torch.inference_mode()
def _predictions(net: FlatNet, images: Data) -> tuple[Tensor, Tensor]:
    """Labels and predicted classes, [n] each, in the batches that errors are measured in."""
    net.module.eval()
    pairs = [(labels, net.module(inputs).argmax(1)) for inputs, labels in images.in_order(batch_size(images))]
    labels, predicted = (torch.cat(column).cpu() for column in zip(*pairs, strict=True))
    return labels, predicted


def require_same_inputs(run: Run, session: Session) -> None:
    """Numbers of other data or of other code would be taken for the run's.

    Raises:
        BadInput: the session has not what the run had.
    """
    meta = run.read("meta.json")
    for now, name, what in (
        (session.data_digest, "data_sha256", "data"),
        (session.code_digest, "code_sha256", "code or weights"),
    ):
        if meta.get(name) != now:
            raise BadInput.one("", run.id, f"its {what} changed since it ran")


def weights(run: Run, scheme: Scheme, sessions: Sessions, bins: int) -> dict[str, Any]:
    """Every layer's weights in the compressed net, and in the reference as far as it is in the store.

    Raises:
        BadInput: the run has no artifact yet, or the net is no longer the one that was compressed.
    """
    if not 1 <= bins <= MAX_BINS:
        raise BadInput.one("", "bins", f"{bins} must be from 1 to {MAX_BINS}")
    state = _artifact(run)
    module = models.build(scheme.model, seed=scheme.seed, source=str(run.file("scheme.json"))).float()
    info = models.describe(module)
    _require_fits(run, info, state)
    reference = FlatNet(module, pick_device("cpu"))
    known = _load_reference(reference, run, scheme, sessions)
    tasks = resolved_tasks(scheme, info)
    learned: list[dict[str, Any]] = run.read("result.json").get("layers") or [{} for _ in tasks]
    task_of = {name: (task, found) for task, found in zip(tasks, learned, strict=True) for name in task.names}
    layers = []
    for layer in info.layers:
        name = layer.tensor
        before = reference.view(reference.w, name) if known else None
        described = _distribution(state[name], before, bins)
        if layer.name in task_of:
            described |= _structure(state[name], before, *task_of[layer.name])
        layers.append({"name": layer.name, "kind": layer.kind, "shape": list(layer.shape), **described})
    return {"layers": layers, "reference": known}


def _artifact(run: Run) -> dict[str, Tensor]:
    path = run.file("compressed.safetensors")
    if not path.exists():
        raise BadInput.one("", run.id, "has no compressed net yet: it is written when the run finishes")
    return artifact.load(path)


def _require_fits(run: Run, info: NetInfo, state: dict[str, Tensor]) -> None:
    for layer in info.layers:
        found = state.get(layer.tensor)
        if found is None or tuple(found.shape) != layer.shape:
            raise BadInput.one("", run.id, "its code changed since it ran: the net has other layers now")


def _load_reference(net: FlatNet, run: Run, scheme: Scheme, sessions: Sessions) -> bool:
    """Puts the run's reference into `net`, if there is one still."""
    if scheme.model.weights is not None:
        return True  # building the net has read them
    meta = run.read("meta.json")
    key = references.key_of(scheme, str(meta.get("data_sha256")), str(meta.get("code_sha256")))
    return references.find(net, key, sessions.home) is not None


def _distribution(weight: Tensor, before: Tensor | None, bins: int) -> dict[str, Any]:
    """Zeros apart, and a histogram of the others beside the reference's, over common bins."""
    values = weight[weight != 0]
    both = torch.cat([values, before.reshape(-1)]) if before is not None else values
    edges = np.linspace(float(both.min()), float(both.max()), bins + 1) if both.numel() else np.empty(0)
    if len(edges) and edges[0] == edges[-1]:  # one value only
        edges = np.linspace(edges[0] - 0.5, edges[0] + 0.5, bins + 1)
    return {
        "weights": weight.numel(),
        "zeros": weight.numel() - values.numel(),
        "edges": edges.tolist(),
        "counts": _histogram(values, edges),
        "reference_counts": None if before is None else _histogram(before.reshape(-1), edges),
    }


def _histogram(values: Tensor, edges: np.ndarray) -> list[int]:
    """How many values lie in each bin; all lie within the edges."""
    if len(edges) == 0:
        return []
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    for chunk in values.split(_CHUNK):
        # Not np.histogram: it drops what rounding puts beyond the last edge.
        places = np.searchsorted(edges, chunk.double().numpy(), side="right") - 1
        counts += np.bincount(np.clip(places, 0, len(counts) - 1), minlength=len(counts))
    return counts.tolist()


def _structure(weight: Tensor, before: Tensor | None, task: ResolvedTask, learned: dict[str, Any]) -> dict[str, Any]:
    """What the task's kind makes of the weights: a codebook with counts, or singular values."""
    hows = members(task.how)
    described: dict[str, Any] = {"type": "+".join(how.type for how in hows)}
    if len(hows) > 1:
        return described
    (how,) = hows
    if isinstance(how, LowRank):
        rank = learned.get("rank")
        described["rank"] = rank
        described["singular_values"] = _singular_values(weight, how)[:rank]
        if before is not None:
            described["reference_singular_values"] = _singular_values(before, how)
    elif not isinstance(how, PruneStructured | PruneNM) and (not isinstance(how, Prune) or how.k is not None):
        described["codebook"] = _codebook(weight, learned.get("codebook", []), pruned=isinstance(how, Prune))
    return described


def _singular_values(weight: Tensor, how: LowRank) -> list[float]:
    """Largest first, of the matrix that low rank sees."""
    matrix: Tensor = to_matrix(weight, how.conv_scheme).double()
    return torch.linalg.svdvals(matrix).tolist()


def _codebook(weight: Tensor, entries: list[float], *, pruned: bool) -> dict[str, Any]:
    """The values that weights share, ascending, and how many weights of this layer take each; unused ones too."""
    values, counts = weight.unique(return_counts=True)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    if pruned:
        found.pop(0.0, None)  # not a value of the codebook: these weights are gone
    # Entries are rounded as the weights are, so that each meets its own.
    for entry in torch.tensor(entries, dtype=weight.dtype).tolist():
        found.setdefault(entry, 0)
    ordered = sorted(found)
    return {"values": ordered, "counts": [found[value] for value in ordered]}
