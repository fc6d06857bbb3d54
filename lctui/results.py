"""`result.json`: what a run achieved, from the numbers that its worker kept.

Owns the fields of a result and which step is the best.  Writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lctui.events import Measured

Numbers = dict[str, Any]


@dataclass
class Kept:
    """The numbers of a run that outlive its process: they travel in the checkpoint."""

    seconds: float = 0.0
    reference: Numbers | None = None
    direct: Numbers | None = None
    steps: list[Numbers] = field(default_factory=list)

    def add(self, step: int, event: Measured) -> None:
        """Keeps one more LC step; what its tasks learned is kept of the last one only (codebooks can be large)."""
        self.steps = [_without_layers(each) or {} for each in self.steps]
        self.steps.append({"step": step, **measured(event)})

    def record(self) -> Numbers:
        """JSON-ready."""
        return asdict(self)

    @property
    def last(self) -> Numbers | None:
        """The compressed net as it stands: the last LC step, or direct compression before the first."""
        return self.steps[-1] if self.steps else self.direct

    @property
    def best(self) -> Numbers | None:
        """The step of lowest validation error, ties to the later; without validation data there is no best."""
        place = best_place([step["validation_error_pct"] for step in self.steps])
        return None if place is None else self.steps[place]


def best_place(errors: Sequence[float | None]) -> int | None:
    """The place of the lowest error, of equals the last; None where nothing was measured."""
    judged = [place for place, error in enumerate(errors) if error is not None]
    return min(reversed(judged), key=lambda place: errors[place] or 0.0) if judged else None


def measured(event: Measured) -> Numbers:
    """The part of an event that a result repeats: errors, sizes, FLOPs, tasks."""
    return {each.name: getattr(event, each.name) for each in fields(Measured)}


def result_of(kept: Kept, *, identity: Numbers, status: str, artifact_bytes: int | None) -> Numbers:
    """`result.json`; `identity` says which run it is (id, name, seed, device), and its metric if not error."""
    last = kept.last
    final = _without_layers(last)
    if final is not None:
        final = {name: value for name, value in final.items() if name != "step"} | {"artifact_bytes": artifact_bytes}
    return {
        "id": identity["id"],
        "name": identity["name"],
        "status": status,
        "seed": identity["seed"],
        "device": identity["device"],
        **({"metric": identity["metric"]} if "metric" in identity else {}),
        "reference": kept.reference,
        "direct": _without_layers(kept.direct),
        "final": final,
        "best": _without_layers(kept.best),
        "layers": last["layers"] if last is not None else None,
        "steps": len(kept.steps),
        "seconds": kept.seconds,
    }


def _without_layers(numbers: Numbers | None) -> Numbers | None:
    return None if numbers is None else {name: value for name, value in numbers.items() if name != "layers"}
