"""What training minimises and what is reported as error.

Owns the built-in losses and metrics, and the arithmetic that a user's own are called in.  Finds no functions and reads
no schemes: `lctui.objectives` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lctui.errors import RunFailed

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) of a batch to their mean loss, a tensor of one number to differentiate."""

Metric = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) of a batch to one number an input [n], or several [n, …] whose mean counts; lower is better."""


def is_wrong(scores: Tensor, labels: Tensor) -> Tensor:
    """Which inputs are classified wrongly: [n] booleans, for scores [n, classes] and labels [n]."""
    # Where a score is no number, the largest is none either: that is no answer.
    return (scores.argmax(1) != labels) | scores.isnan().any(1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """(output − target)², entry by entry, for tensors of one shape.

    Raises:
        ValueError: their shapes differ: broadcasting would compare every output with every target.
    """
    if outputs.shape != targets.shape:
        wanted, got = (tuple(tensor.shape[1:]) for tensor in (targets, outputs))
        raise ValueError(f"mse compares outputs with targets of one shape; an output has {got}, a target {wanted}")
    return (outputs.float() - targets).square()


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean of (output − target)² over all entries."""
    return squared_error(outputs, targets).mean()


@dataclass(frozen=True)
class Objective:
    """A loss to train by and a metric to report."""

    loss: Loss = F.cross_entropy
    metric: Metric = is_wrong

    @property
    def takes_scores(self) -> bool:
        """Must outputs be scores [n, classes]?"""
        return self.loss is F.cross_entropy or self.metric is is_wrong

    @property
    def is_classification(self) -> bool:
        """Is the metric the share of inputs that are classified wrongly, in percent?"""
        return self.metric is is_wrong


CLASSIFICATION = Objective()

LOSSES: dict[str, Loss] = {"cross_entropy": F.cross_entropy, "mse": mean_squared_error}
METRICS: dict[str, Metric] = {"error": is_wrong, "mse": squared_error}


@dataclass(frozen=True)
class InFloat32:
    """A function of the user's, called with float32 outputs and outside autocast, whatever the net is trained in.

    Equal to another one of the same function, so that nets trained by it may train together.
    """

    function: Loss

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(outputs.device.type, enabled=False):
            return self.function(outputs.float() if outputs.is_floating_point() else outputs, targets)


def summed(metric: Metric, outputs: Tensor, targets: Tensor) -> Tensor:
    """The metric of a batch, summed over its inputs: one float64; of an input with several numbers, their mean.

    Raises:
        RunFailed: it has not a row for each input: the sum would be of something else.
    """
    values = metric(outputs, targets)
    if not has_a_row_an_input(values, len(targets)):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise RunFailed(f"objective.metric returned {got} for {len(targets)} inputs; it must return a row for each")
    values = values.double()
    return values.flatten(1).mean(1).sum() if values.dim() > 1 else values.sum()


def has_a_row_an_input(values: object, n: int) -> bool:
    """Is this a tensor [n, …]?"""
    return isinstance(values, Tensor) and values.dim() > 0 and len(values) == n
