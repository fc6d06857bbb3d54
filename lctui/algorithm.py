"""The LC algorithm: `learning_compression` is the loop; the rest of the file is what it is made of.

    min L(w)  over w, Θ   subject to   w = Δ(Θ)

by the augmented Lagrangian (or the quadratic penalty, λ = 0): alternate SGD on the weights (L step) with optimal
compression (C step) while μ grows (Carreira-Perpiñán 2017, arXiv 1707.01209; Carreira-Perpiñán & Idelbayev 2020,
arXiv 2005.07786).  Yields events; prints nothing and touches no files.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from lctui.compression import Compressed, c_step
from lctui.errors import Diverged, Interrupted
from lctui.events import DirectCompression, Epoch, Step
from lctui.learning.descent import Penalty, SgdSettings
from lctui.learning.evaluate import Errors, Splits, evaluate
from lctui.learning.finite import is_finite, l_step_advice
from lctui.learning.net import FlatNet
from lctui.learning.train import Position, Stop, Trainer, Turn, never
from lctui.memory import memory_for
from lctui.scheme import Scheme
from lctui.scheme.check import ResolvedTask
from lctui.scheme.compressions import members
from lctui.scheme.net import NetInfo
from lctui.scheme.storage import dense_bits

_L_STEP_ADVICE = "lower l_step.batch_size, use precision bfloat16, or take a smaller model"
_C_STEP_ADVICE = "end other programs, or give the task fewer layers"


@dataclass
class State:
    """All that evolves in a run besides the net: enough, with w, to go on exactly from any batch."""

    step: int = 0
    theta: list[Compressed] | None = None
    lam: Tensor | None = None
    position: Position = field(default_factory=Position)
    momentum: Tensor | None = None
    loss: float = math.nan
    l_seconds: float = 0.0
    converged: bool = False

    def is_finite(self, w: Tensor) -> bool:
        """Is all that evolves finite, w [P] included, so that it may be gone on from?"""
        return is_finite(w, self.momentum, self.lam, self.position.loss_sum)


@dataclass
class LCProblem:
    """A net, its tasks, its data and its schedule: what the loop solves."""

    net: FlatNet
    info: NetInfo
    tasks: Sequence[ResolvedTask]
    splits: Splits
    scheme: Scheme
    stop: Stop = never
    on_batch: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self) -> None:
        self.has_task = torch.zeros_like(self.net.w)  # [P]: 1 where a weight belongs to a task
        for task in self.tasks:
            for name in task.tensors:
                self.net.view(self.has_task, name).fill_(1)

    @cached_property
    def trainer(self) -> Trainer:
        """What the L steps train with; made when the first asks for it: a C step alone needs none."""
        l_step = self.scheme.l_step
        with memory_for("for the L step", _L_STEP_ADVICE):
            return Trainer(
                self.net,
                self.splits.train,
                SgdSettings(l_step.batch_size, l_step.momentum, l_step.nesterov, precision=self.scheme.precision),
                seed=self.scheme.seed,
                stop=lambda: self.stop(),
                on_batch=lambda done, total: self.on_batch(done, total),
                loss=self.splits.objective.loss,
                augment=self.splits.augment,
            )


def learning_compression(problem: LCProblem, state: State) -> Iterator[DirectCompression | Epoch | Step | Turn]:
    """The LC loop, from wherever `state` stands; `state` and the net evolve in place.

    Besides events it yields every epoch before it is trained, so that whoever drives several loops may train theirs
    together; an epoch that nobody has trained by the time the loop goes on, it trains itself.

    Raises:
        Interrupted: `problem.stop` said so; `state` stands after the last finished batch, all of it finite.
        Diverged: the loss, the weights, the multipliers or the compressed weights are not finite.
        OutOfMemory: there was not enough.
    """
    lc, w = problem.scheme.lc, problem.net.w
    if state.theta is None or state.lam is None:
        state.lam = torch.zeros_like(w)
        with memory_for("in direct compression", _C_STEP_ADVICE):
            state.theta, delta = _compressed(problem, w, lc.mu.at(0), None, "direct compression")
        yield DirectCompression(**asdict(_errors(problem, delta)), **size(problem, state.theta))
    else:
        delta = _delta(problem, state.theta)

    for k in range(state.step, lc.mu.steps if problem.tasks and not state.converged else 0):
        mu = lc.mu.at(k)

        # L step: w ← argmin L(w) + μ/2 ‖w − Δ(Θ) − λ/μ‖²
        with memory_for("for the L step", _L_STEP_ADVICE):
            penalty = Penalty(mu * problem.has_task, delta + state.lam / mu)
        yield from _l_step(problem, state, k, mu, penalty)

        # C step: Θ ← argmin ‖(w − λ/μ) − Δ(Θ)‖²
        started = time.perf_counter()
        with memory_for(f"in the C step of LC step {k + 1}", _C_STEP_ADVICE):
            v = w - state.lam / mu
            state.theta, delta = _compressed(problem, v, mu, state.theta, f"the C step of LC step {k + 1}")
        c_seconds = time.perf_counter() - started

        # multipliers: λ ← λ − μ(w − Δ(Θ))
        residual = (w - delta) * problem.has_task
        if lc.method == "augmented_lagrangian":
            state.lam = state.lam - mu * residual
            _require_finite(f"the multipliers of LC step {k + 1} are", _too_large(mu), state.lam)

        with memory_for(f"for measuring LC step {k + 1}", _C_STEP_ADVICE):
            step = _report(problem, state, k, mu, penalty, delta, residual, c_seconds)
        state.step, state.position, state.momentum, state.l_seconds = k + 1, Position(), None, 0.0
        state.converged = lc.tolerance is not None and step.relative_gap < lc.tolerance
        yield step
        if state.converged:
            return


def _l_step(problem: LCProblem, state: State, k: int, mu: float, penalty: Penalty) -> Iterator[Epoch | Turn]:
    """SGD on L(w) + penalty for the scheme's epochs, from where `state` stands."""
    options, trainer = problem.scheme.l_step, problem.trainer
    lr = options.rate(k, mu)
    trainer.begin(("l_step", k), state.position, state.momentum)
    state.momentum = trainer.momentum
    while trainer.position.epoch < options.epochs:
        turn = Turn(trainer, lr, penalty)
        where = f"LC step {k + 1}, epoch {trainer.position.epoch + 1}"
        require_finite = partial(_require_finite, f"the loss or the weights in {where} are", l_step_advice(lr, mu))
        try:
            yield turn
            with memory_for("in the L step", _L_STEP_ADVICE):
                state.loss = turn.loss()
        except Interrupted:
            # Only what is finite may be kept as the place to go on from.
            require_finite(trainer.position.loss_sum, problem.net.w, trainer.momentum)
            raise
        finally:
            state.position = trainer.position
            state.l_seconds += turn.seconds
        epoch = state.position.epoch
        require_finite(state.loss, problem.net.w, trainer.momentum)
        yield Epoch(k + 1, epoch, options.epochs, mu, lr, state.loss, turn.seconds, turn.together)


