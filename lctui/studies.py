"""Running a study: each member in a run folder of its own, one after another or, where that pays, several together.

Owns what is reused (a finished run of the same scheme, code and data is not run again, a half-done one goes on), the
order of things (a search's stages first, each with what the ones before chose) and which members train together.  A
member that fails does not stop the rest.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lctui.errors import BadInput, Diverged, Interrupted, LctuiError, Problem, RunFailed
from lctui.execution import Execution, Observer, execute
from lctui.learning.gradients import why_not_stackable
from lctui.objectives import objective_of
from lctui.prepare import Prepared, describe_net, pick_device, prepare
from lctui.resuming import Twins, would_equal
from lctui.runs.control import mark_starting, prepare_to_resume
from lctui.runs.locks import Lock, Taken
from lctui.runs.queue import Queue
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.runs.study_eta import StudyEta
from lctui.runs.study_record import StudyRecord
from lctui.scheme import Scheme
from lctui.scheme.check import check_scheme, describe
from lctui.scheme.measure import Measure
from lctui.scheme.study import Stage, Study, best_candidate
from lctui.together import execute_together


class Display(Observer, Protocol):
    """Somebody watching a study: an observer of its runs who also hears what happens between them."""

    def say(self, line: str) -> None:
        """One line."""

    def download(self, name: str, done: int, total: int) -> None:
        """A download has got so far, in bytes."""

    def of(self, measure: Measure) -> Observer:
        """The same, for runs whose errors are such."""

    def beside_others(self, name: str) -> Observer:
        """An observer of one run among several."""

    def member(self, number: int, name: str, eta: StudyEta) -> None:
        """The study has come to a member; `eta` says how far it is, and stays up to date by itself."""


@dataclass(frozen=True)
class Member:
    """How one run of a study came out: `result` as in `result.json`, and whether it was there already."""

    scheme: Scheme
    result: dict[str, Any]
    reused: bool


@dataclass(frozen=True)
class Decided:
    """A stage of a search is over: its candidates' results, in their order, and which of them won."""

    stage: Stage
    results: tuple[dict[str, Any], ...]
    winner: int


MOST_TOGETHER = 64
"""Members that train together on a GPU unless the user says otherwise."""
WAIT_SECONDS = 0.5
"""Between looks at what somebody else is at work on."""


def run_study(
    study: Study,
    store: Store,
    device: str,
    source: str,
    stop: StopRequest,
    display: Display,
    ensemble: int | None = None,
) -> Iterator[Member | Decided]:
    """Runs what is not finished yet; yields every stage of a search as it is decided, then every row's results as they
    are there, failed ones included.

    Members with the same net, data, reference and L step train together, up to `ensemble` at once; None means as many
    as pays: `MOST_TOGETHER` on a GPU, one on a CPU, which is as busy with a single net.

    Raises:
        BadInput: a member cannot be run at all: its net or its data is not to be had.
        RunFailed: no candidate of a stage could be trained.
        Interrupted: it was stopped; finished members are kept, those under way can go on.
    """
    size = ensemble or (MOST_TOGETHER if pick_device(device).type == "cuda" else 1)
    record = StudyRecord.open(store.home, study)
    candidates = [candidate.scheme for stage in study.stages for candidate in stage.candidates]
    members = _Members(study.name, store, device, source, stop, display, size, record, [*candidates, *study.schemes])
    with _taken(record.lock, stop, display):
        while (stage := study.undecided) is not None:
            decided = yield from members.decide(stage)
            study = study.settled(stage, decided.winner)
        yield from members.run(study.schemes)


@contextmanager
def _taken(lock: Lock, stop: StopRequest, display: Display) -> Iterator[None]:
    """The study's lock, once whoever else runs the study has done so; raises Interrupted as `run_study` does."""
    if not lock.acquire():
        display.say("waits for another lctui that runs this study")
        while not lock.acquire():
            _pause(stop)
    with lock:
        yield


def _pause(stop: StopRequest) -> None:
    """A moment of waiting for others; raises Interrupted once that is asked for."""
    time.sleep(WAIT_SECONDS)
    if stop():
        raise Interrupted("stopped while it waited for others")


