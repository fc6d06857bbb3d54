"""Real processes by the dozen: `lctui` and its worker, forked from a process that has torch loaded already.

A fresh interpreter takes seconds of processor time until it can train; these take none.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.runs.children import until

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["lctui.cli", "lctui.foreground", "lctui.launching", "lctui.worker"])
_numbers = count()


class Forked:
    """A process of lctui's, working in a folder on a home; what it prints goes to files."""

    def __init__(self, folder: Path, home: Path, *arguments: str | Path, worker: bool = False) -> None:
        number = next(_numbers)
        self.out, self.err = (folder / f"{number}.{kind}" for kind in ("out", "err"))
        target = _worker if worker else _lctui
        self.process = _context.Process(target=target, args=(folder, home, self.out, self.err, [*map(str, arguments)]))
        self.process.start()

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


def _lctui(folder: Path, home: Path, out: Path, err: Path, arguments: list[str]) -> None:
    _settle(folder, home, out, err)
    from lctui.cli import main

    sys.argv = ["lctui", *arguments]
    main()


def _worker(folder: Path, home: Path, out: Path, err: Path, arguments: list[str]) -> None:
    _settle(folder, home, out, err)
    from lctui.worker import main

    sys.exit(main(arguments))


def _settle(folder: Path, home: Path, out: Path, err: Path) -> None:
    os.chdir(folder)
    os.environ |= {"LCTUI_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "120"}
    for path, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
