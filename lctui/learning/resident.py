"""Data that lies on the device as one tensor.

Owns the layout that makes batches cheap: images as rows in channels-last order, so that gathering rows yields a
channels-last batch without a copy per sample or a transposition per batch.  Loads no files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor


class Resident:
    """A split of the data on one device."""

    def __init__(self, inputs: Tensor, labels: Tensor, device: torch.device, *, channels_last: bool = True) -> None:
        """`inputs`: [n, …] floats, `labels`: [n] int64; both are copied to the device once.

        `channels_last` is for images only; a net that views its activations as if they were contiguous needs False.
        """
        self.shape, self.device = tuple(inputs.shape[1:]), device
        self.is_image = inputs.dim() == 4 and channels_last
        rows = inputs.permute(0, 2, 3, 1) if self.is_image else inputs
        self.rows = rows.reshape(len(inputs), math.prod(self.shape)).contiguous().to(device)  # [n, h·w·c]
        self.labels = labels.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [b, c, h, w] (channels-last in memory) and labels [b] at the given places."""
        return self._shaped(self.rows.index_select(0, index)), self.labels.index_select(0, index)

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches in the order of the data, without gathering."""
        for rows, labels in zip(self.rows.split(batch_size), self.labels.split(batch_size), strict=True):
            yield self._shaped(rows), labels

    def _shaped(self, rows: Tensor) -> Tensor:
        if not self.is_image:
            return rows.view(len(rows), *self.shape)
        channels, height, width = self.shape
        return rows.view(len(rows), height, width, channels).permute(0, 3, 1, 2)


def laid_out(images: Tensor) -> Tensor:
    """Images [n, c, h, w] as `Resident` has them: the same values and strides, channels last in memory."""
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
