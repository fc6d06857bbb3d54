"""Contestants that take turns.

Owns how time is measured: every round runs each contestant once, so that whatever else the machine does meanwhile
hits all alike; the first round warms up and is not counted; the median of the others is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Say = Callable[[str], None]


@dataclass(frozen=True)
class Times:
    """A contestant's seconds, round by round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median round, in seconds."""
        return statistics.median(self.seconds)


def take_turns(
    contestants: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, say: Say
) -> dict[str, Times]:
    """Every contestant's times over `rounds` rounds after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for done in range(rounds + 1):
        for name, run in contestants.items():
            wait(device)
            started = time.perf_counter()
            run()
            wait(device)
            if done > 0:
                seconds[name].append(time.perf_counter() - started)
        say(f"  round {done}/{rounds}" + ("" if done else " (warm-up, not counted)"))
    return {name: Times(tuple(times)) for name, times in seconds.items()}


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
