"""All numbers of some runs as tidy data: one a row, to be filtered, pivoted and joined by pandas or R.

Owns what stands in `long.csv`.  Rounds nothing; codebooks, which are lists, are in the table of tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lctui.export.formats import Column, Table
from lctui.export.tables import layers_of, object_of, tasks_of
from lctui.export.training import reference_epochs
from lctui.runs.store import Run

Row = dict[str, Any]

_COLUMNS = ("run", "name", "seed", "stage", "step", "split", "layers", "quantity", "value")
_STAGES = {"reference_finished": "reference", "direct_compression": "direct", "step": "step"}
_ERROR = "_error_pct"
_NO_QUANTITIES = {"step", "epoch", "epochs", "steps", "unix_time"}


def long_table(runs: Sequence[Run]) -> Table:
    """A row a number: of which run, which net of it, which images or layers, what, and the number.

    `stage` is `training` (of the reference; `step` is the epoch), `reference`, `direct` (step 0), `step`, or `run` for
    what only the whole run has.  `split` names the images of an error, `layers` the task that a number is of; numbers
    of the whole net have neither.
    """
    rows = [row for run in runs for row in long_rows(run)]
    return Table.of("numbers", [Column(name) for name in _COLUMNS], rows)


def long_rows(run: Run) -> Iterator[Row]:
    """A run's numbers, in the order of its log."""
    who: Row = {"run": run.id, "name": run.summary()["name"], "seed": run.read("scheme.json").get("seed")}
    for epoch in reference_epochs(run):
        yield from _numbers(who | {"stage": "training", "step": epoch.get("epoch")}, epoch)
    for event in run.events():
        if stage := _STAGES.get(event["event"]):
            where = who | {"stage": stage, "step": 0 if stage == "direct" else event.get("step")}
            yield from _numbers(where, event)
            for task in tasks_of(event):
                yield from _numbers(where | {"layers": layers_of(task)}, task)
    result = run.read("result.json")
    final, best = object_of(result, "final"), object_of(result, "best")
    whole = {"seconds": result.get("seconds"), "artifact_bytes": final.get("artifact_bytes")}
    yield from _numbers(who | {"stage": "run"}, whole | {"best_step": best.get("step")})


def _numbers(where: Row, record: Mapping[str, Any]) -> Iterator[Row]:
    for name, value in record.items():
        if name in _NO_QUANTITIES or not isinstance(value, int | float) or isinstance(value, bool):
            continue
        split = name.removesuffix(_ERROR) if name.endswith(_ERROR) else None
        yield where | {"split": split, "quantity": _ERROR[1:] if split else name, "value": value}
