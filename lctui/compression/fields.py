"""Θ's tensors as they come back from a file: nothing is believed before it is checked.

Owns the checks that every `from_parts` shares (names, shapes, ranges, finiteness) and the integer type of indices.
Every failure is a `ValueError` that names the tensor.  Decodes no bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def index_dtype(size: int) -> torch.dtype:
    """The smallest integer type that torch computes with and that holds indices in [0, size)."""
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if size - 1 <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64


def expect(tensors: Mapping[str, Tensor], *names: str) -> None:
    """These tensors and no others."""
    if set(tensors) != set(names):
        raise ValueError(f"the tensors are {sorted(tensors)}, this compression has {sorted(names)}")


def floats(tensors: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...], dtype: torch.dtype) -> Tensor:
    """A tensor of finite numbers, as `dtype`; None in `shape` allows any length."""
    tensor = tensors[name]
    if not tensor.is_floating_point():
        raise ValueError(f"{name} holds {tensor.dtype}, it must hold floating-point numbers")
    _check_shape(name, tensor, shape)
    tensor = tensor.to(dtype).contiguous()
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} holds numbers that are not finite")
    return tensor


def codebook(tensors: Mapping[str, Tensor], name: str, k: int, dtype: torch.dtype) -> Tensor:
    """A codebook: [k], ascending."""
    entries = floats(tensors, name, (k,), dtype)
    if bool((entries[1:] < entries[:-1]).any()):
        raise ValueError(f"{name} must ascend")
    return entries


def scale(tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Tensor:
    """A learned scale: [1], not negative."""
    value = floats(tensors, name, (1,), dtype)
    if float(value) < 0:
        raise ValueError(f"{name} is {float(value)}, it must not be negative")
    return value


def indices(tensors: Mapping[str, Tensor], name: str, count: int, size: int) -> Tensor:
    """Integers in [0, size): [count]."""
    tensor = _integers(tensors, name)
    _check_shape(name, tensor, (count,))
    if count and (int(tensor.min()) < 0 or int(tensor.max()) >= size):
        raise ValueError(f"{name} holds {int(tensor.min())}..{int(tensor.max())}, indices must lie in 0..{size - 1}")
    return tensor.to(index_dtype(size)).contiguous()


def positions(tensors: Mapping[str, Tensor], name: str, size: int) -> Tensor:
    """Strictly increasing integers in [0, size): [n], int64."""
    tensor = _integers(tensors, name)
    _check_shape(name, tensor, (None,))
    tensor = tensor.to(torch.int64).contiguous()
    if tensor.numel() and (int(tensor[0]) < 0 or int(tensor[-1]) >= size):
        raise ValueError(f"{name} runs from {int(tensor[0])} to {int(tensor[-1])}, it must lie in 0..{size - 1}")
    if bool((tensor[1:] <= tensor[:-1]).any()):
        raise ValueError(f"{name} must increase")
    return tensor


def mask(tensors: Mapping[str, Tensor], name: str, count: int) -> Tensor:
    """Booleans: [count]."""
    tensor = tensors[name]
    if tensor.dtype != torch.bool:
        raise ValueError(f"{name} holds {tensor.dtype}, it must hold booleans")
    _check_shape(name, tensor, (count,))
    return tensor.contiguous()


def _integers(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    tensor = tensors[name]
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{name} holds {tensor.dtype}, it must hold integers")
    # uint16 to uint64 have hardly any operations of their own.
    return tensor.to(torch.int64)


def _check_shape(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    fits = tensor.dim() == len(shape) and all(
        want in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        wanted = "×".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {wanted}")
