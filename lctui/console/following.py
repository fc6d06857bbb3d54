"""Following one run from the console: its files and its history, as last read.

Owns reading off the event loop.  Whoever shows the run calls `catch_up` in a thread and paints after each of its turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Any

from lctui.runs.follow import Follower, RunHistory, histories
from lctui.runs.log import finite
from lctui.runs.status import AT_REST
from lctui.runs.store import Run


class Followed:
    """One run: its history, and what its files say of it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history = RunHistory()
        self.summary: dict[str, Any] = {}
        self.progress: dict[str, float] = {}
        """The numbers of `status.json`'s progress; nan for what is none."""
        self.seconds = nan
        """How long a finished run took."""
        self.artifact_bytes = nan
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
        self.summary = self.run.summary()
        progress = self.run.read("status.json").get("progress")
        # Whoever wrote the file: what is shown as a number is one.
        self.progress = {name: finite(value) for name, value in progress.items()} if isinstance(progress, dict) else {}
        # The worker completes it when it begins: device, versions.
        self.meta = self.meta if "torch" in self.meta else self.run.read("meta.json")
        result = self.run.read("result.json") if self.summary["status"] == "finished" else {}
        final = result.get("final")
        self.seconds = finite(result.get("seconds"))
        self.artifact_bytes = finite(final.get("artifact_bytes")) if isinstance(final, dict) else nan

    def _read_all(self) -> Iterator[None]:
        log = Follower(self.run.file("events.jsonl"))
        for history in histories(self.run.file("events.jsonl"), follower=log):
            # A sample shows the whole run: it stays in view until all of it has been read.
            if not self.history.sampled:
                self.history = history
                yield
        self._log = log
