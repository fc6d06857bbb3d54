"""Several runs in one process, their epochs trained together.

Owns the course of things: every run goes on by itself (C steps, events, checkpoints) up to the next epoch that it
wants trained; then those that stand at the same batches train as one ensemble.  A run that ends, fails or is stopped
leaves; the others go on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

from lctui.advice import advice
from lctui.errors import LctuiError, RunFailed
from lctui.execution import Execution
from lctui.learning.ensemble import Ensemble
from lctui.learning.train import Turn

Course = Generator[Turn | None, None, None]


@dataclass(frozen=True)
class _End:
    """A run's course is over, by what if not by success."""

    error: LctuiError | None


def execute_together(
    executions: Sequence[Execution], size: int, workers: int = 1
) -> Iterator[tuple[Execution, LctuiError | None]]:
    """Executes runs, up to `size` of them training at once; yields each as it ends, with what ended it if not success.

    With several `workers`, that many threads see to what the runs do between their epochs.  Whoever stops listening
    interrupts those that have not ended: they can be resumed.
    """
    ensemble = Ensemble(size)
    for execution in executions:
        execution.beside = len(executions) - 1
    courses = {execution: execution.turns() for execution in executions}
    turns: dict[Execution, Turn | None] = {}
    with ExitStack() as ending:
        pool = ending.enter_context(ThreadPoolExecutor(workers)) if workers > 1 else None
        ending.callback(_close_all, courses)
        for round in count():
            if not courses:
                return
            behind = [execution for execution in courses if execution not in turns]
            # At first every run is opened (and seen to be); then one trains their reference.  Training is for this
            # thread alone; what comes after that is not.
            reached = _advance([courses[execution] for execution in behind], pool if round > 1 else None)
            for execution, found in zip(behind, reached, strict=True):
                if isinstance(found, _End):
                    del courses[execution]
                    yield execution, found.error
                else:
                    turns[execution] = found
            ensemble.train([turn for turn in turns.values() if turn is not None])
            turns = {one: turn for one, turn in turns.items() if turn is not None and turn.outcome is None}


def _close_all(courses: dict[Execution, Course]) -> None:
    """Interrupts what has not ended, each whatever becomes of the others."""
    with ExitStack() as every:
        for course in courses.values():
            every.callback(course.close)


def _advance(courses: Sequence[Course], pool: ThreadPoolExecutor | None) -> Iterable[Turn | _End | None]:
    """Every course's next epoch, or its end."""
    return map(_next, courses) if pool is None else list(pool.map(_next, courses))


def _next(course: Course) -> Turn | _End | None:
    try:
        return next(course)
    except StopIteration:
        return _End(None)
    except LctuiError as error:
        return _End(error)
    except Exception as error:  # one run's failure is no other's
        return _End(RunFailed(advice(error)))