class _Members:
    """The runs of one study, and what they share."""

    def __init__(
        self,
        study: str,
        store: Store,
        device: str,
        source: str,
        stop: StopRequest,
        display: Display,
        size: int,
        record: StudyRecord,
        schemes: Sequence[Scheme],
    ) -> None:
        self.study, self.store, self.device, self.source = study, store, device, source
        self.stop, self.display, self.size, self.record = stop, display, size, record
        self.eta = StudyEta(schemes)

    def decide(self, stage: Stage) -> Generator[Decided, None, Decided]:
        """Runs a stage's candidates and chooses one; yields the decision, and returns it."""
        schemes = [candidate.scheme for candidate in stage.candidates]
        results = {member.scheme.fingerprint(): member.result for member in self.run(schemes)}
        listed = tuple(results[scheme.fingerprint()] for scheme in schemes)
        winner = best_candidate(listed)
        if winner is None:
            raise RunFailed(f"{stage.title}: no candidate could be trained; see `lctui ls`")
        chosen = ", ".join(f"{path} = {value}" for path, value in stage.candidates[winner].settings.items())
        error = schemes[winner].objective.measure.said(listed[winner]["reference"]["validation_error_pct"])
        self.display.say(f"{stage.title}: {chosen}, of validation error {error}")
        yield (decided := Decided(replace(stage, winner=winner), listed, winner))
        return decided

    def run(self, schemes: Sequence[Scheme]) -> Iterator[Member]:
        """Runs schemes, or finds their runs; yields each as it is over.  Of equal schemes one is run."""
        first = {scheme.fingerprint(): scheme for scheme in reversed(schemes)}
        results: dict[str, dict[str, Any]] = {}
        for group in alike([scheme for scheme in schemes if first[scheme.fingerprint()] is scheme], self.size):
            for member in self._run_group(group):
                results[member.scheme.fingerprint()] = member.result
                yield self._over(member)
        for scheme in schemes:
            if first[scheme.fingerprint()] is not scheme and scheme.fingerprint() in results:
                yield self._over(Member(scheme, results[scheme.fingerprint()], reused=True))

    def _run_group(self, group: Sequence[Scheme]) -> Iterator[Member]:
        unfinished: list[_Unfinished] = []
        for scheme in group:
            if self.stop():
                raise Interrupted("stopped before all members had begun")
            self.display.member(self.eta.ended + len(unfinished) + 1, scheme.name, self.eta)
            if isinstance(found := self._find(scheme), Member):
                yield found
            else:
                unfinished.append(found)
        yield from self._run(unfinished)

    def _find(self, scheme: Scheme) -> Member | _Unfinished:
        """The scheme's finished run, or what there is to do."""
        unfinished = _Unfinished(
            self.study, scheme, prepare(scheme, self.store.home, self.device, self.source, self.display.download)
        )
        finished = unfinished.twins(self.store).finished
        return unfinished if finished is None else self._reused(scheme, finished)

    def _reused(self, scheme: Scheme, run: Run) -> Member:
        self.display.say(f"  already done: run {run.id}")
        return Member(scheme, run.read("result.json"), reused=True)

    def _begin(self, member: _Unfinished) -> Member | Run | _UnderWay:
        """The member's run to execute, made or taken up for this; or what somebody else has made of it by now."""
        # Whoever begins runs does so under this lock: of two that look at once only one begins.
        with self.store.beginning():
            twins = member.twins(self.store)
            if twins.finished is not None:
                return self._reused(member.scheme, twins.finished)
            if twins.at_work is not None:
                return _UnderWay(twins.at_work)
            if twins.queued is not None:
                if not Queue(self.store).withdraw(twins.queued):
                    return _UnderWay(twins.queued)  # its turn has come this moment
                self.display.say(f"  run {twins.queued.id} is taken out of the queue: it is the same")
            if twins.stalled is not None:
                self.display.say(f"  run {twins.stalled.id} is the same but stalled, and is not waited for")
            return member.begin(self.store, self.device, twins.queued or twins.at_rest)

    def _run_alone(self, member: _Unfinished) -> Member:
        """Runs a member, or waits for whoever is at work on it."""
        while not isinstance(begun := self._begin(member), Member):
            if isinstance(begun, _UnderWay):
                self.display.say(f"  waits for run {begun.run.id}, which is the same and under way")
                while begun.run.status() in ("starting", "running"):
                    _pause(self.stop)
                continue
            with suppress(Taken):  # somebody has resumed it in between
                return member.run_alone(begun, self.store.home, self.stop, self.display)
        return begun

    def _over(self, member: Member) -> Member:
        self.record.add(member.scheme, member.result)
        self.eta.end(member.scheme, reused=member.reused)
        return member

    def _run(self, members: Sequence[_Unfinished]) -> Iterator[Member]:
        """Members that can train together do, if their net can."""
        together = len(members) > 1
        if together and (reason := why_not_stackable(members[0].prepared.module)) is not None:
            self.display.say(f"  one after another: {reason}")
            together = False
        if together:
            yield from self._run_together(members)
        else:
            for member in members:
                self.eta.begin(member.scheme)
                yield self._run_alone(member)

    def _run_together(self, members: Sequence[_Unfinished]) -> Iterator[Member]:
        """Runs members that can train together.  Each can be stopped alone; the study's own stop request reaches all.

        Raises:
            Interrupted: the study was stopped.
        """
        self.display.say(f"  {len(members)} runs train together")
        self.display.of(members[0].scheme.objective.measure)
        executions: dict[Execution, _Unfinished] = {}
        others: list[_Unfinished] = []
        for member in members:
            self.eta.begin(member.scheme)
            own, observer = StopRequest(above=self.stop), self.display.beside_others(member.scheme.name)
            run = self._begin(member)
            if isinstance(run, Member):
                yield run
            elif isinstance(run, _UnderWay):
                others.append(member)
            else:
                executions[Execution(run, member.prepared, self.store.home, own, observer)] = member
        on_gpu = members[0].prepared.device.type == "cuda"
        workers = min(len(members), os.cpu_count() or 1) if on_gpu else 1
        for execution, error in execute_together(list(executions), self.size, workers):
            member = executions[execution]
            if error is None and execution.result is not None:
                yield Member(member.scheme, execution.result, reused=False)
            elif error is not None and not self.stop():
                yield member.ended(execution.run, error, self.display)
        executions.clear()
        gc.collect()  # a run's parts refer to each other, and hold the device's memory while they wait to be collected
        if self.stop():
            raise Interrupted("stopped on request")
        for member in others:  # somebody else had begun them
            yield self._run_alone(member)


