"""Several runs in one process, their epochs trained together.

Owns the course of things: every run goes on by itself (C steps, events, checkpoints) up to the next epoch that it
wants trained; then those that stand at the same batches train as one ensemble.  A run that ends, fails or is stopped
leaves; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lctui.errors import LctuiError
from lctui.learning.ensemble import Ensemble
from lctui.learning.train import Turn
from lctui.worker import Execution


def execute_together(executions: Sequence[Execution], size: int) -> Iterator[tuple[Execution, LctuiError | None]]:
    """Executes runs, up to `size` of them training at once; yields each as it ends, with what ended it if not success.

    Whoever stops listening interrupts those that have not ended: they can be resumed.
    """
    ensemble = Ensemble(size)
    courses = {execution: execution.turns() for execution in executions}
    # Every run is open (and seen to be) before the first of them trains their reference; then, the next epoch of each.
    turns: dict[Execution, Turn | None] = {}
    try:
        while courses:
            for execution in [one for one in courses if one not in turns]:
                try:
                    turns[execution] = next(courses[execution])
                except StopIteration:
                    del courses[execution]
                    yield execution, None
                except LctuiError as error:
                    del courses[execution]
                    yield execution, error
            ensemble.train([turn for turn in turns.values() if turn is not None])
            turns = {execution: turn for execution, turn in turns.items() if turn is not None and turn.outcome is None}
    finally:
        for course in courses.values():
            course.close()
