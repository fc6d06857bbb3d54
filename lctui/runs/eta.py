"""How long a run will still take.

Owns the estimate: the mean of the epochs timed so far in this process, times the epochs left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RECENT = 50


@dataclass
class Eta:
    """Epochs timed, and reference epochs left."""

    reference_left: int
    reference_seconds: list[float] = field(default_factory=list)
    lc_seconds: list[float] = field(default_factory=list)

    def reference_epoch(self, seconds: float) -> None:
        """One more reference epoch is done."""
        self.reference_seconds.append(seconds)
        self.reference_left -= 1

    def lc_epoch(self, seconds: float) -> None:
        """One more epoch of an L step is done."""
        self.lc_seconds.append(seconds)

    def left(self, lc_epochs: int) -> float | None:
        """Seconds to the end with `lc_epochs` of L steps left; None while nothing has been timed."""
        reference = _mean(self.reference_seconds)
        # Before the first LC epoch, a reference epoch is the nearest thing that has been timed.
        lc = _mean(self.lc_seconds[-RECENT:]) or reference
        if lc is None:
            return None
        return self.reference_left * (reference or 0.0) + lc_epochs * lc


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
