"""The event log of a run: append-only JSON lines.

Owns writing events durably and reading them back, however the last writer ended.  A torn last line is no event; what
a resumed run reports again replaces what it had reported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lctui.events import Event


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventLog:
    """The writing end of `events.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
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
        """Writes one event through to the disk; returns it as written."""
        name, fields = event.event, event.record()
        record = {"event": name, "time": now()} | fields
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return record

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_events(path: Path) -> list[dict[str, Any]]:
    """All events in order, each once: lines that are no JSON objects are skipped, repeated work counts as redone."""
    events: list[dict[str, Any]] = []
    for record in read_lines(path):
        if record["event"] == "run_resumed":
            events = [event for event in events if not _is_redone(event, record)]
        events.append(record)
    return events


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole event in the file, in order."""
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") and (record := parse_line(line)) is not None:
                    yield record
    except OSError:
        return


def parse_line(line: bytes) -> dict[str, Any] | None:
    """One line as an event, or None if it is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("event"), str) else None


def _is_redone(event: dict[str, Any], resumed: dict[str, Any]) -> bool:
    """Was this reported beyond the point from which the run goes on?"""
    step, epoch = _count(resumed, "step"), _count(resumed, "epoch")
    in_reference = resumed.get("phase") == "reference"
    match event["event"]:
        case "reference_epoch":
            return in_reference and _count(event, "epoch") > epoch
        case "reference_finished" | "direct_compression":
            return in_reference
        case "step":
            return in_reference or _count(event, "step") > step
        case "epoch":
            return in_reference or (_count(event, "step"), _count(event, "epoch")) > (step + 1, epoch)
    return False


def _count(record: dict[str, Any], name: str) -> int:
    """A count in an event; 0 where something else wrote the line."""
    value = record.get(name)
    return value if isinstance(value, int) else 0
