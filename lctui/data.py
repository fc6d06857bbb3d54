"""Data sets: the built-in ones and the user's own, as tensors ready for training.

Owns class subsets, the validation split, normalisation and the digest that identifies what was trained on.  Where
the built-in sets' files come from is in `lctui.data_sources`.  Neither batches nor augments, and moves nothing to a
device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from lctui import scheme, user_code
from lctui.data_sources import Images, Progress, read
from lctui.errors import BadInput, not_one_of
from lctui.scheme.net import BUILT_IN_DATA

_CHUNK = 4096  # images looked at together


@dataclass(frozen=True)
class Split:
    """Part of a data set: inputs [n, …], float32, and labels [n], int64; or targets [n, …] of any other kind."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSet:
    """A data set, split: labels are 0..classes−1 everywhere; `classes` is 0 where targets are no classes.

    `digest` is the SHA-256 of the inputs as they were read and the labels, training set and then test set.  `mean`
    and `std` are what the pixels (0 to 1) of each channel were normalised by; empty where nothing was.
    """

    train: Split
    validation: Split
    test: Split
    classes: int
    digest: str
    mean: list[float]
    std: list[float]


def load(
    data: scheme.Data,
    *,
    seed: int,
    home: Path,
    progress: Progress | None = None,
    base: Path | None = None,
    source: str = "",
    labelled: bool = True,
) -> DataSet:
    """The data set of a scheme; `labelled`: targets must be classes, one an input.

    Which training images are held out for validation is fixed by `seed`.  Built-in sets are read from LCTUI_DATA, or
    from `home`/data, where they are downloaded to if need be; a function of the user's own is found from `base`.

    Raises:
        BadInput: the data cannot be had, or is not what the scheme says.
    """
    if data.name not in BUILT_IN_DATA:
        if ":" not in data.name:
            known = not_one_of(data.name, BUILT_IN_DATA)
            raise BadInput.one(source, "data.name", f"{known}, or module:function of your own")
        with user_code.seeded(seed):  # data made by chance are the same data in every run
            sets = user_code.call(
                data.name, data.args, base=base, source=source, path="data.name", args_path="data.args"
            )
            if not isinstance(sets, tuple | list) or len(sets) != 2:
                raise BadInput.one(source, "data.name", f"{data.name} must return (train, test), got {_what(sets)}")
            train, test = sets
            return from_datasets(train, test, data, seed=seed, source=source, path="data.name", labelled=labelled)
    if data.args:
        name = next(iter(data.args))
        raise BadInput.one(source, f"data.args.{name}", f"the built-in {data.name} takes no arguments")
    images = read(data.name, home=home, progress=progress, source=source)
    return _from_images(*images, data, seed, BUILT_IN_DATA[data.name].classes, source)


def from_datasets(
    train: Any,
    test: Any,
    data: scheme.Data,
    *,
    seed: int,
    source: str = "",
    path: str = "data",
    labelled: bool = True,
) -> DataSet:
    """Data sets of the user's own: each is map-style, or a pair of tensors (inputs, labels); kept as they are.

    Floating-point and 8-bit inputs become float32; other integers stay integers, as an embedding takes them.  Labels
    are classes, one an input; without `labelled` they may be any tensor an input, floats or integers.

    Raises:
        BadInput: at `path`, for anything that cannot be trained on.
    """
    given = {"train": train, "test": test}
    parts = {part: _materialise(items, _Place(source, path, part, labelled)) for part, items in given.items()}
    shapes = {part: tuple(split.inputs.shape[1:]) for part, split in parts.items()}
    if shapes["train"] != shapes["test"]:
        raise BadInput.one(source, path, f"train has inputs of {shapes['train']}, test of {shapes['test']}")
    targets = {part: (split.labels.dtype, tuple(split.labels.shape[1:])) for part, split in parts.items()}
    if targets["train"] != targets["test"]:
        train_has, test_has = (f"{_type(dtype)} of {shape}" for dtype, shape in targets.values())
        raise BadInput.one(source, path, f"train has targets {train_has}, test {test_has}")
    if all(_are_classes(split.labels) for split in parts.values()):
        classes = 1 + max(int(split.labels.max()) for split in parts.values())
    elif data.classes is None:
        classes = 0
    else:
        raise BadInput.one(source, "data.classes", "picks classes, one an input: these targets are none")
    kept = {part: _subset(split, data, classes, part, source) for part, split in parts.items()}
    digest = _digest(array.numpy() for split in kept.values() for array in (split.inputs, split.labels))
    rest, held_out = _split(len(kept["train"]), data, seed, source)
    return DataSet(
        train=_take(kept["train"], rest),
        validation=_take(kept["train"], held_out),
        test=kept["test"],
        classes=len(data.classes) if data.classes is not None else classes,
        digest=digest,
        mean=[],
        std=[],
    )


