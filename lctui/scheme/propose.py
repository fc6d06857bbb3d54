"""A first proposal: a task for every layer of a net, to be changed by whoever knows it.

Owns which compression a layer starts with; the numbers are those that the editor's form suggests
(`lctui.scheme.suggest`).  Writes no file and knows no torch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from lctui.scheme.compressions import Block, Prune, QuantizeAdaptive
from lctui.scheme.net import Layer, NetInfo
from lctui.scheme.suggest import suggest


def propose(net: NetInfo) -> list[dict[str, Any]]:
    """A task a layer, JSON-ready: convolutions are pruned, all else is quantized; layers without a weight have none."""
    # The net itself, where it is one layer, has no name; a glob finds it.
    return [{"layers": [layer.name or "*"], "how": _how(layer)} for layer in net.layers if layer.parameters]


def _how(layer: Layer) -> dict[str, Any]:
    if layer.kind.startswith("Conv"):
        return {"type": "prune", "kappa": suggest(_properties(Prune)["kappa"], [layer])}
    k = suggest(_properties(QuantizeAdaptive)["k"], [layer])
    return {"type": "quantize", "k": min(k or 1, layer.parameters)}


@cache
def _properties(block: type[Block]) -> dict[str, Any]:
    """What the schema of a block says of its fields; it is made once, not for every layer."""
    properties: dict[str, Any] = block.model_json_schema()["properties"]
    return properties
