"""Kinds of nodes in a traced net: which modules, functions and methods do what to channels.

Owns the lists, and reading a call's arguments.  A kind that is not listed is not understood; a subclass is another
kind, as it may compute anything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torchvision.ops import stochastic_depth

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
LAYERS = {*_CONVOLUTIONS, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}
"""Layers that can be narrowed."""

_DROPOUT_MODULES = {nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout}
_ELEMENTWISE = {
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Identity),
    *_DROPOUT_MODULES,
}
_AVERAGES = {nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d}
POOLS = {
    *_AVERAGES,
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
}

_DROPOUTS: dict[Any, int] = {
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout), 2),
    stochastic_depth: 3,
}
"""The place of the argument that says whether to drop anything."""
_ELEMENTWISE_FUNCTIONS: set[Any] = {
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.sigmoid, F.tanh),
    *(F.hardswish, F.hardsigmoid, F.hardtanh, F.softplus, F.softsign, F.logsigmoid),
    *(torch.relu, torch.sigmoid, torch.tanh, torch.abs, torch.neg, torch.square, torch.sqrt, torch.exp, torch.clamp),
    *(operator.neg, operator.pos, torch.relu_, torch.sigmoid_, torch.tanh_, F.leaky_relu_, F.elu_, F.hardtanh_),
}
_ELEMENTWISE_METHODS = {
    *("relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "abs", "neg", "square", "sqrt", "exp", "clamp"),
    *("clamp_", "contiguous", "clone", "detach"),
}
_AVERAGE_FUNCTIONS: set[Any] = {F.avg_pool1d, F.avg_pool2d, F.avg_pool3d}
_POOL_FUNCTIONS: set[Any] = {
    *_AVERAGE_FUNCTIONS,
    *(F.max_pool1d, F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d, torch.max_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    *(F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d),
}
_BINARY: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), torch.add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), torch.sub),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), torch.mul),
    torch.maximum: torch.maximum,
}
_QUOTIENTS = {operator.truediv, operator.itruediv, torch.div, "div", "div_"}
_IN_PLACE: set[Any] = {operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.setitem}
_CONCATENATIONS: set[Any] = {torch.cat, torch.concat, torch.concatenate}
_MEANS: set[Any] = {torch.mean, "mean"}
_FLATTENINGS: set[Any] = {torch.flatten, "flatten"}
_VIEWS: set[Any] = {torch.reshape, "view", "reshape"}


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    """An argument by its place or its name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def is_elementwise(module: nn.Module) -> bool:
    """Does the module compute each number from the one in its place, in evaluation mode?"""
    return type(module) in _ELEMENTWISE


def is_elementwise_function(node: fx.Node) -> bool:
    """The same of a function of one value, which may take numbers besides."""
    if node.target in _DROPOUTS:
        return bool(_argument(node, _DROPOUTS[node.target], "training", True) is False)
    if node.target in _ELEMENTWISE_FUNCTIONS or (node.op == "call_method" and node.target in _ELEMENTWISE_METHODS):
        return True
    return (node.target in _BINARY or node.target in _QUOTIENTS) and len(node.args) == 2 and not node.kwargs


