"""A regression: how far 392 cars go on a gallon, by seven things known of them (shipped by mlxtend)."""

from __future__ import annotations

import numpy as np
import torch
from mlxtend.data import autompg_data
from torch import Tensor, nn

MILES = 7.8
"""Targets are standardised: one unit is so many miles per gallon."""


def net(hidden: int = 64) -> nn.Module:
    """7 numbers to 1."""
    return nn.Sequential(nn.Linear(7, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))


def data() -> tuple[tuple[Tensor, Tensor], ...]:
    """Training and test cars (every 4th), standardised by the training cars; targets [n, 1]."""
    cars, miles = (np.asarray(column, dtype=np.float32) for column in autompg_data())
    cars, miles = cars[:, :7], (miles - 23.4) / MILES
    test = np.arange(len(cars)) % 4 == 3
    cars = (cars - cars[~test].mean(0)) / cars[~test].std(0)
    return tuple((torch.from_numpy(cars[part]), torch.from_numpy(miles[part])[:, None]) for part in (~test, test))


def miles(outputs: Tensor, targets: Tensor) -> Tensor:
    """By how many miles per gallon each car is missed."""
    return MILES * (outputs - targets).abs().squeeze(1)
