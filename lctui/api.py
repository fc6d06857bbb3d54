"""The Python API: compress a module of your own, in memory.

Owns `compress` and its `Result`; it stands on the loop, the checks and the artifact of the command line, and writes
nothing to any store.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lctui import data, user_code
from lctui.algorithm import LCProblem, State, compressed_state, learning_compression
from lctui.events import DirectCompression, Event, Step
from lctui.export import artifact
from lctui.export.artifact import ArtifactTask
from lctui.learning.evaluate import Errors, evaluate
from lctui.learning.net import FlatNet
from lctui.learning.train import Turn
from lctui.prepare import prepare_own
from lctui.results import best_place
from lctui.scheme import Scheme

Examples = Dataset[Any] | tuple[Tensor, Tensor]
"""A map-style dataset of (input, label), or the tensors of them all: inputs [n, …] and labels [n]."""


@dataclass(frozen=True)
class Result:
    """A compressed net, and how it came about; errors are percent, or the scheme's metric, and sizes are bits."""

    model: nn.Module
    """The module with the compressed weights in place, float32, in evaluation mode, on the device that it came on."""
    reference: Errors
    """The errors of the module as it came."""
    direct: DirectCompression
    """Direct compression: the module compressed without any training."""
    steps: tuple[Step, ...]
    """Every finished LC step."""
    tasks: tuple[ArtifactTask, ...]
    """What was compressed: of each task the names of its tensors and Θ."""

    @property
    def final(self) -> DirectCompression | Step:
        """The errors, size and FLOPs of `model`: the last step, or direct compression when there is none."""
        return self.steps[-1] if self.steps else self.direct

    @property
    def best(self) -> Step | None:
        """The step of lowest validation error, ties to the later; None without steps or validation data."""
        place = best_place([step.validation_error_pct for step in self.steps])
        return None if place is None else self.steps[place]

    @property
    def layers(self) -> list[dict[str, Any]]:
        """What each task of `model` came to, as in `result.json`: `layers`, `type`, `bits`, `rank` and so on."""
        return self.final.layers

    def save(self, path: str | Path) -> int:
        """Writes the compressed artifact, `compressed.safetensors` of a run, and returns its size in bytes.

        `lctui.load` reads it back to the dense state dict of `model`, bit for bit.

        Raises:
            OSError: the file cannot be written; an older one stays as it is.
        """
        return artifact.save(Path(path), self.tasks, self.model.state_dict())


def compress(
    model: nn.Module,
    train: Examples,
    test: Examples,
    scheme: Scheme,
    *,
    device: str = "auto",
    on_event: Callable[[Event], None] = lambda event: None,
) -> Result:
    """Compresses a trained net by the scheme's tasks, LC loop and L step; the module itself is the reference.

    Works on a float32 copy of `model`, which may be on any device and in any mode: it, its mode, and the random states
    of Python, NumPy and torch stay as they are.  Equal calls give equal numbers, also of data made by chance.

    Args:
        model: takes a batch of inputs [n, …]; a classifier returns scores [n, classes].
        train, test: map-style datasets of (input, target), or pairs of tensors (inputs [n, …], targets [n, …]).
        scheme: its `model`, `reference` and the data set's name and classes play no part; `data.validation`,
            `data.augment`, `objective`, the seed and the precision do.
        device: what to train on: "auto" (the first GPU if there is one), "cpu", "cuda" or "cuda:N".
        on_event: is told of direct compression, of every epoch and of every LC step, as `events.jsonl` would be; what
            it raises ends the call.

    Raises:
        BadInput: the scheme does not fit the net, or the data are not usable; it lists every problem.
        Diverged: the loss or the weights stopped being finite.
        OutOfMemory: there was not enough.
    """
    # A caller may have switched gradients off in either way.
    with user_code.seeded(scheme.seed), torch.inference_mode(False), torch.enable_grad():
        return _compress(model, train, test, scheme, device, on_event)


def _compress(
    model: nn.Module, train: Examples, test: Examples, scheme: Scheme, device: str, on_event: Callable[[Event], None]
) -> Result:
    block = scheme.data.model_copy(update={"classes": None})
    loaded = data.from_datasets(train, test, block, seed=scheme.seed, labelled=scheme.objective.takes_classes)
    copied = copy.deepcopy(model).float().cpu()
    prepared = prepare_own(scheme, copied, loaded, device)
    net = FlatNet(copied, prepared.device)
    reference = evaluate(net.module, prepared.splits)
    problem, state = LCProblem(net, prepared.info, prepared.tasks, prepared.splits, scheme), State()
    events: list[Event] = []
    for event in learning_compression(problem, state):
        if not isinstance(event, Turn):
            events.append(event)
            on_event(event)
    assert state.theta is not None
    copied.load_state_dict(compressed_state(problem, state.theta))
    came_on = next(model.parameters()).device
    return Result(
        copied.eval().to(came_on),
        reference,
        next(event for event in events if isinstance(event, DirectCompression)),
        tuple(event for event in events if isinstance(event, Step)),
        artifact.tasks_of(problem.tasks, state.theta),
    )
