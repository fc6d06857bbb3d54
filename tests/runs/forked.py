"""Real processes by the dozen: `lctui` and its worker, forked from a process that has torch loaded already.

A fresh interpreter takes seconds of processor time until it can train; these take none.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from tests.runs.children import until

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["lctui.cli", "lctui.foreground", "lctui.launching", "lctui.worker"])
_numbers = count()


class Forked:
    """A process of lctui's, working in a folder on a home; what it prints goes to files."""

    def __init__(
        self, folder: Path, home: Path, *arguments: str | Path, worker: bool = False, stands_at: str = ""
    ) -> None:
        """`stands_at`: it stands still when it would report its second event of that name; that is waited for."""
        number = next(_numbers)
        self.out, self.err = (folder / f"{number}.{kind}" for kind in ("out", "err"))
        target = _worker if worker else _lctui
        given = (folder, home, self.out, self.err, stands_at, [*map(str, arguments)])
        self.process = _context.Process(target=target, args=given)
        self.process.start()
        if stands_at:
            until(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)

    def ended(self) -> int:
        """Waits for its end; returns the exit code."""
        self.process.join(120)
        assert self.process.exitcode is not None, "it never ended"
        return self.process.exitcode

    def says(self, words: str) -> None:
        """Waits for these words on stderr."""
        until(lambda: words in self.errors() or self.process.exitcode is not None)
        assert words in self.errors(), self.errors()

    def errors(self) -> str:
        """What it has said on stderr so far."""
        return self.err.read_text() if self.err.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stands still meanwhile."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if self.process.is_alive():
                self.signal(signal.SIGCONT)


def _lctui(folder: Path, home: Path, out: Path, err: Path, stands_at: str, arguments: list[str]) -> None:
    _settle(folder, home, out, err, stands_at)
    from lctui.cli import main

    sys.argv = ["lctui", *arguments]
    main()


def _worker(folder: Path, home: Path, out: Path, err: Path, stands_at: str, arguments: list[str]) -> None:
    _settle(folder, home, out, err, stands_at)
    from lctui.worker import main

    sys.exit(main(arguments))


def _stand_at(name: str) -> None:
    """Stands still, until somebody lets it go on, at its second event of that name, which no speed can make it miss."""
    seen = count(1)

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "lctui.append" and json.loads(arguments[1])["event"] == name and next(seen) == 2:
            os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(listen)


def _settle(folder: Path, home: Path, out: Path, err: Path, stands_at: str) -> None:
    if stands_at:
        _stand_at(stands_at)
    os.chdir(folder)
    os.environ |= {"LCTUI_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "120"}
    for path, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
