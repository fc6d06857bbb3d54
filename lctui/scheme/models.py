"""The scheme: everything that determines a run, as frozen pydantic models.

Owns fields, defaults and the rules that one block alone can break.  Rules that need the net or the data are in
`lctui.scheme.check`; reading files and wording errors is in `lctui.scheme.load`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from lctui.errors import not_one_of
from lctui.scheme.augmentations import valid
from lctui.scheme.compressions import (
    ASIDE,
    LATER,
    Block,
    Flag,
    How,
    NonNegativeFloat,
    NumberChoice,
    Positive,
    PositiveFloat,
    without_later,
)
from lctui.scheme.measure import Measure
from lctui.scheme.net import BUILT_IN, BUILT_IN_DATA

_PRINTED = r"^[^\x00-\x1f\x7f-\x9f]+$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_PRINTED)]
Location = Annotated[str, Field(min_length=1, max_length=4096, pattern=_PRINTED)]
Momentum = Annotated[float, Field(strict=True, ge=0, lt=1)]
Decay = Annotated[float, Field(strict=True, gt=0, le=1)]


class Model(Block):
    """The net."""

    factory: Location = Field(examples=list(BUILT_IN))
    """A built-in (lenet5, lenet300, resnet20, resnet32, resnet56, vgg16_cifar), torchvision:NAME,
    package.module:function or path/to/file.py:function."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the factory."""
    weights: Location | None = None
    """A file of trained weights (.safetensors or .pt) to start from, in place of training a reference."""


class Data(Block):
    """The data set, and how it is split."""

    name: Location = Field(examples=list(BUILT_IN_DATA))
    """A built-in (mnist, fashion_mnist, kmnist, cifar10, mnist_sample), or module:function returning (train, test)."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for a function of your own."""
    classes: tuple[Annotated[int, Field(strict=True, ge=0)], ...] | None = Field(default=None, min_length=2)
    """Only these classes, relabelled 0..n−1 in this order; all of them when left out."""
    validation: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.1
    """The share of the training images held out for validation; which ones is fixed by the seed."""
    augment: Annotated[tuple[Annotated[Location, AfterValidator(valid)], ...], LATER] = ()
    """What happens by chance to each image that is trained on, in this order: flip (left to right), crop=4 (moved by
    up to 4 pixels, zeros move in), shift=2 (moved by up to 2 pixels, the edge is repeated), erase=8 (a square of 8×8
    becomes zero), or module:function of your own, given inputs and a generator. Evaluation sees images as they are."""
    stream: Annotated[Literal["auto", "always", "never"], ASIDE] = "auto"
    """Whether data of your own are read as they are needed, and not kept: always, never, or auto, where they would take
    a quarter of the machine's memory or more."""
    workers: Annotated[int, Field(strict=True, ge=0, le=256), ASIDE] = 2
    """Processes that read streamed data; 0 reads them where training runs."""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if classes is not None and len(set(classes)) != len(classes):
            twice = next(label for label in classes if classes.count(label) > 1)
            raise ValueError(f"classes must differ, {twice} stands there more than once")
        return classes


LOSSES = ("cross_entropy", "mse")
METRICS = ("error", "mse")


class Objective(Block):
    """What training minimises, and what is reported as error."""

    loss: Location = Field(default="cross_entropy", examples=list(LOSSES))
    """cross_entropy of scores and classes, mse of outputs and targets of one shape, or module:function of your own:
    called with (outputs, targets) of a batch, it returns their mean loss."""
    metric: Location = Field(default="error", examples=list(METRICS))
    """error: the share of wrong classes in percent; mse; or module:function of your own: called with (outputs,
    targets), it returns a number for each input, lower is better. Its mean takes the error's place everywhere."""

    @field_validator("loss", "metric")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        known = LOSSES if info.field_name == "loss" else METRICS
        if name not in known and ":" not in name:
            raise ValueError(f"{not_one_of(name, known)}, or module:function of your own")
        return name

    @property
    def measure(self) -> Measure:
        """What stands for error, in words."""
        return Measure.named(self.metric)

    @property
    def takes_classes(self) -> bool:
        """Must targets be classes, one an input?"""
        return self.loss == "cross_entropy" or self.metric == "error"