def function_of_module(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """What an elementwise module computes of numbers in any shape."""
    return _same if type(module) in _DROPOUT_MODULES else lambda x: module(x.clone())


def function_of(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """What an elementwise function or method computes, by its one value."""
    if node.target in _DROPOUTS:
        return _same
    place = next(n for n, each in enumerate(node.args) if isinstance(each, fx.Node))

    def apply(x: Tensor) -> Tensor:
        args: list[Any] = [*node.args[:place], x.clone(), *node.args[place + 1 :]]
        if isinstance(node.target, str):
            return getattr(args[0], node.target)(*args[1:], **node.kwargs)
        return node.target(*args, **node.kwargs)

    return apply


def _same(x: Tensor) -> Tensor:
    return x


def in_place(node: fx.Node, module: nn.Module | None) -> bool:
    """Does the node overwrite the value that it is given first?"""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = str(getattr(node.target, "__name__", node.target))
    named = name.endswith("_") and not name.endswith("__")
    return named or node.target in _IN_PLACE or bool(node.kwargs.get("inplace", False))


def reads_size(node: fx.Node) -> bool:
    """Does the node ask a value for its size, and the net for nothing but how many inputs or pixels there are?"""
    if node.op == "call_method" and node.target == "size":
        return bool(_argument(node, 1, "dim", None) in (0, 2, 3, 4)) or _only_outer_sizes(node)
    return node.target is getattr and bool(node.args[1] == "shape") and _only_outer_sizes(node)


def _only_outer_sizes(node: fx.Node) -> bool:
    return all(user.target is operator.getitem and user.args[1] in (0, 2, 3, 4) for user in node.users)


def is_binary(node: fx.Node) -> bool:
    """A sum, difference, product or maximum of two."""
    return node.target in _BINARY


def is_product(node: fx.Node) -> bool:
    """A product of two."""
    return _BINARY.get(node.target) is torch.mul


def combine(node: fx.Node) -> Callable[[Tensor, Tensor], Tensor]:
    """What it computes of two."""
    return _BINARY[node.target]


def is_concatenation(node: fx.Node) -> bool:
    """Are values put one behind the other?"""
    return node.target in _CONCATENATIONS


def pieces_of(node: fx.Node) -> tuple[list[Any], int]:
    """The values that are, and along which dimension."""
    pieces = _argument(node, 0, "tensors", ())
    return [*pieces] if isinstance(pieces, tuple | list) else [], _argument(node, 1, "dim", node.kwargs.get("axis", 0))


def is_pool(node: fx.Node) -> bool:
    """Does the function pool every channel by itself?"""
    return node.target in _POOL_FUNCTIONS


def pads_average(module: nn.Module) -> bool:
    """Does the module average over zeros around the image?"""
    return type(module) in _AVERAGES and any(_many(module.padding)) and bool(module.count_include_pad)


def pads_average_function(node: fx.Node) -> bool:
    """The same of a function."""
    return node.target in _AVERAGE_FUNCTIONS and any(_many(_argument(node, 3, "padding", 0)))


def _many(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def averages_over(node: fx.Node, source: fx.Node, axis: int) -> bool:
    """Is the node a mean over dimensions behind the channels?"""
    dims = _argument(node, 1, "dim", None)
    if node.target not in _MEANS or dims is None or "dtype" in node.kwargs:
        return False
    count = len(source.meta["tensor_meta"].shape)
    return all(each % count > axis for each in _many(dims))


def is_flattening(node: fx.Node) -> bool:
    """May the node lay all but the inputs out in one dimension?  That it does is seen from the shapes."""
    if node.target in _FLATTENINGS:
        return _argument(node, 1, "start_dim", 0) == 1 and _argument(node, 2, "end_dim", -1) == -1
    return node.target in _VIEWS and named_features(node) is not None


def named_features(node: fx.Node) -> int | None:
    """How many features a view names, −1 for all there are; None for a view by anything else."""
    if node.target not in _VIEWS:
        return -1
    sizes = _sizes(node)
    if len(sizes) != 2 or not isinstance(sizes[1], int) or not (sizes[0] == -1 or isinstance(sizes[0], fx.Node)):
        return None
    return sizes[1]


def _sizes(node: fx.Node) -> tuple[Any, ...]:
    rest = node.args[1:] or (node.kwargs.get("shape", ()),)
    return _many(rest[0]) if len(rest) == 1 else tuple(rest)


def name_features(node: fx.Node, count: int) -> None:
    """Has a view name another number of features."""
    node.args, node.kwargs = (node.args[0], (_sizes(node)[0], count)), {}


def dims_of(module: nn.Module, shape: tuple[int, ...]) -> int:
    """How many dimensions the layer's inputs have if the first of them counts inputs."""
    if isinstance(module, _CONVOLUTIONS):
        return 2 + len(module.kernel_size)
    return len(shape) if len(shape) > 1 else 2


def is_depthwise(module: nn.Module) -> bool:
    """Does the convolution have a filter for every channel, and nothing else?"""
    return isinstance(module, _CONVOLUTIONS) and 1 < module.groups == module.in_channels == module.out_channels


def pads_with_zeros(module: nn.Module) -> bool:
    """Does the layer see zeros around its input?"""
    if not isinstance(module, _CONVOLUTIONS) or module.padding_mode != "zeros":
        return False
    if module.padding == "same":
        return any(size > 1 for size in module.kernel_size)
    return module.padding != "valid" and any(module.padding)
