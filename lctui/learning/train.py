"""SGD over resident data: epochs of reference training and of the L step.

Owns what an epoch is (its order, its batches, the place in it where training stands, so that it can stop after any
batch and go on exactly) and training an epoch of one net.  Several nets on the same batches are `lctui.learning.
ensemble`'s.  Chooses no learning rates and evaluates nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from lctui.errors import Interrupted
from lctui.learning.augment import NOTHING, Augment, Augmenting
from lctui.learning.captured import CapturedBatches
from lctui.learning.descent import Descent, Penalty, SgdSettings
from lctui.learning.evaluate import Data
from lctui.learning.gradients import gradient_of
from lctui.learning.net import FlatNet
from lctui.learning.objective import Loss
from lctui.learning.precision import arithmetic, tensor_cores
from lctui.learning.resident import Resident
from lctui.learning.seeds import derive, permutation
from lctui.learning.streamed import Streamed, StreamedBatches

TELL_SECONDS = 0.1
"""How often runs that train together hear of their batches."""

Stop = Callable[[], bool]
Stream = tuple[str | int, ...]


def never() -> bool:
    """The `Stop` that lets training run to its end."""
    return False


@dataclass
class Position:
    """Where training stands inside a phase: finished epochs, finished batches of the next, and their summed loss."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    rng: Tensor | None = None


@dataclass(eq=False)
class Trainer:
    """Momentum SGD on a `FlatNet`, phase after phase.

    `stream` names a phase's randomness.  `on_batch` is told of every finished batch (for progress displays).
    """

    net: FlatNet
    data: Data
    settings: SgdSettings
    seed: int
    stream: Stream = ()
    position: Position = field(default_factory=Position)
    stop: Stop = never
    on_batch: Callable[[int, int], None] = lambda done, total: None
    loss: Loss = F.cross_entropy
    augment: Augment = NOTHING

    def __post_init__(self) -> None:
        self.kind = arithmetic(self.settings.precision, self.net.device)
        gradient = gradient_of(self.net, self.data.shape, self.kind, self.loss)
        w, grad = self.net.w[None], self.net.grad[None]
        self.descent = Descent(w, grad, gradient, self.net.trainable, self.settings)
        self.batches = batches_of(self.descent, self.data, [self.net], self.augment)

    @property
    def momentum(self) -> Tensor:
        """SGD's velocity: [P]."""
        return self.descent.velocity[0]

    def begin(self, stream: Stream, position: Position, momentum: Tensor | None = None) -> None:
        """A new phase, or one that goes on at a position with the momentum that it had."""
        self.stream, self.position = stream, position
        if momentum is None:
            self.momentum.zero_()
        else:
            self.momentum.copy_(momentum)

    def epoch(self, lr: float, penalty: Penalty | None = None) -> float:
        """Trains to the end of the current epoch; returns its mean loss, without the penalty.

        Raises:
            Interrupted: `stop` said so; `position` and the net stand after the last finished batch.
        """
        return Turn(self, lr, penalty).loss()


@dataclass(eq=False)
class Turn:
    """One epoch that a run wants trained: beside others', if somebody sees to that before its loss is asked for.

    `seconds` is how long the epoch took so far, `together` how many runs shared that time; `outcome` is its loss once
    it is trained, or what kept it from being.
    """

    trainer: Trainer
    lr: float
    penalty: Penalty | None = None
    seconds: float = 0.0
    together: int = 1
    outcome: float | Exception | None = None

    def loss(self) -> float:
        """The epoch's mean loss, without the penalty; trains what is left of it.

        Raises:
            Interrupted: the run's `stop` said so; its trainer stands after the last finished batch.
            Exception: whatever else kept the epoch from being trained.
        """
        if self.outcome is None:
            train_alone(self)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome


def train_alone(turn: Turn) -> None:
    """The epoch of one net, on its own weights."""
    trainer = turn.trainer
    torch.manual_seed(epoch_seed(trainer))  # dropout and the like
    if trainer.position.rng is not None:
        _set_random_state(trainer.position.rng, trainer.net.device)
    train([turn], trainer.descent, trainer.batches)


