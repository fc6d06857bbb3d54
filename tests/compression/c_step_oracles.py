"""What the C steps' tests share: ways to state a problem, and answers found without the code under test."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pydantic
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from lctui.compression import Compressed, c_step
from lctui.scheme.compressions import How

modest = settings(max_examples=40, deadline=None)

_adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(How)

CONSTRAINTS: dict[str, Any] = {
    "l0": {"type": "prune", "kappa": 17},
    "l0-fraction": {"type": "prune", "fraction": 0.3},
    "l1": {"type": "prune", "kappa": 4.5, "norm": "l1"},
    "l0-codebook": {"type": "prune", "kappa": 20, "k": 3},
    "structured": {"type": "prune_structured", "kappa": 2},
    "2:4": {"type": "prune_n_m"},
    "3:7": {"type": "prune_n_m", "n": 3, "m": 7},
    "adaptive": {"type": "quantize", "k": 3},
    "fixed": {"type": "quantize", "codebook": "fixed", "values": [0.5, -1.0, 0.0, 0.25]},
    "powers": {"type": "quantize", "codebook": "powers_of_two", "c": 3},
    "powers-scaled": {"type": "quantize", "codebook": "powers_of_two", "c": 2, "scaled": True},
    "binary": {"type": "quantize", "codebook": "binary", "scaled": False},
    "binary-scaled": {"type": "quantize", "codebook": "binary"},
    "ternary": {"type": "quantize", "codebook": "ternary", "scaled": False},
    "ternary-scaled": {"type": "quantize", "codebook": "ternary"},
    "rank": {"type": "low_rank", "rank": 2},
    "rank-scheme-1": {"type": "low_rank", "rank": 2, "conv_scheme": "scheme_1"},
    "rank-float16": {"type": "low_rank", "rank": 2, "bits": 16},
    "sum": [{"type": "quantize", "k": 2}, {"type": "prune", "kappa": 5}],
    "sum-of-three": [
        {"type": "low_rank", "rank": 1},
        {"type": "prune", "kappa": 5, "k": 2},
        {"type": "quantize", "codebook": "ternary"},
    ],
}
"""Compressions that only constrain Θ, by a short name."""

PENALTIES: dict[str, Any] = {
    "l0-penalty": {"type": "prune", "alpha": 0.1},
    "l1-penalty": {"type": "prune", "alpha": 0.1, "norm": "l1"},
    "rank-auto": {"type": "low_rank", "rank": "auto", "alpha": 1e-3},
    "rank-auto-plain": {"type": "low_rank", "rank": "auto", "alpha": 0.05, "normalize": False},
    "sum-penalties": [{"type": "low_rank", "rank": "auto", "alpha": 1e-3}, {"type": "prune", "alpha": 0.2}],
}
"""Compressions with a price."""

EVERY = CONSTRAINTS | PENALTIES


def how(fields: Any) -> Any:
    """The validated model of a compression."""
    return _adapter.validate_python(fields)


def solve(fields: Any, v: Any, mu: float = 1.0, **options: Any) -> Compressed:
    """The C step of the compression that these fields describe."""
    return c_step(how(fields), v, mu, **options)


def one_layer_only(fields: Any) -> bool:
    """Whether a compression takes a single tensor."""
    return any(one["type"] == "low_rank" for one in (fields if isinstance(fields, list) else [fields]))


def error(v: Any, theta: Any) -> float:
    """‖v − θ‖², in float64; of tensors or of lists."""
    if isinstance(v, Tensor):
        v, theta = [v], [theta]
    return sum(float((a.double() - b.double()).square().sum()) for a, b in zip(v, theta, strict=True))


def vectors(min_size: int = 1, max_size: int = 8) -> st.SearchStrategy[Tensor]:
    """Short vectors: of any numbers, or of few different ones, so that ties are common."""
    free = st.floats(-8, 8, width=32, allow_subnormal=False)
    coarse = st.integers(-3, 3).map(lambda i: i / 2)
    lists = st.one_of(*(st.lists(one, min_size=min_size, max_size=max_size) for one in (free, coarse)))
    return lists.map(lambda values: torch.tensor(values, dtype=torch.float32))


def gap_bits(positions: list[int]) -> int:
    """The gap code's size from its definition, by loops."""
    sizes = []
    for b in range(2, 33):
        symbols, before = 0, -1
        for position in positions:
            d = position - before
            symbols += 1 if d < 2**b - 1 else d // (2**b - 1) + 1
            before = position
        sizes.append(b * symbols)
    return min(sizes)


def best_partition_error(v: Tensor, k: int) -> float:
    """The least error of k shared values, over all ways to cut the sorted values into k runs."""
    values = np.sort(v.double().numpy())
    k = min(k, len(values))
    cuts = itertools.combinations(range(1, len(values)), k - 1)
    runs = (np.split(values, list(cut)) for cut in cuts)
    return min(sum(float(((run - run.mean()) ** 2).sum()) for run in parts) for parts in runs)


def nearest_error(v: Tensor, entries: Any) -> float:
    """The error of every weight at its nearest entry."""
    values = v.double().reshape(-1, 1).numpy()
    return float(((values - np.asarray(entries, dtype=np.float64)) ** 2).min(axis=1).sum())
