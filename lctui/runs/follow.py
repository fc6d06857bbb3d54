"""The history of a run: what a console keeps of its events, and how it gets a first view of a large log.

Owns the columns of numbers, what each task learned last and the latest events; `run_resumed` is honoured as in
`lctui.runs.log`.  Words nothing and shows nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

from lctui.runs.columns import Columns, numbers
from lctui.runs.log import Resumption, finite
from lctui.runs.sample import sampled_events
from lctui.runs.tail import BATCH_BYTES, EventTail, Record

__all__ = ["Columns", "EventTail", "Follower", "RunHistory", "TaskHistory", "best_step", "histories"]

SAMPLE_ABOVE = 8 << 20
"""Bytes of a log that is sampled first: smaller ones are read at once."""

RECENT_EVENTS = 1000
RECENT_LAYERS = 64
"""So many steps back, what the tasks learned is known in full, for a run that goes on from an older checkpoint."""
MOST_TASKS = 1000
"""No more tasks are kept of a log that speaks of more, whoever wrote it."""

_ERRORS = ("train_error_pct", "validation_error_pct", "test_error_pct")
_SIZES = ("compressed_parameters", "compressed_bits", "compression_ratio")
_MEASURED = ("step", "mu", "lr", "loss", "penalty", "gap", "relative_gap", *_ERRORS, *_SIZES, "l_seconds", "c_seconds")
_LEARNED = ("rank", "nonzeros", "groups_kept", "parameters", "bits")


@dataclass
class TaskHistory:
    """What one task learned: a row of `numbers` for each LC step, nan where a step says nothing; the last in full."""

    layers: tuple[str, ...] = ()
    type: str = ""
    numbers: Columns = field(default_factory=lambda: Columns(*_LEARNED))
    last: Record = field(default_factory=dict)
    _described: Record | None = field(default=None, repr=False)

    def describe(self, latest: Record) -> None:
        """Takes the latest report as what the task is; whoever wrote it, what is kept can be worded."""
        if latest is self._described:
            return
        self._described = latest
        names, kind = latest.get("layers"), latest.get("type")
        self.layers = tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
        self.type = kind if isinstance(kind, str) else ""
        self.last = _sound(latest) | ({"layers": list(self.layers)} if "layers" in latest else {})

    def describe_by_numbers(self) -> None:
        """Takes the last row for the latest report: the run went back further than is remembered in full."""
        known = {name: self.numbers[name][-1] for name in self.numbers.names}
        self._described = None
        self.last = {"layers": list(self.layers), "type": self.type}
        self.last |= {name: int(value) for name, value in known.items() if value == value}


class RunHistory:
    """What is kept of a run's events; work that a resumed run does again counts once.

    The columns may grow in one thread while another looks at them: their lengths may differ for that moment.
    """

    def __init__(self, sampled: bool = False) -> None:
        self.sampled = sampled
        """True while only a sample of a large log has been read."""
        self.reference = Columns("epoch", "lr", "loss", *_ERRORS)
        self.epochs = Columns("step", "epoch", "epochs", "mu", "lr", "loss", "x")
        """Epochs of L steps; `x` is the time in LC steps, step − 1 + epoch / epochs."""
        self.steps = Columns(*_MEASURED)
        self.direct: Record | None = None
        self.reference_errors: Record | None = None
        self.tasks: list[TaskHistory] = []
        """The scheme's tasks as the steps report them, or direct compression before there is a step."""
        self.recent: deque[Record] = deque(maxlen=RECENT_EVENTS)
        """The latest events, newest last: without the epochs of L steps, and without what the tasks learned."""
        # How many tasks each step reports, and the tasks themselves of the last steps.
        self._counts: list[int] = []
        self._most_tasks = 0
        self._layers: deque[list[Record]] = deque(maxlen=RECENT_LAYERS)

    def extend(self, events: Iterable[Record]) -> None:
        """Takes in the next events of the log."""
        batch: list[Record] = []
        for event in events:
            if event["event"] == "run_resumed":
                self._take(batch)
                self._drop_redone(Resumption.of(event))
                batch = []
            batch.append(event)
        self._take(batch)
        self._describe_tasks()

    def best_step(self) -> int | None:
        """The place of the step of lowest validation error, ties to the later; None without validation."""
        return best_step(self.steps["validation_error_pct"])

    def _take(self, events: list[Record]) -> None:
        """Events between two resumptions: kinds do not mix, so that each goes into its columns in one piece."""
        kinds: dict[str, list[Record]] = {}
        for event in events:
            kinds.setdefault(event["event"], []).append(event)
        self._take_steps(kinds.get("step", []))
        self.reference.extend(kinds.get("reference_epoch", []))
        self.direct = _measured(kinds.get("direct_compression", [self.direct])[-1])
        self.reference_errors = _measured(kinds.get("reference_finished", [self.reference_errors])[-1])
        self._take_epochs(kinds.pop("epoch", []))
        if kinds:
            told = [event for event in events if event["event"] != "epoch"]
            self.recent.extend(_without_layers(event) for event in told[-RECENT_EVENTS:])

    def _take_epochs(self, epochs: list[Record]) -> None:
        step, epoch, whole = (numbers([event.get(name) for event in epochs]) for name in ("step", "epoch", "epochs"))
        x = [s - 1 + e / n if n else nan for s, e, n in zip(step, epoch, whole, strict=True)]
        self.epochs.extend(epochs, step=step, epoch=epoch, epochs=whole, x=x)

    def _take_steps(self, steps: list[Record]) -> None:
        if not steps:
            return
        layers = [_layers_of(step) for step in steps]
        self._have_tasks(max(map(len, layers)))
        self.steps.extend(steps)
        self._counts.extend(map(len, layers))
        self._most_tasks = max(self._most_tasks, *map(len, layers))
        self._layers.extend(layers[-RECENT_LAYERS:])
        for i, task in enumerate(self.tasks):
            task.numbers.extend([each[i] if i < len(each) else {} for each in layers])

    def _have_tasks(self, count: int) -> None:
        """At least so many tasks; a new one had no numbers in the steps so far."""
        while len(self.tasks) < count:
            self.tasks.append(TaskHistory())
            self.tasks[-1].numbers.pad(len(self.steps))

    def _describe_tasks(self) -> None:
        """What each task is and learned, by the latest event that says so."""
        direct = _layers_of(self.direct or {})
        count = max(self._most_tasks, len(direct))
        del self.tasks[count:]
        self._have_tasks(count)
        known = [*reversed(self._layers), direct]
        for i, task in enumerate(self.tasks):
            if len(self.steps) and not self._layers:
                task.describe_by_numbers()
            else:
                task.describe(next((layers[i] for layers in known if i < len(layers)), {}))

    def _drop_redone(self, point: Resumption) -> None:
        """Forgets what the run is about to report again."""
        reference = [not point.redoes("reference_epoch", nan, epoch) for epoch in self.reference["epoch"]]
        self.reference.keep(reference)
        places = zip(self.epochs["step"], self.epochs["epoch"], strict=True)
        self.epochs.keep([not point.redoes("epoch", step, epoch) for step, epoch in places])
        steps = [not point.redoes("step", step, nan) for step in self.steps["step"]]
        self.steps.keep(steps)
        for task in self.tasks:
            task.numbers.keep(steps)
        self._counts = list(compress(self._counts, steps))
        self._most_tasks = max(self._counts, default=0)
        remembered = compress(self._layers, steps[len(steps) - len(self._layers) :])
        self._layers = deque(remembered, self._layers.maxlen)
        if point.redoes("direct_compression", nan, nan):
            self.direct = None
        if point.redoes("reference_finished", nan, nan):
            self.reference_errors = None
        self.recent = deque(point.kept(self.recent), self.recent.maxlen)


