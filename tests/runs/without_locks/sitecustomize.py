"""Python on a file system without locks: with this folder on PYTHONPATH, flock answers as some NFS servers do."""

import errno
import fcntl
import os


def _no_locks(descriptor: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


fcntl.flock = _no_locks  # type: ignore[assignment]
