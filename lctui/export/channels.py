"""The channels of a net, followed through its graph: which are one and the same, and which hold a constant.

Owns what is known of every kind of node: layers, batch-norm, elementwise functions, pooling, flattening, sums,
products and concatenations.  What it does not know, it pins: the channels that go in, or come out, must stay.
Changes nothing.

Every channel of every value has a number.  Channels that must stay or go together (a filter and its batch-norm, the
summands of a residual) have one root (union-find).  A channel is constant if it holds the same number at every place
and for every input: that of a filter of zeros, behind batch-norm and ReLU.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from lctui.export import channel_kinds as kinds

NAN = math.nan


@dataclass(frozen=True)
class Channels:
    """The channels of a value: along which dimension, their numbers [c], and their constants [c], NaN without one."""

    axis: int
    numbers: Tensor
    constants: Tensor

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Layer:
    """A layer that is called once and shares nothing: what goes in and what comes out."""

    name: str
    module: nn.Module
    before: Channels
    after: Channels

    @property
    def mixes(self) -> bool:
        """Does each output depend on every input, or on the one of its own place alone?"""
        return self.before.numbers is not self.after.numbers


class Walk:
    """A traced net, node by node.

    Attributes:
        layers: the layers whose channels can go, in order of their calls.
        views: nodes that flatten to a number of features which they name: by node, what comes out.
    """

    def __init__(self, traced: fx.GraphModule, example: Tensor) -> None:
        """Follows the channels.

        Args:
            traced: the net in evaluation mode.
            example: inputs [n, …], n at least 2, that the net takes.
        """
        self.traced, self.inputs = traced, len(example)
        self.layers: list[Layer] = []
        self.views: dict[fx.Node, Channels] = {}
        self._parents: list[int] = []
        self._pinned: dict[int, str] = {}
        self._values: dict[fx.Node, Channels] = {}
        self._calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
        self._owners = _owners(traced)
        with torch.no_grad():
            ShapeProp(traced).propagate(example)
            for node in traced.graph.nodes:
                self._visit(node)

    def roots(self, channels: Channels) -> list[int]:
        """The root of every channel."""
        return [self._root(number) for number in channels.numbers.tolist()]

    def pinned(self) -> dict[int, str]:
        """Roots that must stay, and why."""
        found: dict[int, str] = {}
        for number, why in self._pinned.items():
            found.setdefault(self._root(number), why)
        return found

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = number = self._parents[self._parents[number]]
        return number

    def _fresh(self, axis: int, constants: Tensor, pin: str = "") -> Channels:
        first = len(self._parents)
        numbers = torch.arange(first, first + len(constants))
        self._parents += numbers.tolist()
        made = Channels(axis, numbers, constants)
        if pin:
            self._pin(made, pin)
        return made

    def _pin(self, channels: Channels, why: str) -> None:
        for number in channels.numbers.tolist():
            self._pinned.setdefault(number, why)

    def _visit(self, node: fx.Node) -> None:
        if kinds.reads_size(node):
            return
        found = self._follow(node) if isinstance(node.meta.get("tensor_meta"), TensorMetadata) else None
        if found is None:
            what = "the net's output" if node.op == "output" else self._words(node)
            for source in node.all_input_nodes:
                if source in self._values:
                    self._pin(self._values[source], what)
        else:
            self._values[node] = found
        if kinds.in_place(node, self._module(node)):
            # The value that went in is another now, under its old name.
            changed: fx.Node = node.args[0]  # type: ignore[assignment]
            self._values.pop(changed, None)
            if found is not None:
                self._values[changed] = found

    def _words(self, node: fx.Node) -> str:
        module = self._module(node)
        target = getattr(node.target, "__name__", node.target)
        return f"{node.target} ({type(module).__name__})" if module is not None else f"{target}()"

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.traced.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _follow(self, node: fx.Node) -> Channels | None:
        """What comes out of a node; None for what is not understood."""
        module = self._module(node)
        if module is None:
            return self._function(node) if node.op in ("call_function", "call_method") else None
        if module._forward_hooks or module._forward_pre_hooks or module.training:
            return None
        (source,) = node.args if len(node.args) == 1 and not node.kwargs else (None,)
        if not isinstance(source, fx.Node):
            return None
        if type(module) in kinds.LAYERS:
            return self._layer(node, module, source)
        before = self._values.get(source)
        if before is None:
            return None
        if kinds.is_elementwise(module):
            return self._applied(before, kinds.function_of_module(module), node)
        if type(module) in kinds.POOLS and before.axis == 1:
            return _pooled(before, kinds.pads_average(module))
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            return self._flattened(before, source, node)
        return None

    def _function(self, node: fx.Node) -> Channels | None:
        if kinds.is_concatenation(node):
            return self._concatenated(node)
        sources = [arg for arg in node.args if isinstance(arg, fx.Node)]
        before = self._values.get(sources[0]) if sources else None
        if before is None:
            return None
        if kinds.is_flattening(node):
            return self._flattened(before, sources[0], node)
        if kinds.is_binary(node) and len(sources) == len(node.args) == 2 and not node.kwargs:
            return self._combined(node, *sources)
        if node.all_input_nodes != sources:
            return None
        if kinds.is_elementwise_function(node):
            return self._applied(before, kinds.function_of(node), node)
        if kinds.is_pool(node) and before.axis == 1:
            return _pooled(before, kinds.pads_average_function(node))
        return before if kinds.averages_over(node, sources[0], before.axis) else None

    def _applied(self, before: Channels, function: Callable[[Tensor], Tensor], node: fx.Node) -> Channels:
        """Elementwise: in the net's own arithmetic."""
        dtype = node.meta["tensor_meta"].dtype
        found = function(before.constants.to(dtype)).double()
        return Channels(before.axis, before.numbers, _finite(torch.where(before.constants.isnan(), NAN, found)))

    def _combined(self, node: fx.Node, left: fx.Node, right: fx.Node) -> Channels | None:
        a, b = self._values.get(left), self._values.get(right)
        if a is None or b is None or (a.axis, len(a)) != (b.axis, len(b)) or _dims(left) != _dims(right):
            return None
        dtype = node.meta["tensor_meta"].dtype
        constants = kinds.combine(node)(a.constants.to(dtype), b.constants.to(dtype)).double()
        constants = torch.where(a.constants.isnan() | b.constants.isnan(), NAN, constants)
        if kinds.is_product(node):
            constants = torch.where((a.constants == 0) | (b.constants == 0), 0.0, constants)
        for one, other in zip(a.numbers.tolist(), b.numbers.tolist(), strict=True):
            self._parents[self._root(other)] = self._root(one)
        return Channels(a.axis, a.numbers, _finite(constants))

    def _concatenated(self, node: fx.Node) -> Channels | None:
        pieces, axis = kinds.pieces_of(node)
        if not pieces or any(_dims(piece) <= 1 or axis % _dims(piece) != 1 for piece in pieces):
            return None
        found = [self._known(piece, 1) for piece in pieces]
        if any(each.axis != 1 for each in found):
            return None
        numbers = torch.cat([each.numbers for each in found])
        return Channels(1, numbers, torch.cat([each.constants for each in found]))

    def _known(self, node: fx.Node, axis: int) -> Channels:
        """The channels of a node; where nothing is known of it, channels that stay."""
        if node in self._values:
            return self._values[node]
        size = node.meta["tensor_meta"].shape[axis]
        return self._fresh(axis, torch.full((size,), NAN, dtype=torch.float64), "an input")

    def _flattened(self, before: Channels, source: fx.Node, node: fx.Node) -> Channels | None:
        shape, made = source.meta["tensor_meta"].shape, node.meta["tensor_meta"].shape
        if before.axis != 1 or made != (shape[0], math.prod(shape[1:])) or shape[0] != self.inputs:
            return None
        spots = math.prod(shape[2:])
        found = Channels(1, before.numbers.repeat_interleave(spots), before.constants.repeat_interleave(spots))
        named = kinds.named_features(node)
        if named is None:
            return None
        if named >= 0:
            self.views[node] = found
        return found

    def _layer(self, node: fx.Node, module: Any, source: fx.Node) -> Channels | None:
        """A layer with weights, of convolution, linear or batch-norm kind."""
        axis = _dims(source) - 1 if type(module) is nn.Linear else 1
        if self._calls[node.target] > 1 or any(self._owners[id(each)] > 1 for each in module.parameters()):
            return None
        if _dims(source) != kinds.dims_of(module, source.meta["tensor_meta"].shape):
            return None
        before = self._known(source, axis)
        if before.axis != axis:
            return None
        if isinstance(module, kinds.NORMS):
            if module.running_mean is None:
                return None
            after = Channels(1, before.numbers, _finite(_normalized(module, before.constants)))
        elif kinds.is_depthwise(module):
            after = Channels(1, before.numbers, _finite(_each_convolved(module, before.constants)))
        elif getattr(module, "groups", 1) == 1:
            after = self._fresh(axis, _finite(mixed(module, before.constants)))
        else:
            return None
        self.layers.append(Layer(str(node.target), module, before, after))
        return after


