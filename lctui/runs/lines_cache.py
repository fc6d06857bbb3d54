"""A cache file of JSON values, one a checksummed line: what cannot be read is as if it had never been written.

Owns the file's format, and that one process at a time writes it.  Knows nothing of what the values mean; losing them
must cost time only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from pydantic_core import from_json

from lctui.errors import BadInput
from lctui.runs import atomic
from lctui.runs.files import read_bytes
from lctui.runs.locks import Lock

MAX_BYTES = 256 << 20


def load_lines(path: Path, version: str) -> Iterator[Any]:
    """The values in the file; none if it is not there, of another version or no such file at all."""
    try:
        lines = read_bytes(path, MAX_BYTES).split(b"\n")
    except OSError:
        return
    if lines[0] != version.encode():
        return
    for line in lines[1:]:
        checksum, _, text = line.partition(b" ")
        if checksum == _checksum(text):
            try:
                yield from_json(text)
            except ValueError:  # half a character, say: written, but not to be read
                continue


def save_lines(path: Path, version: str, values: Iterable[Any]) -> bool:
    """Replaces the file, unless somebody else is doing so; says whether that could be done."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(version.encode() + b"\n")
            for value in values:
                # Line by line, so that other threads have their turns in between.
                text = json.dumps(value).encode()
                file.write(_checksum(text) + b" " + text + b"\n")

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with Lock(path.with_suffix(".lock")) as lock:
            if not lock.acquire():
                return False
            atomic.sweep(path.parent, path.name)
            atomic.replace(path, write, durable=False)
    except (BadInput, OSError, ValueError):
        return False
    return True


def _checksum(text: bytes) -> bytes:
    return b"%08x" % crc32(text)
