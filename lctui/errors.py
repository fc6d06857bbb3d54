"""Error types and exit codes: what can go wrong, and what each failure tells a shell.

Owns the wording helpers that every check shares (`nearest`, `shown`, `printable`).  Imports nothing of lctui and
prints nothing.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

MAX_SHOWN = 60
MAX_LINE = 1400
"""Signs of a line: what it quotes may have any length, a name above all."""


class Exit(IntEnum):
    """Exit codes: part of the command-line contract."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    DIVERGED = 3
    INTERRUPTED = 130


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where (`compress.1.how.kappa`), and what (value, rule, nearest choice)."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class LctuiError(Exception):
    """Base of the errors that lctui raises on purpose; `exit_code` is what the command line returns for it."""

    exit_code = Exit.FAILED


class BadInput(LctuiError):
    """A file, an option or a data set that cannot be used; carries every problem found, not only the first."""

    exit_code = Exit.BAD_INPUT

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line a problem, of bounded length, as `FILE: PATH: problem`."""
        lines = [printable(f"{self.source}: {problem}" if self.source else str(problem)) for problem in self.problems]
        return [line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…" for line in lines]

    @classmethod
    def one(cls, source: str, path: str, message: str) -> BadInput:
        """A `BadInput` with a single problem."""
        return cls(source, [Problem(path, message)])


@contextmanager
def writing_to(place: object) -> Iterator[None]:
    """Whatever the system refuses in here is that this place cannot be written to; raises BadInput in its stead."""
    try:
        yield
    except OSError as error:
        raise BadInput.one(str(place), "", f"cannot be written to: {error.strerror or error}") from None


class RunFailed(LctuiError):
    """A run that cannot go on, for a reason that is not the user's input."""


class OutOfMemory(RunFailed):
    """There was no memory left for something."""


class Diverged(LctuiError):
    """The loss or the weights stopped being finite."""

    exit_code = Exit.DIVERGED


class Interrupted(LctuiError):
    """Somebody asked the run to stop; everything up to the last finished batch is kept."""

    exit_code = Exit.INTERRUPTED


def printable(text: str) -> str:
    """Text as one line that a terminal only shows: newlines, escape sequences and the like are spelled out."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode() for sign in text
    )


def shown(value: object) -> str:
    """A value as a file has it, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return shortened(text)


def shortened(text: str) -> str:
    """Text, cut where it gets longer than a line should quote."""
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that `name` was most likely meant to be, or None if nothing is close."""
    found = difflib.get_close_matches(shortened(str(name)), list(choices), n=1, cutoff=0.5)
    return found[0] if found else None


def choices_hint(name: object, choices: Iterable[str]) -> str:
    """What could have been meant: the nearest choice, and all of them while they are few."""
    choices = list(choices)
    guess = nearest(str(name), choices)
    hint = f"; did you mean {guess!r}?" if guess is not None else ""
    return hint + (f" (one of: {', '.join(choices)})" if 0 < len(choices) <= 12 else "")


def not_one_of(name: object, choices: Iterable[str]) -> str:
    """Wording for a name that does not exist: the value, the nearest valid one, and all of them while they are few."""
    value = shortened(repr(name)) if isinstance(name, str) else shown(name)
    return f"{value} is not known{choices_hint(name, choices)}"
