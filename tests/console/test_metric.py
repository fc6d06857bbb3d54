"""Runs whose errors are no percentages, in the console: under their metric's name, without a percent sign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lctui.console.widgets.compare_curves import Curves
from lctui.console.widgets.compare_pareto import Pareto
from lctui.console.widgets.table import LineTable
from lctui.scheme.measure import Measure
from tests.console.conftest import Opened, settled, text_of
from tests.console.test_compare import EIGHT, FOUR, QUICK, cells, compared, in_console
from tests.console.test_compare import text_of as text_of_screen
from tests.console.test_home import line_of, run, select, until

METRIC = "mine.py:miles"


@pytest.fixture
def measured(home: Path) -> Path:
    """Two of the recorded runs, as if their numbers were miles."""
    for name in (EIGHT, FOUR):
        path = home / "runs" / name / "scheme.json"
        scheme = json.loads(path.read_text())
        path.write_text(json.dumps(scheme | {"objective": {"loss": "mse", "metric": METRIC}}))
    return home


def final(home: Path, name: str, split: str = "test") -> str:
    """A run's last number of a split, with four significant digits."""
    value = json.loads((home / "runs" / name / "result.json").read_text())["final"][f"{split}_error_pct"]
    return f"{value:.4g}"


def test_the_list_the_card_and_the_run_view_say_which_metric(console: Opened, measured: Path) -> None:
    async def test() -> None:
        async with console() as pilot:
            cells_of_line = line_of(pilot, "k/0.k=8").split()
            assert final(measured, EIGHT) in cells_of_line
            assert f"{float(final(measured, EIGHT)):.2f}" not in cells_of_line
            await select(pilot, EIGHT)
            await until(pilot, lambda: "miles" in text_of(pilot))
            assert "error %" not in text_of(pilot)
            await pilot.press("enter")
            await settled(pilot)
            await until(pilot, lambda: "1 miles" in text_of(pilot))
            await pilot.press("5")
            await until(pilot, lambda: "step 15/15" in text_of(pilot))
            assert "error %" not in text_of(pilot)

    run(test())


@in_console
async def test_runs_of_one_metric_are_compared_by_it(measured: Path) -> None:
    async with compared(measured, [EIGHT, FOUR]) as (screen, pilot):
        assert screen.query_one(Curves).metric.title == "validation miles"
        assert cells(screen.query_one(Curves).query_one(LineTable), EIGHT)[3] == final(measured, EIGHT, "validation")
        await pilot.press("2")
        assert "test miles, final" in text_of_screen(screen)
        figure = screen.exportable()
        assert figure is not None and figure.figure is not None and figure.figure.y_title == "test miles"
        table = screen.query_one(Pareto).query_one(LineTable)
        await pilot.press("a")
        assert {row.key for row in table.rows} == {EIGHT, FOUR}, "no wrong classes beside miles"
        await pilot.press("3")
        assert "error %" not in text_of_screen(screen)
        assert "test miles" in text_of_screen(screen)


@in_console
async def test_runs_of_two_metrics_stand_under_no_name(measured: Path) -> None:
    async with compared(measured, [EIGHT, QUICK]) as (screen, _):
        assert screen.query_one(Curves).metric.title == Measure(None).title("validation") == "validation metric"
        assert "validation metric" in text_of_screen(screen) and "error %" not in text_of_screen(screen)
