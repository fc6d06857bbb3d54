"""What happens by chance to the images that are trained on, on the device, a batch at once.

Owns the augmentations and their random numbers: drawn for a whole epoch when it begins, a row an input, from the
epoch's own seed.  So a run that resumes draws the same without any state kept, what happens to an input does not
depend on its batch, and a batch is nothing but operations on tensors, which a CUDA graph can hold.  A function of the
user's own gets a generator instead, seeded anew for every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lctui.learning.seeds import derive
from lctui.scheme.augmentations import Augmentation

DRAWS = 2
"""Random numbers that one augmentation has for an input."""

Function = Callable[[Tensor, torch.Generator], Tensor]
"""Inputs [n, …] and a generator on their device to inputs of the same shape and type."""


@dataclass(frozen=True)
class Augment:
    """Some augmentations in order, with the user's own functions among them; equal to another that does the same."""

    steps: tuple[Augmentation, ...] = ()
    functions: tuple[Function, ...] = ()

    @property
    def can_be_captured(self) -> bool:
        """Does it draw no random numbers within a batch?"""
        return not self.functions


NOTHING = Augment()


class Augmenting:
    """The augmentations of an epoch's batches."""

    def __init__(self, how: Augment, count: int, device: torch.device) -> None:
        """`count`: how many inputs an epoch has."""
        self.how = how
        self.draws = torch.zeros(count, DRAWS * len(how.steps), device=device)
        self.generator = torch.Generator(device)
        self._seed = 0

    def begin(self, seed: int) -> None:
        """An epoch, whose random numbers follow from its seed, on every device the same."""
        self._seed = derive(seed, "augment")
        drawn = torch.rand(self.draws.shape, generator=torch.Generator().manual_seed(self._seed))
        self.draws.copy_(drawn)  # in place: a captured graph reads from here

    def batch(self, inputs: Tensor, index: Tensor, place: int = 0) -> Tensor:
        """Inputs [b, …], those at `index` [b] of the data, as they are trained on.

        `place` is where in the epoch the batch begins, which seeds the user's own functions.
        """
        own = iter(self.how.functions)
        for number, step in enumerate(self.how.steps):
            if step.function is not None:
                self.generator.manual_seed(derive(self._seed, number, place))
                inputs = next(own)(inputs, self.generator)
            else:
                drawn = self.draws[:, DRAWS * number : DRAWS * (number + 1)].index_select(0, index)
                inputs = _BY_NAME[step.name](inputs, drawn, step.pixels or 0)
        return inputs


def _flip(images: Tensor, drawn: Tensor, pixels: int) -> Tensor:
    """Half of the images, left to right."""
    del pixels
    return torch.where((drawn[:, 0] < 0.5)[:, None, None, None], images.flip(3), images)


def _crop(images: Tensor, drawn: Tensor, pixels: int) -> Tensor:
    """Each image is moved by up to so many pixels each way; zeros move in."""
    height, width = images.shape[2:]
    down, along = _whole(drawn, 2 * pixels + 1)
    rows = down[:, None] + torch.arange(height, device=images.device)  # [n, h] of the padded image
    columns = along[:, None] + torch.arange(width, device=images.device)
    return _gathered(F.pad(images, (pixels, pixels, pixels, pixels)), rows, columns)


def _shift(images: Tensor, drawn: Tensor, pixels: int) -> Tensor:
    """Each image is moved by up to so many pixels each way; its edge is repeated."""
    height, width = images.shape[2:]
    down, along = _whole(drawn, 2 * pixels + 1)
    rows = (down[:, None] - pixels + torch.arange(height, device=images.device)).clamp(0, height - 1)
    columns = (along[:, None] - pixels + torch.arange(width, device=images.device)).clamp(0, width - 1)
    return _gathered(images, rows, columns)


def _erase(images: Tensor, drawn: Tensor, pixels: int) -> Tensor:
    """A square of each image becomes zero; all of it lies inside."""
    height, width = images.shape[2:]
    top = (drawn[:, 0] * (height - pixels + 1)).long()[:, None]
    left = (drawn[:, 1] * (width - pixels + 1)).long()[:, None]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    down = (rows >= top) & (rows < top + pixels)  # [n, h]
    along = (columns >= left) & (columns < left + pixels)
    return images.masked_fill((down[:, :, None] & along[:, None, :])[:, None], 0.0)


def _whole(drawn: Tensor, choices: int) -> tuple[Tensor, Tensor]:
    """Two whole numbers below `choices` for each row."""
    down, along = (drawn * choices).long().unbind(1)
    return down, along


def _gathered(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Of each image [c, H, W] the pixels at its rows [h] and columns [w]: [n, c, h, w], channels last in memory."""
    number = torch.arange(len(images), device=images.device)[:, None, None]
    return images[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


_BY_NAME: dict[str, Any] = {"flip": _flip, "crop": _crop, "shift": _shift, "erase": _erase}
