"""The worker: one run, from its folder's scheme to its result.

Owns the order of things in a run (reference, direct compression, LC steps, artifact, result) and what is on disk
after each.  Shows nothing: whoever started it passes an observer, or reads the folder.  Nothing of lctui imports it
but the command line; `python -m lctui.worker FOLDER` is the detached form.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event as Flag
from types import FrameType
from typing import Any, Protocol

import torch

from lctui import checkpoint, references
from lctui.algorithm import LCProblem, State, compressed_state, learning_compression
from lctui.errors import BadInput, Diverged, Exit, Interrupted, LctuiError, RunFailed
from lctui.events import (
    DirectCompression,
    Epoch,
    Event,
    ReferenceEpoch,
    ReferenceFinished,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    Step,
)
from lctui.events import (
    RunFailed as RunFailedEvent,
)
from lctui.export import artifact
from lctui.learning.evaluate import Errors, evaluate
from lctui.learning.net import FlatNet
from lctui.prepare import Prepared, prepare, provenance
from lctui.runs import atomic
from lctui.runs.locks import Lock
from lctui.runs.log import EventLog
from lctui.runs.status import Progress, StatusFile
from lctui.runs.store import Run
from lctui.scheme.storage import dense_bits

logger = logging.getLogger("lctui")

C_STEP_VERSION = 1
"""Raised whenever a C step or the loop changes its numbers: finished runs of another version are not reused."""


class Observer(Protocol):
    """Somebody watching a worker from inside its process."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def progress(self, progress: Progress) -> None:
        """A batch is done."""


class Silent:
    """The observer of a worker that nobody watches."""

    def event(self, event: Event) -> None:
        """Ignores the event."""

    def progress(self, progress: Progress) -> None:
        """Ignores the progress."""


