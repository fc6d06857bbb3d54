"""A small language model: the next character of Python's own documentation, which comes with Python."""

from __future__ import annotations

from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LENGTH = 48
"""Characters in a piece of text."""
SIGNS = 96
"""Printable ASCII; anything else is a blank."""


class Reader(nn.Module):
    """Characters [n, t] to scores of the next one [n, t, 96]: convolutions that look back at eight characters."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.letters = nn.Embedding(SIGNS, width)
        self.near = nn.Conv1d(width, width, 4)
        self.far = nn.Conv1d(width, width, 5)
        self.next = nn.Linear(width, SIGNS)

    def forward(self, text: Tensor) -> Tensor:
        x = self.letters(text).mT  # [n, width, t]
        x = F.relu(self.near(F.pad(x, (3, 0))))
        x = F.relu(self.far(F.pad(x, (4, 0))))
        return self.next(x.mT)


def net(width: int = 48) -> nn.Module:
    """The reader."""
    return Reader(width)


def data(pieces: int = 2000) -> tuple[tuple[Tensor, Tensor], ...]:
    """Pieces of text [n, 48], and as targets the same pieces one character on; every 5th is for testing."""
    text = " ".join(topics[name] for name in sorted(topics)).encode("ascii", "replace")
    signs = torch.frombuffer(bytearray(text[: pieces * LENGTH + 1]), dtype=torch.uint8).long() - 32
    signs = signs.where((signs >= 0) & (signs < SIGNS), 0)
    inputs, targets = signs[:-1].view(-1, LENGTH), signs[1:].view(-1, LENGTH)
    test = torch.arange(len(inputs)) % 5 == 4
    return tuple((inputs[part], targets[part]) for part in (~test, test))


def loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over all characters."""
    return F.cross_entropy(scores.flatten(0, 1), targets.flatten())


def bits_per_character(scores: Tensor, targets: Tensor) -> Tensor:
    """What it takes to write each character when the model is known: [n, t]."""
    return F.cross_entropy(scores.mT, targets, reduction="none") / torch.log(torch.tensor(2.0))
