"""Whether training is still among the finite numbers, and which setting to look at when it is not."""

from __future__ import annotations

import math

from torch import Tensor


def is_finite(*values: Tensor | float | None) -> bool:
    """Are all of them finite?  None stands for what is not there yet."""
    return all(_is_finite(value) for value in values if value is not None)


def _is_finite(value: Tensor | float) -> bool:
    return bool(value.isfinite().all()) if isinstance(value, Tensor) else math.isfinite(value)


def l_step_advice(lr: float, mu: float) -> str:
    """What to change when an L step diverges: the penalty's own gradient step is stable for rates up to 1/μ."""
    if lr > 1 / mu:
        return (
            f"l_step.lr (here {lr:g}) is above 1/μ = {1 / mu:g}, where the penalty's own step overshoots:"
            " set l_step.clip_lr, or lower l_step.lr or lc.mu.start"
        )
    return f"lower l_step.lr (here {lr:g}; 1/μ = {1 / mu:g})"
