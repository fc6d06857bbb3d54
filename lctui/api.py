"""The Python API: compress a module of your own, in memory.

Owns `compress`; it stands on the same loop as the command line and writes nothing to any store.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from lctui import data, models
from lctui.algorithm import LCProblem, State, compressed_state, learning_compression
from lctui.errors import BadInput
from lctui.events import DirectCompression, Step
from lctui.learning.evaluate import Errors, evaluate
from lctui.learning.net import FlatNet
from lctui.objectives import augment_of, check_augment, objective_of
from lctui.prepare import check_outputs, pick_device, resident_splits
from lctui.scheme import Scheme
from lctui.scheme.check import resolve


@dataclass(frozen=True)
class Result:
    """A compressed net: `model` has the compressed weights in place; errors are percent, sizes bits.

    `reference` are the errors of the module as it came; `direct` is direct compression, `steps` one event a finished
    LC step, `final` the last of them (or `direct`, when there is none).
    """

    model: nn.Module
    reference: Errors
    direct: DirectCompression
    steps: tuple[Step, ...]

    @property
    def final(self) -> DirectCompression | Step:
        """The compressed net's errors, size and what each task learned."""
        return self.steps[-1] if self.steps else self.direct


def compress(
    model: nn.Module, train: Dataset[Any], test: Dataset[Any], scheme: Scheme, *, device: str = "auto"
) -> Result:
    """Compresses a trained classifier by the scheme's tasks, LC loop and L step; the module itself is the reference.

    `train` and `test` are map-style datasets of (input, label).  The scheme's `model`, `reference` and the data set's
    name and classes play no part; `data.validation`, the seed and the precision do.  Works on a float32
    copy of `model` and leaves torch's global random state as it was.

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
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        events = list(learning_compression(problem, state))
    assert state.theta is not None
    copied.load_state_dict(compressed_state(problem, state.theta))
    direct = next(event for event in events if isinstance(event, DirectCompression))
    return Result(copied.eval(), reference, direct, tuple(event for event in events if isinstance(event, Step)))
