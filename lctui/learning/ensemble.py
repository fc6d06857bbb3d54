"""Several runs' epochs at once: nets of one shape that see the same batches train as one stack.

Owns who trains with whom, and the stacks that they train in.  A member's own weights and momentum are touched only
when an epoch ends or pauses, so that a stack that does not fit into memory is halved and begun again.  Every
member keeps its own penalty, learning rate and stop request; which batches there are, all share.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

import torch

from lctui.learning.descent import Descent
from lctui.learning.gradients import same_shape, stacked_gradient
from lctui.learning.train import Trainer, Turn, batch_sizes, batches_of, epoch_seed, train, train_alone
from lctui.memory import is_out_of_memory, out_of_memory

logger = logging.getLogger("lctui")


class Ensemble:
    """Trains turns, up to `size` of them together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._stack: _Stack | None = None

    def train(self, turns: Sequence[Turn]) -> None:
        """Trains those of the turns that are furthest behind; afterwards they are done, or stand at a later batch."""
        waiting = [turn for turn in turns if turn.outcome is None]
        if not waiting:
            return
        behind = min(_place(turn.trainer) for turn in waiting)
        first = next(turn for turn in waiting if _place(turn.trainer) == behind)
        abreast = [turn for turn in waiting if _batches(turn.trainer) == _batches(first.trainer)]
        if not same_shape([turn.trainer.net for turn in abreast]):
            abreast = [first]
        while abreast:
            taken = abreast[: self.size]
            if self._train_together(taken, crowded=len(waiting) > 1):
                abreast = abreast[len(taken) :]

    def _train_together(self, turns: list[Turn], *, crowded: bool) -> bool:
        """Trains the turns; False if that must be tried again with fewer at once."""
        if len(turns) == 1:
            try:
                train_alone(turns[0])
                if crowded:
                    turns[0].trainer.batches.forget()  # the memory is the next one's
            except Exception as error:  # one run's failure is no other's
                turns[0].outcome = error
            return True
        try:
            self._stack_of(turns).train(turns)
            return True
        except Exception as error:
            if is_out_of_memory(error):
                self.size = len(turns) // 2
                logger.warning("%s: %d runs are trained at once from here on", out_of_memory(error), self.size)
            else:  # what it is, the run that causes it will meet alone
                self.size = 1
                logger.warning("runs are trained one by one: %s", str(error).partition("\n")[0])
        # Here, where no traceback holds the stack any more, its memory can be had.
        self._stack = None
        gc.collect()  # what failed may have left cycles
        if turns[0].trainer.net.device.type == "cuda":
            torch.cuda.empty_cache()
        return False

    def _stack_of(self, turns: list[Turn]) -> _Stack:
        trainers = [turn.trainer for turn in turns]
        if self._stack is None or not self._stack.holds(trainers):
            self._stack = None  # its memory is needed for the next
            self._stack = _Stack(trainers)
        return self._stack


class _Stack:
    """The memory in which as many nets train together as those it was made for."""

    def __init__(self, trainers: list[Trainer]) -> None:
        self.count, self.lead = len(trainers), trainers[0]
        lead = self.lead
        w = torch.stack([trainer.net.w for trainer in trainers])
        grad = torch.zeros_like(w)
        size = min(batch_sizes(len(lead.data), lead.settings.batch_size))
        inputs, labels = lead.data.batch(torch.arange(size, device=w.device))
        gradient = stacked_gradient(lead.net, w, grad, inputs, labels, lead.kind, lead.loss)
        self.descent = Descent(w, grad, gradient, lead.net.trainable, lead.settings)
        self.batches = batches_of(self.descent, lead.data, [], lead.augment)

    def holds(self, trainers: list[Trainer]) -> bool:
        """Can these train here?"""
        alike = _asked(trainers[0]) == _asked(self.lead)
        same_data = trainers[0].data is self.lead.data
        return alike and same_data and len(trainers) == self.count and same_shape([self.lead.net, trainers[0].net])

    @torch.no_grad()
    def train(self, turns: Sequence[Turn]) -> None:
        """An epoch of the members' nets, or what all of them see of it."""
        trainers = [turn.trainer for turn in turns]
        members = list(zip(trainers, self.descent.w.detach(), self.descent.velocity, strict=True))
        self.lead.net.module.train()
        for trainer, w, velocity in members:
            w.copy_(trainer.net.w)
            velocity.copy_(trainer.momentum)
        with torch.enable_grad():
            train(turns, self.descent, self.batches)
        for trainer, w, velocity in members:
            trainer.net.w.copy_(w)
            trainer.momentum.copy_(velocity)


def _place(trainer: Trainer) -> tuple[Any, ...]:
    """How far a trainer is, for comparison with others of its phase; phases are counted by their stream's numbers."""
    steps = tuple(part for part in trainer.stream if isinstance(part, int))
    return steps, trainer.position.epoch, trainer.position.batch


def _batches(trainer: Trainer) -> tuple[Any, ...]:
    """What must be equal for two trainers to see the same batches from here on, and to compute alike."""
    return *_asked(trainer), id(trainer.data), epoch_seed(trainer), trainer.position.batch


def _asked(trainer: Trainer) -> tuple[Any, ...]:
    """What a trainer computes of a batch."""
    return trainer.settings, trainer.kind, trainer.loss, trainer.augment
