"""Claims: what stands in for a lock where the file system has none.

Owns the file `NAME.claim` beside a lock's file: who holds the lock (host, pid, start time) and a token, made whole or
not at all, and kept fresh by its holder.  A claim counts until its holder's process is gone, if that can be seen from
here, or else until it has not been freshened for minutes, by the clock of the file system that it lies on.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

from pydantic_core import from_json

from lctui.runs import atomic
from lctui.runs.clock import long_unchanged, time_of
from lctui.runs.process import start_time, this_machine, this_process

FRESHEN_SECONDS = 5.0
STALE_SECONDS = 180.0
"""Well above what network file systems remember a file's attributes for."""


@dataclass(frozen=True)
class _Seen:
    """A claim as it was found: what it says, and when it was freshened last (nanoseconds)."""

    said: dict[str, Any]
    freshened: int


class Claim:
    """A claim for the lock of that file; made by `take`, kept fresh in a thread until `give_back`."""

    def __init__(self, lock: Path) -> None:
        self.path = claim_of(lock)
        self._token: str | None = None
        self._done = Flag()

    def take(self) -> bool:
        """Makes the claim unless somebody else's counts; says whether it did.

        Raises:
            OSError: the folder cannot be written to.
        """
        token = secrets.token_hex(16)
        while not _make(self.path, {"token": token, "machine": this_machine(), **asdict(this_process())}):
            if not clear_stale(self.path):
                return False
        self._token, self._done = token, Flag()
        _sweep(self.path)
        Thread(target=self._freshen, args=(self._done,), name="claim", daemon=True).start()
        return True

    def is_lost(self) -> bool:
        """Has somebody taken it over?  They may once this machine has slept for longer than a claim counts."""
        return self._token is not None and not self._is_mine()

    def give_back(self) -> None:
        """Withdraws the claim, if it still is this one's; harmless when there is none."""
        if self._token is not None:
            self._done.set()
            if self._is_mine():
                _remove(self.path, lambda found: found.said.get("token") == self._token)
            self._token = None

    def _is_mine(self) -> bool:
        found = _look(self.path)
        return found is not None and found.said.get("token") == self._token

    def _freshen(self, done: Flag) -> None:
        while not done.wait(FRESHEN_SECONDS):
            with suppress(OSError):  # a server that is away for a while: it may be back before anybody counts us dead
                if self._is_mine():
                    os.utime(self.path)


def claim_of(lock: Path) -> Path:
    """Where the claim for a lock's file lies."""
    return lock.with_name(f"{lock.name}.claim")


def counts(path: Path) -> bool:
    """Is there a claim in this file that counts?"""
    # Nearly always there is none: only whoever finds one opens it.
    return os.path.exists(path) and (found := _look(path)) is not None and not _is_stale(path, found)  # noqa: PTH110


def clear_stale(path: Path) -> bool:
    """Takes a claim that does not count out of the way; False if there is one that does."""
    found = _look(path)
    if found is None:
        return not path.exists()
    return _is_stale(path, found) and _remove(path, lambda now: now == found)


def _make(path: Path, said: dict[str, Any]) -> bool:
    """Puts a claim there unless one is there already; whoever finds it finds it whole."""
    draft = path.with_name(f".{path.name}.{said['token']}.tmp")
    try:
        draft.write_text(json.dumps(said), encoding="utf-8")
        return _link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _link(draft: Path, path: Path) -> bool:
    try:
        return _linked(draft, path)
    except FileNotFoundError:
        return False  # the draft was swept, by whoever has the claim


def _linked(draft: Path, path: Path) -> bool:
    try:
        os.link(draft, path)
    except FileExistsError:
        # A server's answer may get lost, and the request be repeated: then the first one did it.
        return draft.stat().st_nlink == 2
    except FileNotFoundError:
        raise
    except OSError:
        # No links here (a stick's file system, say).  Found half written, the claim counts by its age.
        words = draft.read_text(encoding="utf-8")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(words)
        except FileExistsError:
            return False
    return True


def _look(path: Path) -> _Seen | None:
    """The claim in a file, or None if there is no file.  Opening it makes a network's file system look anew."""
    try:
        with path.open("rb") as file:
            freshened, content = os.fstat(file.fileno()).st_mtime_ns, file.read()
    except OSError:
        return None
    try:
        said = from_json(content)
    except ValueError:
        said = None
    return _Seen(said if isinstance(said, dict) else {}, freshened)


def _is_stale(path: Path, claim: _Seen) -> bool:
    pid, machine = claim.said.get("pid"), claim.said.get("machine")
    if type(pid) is int and machine and machine == this_machine():
        # Of this very machine: a later process with the same pid has another start time.
        return start_time(pid) != claim.said.get("started")
    # One of the future was made before the clock was set back, and has not been freshened since.
    return abs(time_of(path.parent) - claim.freshened / 1e9) > STALE_SECONDS


def _remove(path: Path, is_meant: Callable[[_Seen], bool]) -> bool:
    """Removes the claim if it still is the one that is meant; says whether it was."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.aside")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False
    try:
        found = _look(aside)
        if found is None or is_meant(found):
            return True
        # Somebody else's by now, or freshened: put back, unless there is a newer one.
        _link(aside, path)
        return False
    finally:
        aside.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Deletes what was left by claimants that were killed; for whoever has just made the claim.

    A claim that stands aside may be put back at any moment, and may be the caller's own: an old one is nobody's.
    """
    atomic.sweep(path.parent, path.name)
    for aside in long_unchanged(path.parent, f".{path.name}.*.aside", STALE_SECONDS):
        with suppress(OSError):
            aside.unlink(missing_ok=True)
