"""Tables of runs: which there are, and what stands in their columns.

`runs` has a row a run, `tasks` a row a task of a run, `steps` a row an LC step.  A cell without a value stays empty.
Readers of Markdown and LaTeX get the columns that a paper would print, programs get all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from lctui.export.formats import Column, Form, Table, error_column
from lctui.runs.follow import MOST_TASKS
from lctui.runs.log import finite
from lctui.runs.store import Run
from lctui.scheme.measure import Measure

Row = dict[str, Any]

_ERRORS = ("train_error_pct", "validation_error_pct", "test_error_pct")
_SIZES = ("compressed_parameters", "compressed_bits", "compression_ratio", "flops", "flops_ratio", "artifact_bytes")

_RUN_HEADINGS = {
    "model": "model",
    "data": "data",
    "reference_test_error_pct": "reference test",
    "direct_test_error_pct": "direct test",
    "final_train_error_pct": "train",
    "final_validation_error_pct": "validation",
    "final_test_error_pct": "test",
    "final_compressed_parameters": "parameters",
    "final_artifact_bytes": "bytes",
    "final_compression_ratio": "ratio",
    "final_flops_ratio": "FLOPs ratio",
}
_TASK_HEADINGS = {
    "layers": "layers",
    "type": "type",
    "nonzeros": "non-zeros",
    "rank": "rank",
    "codebook_size": "codebook",
    "parameters": "parameters",
    "bits": "bits",
}
_STEP_HEADINGS = {
    "step": "step",
    "mu": "μ",
    "gap": "gap",
    "loss": "loss",
    "train_error_pct": "train",
    "validation_error_pct": "validation",
    "test_error_pct": "test",
    "compression_ratio": "ratio",
}
_COUNTS = (
    "parameters",
    "bits",
    "bytes",
    "flops",
    "nonzeros",
    "size",
    "rank",
    "step",
    "steps",
    "threads",
    "groups_kept",
)
_NUMBERS = ("mu", "lr", "loss", "penalty", "gap", "relative_gap", "seconds")


def run_tables(runs: Sequence[Run]) -> dict[str, Table]:
    """The tables of some runs, by file stem."""
    return {"runs": runs_table(runs), "tasks": tasks_table(runs), "steps": steps_table(runs)}


def runs_table(runs: Sequence[Run]) -> Table:
    """A row a run: what it is, its reference, its result, and where the numbers come from."""
    return _table("runs", [run_row(run) for run in runs], _RUN_HEADINGS | _run_heading(runs), measure_of(runs))


def tasks_table(runs: Sequence[Run]) -> Table:
    """A row a task of a run, as the last step left it."""
    return _by_run(runs, "tasks", [row for run in runs for row in task_rows(run)], _TASK_HEADINGS)


def steps_table(runs: Sequence[Run]) -> Table:
    """A row an LC step of a run."""
    return _by_run(runs, "LC steps", [row for run in runs for row in step_rows(run)], _STEP_HEADINGS)


def object_of(record: Mapping[str, Any], name: str) -> Row:
    """A field that is an object; files of a run may be broken."""
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def list_of(record: Mapping[str, Any], name: str) -> list[Any]:
    """A field that is a list."""
    found = record.get(name)
    return found if isinstance(found, list) else []


def tasks_of(record: Mapping[str, Any]) -> list[Row]:
    """What a result or an event says of the tasks."""
    return [task for task in list_of(record, "layers")[:MOST_TASKS] if isinstance(task, dict)]


def layers_of(task: Row) -> str:
    """A task's layers, in one cell."""
    return " ".join(name for name in list_of(task, "layers") if isinstance(name, str))


def _cells(row: Row) -> Row:
    """What can stand in a cell; nothing where a file has a list, an object or no float's number in a number's place."""
    return {
        name: value if isinstance(value, str | bool | float) or isfinite(finite(value)) else None
        for name, value in row.items()
    }


