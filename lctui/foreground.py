"""Running here and now: what `lctui --run` and `lctui resume` do without `--detach`.

Owns a run's or a study's life in this process: prepare, execute under a display, print the result on stdout, then the
table for a person on stderr.  Validation has passed before; exit codes are the command line's.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, redirect_stdout
from typing import Any

from lctui.errors import Interrupted, LctuiError
from lctui.execution import execute
from lctui.headless.display import Display, Quiet
from lctui.headless.output import print_json, say
from lctui.headless.tables import result_table, study_table
from lctui.headless.terminal import Terminal
from lctui.prepare import prepare
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run, require_writable
from lctui.scheme import Scheme
from lctui.scheme.study import Study
from lctui.studies import Decided, Member, require_runnable
from lctui.studies import run_study as run_members


def run_scheme(scheme: Scheme, store: Store, device: str, source: str, quiet: bool) -> None:
    """Runs a scheme in a new run folder.

    Raises:
        BadInput: the net or the data cannot be had, or the home cannot be written to; nothing was written.
        Interrupted, Diverged, RunFailed: see `lctui.execution.execute`.
    """
    _run(None, scheme, store, device, source, display_of(quiet))


def resume(run: Run, store: Store, device: str, quiet: bool) -> None:
    """Goes on with a run that is neither finished nor running; raises as `run_scheme` does."""
    _run(run, run.scheme(), store, device, str(run.file("scheme.json")), display_of(quiet))


def run_study(study: Study, store: Store, device: str, source: str, quiet: bool, ensemble: int | None = None) -> None:
    """Runs a study's members; up to `ensemble` of them train together, None for as many as pays.

    Raises:
        BadInput, Interrupted: as `run_scheme` does.
        LctuiError: some members did not finish; the others did.
    """
    stop, display = StopRequest(), display_of(quiet)
    members: list[Member] = []
    decided: list[Decided] = []
    try:
        with _stdout_kept(), stop.on_signals(), display:
            require_runnable(study, source)
            require_writable(store)
            for news in run_members(study, store, device, source, stop, display, ensemble):
                decided.append(news) if isinstance(news, Decided) else members.append(news)
    finally:
        # Runs that trained together ended in an order of their own.
        order = {scheme.name: number for number, scheme in enumerate(study.schemes)}
        results = [member.result for member in sorted(members, key=lambda member: order[member.scheme.name])]
        if results or decided:
            search = {"search": [_decision(each) for each in decided]} if decided else {}
            print_json({"study": study.name, **search, "runs": results})
    if results:
        display.table(study_table(study.name, results))
    failed = sum(result.get("status") not in ("finished", "interrupted") for result in results)
    if not failed and any(result.get("status") == "interrupted" for result in results):
        raise Interrupted("some runs were stopped")
    if failed:
        raise LctuiError(f"{failed} of {len(results)} runs did not finish")


def _decision(decided: Decided) -> dict[str, Any]:
    """A stage of a search, JSON-ready."""
    tried = [
        {"id": result["id"], "set": candidate.settings, "status": result["status"], "reference": result["reference"]}
        for candidate, result in zip(decided.stage.candidates, decided.results, strict=True)
    ]
    return {"stage": decided.stage.title, "candidates": tried, "winner": decided.winner}


def _run(run: Run | None, scheme: Scheme, store: Store, device: str, source: str, display: Display) -> None:
    stop = StopRequest()
    with _stdout_kept(), display:
        prepared = prepare(scheme, store.home, device, source, display.download)
    require_writable(store)
    run = run or new_run(store, scheme, device)
    try:
        with _stdout_kept(), stop.on_signals(), display:
            result = execute(run, prepared, store.home, stop, display.of(scheme.objective.measure))
    except Interrupted:
        print_json({"id": run.id, "name": scheme.name, "status": "interrupted"})
        say(f"`lctui resume {run.id}` goes on from here")
        raise
    except LctuiError:
        if failed := run.read("result.json"):
            print_json(failed)
        raise
    print_json(result)
    display.table(result_table(result))
    display.say(f"{run.file('compressed.safetensors')}: {result['final']['artifact_bytes']:,} bytes")


def _stdout_kept() -> AbstractContextManager[object]:
    """stdout is for results: what a user's net or data print goes to stderr."""
    return redirect_stdout(sys.stderr)


def display_of(quiet: bool) -> Display:
    """What a person sees on stderr."""
    return (Quiet if quiet else Display)(Terminal(stderr=True))
