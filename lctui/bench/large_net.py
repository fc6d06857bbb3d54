"""C steps of a whole large net: every layer of a ResNet-50, one after the other, as an LC step has them.

Owns which net, which compressions, and the library call beside each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lctui.bench.c_steps import ours
from lctui.bench.rounds import Run, Say, against_libraries
from lctui.compression.low_rank import to_matrix

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
    runs = {what: _every(layers, ours(how)) for what, how in HOWS.items()}
    beside = {what: (name, _every(layers, call)) for what, (name, call) in libraries.items()}
    return against_libraries(runs, beside, n, rounds, device, say)


def weights(device: torch.device) -> list[Tensor]:
    """The weights of ResNet-50's layers as they are initialised: normal, by the number of outputs."""
    from torchvision.models import resnet50

    with torch.device("meta"):
        net = resnet50()
    generator = torch.Generator().manual_seed(0)
    shapes = [layer.weight.shape for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [torch.randn(shape, generator=generator).mul_((2 / shape[0]) ** 0.5).to(device) for shape in shapes]


def _every(layers: list[Tensor], call: Callable[[Tensor], object]) -> Run:
    return lambda: [call(layer) for layer in layers]
