"""A child process that tries broken files, one after another, and says on stdout what went wrong with which.

`python -m tests.fuzz.trial schemes|artifacts|folders COUNT SEED FOLDER`.  Cases are tried within the process, by what
the command line itself calls.  Two seconds of CPU, a minute of anything and a gibibyte of memory are a failure.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import typer

from lctui import cli

MOST_BYTES = 1 << 30
MOST_SECONDS = 2.0
LONGEST_LINE = 1500

COMMAND = typer.main.get_command(cli.app)


def most_memory() -> int:
    """The most bytes that this process has had in memory.

    Linux's own word where there is one: `ru_maxrss` starts at what the parent had when it forked.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


class Hang(BaseException):
    """A case that came to no end."""


class Failure(AssertionError):
    """A case that ended otherwise than the contract says."""


def lctui(*arguments: object, allowed: tuple[int, ...] = (0, 2)) -> tuple[int, str, str]:
    """The command line's exit code, stdout and stderr; within this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = int(cli._guarded(lambda: COMMAND.main([str(each) for each in arguments], standalone_mode=False)))
    said, lines = out.getvalue(), err.getvalue().split("\n")
    require(code in allowed, f"{arguments[0]}: exit code {code}: {lines[:3]}")
    require(code != 2 or len(lines) > 1, f"{arguments[0]}: refused without a word")
    for line in lines:
        require(line.isprintable() and len(line) < LONGEST_LINE, f"{arguments[0]}: stderr has {line[:300]!r}")
        require("Traceback" not in line and "memory" not in line.lower(), f"{arguments[0]}: stderr has {line!r}")
    inert = all(line.isprintable() for line in said.split("\n"))
    require(inert, f"{arguments[0]}: a terminal would obey its output")
    return code, said, err.getvalue()


def require(condition: object, otherwise: str) -> None:
    """Raises Failure unless the condition holds."""
    if not condition:
        raise Failure(otherwise)


def trials(cases: Iterator[tuple[str, Callable[[], str]]]) -> dict[str, Any]:
    """What came of the cases, each a name and a function that says how it ended."""
    signal.signal(signal.SIGVTALRM, _hang)
    signal.signal(signal.SIGALRM, _hang)
    endings: dict[str, int] = {}
    failures, slowest, count = [], 0.0, 0
    for name, case in cases:
        count += 1
        begun = time.process_time()
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, 2 * MOST_SECONDS)
            signal.setitimer(signal.ITIMER_REAL, 60)
            ending = case()
        except (Exception, Hang) as error:
            frames = [
                f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
            ]
            ending = "failed"
            failures.append(f"{name}: {type(error).__name__}: {str(error)[:400]} at {' '.join(frames[-5:])}")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        endings[ending] = endings.get(ending, 0) + 1
        took = time.process_time() - begun
        slowest = max(slowest, took)
        if took > MOST_SECONDS:
            failures.append(f"{name}: took {took:.1f} s of CPU")
    peak = most_memory()
    return {"cases": count, "endings": endings, "failures": failures, "slowest": slowest, "peak": peak}


def _hang(number: int, frame: FrameType | None) -> None:
    raise Hang(f"signal {number}")


def main() -> None:
    """Tries what the command line asks for."""
    kind, count, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    os.environ["LCTUI_HOME"] = str(folder / "home")
    os.environ |= {"COLUMNS": "200", "TERM": "dumb", "XDG_CONFIG_HOME": str(folder / "config")}
    os.chdir(folder)
    warnings.simplefilter("error")
    cases = importlib.import_module(f"tests.fuzz.{kind}").cases
    # A fuse: what allocates far too much fails here, and not the machine.
    resource.setrlimit(resource.RLIMIT_DATA, (4 * MOST_BYTES, 4 * MOST_BYTES))
    json.dump(trials(cases(Random(seed), count, folder)), sys.stdout)


if __name__ == "__main__":
    main()
