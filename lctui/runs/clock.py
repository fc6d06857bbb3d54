"""Clocks that are wrong, or are set while one looks at them.

Owns the order in which things were made where the clock cannot tell, and noticing that it was set back.  Durations are
measured by the monotonic clock everywhere; what is shown of the time of day is the clock's own word.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

SET_BACK_SECONDS = 60.0
"""Smaller steps are those of clocks that are kept right."""


def after(newest: str, now: str) -> str:
    """A key that sorts behind `newest`: the time now, or, while the clock is behind, `newest` counted on.

    Both are times in ISO 8601, UTC; a key that was counted on ends in + and six digits.
    """
    if now > newest:
        return now
    base, _, count = newest.partition("+")
    return f"{base}+{int(count) + 1 if count.isdecimal() else 1:06d}"


def touch_last(file: Path) -> None:
    """Makes a file the one of its folder that was used last, also where others were used in what is now the future."""
    with suppress(OSError):
        newest = max((each.stat().st_mtime_ns for each in file.parent.iterdir()), default=0)
        when = max(time.time_ns(), newest + 1)
        os.utime(file, ns=(when, when))


class Watch:
    """Notices that this machine's clock was set back while a process ran."""

    def __init__(self) -> None:
        self._ahead = _ahead()

    def set_back(self) -> float:
        """By how many seconds since it was last asked.

        Forward (below 0) it may have leapt by sleeping, which the monotonic clock knows nothing of.
        """
        before, self._ahead = self._ahead, _ahead()
        return before - self._ahead


def _ahead() -> float:
    """How far the clock is ahead of the monotonic one, in seconds."""
    return time.time() - time.monotonic()