def alike(schemes: Sequence[Scheme], size: int) -> Iterator[list[Scheme]]:
    """The schemes in groups of at most `size` that can train together; groups in the order of their first scheme."""
    groups: dict[str, list[Scheme]] = {}
    for number, scheme in enumerate(schemes):
        groups.setdefault(scheme.batches_fingerprint() if size > 1 else str(number), []).append(scheme)
    for group in groups.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def require_runnable(study: Study, source: str) -> None:
    """Every member's net is built, its tasks are checked against it, and its loss and metric are found, before the
    first member trains.

    Raises:
        BadInput: with all problems, each with the member's name; or a net cannot be built.
    """
    problems = []
    for scheme in study.schemes:
        try:
            objective_of(scheme.objective, source)
        except BadInput as missing:
            problems += [Problem(f"{scheme.name}: {problem.path}", problem.message) for problem in missing.problems]
        net = describe(scheme.model) or describe_net(scheme, source)
        found = check_scheme(scheme.model, scheme.data, dict(enumerate(scheme.compress)), net)
        problems += [Problem(f"{scheme.name}: {problem.path}", problem.message) for problem in found]
    if problems:
        raise BadInput(source, problems)


@dataclass(frozen=True)
class _UnderWay:
    """Somebody else is at work on a member, as this run."""

    run: Run


@dataclass(frozen=True)
class _Unfinished:
    """A member with work left to do."""

    study: str
    scheme: Scheme
    prepared: Prepared

    def twins(self, store: Store) -> Twins:
        """What has become of its scheme so far."""
        return Twins.of(self.scheme.fingerprint(), self.prepared, store)

    def begin(self, store: Store, device: str, unfinished: Run | None) -> Run:
        """The run to go on with, or a new one."""
        if unfinished is None:
            return new_run(store, self.scheme, device, study=self.study)
        prepare_to_resume(unfinished)
        mark_starting(unfinished, device)
        return unfinished

    def run_alone(self, run: Run, home: Path, stop: StopRequest, display: Display) -> Member:
        observer = display.of(self.scheme.objective.measure)
        try:
            return Member(self.scheme, execute(run, self.prepared, home, stop, observer), reused=False)
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
        return Member(self.scheme, written or {"id": run.id, "name": self.scheme.name, "status": status}, False)


def comparable(scheme: Scheme, twins: list[Run], home: Path, device: str, source: str) -> list[Run]:
    """Those runs of this scheme that were made with the code, the data and the kind of device that a new one would be.

    Raises:
        BadInput: the net or the data is not to be had.
    """
    prepared = replace(prepare(scheme, home, "cpu", source), device=pick_device(device))
    return [run for run in twins if would_equal(run, prepared)]
