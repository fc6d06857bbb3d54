"""Running a study: each member in a run folder of its own, one after another or, where that pays, several together.

Owns what is reused (a finished run of the same scheme, code and data is not run again, a half-done one goes on) and
which members train together.  A member that fails does not stop the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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
from lctui.together import execute_together
from lctui.worker import C_STEP_VERSION, Execution, Observer, execute


class Display(Observer, Protocol):
    """Somebody watching a study: an observer of its runs who also hears what happens between them."""

    def say(self, line: str) -> None:
        """One line."""

    def download(self, name: str, done: int, total: int) -> None:
        """A download has got so far, in bytes."""

    def beside_others(self, name: str, leads: bool) -> Observer:
        """An observer of one run among several; the one that leads shows the progress of all."""


@dataclass(frozen=True)
class Member:
    """How one run of a study came out: `result` as in `result.json`, and whether it was there already."""

    name: str
    result: dict[str, Any]
    reused: bool


MOST_TOGETHER = 64
"""Members that train together on a GPU unless the user says otherwise."""


def run_study(
    study: Study,
    store: Store,
    device: str,
    source: str,
    stop: StopRequest,
    display: Display,
    ensemble: int | None = None,
) -> Iterator[Member]:
    """Runs what is not finished yet; yields every member's result as it is there, failed ones included.

    Members with the same net, data, reference and L step train together, up to `ensemble` at once; None means as many
    as pays: `MOST_TOGETHER` on a GPU, one on a CPU, which is as busy with a single net.

    Raises:
        BadInput: a member cannot be run at all: its net or its data is not to be had.
        Interrupted: it was stopped; finished members are kept, those under way can go on.
    """
    size = ensemble or (MOST_TOGETHER if pick_device(device).type == "cuda" else 1)
    done = 0
    for schemes in alike(study.schemes, size):
        members = []
        for scheme in schemes:
            done += 1
            display.say(f"[{done}/{len(study.schemes)}] {scheme.name}")
            prepared = prepare(scheme, store.home, device, source, display.download)
            member = _Unfinished.of(study, scheme, prepared, store, device)
            if isinstance(member, Run):
                display.say(f"  already done: run {member.id}")
                yield Member(scheme.name, member.read("result.json"), reused=True)
            else:
                members.append(member)
        if len(members) > 1:
            yield from _run_together(members, store.home, stop, display, size)
        else:
            yield from (member.run_alone(store.home, stop, display) for member in members)


def alike(schemes: Sequence[Scheme], size: int) -> Iterator[list[Scheme]]:
    """The schemes in groups of at most `size` that can train together; groups in the order of their first scheme."""
    groups: dict[str, list[Scheme]] = {}
    for number, scheme in enumerate(schemes):
        groups.setdefault(scheme.batches_fingerprint() if size > 1 else str(number), []).append(scheme)
    for group in groups.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


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


@dataclass(frozen=True)
class _Unfinished:
    """A member with work left to do, and the run that does it."""

    scheme: Scheme
    prepared: Prepared
    run: Run

    @classmethod
    def of(cls, study: Study, scheme: Scheme, prepared: Prepared, store: Store, device: str) -> _Unfinished | Run:
        """The run to go on with, or a new one; the finished run itself where there is nothing left to do."""
        twins = [run for run in store.twins(scheme.fingerprint()) if _same(run, prepared)]
        finished = next((run for run in twins if run.status() == "finished"), None)
        if finished is not None:
            return finished
        unfinished = next((run for run in twins if run.status() in ("interrupted", "crashed")), None)
        if unfinished is not None:
            prepare_to_resume(unfinished)
        return cls(scheme, prepared, unfinished or new_run(store, scheme, device, study=study.name))

    def run_alone(self, home: Path, stop: StopRequest, display: Display) -> Member:
        try:
            return Member(self.scheme.name, execute(self.run, self.prepared, home, stop, display), reused=False)
        except (Interrupted, BadInput):
            raise
        except LctuiError as error:
            return self.failed(error, display)

    def failed(self, error: LctuiError, display: Display) -> Member:
        display.say(f"  {'diverged' if isinstance(error, Diverged) else 'failed'}: {error}")
        return Member(self.scheme.name, self.run.read("result.json"), reused=False)


def _run_together(
    members: Sequence[_Unfinished], home: Path, stop: StopRequest, display: Display, size: int
) -> Iterator[Member]:
    """Runs members that can train together; what keeps one of them from its end is raised when the others have ended.

    A member can be stopped alone: its request is its own, and the study's reaches all.
    """
    display.say(f"  {len(members)} runs train together")
    executions: dict[Execution, _Unfinished] = {}
    for member in members:
        observer = display.beside_others(member.scheme.name, leads=not executions)
        own = StopRequest(above=stop)
        executions[Execution(member.run, member.prepared, home, own, observer)] = member
    unfinished: LctuiError | None = None
    on_gpu = members[0].prepared.device.type == "cuda"
    workers = min(len(members), os.cpu_count() or 1) if on_gpu else 1
    for execution, error in execute_together(list(executions), size, workers):
        member = executions[execution]
        if execution.result is not None:
            yield Member(member.scheme.name, execution.result, reused=False)
        elif error is not None and not isinstance(error, Interrupted | BadInput):
            yield member.failed(error, display)
        else:
            unfinished = unfinished or error
    if unfinished is not None:
        raise unfinished


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
