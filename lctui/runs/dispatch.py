"""The dispatcher of one lane of the queue: starts its runs one after another, each in a worker of its own.

Owns the loop and the lane's lock, which makes it the only one however many consoles start dispatchers.  No torch: it
sleeps beside the worker.  It may be killed at any moment: the worker goes on, and the next dispatcher waits for it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import Any

from lctui.errors import LctuiError
from lctui.runs import atomic
from lctui.runs.locks import Lock
from lctui.runs.process import launch_worker, share_the_cores
from lctui.runs.queue import Queue
from lctui.runs.status import AT_WORK, words
from lctui.runs.store import Run, Store

POLL_SECONDS = 1.0
RETRY_SECONDS = 10.0

logger = logging.getLogger("lctui.dispatch")


def dispatch(queue: Queue, lane: str) -> bool:
    """Works on a lane until nothing is left in it; False if another dispatcher does so already."""
    lock = Lock(queue.lane_file(lane, "lock"))
    if not lock.acquire():
        return False
    logger.info("begins with %s", lane)
    with lock:
        while True:
            try:
                if queue.leave(lane, lock):
                    break
                _wait_for_the_device(queue, lane)
                if (run := queue.take(lane)) is not None:
                    _work(run, queue.store.home)
                    queue.put_down(run)
            except (OSError, LctuiError) as error:
                # A full disk, say: the queue outlasts it.
                logger.error("%s", error)
                if not queue.store.home.is_dir():
                    break
                time.sleep(RETRY_SECONDS)
    logger.info("nothing is left for %s", lane)
    return True


def _wait_for_the_device(queue: Queue, lane: str) -> None:
    """Returns once no worker is on the device, or nothing waits for it any more."""
    while others := queue.at_work(lane):
        logger.info("waits for %s", ", ".join(run.id for run in others))
        # Only these are watched: a home may have thousands of runs.
        while any(run.status() in AT_WORK for run in others):
            if not queue.has_work(lane):
                return
            time.sleep(POLL_SECONDS)


def _work(run: Run, home: Path) -> None:
    """One run from its worker's start to its end, however it ends."""
    meta = run.read("meta.json")
    origin = _object(meta.get("queued"))
    named, variables = origin.get("folder"), _object(origin.get("environment"))
    where = Path(named) if isinstance(named, str) and "\0" not in named and Path(named).is_dir() else home
    environment = {name: value for name, value in variables.items() if value is None or isinstance(value, str)}
    try:
        device = str(meta.get("requested_device", "auto"))
        worker = launch_worker(run.folder, home, device, where=where, environment=environment)
    except (OSError, ValueError, TypeError) as error:  # the last two: a damaged meta.json, with a NUL in a name, say
        _bury(run, f"no worker could be started: {getattr(error, 'strerror', None) or error}")
        return
    logger.info("%s: worker %d", run.id, worker.pid)
    code = worker.wait()
    _bury(run, f"the worker ended before the run began (exit code {code}); see worker.log")
    logger.info("%s: %s", run.id, run.status())


def _bury(run: Run, error: str) -> None:
    """A worker that never had the run's lock could not say so in the folder."""
    lock = Lock(run.file("lock"))
    if not run.folder.is_dir() or not lock.acquire():
        return
    with lock:
        status = run.read("status.json")
        if status.get("state") == "starting":
            atomic.write_json(run.file("status.json"), status | words("crashed", error))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def main(arguments: list[str] | None = None) -> int:
    """`python -m lctui.runs.dispatch --home DIR --device LANE`: that lane's dispatcher, until the lane is empty."""
    parser = argparse.ArgumentParser(prog="lctui.runs.dispatch", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--device", required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    share_the_cores()
    if not dispatch(Queue(Store(options.home.absolute())), options.device):
        logger.info("another process works on %s", options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
