"""Running a study: its members one after another, each in a run folder of its own.

Owns what is reused: a finished run of the same scheme, code and data is not run again, a half-done one goes on.  A
member that fails does not stop the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lctui.errors import BadInput, Diverged, Interrupted, LctuiError, Problem
from lctui.prepare import Prepared, describe_net, pick_device, prepare
from lctui.references import TRAINING_VERSION
from lctui.runs.control import prepare_to_resume
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from lctui.scheme.check import check_scheme, describe
from lctui.scheme.study import Study
from lctui.worker import C_STEP_VERSION, Observer, execute


class Display(Observer, Protocol):
    """Somebody watching a study: an observer of its runs who also hears what happens between them."""

    def say(self, line: str) -> None:
        """One line."""

    def download(self, name: str, done: int, total: int) -> None:
        """A download has got so far, in bytes."""


@dataclass(frozen=True)
class Member:
    """How one run of a study came out: `result` as in `result.json`, and whether it was there already."""

    name: str
    result: dict[str, Any]
    reused: bool


def run_study(
    study: Study,
    store: Store,
    device: str,
    source: str,
    stop: StopRequest,
    display: Display,
) -> Iterator[Member]:
    """Runs what is not finished yet; yields every member's result as it is there, failed ones included.

    Raises:
        BadInput: a member cannot be run at all: its net or its data is not to be had.
        Interrupted: it was stopped; finished members are kept, the one under way can go on.
    """
    for number, scheme in enumerate(study.schemes, 1):
        display.say(f"[{number}/{len(study.schemes)}] {scheme.name}")
        prepared = prepare(scheme, store.home, device, source, display.download)
        yield _run_member(study, scheme, prepared, store, device, stop, display)


def require_runnable(study: Study, source: str) -> None:
    """Every member's net is built and its tasks are checked against it, before the first member trains.

    Raises:
        BadInput: with all problems, each with the member's name.
    """
    problems = []
    for scheme in study.schemes:
        net = describe(scheme.model) or describe_net(scheme, source)
        found = check_scheme(scheme.model, scheme.data, dict(enumerate(scheme.compress)), net)
        problems += [Problem(f"{scheme.name}: {problem.path}", problem.message) for problem in found]
    if problems:
        raise BadInput(source, problems)


def _run_member(
    study: Study,
    scheme: Scheme,
    prepared: Prepared,
    store: Store,
    device: str,
    stop: StopRequest,
    display: Display,
) -> Member:
    twins = [run for run in store.twins(scheme.fingerprint()) if _same(run, prepared)]
    finished = next((run for run in twins if run.status() == "finished"), None)
    if finished is not None:
        display.say(f"  already done: run {finished.id}")
        return Member(scheme.name, finished.read("result.json"), reused=True)
    unfinished = next((run for run in twins if run.status() in ("interrupted", "crashed")), None)
    if unfinished is not None:
        prepare_to_resume(unfinished)
    run = unfinished or new_run(store, scheme, device, study=study.name)
    try:
        return Member(scheme.name, execute(run, prepared, store.home, stop, display), reused=False)
    except (Interrupted, BadInput):
        raise
    except LctuiError as error:
        display.say(f"  {'diverged' if isinstance(error, Diverged) else 'failed'}: {error}")
        return Member(scheme.name, run.read("result.json"), reused=False)


def comparable(scheme: Scheme, twins: list[Run], home: Path, device: str, source: str) -> list[Run]:
    """Those runs of this scheme that were made with the code, the data and the kind of device that a new one would be.

    Raises:
        BadInput: the net or the data is not to be had.
    """
    prepared = replace(prepare(scheme, home, "cpu", source), device=pick_device(device))
    return [run for run in twins if _same(run, prepared)]


def _same(run: Run, prepared: Prepared) -> bool:
    """Would this run's numbers be those of a new one?"""
    meta = run.read("meta.json")
    now = {"c_step_version": C_STEP_VERSION, "training_version": TRAINING_VERSION, "device": str(prepared.device)}
    now |= {"data_sha256": prepared.data.digest, "code_sha256": prepared.code_digest}
    return all(meta.get(name) == value for name, value in now.items())
