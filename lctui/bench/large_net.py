"""C steps of a whole large net: every layer of a ResNet-50, one after the other, as an LC step has them.

Owns which net, which compressions, and the library call beside each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from lctui.bench.rounds import Say, take_turns
from lctui.compression import c_step
from lctui.compression.low_rank import to_matrix
from lctui.scheme import How

MU = 1e-3
FRACTION, RANK = 0.05, 16

HOWS: dict[str, Any] = {
    "k-means, k = 16": {"type": "quantize", "k": 16},
    "prune, κ = 5 %": {"type": "prune", "fraction": FRACTION},
    "low rank, r = 16": {"type": "low_rank", "rank": RANK},
}


def measure_large_net(device: torch.device, rounds: int, say: Say) -> list[dict[str, Any]]:
    """Rows as of `lctui.bench.c_steps`, of all layers together; exact k-means has no library call to wait for here."""
    layers = weights(device)
    n = sum(layer.numel() for layer in layers)
    say(f"C steps of a ResNet-50, {len(layers)} layers, {n:,} weights")
    libraries: dict[str, tuple[str, Callable[[Tensor], object]]] = {
        "prune, κ = 5 %": ("torch.topk", lambda w: w.flatten().abs().topk(round(FRACTION * w.numel()))),
        "low rank, r = 16": (
            "torch.linalg.svd",
            lambda w: torch.linalg.svd(to_matrix(w, "scheme_2"), full_matrices=False),
        ),
    }
    contestants = {what: _every(layers, _ours(how)) for what, how in HOWS.items()}
    contestants |= {f"library for {what}": _every(layers, call) for what, (_, call) in libraries.items()}
    times = take_turns(contestants, rounds, device, say)
    rows = []
    for what in HOWS:
        row: dict[str, Any] = {"what": what, "n": n, "seconds": times[what].median}
        if what in libraries:
            theirs = times[f"library for {what}"].median
            row |= {"library": libraries[what][0], "library_seconds": theirs, "ratio": theirs / row["seconds"]}
        rows.append(row | {"all_seconds": list(times[what].seconds)})
    return rows


def weights(device: torch.device) -> list[Tensor]:
    """The weights of ResNet-50's layers as they are initialised: normal, by the number of outputs."""
    from torchvision.models import resnet50

    with torch.device("meta"):
        net = resnet50()
    generator = torch.Generator().manual_seed(0)
    shapes = [layer.weight.shape for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [torch.randn(shape, generator=generator).mul_((2 / shape[0]) ** 0.5).to(device) for shape in shapes]


def _ours(how: Any) -> Callable[[Tensor], object]:
    parsed = TypeAdapter(How).validate_python(how)
    return lambda w: c_step(parsed, w, MU)


def _every(layers: list[Tensor], call: Callable[[Tensor], object]) -> Callable[[], object]:
    return lambda: [call(layer) for layer in layers]
