"""A study as it stands: its rows, the run of each, and what the search for its reference found.

Owns these records; trains nothing and needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lctui.runs.store import Run

if TYPE_CHECKING:
    from lctui.scheme import Scheme
    from lctui.scheme.layout import Layout


@dataclass(frozen=True)
class StudyRow:
    """A row of a study: one scheme a seed, and the run of each."""

    name: str
    """As in "table1-1" or "quantize/k=2"."""
    tags: tuple[str, ...]
    schemes: tuple[Scheme, ...]
    """One a seed, in the order of the seeds."""
    runs: tuple[Run | None, ...]
    """The run of each of them, None where there is no finished one."""
    published: Mapping[str, float]
    """What somebody else reported for this row; empty where nothing is published."""


@dataclass(frozen=True)
class Candidate:
    """A reference that the search tried."""

    part: str
    """The part of the study that it is for: "" for the root."""
    stage: int
    """From 1."""
    settings: Mapping[str, Any]
    """As in {"reference.batch_size": 16}."""
    run: Run | None
    chosen: bool
    """Is it this stage's winner?"""


@dataclass(frozen=True)
class StudyRuns:
    """A study and its finished runs."""

    name: str
    rows: tuple[StudyRow, ...]
    candidates: tuple[Candidate, ...]
    layout: Layout | None
    """The file's "report" block."""
    source: str
    """Where the study's file was."""
