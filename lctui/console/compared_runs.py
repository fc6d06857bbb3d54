"""The runs that are being compared, and the thread that reads them.

Owns what is known of each run, how it is told apart from the others (letter, colour), and the order of reading: a
sample of every large log before any log in full, so that the first picture is there at once.  Draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from threading import Event as Flag
from typing import Any

from lctui.console.comparison import Steps
from lctui.console.legend import signs
from lctui.console.palette import distinct
from lctui.errors import printable
from lctui.runs.follow import EventTail, RunHistory
from lctui.runs.log import finite
from lctui.runs.sample import sampled_events
from lctui.runs.store import Run, Store
from lctui.scheme.measure import Measure

SAMPLE_ABOVE = 4 << 20
"""Logs of more bytes are sampled first."""
PLACES = 150
"""Where a large log is looked at first: a step a column of a plot, as twenty runs have to be there within a second."""
BATCH_BYTES = 1 << 18
PAUSE_SECONDS = 0.003
"""Between batches of a long log, so that keys are answered while it is read."""
SETTLE_SECONDS = 0.3
"""Between the first looks and reading in full: time to draw what was found."""


@dataclass(frozen=True)
class Compared:
    """What is known of a run; empty until it has been read."""

    id: str
    name: str = ""
    status: str = ""
    scheme: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    steps: Steps | None = None

    def final(self, column: str) -> float | None:
        """The last step's number: from the result if there is one, else from the steps so far."""
        value = _number(self.result, "final", column)
        return self.steps.last(column) if value is None and self.steps is not None else value

    def best(self, column: str) -> tuple[int | None, float | None]:
        """The step of lowest validation error, ties to the later, and its number."""
        step = _number(self.result, "best", "step")
        if step is None and self.steps is not None and (place := self.steps.best()) is not None:
            step = self.steps.columns["step"][place]
        if step is None:
            return None, None
        value = _number(self.result, "best", column)
        if value is None and self.steps is not None:
            value = self.steps.at_step(column, step)
        return int(step), value


def _number(result: dict[str, Any], block: str, name: str) -> float | None:
    found = result.get(block)
    value = found.get(name) if isinstance(found, dict) else None
    return value if isfinite(finite(value)) else None


class Comparison:
    """Which runs are compared, in which order, which of them are drawn, and the one that they are compared to."""

    def __init__(self, run_ids: Sequence[str], pinned: str | None) -> None:
        self.ids = list(dict.fromkeys(run_ids))
        self.runs = {run_id: Compared(run_id) for run_id in self.ids}
        self.hidden: set[str] = set()
        self.pinned = pinned
        self._paint()

    def _paint(self) -> None:
        self.colours = distinct(self.ids)

    @property
    def letters(self) -> dict[str, str]:
        """The letters that plots give to the runs that are drawn."""
        shown = self.shown
        return dict(zip(shown, signs(["line"] * len(shown), False), strict=True))

    @property
    def shown(self) -> list[str]:
        """The runs that are drawn."""
        return [run_id for run_id in self.ids if run_id not in self.hidden]

    @property
    def measure(self) -> Measure:
        """What the errors of the runs are."""
        return Measure.common(Measure.of(run.scheme) for run in self.runs.values() if run.scheme)

    @property
    def base(self) -> str | None:
        """The run that the others are compared to: the pinned one, or else the first that is drawn."""
        if self.pinned in self.runs:
            return self.pinned
        return next(iter(self.shown or self.ids), None)

    def add(self, run_id: str) -> bool:
        """One more run; says whether it is new."""
        self.hidden.discard(run_id)
        if run_id in self.runs:
            return False
        self.ids.append(run_id)
        self.runs[run_id] = Compared(run_id)
        self._paint()
        return True

    def name(self, run_id: str) -> str:
        """What a run is called: its scheme's name, with its id where two share one."""
        run = self.runs[run_id]
        name = run.name or run_id
        twins = sum(other.name == run.name for other in self.runs.values())
        return printable(run_id if twins > 1 else name)

    def legend(self, run_id: str) -> str:
        """A run's letter and name."""
        return f"{self.letters.get(run_id, '')} {self.name(run_id)}".strip()


class Reader:
    """Reads runs, and again what has been added to them; for threads, one at a time.

    `tell` is called with a run whenever more is known of it.
    """

    def __init__(self, store: Store, tell: Callable[[Compared], object], stopped: Flag) -> None:
        self._store, self._tell, self._stopped = store, tell, stopped
        self._files: dict[str, _File] = {}
        self._new: list[str] = []

    def add(self, run_ids: Sequence[str]) -> None:
        """More runs to read; from any thread."""
        self._new += run_ids

    def read(self) -> None:
        """Everything that is new: first looks before full readings."""
        while self._new:
            run_id = self._new.pop(0)
            file = self._files[run_id] = _File(Run(self._store.runs_folder / run_id))
            file.look()
            self._tell(file.known)
            if self._stopped.is_set() or (not self._new and self._stopped.wait(SETTLE_SECONDS)):
                return
        for file in list(self._files.values()):
            before = file.known
            while file.read() and not self._stopped.wait(PAUSE_SECONDS):
                if self._new:
                    self.read()
            if self._stopped.is_set():
                return
            if file.known is not before:
                self._tell(file.known)


class _File:
    """One run's files, and how far they have been read."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.known = Compared(run.id)
        self._log: Path = run.file("events.jsonl")
        self._tail: EventTail | None = EventTail(self._log)
        self._history = RunHistory()
        self._unseen = False

    def look(self) -> None:
        """What can be known at once: the small files, and the log or a sample of it."""
        self._know()
        try:
            large = self._log.stat().st_size > SAMPLE_ABOVE
        except OSError:
            return
        if large:
            sample = RunHistory(sampled=True)
            sample.extend(sampled_events(self._log, PLACES))
            self.known = replace(self.known, steps=Steps.of(sample))
        else:
            while self.read():
                continue

    def read(self) -> bool:
        """A batch of the log; says whether there was any.  What was read is known once there is no more of it."""
        if self._tail is None:
            return False
        ended = self._ended  # asked first: a worker writes its last event before it says how it ended
        events = self._tail.read(BATCH_BYTES)
        if self._tail.restarted:
            self._history = RunHistory()
        self._history.extend(events)
        self._unseen = self._unseen or bool(events)
        if not events:
            self._know()
            if self._unseen:
                self.known = replace(self.known, steps=Steps.of(self._history))
            self._unseen = False
            if ended:
                self._tail, self._history = None, RunHistory()
        return bool(events)

    @property
    def _ended(self) -> bool:
        """Nothing more will be written."""
        return self.known.status in ("finished", "failed", "diverged")

    def _know(self) -> None:
        """The small files anew."""
        scheme = self.known.scheme or self.run.read("scheme.json")
        name = scheme.get("name")
        fresh = replace(
            self.known,
            name=name if isinstance(name, str) else "",
            status=self.run.status(),
            scheme=scheme,
            result=self.run.read("result.json"),
        )
        if fresh != self.known:
            self.known = fresh