@dataclass
class StopRequest:
    """Whether somebody asked the worker to stop: a signal, or a file named `stop` in the run folder."""

    flag: Flag = field(default_factory=Flag)

    def __call__(self) -> bool:
        return self.flag.is_set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """The first SIGINT, SIGTERM or SIGHUP asks for a stop after the batch; a second one ends the process."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

        def ask(number: int, frame: FrameType | None) -> None:
            if self.flag.is_set():
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.flag.set()

        before = {number: signal.signal(number, ask) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def execute(run: Run, prepared: Prepared, home: Path, stop: StopRequest, observer: Observer) -> dict[str, Any]:
    """Runs a prepared scheme in its folder, from its checkpoint if there is one; returns the result.

    Raises:
        BadInput: another worker has the run.
        Interrupted: it stopped on request and can be resumed.
        Diverged, RunFailed: it cannot go on; `result.json` says so.
    """
    lock = Lock(run.file("lock"))
    if not lock.acquire():
        raise BadInput.one("", run.id, "is running already")
    with lock:
        return _Worker(run, prepared, home, stop, observer).work()


class _Worker:
    """One run being executed."""

    def __init__(self, run: Run, prepared: Prepared, home: Path, stop: StopRequest, observer: Observer) -> None:
        self.run, self.prepared, self.home, self.stop, self.observer = run, prepared, home, stop, observer
        self.scheme = prepared.scheme
        self.log = EventLog(run.file("events.jsonl"))
        self.status = StatusFile(run.file("status.json"), on_beat=self._look_for_stop)
        self.net = FlatNet(prepared.module, prepared.device)
        self.problem = LCProblem(
            self.net,
            prepared.info,
            prepared.tasks,
            prepared.splits,
            self.scheme,
            stop=stop,
            on_batch=self._on_lc_batch,
        )
        self.state = State()
        self.numbers: dict[str, Any] = {"seconds": 0.0, "reference": None, "direct": None, "steps": []}
        self.phase = "reference"
        self.eta = _Eta(self.scheme.reference.epochs, self._lc_epochs())
        self.begun = time.monotonic()

    def work(self) -> dict[str, Any]:
        """The whole run; whatever ends it, the folder says so."""
        self.run.file("stop").unlink(missing_ok=True)
        self.run.file("result.json").unlink(missing_ok=True)
        self._write_provenance()
        self.status.open()
        try:
            self._begin()
            self._get_reference()
            self._compress()
            result = self._finish()
        except Interrupted:
            self._save()
            self._emit(RunInterrupted(self.phase, self.state.step, *self._position()))
            self.status.close("interrupted")
            raise
        except Diverged as error:
            self._fail("diverged", str(error))
            raise
        except LctuiError as error:
            self._fail("failed", str(error))
            raise
        except Exception as error:
            logger.exception("the run failed")
            message = _advice(error)
            self._fail("failed", message)
            raise RunFailed(message) from error
        finally:
            self.log.close()
        self.status.close("finished")
        return result

    def _begin(self) -> None:
        saved = checkpoint.Checkpoint.load(self.run.file("checkpoint.safetensors"))
        if saved is None:
            if self.run.file("events.jsonl").stat().st_size == 0:
                device, name = str(self.prepared.device), self.scheme.name
                self._emit(RunStarted(self.run.id, name, device, self.scheme.fingerprint()))
            return
        self.state, self.numbers = checkpoint.to_run(saved, self.net)
        self.phase = "l_step"
        self._emit(RunResumed("l_step", self.state.step, self.state.position.epoch, self.state.position.batch))

    def _get_reference(self) -> None:
        if self.numbers["reference"] is not None:
            self.eta.reference_done()
            return
        prepared = self.prepared
        key = references.key_of(self.scheme, prepared.data_digest, prepared.code_digest)
        watcher = references.Watcher(
            self._on_reference_epoch, self._on_reference_batch, self._on_waiting, self._on_reference_resumed
        )
        self.status.update(phase="reference", epochs=self.scheme.reference.epochs)
        found = references.obtain(self.net, prepared.splits, self.scheme, key, self.home, self.stop, watcher)
        parameters = prepared.info.parameters
        numbers = {**asdict(found.errors), "parameters": parameters, "bits": dense_bits(parameters)}
        self.numbers["reference"] = numbers
        self.eta.reference_done()
        self._emit(ReferenceFinished(found.key, found.reused, **numbers))
        self.phase = "l_step"

    def _compress(self) -> None:
        steps = self.scheme.lc.mu.steps if self.prepared.tasks else 0
        self.status.update(phase="l_step", step=self.state.step, steps=steps, epoch=0, batch=0)
        for event in learning_compression(self.problem, self.state):
            match event:
                case DirectCompression():
                    self.numbers["direct"] = _measured(event)
                    self._show_measured(event)
                case Step():
                    self.numbers["steps"].append({"step": event.step, **_measured(event)})
                    self._show_measured(event)
                    self.status.update(step=event.step, mu=event.mu, gap=event.gap, epoch=0, batch=0)
                case Epoch():
                    self.eta.lc_epoch(event.seconds)
                    self.status.update(epoch=event.epoch, epochs=event.epochs, mu=event.mu)
            self.status.update(eta_seconds=self.eta.left(self._lc_epochs() - self._lc_epochs_done()))
            self._emit(event)
            self._save()

    def _finish(self) -> dict[str, Any]:
        self.status.update(phase="finishing", eta_seconds=0.0)
        assert self.state.theta is not None
        path = self.run.file("compressed.safetensors")
        state = compressed_state(self.problem, self.state.theta)
        size_on_disk = _write_artifact(path, self.problem, self.state, state)
        self._require_truth(path, state)
        result = self._result("finished") | {"status": "finished"}
        result["final"]["artifact_bytes"] = size_on_disk
        atomic.write_json(self.run.file("result.json"), result)
        self.status.update(phase="done")
        self._emit(RunFinished("finished", result["seconds"], result))
        return result

    def _require_truth(self, path: Path, state: dict[str, torch.Tensor]) -> None:
        """What is reported must be what the file holds: unpack it, evaluate it, compare."""
        unpacked = artifact.load(path)
        if unpacked.keys() != state.keys() or not all(torch.equal(unpacked[name], state[name]) for name in state):
            raise RunFailed(f"{path.name} does not decompress to the net that was measured")
        net = FlatNet(self.prepared.module, self.prepared.device)
        net.load_state(unpacked)
        errors = evaluate(net.module, self.prepared.splits)
        said = self.numbers["steps"][-1] if self.numbers["steps"] else self.numbers["direct"]
        if any(said[name] != value for name, value in asdict(errors).items()):
            raise RunFailed(f"{path.name} measures {errors}, the last step said otherwise")

    def _result(self, status: str) -> dict[str, Any]:
        """`result.json`, as far as the run has come."""
        steps = self.numbers["steps"]
        last = steps[-1] if steps else self.numbers["direct"]
        final = {name: value for name, value in (last or {}).items() if name not in ("layers", "step")}
        return {
            "id": self.run.id,
            "name": self.scheme.name,
            "status": status,
            "seed": self.scheme.seed,
            "device": str(self.prepared.device),
            "reference": self.numbers["reference"],
            "direct": _without_layers(self.numbers["direct"]),
            "final": final or None,
            "best": _without_layers(_best(steps)),
            "layers": last["layers"] if last else None,
            "steps": len(steps),
            "seconds": self._seconds(),
        }

    def _fail(self, status: str, error: str) -> None:
        """Leaves the folder readable; the checkpoint stays the last good one."""
        try:
            result = self._result(status) | {"error": error}
            atomic.write_json(self.run.file("result.json"), result)
            self._emit(RunFailedEvent(status, error))
        finally:
            self.status.close("diverged" if status == "diverged" else "failed", error)

    def _save(self) -> None:
        if self.numbers["reference"] is None:
            return  # the reference keeps its own checkpoint
        self.numbers["seconds"] = self._seconds()
        self.begun = time.monotonic()
        saved = checkpoint.of_run(self.net, self.state, self.numbers)
        saved.save(self.run.file("checkpoint.safetensors"))

    def _seconds(self) -> float:
        return self.numbers["seconds"] + time.monotonic() - self.begun

    def _position(self) -> tuple[int, int]:
        if self.phase == "reference":
            return self.status.progress.epoch, self.status.progress.batch
        return self.state.position.epoch, self.state.position.batch

    def _emit(self, event: Event) -> None:
        self.log.append(event)
        logger.info("%s", event)
        self.observer.event(event)

    def _write_provenance(self) -> None:
        kept = self.run.read("meta.json")
        known = {"fingerprint": self.scheme.fingerprint(), "c_step_version": C_STEP_VERSION}
        atomic.write_json(self.run.file("meta.json"), kept | known | provenance(self.prepared))

    def _look_for_stop(self) -> None:
        if self.run.file("stop").exists():
            self.stop.flag.set()

    def _lc_epochs(self) -> int:
        return self.scheme.lc.mu.steps * self.scheme.l_step.epochs if self.prepared.tasks else 0

    def _lc_epochs_done(self) -> int:
        return self.state.step * self.scheme.l_step.epochs + self.state.position.epoch

    def _show_measured(self, event: DirectCompression | Step) -> None:
        self.status.update(
            train_error_pct=event.train_error_pct,
            validation_error_pct=event.validation_error_pct,
            test_error_pct=event.test_error_pct,
            compression_ratio=event.compression_ratio,
        )

    def _on_lc_batch(self, done: int, total: int) -> None:
        self._on_batch(self.state.step + 1, self.state.position.epoch, done, total)

    def _on_reference_batch(self, done: int, total: int) -> None:
        self._on_batch(0, self.status.progress.epoch, done, total)

    def _on_batch(self, step: int, epoch: int, done: int, total: int) -> None:
        # The step in the progress is the last finished one; displays add one for the step under way.
        self.status.update(step=max(step - 1, 0), epoch=epoch, batch=done % total, batches=total)
        self.observer.progress(self.status.progress)

    def _on_reference_epoch(self, event: ReferenceEpoch) -> None:
        self.eta.reference_epoch(event.seconds)
        left = self.eta.left(self._lc_epochs())
        self.status.update(phase="reference", epoch=event.epoch, epochs=event.epochs, batch=0, eta_seconds=left)
        self._emit(event)

    def _on_reference_resumed(self, epoch: int, batch: int) -> None:
        self.status.update(epoch=epoch)
        self.eta.reference_left -= epoch
        if epoch or batch:
            self._emit(RunResumed("reference", 0, epoch, batch))

    def _on_waiting(self) -> None:
        self.status.update(phase="waiting")
        self.observer.progress(self.status.progress)


@dataclass
class _Eta:
    """Seconds left, from the mean of the epochs seen so far in this process."""

    reference_left: int
    lc_epochs: int
    reference_seconds: list[float] = field(default_factory=list)
    lc_seconds: list[float] = field(default_factory=list)

    def reference_epoch(self, seconds: float) -> None:
        self.reference_seconds.append(seconds)
        self.reference_left -= 1

    def reference_done(self) -> None:
        self.reference_left = 0

    def lc_epoch(self, seconds: float) -> None:
        self.lc_seconds.append(seconds)

    def left(self, lc_epochs: int) -> float | None:
        """Seconds until the end; None while nothing has been timed."""
        reference = _mean(self.reference_seconds)
        # Before the first LC epoch, a reference epoch is the nearest thing that has been timed.
        lc = _mean(self.lc_seconds[-50:]) or reference
        if lc is None:
            return None
        return self.reference_left * (reference or 0.0) + lc_epochs * lc


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _measured(event: DirectCompression | Step) -> dict[str, Any]:
    names = [*Errors.__dataclass_fields__, "compressed_parameters", "compressed_bits", "compression_ratio"]
    return {name: getattr(event, name) for name in (*names, "flops", "flops_ratio", "layers")}


def _without_layers(measured: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if measured is None else {name: value for name, value in measured.items() if name != "layers"}


def _best(steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The step of lowest validation error, ties to the later; without validation data there is no best."""
    judged = [step for step in steps if step["validation_error_pct"] is not None]
    return min(reversed(judged), key=lambda step: step["validation_error_pct"]) if judged else None


