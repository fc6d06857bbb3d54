"""Clocks that are wrong, or are set while one looks at them.

Owns the order in which things were made where the clock cannot tell, how old files are by the clock that dates them,
and noticing that this machine's was set back.  Durations are measured by the monotonic clock everywhere; what is shown
of the time of day is the clock's own word.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

SET_BACK_SECONDS = 60.0
"""Smaller steps are those of clocks that are kept right."""


_KEY = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z(\+\d{6})?")


def is_key(value: object) -> TypeGuard[str]:
    """Is this what `after` returns?  Files of a home may be broken, and nothing is counted on from anything else."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


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


def time_of(folder: Path) -> float:
    """The time by the clock that gives files of this folder their times, in Unix seconds.

    Where nothing can be written, this machine's clock.
    """
    probe = folder / f".clock.{secrets.token_hex(8)}.tmp"
    try:
        with probe.open("xb") as file:
            return os.fstat(file.fileno()).st_mtime  # also if it is swept meanwhile
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def long_unchanged(folder: Path, pattern: str, seconds: float) -> list[Path]:
    """What lies in the folder under such a name and was last changed longer ago than that, by the folder's clock.

    What is of the future was changed before the clock was set back.
    """
    found = list(folder.glob(pattern))
    clock, old = time_of(folder) if found else 0.0, []
    for path in found:
        with suppress(OSError):
            if abs(clock - path.stat().st_mtime) > seconds:
                old.append(path)
    return old


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
