"""The compare screen on recorded runs: every view by its keys at the sizes that are promised."""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from lctui.console.app import Console
from lctui.console.comparison import METRICS
from lctui.console.screens.compare import CompareScreen
from lctui.console.screens.home import HomeScreen
from lctui.console.widgets.compare_curves import Curves
from lctui.console.widgets.compare_differences import Differences
from lctui.console.widgets.compare_insides import WAIT, Insides
from lctui.console.widgets.compare_pareto import Pareto
from lctui.console.widgets.plot import Plot
from lctui.console.widgets.table import LineTable
from lctui.export.plots import Figure
from tests.conftest import Cli, tiny

HOME = Path(__file__).parent.parent / "data" / "home"
RECORDED = sorted(path.name for path in (HOME / "runs").iterdir())
QUICK, EIGHT, FOUR = "eexm-quickstart", "hhkp-k-0.k=8", "t2u3-k-0.k=4"
SIZES = [(120, 40), (80, 24), (60, 20)]

Screen = tuple[CompareScreen, Pilot[None]]


def in_console(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a test of a coroutine."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))  # type: ignore[arg-type]

    return run


async def until(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 30) -> None:
    """Lets the console go on until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await pilot.pause(0.01)
    await pilot.pause()


@asynccontextmanager
async def compared(
    home: Path, run_ids: list[str], size: tuple[int, int] = (120, 40), **options: Any
) -> AsyncIterator[Screen]:
    """The compare screen in the real console, once every run has been read."""
    app = Console(home, **options)
    app.index.refresh()
    async with app.run_test(size=size) as pilot:
        app.open_compare(run_ids)
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.is_mounted)
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        await until(pilot, lambda: screen.looked_at and screen._painting is None)
        yield screen, pilot
        app.inspection.close()


def text_of(screen: CompareScreen) -> str:
    """What stands on the screen."""
    strips = screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def cells(table: LineTable, key: str) -> list[str]:
    """A row's cells as text."""
    row = next(row for row in table.rows if row.key == key)
    return [str(cell) for cell in row.cells]


@pytest.mark.parametrize("size", [*SIZES, (40, 12)])
@in_console
async def test_every_view_is_drawn_at_every_size(home: Path, size: tuple[int, int]) -> None:
    async with compared(home, RECORDED, size) as (screen, pilot):
        for key, view, words in (
            ("1", Curves, "final"),
            ("2", Pareto, "ratio"),
            ("3", Differences, "model.fact"),
            ("4", Insides, "confusion"),
        ):
            await pilot.press(key)
            await until(pilot, lambda view=view: isinstance(screen.view, view))  # type: ignore[misc]
            text = text_of(screen)
            assert words in text and f"[{key} " in text
            assert all(len(line) == size[0] for line in text.splitlines())
            assert "compare 5 runs" in text
        await pilot.press("tab")
        assert isinstance(screen.view, Curves)
        await pilot.press("shift+tab", "shift+tab")
        assert isinstance(screen.view, Differences)


@in_console
async def test_too_small_a_terminal_is_told_so(home: Path) -> None:
    async with compared(home, RECORDED, (38, 11)) as (screen, pilot):
        assert "40×12" in text_of(screen)
        await pilot.press("2", "3", "4", "space", "p")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "[4 insides]" in text_of(screen))


@in_console
async def test_the_table_reads_what_the_files_say(home: Path) -> None:
    result = json.loads((home / "runs" / QUICK / "result.json").read_text())
    steps = [json.loads(line) for line in (home / "runs" / QUICK / "events.jsonl").read_text().splitlines()]
    third = [event for event in steps if event["event"] == "step"][2]
    async with compared(home, RECORDED) as (screen, pilot):
        view = screen.query_one(Curves)
        await pilot.press("right", "right", "right")
        await until(pilot, lambda: view.query_one(Plot).cursor == 3.0)
        table = view.query_one(LineTable)
        _, name, here, final, best, step, ratio = cells(table, QUICK)
        assert name == "quickstart"
        assert here == f"{third['validation_error_pct']:.2f}"
        assert final == f"{result['final']['validation_error_pct']:.2f}"
        assert best == f"{result['best']['validation_error_pct']:.2f}" and step == str(result["best"]["step"])
        assert ratio == f"{result['final']['compression_ratio']:.1f}×"
        await pilot.press("escape")
        assert cells(table, QUICK)[2] == "" and screen.is_current, "the first escape takes the cursor away"


@in_console
async def test_one_key_goes_through_the_metrics(home: Path) -> None:
    async with compared(home, RECORDED) as (screen, pilot):
        view = screen.query_one(Curves)
        for metric in (*METRICS[1:], METRICS[0]):
            await pilot.press("m")
            assert view.metric is metric
            assert metric.title in text_of(screen)
            assert [list(curve.y) for curve in view.curves()] == [
                list(screen.comparison.runs[run_id].steps.columns[metric.column])  # type: ignore[union-attr]
                for run_id in RECORDED
            ]
        await pilot.press("M")
        assert view.metric is METRICS[-1]