def _require_finite(what: str, hint: str, *values: Tensor | float) -> None:
    if not is_finite(*values):
        raise Diverged(f"{what} no longer finite: {hint}")


def _too_large(mu: float) -> str:
    return f"lower lc.mu.factor or lc.mu.start (here μ = {mu:g}), or l_step.lr"


def _compressed(
    problem: LCProblem, v: Tensor, mu: float, previous: list[Compressed] | None, where: str
) -> tuple[list[Compressed], Tensor]:
    """Θ and Δ(Θ) for the target v [P]."""
    _require_finite(f"the weights that {where} is for are", _too_large(mu), v)
    theta = _c_step(problem, v, mu, previous)
    delta = _delta(problem, theta)
    _require_finite(f"the compressed weights of {where} are", _too_large(mu), delta)
    return theta, delta


def task_c_step(
    net: FlatNet, task: ResolvedTask, v: Tensor, mu: float, previous: Compressed | None = None
) -> Compressed:
    """One task's C step for the target v [P]."""
    target = [net.view(v, name) for name in task.tensors]
    shaped = target if len(target) > 1 else target[0]
    return c_step(task.how, shaped, mu, pixels=task.layers[0].pixels, previous=previous)


def _c_step(problem: LCProblem, v: Tensor, mu: float, previous: list[Compressed] | None) -> list[Compressed]:
    """Every task's C step for the target v [P]."""
    return [
        task_c_step(problem.net, task, v, mu, previous[i] if previous is not None else None)
        for i, task in enumerate(problem.tasks)
    ]