def _from_images(train: Images, test: Images, data: scheme.Data, seed: int, classes: int, source: str) -> DataSet:
    raw = {}
    for part, images in (("train", train), ("test", test)):
        labels = torch.from_numpy(images.labels.astype(np.int64))
        raw[part] = _subset(Split(_tensor(images.pixels), labels), data, classes, part, source)
    mean, std = pixel_statistics(raw["train"].inputs.numpy())
    rest, held_out = _split(len(raw["train"]), data, seed, source)

    def ready(split: Split) -> Split:
        return Split(_normalise(split.inputs, mean, std), split.labels)

    return DataSet(
        train=ready(_take(raw["train"], rest)),
        validation=ready(_take(raw["train"], held_out)),
        test=ready(raw["test"]),
        classes=len(data.classes) if data.classes is not None else classes,
        digest=_digest(array.numpy() for split in raw.values() for array in (split.inputs, split.labels)),
        mean=mean,
        std=std,
    )


def _subset(split: Split, data: scheme.Data, classes: int, part: str, source: str) -> Split:
    """Only the classes asked for, relabelled in the order they are listed."""
    if data.classes is None:
        return split
    for place, label in enumerate(data.classes):
        where = f"data.classes.{place}"
        if label >= classes:
            raise BadInput.one(source, where, f"{label} must be a class of {data.name}: 0 to {classes - 1}")
        if not bool((split.labels == label).any()):
            raise BadInput.one(source, where, f"{data.name} has no {part} images of class {label}")
    relabel = torch.full((classes,), -1)
    relabel[list(data.classes)] = torch.arange(len(data.classes))
    labels = relabel[split.labels]
    keep = torch.nonzero(labels >= 0).squeeze(1)
    return _take(Split(split.inputs, labels), keep)


def _split(n: int, data: scheme.Data, seed: int, source: str) -> tuple[Tensor, Tensor]:
    """Indices of the images to train on and of those held out, each in the data set's order."""
    held_out = round(data.validation * n)
    if held_out >= n:
        problem = f"{data.validation:g} of {n:,} training images leaves none to train on"
        raise BadInput.one(source, "data.validation", problem)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order[held_out:].sort().values, order[:held_out].sort().values


def _take(split: Split, indices: Tensor) -> Split:
    return Split(split.inputs.index_select(0, indices), split.labels.index_select(0, indices))


def pixel_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of 8-bit images [n, channels, …], pixels counted from 0 to 1.

    Exact to float64 whatever the number of images: sums are of integers.  A constant channel gets std 1.
    """
    means, stds = [], []
    values = np.arange(256, dtype=np.float64) / 255
    for channel in range(pixels.shape[1]):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(pixels), _CHUNK):
            counts += np.bincount(pixels[start : start + _CHUNK, channel].ravel(), minlength=256)
        weights = counts / counts.sum()
        mean = float(values @ weights)
        std = float(np.sqrt((values - mean) ** 2 @ weights))
        means.append(mean)
        stds.append(std if std > 0 else 1.0)
    return means, stds


def _normalise(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixel/255 − mean)/std, channel by channel: the constants are rounded to float32 only once."""
    inputs = pixels.to(torch.float32)
    for channel, (m, s) in enumerate(zip(mean, std, strict=True)):
        inputs[:, channel].mul_(1 / (255 * s)).sub_(m / s)
    return inputs