def _write_artifact(path: Path, problem: LCProblem, state: State, dense: dict[str, torch.Tensor]) -> int:
    assert state.theta is not None
    tasks = [
        artifact.ArtifactTask(tuple(f"{name}.weight" for name in task.names), theta)
        for task, theta in zip(problem.tasks, state.theta, strict=True)
    ]
    return artifact.save(path, tasks, dense)


def _advice(error: Exception) -> str:
    """One line on what went wrong, and what to do where that is known."""
    text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return f"out of memory ({text}); lower l_step.batch_size or reference.batch_size, or use precision bfloat16"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot write the run: {error.strerror} ({error.filename or 'no file named'}); free space, then resume"
    return text


def main(arguments: list[str] | None = None) -> int:
    """`python -m lctui.worker FOLDER`: the run in that folder, in this process, watched by nobody."""
    parser = argparse.ArgumentParser(prog="lctui.worker", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    run = Run(options.folder)
    stop = StopRequest()
    with stop.on_signals():
        try:
            prepared = prepare(run.scheme(), options.home, options.device, str(run.file("scheme.json")))
            execute(run, prepared, options.home, stop, Silent())
        except BadInput as error:
            report_bad_start(run, error)
            return error.exit_code
        except LctuiError as error:
            logger.error("%s", error)
            return error.exit_code
    return Exit.DONE


def report_bad_start(run: Run, error: BadInput) -> None:
    """A run that could not even begin says why, unless another worker has it."""
    logger.error("%s", error)
    lock = Lock(run.file("lock"))
    if lock.acquire():
        with lock:
            StatusFile(run.file("status.json")).close("failed", "; ".join(error.lines()))


if __name__ == "__main__":
    sys.exit(main())
