"""Following an event log as it grows, by offset.

Owns what is a whole line, and noticing that the file is not the one that was read before.  Keeps no event.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lctui.runs.files import MAX_JSON_BYTES, open_file
from lctui.runs.log import parse_line

Record = dict[str, Any]

BATCH_BYTES = 1 << 20
_MARK_BYTES = 64


class EventTail:
    """Reads an event log from where the last read ended; a file that is not there (any more) has no news."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarted = False
        """The file shrank or was replaced since the last read: what was read before is void."""
        self._offset = 0
        self._file: tuple[int, int] | None = None
        # The last bytes before the offset: a file that was rewritten in place has others there.
        self._mark = b""

    def read(self, limit: int = BATCH_BYTES) -> list[Record]:
        """The next whole events, about `limit` bytes of them; none when there are no more.  Junk lines are skipped."""
        self.restarted = False
        try:
            descriptor = open_file(self.path)
        except OSError:
            return []
        try:
            self._find_place(descriptor)
            return self._next_events(descriptor, limit)
        except OSError:
            return []
        finally:
            os.close(descriptor)

    def _find_place(self, descriptor: int) -> None:
        """Starts over where this is not the file that was read before."""
        about = os.fstat(descriptor)
        identity = (about.st_dev, about.st_ino)
        same = self._file in (None, identity) and about.st_size >= self._offset
        if same:
            same = os.pread(descriptor, len(self._mark), self._offset - len(self._mark)) == self._mark
        if not same:
            self.restarted = True
            self._offset, self._mark = 0, b""
        self._file = identity

    def _next_events(self, descriptor: int, limit: int) -> list[Record]:
        """The events of the next lines that hold any."""
        while content := _whole_lines(descriptor, self._offset, limit):
            self._offset += len(content)
            self._mark = (self._mark + content[-_MARK_BYTES:])[-_MARK_BYTES:]
            lines = content.split(b"\n")
            if events := [record for line in lines if line and (record := parse_line(line)) is not None]:
                return events
        return []


def _whole_lines(descriptor: int, offset: int, limit: int) -> bytes:
    """About `limit` bytes of whole lines, more if one line is longer; nothing while the next line has no end.

    Of a line that no event is as long as, a piece, which is none either.
    """
    content = os.pread(descriptor, limit, offset)
    while (end := content.rfind(b"\n")) < 0 and len(content) < MAX_JSON_BYTES:
        more = os.pread(descriptor, max(limit, len(content)), offset + len(content))
        if not more:
            return b""
        content += more
    return content[: end + 1] if end >= 0 else content
