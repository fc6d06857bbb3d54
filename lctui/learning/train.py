"""SGD over resident data: the inner loop of reference training and of the L step.

Owns one epoch of training, with the penalty's gradient added by hand, and where in an epoch training stands, so that
it can stop after any batch and go on exactly.  Chooses no learning rates and evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from lctui.errors import Interrupted
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.seeds import derive, permutation

Stop = Callable[[], bool]


def never() -> bool:
    """The `Stop` that lets training run to its end."""
    return False


@dataclass(frozen=True)
class Penalty:
    """μ/2 ‖w − target‖² on the weights that have a task: `coefficient` [P] is μ there and 0 elsewhere."""

    coefficient: Tensor
    target: Tensor

    def add_gradient(self, w: Tensor, grad: Tensor) -> None:
        """grad += μ(w − Δ(Θ) − λ/μ), in place."""
        grad.addcmul_(w - self.target, self.coefficient)

    def value(self, w: Tensor) -> float:
        """μ/2 ‖w − Δ(Θ) − λ/μ‖²."""
        difference = (w - self.target).double()
        return float(0.5 * (difference.square() * self.coefficient).sum())


@dataclass
class Position:
    """Where training stands inside a phase: finished epochs, finished batches of the next, and their summed loss."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    rng: Tensor | None = None


@dataclass(frozen=True)
class SgdSettings:
    """What one phase of training needs; `lr` is given per epoch."""

    batch_size: int
    momentum: float
    nesterov: bool
    weight_decay: float = 0.0
    precision: str = "float32"


@dataclass
class Trainer:
    """Momentum SGD on a `FlatNet`: one phase, from its first epoch to its last.

    `stream` names the phase's randomness.  `on_batch` is told of every finished batch (for progress displays).
    """

    net: FlatNet
    data: Resident
    settings: SgdSettings
    seed: int
    stream: tuple[str | int, ...]
    position: Position = field(default_factory=Position)
    stop: Stop = never
    on_batch: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self) -> None:
        options = self.settings
        self.optimizer = torch.optim.SGD(
            [self.net.w],
            lr=0.0,
            momentum=options.momentum,
            nesterov=options.nesterov,
            fused=True,
        )
        self.net.w.grad = self.net.grad
        # Zeros in place of no buffer: the first update is the same, and there is always one to save.
        self.buffer = torch.zeros_like(self.net.w)
        self.optimizer.state[self.net.w]["momentum_buffer"] = self.buffer

    def load_momentum(self, buffer: Tensor) -> None:
        """Takes over a saved momentum buffer, [P]."""
        self.buffer.copy_(buffer)

    def epoch(self, lr: float, penalty: Penalty | None = None) -> float:
        """Trains to the end of the current epoch; returns its mean loss, without the penalty.

        Raises:
            Interrupted: `stop` said so; `position` and the net stand after the last finished batch.
        """
        batches = _batches(self._begin(lr), self.settings.batch_size)
        start = self.position.batch
        loss_sum = torch.tensor(self.position.loss_sum, dtype=torch.float64, device=self.net.device)
        for batch, index in enumerate(batches):
            if batch < start:
                continue
            if self.stop():
                self._pause(batch, loss_sum)
                raise Interrupted("stopped on request")
            loss_sum += self._batch(index, penalty) * len(index)
            self.on_batch(batch + 1, len(batches))
        self.position = Position(epoch=self.position.epoch + 1)
        return float(loss_sum) / len(self.data)

    def _begin(self, lr: float) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = lr
        self.net.module.train()
        seed = derive(self.seed, *self.stream, self.position.epoch)
        torch.manual_seed(seed)  # dropout and the like
        if self.position.rng is not None:
            torch.set_rng_state(self.position.rng)
        return permutation(len(self.data), seed).to(self.net.device)

    def _pause(self, batch: int, loss_sum: Tensor) -> None:
        self.position = Position(self.position.epoch, batch, float(loss_sum), torch.get_rng_state())

    def _batch(self, index: Tensor, penalty: Penalty | None) -> Tensor:
        inputs, labels = self.data.batch(index)
        self.net.grad.zero_()
        with autocast(self.settings.precision, self.net.device):
            loss = F.cross_entropy(self.net.module(inputs), labels)
        torch.autograd.backward(loss)
        if self.settings.weight_decay:
            self.net.grad.addcmul_(self.net.w, self.net.trainable, value=self.settings.weight_decay)
        if penalty is not None:
            penalty.add_gradient(self.net.w, self.net.grad)
        self.optimizer.step()
        return loss.detach()


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """The epoch's batches: `size` places each, the last one fewer.

    A last batch of a single input joins the one before it: batch-norm cannot normalise over one.
    """
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The arithmetic of a training pass: bfloat16 where it is safe, or float32 throughout."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
