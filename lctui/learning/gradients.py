"""Loss and gradient of one net, or of several at once, on a batch.

Owns the three ways to get them: written out by hand where the net brings that along, by autograd for any single net,
and by autograd over a stack of nets.  All give the same numbers to rounding.  Updates no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lctui.learning.net import FlatNet
from lctui.learning.objective import Loss
from lctui.learning.precision import autocast, tensor_cores
from lctui.memory import is_out_of_memory

AGREEMENT = 1e-3
"""How far a stack's gradient may be from a single net's, relative to its norm, before it counts as wrong."""


class Gradient(Protocol):
    """Bound to weights and gradients of M nets, [M, P] each; `kind` is the arithmetic of its products."""

    kind: str

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The nets' mean losses on a batch: [M], detached; the bound gradients are replaced by theirs."""


class NotStackable(Exception):
    """These nets can only be trained one by one."""


def gradient_of(net: FlatNet, shape: tuple[int, ...], kind: str, loss: Loss = F.cross_entropy) -> Gradient:
    """A single net's gradient, in its own `w` and `grad`; `shape` is an input's, `kind` the arithmetic."""
    return _by_hand(net, net.w[None], net.grad[None], shape, kind, loss) or Autograd(net, kind, loss)


def stacked_gradient(
    net: FlatNet,
    w: Tensor,
    grad: Tensor,
    inputs: Tensor,
    labels: Tensor,
    kind: str,
    loss: Loss = F.cross_entropy,
) -> Gradient:
    """The gradient of nets like `net`, whose weights and gradients are `w` and `grad` [M, P]; tried on a batch first.

    Raises:
        NotStackable: the net draws random numbers, keeps statistics, or does otherwise what a stack of nets cannot.
    """
    found = _by_hand(net, w, grad, tuple(inputs.shape[1:]), kind, loss)
    if found is not None:
        return found
    if (reason := why_not_stackable(net.module)) is not None:
        raise NotStackable(reason)
    _require_agreement(net, w, grad, inputs, labels, loss)
    return Stacked(net, w, grad, kind, loss)


def why_not_stackable(module: nn.Module) -> str | None:
    """What keeps nets of this module from training in a stack, as far as it can be seen from outside."""
    if any(True for _ in module.buffers()):
        return "the net keeps statistics"
    if any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in module.modules()):
        return "the net draws random numbers"
    return None


def _require_agreement(net: FlatNet, w: Tensor, grad: Tensor, inputs: Tensor, labels: Tensor, loss: Loss) -> None:
    """The first net's gradient in the stack must be what autograd finds for it alone, in float32 where that shows."""
    net.module.train()
    kept = net.w.clone()
    try:
        with tensor_cores("float32"):
            Stacked(net, w, grad, "float32", loss)(inputs, labels)
            net.w.copy_(w[0])
            Autograd(net, "float32", loss)(inputs, labels)
    except Exception as error:  # whatever a net does that cannot be done for many at once
        if is_out_of_memory(error):
            raise
        raise NotStackable(str(error).partition("\n")[0]) from error
    finally:
        net.w.copy_(kept)
    if not bool((grad[0] - net.grad).norm() <= AGREEMENT * net.grad.norm()):
        raise NotStackable("its gradient in a stack is another than alone")


def _by_hand(net: FlatNet, w: Tensor, grad: Tensor, shape: tuple[int, ...], kind: str, loss: Loss) -> Gradient | None:
    """The gradient of the cross-entropy that the net's author wrote out, if this very class says so, undisturbed."""
    if loss is not F.cross_entropy:
        return None
    module: Any = net.module
    if "gradient_by_hand" not in vars(type(module)) or not bool(net.trainable.all()) or _is_observed(module):
        return None
    return module.gradient_by_hand(net.views(w), net.views(grad), shape, kind)


def _is_observed(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, name) for part in module.modules() for name in hooks)


class Autograd:
    """One net, by autograd through its module."""

    def __init__(self, net: FlatNet, kind: str, loss: Loss = F.cross_entropy) -> None:
        self.net, self.kind, self.loss = net, kind, loss

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        self.net.grad.zero_()
        with autocast(self.kind, self.net.device):
            loss = self.loss(self.net.module(inputs), labels)
        torch.autograd.backward(loss)
        return loss.detach()[None]


class Stacked:
    """M nets, by autograd through the module mapped over their weights: products become batched products."""

    def __init__(self, net: FlatNet, w: Tensor, grad: Tensor, kind: str, loss: Loss = F.cross_entropy) -> None:
        self.net, self.grad, self.kind, self.loss = net, grad, kind, loss
        self.parameters = net.views(w.detach())
        trained = [name for name, one in net.module.named_parameters() if one.requires_grad]
        self.trained = {name: self.parameters[name].requires_grad_() for name in trained}
        gradients = net.views(grad)
        self.gradients = [gradients[name] for name in trained]

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        # Made here: kept, it would hold the stack in a cycle, and its memory beyond the stack's end.
        losses = torch.vmap(self._loss, in_dims=(0, None, None))(self.parameters, inputs, labels)
        found = torch.autograd.grad(losses.sum(), list(self.trained.values()))
        self.grad.zero_()  # where parameters are frozen, too: penalty and momentum were added there
        for gradient, into in zip(found, self.gradients, strict=True):
            into.copy_(gradient)
        return losses.detach()

    def _loss(self, parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        with autocast(self.kind, self.net.device):
            return self.loss(functional_call(self.net.module, parameters, (inputs,)), labels)


def same_shape(nets: Sequence[FlatNet]) -> bool:
    """Are these nets of one class with the same parameters?  Only such can be stacked."""
    first = nets[0]
    return all(type(net.module) is type(first.module) and net.shapes == first.shapes for net in nets)
