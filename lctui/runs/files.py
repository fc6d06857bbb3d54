"""Opening what lies in a home, whoever put it there: ordinary files only, and none larger than there is room for.

Owns those two refusals.  A named pipe in a file's place would hold a reader up for ever, a device has no end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_JSON_BYTES = 16 << 20
"""A JSON file of a home, and a line of a log: what is larger was not written by lctui."""


def open_file(path: Path) -> int:
    """A descriptor to read an ordinary file by; never waits for anybody.

    Raises:
        OSError: there is no such file, it may not be read, or it is a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is no ordinary file", str(path))


def read_bytes(path: Path, limit: int) -> bytes:
    """All bytes of an ordinary file.

    Raises:
        OSError: as `open_file` does, or it holds more than `limit` bytes.
    """
    with os.fdopen(open_file(path), "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit >> 20:,} MiB", str(path))
        return file.readall()
