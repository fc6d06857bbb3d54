"""Where words go: results to stdout, narration and errors to stderr.

Owns the two streams, so that nothing else of lctui prints.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def print_json(value: Any) -> None:
    """A result, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say(line: str) -> None:
    """A line for a person, on stderr."""
    sys.stderr.write(line + "\n")