def bordered(module: nn.Module, constants: Tensor) -> Tensor:
    """Which constant channels are none to a layer, as it surrounds them by zeros: [c] booleans."""
    return (constants != 0) & ~constants.isnan() & kinds.pads_with_zeros(module)


def uses(weight: Tensor) -> Tensor:
    """Which output uses which input at all: [outputs, inputs] booleans."""
    return (weight.detach() != 0).reshape(*weight.shape[:2], -1).any(2)


def sums(weight: Tensor) -> Tensor:
    """The weight of each input as far as it is constant: [outputs, inputs], float64, summed over the kernel."""
    exact = weight.detach().double()
    return exact.flatten(2).sum(2) if exact.dim() > 2 else exact


def mixed(module: Any, constants: Tensor) -> Tensor:
    """Constants of the outputs of a convolution or linear layer: [outputs], NaN where an input matters."""
    varying = constants.isnan() | bordered(module, constants)
    free = ~uses(module.weight)[:, varying].any(1)
    known = ~varying & (constants != 0)
    return torch.where(free, sums(module.weight[:, known]) @ constants[known] + _bias(module), NAN)


def _each_convolved(module: Any, constants: Tensor) -> Tensor:
    varying = constants.isnan() | bordered(module, constants)
    used = uses(module.weight)[:, 0]
    value = sums(module.weight)[:, 0] * torch.where(varying, 0.0, constants) + _bias(module)
    return torch.where(used & varying, NAN, value)


