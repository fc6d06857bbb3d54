"""What `lctui check` says of a scheme: its layers, their tasks, and the predicted size.

Owns that report as JSON-ready values; `lctui.headless.tables` lays it out for a person.
"""

from __future__ import annotations

from typing import Any

from lctui.scheme.check import ResolvedTask, resolved_tasks
from lctui.scheme.compressions import members
from lctui.scheme.models import Scheme
from lctui.scheme.net import NetInfo
from lctui.scheme.predict import Predicted, predict, untouched
from lctui.scheme.predict_flops import PredictedFlops, predict_flops
from lctui.scheme.storage import dense_bits


def check_report(scheme: Scheme, net: NetInfo) -> dict[str, Any]:
    """The prediction, JSON-ready: the whole net, its layers, and biases that have a task; the rest is `others`.

    FLOPs are None where nobody knows how large an input is.
    """
    tasks = resolved_tasks(scheme, net)
    prediction, costs = predict(net, tasks, scheme.lc.mu), predict_flops(net, tasks, scheme.lc.mu)
    task_of = {name: task for task in tasks for name in task.names}
    layers = []
    for layer in net.compressible:
        if layer.is_bias and layer.name not in task_of:
            continue
        task = task_of.get(layer.name)
        layers.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "parameters": layer.parameters,
                "task": task.index if task is not None else None,
                "how": describe_how(task) if task is not None else None,
                **_fields(prediction.layers[layer.name]),
                **_flops(costs.layers.get(layer.name) if costs is not None else None),
            }
        )
    return {
        **_fields(prediction.total),
        **_flops(costs.total if costs is not None else None),
        "layers": layers,
        "others": {"parameters": untouched(net, tasks), "bits": dense_bits(untouched(net, tasks))},
    }


def _fields(predicted: Predicted) -> dict[str, Any]:
    return {
        "reference_bits": predicted.reference_bits,
        "compressed_bits": predicted.compressed_bits,
        "compression_ratio": predicted.ratio,
        "exact": predicted.exact,
        "basis": predicted.basis,
    }


def _flops(predicted: PredictedFlops | None) -> dict[str, Any]:
    if predicted is None:
        return dict.fromkeys(("reference_flops", "compressed_flops", "flops_ratio", "flops_exact", "flops_basis"))
    return {
        "reference_flops": predicted.reference,
        "compressed_flops": predicted.compressed,
        "flops_ratio": predicted.ratio,
        "flops_exact": predicted.basis == "exact",
        "flops_basis": predicted.basis,
    }


def describe_how(task: ResolvedTask) -> str:
    """A task in a few words: `prune kappa=104`, `low_rank auto alpha=2.5e-09`, and who shares it."""
    words = " + ".join(_words(how) for how in members(task.how))
    return words if len(task.layers) == 1 else f"{words} (joint: {_few(task.names)})"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, … {len(names)} layers"


def _words(how: Any) -> str:
    defaults = {name: field.default for name, field in type(how).model_fields.items()}
    said = [how.type]
    for name, value in how.model_dump().items():
        if name == "type" or value is None or value == defaults[name]:
            continue
        plain = name in ("codebook", "values") or (name, value) == ("rank", "auto")
        said.append(_shown(value) if plain else f"{name}={_shown(value)}")
    return " ".join(said)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return f"{value:g}" if isinstance(value, float) else str(value)
