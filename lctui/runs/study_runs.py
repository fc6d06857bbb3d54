"""A study as it stands: its rows, the run of each, and what the search for its reference found.

Owns these records, and which runs of a home they are: those that the study's last execution used, else the newest
finished ones of the same schemes.  A stage of the search is decided once all its candidates have been trained; rows
after an open one have not been run.  Trains nothing and needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lctui.errors import BadInput
from lctui.runs.formats import TooNew
from lctui.runs.store import Run, Store
from lctui.runs.study_record import find_record
from lctui.scheme.measure import Measure
from lctui.scheme.study import Row, Stage, Study, best_candidate, load_file

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
    scheme: Scheme
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

    @property
    def measure(self) -> Measure:
        """What the errors of its rows and candidates are."""
        schemes = [scheme for row in self.rows for scheme in row.schemes] + [each.scheme for each in self.candidates]
        return Measure.common(scheme.objective.measure for scheme in schemes)


def open_study(name: str, store: Store, overrides: dict[str, Any] | None = None) -> StudyRuns:
    """The study of that name in a home, as it was last run, or the one in a file, with fields overridden.

    Raises:
        BadInput: no such study, a file with problems, a scheme where a study is wanted, or runs of a newer lctui.
    """
    path = Path(name)
    if path.suffix != ".json" and not path.is_file():
        record = find_record(store.home, name)
        return study_runs(record.study, store, record.runs)
    loaded = load_file(path, overrides)
    if not isinstance(loaded, Study):
        raise BadInput.one(name, "", "is a scheme, not a study; export its runs by their ids")
    try:
        known = find_record(store.home, loaded.name).runs
    except TooNew:
        raise
    except BadInput:
        known = {}  # run under another name, if at all: its runs are found by their schemes
    return study_runs(loaded, store, known)


def study_runs(study: Study, store: Store, known: Mapping[str, str]) -> StudyRuns:
    """The rows and candidates with their runs; `known` are run ids by fingerprint, preferred to other runs."""
    study = decided(study, store, known)
    return StudyRuns(
        study.name,
        tuple(_row(row, store, known, open_=study.undecided is not None) for row in study.rows),
        tuple(candidate for stage in study.stages for candidate in _candidates(stage, store, known)),
        study.layout,
        study.source,
    )


def decided(study: Study, store: Store, known: Mapping[str, str]) -> Study:
    """The study with every stage settled whose candidates, and those of all stages before it, have been trained."""
    while (stage := study.undecided) is not None:
        runs = [_finished(candidate.scheme, store, known) for candidate in stage.candidates]
        winner = best_candidate([run.read("result.json") if run is not None else {} for run in runs])
        if winner is None or None in runs:
            break
        study = study.settled(stage, winner)
    return study


def _row(row: Row, store: Store, known: Mapping[str, str], *, open_: bool) -> StudyRow:
    runs = tuple(None if open_ else _finished(scheme, store, known) for scheme in row.schemes)
    tags = row.schemes[0].tags if row.schemes else ()
    return StudyRow(row.name, tags, row.schemes, runs, row.published)


def _candidates(stage: Stage, store: Store, known: Mapping[str, str]) -> list[Candidate]:
    return [
        Candidate(
            stage.part,
            stage.number,
            candidate.settings,
            candidate.scheme,
            _finished(candidate.scheme, store, known),
            place == stage.winner,
        )
        for place, candidate in enumerate(stage.candidates)
    ]


def _finished(scheme: Scheme, store: Store, known: Mapping[str, str]) -> Run | None:
    fingerprint = scheme.fingerprint()
    runs = [Run(store.runs_folder / known[fingerprint])] if fingerprint in known else []
    found = next((run for run in [*runs, *store.twins(fingerprint)] if run.status() == "finished"), None)
    if found is not None:
        found.require_known()
    return found
