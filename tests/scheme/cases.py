"""The scheme that the scheme tests start from, and how they change, write and load it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput, Problem
from lctui.scheme import Scheme
from lctui.scheme.load import parse_scheme

EXAMPLE: dict[str, Any] = {
    "version": 1,
    "name": "table6-3",
    "model": {"factory": "lenet5", "args": {"classes": 5}},
    "data": {"name": "mnist", "classes": [0, 2, 5, 6, 7], "validation": 0.1},
    "reference": {
        "epochs": 30,
        "batch_size": 64,
        "lr": 0.02,
        "lr_decay": 0.9,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.0,
    },
    "compress": [
        {"layers": ["conv1"], "how": {"type": "prune", "kappa": 104}},
        {"layers": ["conv2"], "how": {"type": "prune", "kappa": 2505}},
        {"layers": ["fc1"], "how": {"type": "low_rank", "rank": "auto", "alpha": 2.5e-9}},
        {"layers": ["fc2"], "how": {"type": "low_rank", "rank": "auto", "alpha": 2.5e-9}},
    ],
    "lc": {
        "method": "augmented_lagrangian",
        "mu": {"start": 5e-5, "factor": 1.15, "steps": 30},
        "tolerance": None,
    },
    "l_step": {
        "epochs": 10,
        "batch_size": 256,
        "lr": 0.2,
        "lr_decay": 0.98,
        "momentum": 0.9,
        "nesterov": True,
        "clip_lr": True,
    },
    "seed": 0,
    "precision": "float32",
}
"""Every block and every field spelled out."""

MINIMAL: dict[str, Any] = {"model": {"factory": "lenet5"}, "data": {"name": "mnist"}, "compress": []}
"""Nothing that has a default."""


def changed(settings: dict[str, Any], base: dict[str, Any] = EXAMPLE) -> dict[str, Any]:
    """The example with the values at some dotted paths replaced; None of the paths need exist in their block."""
    raw = copy.deepcopy(base)
    for path, value in settings.items():
        *parents, last = path.split(".")
        here: Any = raw
        for key in parents:
            here = here[int(key) if isinstance(here, list) else key]
        here[int(last) if isinstance(here, list) else last] = value
    return raw


def with_how(how: Any, layers: tuple[str, ...] = ("fc1",), **fields: Any) -> dict[str, Any]:
    """A scheme of one task on LeNet5."""
    return MINIMAL | {"compress": [{"layers": list(layers), "how": how}]} | fields


def parsed(raw: Any) -> Scheme:
    """The scheme in parsed JSON."""
    return parse_scheme(raw, "scheme.json")


def problems_of(raw: Any) -> tuple[Problem, ...]:
    """What is wrong with parsed JSON; it must not be a valid scheme."""
    with pytest.raises(BadInput) as caught:
        parsed(raw)
    assert all(line.startswith("scheme.json: ") for line in caught.value.lines())
    return caught.value.problems


def only_problem(raw: Any) -> Problem:
    """The one thing wrong with parsed JSON."""
    (problem,) = problems_of(raw)
    return problem


def written(path: Path, raw: Any) -> Path:
    """A JSON file."""
    path.write_text(json.dumps(raw), encoding="utf-8")
    return path
