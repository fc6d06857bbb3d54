"""Running a study: each member in a run folder of its own, one after another or, where that pays, several together.

Owns what is reused (a finished run of the same scheme, code and data is not run again, a half-done one goes on), the
order of things (a search's stages first, each with what the ones before chose) and which members train together.  A
member that fails does not stop the rest.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lctui.errors import BadInput, Diverged, Interrupted, LctuiError, Problem, RunFailed
from lctui.execution import C_STEP_VERSION, Execution, Observer, execute
from lctui.learning.gradients import why_not_stackable
from lctui.prepare import Prepared, describe_net, pick_device, prepare
from lctui.references import TRAINING_VERSION
from lctui.runs.control import prepare_to_resume
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.runs.study_eta import StudyEta
from lctui.runs.study_record import StudyRecord
from lctui.scheme import Scheme
from lctui.scheme.check import check_scheme, describe
from lctui.scheme.study import Stage, Study, best_candidate
from lctui.together import execute_together


class Display(Observer, Protocol):
    """Somebody watching a study: an observer of its runs who also hears what happens between them."""

    def say(self, line: str) -> None:
        """One line."""

    def download(self, name: str, done: int, total: int) -> None:
        """A download has got so far, in bytes."""

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
    while (stage := study.undecided) is not None:
        decided = yield from members.decide(stage)
        study = study.settled(stage, decided.winner)
    yield from members.run(study.schemes)


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
        error = listed[winner]["reference"]["validation_error_pct"]
        self.display.say(f"{stage.title}: {chosen}, of validation error {error:.2f} %")
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
        prepared = prepare(scheme, self.store.home, self.device, self.source, self.display.download)
        twins = [run for run in self.store.twins(scheme.fingerprint()) if _same(run, prepared)]
        finished = next((run for run in twins if run.status() == "finished"), None)
        if finished is None:
            return _Unfinished(self.study, scheme, prepared, twins)
        self.display.say(f"  already done: run {finished.id}")
        return Member(scheme, finished.read("result.json"), reused=True)

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
                yield member.run_alone(self.store, self.device, self.stop, self.display)

    def _run_together(self, members: Sequence[_Unfinished]) -> Iterator[Member]:
        """Runs members that can train together.  Each can be stopped alone; the study's own stop request reaches all.

        Raises:
            Interrupted: the study was stopped.
        """
        self.display.say(f"  {len(members)} runs train together")
        executions: dict[Execution, _Unfinished] = {}
        for member in members:
            self.eta.begin(member.scheme)
            own, observer = StopRequest(above=self.stop), self.display.beside_others(member.scheme.name)
            run = member.begin(self.store, self.device)
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
            return Member(self.scheme, execute(run, self.prepared, store.home, stop, display), reused=False)
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
    return [run for run in twins if _same(run, prepared)]


def _same(run: Run, prepared: Prepared) -> bool:
    """Would this run's numbers be those of a new one?"""
    meta = run.read("meta.json")
    now = {"c_step_version": C_STEP_VERSION, "training_version": TRAINING_VERSION, "device": str(prepared.device)}
    now |= {"data_sha256": prepared.data.digest, "code_sha256": prepared.code_digest}
    return all(meta.get(name) == value for name, value in now.items())