class Sgd(Block):
    """What reference training and the L step have in common: stochastic gradient descent with momentum."""

    momentum: Momentum = 0.9
    """Momentum, 0 to below 1."""
    nesterov: Flag = True
    """Nesterov's look-ahead form of momentum."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Reference(Sgd):
    """How the reference net is trained: once, then shared by every scheme that describes the same one."""

    epochs: Positive = 30
    """Passes over the training images."""
    batch_size: Positive = 64
    """Images a step."""
    lr: PositiveFloat = 0.02
    """Learning rate of the first epoch."""
    lr_decay: Decay = 0.9
    """The learning rate is multiplied by this after every epoch."""
    weight_decay: NonNegativeFloat = 0.0
    """Strength of the penalty ½·weight_decay·‖w‖²."""


class Task(Block):
    """Some layers, and what is done to them."""

    layers: tuple[Name, ...] = Field(min_length=1)
    """Layer names as in named_modules(), or globs such as "conv*"; several layers are compressed jointly.
    Biases are named fc1.bias or *.bias; all else stands for weights."""
    how: How
    """One compression, or a list of them: their sum."""

    @field_validator("layers", mode="before")
    @classmethod
    def _a_list(cls, layers: Any) -> Any:
        if isinstance(layers, str):
            raise ValueError(f'layers is a list of names: write ["{layers}"]')
        return layers


class Mu(Block):
    """The schedule of the penalty parameter: μ_k = start · factor^k."""

    start: PositiveFloat = 5e-5
    """μ of the first LC step."""
    factor: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = 1.15
    """μ is multiplied by this after every LC step."""
    steps: Positive = 30
    """LC steps."""

    @model_validator(mode="after")
    def _finite(self) -> Mu:
        try:
            largest = self.start * self.factor ** (self.steps - 1)
        except OverflowError:
            largest = float("inf")
        if self.start < 1e-30:
            raise ValueError(f"μ of {self.start:g} is none in float32: start must be at least 1e-30")
        if largest > 1e30:
            raise ValueError(
                f"μ would reach {self.start:g}·{self.factor:g}^{self.steps - 1}, beyond 1e30; lower factor or steps"
            )
        return self

    def at(self, step: int) -> float:
        """μ of LC step `step`, counted from 0."""
        return self.start * self.factor**step


class LC(Block):
    """The LC loop."""

    method: Literal["augmented_lagrangian", "quadratic_penalty"] = "augmented_lagrangian"
    """augmented_lagrangian updates the multipliers λ; quadratic_penalty keeps λ = 0."""
    mu: Mu = Field(default_factory=Mu)
    """The schedule of μ."""
    tolerance: PositiveFloat | None = None
    """Stop early once ‖w − Δ(Θ)‖ / ‖w‖ is below this; never when left out."""


class LStep(Sgd):
    """How the weights are trained inside one LC step."""

    epochs: Positive = 10
    """Passes over the training images in each L step."""
    batch_size: Positive = 256
    """Images a step."""
    lr: PositiveFloat = 0.2
    """Learning rate of the first LC step."""
    lr_decay: Decay = 0.98
    """The learning rate is multiplied by this after every LC step."""
    clip_lr: Flag = True
    """Keep the learning rate at or below 1/μ, where the penalty's own gradient step is stable."""

    def rate(self, step: int, mu: float) -> float:
        """Learning rate of LC step `step` (from 0): η₀·decay^step, clipped to 1/μ (Carreira-Perpiñán 2017, §5.1)."""
        rate = self.lr * self.lr_decay**step
        return min(rate, 1 / mu) if self.clip_lr else rate


class Scheme(Block):
    """A compression scheme: net, data, reference, tasks, LC loop, L step, seed and precision."""

    version: Annotated[Literal[1], NumberChoice] = 1
    """Version of this file format."""
    name: Name = "scheme"
    """What runs of this scheme are called."""
    tags: tuple[Name, ...] = ()
    """Words to find the runs by."""
    model: Model
    """The net."""
    data: Data
    """The data set."""
    objective: Annotated[Objective, LATER] = Objective()
    """What training minimises, and what is reported as error."""
    reference: Reference = Field(default_factory=Reference)
    """How the reference net is trained."""
    compress: tuple[Task, ...]
    """The tasks; an empty list trains the reference and stops."""
    lc: LC = Field(default_factory=LC)
    """The LC loop."""
    l_step: LStep = Field(default_factory=LStep)
    """The L step."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    """Fixes initial weights, validation split and batch order."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """What training passes may round products' factors to, where the device is faster so; all else is float32."""

    @classmethod
    def load(cls, path: str | Path) -> Scheme:
        """Reads a scheme file.

        Raises:
            BadInput: the file cannot be read or breaks rules; carries all problems at once.
        """
        from lctui.scheme.load import load_scheme

        return load_scheme(Path(path))

    def dump(self) -> dict[str, Any]:
        """The scheme in full as JSON-ready values, defaults filled in."""
        return self.model_dump(mode="json")

    def functions(self) -> tuple[str, ...]:
        """The user's own functions, `module:function` or `file.py:function`, and torchvision's: what is run as code."""
        named = (self.model.factory, self.data.name, self.objective.loss, self.objective.metric, *self.data.augment)
        return tuple(name for name in named if ":" in name)

    def fingerprint(self) -> str:
        """Hash of all that determines the numbers of a run: everything but the name and the tags."""
        return _digest({key: value for key, value in self._known_by().items() if key not in ("name", "tags")})

    def reference_fingerprint(self) -> str:
        """Hash of the blocks that determine the reference net."""
        return self._blocks_digest("model", "data", "objective", "reference", "seed", "precision")

    def batches_fingerprint(self) -> str:
        """Hash of the blocks that say which net trains on which batches: equal for runs that can train together."""
        return self._blocks_digest("model", "data", "objective", "reference", "seed", "precision", "l_step")

    def _blocks_digest(self, *blocks: str) -> str:
        known_by = self._known_by()
        return _digest({key: known_by[key] for key in blocks if key in known_by})

    def _known_by(self) -> Any:
        """The dump, as it was before fields were added that stand at their defaults: runs made then are found still."""
        return without_later(self, self.dump())


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


__all__ = ["LC", "Data", "LStep", "Model", "Mu", "Objective", "Reference", "Scheme", "Sgd", "Task"]
