"""Where words go: results to stdout, narration and errors to stderr.

Owns the two streams, so that nothing else of lctui prints.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def even_unheard() -> Iterator[None]:
    """Words for a terminal that has gone are lost, which is no failure of the run that they are about."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def print_json(value: Any) -> None:
    """A result, on stdout."""
    with even_unheard():
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def say(line: str) -> None:
    """A line for a person, on stderr."""
    with even_unheard():
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
