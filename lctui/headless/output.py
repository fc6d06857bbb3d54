"""Where words go: results to stdout, narration and errors to stderr.

Owns the two streams, so that nothing else of lctui prints.
"""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lctui.errors import printable


@contextmanager
def even_unheard() -> Iterator[None]:
    """Words for a terminal that has gone are lost, which is no failure of the run that they are about."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


_UNUSUAL = re.compile(r"[^\n -~]")


def _shown(sign: re.Match[str]) -> str:
    # json.dumps escapes all that is not ASCII, but not DEL.
    return sign[0] if sign[0].isprintable() else json.dumps(sign[0])[1:-1].replace("\x7f", "\\u007f")


def print_json(value: Any) -> None:
    """A result, on stdout; signs that a terminal would obey are escaped, which is the same JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    with even_unheard():
        sys.stdout.write(_UNUSUAL.sub(_shown, text) + "\n")
        sys.stdout.flush()


def say(line: str) -> None:
    """A line for a person, on stderr: one line, whatever it quotes."""
    with even_unheard():
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()