def _bias(module: Any) -> Tensor | float:
    return 0.0 if module.bias is None else module.bias.detach().double()


def _normalized(module: Any, constants: Tensor) -> Tensor:
    scale = (module.running_var.double() + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.detach().double()
    value = (torch.where(constants.isnan(), 0.0, constants) - module.running_mean.double()) * scale + _bias(module)
    return torch.where(constants.isnan() & (scale != 0), NAN, torch.where(scale == 0, _shift(module), value))


def _shift(module: Any) -> Tensor:
    return torch.zeros_like(module.running_mean, dtype=torch.float64) + _bias(module)


def _pooled(before: Channels, padded: bool) -> Channels:
    constants = torch.where(before.constants == 0, before.constants, NAN) if padded else before.constants
    return Channels(before.axis, before.numbers, constants)


def _finite(constants: Tensor) -> Tensor:
    return torch.where(constants.isfinite(), constants, NAN)


def _dims(node: fx.Node) -> int:
    found = node.meta.get("tensor_meta")
    return len(found.shape) if isinstance(found, TensorMetadata) else 0


def _owners(traced: fx.GraphModule) -> Counter[int]:
    """How often each tensor is used: by a module under any of its names, or by the net's own code."""

    def uses() -> Iterator[int]:
        for module in traced.modules():
            yield from (id(each) for each in module._parameters.values() if each is not None)
        for node in traced.graph.nodes:
            if node.op == "get_attr":
                owner, _, name = str(node.target).rpartition(".")
                yield id(getattr(traced.get_submodule(owner), name))

    return Counter(uses())
