"""`worker.log`: what a run's process says of it while it works.

Owns which lines go there: those of this run, and of none in particular.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lctui.runs.store import Run

logger = logging.getLogger("lctui")


@contextmanager
def logging_to(run: Run) -> Iterator[None]:
    """What is said of this run, and of none in particular, goes to the run's folder, and nowhere else."""
    handler = logging.FileHandler(run.file("worker.log"), encoding="utf-8")
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
