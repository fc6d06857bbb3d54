"""Runs as TensorBoard's event files: the scalars of LC steps and of the reference's epochs, and the scheme as text.

Owns the tags and the file's name, which is the same each time: an export replaces the one before it.  Needs the package
`tensorboard`, which comes with an extra of lctui's; it brings neither TensorFlow nor torch along.

Tags are `step/…` by LC step (0: direct compression), `layers/NAME/…` for what each task learned, and `reference/…` by
epoch.  TensorBoard's scalars are 32-bit floats; `long.csv` has every digit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from lctui.errors import BadInput
from lctui.export.training import reference_epochs, unix_time
from lctui.runs import atomic
from lctui.runs.log import finite
from lctui.runs.store import Run

FILE = "events.out.tfevents.lctui"
"""TensorBoard reads every file of a run's folder that has `tfevents` in its name."""

_NO_SCALARS = {"event", "time", "unix_time", "step", "steps", "epoch", "epochs", "layers"}

Scalar = tuple[str, int, float, float]
"""A tag, a step, the Unix time of it, and the value."""


def require() -> None:
    """Raises BadInput unless TensorBoard's package is there."""
    if find_spec("tensorboard") is None:
        raise BadInput.one("", "--format", "tensorboard needs a package: pip install 'lctui[tensorboard]'")


def write_run(run: Run, folder: Path) -> Path:
    """Writes a run's event file into its folder, in place of an older one of ours; returns its path.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    atomic.replace(path, lambda temporary: _write(run, temporary))
    return path


def scalars(run: Run) -> Iterator[Scalar]:
    """All numbers of a run, in the order of their times: the reference's epochs, direct compression, LC steps."""
    for epoch in reference_epochs(run):
        yield from _numbers("reference", int(finite(epoch.get("epoch"))), epoch["unix_time"], epoch)
    for event in run.events():
        if event["event"] in ("direct_compression", "step"):
            step, when = int(event.get("step", 0)), unix_time(event)
            yield from _numbers("step", step, when, event)
            for task in event.get("layers") or ():
                yield from _numbers(f"layers/{'+'.join(task['layers'])}", step, when, task)


def _numbers(group: str, step: int, when: float, record: Mapping[str, Any]) -> Iterator[Scalar]:
    for name, value in record.items():
        if name not in _NO_SCALARS and isfinite(number := finite(value)):
            yield f"{group}/{name}", step, when, number


def _write(run: Run, path: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    began = unix_time(next(iter(run.events()), {}))
    scheme = json.dumps(run.read("scheme.json"), indent=2, ensure_ascii=False)
    with path.open("wb") as file:
        records = RecordWriter(file)
        first = [
            Event(wall_time=began, file_version="brain.Event:2"),
            Event(wall_time=began, step=0, summary=text_pb("scheme", f"```json\n{scheme}\n```")),
        ]
        for event in first:
            records.write(event.SerializeToString())
        for tag, step, when, value in scalars(run):
            # The simple form: TensorBoard and whoever reads such files with EventAccumulator.Scalars understand it.
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            records.write(Event(wall_time=when, step=step, summary=summary).SerializeToString())
        records.flush()
