"""What `lctui export` does: runs as tables and plots, or a study as its report.

Owns that choice.  Loads no torch itself: what only a net can tell is asked of a process that has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lctui.errors import BadInput
from lctui.headless.output import say
from lctui.runs.study_record import studies
from lctui.runs.study_runs import open_study

if TYPE_CHECKING:
    from lctui.runs.store import Store


def export_what(
    what: Sequence[str],
    folder: Path,
    formats: Sequence[str],
    plots: Sequence[str],
    overrides: dict[str, Any],
    store: Store,
) -> list[Path]:
    """Writes runs, or the one study that is named or whose file is given, into a folder; returns the files.

    Raises:
        BadInput: there are no such runs or study, or they cannot be shown so.
    """
    if len(what) == 1 and (Path(what[0]).suffix == ".json" or what[0] in studies(store.home)):
        return _export_study(what[0], folder, formats, plots, overrides, store)
    if overrides:
        raise BadInput.one("", "--set", "goes with a study's file")
    from lctui.console.inspection import Answers
    from lctui.export.files import export_runs

    found = list(dict.fromkeys(store.find(run) for run in what))
    with Answers(store.home) as answers:
        return export_runs(found, folder, formats or ["csv"], plots, answers, say)


def _export_study(
    name: str,
    folder: Path,
    formats: Sequence[str],
    plots: Sequence[str],
    overrides: dict[str, Any],
    store: Store,
) -> list[Path]:
    from lctui.export.study_files import STUDY_FORMATS, export_study

    if plots:
        raise BadInput.one("", "--plot", "goes with runs; which plots a study's report has is in the study's file")
    return export_study(open_study(name, store, overrides), store.home, folder, formats or STUDY_FORMATS)