def _delta(problem: LCProblem, thetas: Sequence[Compressed]) -> Tensor:
    """Δ(Θ): [P], with w itself where there is no task."""
    delta = problem.net.w.clone()
    for task, theta in zip(problem.tasks, thetas, strict=True):
        dense = theta.dense()
        for name, weights in zip(task.tensors, dense if theta.listed else [dense], strict=True):
            problem.net.view(delta, name).copy_(weights)
    return delta


def compressed_state(problem: LCProblem, thetas: Sequence[Compressed]) -> dict[str, Tensor]:
    """The feasible net as a state dict: Δ(Θ), with all else as it is."""
    w = problem.net.w.clone()
    try:
        problem.net.w.copy_(_delta(problem, thetas))
        return problem.net.state()
    finally:
        problem.net.w.copy_(w)


def _errors(problem: LCProblem, delta: Tensor) -> Errors:
    """The errors of the compressed net Δ(Θ), [P]; w is left as it was."""
    w = problem.net.w.clone()
    try:
        problem.net.w.copy_(delta)
        return evaluate(problem.net.module, problem.splits)
    finally:
        problem.net.w.copy_(w)


def size(problem: LCProblem, thetas: Sequence[Compressed]) -> dict[str, Any]:
    """Size and cost of the compressed net: bits over the whole net, parameters of the tasks only."""
    covered = sum(task.parameters for task in problem.tasks)
    bits = sum(theta.bits for theta in thetas) + dense_bits(problem.info.parameters - covered)
    flops, reference_flops = _flops(problem, thetas)
    return {
        "compressed_parameters": sum(theta.parameters for theta in thetas),
        "compressed_bits": bits,
        "compression_ratio": dense_bits(problem.info.parameters) / bits if bits else None,
        "flops": flops,
        "flops_ratio": reference_flops / flops if flops else None,
        "layers": [
            {
                "layers": list(task.names),
                "type": "+".join(how.type for how in members(task.how)),
                "parameters": theta.parameters,
                "bits": theta.bits,
                "reference_bits": dense_bits(task.parameters),
                **theta.learned(),
            }
            for task, theta in zip(problem.tasks, thetas, strict=True)
        ],
    }


def _flops(problem: LCProblem, thetas: Sequence[Compressed]) -> tuple[int, int]:
    """FLOPs of one input through the compressible layers, compressed and dense; see `lctui.scheme.flops`."""
    costs = {layer.name: layer.flops for layer in problem.info.layers}
    for task, theta in zip(problem.tasks, thetas, strict=True):
        costs.update(zip(task.names, theta.flops(task.layers), strict=True))
    return sum(costs[layer.name] for layer in problem.info.layers), problem.info.flops


def _report(
    problem: LCProblem,
    state: State,
    k: int,
    mu: float,
    penalty: Penalty,
    delta: Tensor,
    residual: Tensor,
    c_seconds: float,
) -> Step:
    assert state.theta is not None
    w = problem.net.w
    gap = float(residual.double().norm())
    norm = float((w * problem.has_task).double().norm())
    return Step(
        **asdict(_errors(problem, delta)),
        **size(problem, state.theta),
        step=k + 1,
        steps=problem.scheme.lc.mu.steps,
        mu=mu,
        lr=problem.scheme.l_step.rate(k, mu),
        loss=state.loss,
        penalty=penalty.value(w),
        gap=gap,
        relative_gap=gap / norm if norm > 0 else 0.0,
        l_seconds=state.l_seconds,
        c_seconds=c_seconds,
    )
