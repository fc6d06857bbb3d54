"""Momentum SGD of M nets of one shape on the same batches.

Owns one update: the gradient, what weight decay and the penalty add to it, and the step.  Everything that evolves is
a vector a net, [M, P], so that a batch costs a few operations whatever the nets look like and however many they are.
Orders no data and counts no epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from lctui.learning.gradients import Gradient


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


@dataclass(frozen=True)
class SgdSettings:
    """What one phase of training needs; the learning rate is given per epoch."""

    batch_size: int
    momentum: float
    nesterov: bool
    weight_decay: float = 0.0
    precision: str = "float32"


class Descent:
    """M nets on their way down: weights `w`, gradients `grad`, `velocity` and learning rates, [M, …] each.

    The update is torch.optim.SGD's: velocity ← m·velocity + g, then w ← w − η·velocity, or w − η(g + m·velocity) by
    Nesterov; a velocity of zeros is the same as none yet.
    """

    def __init__(
        self,
        w: Tensor,
        grad: Tensor,
        gradient: Gradient,
        trainable: Tensor,
        settings: SgdSettings,
        *,
        fused: bool | None = None,
    ) -> None:
        """`trainable` [P] is 0 where weight decay must not reach.  `fused`: by torch's kernel; on a CPU by default."""
        self.w, self.grad, self.gradient, self.trainable, self.settings = w, grad, gradient, trainable, settings
        self.velocity = torch.zeros_like(w)
        self.lr = w.new_zeros(len(w), 1)
        self.penalty: Penalty | None = None
        self._room_for_penalty: Penalty | None = None
        self.loss_sum = torch.zeros(len(w), dtype=torch.float64, device=w.device)
        self._rates, self._fused = [0.0] * len(w), not w.is_cuda if fused is None else fused

    def set_rates(self, rates: list[float]) -> None:
        """The learning rate of every net."""
        self.lr.copy_(self.lr.new_tensor(rates)[:, None])
        self._rates = rates

    def set_penalties(self, penalties: Sequence[Penalty | None]) -> None:
        """Every net's penalty, or None for all.  They are copied: a captured graph reads from fixed addresses."""
        given = [penalty for penalty in penalties if penalty is not None]
        if len(given) not in (0, len(penalties)):
            raise ValueError("a penalty for some nets and none for others")
        if not given:
            self.penalty = None
            return
        if self._room_for_penalty is None:
            self._room_for_penalty = Penalty(torch.empty_like(self.w), torch.empty_like(self.w))
        self.penalty = self._room_for_penalty
        for row, penalty in enumerate(given):
            self.penalty.coefficient[row].copy_(penalty.coefficient)
            self.penalty.target[row].copy_(penalty.target)

    def forget(self) -> None:
        """Gives back the memory that the penalties took; the next ones take it anew."""
        self.penalty = self._room_for_penalty = None

    def batch(self, inputs: Tensor, labels: Tensor) -> None:
        """One update on one batch; nothing waits for the device."""
        losses = self.gradient(inputs, labels)
        with torch.no_grad():
            if self.settings.weight_decay:
                self.grad.addcmul_(self.w, self.trainable.expand_as(self.w), value=self.settings.weight_decay)
            if self.penalty is not None:
                self.penalty.add_gradient(self.w, self.grad)
            self._update()
            self.loss_sum.add_(losses, alpha=len(labels))

    def _update(self) -> None:
        m = self.settings.momentum
        if self._fused:
            # The function: an object of torch.optim.SGD would load torch's compiler, 2 s at the start of every run.
            for w, grad, velocity, rate in zip(self.w.detach(), self.grad, self.velocity, self._rates, strict=True):
                sgd(
                    [w],
                    [grad],
                    [velocity],
                    fused=True,
                    weight_decay=0.0,
                    momentum=m,
                    lr=rate,
                    dampening=0.0,
                    nesterov=self.settings.nesterov,
                    maximize=False,
                )
            return
        self.velocity.mul_(m).add_(self.grad)
        step = self.grad.add_(self.velocity, alpha=m) if self.settings.nesterov else self.velocity
        self.w.addcmul_(step, self.lr.expand_as(step), value=-1)
