"""The event log of a run: append-only JSON lines.

Owns writing events durably and reading them back, however the last writer ended.  A torn last line is no event; what
a resumed run reports again replaces what it had reported.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from lctui.events import Event
from lctui.runs.files import MAX_JSON_BYTES, open_file

SYNC_SECONDS = 1.0


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventLog:
    """The writing end of `events.jsonl`."""

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_file():  # a named pipe would never be opened
            raise OSError(errno.EINVAL, "is no ordinary file", str(path))
        self._file = path.open("ab")
        self._synced = -math.inf
        self._end_torn_line(path)

    def _end_torn_line(self, path: Path) -> None:
        """A line that a killed writer left unfinished must not swallow the next event."""
        if self._file.tell() == 0:
            return
        with path.open("rb") as reader:
            reader.seek(-1, os.SEEK_END)
            torn = reader.read(1) != b"\n"
        if torn:
            self._file.write(b"\n")

    def append(self, event: Event) -> dict[str, Any]:
        """Writes one event; returns it as written.

        The process may die the moment after.  Against the machine's death, what is written is forced to the disk once
        a second.
        """
        name, fields = event.event, event.record()
        record = {"event": name, "time": now()} | fields
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        sys.audit("lctui.append", self._file.name, line)
        self._file.write(line)
        self._file.flush()
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()
        return record

    def sync(self) -> None:
        """Forces what is written to the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Closes the file, with all of it on the disk."""
        # A disk that fails has been noticed before, by whoever tried to write: this must not hide what it led to.
        with suppress(OSError, ValueError):
            self.sync()
        with suppress(OSError):
            self._file.close()


def read_events(path: Path) -> list[dict[str, Any]]:
    """All events in order, each once: lines that are no JSON objects are skipped, repeated work counts as redone."""
    events: list[dict[str, Any]] = []
    for record in read_lines(path):
        if record["event"] == "run_resumed":
            events = Resumption.of(record).kept(events)
        events.append(record)
    return events


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole event in the file, in order."""
    try:
        with os.fdopen(open_file(path), "rb") as file:
            # A line that no event is as long as comes in pieces, which are none either.
            while line := file.readline(MAX_JSON_BYTES):
                if line.endswith(b"\n") and (record := parse_line(line)) is not None:
                    yield record
    except OSError:
        return


def parse_line(line: bytes) -> dict[str, Any] | None:
    """One line as an event, or None if it is not one."""
    try:
        # Four times as fast as the standard library's parser: consoles read logs of 100 MB.
        record = from_json(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("event"), str) else None


def finite(value: Any) -> float:
    """A number of an event as a float; nan for anything else, whoever wrote it."""
    if type(value) is not float and type(value) is not int:
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


@dataclass(frozen=True)
class Resumption:
    """The point from which a resumed run goes on: what it had reported beyond this, it reports again."""

    in_reference: bool
    step: float
    epoch: float

    @classmethod
    def of(cls, resumed: Mapping[str, Any]) -> Resumption:
        """The point that a `run_resumed` event names."""
        step, epoch = finite(resumed.get("step")), finite(resumed.get("epoch"))
        return cls(resumed.get("phase") == "reference", _count(step), _count(epoch))

    def redoes(self, kind: str, step: float, epoch: float) -> bool:
        """Is an event of this kind, with these numbers (nan: none), beyond the point?"""
        match kind:
            case "epoch":
                return self.in_reference or (_count(step), _count(epoch)) > (self.step + 1, self.epoch)
            case "step":
                return self.in_reference or _count(step) > self.step
            case "reference_epoch":
                return self.in_reference and _count(epoch) > self.epoch
            case "reference_finished" | "direct_compression":
                return self.in_reference
        return False

    def kept(self, events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The events that stand."""
        return [
            event
            for event in events
            if not self.redoes(event["event"], finite(event.get("step")), finite(event.get("epoch")))
        ]


def _count(number: float) -> float:
    """A count in an event; 0 where something else wrote the line (nan is the only number that is not itself)."""
    return number if number == number else 0.0
