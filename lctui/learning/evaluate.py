"""Test error: how many inputs a net gets wrong, or whatever metric takes that place.

Owns evaluation, always in float32, so that two runs are compared by the same arithmetic whatever they trained in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from lctui.errors import Diverged
from lctui.learning.augment import NOTHING, Augment
from lctui.learning.objective import CLASSIFICATION, Objective, summed
from lctui.learning.precision import tensor_cores
from lctui.learning.resident import Resident
from lctui.learning.streamed import Streamed
from lctui.memory import memory_for

Data = Resident | Streamed
"""A split on a device: all of it, or read as it is needed."""

NUMBERS_ON_CPU = 400_000
"""Numbers in the inputs at once: what they become inside a small net stays in the processor's cache."""
NUMBERS_ON_GPU = 3_000_000
LEAST_BATCH = 64


@dataclass(frozen=True)
class Splits:
    """The three splits on a device, and what is asked of a net on them; validation may be empty."""

    train: Data
    validation: Data
    test: Data
    objective: Objective = CLASSIFICATION
    augment: Augment = NOTHING
    """What happens to training images; evaluation knows nothing of it."""


@dataclass(frozen=True)
class Errors:
    """Share of each split that is classified wrongly, in percent, or the mean of another metric; None without data."""

    train_error_pct: float | None
    validation_error_pct: float | None
    test_error_pct: float | None


def evaluate(module: nn.Module, splits: Splits) -> Errors:
    """The errors of a net, to the count.

    Raises:
        OutOfMemory: there was not enough for a batch.
        Diverged: a metric of the user's own is no longer finite.
        RunFailed: it has not a row for each input.
    """
    with memory_for("for evaluating the net", "end other programs, or take a smaller model"):
        return Errors(
            *(error_of(module, split, splits.objective) for split in (splits.train, splits.validation, splits.test))
        )


@torch.inference_mode()
def error_of(module: nn.Module, data: Data, objective: Objective = CLASSIFICATION) -> float | None:
    """The mean of the metric over the data; of a classifier 100 · wrong / n, top-1 error in percent; None without data.

    Raises:
        Diverged: the metric is not finite.
        RunFailed: it has not a row for each input.
    """
    if len(data) == 0:
        return None
    module.eval()
    total = torch.zeros((), dtype=torch.float64, device=data.device)  # exact for counts
    with tensor_cores("float32"):
        for inputs, labels in data.in_order(batch_size(data)):
            total += summed(objective.metric, module(inputs), labels)
    if objective.is_classification:
        return 100 * int(total) / len(data)
    if not math.isfinite(mean := float(total) / len(data)):
        raise Diverged(f"the metric is no longer finite: it is {mean}; lower the learning rate, or bound the metric")
    return mean


def batch_size(data: Data) -> int:
    """Inputs to evaluate at once."""
    numbers = NUMBERS_ON_GPU if data.device.type == "cuda" else NUMBERS_ON_CPU
    return max(LEAST_BATCH, numbers // max(math.prod(data.shape), 1))
