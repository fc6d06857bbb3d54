"""Home and run view on recorded runs: what stands there, what keys do, and bad states that are shown."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from lctui.console.app import Console
from lctui.console.screens.help import HelpScreen
from lctui.console.screens.home import HomeScreen
from lctui.console.screens.run import RunScreen
from lctui.console.settings import load_settings, settings_file
from lctui.console.widgets.plot import Plot
from lctui.console.widgets.table import LineTable
from lctui.runs.locks import Lock
from tests.console.conftest import Opened, settled, text_of

SIZES = [(120, 40), (80, 24), (60, 20)]
QUICKSTART = "eexm-quickstart"


def run(test: Any) -> None:
    """Runs an async test."""
    asyncio.run(test)


def table_of(pilot: Pilot[None]) -> LineTable:
    """The list of runs."""
    return pilot.app.screen.query_one("#runs", LineTable)


def line_of(pilot: Pilot[None], words: str) -> str:
    """The list's line with these words."""
    return next(line for line in text_of(pilot).splitlines() if line.startswith("│") and words in line)


async def select(pilot: Pilot[None], run_id: str) -> None:
    """Moves the cursor to a run."""
    assert table_of(pilot).go_to(run_id)
    await pilot.pause()


async def until(pilot: Pilot[None], condition: Any) -> None:
    """Lets the console work until a condition holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, text_of(pilot)
        await asyncio.sleep(0.05)  # the pilot's own pause waits for an idle processor: a toast would be gone


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_home_lists_the_runs_with_their_figures(console: Opened, width: int, height: int) -> None:
    async def test() -> None:
        async with console(width, height) as pilot:
            shown = text_of(pilot)
            line = line_of(pilot, "quickstart")
            assert "2.90" in line and "21.8×" in line and "✓" in line
            assert "k/ternary" in shown
            assert "n new" in shown

    run(test())


def test_the_card_shows_the_selected_run(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await until(pilot, lambda: all(text in text_of(pilot) for text in ("best @14", "79.3 KB", "rank 10")))
            card = [line.split("│")[-2].split() for line in text_of(pilot).splitlines()[3:8]]
            assert ["reference", "0.00", "2.25", "2.70"] in card

    run(test())


def test_filter_narrows_the_list_and_is_kept(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            await pilot.press("slash", *"ratio>5.5 and test<5.65")
            await pilot.pause()
            assert [row.key for row in table_of(pilot).rows] == ["t2u3-k-0.k=4", QUICKSTART]
            await pilot.press("enter")
            assert table_of(pilot).has_focus
        assert load_settings().filter == "ratio>5.5 and test<5.65"
        async with console() as pilot:
            assert len(table_of(pilot).rows) == 2
            await pilot.press("escape")
            await pilot.pause()
            assert len(table_of(pilot).rows) == 5

    run(test())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_is_typed_into_the_filter_is_seen(console: Opened, width: int, height: int) -> None:
    async def test() -> None:
        async with console(width, height) as pilot:
            await pilot.press("slash", *"ratio>")
            await pilot.pause()
            assert "ratio>" in text_of(pilot)

    run(test())


def test_a_filter_that_cannot_be_read_says_so_and_the_last_one_holds(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            await pilot.press("slash", *"quick")
            await pilot.press(*" (")
            await pilot.pause()
            assert [row.key for row in table_of(pilot).rows] == [QUICKSTART]
            assert "✗" in text_of(pilot)

    run(test())


def test_marks_and_pin_survive_scrolling_and_sorting(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await pilot.press("p", "space")
            assert pilot.app.marked == [QUICKSTART] and pilot.app.pinned == QUICKSTART  # type: ignore[attr-defined]
            await pilot.press("o", "o")
            await pilot.pause()
            errors = [float(str(row.cells[3])) for row in table_of(pilot).rows]
            assert errors == sorted(errors)
            assert "by error" in text_of(pilot)
            line = line_of(pilot, "quickstart")
            assert "◆" in line and "▲" in line

    run(test())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_run_view_shows_figures_curves_and_tasks(console: Opened, width: int, height: int) -> None:
    async def test() -> None:
        async with console(width, height) as pilot:
            await select(pilot, QUICKSTART)
            await pilot.press("enter")
            await settled(pilot)
            await until(pilot, lambda: "best @14" in text_of(pilot))
            shown = text_of(pilot)
            assert "21.8×" in shown and "2.50" in shown
            plot = pilot.app.screen.query_one("#errors Plot", Plot)
            assert [curve.name for curve in plot.curves] == ["train", "validation", "test"]
            assert plot.curves[2].y[-1] == 2.9
            await pilot.press("4")
            await until(pilot, lambda: "5,000 non-zeros" in text_of(pilot))
            await pilot.press("5")
            await until(pilot, lambda: "step 15/15" in text_of(pilot))
            await pilot.press("escape")
            assert isinstance(pilot.app.screen, HomeScreen)

    run(test())


def test_cursors_of_the_plots_move_together(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await pilot.press("enter")
            await settled(pilot)
            await pilot.press("1", "end")
            await pilot.pause()
            cursors = {plot.id or plot.parent.id: plot.cursor for plot in pilot.app.screen.query(Plot)}  # type: ignore[union-attr]
            assert set(cursors.values()) == {15.0}

    run(test())


def test_help_names_every_visible_key(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            visible = pilot.app.screen.query_one("KeyBar").keys()  # type: ignore[attr-defined]
            await pilot.press("question_mark")
            await pilot.pause()
            assert isinstance(pilot.app.screen, HelpScreen)
            shown = text_of(pilot)
            assert visible and all(words in shown for _, _, words in visible)
            await pilot.press("escape")
            assert isinstance(pilot.app.screen, HomeScreen)

    run(test())


def test_no_action_needs_a_chord(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await pilot.press("enter")
            for screen in pilot.app.screen_stack[1:]:
                actions: dict[str, list[str]] = {}
                for key, bindings in screen._bindings.key_to_bindings.items():
                    for binding in bindings:
                        actions.setdefault(binding.action, []).append(key)
                assert not [a for a, keys in actions.items() if all("ctrl" in k for k in keys) and "text" not in a]

    run(test())


def test_too_small_a_terminal_gets_one_clear_line(console: Opened) -> None:
    async def test() -> None:
        async with console(39, 12) as pilot:
            assert "lctui needs 40×12 cells; here are 39×12" in text_of(pilot)
            await pilot.resize_terminal(80, 24)
            await pilot.pause()
            assert "quickstart" in text_of(pilot)
            await pilot.resize_terminal(40, 12)
            await pilot.pause()
            assert "quickstart" in text_of(pilot)
            await pilot.resize_terminal(30, 8)
            await pilot.pause()
            await pilot.resize_terminal(80, 24)
            await until(pilot, lambda: table_of(pilot).has_focus)

    run(test())


def test_ascii_draws_nothing_else(console: Opened) -> None:
    async def test() -> None:
        async with console(ascii_only=True) as pilot:
            await select(pilot, QUICKSTART)
            await until(pilot, lambda: "best @14" in text_of(pilot))
            own = text_of(pilot)
            # Borders are the style sheet's, and go with the rest.
            assert not {sign for sign in own if ord(sign) > 126}

    run(test())


def test_theme_and_layout_are_kept(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            pilot.app.theme = "ansi-light" if "ansi-light" in pilot.app.available_themes else "textual-light"
            await pilot.press("i")
            await pilot.pause()
            chosen = pilot.app.theme
        kept = load_settings()
        assert kept.theme == chosen and kept.details is False

    run(test())


def test_damaged_settings_cost_nothing_but_the_memory(console: Opened) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text('{"theme": 7, "sort": "sideways", "filter": "quick", "old": 1}')
    settings = load_settings()
    assert (settings.filter, settings.sort) == ("quick", "newest")
    settings_file().write_bytes(b"\xff{")
    assert load_settings().filter == ""


def test_delete_asks_first(console: Opened, home: Path) -> None:
    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await pilot.press("d")
            await pilot.pause()
            assert "Delete eexm-quickstart?" in text_of(pilot)
            await pilot.press("n")
            assert (home / "runs" / QUICKSTART).exists()
            await pilot.press("d")
            await pilot.pause()
            await pilot.press("y")
            await until(pilot, lambda: not (home / "runs" / QUICKSTART).exists())
            await until(pilot, lambda: QUICKSTART not in [row.key for row in table_of(pilot).rows])

    run(test())


def test_delete_leaves_marked_runs_alone_that_are_not_in_view(console: Opened, home: Path) -> None:
    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await pilot.press("space", "slash", *"ternary", "enter", "d")
            await pilot.pause()
            assert "Delete nrvx-k-ternary?" in text_of(pilot)
            await pilot.press("enter")
            await pilot.pause()
            assert (home / "runs" / "nrvx-k-ternary").exists()  # enter is no yes

    run(test())


ODD = ['{"state": "running", "progress": [1], "error": 7}', '{"state": 3, "progress": {"step": "x", "mu": {}}}', "[]"]


@pytest.mark.parametrize("status", ODD)
def test_odd_values_in_a_runs_files_are_no_end_of_the_console(console: Opened, home: Path, status: str) -> None:
    folder = home / "runs" / QUICKSTART
    (folder / "status.json").write_text(status)
    (folder / "result.json").write_text('{"final": "x", "seconds": "long", "best": 3, "status": "finished"}')
    odd = {
        "event": "direct_compression",
        "test_error_pct": "x",
        "layers": [{"layers": 3, "nonzeros": None, "bits": "b"}],
    }
    step = {"event": "step", "step": 16, "layers": [{"layers": ["a"], "type": 5, "codebook": "x", "rank": None}]}
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(odd) + "\n" + json.dumps(step) + "\n")

    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await settled(pilot)
            await pilot.press("enter")
            await settled(pilot)
            await until(pilot, lambda: "error %" in text_of(pilot))
            assert isinstance(pilot.app.screen, RunScreen)

    run(test())


def test_a_folder_removed_while_open_is_said(console: Opened, home: Path) -> None:
    async def test() -> None:
        async with console() as pilot:
            await select(pilot, QUICKSTART)
            await pilot.press("enter")
            await settled(pilot)
            shutil.rmtree(home / "runs" / QUICKSTART)
            screen = pilot.app.screen
            assert isinstance(screen, RunScreen)
            screen.follower.settled = False
            await until(pilot, lambda: "its folder was removed" in text_of(pilot))
            await pilot.press("escape")
            await until(pilot, lambda: "quickstart" not in text_of(pilot))

    run(test())


def torn(folder: Path) -> None:
    """A killed worker's folder: running by its status, no lock held, the last line of its events torn."""
    status = json.loads((folder / "status.json").read_text()) | {"state": "running"}
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "result.json").unlink()
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:-4]) + lines[-4][:40])