@in_console
async def test_marking_and_pinning_change_what_is_drawn(home: Path) -> None:
    async with compared(home, RECORDED) as (screen, pilot):
        view, app = screen.query_one(Curves), screen.app
        await pilot.press("down", "space")
        hidden = RECORDED[1]
        assert hidden not in screen.comparison.shown and hidden not in app.marked
        assert len(view.curves()) == 4 and cells(view.query_one(LineTable), hidden)[0].strip() == ""
        await pilot.press("space", "p")
        assert app.pinned == hidden and hidden in app.marked
        assert [curve.emphasis for curve in view.curves()] == [run_id == hidden for run_id in RECORDED]
        assert "▲" in cells(view.query_one(LineTable), hidden)[0] and "to b quickstart" in text_of(screen)
        await pilot.press("p")
        assert app.pinned is None


@in_console
async def test_the_front_is_marked_and_walked(home: Path) -> None:
    async with compared(home, RECORDED) as (screen, pilot):
        await pilot.press("2")
        view = screen.query_one(Pareto)
        table = view.query_one(LineTable)
        marked = [row.key for row in table.rows if row.cells[-1]]
        assert marked == [QUICK], "it has the lowest error and the highest ratio of the recorded runs"
        ratios = [float(cells(table, row.key)[3].rstrip("×")) for row in table.rows]
        assert ratios == sorted(ratios)
        await pilot.press("home", "down")
        assert table.cursor == 1
        here = view._points[table.rows[1].key]
        assert view.query_one(Plot).cursor == here.ratio
        before = table.key
        await pilot.press("right")
        assert table.key != before, "the plot's cursor takes the table's along"
        await pilot.press("e")
        assert view.error.column == "train_error_pct" and "train error %, final" in text_of(screen)
        await pilot.press("e", "b")
        assert "validation error %, best step" in text_of(screen)
        best = json.loads((home / "runs" / EIGHT / "result.json").read_text())["best"]
        assert cells(table, EIGHT)[2] == f"{best['validation_error_pct']:.2f}"


@in_console
async def test_other_runs_on_the_same_data_join_on_demand(home: Path) -> None:
    async with compared(home, [EIGHT, FOUR]) as (screen, pilot):
        await pilot.press("2")
        table = screen.query_one(Pareto).query_one(LineTable)
        assert {row.key for row in table.rows} == {EIGHT, FOUR}
        await pilot.press("a")
        assert {row.key for row in table.rows} == set(RECORDED)
        assert "3 other runs" in text_of(screen)
        assert table.go_to(QUICK)
        await pilot.press("space")
        await until(pilot, lambda: screen.comparison.ids == [EIGHT, FOUR, QUICK])
        await until(pilot, lambda: screen.comparison.runs[QUICK].steps is not None)
        await pilot.press("a")
        assert {row.key for row in table.rows} == {EIGHT, FOUR, QUICK}


@in_console
async def test_differences_are_set_off_from_the_pinned_run(home: Path) -> None:
    async with compared(home, [EIGHT, FOUR, "a52y-k-0.k=16"]) as (screen, pilot):
        await pilot.press("3")
        table = screen.query_one(Differences).query_one(LineTable)
        fields = [row.key for row in table.rows if not row.key.startswith("results")]
        assert fields == ["compress.fc1.how.k"]
        assert cells(table, fields[0]) == ["compress.fc1.how.k", "8", "4", "16"]
        assert cells(table, "results.ratio") == ["  ratio", "5.0×", "✓ 5.8×", "4.4×"]
        assert "▶a k/0.k=8" in text_of(screen)
        await pilot.press("right", "p")
        assert cells(table, fields[0])[1] == "4", "the pinned run stands first"
        assert screen.app.pinned == FOUR


@in_console
async def test_runs_that_do_not_fit_are_scrolled_to(home: Path) -> None:
    async with compared(home, RECORDED, (60, 20)) as (screen, pilot):
        await pilot.press("3")
        assert "runs 1–1 of 4" in text_of(screen)
        await pilot.press(*["right"] * 4)
        assert "runs 4–4 of 4" in text_of(screen) and screen.view.in_hand() == RECORDED[-1]
        await pilot.press(*["left"] * 9)
        assert screen.view.in_hand() == RECORDED[0]


