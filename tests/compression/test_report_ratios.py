"""The published ratios of a five-class LeNet5, to the last digit: they follow from counts alone."""

from __future__ import annotations

from typing import Any

import torch
from c_step_oracles import solve

SHAPES = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (5, 500)}
BIASES = 20 + 50 + 500 + 5
TWO = {"type": "quantize", "k": 2}


def rank(r: int) -> dict[str, Any]:
    return {"type": "low_rank", "rank": r}


def ratio(tasks: dict[str, dict[str, Any]]) -> float:
    draw = torch.Generator().manual_seed(0)
    bits = 32 * BIASES
    parameters = BIASES
    for name, fields in tasks.items():
        bits += solve(fields, torch.randn(SHAPES[name], generator=draw)).bits
        parameters += torch.Size(SHAPES[name]).numel()
    assert parameters == 428575
    return 32 * parameters / bits


def test_codebooks_on_convolutions_and_low_rank_on_linear_layers() -> None:
    assert ratio({"conv1": TWO, "conv2": TWO, "fc1": rank(20), "fc2": rank(5)}) == 14.333192590517836


def test_low_rank_on_convolutions_and_codebooks_on_linear_layers() -> None:
    assert ratio({"conv1": rank(5), "conv2": rank(89), "fc1": TWO, "fc2": TWO}) == 9.559551326197454
