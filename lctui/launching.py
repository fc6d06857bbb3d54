"""What `lctui --run FILE` does with a file: here, in a worker of its own, or in the queue.

Owns that choice, and what is known before anything starts: the file is valid, its inputs are there, its net can be
built.  Everything heavy is imported where it is needed, so that a refused file never waits for torch.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lctui.errors import BadInput
from lctui.headless.options import members_together, open_store
from lctui.headless.output import say
from lctui.runs.process import require_device_name

if TYPE_CHECKING:
    from lctui.runs.store import Store
    from lctui.scheme import Scheme
    from lctui.scheme.study import Study


def run_file(
    path: Path,
    device: str,
    detach: bool,
    queue: bool,
    quiet: bool,
    settings: dict[str, Any],
    ensemble: str | None,
) -> None:
    """Runs the scheme or the study in a file, or sees to it that somebody else does.

    Raises:
        BadInput: the file, its inputs or the options are not right; nothing has been written.
        LctuiError: as `lctui.foreground` does.
    """
    from lctui.input_files import require_inputs
    from lctui.scheme.study import Study, load_file

    size = members_together(ensemble)
    loaded = load_file(path, settings)
    if ensemble is not None and (queue or detach or not isinstance(loaded, Study)):
        raise BadInput.one("", "--ensemble", "goes with a study that runs here: queued runs have a process each")
    store = open_store(None)
    require_device_name(device)
    for scheme in loaded.schemes if isinstance(loaded, Study) else (loaded,):
        require_inputs(scheme, store.home, str(path))
    if not (detach or queue):
        _run_here(loaded, store, device, str(path), quiet, size)
    elif isinstance(loaded, Study):
        _study_elsewhere(loaded, store, device, path, quiet, settings, queue)
    elif queue:
        _queue_file(loaded, store, device, str(path), quiet)
    else:
        _start_worker(loaded, store, device, str(path))


def _run_here(loaded: Scheme | Study, store: Store, device: str, source: str, quiet: bool, size: int | None) -> None:
    from lctui import foreground
    from lctui.scheme.study import Study

    if isinstance(loaded, Study):
        foreground.run_study(loaded, store, device, source, quiet, size)
    else:
        foreground.run_scheme(loaded, store, device, source, quiet)


def _start_worker(scheme: Scheme, store: Store, device: str, source: str) -> None:
    from lctui.runs.process import start_worker
    from lctui.runs.store import new_run

    require_net(scheme, source)
    run = new_run(store, scheme, device)
    start_worker(run.folder, store.home, device)
    typer.echo(run.id)


def _study_elsewhere(
    study: Study, store: Store, device: str, path: Path, quiet: bool, settings: dict[str, Any], queue: bool
) -> None:
    """Queues a study's rows; while its search is open, it can only run as a whole."""
    from lctui.runs.study_runs import decided

    study = decided(study, store, {})
    if study.undecided is None:
        _queue_file(study, store, device, str(path), quiet)
    elif queue:
        rule = "is not decided yet, and its stages run one after another: run the study here, or with --detach"
        raise BadInput.one(str(path), "search", rule)
    else:
        _detach_study(study, store, device, path, settings)


def _detach_study(study: Study, store: Store, device: str, path: Path, settings: dict[str, Any]) -> None:
    """Runs a study as a whole in a process of its own."""
    from lctui.runs.process import launch
    from lctui.runs.store import require_writable
    from lctui.runs.study_record import StudyRecord

    require_net(study, str(path))
    require_writable(store)
    log = StudyRecord.open(store.home, study).path.with_suffix(".log")
    changes = [part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    arguments = ["--run", str(path.absolute()), "--home", str(store.home.absolute()), "--device", device, *changes]
    launch("lctui", arguments, log)
    say(f"the study runs in a process of its own; `lctui ls` shows its runs, {log} what it says")
    typer.echo(study.name)


def _queue_file(loaded: Scheme | Study, store: Store, device: str, source: str, quiet: bool) -> None:
    from lctui.headless.queued import queue_study
    from lctui.runs.queue import Queue
    from lctui.runs.store import Run
    from lctui.runs.study_record import StudyRecord
    from lctui.scheme import Scheme

    def comparable(scheme: Scheme, twins: list[Run]) -> list[Run]:
        from lctui import studies

        return studies.comparable(scheme, twins, store.home, device, source)

    # stdout is for ids: what a user's net or data print goes to stderr.
    with redirect_stdout(sys.stderr):
        require_net(loaded, source)
        if isinstance(loaded, Scheme):
            runs = Queue(store).add([loaded], device)
        else:
            runs = queue_study(loaded, store, device, comparable, (lambda line: None) if quiet else say)
            StudyRecord.open(store.home, loaded)
    for run in runs:
        typer.echo(run.id)


def require_net(loaded: Scheme | Study, source: str) -> None:
    """What the net can tell now, before a worker of its own finds it out where nobody looks."""
    from lctui.scheme.check import describe
    from lctui.scheme.study import Study

    if not isinstance(loaded, Study):
        net_of(loaded, source)
        return
    if any(describe(scheme.model) is None or _has_functions(scheme) for scheme in loaded.schemes):
        from lctui import studies

        studies.require_runnable(loaded, source)


def net_of(scheme: Scheme, source: str) -> Any:
    """The net's layers; torch is loaded only for nets, losses and metrics that are not built in.

    Raises:
        BadInput: the net is not what the scheme takes it for, or a loss or a metric is not there.
    """
    from lctui.scheme.check import check_scheme, describe

    if _has_functions(scheme):
        from lctui.objectives import objective_of

        objective_of(scheme.objective, source)
    if (net := describe(scheme.model)) is not None:
        return net
    from lctui.prepare import describe_net

    net = describe_net(scheme, source)
    problems = check_scheme(scheme.model, scheme.data, dict(enumerate(scheme.compress)), net)
    if problems:
        raise BadInput(source, problems)
    return net


def _has_functions(scheme: Scheme) -> bool:
    """Are the loss or the metric the user's own?"""
    return ":" in scheme.objective.loss + scheme.objective.metric
