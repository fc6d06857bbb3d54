"""A process with little memory: `python -m tests.limited`, the memory that it may take set once everything is loaded.

Reads jobs from stdin, JSON, and does them one after another, each within so many MiB more than the process has by
then; writes how each of them ended.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOM = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
"""Whatever is large goes back to the system at once, so that a limit means the same every time."""


def limited(jobs: list[dict[str, Any]], home: Path) -> list[dict[str, Any]]:
    """Does jobs in a process of its own: `command` (of lctui), `worker` or `execute` (a run), and their `room`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.limited"],
        input=json.dumps(jobs),
        env=os.environ | ROOM | {"LCTUI_HOME": str(home), "COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def room_of(mebibytes: float) -> Any:
    """So much more may be taken in here than is taken now."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit_to(mebibytes)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def limit_to(mebibytes: float) -> None:
    """From here on, so much more may be taken than is taken now."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    taken = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (taken + int(mebibytes * 2**20), hard))


def _command(arguments: list[str]) -> int:
    from lctui.cli import _guarded, app

    return int(_guarded(lambda: app(arguments, standalone_mode=False)))


def _worker(arguments: list[str]) -> int:
    from lctui.worker import main

    return int(main(arguments))


def _execute(folder: str, room: float, at: str, number: int) -> int:
    """A run whose memory becomes scarce once an event has come so many times."""
    from lctui import execution
    from lctui.errors import LctuiError
    from lctui.prepare import prepare
    from lctui.runs.stopping import StopRequest
    from lctui.runs.store import Run

    class Limits(execution.Nobody):
        left = number

        def event(self, event: Any) -> None:
            self.left -= event.event == at
            if self.left == 0 and event.event == at:
                limit_to(room)

    run = Run(Path(folder))
    home = run.folder.parent.parent
    prepared = prepare(run.scheme(), home, "cpu", "")
    execution.SAVE_SHARE = 1e-9  # one checkpoint, after direct compression
    try:
        execution.execute(run, prepared, home, StopRequest(), Limits())
    except LctuiError as error:
        return int(error.exit_code)
    return 0


def _do(job: dict[str, Any]) -> int:
    if "execute" in job:
        with room_of(4096):
            return _execute(job["execute"], job["room"], job["at"], job["number"])
    with room_of(job["room"]):
        return _command(job["command"]) if "command" in job else _worker(job["worker"])


def main() -> None:
    """Does the jobs."""
    import torch

    from lctui import cli, execution, foreground, studies, worker  # noqa: F401 (loaded before there is a limit)

    torch.linalg.eigh(torch.eye(30, dtype=torch.float64))
    ends = []
    for job in json.load(sys.stdin):
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = _do(job)
        ends.append({"code": code, "out": out.getvalue(), "err": errors.getvalue()})
    sys.stdout.write(json.dumps(ends) + "\n")


if __name__ == "__main__":
    main()
