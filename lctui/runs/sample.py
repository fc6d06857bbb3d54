"""A few hundred events from all over a large log, for a first view before it has been read.

Owns where to look and which of the found events stand: a resumed run reports work again, and the later report counts.
"""

from __future__ import annotations

import os
from pathlib import Path

from lctui.runs.files import open_file
from lctui.runs.log import finite, parse_line
from lctui.runs.tail import Record

PLACES = 300
"""More than a plot has columns."""

_EDGE_BYTES = 1 << 16
_HEAD_BYTES = 1 << 20
_BUDGET_BYTES = 1 << 23
_STEP = b'\n{"event": "step"'


def sampled_events(path: Path, places: int = PLACES) -> list[Record]:
    """Events in order: the beginning up to the first LC step, evenly spaced ones, and the end; none without a file."""
    try:
        descriptor = open_file(path)
    except OSError:
        return []
    try:
        found = _sample(descriptor, places)
    except OSError:
        return []
    finally:
        os.close(descriptor)
    return _that_stand([found[offset] for offset in sorted(found)])


def _sample(descriptor: int, places: int) -> dict[int, Record]:
    """Events by where their lines begin."""
    size = os.fstat(descriptor).st_size
    found, longest = _beginning(descriptor)
    chunk = max(2 * longest + 4096, 8192)
    places = min(places, max(_BUDGET_BYTES // chunk, 16))
    for i in range(1, places):
        offset = size * i // places
        content = os.pread(descriptor, chunk, offset)
        line = content.find(b"\n")
        _add(found, content, line, offset)
        # Long lines are hit more often than short ones, and steps lie between epochs: one of them in any case.
        _add(found, content, content.find(_STEP, line), offset)
    offset = max(0, size - max(_EDGE_BYTES, chunk))
    content = os.pread(descriptor, size - offset, offset)
    line = content.find(b"\n")
    while line >= 0:
        line = _add(found, content, line, offset)
    return found


def _beginning(descriptor: int) -> tuple[dict[int, Record], int]:
    """The events up to the first LC step, and the length of the longest line there."""
    found: dict[int, Record] = {}
    content = b"\n" + os.pread(descriptor, _EDGE_BYTES, 0)
    if _STEP not in content:
        content = b"\n" + os.pread(descriptor, _HEAD_BYTES, 0)
    line = longest = 0
    # What was found last is the furthest: lines are read in order.
    while line >= 0 and (not found or found[next(reversed(found))]["event"] != "step"):
        after = _add(found, content, line, -1)
        longest = max(longest, (after if after > 0 else len(content)) - line)
        line = after
    return found, longest


def _add(found: dict[int, Record], content: bytes, line: int, offset: int) -> int:
    """Adds the event after the line break at `line`, if it is whole; returns the next line break, or -1."""
    end = content.find(b"\n", line + 1)
    if line < 0 or end < 0:
        return -1
    where = offset + line + 1
    if where not in found and (record := parse_line(content[line + 1 : end])) is not None:
        found[where] = record
    return end


def _that_stand(events: list[Record]) -> list[Record]:
    """Without the steps and epochs that a later event reports again."""
    kept: list[Record] = []
    next_of: dict[str, tuple[float, float]] = {}
    for event in reversed(events):
        kind = event["event"]
        place = finite(event.get("step")), finite(event.get("epoch"))
        if kind in ("step", "epoch"):
            place = (place[0], 0.0 if kind == "step" else place[1])
            if kind in next_of and not place < next_of[kind]:
                continue
            next_of[kind] = place
        # What stands is sorted out here: the history must not do it again.
        if kind != "run_resumed":
            kept.append(event)
    return kept[::-1]
