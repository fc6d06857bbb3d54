"""Contestants that take turns.

Owns how time is measured: every round runs each contestant once, so that whatever else the machine does meanwhile
hits all alike; the first round warms up and is not counted; the median of the others is reported.  Owns the rows that
hold ours against a library's, too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Say = Callable[[str], None]
Run = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """A contestant's seconds, round by round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median round, in seconds."""
        return statistics.median(self.seconds)


def take_turns(contestants: Mapping[str, Run], rounds: int, device: torch.device, say: Say) -> dict[str, Times]:
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


def against_libraries(
    ours: Mapping[str, Run],
    libraries: Mapping[str, tuple[str, Run]],
    n: int,
    rounds: int,
    device: torch.device,
    say: Say,
) -> list[dict[str, Any]]:
    """A row for each of ours: `what`, `n` weights, `seconds`, and where there is one its library's.

    Args:
        libraries: by the names that ours have, the name of a call and the call.
    """
    contestants = {**ours, **{f"library for {what}": call for what, (_, call) in libraries.items()}}
    times = take_turns(contestants, rounds, device, say)
    rows = []
    for what in ours:
        row: dict[str, Any] = {"what": what, "n": n, "seconds": times[what].median}
        if what in libraries:
            theirs = times[f"library for {what}"].median
            row |= {"library": libraries[what][0], "library_seconds": theirs, "ratio": theirs / row["seconds"]}
        rows.append(row | {"all_seconds": list(times[what].seconds)})
    return rows


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
