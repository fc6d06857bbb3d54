"""The report of a study whose errors are no percentages: a regression's, by a metric of one's own."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from tests.conftest import Cli, made_once

CODE = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))

def data():
    x = torch.randn(80, 6)
    y = torch.sin(x[:, :2]) + 0.5 * x[:, 2:4]
    return (x, y), (x[:20] * 0.9, y[:20])

def far_off(outputs, targets):
    return 1000 * (outputs - targets).abs()
"""
PUBLISHED = {"test_error_pct": 200.0, "compression_ratio": 3.0}
STUDY: dict[str, Any] = {
    "version": 1,
    "study": "regression",
    "base": {
        "name": "regression",
        "model": {"factory": "mine.py:net"},
        "data": {"name": "mine.py:data", "validation": 0.2},
        "objective": {"loss": "mse", "metric": "mine.py:far_off"},
        "reference": {"epochs": 3, "batch_size": 16, "lr": 0.1},
        "lc": {"mu": {"start": 0.05, "factor": 3.0, "steps": 2}},
        "l_step": {"epochs": 1, "batch_size": 16, "lr": 0.05},
    },
    "search": [{"reference.batch_size": [8, 16]}],
    "seeds": [0, 1],
    "variants": [
        {"name": f"k={k}", "set": {"compress": [{"layers": ["*"], "how": {"type": "quantize", "k": k}}]}, **more}
        for k, more in ((2, {"published": PUBLISHED}), (8, {}))
    ],
    "report": {
        "title": "A regression",
        "tables": [{"name": "all", "title": "All", "rows": ["*"]}],
        "figures": [
            {"name": "front", "title": "Front", "plot": "pareto", "rows": ["*"]},
            {"name": "training", "title": "Training", "plot": "reference", "rows": ["*"]},
            {"name": "steps", "title": "Steps", "plot": "curve", "rows": ["*"]},
            {"name": "right", "title": "Right", "plot": "accuracy", "rows": ["*"]},
            {"name": "mistakes", "title": "Mistakes", "plot": "confusion", "rows": ["*"]},
        ],
    },
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run and exported by the real program."""

    def make(folder: Path) -> None:
        (folder / "mine.py").write_text(CODE)
        (folder / "study.json").write_text(json.dumps(STUDY))
        lctui = Cli(folder / "home")
        for arguments in (
            ("--run", folder / "study.json", "--quiet"),
            ("export", "regression", "--to", folder / "out", "--format", "csv,md,svg"),
        ):
            done = lctui(*arguments)
            assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "regression-study", make)


@pytest.fixture
def report(folder: Path) -> str:
    return (folder / "out/report.md").read_text()


@pytest.fixture
def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "out/rows.csv").open() as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def finals(folder: Path, k: int) -> list[float]:
    """The test metric of the runs with k, as their results have it."""
    found = []
    for path in sorted((folder / "home/runs").iterdir()):
        tasks = json.loads((path / "scheme.json").read_text())["compress"]
        if tasks and tasks[0]["how"]["k"] == k:
            found.append(json.loads((path / "result.json").read_text())["final"]["test_error_pct"])
    return found


@pytest.mark.parametrize("k", [2, 8])
def test_means_and_deviations_are_written_by_the_metric(
    folder: Path, report: str, rows: dict[str, dict[str, str]], k: int
) -> None:
    values = finals(folder, k)
    assert len(values) == 2
    assert rows[f"k={k}"]["metric"] == "far_off"
    assert float(rows[f"k={k}"]["test_error_pct_mean"]) == pytest.approx(mean(values))
    assert f"{mean(values):.4g} ± {stdev(values):.4g}" in report


def test_every_run_is_listed_with_its_metric(folder: Path) -> None:
    with (folder / "out/runs.csv").open() as file:
        assert [row["metric"] for row in csv.DictReader(file)] == ["far_off"] * 6


def test_the_report_speaks_of_the_metric_and_never_of_percent(report: str) -> None:
    assert "%" not in report and "percent" not in report and "points" not in report
    assert r"**Lowest test far\_off**" in report and r"test far\_off |" in report
    assert r"the lowest *validation* far\_off wins" in report
    assert r"Errors are the mean far\_off of a split" in report


def test_close_is_no_higher_than_the_published_number(
    folder: Path, report: str, rows: dict[str, dict[str, str]]
) -> None:
    ours = mean(finals(folder, 2))
    assert rows["k=2"]["close_to_published"] == str(ours <= 200).lower()
    difference = f"{'−' if ours < 200 else '+'}{abs(ours - 200):.4g}"
    assert difference in report
    assert f"in {int(ours <= 200)} of 1 row" in report


def test_figures_of_classes_are_left_out_and_the_others_are_drawn(folder: Path, report: str) -> None:
    for title in ("Right", "Mistakes"):
        assert rf"Not drawn: {title} (its errors are no wrong classes, but far\_off)" in report
    drawn = {path.stem for path in (folder / "out").glob("*.svg")}
    assert drawn == {"front", "training", "steps"}
    for name in drawn:
        words = re.findall(r">([^<>\n]+)<", (folder / f"out/{name}.svg").read_text())
        assert any("far_off" in text for text in words) and not any("%" in text for text in words)


FAR_OFF = {"name": "far", "set": {"objective.metric": "mine.py:far_off", "compress": []}}
OTHER = {"name": "other", "set": {"objective.metric": "mse", "compress": []}}
OF_SEARCH = {"objective": {"loss": "mse", "metric": "mse"}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variants": [*STUDY["variants"], OTHER]}, "mse (such as other)"),
        ({"base": STUDY["base"] | OF_SEARCH, "variants": [FAR_OFF]}, "mse (such as search/1/batch_size=16)"),
    ],
    ids=["rows", "search"],
)
def test_a_report_is_of_one_metric(tmp_path: Path, cli: Callable[..., Any], changes: dict[str, Any], said: str) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "study.json").write_text(json.dumps(STUDY | changes))
    done = cli("export", tmp_path / "study.json", "--to", tmp_path / "out")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "a report is of one metric, this study measures" in line and said in line
    assert not (tmp_path / "out").exists()
