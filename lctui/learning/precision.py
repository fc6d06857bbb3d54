"""What a scheme's precision means on a device.

Owns the arithmetic of training passes.  Weights, sums, C steps and evaluation are float32 whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path

import torch

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What /proc/cpuinfo calls instructions that multiply bfloat16, on x86 and on ARM."""


def arithmetic(precision: str, device: torch.device) -> str:
    """ "float32", "tf32" or "bfloat16": what the products of a training pass are computed in.

    A CPU knows no TF32.  One without instructions for bfloat16 emulates them, ten times slower than float32: there,
    bfloat16 stands for no more than the leave to round, which is not taken.
    """
    if device.type == "cuda":
        return precision
    return "bfloat16" if precision == "bfloat16" and cpu_multiplies_bfloat16() else "float32"


@cache
def cpu_multiplies_bfloat16() -> bool:
    """Does this processor have instructions for products of bfloat16?  No, where it cannot be known."""
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not _BFLOAT16_FLAGS.isdisjoint(words)


def autocast(kind: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass in this arithmetic: bfloat16 where autograd knows it to be safe."""
    if kind == "bfloat16":
        # Every weight is cast once a pass: a cache would only keep casts of old weights in a captured graph.
        return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
    return nullcontext()


@contextmanager
def tensor_cores(kind: str) -> Iterator[None]:
    """Lets a GPU round the factors of float32 products to TF32's 10 bits, if that is the arithmetic, and only here."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = kind == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before
