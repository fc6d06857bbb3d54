"""What a home remembers of a study: its file's content as it was run, and which run came out of each scheme.

Owns `HOME/studies/`: a file a study, replaced whole and only under the folder's lock, and the lock of each study that
is being run.  The runs themselves know nothing of it; without a record, a study's runs are found by their schemes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lctui.errors import BadInput, nearest
from lctui.runs import atomic
from lctui.runs.formats import require_known
from lctui.runs.locks import Lock
from lctui.runs.log import now
from lctui.runs.store import slug_of
from lctui.scheme import Scheme
from lctui.scheme.study import Study, parse_study

VERSION = 1


@dataclass
class StudyRecord:
    """A study of this home; `runs` holds run ids by the scheme's fingerprint."""

    path: Path
    study: Study
    runs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, home: Path, study: Study) -> StudyRecord:
        """The record of a study that is about to run; what an earlier study of that name left is kept if it fits.

        Raises:
            BadInput: a newer lctui wrote it, or nothing can be written there.
        """
        record = cls(_folder(home) / _file_name(study.name), study)
        record.path.parent.mkdir(parents=True, exist_ok=True)
        record._write({})
        return record

    @property
    def lock(self) -> Lock:
        """Whoever has this lock runs the study."""
        return Lock(self.path.with_suffix(".lock"))

    def add(self, scheme: Scheme, result: Mapping[str, Any]) -> None:
        """Remembers the run of a scheme, by its result; raises as `open` does."""
        self._write({scheme.fingerprint(): str(result["id"])})

    def _write(self, more: Mapping[str, str]) -> None:
        """Writes the file with further runs, beside those that others have written meanwhile."""
        study = {"study": self.study.name, "source": str(Path(self.study.source).absolute()), "file": self.study.raw}
        with Lock(self.path.with_name("lock")) as lock:
            lock.wait()
            atomic.sweep(self.path.parent, self.path.name)
            self.runs = {**_runs(_known(self.path)), **more}
            atomic.write_json(self.path, {"version": VERSION, "updated": now(), **study, "runs": self.runs})


def find_record(home: Path, name: str) -> StudyRecord:
    """The record of the study of that name.

    Raises:
        BadInput: there is none, its content is no study any more, or a newer lctui wrote it.
    """
    path = _folder(home) / _file_name(name)
    record = _known(path)
    if not isinstance(record, dict) or "file" not in record:
        guess = nearest(name, studies(home))
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise BadInput.one("", name, f"no such study in {home}{hint}")
    return StudyRecord(path, parse_study(record["file"], str(record.get("source", path)), {}), _runs(record))


def studies(home: Path) -> list[str]:
    """The names of this home's studies."""
    records = [atomic.read_json(path) for path in sorted(_folder(home).glob("*.json"))]
    return [record["study"] for record in records if isinstance(record, dict) and isinstance(record.get("study"), str)]


def _known(path: Path) -> Any:
    """The content of a record's file; raises TooNew if a newer lctui wrote it."""
    record = atomic.read_json(path)
    require_known(str(path), record if isinstance(record, dict) else {}, "version", VERSION)
    return record


def _runs(record: Any) -> dict[str, str]:
    runs = record.get("runs") if isinstance(record, dict) else None
    return {str(key): str(run) for key, run in runs.items()} if isinstance(runs, dict) else {}


def _folder(home: Path) -> Path:
    return home / "studies"


def _file_name(name: str) -> str:
    """A file name for any study's name; the digest keeps names apart that look alike without their signs."""
    return f"{slug_of(name) or 'study'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"
