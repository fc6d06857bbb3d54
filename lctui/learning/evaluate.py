"""Test error: how many inputs a net gets wrong.

Owns evaluation, always in float32, so that two runs are compared by the same arithmetic whatever they trained in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from lctui.learning.precision import tensor_cores
from lctui.learning.resident import Resident
from lctui.memory import memory_for

NUMBERS_ON_CPU = 400_000
"""Numbers in the inputs at once: what they become inside a small net stays in the processor's cache."""
NUMBERS_ON_GPU = 3_000_000
LEAST_BATCH = 64


@dataclass(frozen=True)
class Splits:
    """The three splits on a device; validation may be empty."""

    train: Resident
    validation: Resident
    test: Resident


@dataclass(frozen=True)
class Errors:
    """Share of each split that is classified wrongly, in percent; None for an empty split."""

    train_error_pct: float | None
    validation_error_pct: float | None
    test_error_pct: float | None


def evaluate(module: nn.Module, splits: Splits) -> Errors:
    """The errors of a net, to the count.

    Raises:
        OutOfMemory: there was not enough for a batch.
    """
    with memory_for("for evaluating the net", "end other programs, or take a smaller model"):
        return Errors(*(error_pct(module, split) for split in (splits.train, splits.validation, splits.test)))


@torch.inference_mode()
def error_pct(module: nn.Module, data: Resident) -> float | None:
    """100 · wrong / n: top-1 error in percent, None without data."""
    if len(data) == 0:
        return None
    module.eval()
    wrong = torch.zeros((), dtype=torch.int64, device=data.labels.device)
    with tensor_cores("float32"):
        for inputs, labels in data.in_order(batch_size(data)):
            scores = module(inputs)
            # Where a score is no number, the largest is none either: that is no answer.
            wrong += ((scores.argmax(1) != labels) | scores.isnan().any(1)).sum()
    return 100 * int(wrong) / len(data)


def batch_size(data: Resident) -> int:
    """Inputs to evaluate at once."""
    numbers = NUMBERS_ON_GPU if data.labels.is_cuda else NUMBERS_ON_CPU
    return max(LEAST_BATCH, numbers // max(math.prod(data.shape), 1))
