"""The execution of a run, from its folder's scheme to its result.

Owns the order of things in a run (reference, direct compression, LC steps, artifact, result) and what is on disk
after each.  Shows nothing: whoever started it passes an observer, or reads the folder.  An execution goes from one
epoch that it wants trained to the next, so that several can train theirs together.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from lctui import checkpoint, events, references
from lctui.advice import advice, advice_on_memory
from lctui.algorithm import LCProblem, State, compressed_state, learning_compression
from lctui.errors import Diverged, Interrupted, LctuiError, OutOfMemory, RunFailed
from lctui.export import artifact
from lctui.headless.words import duration
from lctui.learning.net import FlatNet
from lctui.learning.train import Turn
from lctui.memory import is_out_of_memory, memory_for
from lctui.observers import Nobody, Observer
from lctui.prepare import Prepared, provenance
from lctui.results import Kept, Numbers, measured, result_of
from lctui.resuming import origin, require_same_origin
from lctui.runs import atomic
from lctui.runs.clock import SET_BACK_SECONDS, Watch
from lctui.runs.eta import Eta
from lctui.runs.locks import Lock, Taken
from lctui.runs.log import EventLog, finite, read_lines
from lctui.runs.status import State as RunState
from lctui.runs.status import StatusFile
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run
from lctui.runs.worker_log import logging_to
from lctui.scheme.storage import dense_bits
from lctui.truth import require_truth

logger = logging.getLogger("lctui")

LOST = "this machine was not heard of for so long that another worker has taken the run over"

SAVE_SHARE = 0.05
"""Every epoch is followed by a checkpoint, unless writing them would take a larger share of the time."""


def execute(run: Run, prepared: Prepared, home: Path, stop: StopRequest, observer: Observer) -> Numbers:
    """Runs a prepared scheme in its folder, from its checkpoint if there is one; returns the result.

    Raises:
        BadInput: another worker has the run.
        Interrupted: it stopped on request and can be resumed.
        Diverged, RunFailed: it cannot go on; `result.json` says so.
    """
    execution = Execution(run, prepared, home, stop, observer)
    for _ in execution.turns():
        pass  # an epoch that nobody trains beside others' trains itself
    assert execution.result is not None
    return execution.result


class Execution:
    """One run being executed: `turns()` is its course, `result` what it has come to in the end."""

    def __init__(self, run: Run, prepared: Prepared, home: Path, stop: StopRequest, observer: Observer) -> None:
        self.run, self.prepared, self.home, self.stop, self.observer = run, prepared, home, stop, observer
        self.scheme = prepared.scheme
        self.lock = Lock(run.file("lock"))
        self.clock = Watch()
        self.status = StatusFile(run.file("status.json"), on_beat=self._look_for_stop)
        self.state, self.kept = State(), Kept()
        self.phase = "reference"
        self.eta = Eta(self.scheme.reference.epochs)
        self.result: Numbers | None = None
        self.logger = logger.getChild(run.id)
        self.begun = time.monotonic()
        self.saved, self.save_seconds, self.together = -math.inf, 0.0, 1
        self.turn: Turn | None = None
        self.beside = 0
        """How many other runs this process executes together with this one."""

    def turns(self) -> Generator[Turn | None, None, None]:
        """The whole run, epoch by epoch; each is trained when the next is asked for, if it is not by then.

        The first is None: the run is this process's from then on, and nothing has been trained yet.  Raises as
        `execute` does.  Closed before its end, it leaves the folder as an interruption does.
        """
        try:
            with self.lock:
                if not self.lock.acquire():
                    raise Taken.one("", self.run.id, "is running already")
                with logging_to(self.run):
                    yield from self._locked()
        except OSError as error:  # a folder that cannot be written to cannot say so either
            raise RunFailed(advice(error)) from error

    def _locked(self) -> Iterator[Turn | None]:
        """The run, with its lock held: nobody else writes into the folder."""
        if self.run.read("status.json").get("state") == "finished":
            raise Taken.one("", self.run.id, "is finished: another worker has seen to it")
        atomic.sweep(self.run.folder)
        require_same_origin(self.run, self.prepared)
        if self.lock.is_claim:
            self.logger.warning("no locks on this file system: lock.claim stands in for one")
        self._warn_of_clock(finite(self.run.read("status.json").get("heartbeat_unix")) - time.time())
        with closing(EventLog(self.run.file("events.jsonl"))) as self.log:
            yield from self._work()

    def _work(self) -> Iterator[Turn | None]:
        """The run; whatever ends it, the folder says so."""
        self._look_for_stop()
        self.run.file("result.json").unlink(missing_ok=True)
        self.status.open()
        try:
            self._build()
            self._write_provenance()
            yield None
            self._begin()
            self._get_reference()
            yield from self._compress()
            self.result = self._finish()
        except (Interrupted, GeneratorExit):
            self._pause()
            raise
        except (Exception, SystemExit) as error:  # a user's code may call sys.exit
            if is_out_of_memory(error):
                self.logger.exception("the run ran out of memory")
                message = advice_on_memory(error, self.run.id, self.beside)
                self._fail("failed", message)
                raise OutOfMemory(message) from error
            self._fail_by(error)
        self.status.close("finished")

    def _build(self) -> None:
        """The net on its device, and what the LC loop works on."""
        prepared = self.prepared
        with memory_for(f"for the net on {prepared.device}", "take a smaller model (model.args)"):
            self.net = FlatNet(prepared.module, prepared.device)
            self.problem = LCProblem(
                self.net,
                prepared.info,
                prepared.tasks,
                prepared.splits,
                self.scheme,
                stop=self.stop,
                on_batch=self._on_batch,
            )

    def _fail_by(self, error: BaseException) -> NoReturn:
        """Says in the folder what ended the run; raises it, or what it means."""
        message = advice(error)
        if isinstance(error, LctuiError):
            self._fail("diverged" if isinstance(error, Diverged) else "failed", message)
            raise error
        self.logger.error("the run failed", exc_info=error)
        self._fail("failed", message)
        raise RunFailed(message) from error

    def _pause(self) -> None:
        """Keeps all work and says that the run can go on."""
        if self.lock.is_lost():
            self.status.fall_silent()  # the folder is another worker's by now
            return
        try:
            self._save()
            self._emit(events.RunInterrupted(self.phase, self.state.step, *self._position()))
        except OSError:
            self.logger.exception("the last checkpoint could not be written; the one before it stands")
        self.run.file("stop").unlink(missing_ok=True)  # the request is met: a resume must not find it
        self.status.close("interrupted")

    def _write_provenance(self) -> None:
        meta = {"fingerprint": self.scheme.fingerprint()} | origin(self.prepared)
        meta |= {"arithmetic": self.problem.trainer.descent.gradient.kind} | provenance(self.prepared)
        atomic.write_json(self.run.file("meta.json"), self.run.read("meta.json") | meta)

    def _begin(self) -> None:
        saved = checkpoint.Checkpoint.load(self.run.file("checkpoint.safetensors"))
        if saved is not None:
            self.state, numbers = checkpoint.to_run(saved, self.net)
            self.kept, self.phase = Kept(**numbers), "l_step"
            position = self.state.position
            self._emit(events.RunResumed("l_step", self.state.step, position.epoch, position.batch))
        elif next(read_lines(self.run.file("events.jsonl")), None) is None:
            device, name = str(self.prepared.device), self.scheme.name
            self._emit(events.RunStarted(self.run.id, name, device, self.scheme.fingerprint()))
        else:
            self._emit(events.RunResumed("reference", 0, 0, 0))

    def _get_reference(self) -> None:
        if self.kept.reference is None:
            self._obtain_reference()
        self.eta.reference_left = 0
        self.phase = "l_step"

    def _obtain_reference(self) -> None:
        prepared = self.prepared
        key = references.key_of(self.scheme, prepared.data.digest, prepared.code_digest)
        watcher = references.Watcher(
            self._on_reference_epoch, self._on_reference_batch, self._on_waiting, self._on_reference_resumed
        )
        self.status.update(phase="reference", epochs=self.scheme.reference.epochs)
        found = references.obtain(self.net, prepared.splits, self.scheme, key, self.home, self.stop, watcher)
        parameters = prepared.info.parameters
        self.kept.reference = {
            **asdict(found.errors),
            "parameters": parameters,
            "bits": dense_bits(parameters),
        }
        self._emit(events.ReferenceFinished(found.key, found.reused, **self.kept.reference))

    def _compress(self) -> Iterator[Turn]:
        steps = self.scheme.lc.mu.steps if self.prepared.tasks else 0
        self.status.update(phase="l_step", step=self.state.step, steps=steps, epochs=self.scheme.l_step.epochs)
        self.status.update(epoch=self.state.position.epoch, batch=0)
        for event in learning_compression(self.problem, self.state):
            match event:
                case Turn():
                    self.turn = event
                    yield event
                    continue
                case events.DirectCompression():
                    self.kept.direct = measured(event)
                    self._show_measured(event)
                case events.Step():
                    self.kept.add(event.step, event)
                    self._show_measured(event)
                    self.status.update(step=event.step, mu=event.mu, gap=event.gap, epoch=0, batch=0)
                case events.Epoch():
                    self.eta.lc_epoch(event.seconds)
                    self.together = event.together
                    self.status.update(epoch=event.epoch, mu=event.mu)
            self.status.update(eta_seconds=self.eta.left(self._lc_epochs_left()))
            # Reported first: if the worker dies in between, the epoch is redone and reported again.
            self._emit(event)
            if self._is_time_to_save():
                self._save()

    def _finish(self) -> Numbers:
        self.status.update(phase="finishing", eta_seconds=0.0)
        path = self.run.file("compressed.safetensors")
        assert self.state.theta is not None
        with memory_for("for the compressed file", "end other programs"):
            state = compressed_state(self.problem, self.state.theta)
            artifact_bytes = artifact.save(path, artifact.tasks_of(self.problem.tasks, self.state.theta), state)
            require_truth(path, state, self.problem, self.state.theta, self.prepared, self.kept.last or {})
        result = self._result("finished", artifact_bytes)
        atomic.write_json(self.run.file("result.json"), result)
        self.status.update(phase="done")
        self._emit(events.RunFinished("finished", result["seconds"], result))
        return result

    def _result(self, status: str, artifact_bytes: int | None = None) -> Numbers:
        self._count_seconds()
        identity = {"id": self.run.id, "name": self.scheme.name, "seed": self.scheme.seed}
        identity["device"] = str(self.prepared.device)
        if not (measure := self.scheme.objective.measure).is_percent:
            identity["metric"] = measure.name
        return result_of(self.kept, identity=identity, status=status, artifact_bytes=artifact_bytes)

    def _fail(self, status: RunState, error: str) -> None:
        """Says in the folder why the run ended; the checkpoint stays the last good one."""
        try:
            atomic.write_json(self.run.file("result.json"), self._result(status) | {"error": error})
            self._emit(events.RunFailed(status, error))
            self.status.close(status, error)
        except OSError:
            # The disk that failed the run may refuse these words too; what it holds is still whole.
            self.logger.exception("the failure could not be recorded")

    def _save(self) -> None:
        if self.kept.reference is None:
            return  # the reference keeps its own checkpoint
        if self.lock.is_lost():
            raise Interrupted(LOST)
        if not self._is_sound():
            self.logger.warning("what there is now is not worth a checkpoint; the one before it stands")
            return
        self._count_seconds()
        started = time.monotonic()
        self.log.sync()  # no checkpoint is ahead of what has been reported
        with memory_for("for a checkpoint", "end other programs, or take a smaller model (model.args)"):
            saved = checkpoint.of_run(self.net, self.state, self.kept.record())
            saved.save(self.run.file("checkpoint.safetensors"))
        self.saved = time.monotonic()
        self.save_seconds = self.saved - started

    def _is_sound(self) -> bool:
        """May the run go on from what is in memory?  Not from an epoch that failed halfway, nor from infinite numbers.

        Whoever closes a run that trains beside others may find it so, before it could say so itself.
        """
        outcome = None if self.turn is None else self.turn.outcome
        failed = isinstance(outcome, Exception) and not isinstance(outcome, Interrupted)
        return not failed and self.state.is_finite(self.net.w)

    def _is_time_to_save(self) -> bool:
        """Has enough been done since the last checkpoint?  Runs that train together write theirs one after another."""
        return time.monotonic() - self.saved >= self.save_seconds * self.together / SAVE_SHARE

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.kept.seconds, self.begun = self.kept.seconds + now - self.begun, now

    def _position(self) -> tuple[int, int]:
        if self.phase == "reference":
            return self.status.progress.epoch, self.status.progress.batch
        return self.state.position.epoch, self.state.position.batch

    def _emit(self, event: events.Event) -> None:
        self._warn_of_clock(self.clock.set_back())
        self.log.append(event)
        self.logger.info("%s", event)
        self._tell(lambda observer: observer.event(event))

    def _tell(self, news: Callable[[Observer], None]) -> None:
        """Tells the observer; one whose terminal has gone is told no more, and the run goes on without."""
        try:
            news(self.observer)
        except (OSError, SystemExit):  # Rich answers a closed pipe by SystemExit
            self.logger.warning("nobody watches any more")
            self.observer = Nobody()

    def _warn_of_clock(self, seconds: float) -> None:
        """Nothing that is computed depends on the time of day; who reads the log should know."""
        if seconds > SET_BACK_SECONDS:
            words = f"the clock was set back by {duration(seconds)}"
            self.logger.warning("%s: times of day here are out of order, durations and results are right", words)

    def _look_for_stop(self) -> None:
        if self.lock.is_lost():
            self.status.fall_silent()
            self.logger.warning(LOST)
            self.stop.flag.set()
        elif self.run.file("stop").exists():
            self.stop.flag.set()

    def _lc_epochs_left(self) -> int:
        if not self.prepared.tasks:
            return 0
        done = self.state.step * self.scheme.l_step.epochs + self.state.position.epoch
        return self.scheme.lc.mu.steps * self.scheme.l_step.epochs - done

    def _show_measured(self, event: events.Measured) -> None:
        self.status.update(
            train_error_pct=event.train_error_pct,
            validation_error_pct=event.validation_error_pct,
            test_error_pct=event.test_error_pct,
            compression_ratio=event.compression_ratio,
        )

    def _on_reference_batch(self, done: int, total: int) -> None:
        self.status.update(phase="reference")
        self._on_batch(done, total)

    def _on_batch(self, done: int, total: int) -> None:
        # An epoch's last batch counts as the epoch, which the event after it reports.
        self.status.update(batch=done % total, batches=total)
        self._tell(lambda observer: observer.progress(self.status.progress))

    def _on_reference_epoch(self, event: events.ReferenceEpoch) -> None:
        self.eta.reference_epoch(event.seconds)
        left = self.eta.left(self._lc_epochs_left())
        self.status.update(epoch=event.epoch, batch=0, eta_seconds=left)
        self._emit(event)

    def _on_reference_resumed(self, epoch: int, batch: int) -> None:
        self.status.update(epoch=epoch)
        self.eta.reference_left -= epoch
        self._emit(events.RunResumed("reference", 0, epoch, batch))

    def _on_waiting(self) -> None:
        self.status.update(phase="waiting")
        self._tell(lambda observer: observer.progress(self.status.progress))