class Follower:
    """A run's log, and the history of what has been read of it."""

    def __init__(self, path: Path) -> None:
        self.history = RunHistory()
        """Another object once the file is another one."""
        self._tail = EventTail(path)

    def read(self, limit: int = BATCH_BYTES) -> bool:
        """Reads about `limit` bytes on; says whether there was anything new."""
        events = self._tail.read(limit)
        if self._tail.restarted:
            self.history = RunHistory()
        self.history.extend(events)
        return bool(events) or self._tail.restarted


def best_step(validation_errors: Sequence[float]) -> int | None:
    """Where the lowest error stands, ties to the later; None where nothing was validated."""
    best, lowest = None, inf
    for place, error in enumerate(validation_errors):
        if error <= lowest and isfinite(error):
            best, lowest = place, error
    return best


def histories(path: Path, sample_above: int = SAMPLE_ABOVE, follower: Follower | None = None) -> Iterator[RunHistory]:
    """The history of a run, at least once: of a large log a sample first, then all of it as it grows by batches.

    With a `follower` one can go on from the end: it is where the last batch left it.
    """
    follower = follower or Follower(path)
    if _size(path) > sample_above:
        sample = RunHistory(sampled=True)
        sample.extend(sampled_events(path))
        yield sample
    follower.read()
    yield follower.history
    while follower.read():
        yield follower.history


def whole_history(path: Path) -> RunHistory:
    """The history of a run, from all of its log."""
    follower = Follower(path)
    while follower.read():
        continue
    return follower.history


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _layers_of(event: Record) -> list[Record]:
    """What an event says of the tasks."""
    layers = event.get("layers")
    listed = layers[:MOST_TASKS] if isinstance(layers, list) else []
    return [each if isinstance(each, dict) else {} for each in listed]


def _sound(task: Record) -> Record:
    """What a task is said to have learned, without what is not of the kind that its name says."""
    kept = {name: value for name, value in task.items() if name not in _LEARNED or isfinite(finite(value))}
    codebook, parts = task.get("codebook", []), task.get("parts", [])
    if not isinstance(codebook, list) or not all(map(isfinite, numbers(codebook))):
        del kept["codebook"]
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        del kept["parts"]
    elif parts:
        kept["parts"] = [_sound(part) for part in parts]
    return kept


def _measured(event: Record | None) -> Record | None:
    """An event that measures a net, with None for a measure that is no number."""
    if event is None:
        return None
    named = [name for name in (*_ERRORS, *_SIZES) if name in event]
    return event | {name: None for name in named if not isfinite(finite(event[name]))}


def _in_range(value: Any) -> Any:
    """A value of an event; None for an integer beyond what a float holds, which no wording gets along with."""
    return None if type(value) is int and not isfinite(finite(value)) else value


def _without_layers(event: Record) -> Record:
    """An event without what the tasks learned: codebooks can be large."""
    return {name: _in_range(value) for name, value in event.items() if name != "layers"}
