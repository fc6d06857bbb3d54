"""C steps against the library call that does the same, or the nearest thing to it.

Owns which compressions are timed, on what weights, and what each is held against.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from lctui.bench.rounds import Run, Say, against_libraries
from lctui.compression import c_step
from lctui.scheme import How

ROWS, COLUMNS = 500, 800  # 400,000 weights: LeNet5's fc1
MU = 1e-3

HOWS: dict[str, Any] = {
    "k-means, k = 2": {"type": "quantize", "k": 2},
    "k-means, k = 16": {"type": "quantize", "k": 16},
    "k-means, k = 64": {"type": "quantize", "k": 64},
    "prune, κ = 1 %": {"type": "prune", "fraction": 0.01},
    "prune, κ = 10 %": {"type": "prune", "fraction": 0.1},
    "prune, κ = 1 %, codebook of 8": {"type": "prune", "fraction": 0.01, "k": 8},
    "prune, ℓ1 ball": {"type": "prune", "kappa": 1000.0, "norm": "l1"},
    "prune, filters": {"type": "prune_structured", "kappa": 100},
    "prune, 2 of 4": {"type": "prune_n_m", "n": 2, "m": 4},
    "low rank, r = 5": {"type": "low_rank", "rank": 5},
    "low rank, automatic": {"type": "low_rank", "rank": "auto", "alpha": 2.5e-9},
    "ternary, scaled": {"type": "quantize", "codebook": "ternary"},
    "powers of two, scaled": {"type": "quantize", "codebook": "powers_of_two", "c": 4, "scaled": True},
    "low rank + prune": [{"type": "low_rank", "rank": 5}, {"type": "prune", "fraction": 0.01}],
}


def measure_c_steps(device: torch.device, rounds: int, say: Say) -> list[dict[str, Any]]:
    """Every C step on 400,000 weights: rows with `what`, `seconds`, and `library`, `library_seconds`, `ratio`."""
    say(f"C steps, {ROWS * COLUMNS:,} weights")
    v = weights(device)
    runs = {what: partial(ours(how), v) for what, how in HOWS.items()}
    libraries = {what: found for what, how in HOWS.items() if (found := _library(how, v)) is not None}
    return against_libraries(runs, libraries, ROWS * COLUMNS, rounds, device, say)


def weights(device: torch.device) -> Tensor:
    """A matrix as training leaves it: five strong directions in a bed of noise, [500, 800]."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(ROWS, COLUMNS, generator=generator)
    strong = torch.randn(ROWS, 5, generator=generator) @ torch.randn(5, COLUMNS, generator=generator)
    return (noise + 0.02 * strong).to(device)


def ours(how: Any) -> Callable[[Tensor], object]:
    """Our C step of a scheme's `how`."""
    parsed = TypeAdapter(How).validate_python(how)
    return lambda v: c_step(parsed, v, MU)


def _library(how: Any, v: Tensor) -> tuple[str, Run] | None:
    """The obvious call, with its name; None where there is none, or it is not installed."""
    match how:
        case {"type": "quantize", "k": k}:
            return _kmeans(k, v)
        case {"type": "prune", "fraction": fraction} if "k" not in how:
            kappa = round(fraction * v.numel())
            return "torch.topk", lambda: v.flatten().abs().topk(kappa)
        case {"type": "low_rank"}:
            return "torch.linalg.svd", lambda: torch.linalg.svd(v, full_matrices=False)
    return None


def _kmeans(k: int, v: Tensor) -> tuple[str, Run] | None:
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        return None
    column = v.reshape(-1, 1).cpu().numpy()

    def fit() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            KMeans(k, n_init=10, random_state=0).fit(column)

    return "sklearn KMeans, n_init=10", fit
