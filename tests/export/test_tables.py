"""Tables as files: what was measured comes back from them unchanged."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput
from lctui.export.tables import export_runs
from lctui.runs import atomic
from lctui.runs.store import Run

ERRORS = {"train_error_pct": 0.1 + 0.2, "validation_error_pct": 1 / 3, "test_error_pct": 0.51}
SIZES = {
    "compressed_parameters": 10334,
    "compressed_bits": 363_464,
    "compression_ratio": 37.73248519798384,
    "flops": 123_456_789_012,
    "flops_ratio": 2.5,
}
NAME = 'a "quoted", name; ünïcödé 网络'
RESULT: dict[str, Any] = {
    "status": "finished",
    "seconds": 12.5,
    "reference": ERRORS | {"parameters": 428_575, "bits": 13_714_400},
    "direct": ERRORS | SIZES | {"test_error_pct": 50.0},
    "final": ERRORS | SIZES | {"artifact_bytes": 45_433},
    "best": ERRORS | SIZES | {"step": 12},
    "layers": [
        {"layers": ["conv1", "conv2"], "type": "prune", "parameters": 104, "bits": 3968, "nonzeros": 104},
        {"layers": ["fc1"], "type": "quantize", "parameters": 5, "bits": 7, "codebook": [-0.1, 1e-30, 1 / 3]},
        {"layers": ["fc2"], "type": "low_rank", "parameters": 0, "bits": 0, "rank": 0},
    ],
}
STEPS = [{"event": "step", "time": "t", "step": n, "mu": 5e-5 * 1.15**n, "layers": []} | ERRORS | SIZES for n in (1, 2)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "abcd-x")
    run.folder.mkdir(parents=True)
    scheme = {"name": NAME, "seed": 3, "model": {"factory": "lenet5"}, "data": {"name": "mnist"}}
    atomic.write_json(run.file("scheme.json"), scheme)
    atomic.write_json(run.file("status.json"), {"state": "finished"})
    atomic.write_json(run.file("meta.json"), {"lctui": "0.1.0", "torch": "2.6.0", "threads": 2})
    atomic.write_json(run.file("result.json"), RESULT)
    run.file("events.jsonl").write_text("".join(json.dumps(step) + "\n" for step in STEPS))
    return run


@pytest.fixture
def empty(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "efgh-empty")
    run.folder.mkdir(parents=True)
    return run


def rows_of(file: Path) -> list[dict[str, Any]]:
    """A table's rows, cells of CSV turned back into numbers where they are some."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return list(json.loads(text))

    def value(cell: str) -> Any:
        try:
            return json.loads(cell)
        except ValueError:
            return cell or None

    return [{name: value(cell) for name, cell in row.items()} for row in csv.DictReader(text.splitlines())]


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_a_runs_numbers_come_back_exactly(format_: str, run: Run, tmp_path: Path) -> None:
    written = export_runs([run], tmp_path / "out", [format_])
    assert [file.name for file in written] == [f"{table}.{format_}" for table in ("runs", "tasks", "steps")]
    (row,) = rows_of(written[0])
    for block in ("reference", "direct", "final", "best"):
        for name, value in RESULT[block].items():
            assert row[f"{block}_{name}"] == value, (block, name)
    assert (row["id"], row["name"], row["status"], row["seed"]) == ("abcd-x", NAME, "finished", 3)
    assert (row["model"], row["data"], row["seconds"], row["threads"]) == ("lenet5", "mnist", 12.5, 2)
    assert row["data_sha256"] is None


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_tasks_and_steps_come_back_exactly(format_: str, run: Run, tmp_path: Path) -> None:
    _, tasks, steps = (rows_of(file) for file in export_runs([run], tmp_path / "out", [format_]))
    assert [row["layers"] for row in tasks] == ["conv1 conv2", "fc1", "fc2"]
    assert [row["bits"] for row in tasks] == [3968, 7, 0]
    assert [row["nonzeros"] for row in tasks] == [104, None, None]
    assert [row["rank"] for row in tasks] == [None, None, 0]
    assert [float(value) for value in tasks[1]["codebook"].split()] == [-0.1, 1e-30, 1 / 3]
    assert [row["step"] for row in steps] == [1, 2]
    for row, event in zip(steps, STEPS, strict=True):
        assert row.items() >= {name: event[name] for name in ("mu", *ERRORS, *SIZES)}.items()
        assert row["id"] == "abcd-x"


def test_runs_share_a_table_even_if_some_have_nothing(run: Run, empty: Run, tmp_path: Path) -> None:
    runs, tasks, steps = (rows_of(file) for file in export_runs([run, empty], tmp_path / "out", ["csv"]))
    assert [row["id"] for row in runs] == ["abcd-x", "efgh-empty"]
    assert runs[1]["status"] == "crashed"
    assert runs[1]["final_test_error_pct"] is None
    assert len(tasks) == 3
    assert len(steps) == 2


def test_both_formats_say_the_same(run: Run, tmp_path: Path) -> None:
    files = export_runs([run], tmp_path / "out", ["csv", "json"])
    for table, other in zip(files[:3], files[3:], strict=True):
        assert rows_of(table) == rows_of(other)


def test_a_runs_without_steps_still_make_a_table(empty: Run, tmp_path: Path) -> None:
    _, tasks, steps = export_runs([empty], tmp_path / "out", ["csv"])
    assert rows_of(tasks) == []
    assert rows_of(steps) == []


def test_an_unknown_format_is_refused_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        export_runs([run], tmp_path / "out", ["csv", "jsn"])
    (line,) = caught.value.lines()
    assert line.startswith("--format: 'jsn' is not known; did you mean 'json'?")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["out", "out/below"])
def test_a_folder_that_cannot_be_written_is_refused(where: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(BadInput) as caught:
        export_runs([run], tmp_path / where, ["csv"])
    (line,) = caught.value.lines()
    assert line.startswith(f"{tmp_path / where}: cannot be written to: ")
    assert (tmp_path / "out").read_text() == "a file"


def test_an_older_table_is_replaced_whole(run: Run, empty: Run, tmp_path: Path) -> None:
    export_runs([run, empty], tmp_path / "out", ["csv"])
    export_runs([empty], tmp_path / "out", ["csv"])
    assert [row["id"] for row in rows_of(tmp_path / "out" / "runs.csv")] == ["efgh-empty"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["runs.csv", "steps.csv", "tasks.csv"]
