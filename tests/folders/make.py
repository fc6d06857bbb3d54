"""Makes a home of small runs with the code as it is: `python -m tests.folders.make ../NAME` in tests/folders/code.

The homes beside this file were made so by the code of their day and stay as they are, so that later code is tested on
what that code really wrote.  In each: a finished run (`done`), its twin stopped within the second LC step (`half`),
one stopped within its reference (`early`), a study of one row that is run, and a queue that is empty.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch

from lctui.errors import Interrupted
from lctui.execution import Nobody, execute
from lctui.prepare import prepare
from lctui.runs.queue import Queue
from lctui.runs.status import Progress
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run, Store, new_run
from lctui.runs.study_record import StudyRecord
from lctui.scheme import Scheme
from lctui.scheme.study import parse_study

SCHEME: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "model": {"factory": "small.py:net"},
    "data": {"name": "small.py:data", "validation": 0.2},
    "reference": {"epochs": 3, "batch_size": 8, "lr": 0.05},
    "compress": [
        {"layers": ["0"], "how": [{"type": "low_rank", "rank": 2}, {"type": "prune", "kappa": 9}]},
        {"layers": ["2"], "how": {"type": "quantize", "k": 2}},
    ],
    "lc": {"mu": {"start": 0.01, "factor": 1.5, "steps": 4}},
    "l_step": {"epochs": 2, "batch_size": 8, "lr": 0.05},
    "seed": 1,
}
STUDY: dict[str, Any] = {"version": 1, "study": "small study", "base": SCHEME, "variants": [{"name": "row"}]}


class _StopAfter(Nobody):
    """Asks for a stop once a number of batches is done."""

    def __init__(self, stop: StopRequest, batches: int) -> None:
        self.stop, self.left = stop, batches

    def progress(self, progress: Progress) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop.flag.set()


def run(home: Path, name: str, batches: int = 0, **changes: Any) -> Run:
    """A run of that name, stopped after some batches if there are any."""
    made = new_run(Store(home), Scheme.model_validate(SCHEME | changes), "cpu")
    made = Run(made.folder.rename(made.folder.with_name(name)))
    stop = StopRequest()
    with contextlib.suppress(Interrupted):
        execute(made, prepare(made.scheme(), home, "cpu", ""), home, stop, _StopAfter(stop, batches))
    return made


def make(home: Path) -> None:
    """The whole home."""
    torch.set_num_threads(1)
    done = run(home, "done")
    study = parse_study(STUDY, "study.json", {})
    StudyRecord.open(home, study).add(study.schemes[0], {"id": done.id})
    run(home, "half", batches=12 + 8)
    run(home, "early", batches=10, seed=2)
    queue = Queue(Store(home))
    queue._write(queue._read())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
