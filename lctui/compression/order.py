"""Order: sorted values and order statistics of a vector, each by the quickest exact way that its device has.

Owns the choice between NumPy on the CPU, whose sorting and selecting are vectorized, and torch elsewhere.  The values
are the same whoever finds them; where entries of equal value matter, the caller breaks ties.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def ascending(values: Tensor) -> Tensor:
    """The values in order: [N]."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort().values


def kth_largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest of N values, 1 ≤ k ≤ N: [].  O(N), whatever their order."""
    count = values.numel()
    if values.device.type == "cpu":
        return torch.from_numpy(np.partition(values.numpy(), count - k)[count - k : count - k + 1]).squeeze(0)
    # From the shorter side.  Not `kthvalue`: it takes O(N²) time on some orders.
    rest = count - k + 1
    fewer = values.topk(min(k, rest), largest=k <= rest, sorted=False).values
    return fewer.min() if k <= rest else fewer.max()
