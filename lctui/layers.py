"""Layers: which tensors of a module are weights to compress, what they are called, and how often each is used.

Owns the kinds of layers that there are.  A layer's weight is one tensor; nn.MultiheadAttention has several, which are
layers of their own.  Builds no net and changes none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lctui.scheme.net import BIAS, Layer, bias_name

WEIGHTED = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.Embedding,
)
"""Modules whose `weight` can be compressed."""

STRIPPED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Layers that low rank can make a vertical and a horizontal one of."""

PROJECTIONS = {"in_proj": "qkv", "q_proj": "q", "k_proj": "k", "v_proj": "v"}
"""What the weights of nn.MultiheadAttention project, by the layer's name: one for all three inputs, or one for each."""


@dataclass(frozen=True)
class Weight:
    """A weight, its layer's name and kind, the bias added to what it gives, and their names in a state dict.

    `blocks` are the groups of a grouped convolution.
    """

    name: str
    kind: str
    tensor: str
    value: Tensor
    bias_tensor: str = ""
    bias: Tensor | None = None
    blocks: int = 1

    def layer(self, pixels: int, strip_pixels: int | None = None) -> Layer:
        """The torch-free record of it."""
        shape = tuple(self.value.shape)
        return Layer(self.name, self.kind, shape, pixels, self.blocks, stored=self.tensor, strip_pixels=strip_pixels)


def weights(module: nn.Module) -> list[Weight]:
    """All weights of a net in its order; of those that share a tensor, the first."""
    first: dict[int, Weight] = {}
    for name, part in module.named_modules():
        for found in _of(part, f"{name}." if name else "", name):
            first.setdefault(id(found.value), found)
    return list(first.values())


def biases(found: list[Weight]) -> tuple[Layer, ...]:
    """The biases of these weights; not one that is called what a layer is."""
    taken = {weight.name for weight in found}
    first: dict[int, Layer] = {}
    for weight in found:
        name = bias_name(weight.name)
        if weight.bias is not None and name not in taken:
            layer = Layer(name, BIAS, tuple(weight.bias.shape), stored=weight.bias_tensor)
            first.setdefault(id(weight.bias), layer)
    return tuple(first.values())


def count_pixels(module: nn.Module, forward: Callable[[], None]) -> tuple[Counter[int], Counter[int]]:
    """How often `forward` multiplies by each weight, by the id of its tensor: summed over calls and tied layers.

    And how often it would by the horizontal strips of convolutions (`Layer.strip_pixels`), of those that have them.
    """
    pixels: Counter[int] = Counter()
    strips: Counter[int] = Counter()

    def count(part: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        for tensor, positions in _uses(part, inputs, named, output):
            pixels[id(tensor)] += positions
            if isinstance(part, STRIPPED):
                there, here = _sides(part, inputs[0] if inputs else next(iter(named.values())), output)
                strips[id(tensor)] += positions // max(here, 1) * there

    parts = [part for part in module.modules() if isinstance(part, (*WEIGHTED, nn.MultiheadAttention))]
    hooks = [part.register_forward_hook(count, with_kwargs=True) for part in parts]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return pixels, strips


def _sides(part: nn.Module, inputs: Tensor, output: Tensor) -> tuple[int, int]:
    """Heights: of the side that a layer's weights are not counted on, and of the side that they are."""
    heights = inputs.shape[-2], output.shape[-2]
    return heights[::-1] if isinstance(part, nn.ConvTranspose2d | nn.ConvTranspose3d) else heights


def _of(part: nn.Module, prefix: str, name: str) -> Iterator[Weight]:
    if isinstance(part, nn.MultiheadAttention):
        yield from _of_attention(part, prefix)
    weight = part._parameters.get("weight")
    if not isinstance(part, WEIGHTED) or weight is None:
        return
    kind = next(kind.__name__ for kind in WEIGHTED if isinstance(part, kind))
    blocks = int(getattr(part, "groups", 1))
    yield Weight(name, kind, f"{prefix}weight", weight, f"{prefix}bias", part._parameters.get("bias"), blocks)


def _of_attention(part: nn.MultiheadAttention, prefix: str) -> Iterator[Weight]:
    """One bias holds those of all three projections; it belongs to their common weight, or to none."""
    for projection in PROJECTIONS:
        weight = part._parameters.get(f"{projection}_weight")
        if weight is not None:
            bias = part._parameters.get("in_proj_bias") if projection == "in_proj" else None
            stored = f"{prefix}{projection}_weight", weight, f"{prefix}in_proj_bias", bias
            yield Weight(f"{prefix}{projection}", "MultiheadAttention", *stored)


def _uses(part: Any, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Iterator[tuple[Tensor, int]]:
    if isinstance(part, nn.MultiheadAttention):
        yield from _uses_in_attention(part, dict(zip(("query", "key", "value"), inputs, strict=False)) | named)
    else:
        yield part.weight, _positions(part, inputs[0] if inputs else next(iter(named.values())), output)


def _uses_in_attention(part: nn.MultiheadAttention, given: dict[str, Any]) -> Iterator[tuple[Tensor, int]]:
    """A third of the common weight is used for each of the three inputs: where their lengths differ, the mean counts.

    The output's projection is no module that is called: its weight is handed to a function.
    """
    lengths = {name[0]: given[name].numel() // given[name].shape[-1] for name in ("query", "key", "value")}
    for projection, of in PROJECTIONS.items():
        weight = part._parameters.get(f"{projection}_weight")
        if weight is not None:
            yield weight, round(sum(lengths[each] for each in of) / len(of))
    yield part.out_proj.weight, lengths["q"]


def _positions(part: Any, inputs: Tensor, output: Tensor) -> int:
    """How often one input multiplies by each weight; `inputs` and `output` are batches of one."""
    if isinstance(part, nn.Embedding):  # looked up, never multiplied by
        return 0
    if isinstance(part, nn.Linear):
        return output.numel() // max(part.out_features, 1)
    if isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return inputs.numel() // int(part.in_channels)
    return output.numel() // int(part.out_channels)
