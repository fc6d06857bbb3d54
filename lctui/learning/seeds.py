"""Random streams that depend on names, not on history.

Every epoch's batch order is a function of (seed, phase, step, epoch), so a run that resumes needs no generator state
to go on exactly as it would have, and changing one part of a scheme does not shift the randomness of another.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named stream."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def permutation(n: int, seed: int) -> Tensor:
    """A random order of n items: [n] int64, the same on every device."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
