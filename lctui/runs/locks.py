"""Locks that die with their process.

Owns advisory file locks (flock): the kernel releases them however the holder ends, so there are no stale locks to
clean up on one host.  On a file system that has no locks, some networks', a claim stands in for one (`claims`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from lctui.errors import BadInput
from lctui.runs.claims import Claim, claim_of, clear_stale, counts

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""What a file system answers that knows no locks."""

POLL_SECONDS = 0.1


class Taken(BadInput):
    """Somebody else is at work on what was to be locked."""


class Lock:
    """An exclusive lock on a file; made by `acquire`, released on exit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._claim: Claim | None = None

    def acquire(self) -> bool:
        """Takes the lock if nobody has it; says whether it did.

        Raises:
            BadInput: nobody could take it: the file cannot be opened for writing, say.
        """
        return self._acquire(_take)

    def wait(self) -> None:
        """Takes the lock as soon as nobody else has it; raises as `acquire` does."""
        while not self._acquire(_wait):
            time.sleep(POLL_SECONDS)  # somebody has a claim, which wakes nobody up

    def wait_briefly(self, seconds: float) -> bool:
        """As `wait`, for so long at most; says whether it has it."""
        deadline = time.monotonic() + seconds
        while not (taken := self.acquire()) and time.monotonic() < deadline:
            time.sleep(min(POLL_SECONDS, seconds / 10))
        return taken

    def _acquire(self, take: Callable[[int], bool]) -> bool:
        try:
            return self._taken(take)
        except OSError as error:
            raise BadInput.one(str(self.path), "", f"cannot be locked: {error.strerror or error}") from None

    def _taken(self, take: Callable[[int], bool]) -> bool:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # A claim counts here too: whoever made it sees no locks where this process does.
            taken = take(descriptor) and clear_stale(claim_of(self.path))
        except OSError as error:
            os.close(descriptor)
            if error.errno not in NO_LOCKS:
                raise
            claim = Claim(self.path)
            self._claim = claim if claim.take() else None
            return self._claim is not None
        if taken:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return taken

    @property
    def is_claim(self) -> bool:
        """Is it held by a claim, on a file system without locks?"""
        return self._claim is not None

    def is_lost(self) -> bool:
        """Has somebody else taken it over, as they may when this machine has slept?  Only claims get lost."""
        return self._claim is not None and self._claim.is_lost()

    def release(self) -> None:
        """Gives the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._claim is not None:
            self._claim.give_back()
            self._claim = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Does a living process hold the lock?"""
    try:
        # Without waiting, whatever lies there: a named pipe would have no end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # A shared request disturbs no other reader and is refused only by a holder.
        if not _try(descriptor, fcntl.LOCK_SH):
            return True
    except OSError:
        pass  # no locks here, so far as one can see: claims then
    finally:
        os.close(descriptor)
    return counts(claim_of(path))


@contextmanager
def alone_in(folder: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """One process at a time is in here with a folder that is not ours to leave a lock's file in: it is locked itself.

    `waiting` is told once if another is.  Where folders cannot be locked or read, nobody waits.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        taken = True
        with suppress(OSError):
            taken = _try(descriptor, fcntl.LOCK_EX)
        if not taken:
            waiting(f"waits for another lctui that writes into {folder}")
            _wait(descriptor)
        yield
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


def _wait(descriptor: int) -> bool:
    """Takes the lock once nobody holds it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return True


def _try(descriptor: int, kind: int) -> bool:
    """Takes a lock of this kind unless that would mean waiting."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
