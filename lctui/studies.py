"""Running a study: each member in a run folder of its own, one after another or, where that pays, several together.

Owns what is reused (a finished run of the same scheme, code and data is not run again, a half-done one goes on) and
which members train together.  A member that fails does not stop the rest.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lctui.errors import BadInput, Diverged, Interrupted, LctuiError, Problem
from lctui.execution import C_STEP_VERSION, Execution, Observer, execute
from lctui.learning.gradients import why_not_stackable
from lctui.prepare import Prepared, describe_net, pick_device, prepare
from lctui.references import TRAINING_VERSION
from lctui.runs.control import prepare_to_resume
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.scheme import Scheme
from lctui.scheme.check import check_scheme, describe
from lctui.scheme.study import Study
from lctui.together import execute_together


class Display(Observer, Protocol):
    """Somebody watching a study: an observer of its runs who also hears what happens between them."""

    def say(self, line: str) -> None:
        """One line."""

    def download(self, name: str, done: int, total: int) -> None:
        """A download has got so far, in bytes."""

    def beside_others(self, name: str) -> Observer:
        """An observer of one run among several."""


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
        unfinished = []
        for scheme in schemes:
            if stop():
                raise Interrupted("stopped before all members had begun")
            done += 1
            display.say(f"[{done}/{len(study.schemes)}] {scheme.name}")
            prepared = prepare(scheme, store.home, device, source, display.download)
            twins = [run for run in store.twins(scheme.fingerprint()) if _same(run, prepared)]
            finished = next((run for run in twins if run.status() == "finished"), None)
            if finished is not None:
                display.say(f"  already done: run {finished.id}")
                yield Member(scheme.name, finished.read("result.json"), reused=True)
            else:
                unfinished.append(_Unfinished(study.name, scheme, prepared, twins))
        together = len(unfinished) > 1
        if together and (reason := why_not_stackable(unfinished[0].prepared.module)) is not None:
            display.say(f"  one after another: {reason}")
            together = False
        if together:
            yield from _run_together(unfinished, store, device, stop, display, size)
        else:
            yield from (member.run_alone(store, device, stop, display) for member in unfinished)


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
    """A member with work left to do; `twins` are the runs of its scheme so far."""

    study: str
    scheme: Scheme
    prepared: Prepared
    twins: Sequence[Run]

    def begin(self, store: Store, device: str) -> Run:
        """The run to go on with, or a new one."""
        unfinished = next((run for run in self.twins if run.status() in ("interrupted", "crashed")), None)
        if unfinished is None:
            return new_run(store, self.scheme, device, study=self.study)
        prepare_to_resume(unfinished)
        return unfinished

    def run_alone(self, store: Store, device: str, stop: StopRequest, display: Display) -> Member:
        run = self.begin(store, device)
        try:
            return Member(self.scheme.name, execute(run, self.prepared, store.home, stop, display), reused=False)
        except (Interrupted, BadInput):
            raise
        except LctuiError as error:
            return self.ended(run, error, display)

    def ended(self, run: Run, error: LctuiError, display: Display) -> Member:
        """How the member came out that did not finish."""
        word = {Diverged: "diverged", Interrupted: "stopped"}.get(type(error), "failed")
        display.say(f"  {self.scheme.name} {word}: {error}")
        status = "interrupted" if isinstance(error, Interrupted) else "failed"
        written = {} if isinstance(error, Interrupted | BadInput) else run.read("result.json")
        return Member(self.scheme.name, written or {"id": run.id, "name": self.scheme.name, "status": status}, False)


def _run_together(
    members: Sequence[_Unfinished], store: Store, device: str, stop: StopRequest, display: Display, size: int
) -> Iterator[Member]:
    """Runs members that can train together.  Each can be stopped alone; the study's own stop request reaches all.

    Raises:
        Interrupted: the study was stopped.
    """
    display.say(f"  {len(members)} runs train together")
    executions: dict[Execution, _Unfinished] = {}
    for member in members:
        own, observer = StopRequest(above=stop), display.beside_others(member.scheme.name)
        execution = Execution(member.begin(store, device), member.prepared, store.home, own, observer)
        executions[execution] = member
    on_gpu = members[0].prepared.device.type == "cuda"
    workers = min(len(members), os.cpu_count() or 1) if on_gpu else 1
    for execution, error in execute_together(list(executions), size, workers):
        member = executions[execution]
        if error is None and execution.result is not None:
            yield Member(member.scheme.name, execution.result, reused=False)
        elif error is not None and not stop():
            yield member.ended(execution.run, error, display)
    executions.clear()
    gc.collect()  # a run's parts refer to each other, and hold the device's memory while they wait to be collected
    if stop():
        raise Interrupted("stopped on request")


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
