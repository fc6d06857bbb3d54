"""Tables as files: what was measured comes back from them unchanged."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput
from lctui.export.files import export_runs
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
STEMS = ("error", "gap", "pareto")
TWINS = ["abcd-x", "wxyz-x"]
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
    assert [file.name for file in written][:3] == [f"{table}.{format_}" for table in ("runs", "tasks", "steps")]
    assert [file.name for file in written][3:] == (["long.csv"] if format_ == "csv" else [])
    (row,) = rows_of(written[0])
    for block in ("reference", "direct", "final", "best"):
        for name, value in RESULT[block].items():
            assert row[f"{block}_{name}"] == value, (block, name)
    assert (row["id"], row["name"], row["status"], row["seed"]) == ("abcd-x", NAME, "finished", 3)
    assert (row["model"], row["data"], row["seconds"], row["threads"]) == ("lenet5", "mnist", 12.5, 2)
    assert row["data_sha256"] is None


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_tasks_and_steps_come_back_exactly(format_: str, run: Run, tmp_path: Path) -> None:
    _, tasks, steps = (rows_of(file) for file in export_runs([run], tmp_path / "out", [format_])[:3])
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
    runs, tasks, steps = (rows_of(file) for file in export_runs([run, empty], tmp_path / "out", ["csv"])[:3])
    assert [row["id"] for row in runs] == ["abcd-x", "efgh-empty"]
    assert runs[1]["status"] == "crashed"
    assert runs[1]["final_test_error_pct"] is None
    assert len(tasks) == 3
    assert len(steps) == 2


def test_both_formats_say_the_same(run: Run, tmp_path: Path) -> None:
    files = export_runs([run], tmp_path / "out", ["csv", "json"])
    assert [file.name for file in files[6:]] == ["long.csv"]
    for table, other in zip(files[:3], files[3:6], strict=True):
        assert rows_of(table) == rows_of(other)


def test_a_runs_without_steps_still_make_a_table(empty: Run, tmp_path: Path) -> None:
    _, tasks, steps, numbers = export_runs([empty], tmp_path / "out", ["csv"])
    assert rows_of(numbers) == []
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
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "long.csv",
        "runs.csv",
        "steps.csv",
        "tasks.csv",
    ]


def test_a_paper_gets_fewer_columns_and_digits(run: Run, tmp_path: Path) -> None:
    runs, tasks, steps = (path.read_text() for path in export_runs([run], tmp_path / "out", ["md"]))
    head, _, row = (split_row(line) for line in runs.splitlines()[2:])
    assert dict(zip(head, row, strict=True)) == {
        "run": NAME,
        "model": "lenet5",
        "data": "mnist",
        "reference test (%)": "0.51",
        "direct test (%)": "50.00",
        "train (%)": "0.30",
        "validation (%)": "0.33",
        "test (%)": "0.51",
        "parameters": "10,334",
        "bytes": "45,433",
        "ratio": "37.7",
        "FLOPs ratio": "2.50",
    }
    # One run is named above the table; a column that no task fills is left out.
    assert tasks.startswith(f"{NAME}: tasks\n")
    assert [split_row(line) for line in tasks.splitlines()[2:]][0::2] == [
        ["layers", "type", "parameters", "bits", "non-zeros", "rank", "codebook"],
        ["conv1 conv2", "prune", "104", "3,968", "104", "–", "–"],
        ["fc2", "low\\_rank", "0", "0", "–", "0", "–"],
    ]
    assert split_row(steps.splitlines()[4]) == ["1", "5.75e-05", "0.30", "0.33", "0.51", "37.7"]


def test_runs_of_one_name_are_told_apart_by_their_ids(run: Run, tmp_path: Path) -> None:
    twin = Run(shutil.copytree(run.folder, tmp_path / "runs" / "wxyz-x"))
    runs, tasks, _ = (path.read_text() for path in export_runs([run, twin], tmp_path / "out", ["md"]))
    assert [split_row(line)[0] for line in runs.splitlines()[4:]] == TWINS
    assert [split_row(line)[0] for line in tasks.splitlines()[4:]] == [twin for twin in TWINS for _ in range(3)]


def split_row(line: str) -> list[str]:
    """The cells of a line of a pipe table that escapes no pipe."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_latex_of_every_table_closes_what_it_opens(run: Run, tmp_path: Path) -> None:
    for path in export_runs([run], tmp_path / "out", ["tex"]):
        lines = path.read_text().splitlines()
        width = len(lines[2].removeprefix(r"\begin{tabular}{").removesuffix("}"))
        body = [line for line in lines if line.endswith(r"\\")]
        assert len(body) == 1 + {"runs": 1, "tasks": 3, "steps": 2}[path.stem]
        assert {line.count(" & ") + 1 for line in body} == {width}
        assert lines[-1] == r"\end{tabular}"


def test_figures_are_formats_too(run: Run, empty: Run, tmp_path: Path) -> None:
    """One run: errors and gap; several: error against ratio as well; runs without a step are left out."""
    one = export_runs([run, empty], tmp_path / "one", ["svg", "json"], ["curve"])
    assert [path.name for path in one] == ["runs.json", "tasks.json", "steps.json", "error.svg", "gap.svg"]
    twin = Run(shutil.copytree(run.folder, tmp_path / "runs" / "wxyz-x"))
    two = export_runs([run, twin], tmp_path / "two", ["png", "svg"], ["curve", "pareto"])
    assert [path.name for path in two] == [f"{stem}.{name}" for name in ("png", "svg") for stem in STEMS]
    assert all(path.stat().st_size > 1000 for path in one[3:] + two)


def test_nothing_to_draw_is_said_before_anything_is_written(empty: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        export_runs([empty], tmp_path / "out", ["csv", "png"])
    assert caught.value.lines() == ["--format: nothing can be drawn of efgh-empty: no LC step yet"]
    assert not (tmp_path / "out").exists()
