"""What `lctui export` does: runs as tables, plots and nets to deploy, or a study as its report.

Owns that choice.  Loads torch only to write nets: what only a net can tell is asked of a process that has it.
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
    from lctui.console.inspection import Answers
    from lctui.export.files import DEPLOYED, export_runs, require_formats
    from lctui.export.study_files import STUDY_FORMATS, export_study

    if len(what) == 1 and (Path(what[0]).suffix == ".json" or what[0] in studies(store.home)):
        if plots:
            raise BadInput.one("", "--plot", "goes with runs; which plots a study's report has is in the study's file")
        study = open_study(what[0], store, overrides)
        with Answers(store.home) as answers:
            return export_study(study, answers, folder, formats or STUDY_FORMATS, say)
    if overrides:
        raise BadInput.one("", "--set", "goes with a study's file")
    found = list(dict.fromkeys(store.find(run) for run in what))
    for run in found:
        run.require_known()
    formats = formats or ["csv"]
    require_formats(formats, plots)
    nets, others = [each for each in formats if each in DEPLOYED], [each for each in formats if each not in DEPLOYED]
    paths = []
    if others:
        with Answers(store.home) as answers:
            paths = export_runs(found, folder, others, plots, answers, say)
    if nets:
        from lctui.deploying import deploy_runs

        paths += deploy_runs(found, folder, nets, store.home, say)
    return paths
