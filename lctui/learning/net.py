"""A net whose parameters are one vector.

Owns the layout: every parameter of a module is a view into w, [P], and every gradient a view into one more, so that
the penalty, the multipliers and SGD are a few operations on vectors whatever the net looks like, and several nets of
one shape can be stacked on a leading axis.  Knows nothing of tasks or data.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class FlatNet:
    """A module on a device, with its parameters gathered in `w` and their gradients in `grad`, both [P]."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        """Works on a copy: the caller's module keeps its own weights."""
        self.module = copy.deepcopy(module).to(device=device, dtype=torch.float32)
        self.device = device
        named = dict(self.module.named_parameters())  # tied parameters stand here once
        # A weight that two modules share has one slice; each of its names leads to it.
        own = {id(parameter): name for name, parameter in named.items()}
        every = self.module.named_parameters(remove_duplicate=False)
        self.canonical = {name: own[id(parameter)] for name, parameter in every}
        self.shapes = {name: tuple(parameter.shape) for name, parameter in named.items()}
        sizes = [parameter.numel() for parameter in named.values()]
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        self.slices = {name: slice(ends[i], ends[i + 1]) for i, name in enumerate(named)}
        self.w = torch.cat([parameter.detach().reshape(-1) for parameter in named.values()])
        self.grad = torch.zeros_like(self.w)
        self.trainable = torch.ones_like(self.w)  # 0 where the module's author froze a parameter
        for name, parameter in named.items():
            parameter.data = self.view(self.w, name)
            parameter.grad = self.view(self.grad, name)
            self.view(self.trainable, name).fill_(float(parameter.requires_grad))

    def view(self, vector: Tensor, name: str) -> Tensor:
        """One parameter's piece of a vector [P], in the parameter's shape; shares memory."""
        name = self.canonical[name]
        return vector[self.slices[name]].view(self.shapes[name])

    def views(self, vectors: Tensor) -> dict[str, Tensor]:
        """All parameters' pieces of vectors [M, P], by name, each [M, …]; they share memory."""
        return {name: vectors[:, piece].view(-1, *self.shapes[name]) for name, piece in self.slices.items()}

    def state(self) -> dict[str, Tensor]:
        """The module's state dict, copied to the CPU; names that share a tensor still do."""
        copies: dict[tuple[int, torch.Size], Tensor] = {}
        state = {}
        for name, tensor in self.module.state_dict().items():
            key = (tensor.data_ptr() or id(tensor), tensor.shape)
            state[name] = copies.setdefault(key, tensor.detach().to("cpu", copy=True))
        return state

    def buffers(self) -> dict[str, Tensor]:
        """State that is not trained (batch-norm statistics), copied to the CPU."""
        return {name: buffer.detach().cpu().clone() for name, buffer in self.module.named_buffers()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a state dict; parameters stay views into `w`."""
        self.module.load_state_dict(dict(state))

    @torch.no_grad()
    def load_buffers(self, buffers: Mapping[str, Tensor]) -> None:
        """Takes over what `buffers` returned."""
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])
