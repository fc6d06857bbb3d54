"""What a worker logs: everything that is said of a run while it is worked on goes to `worker.log` in its folder.

Owns where log records of a run go.  A log that cannot be written costs the log, never the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lctui.runs.store import Run

logger = logging.getLogger("lctui")


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short; the run's own files say what becomes of the run."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Says nothing: standard error may be this very file."""


@contextmanager
def logging_to(run: Run) -> Iterator[None]:
    """What is said of this run, and of none in particular, goes to the run's folder, and nowhere else."""
    handler = _LogFile(run.file("worker.log"), encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(lambda record: record.name in (logger.name, f"{logger.name}.{run.id}"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        if not logger.handlers:
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
