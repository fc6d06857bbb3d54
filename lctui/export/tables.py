"""Tables of runs as files.

Owns which columns there are: `runs` has a row a run, `tasks` a row a task of a run, `steps` a row an LC step.  A cell
without a value stays empty.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lctui.errors import BadInput, not_one_of
from lctui.runs import atomic
from lctui.runs.store import Run

Row = dict[str, Any]

_ERRORS = ("train_error_pct", "validation_error_pct", "test_error_pct")
_SIZES = ("compressed_parameters", "compressed_bits", "compression_ratio", "flops", "flops_ratio", "artifact_bytes")


def export_runs(runs: Sequence[Run], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Writes the tables of some runs into a folder; returns the files.

    Raises:
        BadInput: a format is unknown, or the folder cannot be written to.
    """
    for name in formats:
        if name not in _WRITERS:
            raise BadInput.one("", "--format", not_one_of(name, _WRITERS))
    tables = {
        "runs": [run_row(run) for run in runs],
        "tasks": [row for run in runs for row in task_rows(run)],
        "steps": [row for run in runs for row in step_rows(run)],
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in formats:
            for table, rows in tables.items():
                path = folder / f"{table}.{name}"
                text = _WRITERS[name](rows)
                atomic.replace(path, lambda temporary, text=text: _write(temporary, text))  # type: ignore[misc]
                written.append(path)
    except OSError as error:
        raise BadInput.one(str(folder), "", f"cannot be written to: {error.strerror}") from None
    return written


def run_row(run: Run) -> Row:
    """A run in one row: what it is, its reference, its result, and where the numbers come from."""
    summary, meta, result = run.summary(), run.read("meta.json"), run.read("result.json")
    scheme = run.read("scheme.json")
    row: Row = {name: summary[name] for name in ("id", "name", "status", "model")}
    row |= {"data": (scheme.get("data") or {}).get("name"), "seed": scheme.get("seed")}
    for block in ("reference", "direct", "final", "best"):
        values = result.get(block) or {}
        names = [*_ERRORS, *(_SIZES if block != "reference" else ("parameters", "bits"))]
        row |= {f"{block}_{name}": values.get(name) for name in names if block == "final" or name != "artifact_bytes"}
    row |= {"best_step": (result.get("best") or {}).get("step"), "seconds": result.get("seconds")}
    return row | {name: meta.get(name) for name in ("lctui", "torch", "device_name", "threads", "data_sha256")}


def task_rows(run: Run) -> list[Row]:
    """A run's tasks, as the last step left them."""
    rows = []
    for task in run.read("result.json").get("layers") or ():
        row: Row = {"id": run.id, "name": run.read("scheme.json").get("name"), "layers": " ".join(task["layers"])}
        row |= {name: task.get(name) for name in ("type", "parameters", "bits", "nonzeros", "rank")}
        row["codebook"] = " ".join(repr(value) for value in task.get("codebook", ())) or None
        rows.append(row)
    return rows


def step_rows(run: Run) -> list[Row]:
    """A run's LC steps, from its events."""
    skipped = ("event", "time", "layers")
    return [
        {"id": run.id, **{name: value for name, value in event.items() if name not in skipped}}
        for event in run.events()
        if event["event"] == "step"
    ]


def _csv(rows: list[Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _json(rows: list[Row]) -> str:
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


_WRITERS: dict[str, Callable[[list[Row]], str]] = {"csv": _csv, "json": _json}