def train(turns: Sequence[Turn], descent: Descent, batches: Batches) -> None:
    """Trains turns that stand at the same batch of the same data, as far as nobody wants to stop.

    All of them end their epoch, or all stand after the same batch and at least one is interrupted.
    """
    started = time.perf_counter()
    trainers = [turn.trainer for turn in turns]
    lead, position = trainers[0], trainers[0].position
    sizes = batch_sizes(len(lead.data), lead.settings.batch_size)
    descent.set_rates([turn.lr for turn in turns])
    descent.set_penalties([turn.penalty for turn in turns])
    descent.loss_sum.copy_(torch.tensor([trainer.position.loss_sum for trainer in trainers], dtype=torch.float64))
    order = permutation(len(lead.data), epoch_seed(lead)).to(lead.net.device)
    leaving: list[bool] = []
    told = -math.inf
    with _current(lead.net.device), tensor_cores(lead.kind):
        batches.begin(order, sum(sizes[: position.batch]), epoch_seed(lead))
        for trainer in trainers:
            trainer.net.module.train()
        for batch in range(position.batch, len(sizes)):
            leaving = [trainer.stop() for trainer in trainers]
            if any(leaving):
                break
            batches.batch(sizes[batch])
            # Telling many runs of every batch would take as long as the batch.
            if len(trainers) == 1 or time.perf_counter() - told >= TELL_SECONDS:
                told = time.perf_counter()
                for trainer in trainers:
                    trainer.on_batch(batch + 1, len(sizes))
    sums = descent.loss_sum.tolist()  # waits for the device
    seconds = time.perf_counter() - started
    # From here on nothing can fail: a stack that must be tried again has moved none of its members.
    rng = _random_state(lead.net.device) if any(leaving) else None
    for i, (turn, trainer) in enumerate(zip(turns, trainers, strict=True)):
        turn.seconds += seconds
        turn.together = len(turns)
        if not any(leaving):
            trainer.position = Position(epoch=position.epoch + 1)
            turn.outcome = sums[i] / len(lead.data)
            continue
        trainer.position = Position(position.epoch, batch, sums[i], rng)
        if leaving[i]:
            turn.outcome = Interrupted("stopped on request")


class BatchesInOrder:
    """The batches of a `Descent` on resident data, one operation after the other."""

    def __init__(self, descent: Descent, data: Resident, augmenting: Augmenting) -> None:
        self.descent, self.data, self.augmenting = descent, data, augmenting

    def begin(self, order: Tensor, place: int, seed: int) -> None:
        """A new epoch, from a place in its order."""
        self.order, self.place = order, place
        self.augmenting.begin(seed)

    def batch(self, size: int) -> None:
        """The next `size` inputs."""
        index = self.order[self.place : self.place + size]
        inputs, labels = self.data.batch(index)
        self.descent.batch(self.augmenting.batch(inputs, index, self.place), labels)
        self.place += size

    def forget(self) -> None:
        """Gives back what is kept between epochs only to be quick."""
        self.descent.forget()


Batches = BatchesInOrder | CapturedBatches | StreamedBatches


def batches_of(descent: Descent, data: Data, nets: Sequence[FlatNet], augment: Augment) -> Batches:
    """The fastest way through an epoch on the data's device."""
    augmenting = Augmenting(augment, len(data), data.device)
    if isinstance(data, Streamed):
        return StreamedBatches(descent, data, augmenting, batch_sizes(len(data), descent.settings.batch_size))
    if data.device.type == "cuda" and augment.can_be_captured:
        return CapturedBatches(descent, data, [net.module for net in nets], augmenting)
    return BatchesInOrder(descent, data, augmenting)


def batch_sizes(count: int, size: int) -> list[int]:
    """The sizes of an epoch's batches: `size` each, the last one fewer.

    A last batch of a single input joins the one before it: batch-norm cannot normalise over one.
    """
    sizes = [size] * (count // size) + [count % size] * (count % size > 0)
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


def epoch_seed(trainer: Trainer) -> int:
    """The seed of an epoch's order and of whatever else is random in it."""
    return derive(trainer.seed, *trainer.stream, trainer.position.epoch)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """The context in which a device is the one that streams and graphs are made on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _random_state(device: torch.device) -> Tensor:
    """Where the device's random numbers stand: a tensor on the CPU."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(state: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
