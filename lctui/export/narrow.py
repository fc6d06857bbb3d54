"""A net without the channels that do nothing: filters, neurons and their columns really removed.

Owns which channels go, and making every layer smaller by them.  What the net computes stays the same, up to rounding:

- A channel goes where none of its readers needs it: because their columns of it are zero, or because it is a constant
  (a filter of zeros leaves its bias, as batch-norm and ReLU pass it on), which their biases then take in.
- A convolution that surrounds its input by zeros sees where a constant ends, which no bias can say: of all its
  constant channels one is kept, and stands for the others.
- Channels that are added must go together, or stay.

Conservative: a net that cannot be traced, and whatever `channels` does not understand, stays as it is, and is said so.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from lctui.export import channel_kinds as kinds
from lctui.export.channels import Channels, Layer, Walk, bordered, sums, uses
from lctui.user_code import one_line

ROUNDING = 1e-4
"""What rounding may change, of the largest output."""


@dataclass(frozen=True)
class Narrowed:
    """The net, a traced one if channels are gone; what to say of it; how wide layers are now.

    `widths` has (inputs, outputs) of every convolution and linear layer that was understood.
    """

    module: nn.Module
    notes: tuple[str, ...] = ()
    widths: dict[str, tuple[int, int]] = field(default_factory=dict)


def narrow(net: nn.Module, example: Tensor) -> Narrowed:
    """Removes the channels that do nothing.

    Args:
        net: in evaluation mode, on the CPU; it is not changed.
        example: inputs [n, …] that it takes.
    """
    if not any(map(_has_idle, net.modules())):
        return Narrowed(net)
    try:
        own = copy.deepcopy(net)
        traced = fx.GraphModule(own, fx.Tracer().trace(own))
        walk = Walk(traced, example[:1].repeat(2, *[1] * (example.dim() - 1)))
    except Exception as error:
        # What a net's own code may do when it is traced, nobody can list.
        return Narrowed(net, (f"not narrowed: its code cannot be followed: {one_line(error)}",))
    removal = _Removal(walk)
    notes = removal.notes()
    if not removal.gone:
        return Narrowed(net, notes, removal.widths())
    removal.rewrite()
    traced.recompile()
    if not _same(net, traced, example):
        return Narrowed(net, ("not narrowed: it would compute something else",))
    return Narrowed(traced.requires_grad_(False), notes, removal.widths())


def _has_idle(module: nn.Module) -> bool:
    """Is there an output that no input changes, or an input that changes none?"""
    weight = getattr(module, "weight", None)
    if weight is None or type(module) not in kinds.LAYERS:
        return False
    used = uses(weight) if weight.dim() > 1 else weight[:, None] != 0
    return not bool(used.any(0).all() and used.any(1).all())


@torch.no_grad()
def _same(net: nn.Module, narrowed: nn.Module, example: Tensor) -> bool:
    """Do both compute the same, of the example and, if it is numbers, of noise?"""
    tried = [example]
    if example.is_floating_point():
        tried.append(torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example.dtype))
    for inputs in tried:
        wanted, found = net(inputs), narrowed(inputs)
        limit = ROUNDING * float(wanted.abs().max())
        if wanted.shape != found.shape or not bool(((found - wanted).abs() <= limit).all()):
            return False
    return True


class _Removal:
    """Which roots go.  What does nothing but to be constant within zeros is first made to do nothing at all."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._pinned = walk.pinned()
        self._before = {layer.name: torch.tensor(walk.roots(layer.before)) for layer in walk.layers}
        self._after = {layer.name: torch.tensor(walk.roots(layer.after)) for layer in walk.layers}
        self._mixing = [layer for layer in walk.layers if layer.mixes]
        self._idle = {layer.name: ~uses(_weight(layer)).any(1) for layer in self._mixing}
        self._stand_ins: set[int] = set()
        for layer in self._mixing:
            self._gather(layer)
        self._uses = {layer.name: uses(_weight(layer)) for layer in self._mixing}
        self.gone = self._choose()

    def _gather(self, layer: Layer) -> None:
        """Of the constants that a convolution surrounds by zeros, one takes over the columns of all that could go."""
        constants, roots = layer.before.constants, self._before[layer.name].tolist()
        weight = _weight(layer)
        here = (bordered(layer.module, constants) & uses(weight).any(0)).nonzero().squeeze(1).tolist()
        can_go = [place for place in here if roots[place] not in self._pinned]
        if not can_go:
            return
        largest = max(abs(float(constants[place])) for place in here)
        # One that stays anyhow, or stands in for others elsewhere; never so small that others are scaled up to it.
        fit = [place for place in here if abs(float(constants[place])) >= largest / 100]
        chosen = max(
            fit, key=lambda n: (roots[n] in self._pinned, roots[n] in self._stand_ins, abs(float(constants[n])))
        )
        self._stand_ins.add(roots[chosen])
        others = [place for place in can_go if place != chosen]
        shares = (constants[others] / constants[chosen]).reshape(-1, *[1] * (weight.dim() - 2))  # [others, 1, …]
        moved = (weight[:, others].double() * shares).sum(1)
        weight[:, chosen] = (weight[:, chosen].double() + moved).to(weight.dtype)
        weight[:, others] = 0

    def _choose(self) -> set[int]:
        """All roots that can go, with one left to every layer."""
        every = {root for layer in self._mixing for root in self._after[layer.name].tolist()}
        staying = set(self._pinned)
        while True:
            gone: set[int] = set()
            # With outputs go the inputs that only they had use for.
            while (more := every - staying - self._needed(gone)) != gone:
                gone = more
            bare = [after for after in self._after.values() if not self._stays(after, gone).any()]
            if not bare:
                return gone
            staying |= {int(after[0]) for after in bare}

    def _needed(self, gone: set[int]) -> set[int]:
        """Roots that a layer reads, and that its bias cannot take in, once these are gone."""
        needed: set[int] = set()
        for layer in self._mixing:
            kept = self._stays(self._after[layer.name], gone)
            constants = layer.before.constants
            varying = constants.isnan() | bordered(layer.module, constants)
            needed.update(self._before[layer.name][self._uses[layer.name][kept].any(0) & varying].tolist())
        return needed

    @staticmethod
    def _stays(roots: Tensor, gone: set[int]) -> Tensor:
        return ~torch.isin(roots, torch.tensor(sorted(gone), dtype=torch.int64))

    def _kept(self, channels: Channels) -> Tensor:
        return self._stays(torch.tensor(self._walk.roots(channels)), self.gone)

    def widths(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs that are left to each layer."""
        return {
            layer.name: (int(self._kept(layer.before).sum()), int(self._kept(layer.after).sum()))
            for layer in self._mixing
        }

    def notes(self) -> tuple[str, ...]:
        """What became of every layer that loses outputs, or has some that compute nothing."""
        lines = []
        for layer in self._mixing:
            kept = self._kept(layer.after)
            what = "neurons" if isinstance(layer.module, nn.Linear) else "filters"
            if not kept.all():
                lines.append(f"{layer.name}: {int(kept.sum()):,} of {len(kept):,} {what} left")
            zeros = self._after[layer.name][self._idle[layer.name] & kept].tolist()
            stuck = [root for root in zeros if root not in self._stand_ins]
            if stuck:
                why = self._pinned.get(stuck[0])
                reason = f"they go into {why}" if why else "what is read of them is not constant, or nothing else is"
                lines.append(f"{layer.name}: {len(stuck):,} {what} of zeros stay: {reason}")
        return tuple(lines)

    @torch.no_grad()
    def rewrite(self) -> None:
        """Makes every layer, and every view, as narrow as its channels."""
        for layer in self._walk.layers:
            before, after = self._kept(layer.before), self._kept(layer.after)
            if layer.mixes:
                _take_in(layer, before)
                _shrink(layer.module, ("weight", "bias"), after)
                layer.module.weight = nn.Parameter(_weight(layer)[:, before].contiguous(), requires_grad=False)
            else:
                _shrink(layer.module, ("weight", "bias", "running_mean", "running_var"), after)
            _tell_widths(layer.module, int(before.sum()), int(after.sum()))
        for node, channels in self._walk.views.items():
            kinds.name_features(node, int(self._kept(channels).sum()))


def _weight(layer: Layer) -> Tensor:
    return layer.module.weight.data  # type: ignore[return-value]


def _take_in(layer: Layer, kept: Tensor) -> None:
    """Adds to the bias what the constants that go have contributed."""
    constants = layer.before.constants
    going = ~kept & ~constants.isnan() & ~bordered(layer.module, constants)
    share = sums(_weight(layer)[:, going]) @ constants[going]
    if share.any():
        bias = layer.module.bias
        total = share if bias is None else bias.detach().double() + share  # type: ignore[operator]
        layer.module.bias = nn.Parameter(total.to(_weight(layer).dtype), requires_grad=False)


def _shrink(module: Any, names: tuple[str, ...], kept: Tensor) -> None:
    """Keeps these rows of a layer's tensors."""
    for name in names:
        tensor = getattr(module, name, None)
        if isinstance(tensor, nn.Parameter):
            setattr(module, name, nn.Parameter(tensor.detach()[kept].clone(), requires_grad=False))
        elif tensor is not None:
            setattr(module, name, tensor[kept].clone())


def _tell_widths(module: Any, before: int, after: int) -> None:
    """What a layer says of its own size."""
    if isinstance(module, nn.Linear):
        module.in_features, module.out_features = before, after
    elif isinstance(module, kinds.NORMS):
        module.num_features = after
    else:
        if kinds.is_depthwise(module):
            module.groups = after
        module.in_channels, module.out_channels = before, after
