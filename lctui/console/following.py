"""Following one run from the console: its files and its history, as last read.

Owns reading off the event loop.  Whoever shows the run calls `catch_up` in a thread and paints after each of its turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lctui.runs.follow import Follower, RunHistory, histories
from lctui.runs.status import AT_REST
from lctui.runs.store import Run


class Followed:
    """One run: its history, summary, status, meta and result."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history = RunHistory()
        self.summary: dict[str, Any] = {}
        self.status: dict[str, Any] = {}
        self.result: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}
        self.gone = False
        self.settled = False
        """The run had ended when it was last read: there will be no more unless it is resumed."""
        self._log: Follower | None = None

    def catch_up(self) -> Iterator[None]:
        """Reads what is new, yielding whenever there is something more to show."""
        self.gone = not self.run.folder.is_dir()
        if self.gone:
            yield
            return
        self._read_files()
        if self._log is None:
            yield from self._read_all()
        else:
            while self._log.read():
                pass
        self.history = self._log.history if self._log is not None else self.history
        self.settled = self.summary["status"] in AT_REST
        yield

    def _read_files(self) -> None:
        self.summary, self.status = self.run.summary(), self.run.read("status.json")
        # The worker completes it when it begins: device, versions.
        self.meta = self.meta if "torch" in self.meta else self.run.read("meta.json")
        self.result = self.run.read("result.json") if self.summary["status"] == "finished" else {}

    def _read_all(self) -> Iterator[None]:
        log = Follower(self.run.file("events.jsonl"))
        for history in histories(self.run.file("events.jsonl"), follower=log):
            # A sample shows the whole run: it stays in view until all of it has been read.
            if not self.history.sampled:
                self.history = history
                yield
        self._log = log
