"""The index of all runs: a row each, kept fresh by re-reading only what changed on disk.

Owns which files tell that a run changed, and what a row holds.  Blocking: for a thread.  What it remembers between
processes is a cache in the home, which may be deleted, damaged or unwritable at any time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import NoneType
from typing import Any

from lctui.runs.facts import facts_of
from lctui.runs.lines_cache import load_lines, save_lines
from lctui.runs.status import AT_REST
from lctui.runs.store import SUMMARIZED, Run, Store, summary_of

Stamp = tuple[int, int, int] | None
"""What tells a file from its next version: time of change, size and inode; None for no file."""

_VERSION = "lctui runs index 4"
_MANY_UNSAVED = 50
_NO_RUN = summary_of("", "crashed", {name: {} for name in SUMMARIZED})

_TEXT, _MAYBE_TEXT, _NUMBER = (str,), (str, NoneType), (int, float, NoneType)
_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "name", "status", "order"), _TEXT),
    **dict.fromkeys(("created", "model", "metric", "phase", "error"), _MAYBE_TEXT),
    "tags": (list,),
}
"""The types of a summary's fields; all others are numbers, or not known."""


@dataclass(frozen=True)
class RunRow:
    """A run as a list shows it (`summary`), and all that a filter may ask about it (`facts`)."""

    id: str
    summary: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Known:
    """A row, and the versions of the files that it was made from, in the order of `SUMMARIZED`."""

    stamps: tuple[Stamp, ...]
    row: RunRow
    resting: bool


class RunIndex:
    """Rows of all runs in a store; `refresh` brings them up to date, `save` remembers them for the next process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows: tuple[RunRow, ...] = ()
        """Newest first; replaced whole, never changed."""
        self._known: dict[str, _Known] = {}
        self._rows_by_id: dict[str, RunRow] = {}
        self._cache = store.home / "cache" / "runs-index.jsonl"
        # What the cache file holds, by id; None before it has been looked at.
        self._cached: dict[str, tuple[Stamp, ...]] | None = None
        self._fields: tuple[tuple[RunRow, ...], frozenset[str]] = (self.rows, frozenset())
        self._mutex = Lock()

    def get(self, run_id: str) -> RunRow | None:
        """The row of a run, or None if there is no such run."""
        return self._rows_by_id.get(run_id)

    def fields(self) -> frozenset[str]:
        """The names of all facts of all runs: what `lctui.runs.filters.parse` may be told."""
        rows, names = self._fields
        if rows is not self.rows:
            rows = self.rows
            names = frozenset().union(*(row.facts for row in rows))
            self._fields = rows, names
        return names

    def refresh(self) -> bool:
        """Re-reads what changed on disk; says whether any row did."""
        with self._mutex:
            first = self._cached is None
            before = self._load() if first else self._known
            known: dict[str, _Known] = {}
            for run_id in _folder_names(self.store.runs_folder):
                if (found := self._examined(run_id, before.get(run_id), first)) is not None:
                    known[run_id] = found
            rows = {run_id: found.row for run_id, found in known.items()}
            old, self._known = self._rows_by_id, known
            if rows.keys() == old.keys() and all(row is old[run_id] for run_id, row in rows.items()):
                return False
            self._rows_by_id = rows
            self.rows = tuple(sorted(rows.values(), key=_order, reverse=True))
            return True

    def _examined(self, run_id: str, known: _Known | None, first: bool) -> _Known | None:
        """A run as it is now: `known` itself if nothing changed, None if it is gone."""
        folder = f"{self.store.runs_folder}/{run_id}"
        # Whoever takes up a run at rest writes its status, and who ends a run writes that last.
        if known and known.resting and not first and _stamp(f"{folder}/status.json") == known.stamps[0]:
            return known
        stamps = tuple([_stamp(f"{folder}/{name}.json") for name in SUMMARIZED])
        same = known is not None and stamps == known.stamps
        if known and same and known.resting:
            return known
        run = Run(Path(folder))
        status = run.status()
        if known and same and status == known.row.summary["status"]:
            return known
        if not any(stamps) and not run.folder.is_dir():
            return None
        files = {name: run.read(f"{name}.json") for name in SUMMARIZED}
        summary = summary_of(run_id, status, files)
        return _Known(stamps, RunRow(run_id, summary, facts_of(summary, files)), status in AT_REST)

    def _load(self) -> dict[str, _Known]:
        """What an earlier process found."""
        entries = {}
        for entry in load_lines(self._cache, _VERSION):
            if _is_entry(entry):
                run_id, stamps, summary, facts = entry
                versions = tuple([None if stamp is None else tuple(stamp) for stamp in stamps])
                entries[run_id] = _Known(versions, RunRow(run_id, summary, facts), resting=True)
        self._cached = {run_id: known.stamps for run_id, known in entries.items()}
        return entries

    def save(self) -> None:
        """Writes the cache anew, once it would be felt at the next start that it is behind.

        Apart from `refresh`, so that what was found is shown first: nobody waits for the writing.
        """
        with self._mutex:
            self._save()

    def _save(self) -> None:
        resting = {run_id: known.stamps for run_id, known in self._known.items() if known.resting}
        if self._cached is None or len(resting.items() ^ self._cached.items()) <= _MANY_UNSAVED:
            return
        rows = (self._known[run_id].row for run_id in resting)
        save_lines(self._cache, _VERSION, ([row.id, resting[row.id], row.summary, row.facts] for row in rows))
        # Where it cannot be written, trying again at every change would not help.
        self._cached = resting


def _is_entry(entry: Any) -> bool:
    """Is this what `save` writes of a run?  A checksum tells damage, and no more."""
    match entry:
        case [str(), list(stamps), dict(summary), dict()]:
            return _fits(summary) and all(stamp is None or type(stamp) is list for stamp in stamps)
    return False


def _fits(summary: dict[str, Any]) -> bool:
    """Are its fields those of a summary, each of a type that it may have there?"""
    return summary.keys() == _NO_RUN.keys() and all(
        type(value) in _FIELD_TYPES.get(name, _NUMBER) for name, value in summary.items()
    )


def _folder_names(folder: Path) -> list[str]:
    """The ids of all runs; none while the folder is not there or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def _stamp(path: str) -> Stamp:
    try:
        about = os.stat(path)  # noqa: PTH116 - ten thousands of them: a Path each would double the time
    except (OSError, ValueError):
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def _order(row: RunRow) -> tuple[str, str]:
    return row.summary["order"], row.id