def test_a_killed_worker_and_torn_events_are_shown(console: Opened, home: Path) -> None:
    torn(home / "runs" / QUICKSTART)

    async def test() -> None:
        async with console() as pilot:
            line = line_of(pilot, "quickstart")
            assert "crashed" in line and "✗" in line
            await select(pilot, QUICKSTART)
            await pilot.press("enter")
            await until(pilot, lambda: "r resume" in text_of(pilot) and "now" in text_of(pilot))

    run(test())


def test_broken_folders_are_listed_beside_the_others(console: Opened, home: Path) -> None:
    (home / "runs" / "xxxx-empty").mkdir()
    (home / "runs" / "a-file").write_text("")
    broken = home / "runs" / "yyyy-broken"
    shutil.copytree(home / "runs" / QUICKSTART, broken)
    for name in ("scheme.json", "status.json", "meta.json"):
        (broken / name).write_bytes(b"\x00{not json")
    named = home / "runs" / "zzzz-named"
    shutil.copytree(home / "runs" / QUICKSTART, named)
    scheme = json.loads((named / "scheme.json").read_text()) | {"name": "[red]\x1b[31mname[/red]"}
    (named / "scheme.json").write_text(json.dumps(scheme))

    async def test() -> None:
        async with console() as pilot:
            keys = {row.key for row in table_of(pilot).rows}
            assert {"xxxx-empty", "yyyy-broken", "zzzz-named", QUICKSTART} <= keys
            assert "a-file" not in keys
            shown = text_of(pilot)
            assert "\x1b" not in shown and "[red]" in shown
            for key in ("xxxx-empty", "yyyy-broken", "zzzz-named"):
                await select(pilot, key)
                await pilot.press("enter")
                await settled(pilot)
                assert isinstance(pilot.app.screen, RunScreen)
                await pilot.press("escape")

    run(test())


