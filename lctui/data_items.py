"""Items of a user's own data sets, as tensors that can be trained on.

Owns what a data set may be (map-style, or a pair of tensors), what its items may be, and the line that says what is
wrong with one.  Splits nothing, and keeps nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from lctui import user_code
from lctui.errors import BadInput


@dataclass(frozen=True)
class Split:
    """Part of a data set: inputs [n, …], float32, and labels [n], int64; or targets [n, …] of any other kind."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """An input's."""
        return tuple(self.inputs.shape[1:])

    def first(self, n: int) -> Split:
        """The first n of them, copied: some nets write into what they are given."""
        return Split(self.inputs[:n].clone(memory_format=torch.contiguous_format), self.labels[:n].clone())


@dataclass(frozen=True)
class Place:
    """Which of the user's two data sets is being read, for the wording of what is wrong with it."""

    source: str
    path: str
    part: str
    labelled: bool

    def bad(self, message: str) -> BadInput:
        """What is wrong with it."""
        return BadInput.one(self.source, self.path, f"{self.part} {message}")


def materialise(part: Any, place: Place) -> Split:
    """A map-style data set, or a pair of tensors, as tensors."""
    inputs, labels = _columns(part, place)
    if len(labels) == 0:
        raise place.bad("is empty")
    if len(inputs) != len(labels):
        raise place.bad(f"has {len(inputs)} inputs but {len(labels)} labels")
    return checked(inputs, labels, place)


def checked(inputs: Tensor, labels: Tensor, place: Place) -> Split:
    """Inputs and labels in the types that are trained on; raises BadInput for what cannot be."""
    if place.labelled:
        _require_classes(labels, place)
    elif labels.is_complex() or not labels.isfinite().all():
        raise place.bad("targets must be finite real numbers")
    if not inputs.isfinite().all():
        raise place.bad("inputs must be finite numbers")
    whole = not inputs.is_floating_point() and inputs.dtype not in (torch.uint8, torch.bool)
    target = torch.float32 if labels.is_floating_point() else torch.int64
    return Split(inputs.to(torch.int64 if whole else torch.float32).contiguous(), labels.to(target).contiguous())


def _require_classes(labels: Tensor, place: Place) -> None:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.dim() != 1:
        found = f"{type_name(labels.dtype)} of shape {tuple(labels.shape)}"
        raise place.bad(f"labels must be integers, one an input; got {found}")
    if int(labels.min()) < 0:
        raise place.bad(f"label {int(labels.min())} must be 0 or more")


def are_classes(targets: Tensor) -> bool:
    """Is it a class for each input?"""
    return targets.dim() == 1 and not targets.is_floating_point() and int(targets.min()) >= 0


def type_name(dtype: torch.dtype) -> str:
    """A type as a person writes it."""
    return str(dtype).removeprefix("torch.")


def _columns(part: Any, place: Place) -> tuple[Tensor, Tensor]:
    pair = pair_of(part)
    if pair is not None:
        inputs, labels = as_tensor(pair[0], "inputs", place), as_tensor(pair[1], "labels", place)
        if inputs.dim() == 0 or labels.dim() == 0:
            raise place.bad("inputs and labels must be tensors with a row for each input")
        return inputs, labels
    require_map_style(part, place)
    return read_items(part, range(len(part)), place)


def pair_of(part: Any) -> tuple[Any, Any] | None:
    """The inputs and labels of a data set that is a pair of tensors or arrays; None for any other."""
    # A subclass may do more to its items than look them up.
    pair = part.tensors if type(part) is TensorDataset else part
    if isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(c, Tensor | np.ndarray) for c in pair):
        return pair[0], pair[1]
    return None


def require_map_style(part: Any, place: Place) -> None:
    """Raises BadInput for what has no items to be looked up."""
    if not hasattr(part, "__len__") or not hasattr(part, "__getitem__"):
        raise place.bad(f"must be a map-style data set or a pair of tensors, got {what(part)}")


def read_items(
    part: Any, places: Iterable[int], place: Place, before: Callable[[int], None] = lambda place: None
) -> tuple[Tensor, Tensor]:
    """The items at the given places: inputs [b, …] and labels [b, …]; `before` is called before each is asked for.

    Raises:
        BadInput: at an item that raises, or is not what it should be.
    """
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    for i in places:
        before(i)
        try:
            item = part[i]
        except Exception as error:
            raise place.bad(f"item {i} raised {user_code.one_line(error)}") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise place.bad(f"item {i} must be a pair (input, label), got {what(item)}")
        inputs.append(as_tensor(item[0], f"input of item {i}", place))
        labels.append(as_tensor(item[1], f"label of item {i}", place))
        if inputs[-1].shape != inputs[0].shape:
            shapes = f"{tuple(inputs[0].shape)}, input {i} of {tuple(inputs[-1].shape)}"
            raise place.bad(f"all inputs must have one shape: input 0 is of {shapes}")
        if place.labelled and labels[-1].numel() != 1:
            raise place.bad(f"label of item {i} must be one integer, got {what(item[1])}")
        if labels[-1].numel() != labels[0].numel():
            shapes = f"{tuple(labels[0].shape)}, target {i} of {tuple(labels[-1].shape)}"
            raise place.bad(f"all targets must have one shape: target 0 is of {shapes}")
    if not inputs:
        return torch.empty(0), torch.empty(0)
    shape = () if place.labelled else labels[0].shape
    return torch.stack(inputs), torch.stack([label.reshape(shape) for label in labels])


def as_tensor(value: Any, named: str, place: Place) -> Tensor:
    """The value as a tensor on the host; raises BadInput for what is none."""
    try:
        return torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        hint = "a transform such as torchvision's ToTensor() makes tensors of images"
        raise place.bad(f"{named} must be a tensor, got {what(value)}; {hint}") from None


def what(value: Any) -> str:
    """A value's kind, in a word or two."""
    name = type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, tuple | list) else name


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 of arrays with their types and shapes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
