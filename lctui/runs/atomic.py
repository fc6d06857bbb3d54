"""Files that are either the old version or the new one, never half of it.

Owns write-temp-then-rename.  Every file of a run but the event log is written through here.  Each write is announced
by an audit event (`sys.audit`), which costs nothing while nobody listens: tests listen, to die at it.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from lctui.runs.files import MAX_JSON_BYTES, read_bytes

# The umask can only be read by setting it: once, before there are threads.
_UMASK = os.umask(0o077)
os.umask(_UMASK)
_MODE = 0o666 & ~_UMASK


def replace(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Lets `write` fill a temporary file beside `path`, then puts it in `path`'s place.

    `durable` forces the bytes to the disk first, so that a power cut leaves the old or the new file.
    """
    # Two threads may write one file at once, and so may two hosts whose processes share a number.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    sys.audit("lctui.write", str(temporary))
    try:
        write(temporary)
        sys.audit("lctui.written", str(temporary))
        # Writers differ in the mode they give a file; these are as readable as any other file of the user's.
        temporary.chmod(_MODE)
        if durable:
            _sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what is told
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)


def sweep(folder: Path, name: str = "*") -> None:
    """Deletes what killed writers left of a file, or of all; for whoever has its lock, and so is its only writer.

    What cannot be deleted stays: it is in nobody's way.
    """
    for temporary in folder.glob(f".{name}.*.tmp"):
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """A JSON file, replaced atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace(path, lambda temporary: _write_text(temporary, text), durable=durable)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any | None:
    """Parsed JSON, or None if the file is not there, no ordinary file, too large or not JSON."""
    try:
        # Several times as fast as the standard library's parser: a list of runs reads thousands of files.
        return from_json(read_bytes(path, MAX_JSON_BYTES))
    except (OSError, ValueError):
        return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
