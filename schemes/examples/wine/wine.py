"""A task without images: which of three growers a wine is from, by 13 measurements (178 wines, shipped by mlxtend)."""

from __future__ import annotations

import numpy as np
import torch
from mlxtend.data import wine_data
from torch import nn


def net(hidden: int = 64) -> nn.Module:
    """13 measurements to 3 scores."""
    return nn.Sequential(
        nn.Linear(13, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 3),
    )


def data() -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """Training and test wines (every 4th), standardised by the training wines."""
    measured, grower = wine_data()
    test = np.arange(len(grower)) % 4 == 3
    measured = (measured - measured[~test].mean(0)) / measured[~test].std(0)
    inputs, labels = torch.from_numpy(measured).float(), torch.from_numpy(grower).long()
    return tuple((inputs[torch.from_numpy(part)], labels[torch.from_numpy(part)]) for part in (~test, test))
