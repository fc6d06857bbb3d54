"""Names of exported files and folders: made from what a user calls a run or a layer, safe on any file system.

Owns which signs may stand in them, and that the names of several runs differ.  Writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lctui.export.tables import run_labels
from lctui.runs.store import Run

MAX_LENGTH = 60


def file_name(text: str) -> str:
    """The text as part of a file's name: letters and digits of any script, `_.=+-`; other signs become a hyphen."""
    return re.sub(r"[^\w.=+-]+", "-", text)[:MAX_LENGTH].strip("-.") or "unnamed"


def run_names(runs: Sequence[Run]) -> dict[Run, str]:
    """What the files of each run are called: after its name, or its id where names would meet in one file."""
    names = [file_name(label) for label in run_labels(runs)]
    # Some file systems do not tell capitals from small letters.
    distinct = len({name.casefold() for name in names}) == len(names)
    return {run: name if distinct else run.id for run, name in zip(runs, names, strict=True)}


def stem(*parts: str) -> str:
    """A file's stem from its parts, without those that are empty: `codebook-fc1`."""
    return "-".join(part for part in parts if part)
