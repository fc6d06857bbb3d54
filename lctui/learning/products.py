"""Matrix products into memory that stays: the arithmetic of gradients that are written out by hand.

Owns the buffers (named, made once for every shape, reused by every batch: allocating tens of megabytes anew costs as
much as filling them, and a captured CUDA graph needs fixed addresses), and the precision of the products.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Products:
    """Named buffers on one device, and batched products into them."""

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        """`dtype` is what factors are rounded to, and results in buffers of this dtype; sums are float32 on the way."""
        self.device, self.dtype = device, dtype
        self._rooms: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def room(self, name: str, *shape: int) -> Tensor:
        """A buffer, zero when it is made and as it was left ever after; one a name and shape."""
        key = (name, shape)
        if key not in self._rooms:
            self._rooms[key] = torch.zeros(shape, dtype=self.dtype, device=self.device)
        return self._rooms[key]

    def rounded(self, name: str, values: Tensor) -> Tensor:
        """Values as factors: themselves where nothing is rounded, else in the buffer of that name."""
        return values if values.dtype == self.dtype else self.room(name, *values.shape).copy_(values)

    def make(self, name: str, left: Tensor, right: Tensor) -> Tensor:
        """left @ right in the buffer of that name: [B, m, k] or [m, k] times [B, k, n] → [B, m, n]."""
        shape = (len(right), left.shape[-2], right.shape[-1])
        return self.into(self.room(name, *shape), left, right)

    def into(self, out: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """left @ right, written into `out`: [B, m, n], of any strides and of float32 or `dtype`."""
        left = left.expand(len(right), -1, -1)
        if out.dtype != self.dtype:
            return out.copy_(torch.bmm(left, right))
        if not out.is_cuda and len(right) < 2 * torch.get_num_threads():
            # A CPU's batched product gives each of its cores whole matrices: few large ones leave cores idle.
            for one, a, b in zip(out, left, right, strict=True):
                torch.mm(a, b, out=one)
            return out
        return torch.bmm(left, right, out=out)
