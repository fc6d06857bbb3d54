"""Tidy data: every number of the log is there once, and pivots back into the tables it came from."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from lctui.export.files import export_runs
from lctui.runs.store import Run

ROOT = Path(__file__).parents[2]
RUNS = [Run(path) for path in sorted((ROOT / "tests/data/home/runs").iterdir())]
KEY = ("run", "stage", "step", "split", "layers", "quantity")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """`long.csv` of all recorded runs."""
    folder = tmp_path_factory.mktemp("long")
    export_runs(RUNS, folder, ["csv"])
    with (folder / "long.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_is_one_number_and_no_number_is_there_twice(rows: list[dict[str, str]]) -> None:
    assert list(rows[0]) == ["run", "name", "seed", "stage", "step", "split", "layers", "quantity", "value"]
    assert {row["run"] for row in rows} == {run.id for run in RUNS}
    assert all(json.loads(row["value"]) == float(row["value"]) for row in rows)
    assert Counter(tuple(row[name] for name in KEY) for row in rows).most_common(1)[0][1] == 1


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_steps_pivot_back_into_the_log(run: Run, rows: list[dict[str, str]]) -> None:
    events = [event for event in run.events() if event["event"] in ("step", "direct_compression")]
    for event in events:
        stage, step = ("step", event["step"]) if event["event"] == "step" else ("direct", 0)
        found = {
            f"{row['split']}_{row['quantity']}".lstrip("_"): json.loads(row["value"])
            for row in rows
            if (row["run"], row["stage"], row["step"], row["layers"]) == (run.id, stage, str(step), "")
        }
        numbers = {name: value for name, value in event.items() if isinstance(value, int | float)}
        assert found == {name: value for name, value in numbers.items() if name not in ("step", "steps")}
        for task in event["layers"]:
            (bits,) = (
                row["value"]
                for row in rows
                if (row["run"], row["stage"], row["step"], row["layers"], row["quantity"])
                == (run.id, stage, str(step), " ".join(task["layers"]), "bits")
            )
            assert int(bits) == task["bits"]


def test_the_whole_run_and_its_reference(rows: list[dict[str, str]]) -> None:
    (run,) = (run for run in RUNS if run.id == "eexm-quickstart")
    mine, result = [row for row in rows if row["run"] == run.id], run.read("result.json")
    whole = {row["quantity"]: json.loads(row["value"]) for row in mine if row["stage"] == "run"}
    assert whole == {
        "seconds": result["seconds"],
        "artifact_bytes": result["final"]["artifact_bytes"],
        "best_step": result["best"]["step"],
    }
    reference = {
        (row["split"], row["quantity"]): json.loads(row["value"]) for row in mine if row["stage"] == "reference"
    }
    assert reference[("test", "error_pct")] == result["reference"]["test_error_pct"]
    assert reference[("", "bits")] == result["reference"]["bits"]
    training = [row for row in mine if row["stage"] == "training" and row["split"] == "validation"]
    epochs = [event for event in run.events() if event["event"] == "reference_epoch"]
    assert [json.loads(row["value"]) for row in training] == [epoch["validation_error_pct"] for epoch in epochs]
    assert [int(row["step"]) for row in training] == [epoch["epoch"] for epoch in epochs]
