"""The worker: one run in a process of its own, watched by nobody.

Owns `python -m lctui.worker FOLDER`, which outlives whoever started it, and what a run that could not even begin says
in its folder.  What a run does is in `lctui.execution`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lctui.errors import BadInput, Exit, LctuiError
from lctui.execution import Nobody, execute
from lctui.prepare import prepare
from lctui.runs.locks import Lock
from lctui.runs.status import StatusFile
from lctui.runs.stopping import StopRequest
from lctui.runs.store import Run
from lctui.runs.worker_log import logging_to

logger = logging.getLogger("lctui")


def main(arguments: list[str] | None = None) -> int:
    """`python -m lctui.worker FOLDER`: the run in that folder, in this process, watched by nobody."""
    parser = argparse.ArgumentParser(prog="lctui.worker", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    run, stop = Run(options.folder), StopRequest()
    with stop.on_signals():
        try:
            prepared = prepare(run.scheme(), options.home, options.device, str(run.file("scheme.json")))
        except LctuiError as error:
            _report_bad_start(run, error)
            return error.exit_code
        try:
            execute(run, prepared, options.home, stop, Nobody())
        except BadInput as error:
            _report_bad_start(run, error)
            return error.exit_code
        except LctuiError as error:
            return error.exit_code  # the run has said so
    return Exit.DONE


def _report_bad_start(run: Run, error: LctuiError) -> None:
    """A run that could not even begin says why, unless another worker has it."""
    lock = Lock(run.file("lock"))
    if lock.acquire():
        with lock, logging_to(run):
            logger.error("%s", error)
            StatusFile(run.file("status.json")).close("failed", "; ".join(str(error).splitlines()))


if __name__ == "__main__":
    sys.exit(main())