def test_a_clock_set_back_gives_no_age(console: Opened, home: Path) -> None:
    meta = home / "runs" / QUICKSTART / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"created": "2999-01-01T00:00:00Z"}))

    async def test() -> None:
        async with console() as pilot:
            line = line_of(pilot, "quickstart")
            assert "–" in line

    run(test())


def test_a_home_that_is_no_folder_shows_no_runs_and_says_why_a_run_cannot_start(
    console: Opened, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    async def test() -> None:
        async with console(at="file") as pilot:  # a short name: a toast folds long ones
            assert "no runs yet" in text_of(pilot)
            scheme = json.loads((Path(__file__).parents[2] / "schemes" / "quickstart.json").read_text())
            from lctui.scheme import Scheme

            app = pilot.app
            assert isinstance(app, Console)
            await app.attempt(app.start, [Scheme.model_validate(scheme)])
            await until(pilot, lambda: "cannot be written to" in text_of(pilot))

    run(test())


def test_live_runs_stand_first_and_move(console: Opened, home: Path) -> None:
    folder = home / "runs" / QUICKSTART
    status = json.loads((folder / "status.json").read_text()) | {"state": "running", "heartbeat_unix": time.time()}
    status["progress"] |= {"phase": "l_step", "step": 7, "epoch": 1, "eta_seconds": 250.0}
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "result.json").unlink()
    lock = Lock(folder / "lock")
    assert lock.acquire()

    async def test() -> None:
        with lock:
            async with console() as pilot:
                assert table_of(pilot).rows[0].key == QUICKSTART
                assert "7/15" in text_of(pilot) and "1 running" in text_of(pilot)
                await until(pilot, lambda: "ETA 4m10s" in text_of(pilot))
                status["progress"] |= {"step": 8}
                (folder / "status.json").write_text(json.dumps(status))
                await until(pilot, lambda: "8/15" in text_of(pilot))
                app = pilot.app
                assert isinstance(app, Console)
                assert app.last_words() == "1 run goes on; `lctui` shows them again"

    run(test())


@pytest.mark.parametrize("no_color", [False, True])
def test_every_theme_draws_the_list(console: Opened, monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")

    async def test() -> None:
        async with console() as pilot:
            for theme in pilot.app.available_themes:
                pilot.app.theme = theme
                await pilot.pause()
                assert "quickstart" in text_of(pilot)

    run(test())
