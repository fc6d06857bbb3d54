"""What happens in a run, as frozen records.

Owns the events' names and fields: a contract between the worker that writes them and everything that reads them.
Writes nothing; `lctui.runs.log` does.  Errors are percent, losses are mean cross-entropy, sizes are bits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Event:
    """Base of all events; `event` is the name on disk."""

    event: ClassVar[str] = ""

    def record(self) -> dict[str, Any]:
        """The event as a JSON-ready object, without its time."""
        return {"event": self.event, **asdict(self)}


@dataclass(frozen=True)
class RunStarted(Event):
    event: ClassVar[str] = "run_started"
    id: str
    name: str
    device: str
    fingerprint: str


@dataclass(frozen=True)
class RunResumed(Event):
    """The run goes on from its checkpoint; what was reported beyond this point is reported again."""

    event: ClassVar[str] = "run_resumed"
    phase: str
    step: int
    epoch: int
    batch: int


@dataclass(frozen=True)
class ReferenceEpoch(Event):
    event: ClassVar[str] = "reference_epoch"
    epoch: int
    epochs: int
    lr: float
    loss: float
    train_error_pct: float | None
    validation_error_pct: float | None
    test_error_pct: float | None
    seconds: float


@dataclass(frozen=True)
class ReferenceFinished(Event):
    event: ClassVar[str] = "reference_finished"
    reference: str
    reused: bool
    train_error_pct: float | None
    validation_error_pct: float | None
    test_error_pct: float | None
    parameters: int
    bits: int


@dataclass(frozen=True)
class Measured(Event):
    """A compressed net: its errors, its size, and what each task learned."""

    train_error_pct: float | None
    validation_error_pct: float | None
    test_error_pct: float | None
    compressed_parameters: int
    compressed_bits: int
    compression_ratio: float | None
    flops: int
    flops_ratio: float | None
    layers: list[dict[str, Any]]


@dataclass(frozen=True)
class DirectCompression(Measured):
    """Step 0: the reference, compressed without any training."""

    event: ClassVar[str] = "direct_compression"


@dataclass(frozen=True)
class Epoch(Event):
    """One epoch of an L step; `loss` is the epoch's mean, without the penalty.

    `seconds` is what the epoch took, `together` how many runs were trained in that time.
    """

    event: ClassVar[str] = "epoch"
    step: int
    epoch: int
    epochs: int
    mu: float
    lr: float
    loss: float
    seconds: float
    together: int = 1


@dataclass(frozen=True, kw_only=True)
class Step(Measured):
    """One LC step (from 1): the compressed net Δ(Θ) after its L and C step."""

    event: ClassVar[str] = "step"
    step: int
    steps: int
    mu: float
    lr: float
    loss: float
    penalty: float
    gap: float
    relative_gap: float
    l_seconds: float
    c_seconds: float


@dataclass(frozen=True)
class RunInterrupted(Event):
    event: ClassVar[str] = "run_interrupted"
    phase: str
    step: int
    epoch: int
    batch: int


@dataclass(frozen=True)
class RunFailed(Event):
    event: ClassVar[str] = "run_failed"
    status: str
    error: str


@dataclass(frozen=True)
class RunFinished(Event):
    event: ClassVar[str] = "run_finished"
    status: str
    seconds: float
    result: dict[str, Any] = field(default_factory=dict)
