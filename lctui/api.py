"""The Python API: compress a module of your own, in memory.

Owns `compress` and its `Result`; it stands on the loop, the checks and the artifact of the command line, and writes
nothing to any store.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from lctui import data, models
from lctui.algorithm import LCProblem, State, compressed_state, learning_compression
from lctui.errors import BadInput
from lctui.events import DirectCompression, Event, Step
from lctui.export import artifact
from lctui.export.artifact import ArtifactTask
from lctui.learning.evaluate import Errors, evaluate
from lctui.learning.net import FlatNet
from lctui.learning.train import Turn
from lctui.objectives import augment_of, check_augment, objective_of
from lctui.prepare import check_outputs, pick_device, resident_splits
from lctui.scheme import Scheme
from lctui.scheme.check import resolve


@dataclass(frozen=True)
class Result:
    """A compressed net: `model` has the compressed weights in place; sizes are bits, errors percent or the metric.

    `reference` are the errors of the module as it came; `direct` is direct compression, `steps` one event a finished
    LC step, `final` the last of them (or `direct`, when there is none).
    """

    model: nn.Module
    reference: Errors
    direct: DirectCompression
    steps: tuple[Step, ...]
    tasks: tuple[ArtifactTask, ...]
    """What was compressed: of each task the names of its tensors and Θ."""

    @property
    def final(self) -> DirectCompression | Step:
        """The compressed net's errors, size and what each task learned."""
        return self.steps[-1] if self.steps else self.direct

    @property
    def best(self) -> Step | None:
        """The step of lowest validation error, ties to the later; None without steps or validation data."""
        judged = [step for step in self.steps if step.validation_error_pct is not None]
        return min(reversed(judged), key=lambda step: step.validation_error_pct or 0.0) if judged else None

    def save(self, path: str | Path) -> int:
        """Writes the compressed artifact, `compressed.safetensors` of a run, and returns its size in bytes.

        `lctui.load` reads it back to the dense state dict of `model`, bit for bit.

        Raises:
            OSError: the file cannot be written; an older one stays as it is.
        """
        return artifact.save(Path(path), self.tasks, self.model.state_dict())


def compress(
    model: nn.Module,
    train: Dataset[Any],
    test: Dataset[Any],
    scheme: Scheme,
    *,
    device: str = "auto",
    on_event: Callable[[Event], None] = lambda event: None,
) -> Result:
    """Compresses a trained net by the scheme's tasks, LC loop and L step; the module itself is the reference.

    Works on a float32 copy of `model`: the module, its mode and torch's global random state stay as they are.

    Args:
        train, test: map-style datasets of (input, label), or pairs of tensors (inputs [n, …], labels [n]).
        scheme: its `model`, `reference` and the data set's name and classes play no part; `data.validation`,
            `data.augment`, `objective`, the seed and the precision do.
        device: "auto" (the first GPU if there is one), "cpu", "cuda" or "cuda:N".
        on_event: is told of direct compression, of every epoch and of every LC step, as `events.jsonl` would be.

    Raises:
        BadInput: the scheme does not fit the net, or the data are not usable.
        Diverged: the loss or the weights stopped being finite.
    """
    block = scheme.data.model_copy(update={"classes": None})
    loaded = data.from_datasets(train, test, block, seed=scheme.seed, labelled=scheme.objective.takes_classes)
    objective, augment = objective_of(scheme.objective), augment_of(scheme.data)
    where = pick_device(device)
    copied = copy.deepcopy(model).float()
    info = models.describe(copied, loaded.train.first(1).inputs)
    tasks, problems = resolve(dict(enumerate(scheme.compress)), info)
    problems += check_outputs(copied, loaded, objective) + check_augment(augment, loaded.train.first(2).inputs)
    if problems:
        raise BadInput("scheme", problems)
    net = FlatNet(copied, where)
    splits = replace(resident_splits(copied, loaded, where), objective=objective, augment=augment)
    reference = evaluate(net.module, splits)
    problem, state = LCProblem(net, info, tasks, splits, scheme), State()
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []), torch.enable_grad():
        events: list[Event] = []
        for event in learning_compression(problem, state):
            if not isinstance(event, Turn):
                events.append(event)
                on_event(event)
    assert state.theta is not None
    copied.load_state_dict(compressed_state(problem, state.theta))
    direct = next(event for event in events if isinstance(event, DirectCompression))
    steps = tuple(event for event in events if isinstance(event, Step))
    done = tuple(artifact.ArtifactTask(task.tensors, theta) for task, theta in zip(tasks, state.theta, strict=True))
    return Result(copied.eval(), reference, direct, steps, done)
