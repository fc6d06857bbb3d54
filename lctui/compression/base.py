"""What a C step returns: Θ, as data that can be decompressed, counted and stored.

Owns `Compressed`, the base of every family's result, and `Part`, how a piece of Θ is laid out in bits.  Θ is
determined by three things: the compression (`how`), the shapes it applies to, and the tensors in `parts()`.  The
checkpoint stores those tensors as they are; the artifact stores each by its code.  Solves no C step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lctui.compression import coded_indices, coded_positions
from lctui.compression.deltas import Shape, theta_dtype
from lctui.compression.gaps import gap_bits
from lctui.compression.range_coder import Bytes
from lctui.scheme import flops
from lctui.scheme.net import Layer
from lctui.scheme.storage import FLOAT_BITS, coded_bits, index_bits

__all__ = ["Code", "Compressed", "Part", "Shape", "Target", "theta_dtype"]

Code = Literal["float", "index", "gaps", "mask", "positions", "indices"]


@dataclass(frozen=True)
class Part:
    """One tensor of Θ and its code on disk.

    float: as it is (float32, or float16) · index: integers in [0, size), ⌈log₂ size⌉ bits each · gaps: increasing
    int64 positions in [0, size), gap-coded · mask: booleans, one bit each · positions: increasing int64 positions in
    tensors of the task's `shapes`, arithmetic-coded · indices: integers in [0, size), arithmetic-coded.
    """

    tensor: Tensor
    code: Code
    size: int = 0
    shapes: tuple[Shape, ...] = ()

    @classmethod
    def of_positions(cls, positions: Tensor, shapes: tuple[Shape, ...], code: str) -> Part:
        """Increasing positions in tensors of these shapes, by a compression's `code`."""
        if code == "arithmetic":
            return cls(positions, "positions", shapes=shapes)
        return cls(positions, "gaps", sum(map(math.prod, shapes)))

    @classmethod
    def of_indices(cls, indices: Tensor, size: int, code: str) -> Part:
        """Indices in [0, size), by a compression's `code`."""
        return cls(indices, "indices" if code == "arithmetic" else "index", size)

    @property
    def bits(self) -> int:
        """The part's size: what is counted, and written."""
        count = self.tensor.numel()
        match self.code:
            case "float":
                return count * min(FLOAT_BITS, 8 * self.tensor.itemsize)
            case "index":
                return count * index_bits(max(self.size, 1))
            case "gaps":
                return gap_bits(self.tensor)
            case "mask":
                return count
        return coded_bits(self.coded().size)

    def coded(self) -> Bytes:
        """The bytes of an arithmetic code."""
        values = self.tensor.detach().cpu().reshape(-1).numpy().astype(np.int64)
        if self.code == "positions":
            return coded_positions.encode(values, self.shapes)
        return coded_indices.encode(values, max(self.size, 1))


@dataclass(frozen=True)
class Target:
    """v of one C step: the task's tensors, and whether the caller gave one tensor or a list."""

    tensors: tuple[Tensor, ...]
    listed: bool

    @classmethod
    def of(cls, v: Tensor | Sequence[Tensor]) -> Target:
        """Wraps what `c_step` was given.

        Raises:
            TypeError: not floating-point tensors.
            ValueError: an empty list.
        """
        tensors = (v,) if isinstance(v, Tensor) else tuple(v)
        if not tensors:
            raise ValueError("a task needs at least one tensor")
        for tensor in tensors:
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                raise TypeError(f"a task's weights are floating-point tensors, got {getattr(tensor, 'dtype', tensor)}")
        return cls(tensors, not isinstance(v, Tensor))

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(tuple(tensor.shape) for tensor in self.tensors)

    @property
    def dtype(self) -> torch.dtype:
        return self.tensors[0].dtype

    def flat(self) -> Tensor:
        """v: [N], the tensors one after the other, in row-major order whatever their memory format."""
        return torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors])


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed(ABC):
    """Θ of one task.

    `how` is the compression that made it (a tuple for a sum), `shapes` the shapes of the task's tensors, `dtype` what
    `dense()` returns, `listed` whether `dense()` returns a list.  Θ's numbers are float32 whatever the dtype, unless
    that is float64.
    """

    how: Any
    shapes: tuple[Shape, ...]
    dtype: torch.dtype = torch.float32
    listed: bool = False

    @property
    def n(self) -> int:
        """N: weights in the task."""
        return sum(math.prod(shape) for shape in self.shapes)

    @abstractmethod
    def flat(self) -> Tensor:
        """Δ(Θ): [N], in Θ's own dtype; the same bits on every device and with any number of threads."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers Θ has, as the report counts them."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Storage of Θ in bits."""

    @property
    @abstractmethod
    def multiplications(self) -> tuple[int, ...]:
        """For every tensor of the task, the multiply-adds that one output pixel costs: zeros are skipped."""

    def flops(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        """For every layer of the task, the floating-point operations that one input costs."""
        return tuple(flops.of_weights(layer, count) for layer, count in zip(layers, self.multiplications, strict=True))

    @abstractmethod
    def learned(self) -> dict[str, Any]:
        """What the C step found, JSON-ready: `nonzeros`, `codebook`, `rank`."""

    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """The tensors of Θ, by name."""

    @classmethod
    @abstractmethod
    def from_parts(
        cls, how: Any, shapes: tuple[Shape, ...], tensors: Mapping[str, Tensor], dtype: torch.dtype, listed: bool
    ) -> Compressed:
        """The inverse of `parts()`."""

    def to(self, device: torch.device) -> Compressed:
        """The same Θ on another device."""
        tensors = {name: part.tensor.to(device) for name, part in self.parts().items()}
        return self.from_parts(self.how, self.shapes, tensors, self.dtype, self.listed)

    def pieces(self, flat: Tensor) -> list[Tensor]:
        """A vector [N] cut into the task's tensors, in their shapes."""
        cut = flat.split([math.prod(shape) for shape in self.shapes])
        return [piece.reshape(shape) for piece, shape in zip(cut, self.shapes, strict=True)]

    def dense(self) -> Any:
        """Δ(Θ), shaped as v came in: a tensor, or a list of tensors for a joint task."""
        tensors = self.pieces(self.flat().to(self.dtype))
        return tensors if self.listed else tensors[0]
