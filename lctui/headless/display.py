"""What a headless run shows on stderr: a live progress on a terminal, plain lines anywhere else, a table at the end.

Owns the words and numbers a person sees during `lctui --run`; results for scripts go to stdout, elsewhere.
NO_COLOR is Rich's to honour.  User text is never read as markup.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from lctui.events import (
    DirectCompression,
    Event,
    ReferenceEpoch,
    ReferenceFinished,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    Step,
)
from lctui.headless.output import even_unheard
from lctui.headless.terminal import Terminal
from lctui.headless.words import duration, size_of, times
from lctui.runs.status import Progress
from lctui.runs.study_eta import StudyEta
from lctui.scheme.measure import Measure

REFRESH_PER_SECOND = 4


class Display:
    """An observer that tells a person how a run goes; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None
        self.leader: Beside | None = None
        self.study: StudyEta | None = None
        self.measure = Measure()
        """What the errors of the run under way are."""
        if console.is_terminal and not console.is_dumb_terminal:
            # Our own status line ends in numbers that change in place; finished steps scroll by above it.
            self.bars = Bars(
                TextColumn("{task.description}", style="bold"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}", markup=False),
                console=console,
            )
            self.live = Live(Group(self.bars), console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Display:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            with even_unheard():
                self.live.stop()

    def event(self, event: Event) -> None:
        """Prints the line of an event that has one."""
        line = _LINES.get(type(event))
        if line is not None:
            self.say(line(event, self.measure))

    def say(self, line: str) -> None:
        """One line, as it is."""
        self.console.print(Text(line), soft_wrap=True)

    def of(self, measure: Measure) -> Display:
        """The same display, for runs whose errors are such."""
        self.measure = measure
        return self

    def beside_others(self, name: str) -> Beside:
        """An observer of one run of several, of which one at a time shows the progress of all."""
        return Beside(self, name)

    def member(self, number: int, name: str, eta: StudyEta) -> None:
        """Says which member of a study comes next, and how long all of it will take; a terminal has a bar for that."""
        self.study = eta
        left = eta.left()
        self.say(f"[{number}/{eta.total}] {name}" + (f"  ({duration(left)} left)" if left is not None else ""))

    def table(self, table: RenderableType) -> None:
        """A table, or anything else that Rich lays out."""
        with even_unheard():
            self.console.print(table)

    def download(self, name: str, done: int, total: int) -> None:
        """Shows how far a download is: a bar, or one line where there is no terminal."""
        if self.live is not None:
            self._move(f"download {name}", done, total or 1, f"{size_of(8 * done)} of {size_of(8 * total)}")
        elif name not in self.tasks:
            self.tasks[name] = None
            self.say(f"downloading {name}" + (f" ({size_of(8 * total)})" if total else ""))

    def trial(self, done: int, total: int) -> None:
        """So many of the compressions that are tried on a net's layers have been."""
        if self.live is not None:
            self._move("trying", done, total, f"{done}/{total} compressions")
        elif "trying" not in self.tasks:
            self.tasks["trying"] = None
            self.say(f"trying {total} compressions, layer by layer")

    def progress(self, progress: Progress) -> None:
        """Moves the bar of the phase under way."""
        if self.live is None:
            return
        if progress.phase == "waiting":
            self._move("reference", 0, 1, "waiting: another run trains this reference")
        elif progress.phase == "reference":
            self._move_reference(progress)
        else:
            self._move_steps(progress)
        self._move_study(progress.eta_seconds)

    def _move_study(self, under_way: float | None) -> None:
        """The study's own bar stays below the one of the run under way."""
        if self.study is None:
            return
        left = self.study.left(under_way)
        text = f"{self.study.ended}/{self.study.total} runs" + (f"  ETA {duration(left)}" if left is not None else "")
        if "study" not in self.tasks:
            self.tasks["study"] = self.bars.add_task("study", total=self.study.total, text=text)
        self.bars.update(self.tasks["study"], completed=self.study.ended, text=text)

    def _move_reference(self, progress: Progress) -> None:
        done = progress.epoch + progress.batch / max(progress.batches, 1)
        epoch = min(progress.epoch + 1, progress.epochs)
        self._move("reference", done, progress.epochs, f"epoch {epoch}/{progress.epochs}{_eta(progress)}")

    def _move_steps(self, progress: Progress) -> None:
        epoch = progress.epoch + progress.batch / max(progress.batches, 1)
        done = progress.step + epoch / max(progress.epochs, 1)
        step = min(progress.step + 1, progress.steps)
        text = f"step {step}/{progress.steps} epoch {min(progress.epoch + 1, progress.epochs)}/{progress.epochs}"
        if progress.mu is not None:
            text += f"  μ {progress.mu:.2e}"
        if progress.test_error_pct is not None:
            text += f"  test {self.measure.said(progress.test_error_pct)}"
        self._move("LC", done, progress.steps, text + _eta(progress))

    def _move(self, name: str, done: float, total: float, text: str) -> None:
        if name not in self.tasks:
            for other in self.bars.task_ids:
                self.bars.update(other, visible=other == self.tasks.get("study"))
            self.tasks[name] = self.bars.add_task(name, total=total, text=text)
        self.bars.update(self.tasks[name], completed=done, total=total, text=text)


class Beside:
    """What a display shows of one run among several: its lines, with its name before them."""

    def __init__(self, display: Display, name: str) -> None:
        self.display, self.name = display, name

    def event(self, event: Event) -> None:
        """Prints the line of an event that has one."""
        if isinstance(event, RunFinished | RunFailed | RunInterrupted) and self.display.leader is self:
            self.display.leader = None
        line = _LINES.get(type(event))
        if line is not None and not isinstance(event, RunStarted):
            self.display.say(f"{self.name}: {line(event, self.display.measure)}")

    def progress(self, progress: Progress) -> None:
        """Moves the bar, if no other run does."""
        self.display.leader = self.display.leader or self
        if self.display.leader is self:
            self.display.progress(progress)


class Quiet(Display):
    """Says nothing while a run goes on."""

    def __init__(self, console: Console) -> None:
        super().__init__(Terminal(file=console.file, force_terminal=False))

    def event(self, event: Event) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def table(self, table: RenderableType) -> None:
        """Nothing."""


def _eta(progress: Progress) -> str:
    return "" if progress.eta_seconds is None else f"  ETA {duration(progress.eta_seconds)}"


def errors(event: Any, measure: Measure) -> str:
    """The three errors of an event; with the rest of a step's line, percentages fit 80 columns."""
    train, val, test = map(measure.text, (event.train_error_pct, event.validation_error_pct, event.test_error_pct))
    return f"{'%' if measure.is_percent else measure.name} train {train} val {val} test {test}"


def _started(event: RunStarted, measure: Measure) -> str:
    del measure
    return f"{event.name}: run {event.id} on {event.device}"


def _resumed(event: RunResumed, measure: Measure) -> str:
    del measure
    where = "reference epoch" if event.phase == "reference" else f"step {event.step + 1}, epoch"
    return f"resumed at {where} {event.epoch + 1}, batch {event.batch + 1}"


def _interrupted(event: RunInterrupted, measure: Measure) -> str:
    del measure
    where = "reference epoch" if event.phase == "reference" else f"step {event.step + 1}, epoch"
    return f"stopped in {where} {event.epoch + 1} after batch {event.batch}; everything so far is kept"


def _reference_epoch(event: ReferenceEpoch, measure: Measure) -> str:
    return f"reference {event.epoch:>3}/{event.epochs}  loss {event.loss:.4f}  {errors(event, measure)}"


def _reference_finished(event: ReferenceFinished, measure: Measure) -> str:
    return f"reference {'reused' if event.reused else 'trained'}  {errors(event, measure)}"


def _direct(event: DirectCompression, measure: Measure) -> str:
    return f"direct compression  {errors(event, measure)}  {times(event.compression_ratio)}"


def _step(event: Step, measure: Measure) -> str:
    return (
        f"step {event.step:>3}/{event.steps}  μ {event.mu:.1e}  gap {event.gap:.1e}  {errors(event, measure)}  "
        f"{times(event.compression_ratio)}"
    )


_LINES: dict[type[Event], Callable[[Any, Measure], str]] = {
    RunStarted: _started,
    RunResumed: _resumed,
    RunInterrupted: _interrupted,
    ReferenceEpoch: _reference_epoch,
    ReferenceFinished: _reference_finished,
    DirectCompression: _direct,
    Step: _step,
}