def _digest(arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor; copied if it is read-only, as torch knows no such thing."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


@dataclass(frozen=True)
class _Place:
    """Which of the user's two data sets is being read, for the wording of what is wrong with it."""

    source: str
    path: str
    part: str
    labelled: bool

    def bad(self, message: str) -> BadInput:
        return BadInput.one(self.source, self.path, f"{self.part} {message}")


def _materialise(part: Any, place: _Place) -> Split:
    """A map-style data set, or a pair of tensors, as tensors."""
    inputs, labels = _columns(part, place)
    if len(labels) == 0:
        raise place.bad("is empty")
    if len(inputs) != len(labels):
        raise place.bad(f"has {len(inputs)} inputs but {len(labels)} labels")
    if place.labelled:
        _require_classes(labels, place)
    elif labels.is_complex() or not labels.isfinite().all():
        raise place.bad("targets must be finite real numbers")
    if not inputs.isfinite().all():
        raise place.bad("inputs must be finite numbers")
    whole = not inputs.is_floating_point() and inputs.dtype not in (torch.uint8, torch.bool)
    target = torch.float32 if labels.is_floating_point() else torch.int64
    return Split(inputs.to(torch.int64 if whole else torch.float32).contiguous(), labels.to(target).contiguous())


def _require_classes(labels: Tensor, place: _Place) -> None:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.dim() != 1:
        found = f"{_type(labels.dtype)} of shape {tuple(labels.shape)}"
        raise place.bad(f"labels must be integers, one an input; got {found}")
    if int(labels.min()) < 0:
        raise place.bad(f"label {int(labels.min())} must be 0 or more")


def _are_classes(targets: Tensor) -> bool:
    return targets.dim() == 1 and not targets.is_floating_point() and int(targets.min()) >= 0


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _columns(part: Any, place: _Place) -> tuple[Tensor, Tensor]:
    # A subclass may do more to its items than look them up.
    pair = part.tensors if type(part) is TensorDataset else part
    if isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(c, Tensor | np.ndarray) for c in pair):
        inputs, labels = _as_tensor(pair[0], "inputs", place), _as_tensor(pair[1], "labels", place)
        if inputs.dim() == 0 or labels.dim() == 0:
            raise place.bad("inputs and labels must be tensors with a row for each input")
        return inputs, labels
    if not hasattr(part, "__len__") or not hasattr(part, "__getitem__"):
        raise place.bad(f"must be a map-style data set or a pair of tensors, got {_what(part)}")
    return _read_items(part, place)


def _read_items(part: Any, place: _Place) -> tuple[Tensor, Tensor]:
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    for i in range(len(part)):
        try:
            item = part[i]
        except Exception as error:
            raise place.bad(f"item {i} raised {user_code.one_line(error)}") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise place.bad(f"item {i} must be a pair (input, label), got {_what(item)}")
        inputs.append(_as_tensor(item[0], f"input of item {i}", place))
        labels.append(_as_tensor(item[1], f"label of item {i}", place))
        if inputs[i].shape != inputs[0].shape:
            shapes = f"{tuple(inputs[0].shape)}, input {i} of {tuple(inputs[i].shape)}"
            raise place.bad(f"all inputs must have one shape: input 0 is of {shapes}")
        if place.labelled and labels[i].numel() != 1:
            raise place.bad(f"label of item {i} must be one integer, got {_what(item[1])}")
        if labels[i].numel() != labels[0].numel():
            shapes = f"{tuple(labels[0].shape)}, target {i} of {tuple(labels[i].shape)}"
            raise place.bad(f"all targets must have one shape: target 0 is of {shapes}")
    if not inputs:
        return torch.empty(0), torch.empty(0)
    shape = () if place.labelled else labels[0].shape
    return torch.stack(inputs), torch.stack([label.reshape(shape) for label in labels])


def _as_tensor(value: Any, what: str, place: _Place) -> Tensor:
    try:
        return torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        hint = "a transform such as torchvision's ToTensor() makes tensors of images"
        raise place.bad(f"{what} must be a tensor, got {_what(value)}; {hint}") from None


def _what(value: Any) -> str:
    name = type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, tuple | list) else name