@in_console
async def test_everything_in_view_can_be_exported(home: Path) -> None:
    async with compared(home, RECORDED) as (screen, pilot):
        curves = screen.exportable()
        assert curves is not None and curves.figure is not None
        assert len(curves.figure.series) == 5 and len(curves.numbers.rows) == 5 * 15
        await pilot.press("2")
        pareto = screen.exportable()
        assert pareto is not None and pareto.table is not None and pareto.figure is not None
        assert [row[-1] for row in pareto.table.rows].count("yes") == 1
        for figure in (curves.figure, pareto.figure):
            figure.check()
            assert Figure.from_json(figure.to_json()).kind == figure.kind
        await pilot.press("3")
        table = screen.exportable()
        assert table is not None and "compress.conv1.how.kappa" in [row[0] for row in table.numbers.rows]
        assert all(len(row) == 6 for row in table.numbers.rows), "also the runs that do not fit"
        await pilot.press("4")
        assert screen.exportable() is None, "nothing is known of the insides yet"


@in_console
async def test_enter_opens_the_run_and_escape_goes_back(home: Path) -> None:
    async with compared(home, RECORDED) as (screen, pilot):
        opened: list[str] = []
        screen.app.open_run = opened.append  # type: ignore[method-assign]
        await pilot.press("down", "enter")
        await until(pilot, lambda: opened == [RECORDED[1]])
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, HomeScreen)
        await until(pilot, screen._stopped.is_set)


@in_console
async def test_runs_without_files_are_shown_empty(home: Path) -> None:
    (home / "runs" / EIGHT / "scheme.json").write_text("{ torn")
    (home / "runs" / EIGHT / "events.jsonl").unlink()
    (home / "runs" / EIGHT / "result.json").unlink()
    async with compared(home, ["gone-run", EIGHT, QUICK]) as (screen, pilot):
        for key in "1234":
            await pilot.press(key)
        await pilot.press("1")
        table = screen.query_one(Curves).query_one(LineTable)
        assert cells(table, "gone-run")[1] == "gone-run"
        shutil.rmtree(home / "runs" / QUICK)
        await pilot.press("2", "a", "3", "1", "m")
        assert cells(table, QUICK)[1] == "quickstart"


@in_console
async def test_plain_ascii_is_ascii(home: Path) -> None:
    async with compared(home, RECORDED, ascii_only=True) as (screen, pilot):
        for key in "1234":
            await pilot.press(key)
            await pilot.press("p")
            body = "\n".join(line for line in text_of(screen).splitlines() if not set(line) & set("╭╮│╰╯"))
            assert body.isascii(), [sign for sign in body if not sign.isascii()]


@in_console
async def test_the_help_names_the_keys_of_a_view(home: Path) -> None:
    async with compared(home, RECORDED) as (_, pilot):
        await pilot.press("2")
        await pilot.press("question_mark")
        await until(pilot, lambda: "all comparable runs" in text_of(pilot.app.screen))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small run, compressed by the real program."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "scheme.json").write_text(json.dumps(tiny()))
    assert Cli(folder / "home")("--run", folder / "scheme.json").returncode == 0
    return folder / "home"


@pytest.mark.parametrize("size", [(120, 40), (60, 20)])
@in_console
async def test_insides_of_a_real_run(finished: Path, size: tuple[int, int]) -> None:
    (run_id,) = (path.name for path in (finished / "runs").iterdir())
    result = json.loads((finished / "runs" / run_id / "result.json").read_text())
    async with compared(finished, [run_id], size) as (screen, pilot):
        await pilot.press("4")
        view = screen.query_one(Insides)
        assert WAIT.split(";")[0] in " ".join(text_of(screen).split())
        await until(pilot, lambda: not isinstance(view._answer("weights"), str))
        await until(pilot, lambda: not isinstance(view._answer("confusion"), str))
        assert f"{result['final']['test_error_pct']:.2f} % wrong" in text_of(screen)
        figure = screen.exportable()
        assert figure is not None and figure.figure is not None and figure.figure.classes == ("3", "8")
        await pilot.press("w")
        await until(pilot, lambda: "fc1: 5,000 non-zeros" in text_of(screen))
        table = view.query_one(LineTable)
        assert cells(table, "fc1")[2:] == ["prune", "5,000"]
        await pilot.press("down", "down")
        await until(pilot, lambda: "weights by codebook value, 4 values" in text_of(screen))
        chart = screen.exportable()
        assert chart is not None and chart.figure is not None
        chart.figure.check()
        assert sum(chart.figure.series[0].y) == 200
        await pilot.press("v")
        await until(pilot, lambda: "non-zeros of 200" in text_of(screen))


@in_console
async def test_a_run_without_a_compressed_net_says_so(home: Path) -> None:
    async with compared(home, [EIGHT, FOUR]) as (screen, pilot):
        await pilot.press("4", "right_square_bracket")
        assert screen.view.in_hand() == FOUR
        await until(pilot, lambda: "has no compressed net yet" in " ".join(text_of(screen).split()))
