"""A compressed net as a module that runs as cheaply as its compression promises.

Owns turning low-rank layers into two real ones each; `narrow` then removes what pruning left without an effect.  The
module computes what the dense net does, up to the rounding of float32; what cannot be made cheaper stays dense, with
its compressed weights, and is said so.  Reads no run.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lctui.compression.low_rank import LowRankFactors
from lctui.export.artifact import ArtifactTask
from lctui.export.narrow import narrow


@dataclass(frozen=True)
class Deployed:
    """The module, in evaluation mode on the CPU, and a line on every layer that is another now or could not be."""

    module: nn.Module
    notes: tuple[str, ...]


def deployable(
    module: nn.Module, state: Mapping[str, Tensor], tasks: Sequence[ArtifactTask], example: Tensor
) -> Deployed:
    """A copy of a net that holds the compressed weights: narrower, and low-rank layers as two where that is cheaper.

    Args:
        module: the net, in whatever state.
        state: its dense compressed state dict.
        tasks: what was compressed; of each task a single low rank matters here.
        example: inputs [n, …] that the net takes.
    """
    net = dense_net(module, state)
    widths = narrow(net, example).widths if any(isinstance(each.theta, LowRankFactors) for each in tasks) else {}
    notes = _split_layers(net, tasks, example, widths)
    narrowed = narrow(net, example)
    return Deployed(narrowed.module, (*notes, *narrowed.notes))


def dense_net(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a net with this state, in evaluation mode on the CPU, without gradients."""
    net = copy.deepcopy(module).cpu().eval()
    net.load_state_dict(dict(state))
    return net.requires_grad_(False)


def _split_layers(
    net: nn.Module, tasks: Sequence[ArtifactTask], example: Tensor, widths: Mapping[str, tuple[int, int]]
) -> list[str]:
    """Replaces layers of `net` by pairs where that pays once layers are as wide as `widths` says.

    Returns:
        What to say of each layer of low rank.
    """
    notes = []
    rows = _rows(net, example)
    owners = Counter(id(layer._parameters.get("weight")) for _, layer in net.named_modules(remove_duplicate=False))
    for task in tasks:
        if not isinstance(task.theta, LowRankFactors):
            continue
        (tensor,) = task.layers
        name = tensor.removesuffix(".weight")
        layer = net.get_submodule(name)
        pair = _pair(layer, task.theta) if owners[id(layer.weight)] == 1 else None
        if pair is None:
            notes.append(f"{name}: left dense: {type(layer).__name__} of rank {task.theta.rank} is not split")
            continue
        before, after = _costs(layer, pair, rows.get(layer, (1, 1)), widths.get(name))
        if after >= before:
            notes.append(f"{name}: left dense: two layers of rank {task.theta.rank} would multiply no less")
            continue
        net.set_submodule(name, nn.Sequential(*pair).eval().requires_grad_(False))
        if _runs(net, example):
            notes.append(f"{name}: two layers of rank {task.theta.rank}, {before / after:.1f}× fewer multiplications")
        else:
            net.set_submodule(name, layer)
            notes.append(f"{name}: left dense: the net uses more of the layer than its output")
    return notes


def _pair(layer: nn.Module, theta: LowRankFactors) -> tuple[nn.Module, nn.Module] | None:
    """Two layers that together are this one; None for a kind, or a rank, that none are made for."""
    # Of a subclass one cannot know what else it computes; hooks would not come along.
    if theta.rank == 0 or layer._forward_hooks or layer._forward_pre_hooks:
        return None
    if type(layer) is nn.Linear:
        return _linear_pair(layer, theta)
    if type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros":
        separable = theta.how.conv_scheme == "scheme_2"
        return _strip_pair(layer, theta) if separable else _pointwise_pair(layer, theta)
    return None


