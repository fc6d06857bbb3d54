"""Real processes that say when they are where a test wants them, and are then killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def child(code: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Python running `code`, which has printed "ready"; killed at the end at the latest."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            kill(process)


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Looks again and again until something is so; fails when that takes suspiciously long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and certainty that it is gone."""
    process.kill()
    process.wait()


HOLD = """
import sys
from pathlib import Path
from lctui.runs.locks import Lock
lock = Lock(Path(sys.argv[1]))
assert lock.acquire()
print("ready", flush=True)
sys.stdin.read()
"""
"""Takes a lock and holds it until it is killed or its stdin ends."""
