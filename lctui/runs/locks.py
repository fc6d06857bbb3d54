"""Locks that die with their process.

Owns advisory file locks (flock): the kernel releases them however the holder ends, so there are no stale locks to
clean up on one host.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class Lock:
    """An exclusive lock on a file; made by `acquire`, released on exit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock if nobody has it; says whether it did."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            taken = _take(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if taken:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return taken

    def wait(self) -> None:
        """Takes the lock as soon as nobody else has it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Does a living process hold the lock?  Not as far as anybody knows where the file system has no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A shared request disturbs no other reader and is refused only by a holder.
        return not _try(descriptor, fcntl.LOCK_SH)
    except OSError:  # ENOLCK, say, on a network's file system
        return False
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    """Takes the lock unless somebody holds it."""
    while not _try(descriptor, fcntl.LOCK_EX):
        # Refused by a holder, or for a moment by somebody who asks `is_held`: only a holder refuses to share.
        if not _try(descriptor, fcntl.LOCK_SH):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.sched_yield()
    return True


def _try(descriptor: int, kind: int) -> bool:
    """Takes a lock of this kind unless that would mean waiting."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
