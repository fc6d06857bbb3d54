"""From a scheme's `objective` and `data.augment` to the functions that training and evaluation call.

Owns finding a user's own losses, metrics and augmentations, and trying them on a batch beforehand.  Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from lctui import scheme, user_code
from lctui.data_items import type_name
from lctui.errors import Problem
from lctui.learning.augment import Augment
from lctui.learning.objective import LOSSES, METRICS, InFloat32, Objective, has_a_row_an_input
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
    own, of = iter(augment.functions), f"inputs {_shape(inputs)} and a generator"
    for number, step in enumerate(augment.steps):
        if step.function is None:
            continue
        generator = torch.Generator(inputs.device).manual_seed(0)
        got, problem = _tried(partial(next(own), inputs.clone(), generator), of)
        if problem := problem or _misfit_of_augmentation(got, inputs):
            problems.append(Problem(f"data.augment.{number}", problem))
    return problems


def check_objective(objective: Objective, outputs: Tensor, targets: Tensor) -> list[Problem]:
    """What is wrong with a loss or a metric on a net's outputs [n, …] for targets [n, …]; outputs carry gradients."""
    with torch.enable_grad():
        problems = _check("loss", objective.loss, outputs, targets, _misfit_of_loss)
    outputs = outputs.detach()
    # As many rows as columns would pass for a row an input; and the last batch of a split may be a single input.
    for n in dict.fromkeys((len(targets), 1)):
        found = _check("metric", objective.metric, outputs[:n], targets[:n], _misfit_of_metric)
        if found:
            return problems + found
    return problems


def _check(
    name: str,
    function: Callable[[Tensor, Tensor], Any],
    outputs: Tensor,
    targets: Tensor,
    misfit: Callable[[Any, Tensor], str | None],
) -> list[Problem]:
    of = f"outputs {_shape(outputs)} and targets {_shape(targets)}"
    # A function may write into its outputs, as it may in training; others are tried on the same ones.
    got, problem = _tried(lambda: function(outputs.clone(), targets), of)
    if problem is None and (found := misfit(got, outputs)) is not None:
        problem = f"for {of}, {found}"
    return [Problem(f"objective.{name}", problem)] if problem else []


def _tried(call: Callable[[], Any], of: str) -> tuple[Any, str | None]:
    """What a function of the user's own returns, or what it says of its arguments instead."""
    try:
        return call(), None
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return None, f"does not take {of}: {user_code.one_line(error)}"


def _misfit_of_augmentation(got: Any, inputs: Tensor) -> str | None:
    if not isinstance(got, Tensor):
        return f"it must return inputs, it returns {type(got).__name__}"
    if got.shape != inputs.shape or got.dtype != inputs.dtype:
        return f"it must return what it gets, {_shape(inputs)}; it returns {_shape(got)}"
    return None


def _misfit_of_loss(got: Any, outputs: Tensor) -> str | None:
    if not isinstance(got, Tensor) or got.dim() > 0:
        return f"it must return a scalar tensor, the batch's mean loss; it returns {_what(got)}"
    try:
        slope = torch.autograd.grad(got, outputs, allow_unused=True)[0] if got.requires_grad else None
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"what it returns cannot be differentiated: {user_code.one_line(error)}"
    if slope is None:
        return "what it returns does not depend on the outputs by anything that torch can differentiate"
    return None if bool(got.isfinite()) else _not_finite(f"it returns {got.item()}", outputs)


def _misfit_of_metric(got: Any, outputs: Tensor) -> str | None:
    n = len(outputs)
    if not has_a_row_an_input(got, n) or got.is_complex() or got.numel() == 0:
        return f"it must return a tensor with a row for each input, {n} here; it returns {_what(got)}"
    return None if bool(got.isfinite().all()) else _not_finite("it returns numbers that are not finite", outputs)


def _not_finite(problem: str, outputs: Tensor) -> str | None:
    """Not the function's fault where outputs are not finite themselves: a net's, or what a mask makes of scores."""
    return f"{problem}, though the outputs are finite" if bool(outputs.isfinite().all()) else None


def _shape(tensor: Tensor) -> str:
    return f"{type_name(tensor.dtype)} [{', '.join(map(str, tensor.shape))}]"


def _what(value: Any) -> str:
    return f"a tensor {_shape(value)}" if isinstance(value, Tensor) else type(value).__name__