def _linear_pair(layer: nn.Linear, theta: LowRankFactors) -> tuple[nn.Module, nn.Module]:
    first = nn.Linear(layer.in_features, theta.rank, bias=False)
    second = nn.Linear(theta.rank, layer.out_features, bias=layer.bias is not None)
    return _filled(first, theta.z.mT), _filled(second, theta.u, layer.bias)


def _pointwise_pair(layer: nn.Conv2d, theta: LowRankFactors) -> tuple[nn.Module, nn.Module]:
    """scheme_1: the whole kernel to r channels, then 1×1."""
    geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    first = nn.Conv2d(layer.in_channels, theta.rank, layer.kernel_size, bias=False, **geometry)  # type: ignore[arg-type]
    second = nn.Conv2d(theta.rank, layer.out_channels, 1, bias=layer.bias is not None)
    z = theta.z.mT.reshape(first.weight.shape)  # [r, c, h, w]
    return _filled(first, z), _filled(second, theta.u[:, :, None, None], layer.bias)


def _strip_pair(layer: nn.Conv2d, theta: LowRankFactors) -> tuple[nn.Module, nn.Module]:
    """scheme_2: 1×w along rows, then h×1 along columns, each with its own axis's stride, padding and dilation."""
    height, width = layer.kernel_size
    (down, along), (far_down, far_along), padding = layer.stride, layer.dilation, layer.padding
    # Without a bias in the first, rows of zeros around its input are rows of zeros around its output.
    pad_down, pad_along = (padding, padding) if isinstance(padding, str) else ((padding[0], 0), (0, padding[1]))
    first = nn.Conv2d(
        layer.in_channels,
        theta.rank,
        (1, width),
        stride=(1, along),
        padding=pad_along,
        dilation=(1, far_along),
        bias=False,
    )
    second = nn.Conv2d(
        theta.rank,
        layer.out_channels,
        (height, 1),
        stride=(down, 1),
        padding=pad_down,
        dilation=(far_down, 1),
        bias=layer.bias is not None,
    )
    z = theta.z.mT.reshape(first.weight.shape)  # [r, c, 1, w]
    u = theta.u.reshape(layer.out_channels, height, theta.rank).movedim(1, 2)[..., None]  # [n, r, h, 1]
    return _filled(first, z), _filled(second, u, layer.bias)


def _filled(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    layer.weight.data = weight.detach().float().contiguous()
    if bias is not None and layer.bias is not None:
        layer.bias.data = bias.detach().clone()
    return layer


def _rows(net: nn.Module, example: Tensor) -> dict[nn.Module, tuple[int, int]]:
    """Rows of every convolution's input and output, as far as the net calls it."""
    found: dict[nn.Module, tuple[int, int]] = {}

    def see(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[layer] = (inputs[0].shape[-2], output.shape[-2])

    hooks = [layer.register_forward_hook(see) for layer in net.modules() if type(layer) is nn.Conv2d]
    try:
        with torch.no_grad():
            net(example[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _costs(
    layer: nn.Module, pair: tuple[nn.Module, nn.Module], rows: tuple[int, int], widths: tuple[int, int] | None
) -> tuple[int, int]:
    """Multiplications of a layer and of its pair, per input and column of its output, with so many inputs and outputs.

    A strip along rows is computed for every row that goes in, all else for every row that comes out.
    """
    weights: list[Tensor] = [each.weight for each in (layer, *pair)]  # type: ignore[misc]
    inputs, outputs = widths or (weights[0].shape[1], weights[0].shape[0])
    kernel, left, right = (weight[0, 0].numel() for weight in weights)
    rank = len(weights[1])
    strip = isinstance(pair[1], nn.Conv2d) and pair[1].kernel_size != (1, 1)
    first = rank * inputs * left * rows[0 if strip else 1]
    return outputs * inputs * kernel * rows[1], first + outputs * rank * right * rows[1]


def _runs(net: nn.Module, example: Tensor) -> bool:
    """Does the net still take its inputs?"""
    try:
        with torch.no_grad():
            net(example[:1])
    except Exception:
        return False
    return True
