"""Data that are not kept in memory: read as they are needed.

Owns when that is so, and a part of such data: which items it has, what they must be like, and the digest that
identifies them without all of them being read.  Starts no processes: `lctui.learning.streamed` does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from lctui import scheme, user_code
from lctui.data_items import Place, Split, checked, digest_of, pair_of, read_items, require_map_style

SHARE = 0.25
"""Of the machine's memory: `auto` streams data that take more.  Of all of it, not of what is free at the moment: a
data set is identified in another way when it is streamed, and a run must find it again as it was."""

SAMPLE = 256
"""Items of each part that a streamed data set is identified by."""


@dataclass(frozen=True)
class Unread:
    """Part of a data set that is read as it is needed: the items at `places` [n] of a map-style data set, in order."""

    items: Any
    places: Tensor
    place: Place
    shape: tuple[int, ...]
    seed: int
    workers: int

    def __len__(self) -> int:
        return len(self.places)

    def take(self, indices: Tensor) -> Unread:
        """Some of them, by their place among these."""
        return replace(self, places=self.places.index_select(0, indices))

    def first(self, n: int) -> Split:
        """The first n of them, at most `SAMPLE`; nobody's random numbers are touched."""
        with user_code.seeded(self.seed):
            return self.read(range(min(n, len(self), SAMPLE)), self.seed)

    def read(self, indices: Sequence[int], seed: int) -> Split:
        """Some of them, by their place among these; what an item does by chance follows from `seed` and its place.

        Raises:
            BadInput: at an item that raises, or is not what it should be.
        """
        at = self.places[torch.as_tensor(indices, dtype=torch.int64)].tolist()
        split = checked(*read_items(self.items, at, self.place, lambda i: _seed(f"{seed}/{i}")), self.place)
        if split.shape != self.shape:
            raise self.place.bad(
                f"all inputs must have one shape: input 0 is of {self.shape}, input {at[0]} of {split.shape}"
            )
        return split


def _seed(text: str) -> None:
    random.seed(text)
    np.random.seed(random.getrandbits(32))
    torch.default_generator.manual_seed(random.getrandbits(63))


def should_stream(block: scheme.Data, train: Any, test: Any, seed: int) -> bool:
    """Are these data sets of the user's read as they are needed?"""
    if block.stream != "auto":
        return block.stream == "always"
    if pair_of(train) is not None:
        return False  # they are in memory already
    try:
        with user_code.seeded(seed):  # what items do by chance later is as if nobody had looked
            inputs = torch.as_tensor(train[0][0])
        count = len(train) + len(test)
    except Exception:  # reading them will say what is wrong
        return False
    return count * inputs.numel() * 4 > SHARE * psutil.virtual_memory().total


def unread(items: Any, place: Place, seed: int, workers: int) -> Unread:
    """A data set of the user's, to be read as it is needed.

    Raises:
        BadInput: it is neither map-style nor a pair of tensors, or its first item is no good.
    """
    pair = pair_of(items)
    if pair is not None:
        items = TensorDataset(*(torch.as_tensor(column) for column in pair))
    require_map_style(items, place)
    if len(items) == 0:
        raise place.bad("is empty")
    with user_code.seeded(seed):
        inputs, labels = read_items(items, [0], place, lambda i: _seed(f"{seed}/{i}"))
    shape = checked(inputs, labels, place).shape
    return Unread(items, torch.arange(len(items)), place, shape, seed, workers)


def sampled(part: Unread) -> Split:
    """Items spread evenly over a part, the first and the last among them."""
    places = torch.linspace(0, len(part) - 1, min(len(part), SAMPLE), dtype=torch.float64).round().long()
    with user_code.seeded(part.seed):
        return part.read(places.tolist(), part.seed)


def sample_digest(parts: Sequence[Unread], samples: Sequence[Split]) -> str:
    """Identifies data by how many items each part has, and some of them."""
    counts = np.array([len(part) for part in parts])
    return digest_of([counts, *(array.numpy() for split in samples for array in (split.inputs, split.labels))])
