"""From a scheme's `objective` and `data.augment` to the functions that training and evaluation call.

Owns finding a user's own losses, metrics and augmentations, and trying them on a batch beforehand.  Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lctui import scheme, user_code
from lctui.errors import Problem
from lctui.learning.augment import Augment, misfit
from lctui.learning.objective import LOSSES, METRICS, InFloat32, Objective
from lctui.memory import is_out_of_memory
from lctui.scheme.augmentations import misfits, parse

Function = TypeVar("Function", bound=Callable[[Tensor, Tensor], Tensor])


def objective_of(block: scheme.Objective, source: str = "") -> Objective:
    """The loss and the metric of a scheme.

    Raises:
        BadInput: a function of the user's own cannot be found.
    """
    loss = _function(block.loss, LOSSES, source, "objective.loss")
    metric = _function(block.metric, METRICS, source, "objective.metric")
    return Objective(loss, metric)


def _function(name: str, known: Mapping[str, Function], source: str, path: str) -> Any:
    if name in known:
        return known[name]
    return InFloat32(user_code.resolve(name, source=source, path=path))


def augment_of(block: scheme.Data, source: str = "") -> Augment:
    """The augmentations of a scheme.

    Raises:
        BadInput: a function of the user's own cannot be found.
    """
    steps = tuple(map(parse, block.augment))
    functions = tuple(
        user_code.resolve(step.function, source=source, path=f"data.augment.{number}")
        for number, step in enumerate(steps)
        if step.function is not None
    )
    return Augment(steps, functions)


def check_augment(augment: Augment, inputs: Tensor) -> list[Problem]:
    """What is wrong with augmentations for such inputs [n, …]."""
    problems = misfits(augment.steps, inputs.shape[1:])
    own = iter(augment.functions)
    for number, step in enumerate(augment.steps):
        if step.function is None:
            continue
        try:
            problem = misfit(next(own), inputs)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            problem = f"does not take inputs {_shape(inputs)} and a generator: {user_code.one_line(error)}"
        if problem:
            problems.append(Problem(f"data.augment.{number}", problem))
    return problems


def check_objective(objective: Objective, module: nn.Module, inputs: Tensor, targets: Tensor) -> list[Problem]:
    """What is wrong with a loss or a metric on a batch; the net, and torch's random state, are left as they were."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        outputs = module.eval()(inputs)
        if not isinstance(outputs, Tensor):
            return [Problem("model", f"the net must return a tensor, it returns {type(outputs).__name__}")]
        problems = _check("loss", objective.loss, outputs, targets, _misfit_of_loss)
        problems += _check("metric", objective.metric, outputs.detach(), targets, _misfit_of_metric)
    return problems


def _check(
    name: str,
    function: Callable[[Tensor, Tensor], Any],
    outputs: Tensor,
    targets: Tensor,
    misfit: Callable[[Any, int], str | None],
) -> list[Problem]:
    of = f"outputs {_shape(outputs)} and targets {_shape(targets)}"
    try:
        got = function(outputs, targets)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return [Problem(f"objective.{name}", f"does not take {of}: {user_code.one_line(error)}")]
    problem = misfit(got, len(targets))
    return [Problem(f"objective.{name}", f"for {of}, {problem}")] if problem else []


def _misfit_of_loss(got: Any, n: int) -> str | None:
    del n
    if not isinstance(got, Tensor) or got.dim() > 0:
        return f"it must return a tensor of one number, the batch's mean loss; it returns {_what(got)}"
    if not got.requires_grad:
        return "what it returns does not depend on the outputs by anything that torch can differentiate"
    return None


def _misfit_of_metric(got: Any, n: int) -> str | None:
    if not isinstance(got, Tensor) or got.dim() == 0 or len(got) != n or got.is_complex() or got.numel() == 0:
        return f"it must return a tensor with a row for each of the {n} inputs; it returns {_what(got)}"
    if not bool(got.isfinite().all()):
        return "it returns numbers that are not finite"
    return None


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} [{', '.join(map(str, tensor.shape))}]"


def _what(value: Any) -> str:
    return f"a tensor {_shape(value)}" if isinstance(value, Tensor) else type(value).__name__