def run_labels(runs: Sequence[Run]) -> list[str]:
    """What a reader calls each run: its name, or its id where names repeat."""
    return [run.id if "id" in _run_heading(runs) else run.summary()["name"] for run in runs]


def run_row(run: Run) -> Row:
    """A run in one row: what it is, its reference, its result, and where the numbers come from."""
    summary, meta, result = run.summary(), run.read("meta.json"), run.read("result.json")
    scheme, data = run.read("scheme.json"), run.read("scheme.json").get("data")
    row: Row = {name: summary[name] for name in ("id", "name", "status", "model")}
    row |= {"data": data.get("name") if isinstance(data, dict) else None, "seed": scheme.get("seed")}
    for block in ("reference", "direct", "final", "best"):
        values = object_of(result, block)
        names = [*_ERRORS, *(_SIZES if block != "reference" else ("parameters", "bits"))]
        row |= {f"{block}_{name}": values.get(name) for name in names if block == "final" or name != "artifact_bytes"}
    row |= {"best_step": object_of(result, "best").get("step"), "seconds": result.get("seconds")}
    row |= {"metric": summary["metric"]}
    row |= {name: meta.get(name) for name in ("lctui", "torch", "device_name", "threads", "data_sha256")}
    return _cells(row)


def task_rows(run: Run) -> list[Row]:
    """A run's tasks, as the last step left them."""
    rows, name = [], run.summary()["name"]
    for task in tasks_of(run.read("result.json")):
        row: Row = {"id": run.id, "name": name, "layers": layers_of(task)}
        row |= {name: task.get(name) for name in ("type", "parameters", "bits", "nonzeros", "rank")}
        codebook = list_of(task, "codebook")
        row |= {"codebook": " ".join(map(repr, codebook)) or None, "codebook_size": len(codebook) or None}
        rows.append(_cells(row))
    return rows


def step_rows(run: Run) -> list[Row]:
    """A run's LC steps, from its events."""
    name = run.summary()["name"]
    first, skipped = ("step", "steps", "mu"), ("event", "time", "layers")
    return [
        {"id": run.id, "name": name, **_cells({name: event.get(name) for name in first})}
        | _cells({name: value for name, value in event.items() if name not in skipped})
        for event in run.events()
        if event["event"] == "step"
    ]


def _run_heading(runs: Sequence[Run]) -> dict[str, str]:
    names = [run.summary()["name"] for run in runs]
    return {"name" if len(set(names)) == len(names) else "id": "run"}


def _by_run(runs: Sequence[Run], what: str, rows: list[Row], headings: dict[str, str]) -> Table:
    """Of one run, the title says which it is; of several, a column does."""
    if len(runs) == 1:
        return _table(f"{runs[0].summary()['name']}: {what}", rows, headings, measure_of(runs))
    return _table(what, rows, headings | _run_heading(runs), measure_of(runs))


def measure_of(runs: Sequence[Run]) -> Measure:
    """What the errors of some runs are."""
    return Measure.common(Measure(run.summary()["metric"]) for run in runs)


def _table(title: str, rows: list[Row], headings: dict[str, str], measure: Measure) -> Table:
    """Every name in the rows is a column; a reader gets those that have a heading, and a value in some row."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(headings)
    filled = {name for row in rows for name, value in row.items() if value is not None} if rows else set(headings)
    columns = []
    for name in names:
        heading, detail = headings.get(name, ""), name not in headings or name not in filled
        error = name.endswith("_pct") and heading
        columns.append(
            error_column(name, heading, measure, detail=detail)
            if error
            else Column(name, heading, _form(name), detail=detail)
        )
    return Table.of(title, columns, rows)


def _form(name: str) -> Form:
    if name.endswith("_pct"):
        return "percent"
    if name.endswith("_ratio"):
        return "ratio"
    if name in _NUMBERS:
        return "number"
    return "count" if name.endswith(_COUNTS) else "text"
