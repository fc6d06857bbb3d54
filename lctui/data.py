"""Data sets: the built-in ones and the user's own, as tensors ready for training.

Owns class subsets, the validation split, normalisation and the digest that identifies what was trained on.  Where
the built-in sets' files come from is in `lctui.data_sources`.  Neither batches nor augments, and moves nothing to a
device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lctui import scheme, user_code
from lctui.data_items import Place, Split, are_classes, digest_of, materialise, type_name, what
from lctui.data_sources import Images, Progress, read
from lctui.data_streams import Unread, sample_digest, sampled, should_stream, unread
from lctui.errors import BadInput, not_one_of
from lctui.scheme.net import BUILT_IN_DATA

_CHUNK = 4096  # images looked at together


@dataclass(frozen=True)
class DataSet:
    """A data set, split: labels are 0..classes−1 everywhere; `classes` is 0 where targets are no classes.

    `digest` is the SHA-256 of the inputs as they were read and the labels, training set and then test set.  `mean`
    and `std` are what the pixels (0 to 1) of each channel were normalised by; empty where nothing was.
    """

    train: Split | Unread
    validation: Split | Unread
    test: Split | Unread
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
                raise BadInput.one(source, "data.name", f"{data.name} must return (train, test), got {what(sets)}")
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
    if should_stream(data, train, test, seed):
        places = {part: Place(source, path, part, labelled) for part in given}
        return _streamed(
            {part: unread(items, places[part], seed, data.workers) for part, items in given.items()}, data, seed
        )
    parts = {part: materialise(items, Place(source, path, part, labelled)) for part, items in given.items()}
    shapes = {part: tuple(split.inputs.shape[1:]) for part, split in parts.items()}
    if shapes["train"] != shapes["test"]:
        raise BadInput.one(source, path, f"train has inputs of {shapes['train']}, test of {shapes['test']}")
    targets = {part: (split.labels.dtype, tuple(split.labels.shape[1:])) for part, split in parts.items()}
    if targets["train"] != targets["test"]:
        train_has, test_has = (f"{type_name(dtype)} of {shape}" for dtype, shape in targets.values())
        raise BadInput.one(source, path, f"train has targets {train_has}, test {test_has}")
    if all(are_classes(split.labels) for split in parts.values()):
        classes = 1 + max(int(split.labels.max()) for split in parts.values())
    elif data.classes is None:
        classes = 0
    else:
        raise BadInput.one(source, "data.classes", "picks classes, one an input: these targets are none")
    kept = {part: _subset(split, data, classes, part, source) for part, split in parts.items()}
    digest = digest_of(array.numpy() for split in kept.values() for array in (split.inputs, split.labels))
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


def _streamed(parts: dict[str, Unread], data: scheme.Data, seed: int) -> DataSet:
    """Data that are read as they are needed; classes are as many as some of their items show."""
    train, test = parts["train"], parts["test"]
    bad = train.place
    if train.shape != test.shape:
        raise BadInput.one(bad.source, bad.path, f"train has inputs of {train.shape}, test of {test.shape}")
    if data.classes is not None:
        problem = "needs all labels at once: return only those classes from the function, or set data.stream to never"
        raise BadInput.one(bad.source, "data.classes", problem)
    samples = [sampled(part) for part in parts.values()]
    known = all(are_classes(split.labels) for split in samples)
    rest, held_out = _split(len(train), data, seed, bad.source)
    return DataSet(
        train=train.take(rest),
        validation=train.take(held_out),
        test=test,
        classes=1 + max(int(split.labels.max()) for split in samples) if known else 0,
        digest=sample_digest([train, test], samples),
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
        digest=digest_of(array.numpy() for split in raw.values() for array in (split.inputs, split.labels)),
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


def _tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor; copied if it is read-only, as torch knows no such thing."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())
