"""The scheme editor by keyboard, at the sizes that terminals have."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static

from lctui.console import scheme_files
from lctui.console.forms import Row
from lctui.console.inspection import Inspection
from lctui.console.screens import editor_questions
from lctui.console.screens.dialogs import Ask
from lctui.console.widgets.choice import Choice
from lctui.console.widgets.form import FieldRow, Line
from lctui.console.widgets.plot import Plot
from lctui.scheme import Scheme
from lctui.scheme.net import lenet5
from lctui.scheme.report import check_report
from tests.conftest import ROOT, Cli
from tests.console.editor_app import Echo, EditorApp, piloted

TABLE6_3 = ROOT / "schemes" / "report" / "table6-3.json"
SIZES = [(120, 40), (80, 24), (60, 20)]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are saved under the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def copy_of(path: Path, folder: Path) -> Path:
    target = folder / path.name
    target.write_bytes(path.read_bytes())
    return target


def words(app: EditorApp, where: str) -> str:
    return str(app.editor.query_one(where, Static).content)


def errors(app: EditorApp) -> dict[str, str]:
    """What stands under the fields."""
    found = {}
    for row in app.editor.query(FieldRow):
        wrong = row.query_one(".wrong", Static)
        if row.has_class("-wrong"):
            assert wrong.display and wrong.size.height
            found[row.bound.label] = str(wrong.content)
    return found


def task_cells(app: EditorApp) -> dict[str, str]:
    """The task column, by layer."""
    return {row.key: str(row.cells[6]) for row in app.editor.table.rows if len(row.cells) > 3}


async def type_in(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*text)
    await pilot.pause()


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not come about")


async def dialog(pilot: Pilot[None], app: EditorApp, key: str) -> None:
    """A key that asks something, once it has: files are looked for first."""
    await pilot.press(key)
    await until(pilot, lambda: app.screen is not app.editor and app.focused is not None)


@pytest.mark.parametrize("size", SIZES)
@piloted
async def test_a_kappa_is_typed_refused_mended_and_undone(size: tuple[int, int], tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=size) as pilot:
        await pilot.press("down")
        await pilot.press("p")
        line = app.focused
        assert isinstance(line, Line) and isinstance(line.parent, FieldRow)
        assert line.parent.bound.label == "kappa" and line.selected_text == line.value == "2505"
        before = words(app, "#predicted")
        await type_in(pilot, "25050")
        assert line.value == "25050"
        assert errors(app) == {"kappa": "✗ 25050 exceeds the 25,000 weights of conv2"}
        assert "before it became invalid" in words(app, "#predicted")
        await pilot.press("backspace")
        await pilot.pause()
        assert errors(app) == {} and line.value == "2505"
        assert words(app, "#predicted") == before
        await type_in(pilot, "x")
        assert errors(app) == {"kappa": '✗ "2505x" must be a number'}
        await pilot.press("backspace", "backspace", "escape")
        assert app.focused is app.editor.table
        assert app.editor.session.raw["compress"][1]["how"] == {"type": "prune", "kappa": 250}
        assert app.editor.session.dirty
        await pilot.press("u")
        await pilot.pause()
        assert not app.editor.session.dirty  # what was typed in one go goes in one go
        await pilot.press("U")
        await pilot.pause()
        assert app.editor.session.raw["compress"][1]["how"]["kappa"] == 250
        assert task_cells(app)["layer:conv2"] == "prune kappa=250"


@piloted
async def test_fast_typing_loses_nothing(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("p")
        line = app.focused
        assert isinstance(line, Line)
        for text in ("1", "12", "123", "12", "124"):  # all before the first is looked at
            line.value = text
        await pilot.pause()
        assert line.value == "124" and app.editor.session.raw["compress"][0]["how"]["kappa"] == 124
        assert app.editor.session.undo() and not app.editor.session.dirty


@pytest.mark.parametrize("size", SIZES)
@piloted
async def test_joint_tasks_and_sums(size: tuple[int, int], tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=size) as pilot:
        raw = app.editor.session
        await pilot.press("j")
        assert app.said == ["space marks the layers to compress jointly with this one"]
        await pilot.press("space", "j")
        await pilot.pause()
        assert [task["layers"] for task in raw.raw["compress"]] == [["conv1", "conv2"], ["fc1"], ["fc2"]]
        assert task_cells(app)["layer:conv1"] == "A: prune kappa=2505"
        await pilot.press("j")  # leaves it again
        await pilot.pause()
        assert [task["layers"] for task in raw.raw["compress"]] == [["conv1"], ["conv2"], ["fc1"], ["fc2"]]
        await pilot.press("plus")
        choice = app.focused
        assert isinstance(choice, Choice)
        assert app.editor.query(FieldRow).last().bound.path == ("compress", 1, "how", 1, "fraction")
        await pilot.press("q")
        await pilot.pause()
        assert app.focused is choice  # the field stays, whatever it turns the form into
        assert raw.raw["compress"][1]["how"] == [{"type": "prune", "kappa": 2505}, {"type": "quantize", "k": 4}]
        await pilot.press("escape", "minus")
        await pilot.pause()
        assert raw.raw["compress"][1]["how"] == {"type": "prune", "kappa": 2505}
        await pilot.press("minus")
        await pilot.pause()
        assert [task["layers"] for task in raw.raw["compress"]] == [["conv1"], ["fc1"], ["fc2"]]
        assert task_cells(app)["layer:conv2"] == "–"
        for _ in range(6):
            await pilot.press("u")
        await pilot.pause()
        assert not raw.dirty


@piloted
async def test_marked_layers_take_the_task_over(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("down", "down", "space", "space", "up", "up", "up", "up", "d")
        await pilot.pause()
        assert app.editor.table.cursor == 0 and app.editor.marked == set()
        assert task_cells(app) == {
            "layer:conv1": "prune kappa=104",
            "layer:conv2": "prune kappa=2505",
            "layer:fc1": "prune kappa=104",
            "layer:fc2": "prune kappa=104",
        }


@piloted
async def test_choices_by_key_and_list(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(80, 24)) as pilot:

        def how() -> Any:
            return app.editor.session.raw["compress"][0]["how"]

        await pilot.press("enter", "down")
        await pilot.press("right")
        await pilot.pause()
        assert how() == {"type": "prune_structured", "kappa": 10}
        await pilot.press("enter")
        await pilot.press("end", "up", "enter")
        await pilot.pause()
        assert how() == {"type": "quantize", "k": 4}
        assert words(app, "#about").startswith("Quantization with a learned codebook")
        await pilot.press("tab", "t")
        await pilot.pause()
        assert how() == {"type": "quantize", "codebook": "ternary"}
        await pilot.press("tab", "space")
        await pilot.pause()
        assert how() == {"type": "quantize", "codebook": "ternary", "scaled": False}
        await pilot.press("backspace")
        await pilot.pause()
        assert how() == {"type": "quantize", "codebook": "ternary"}
        await pilot.press("ctrl+z")
        await pilot.pause()
        assert how()["scaled"] is False


@piloted
async def test_the_other_blocks(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("end", "up", "enter")
        assert app.editor.has_class("-curve")
        assert "λ" in words(app, "#about")
        await pilot.press("tab")
        await type_in(pilot, "-1")
        assert errors(app) == {"mu.start": "✗ -1 must be greater than 0"}
        await pilot.press("escape", "g")
        assert app.editor.row.key == "block:lc"
        await pilot.press("home", "u")
        await pilot.pause()
        assert app.editor.row.key == "block:lc" and app.editor.session.valid  # undo shows what it undid
        await pilot.press("home", "down", "down", "down", "down", "enter", "tab")
        await type_in(pilot, "night, two")
        assert app.editor.session.raw["tags"] == ["night", "two"]
        await pilot.press("escape", "down", "enter")
        await type_in(pilot, "lenet30")
        assert "did you mean" in errors(app)["factory"]
        assert "layer:conv1" in task_cells(app)  # the net last known stays in sight


@piloted
async def test_an_unknown_field_can_be_emptied(tmp_path: Path) -> None:
    raw = json.loads(TABLE6_3.read_text())
    raw["sed"] = 3
    raw["compress"][0]["how"]["fracton"] = 0.5
    raw["compress"].append({"layers": ["fc9"], "how": {"type": "quantize", "k": 4}})
    app = EditorApp(tmp_path, raw)
    async with app.run_test(size=(120, 40)) as pilot:
        assert "sed: unknown field" in words(app, "#wrong")
        assert "compress.4.layers.0: no layer 'fc9'" in words(app, "#wrong")
        assert "did you mean 'fraction'" in errors(app)["fracton"]
        await pilot.press("enter", "up", "backspace", "escape")
        await pilot.pause()
        assert "fracton" not in app.editor.session.raw["compress"][0]["how"]
        await pilot.press("g")
        assert app.editor.row.key == "task:4"
        await pilot.press("delete")
        await pilot.pause()
        await pilot.press("g", "enter", "up", "backspace")
        await pilot.pause()
        assert app.editor.session.valid and words(app, "#wrong") == ""


@piloted
async def test_saving_round_trips(tmp_path: Path) -> None:
    app = EditorApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p", *"7", "escape", "s")
        assert app.screen.query_one(Input).value == "schemes/scheme.json"
        await pilot.press("enter")
        await pilot.pause()
        saved = Path("schemes/scheme.json")
        assert Scheme.load(saved).compress[0].how.kappa == 7  # type: ignore[union-attr]
        assert Scheme.load(saved) == app.editor.session.scheme
        assert not app.editor.session.dirty and app.editor.session.path == saved
        assert saved.read_text().count("\n") < 15
        await pilot.press("p", *"8", "escape", "s", "enter")  # its own file: no question
        await pilot.pause()
        assert json.loads(saved.read_text())["compress"][0]["how"]["kappa"] == 8
        saved.write_text("{}")
        await pilot.press("p", *"9", "escape", "s", "enter")  # somebody else wrote it
        await pilot.pause()
        await pilot.press("n")
        assert saved.read_text() == "{}" and app.editor.session.dirty
        await pilot.press("s", "enter")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        assert json.loads(saved.read_text())["compress"][0]["how"]["kappa"] == 9


@piloted
async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    Path("schemes").write_text("a file where a folder should be")
    app = EditorApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s", "enter")
        await pilot.pause()
        assert "cannot be written" in app.said[-1]


@piloted
async def test_opening_and_templates(tmp_path: Path) -> None:
    Path("schemes").mkdir()
    copy_of(TABLE6_3, Path("schemes"))
    app = EditorApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await dialog(pilot, app, "o")
        await pilot.press("enter")
        await pilot.pause()
        assert app.editor.session.path == Path("schemes/table6-3.json") and not app.editor.session.dirty
        assert list(task_cells(app)) == ["layer:conv1", "layer:conv2", "layer:fc1", "layer:fc2"]
        await pilot.press("minus")
        await dialog(pilot, app, "n")
        await pilot.press("enter")  # unsaved: asks first
        await pilot.pause()
        await pilot.press("n")
        assert app.editor.session.path is not None
        await dialog(pilot, app, "n")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        assert app.editor.session.path is None and app.editor.session.raw["compress"] == []
        await dialog(pilot, app, "o")
        await pilot.press(*"another", "enter")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await type_in(pilot, str(ROOT / "schemes" / "quickstart.json"))
        await pilot.press("enter")
        await pilot.pause()
        assert app.editor.session.raw["name"] == "quickstart" and app.editor.session.valid


@pytest.mark.parametrize("file", sorted((ROOT / "schemes" / "report").glob("*.json"))[::9], ids=lambda file: file.stem)
@piloted
async def test_the_report_s_schemes_open_valid(file: Path, tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=file)
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in app.editor.table.rows:
            assert errors(app) == {}
            await pilot.press("down")
        assert app.editor.session.report == check_report(Scheme.load(file), lenet5(5))
        assert not app.editor.session.dirty and words(app, "#wrong") == ""


@pytest.mark.parametrize("size", [*SIZES, (40, 12)])
@piloted
async def test_a_file_that_does_not_parse(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"version": 1, "name": "x", }')
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nsed -i "s/\\"x\\", }/\\"y\\", \\"compress\\": []}/" "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    app = EditorApp(tmp_path, path=broken)
    async with app.run_test(size=size) as pilot:
        assert "is not JSON" in words(app, "#hint") and "line 1, column 2" in words(app, "#hint")
        await pilot.press("p", "r", "s", "u", "enter", "down", "g")
        assert app.started == [] and broken.read_text().endswith(", }")
        await pilot.press("E")
        await pilot.pause()
        assert app.editor.broken == "" and app.editor.session.raw == {"version": 1, "name": "y", "compress": []}
        assert app.editor.session.dirty and "model: is missing" in words(app, "#wrong")
        script.write_text('#!/bin/sh\necho "{" > "$1"\n')
        await pilot.press("E")
        await pilot.pause()
        assert "line 2" in words(app, "#hint")
        await pilot.press("u")
        await pilot.pause()
        assert app.editor.broken == "" and app.editor.session.raw["name"] == "y"
        script.write_text('#!/bin/sh\nsed -i "s/\\"y\\"/\\"z\\"/" "$1"\n')
        await pilot.press("E")
        await pilot.pause()
        assert app.editor.session.raw["name"] == "z"
        await pilot.press("u")
        await pilot.pause()
        assert app.editor.session.raw["name"] == "y"


@piloted
async def test_an_editor_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", str(tmp_path / "none"))
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("E")
        assert "the editor cannot be started" in app.said[-1]
        assert app.resumed == 1  # the screen is back


@piloted
async def test_leaving_with_the_table(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.editor.exportable()
        assert view is not None and view.table is not None and view.stem == "table6-3-scheme"
        assert [row[0] for row in view.table.rows] == ["conv1", "conv2", "fc1", "fc2", "whole net"]
        await pilot.press("p", *"9999")
        await pilot.pause()
        assert app.editor.exportable() is None


@piloted
async def test_running(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p", *"9999", "escape", "r")
        assert app.started == [] and "problems" in app.said[-1]
        await pilot.press("u", "r")
        await until(pilot, lambda: app.opened)
        assert app.started == [Scheme.load(TABLE6_3)] and len(app.opened) == 1


@piloted
async def test_leaving_asks_for_what_is_unsaved(tmp_path: Path) -> None:
    app = EditorApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p", *"7", "escape", "escape")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.editor
        await pilot.press("escape", "enter", "enter")
        await pilot.pause()
        assert app.screen is not app.editor and Scheme.load("schemes/scheme.json")


@pytest.mark.parametrize("name", ["~nosuchuser/x", "x" * 300, "bad\0name"])
@piloted
async def test_a_slip_in_save_as_is_said_and_nothing_is_lost(tmp_path: Path, name: str) -> None:
    app = EditorApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("p", *"7", "escape", "s")
        await pilot.pause()
        app.screen.query_one(Input).value = name
        await pilot.press("enter")
        await until(pilot, lambda: app.said)
        assert app.screen is app.editor and app.editor.unsaved


@piloted
async def test_a_slip_in_another_file_is_said(tmp_path: Path) -> None:
    app = EditorApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        for i, name in enumerate(("~nosuchuser/x", "~nosuchuser/y")):
            await dialog(pilot, app, "o")
            await pilot.press(*"another", "enter")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            await pilot.press(*name, "enter")
            await until(pilot, lambda count=i: len(app.said) > count)
        assert app.screen is app.editor and app.editor.session.path is None


@piloted
async def test_what_if_is_asked_again_after_a_run(tmp_path: Path) -> None:
    echo = Echo(tmp_path)
    scheme = json.loads(TABLE6_3.read_text()) | {"seed": 13}
    app = EditorApp(tmp_path, scheme=scheme, inspection=echo)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "no reference net yet" in words(app, "#what-if"))
        asked = len(echo.asked)
        await app.push_screen(Screen())
        app.pop_screen()
        await until(pilot, lambda: len(echo.asked) > asked)


@piloted
async def test_what_if_is_asked_until_there_is_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor_questions, "AGAIN", 0.01)
    echo = Echo(tmp_path)
    app = EditorApp(tmp_path, json.loads(TABLE6_3.read_text()) | {"seed": 13}, inspection=echo)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(echo.asked) > 3)
        assert "no reference net yet" in words(app, "#what-if")
        echo.trained = True
        await until(pilot, lambda: "direct 4.50 %" in words(app, "#what-if"))


@piloted
async def test_a_net_of_one_s_own_is_known_in_the_next_file_too(tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "version": 1,
        "model": {"factory": "mine:net"},
        "data": {"name": "mnist_sample"},
        "compress": [],
    }
    Path("schemes").mkdir()
    for name, factory in (("a", "mine:net"), ("b", "mine:net"), ("c", "bad:net")):
        Path(f"schemes/{name}.json").write_text(json.dumps({**raw, "name": name, "model": {"factory": factory}}))
    echo = Echo(tmp_path)
    app = EditorApp(tmp_path, path=Path("schemes/a.json"), inspection=echo)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.editor.session.names == ["fc"])

        async def open_file(name: str) -> None:
            await dialog(pilot, app, "o")
            await pilot.press(*f"schemes/{name}.json", "enter")
            await until(pilot, lambda: app.editor.session.path == Path(f"schemes/{name}.json"))

        await open_file("b")
        await until(pilot, lambda: app.editor.session.names == ["fc"])
        await open_file("c")
        await until(pilot, lambda: "model: boom" in words(app, "#wrong"))
        asked = len(echo.nets)
        await app.push_screen(Screen())
        app.pop_screen()
        await until(pilot, lambda: len(echo.nets) > asked)  # it may have been mended meanwhile
        app.editor.session.set(("model", "factory"), "lenet5")
        await app.editor.refresh_all()
        assert "boom" not in words(app, "#wrong") and "conv1" in app.editor.session.names


@piloted
async def test_forms_shown_at_once_are_laid_out_one_after_the_other(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3)
    async with app.run_test(size=(120, 40)):
        form, session = app.editor.form, app.editor.session
        blocks = [session.sections(Row("block", name)) for name in ("lc", "l_step", "data", "", "model", "reference")]
        await asyncio.gather(*(form.show(sections, {}) for sections in blocks), app.editor.refresh_all())
        await asyncio.gather(app.editor.refresh_all(), *(form.show(sections, {}) for sections in blocks))
        shown = [row.bound.path for row in form.rows]
        assert shown == [bound.path for section in blocks[-1] for bound in section.fields]


@piloted
async def test_a_long_schedule_is_drawn_from_some_of_its_steps(tmp_path: Path) -> None:
    raw = json.loads(TABLE6_3.read_text())
    app = EditorApp(tmp_path, raw | {"lc": {"mu": {"start": 1.0, "factor": 1.0, "steps": 90_000}}})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("end", "up")
        await until(pilot, lambda: app.editor.has_class("-curve"))
        (curve,) = app.editor.query_one(Plot).curves
        assert len(curve.x) == 500 and curve.x[0] == 1 and curve.x[-1] == 90_000


@piloted
async def test_may_it_be_left(tmp_path: Path) -> None:
    app = EditorApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        assert await app.editor.may_leave()
        await pilot.press("p", *"7", "escape")
        for key, answer in (("enter", False), ("y", True)):
            asking = app.editor.run_worker(app.editor.may_leave())
            await until(pilot, lambda: app.screen is not app.editor)
            await pilot.press(key)
            assert await asking.wait() is answer


def test_ctrl_c_is_the_outside_editor_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nkill -INT $PPID\nkill -QUIT $PPID\nkill -INT $$\necho "not here" > "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGQUIT)
    assert scheme_files.edit_outside("text") == "text"  # the child is not deaf to it
    script.write_text('#!/bin/sh\nkill -INT $PPID\nkill -QUIT $PPID\necho edited > "$1"\n')
    assert scheme_files.edit_outside("text") == "edited\n"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGQUIT)) == before


def test_files_at_hand(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.json", "a.json", "deep/c.json", "d.txt"):
        (tmp_path / name).write_text("{}")
    assert scheme_files.found([tmp_path / "deep", None, tmp_path / "none"], tmp_path / "a.json") == [
        tmp_path / "deep" / "c.json",
        tmp_path / "a.json",
        tmp_path / "b.json",
    ]
    assert len(scheme_files.found([tmp_path, tmp_path])) == 3


@piloted
async def test_what_if_follows(tmp_path: Path) -> None:
    echo = Echo(tmp_path)
    app = EditorApp(tmp_path, path=TABLE6_3, inspection=echo)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "direct 4.50 % validation at 21.8×" in words(app, "#what-if"))
        assert "reference 0.49 %" in words(app, "#what-if")
        await type_in(pilot, "p99")
        await until(pilot, lambda: len(echo.asked) == 2)
        assert echo.asked[1]["compress"][0]["how"]["kappa"] == 99
        await type_in(pilot, "99")
        assert words(app, "#what-if").endswith("(as it was)")
        await pilot.press("escape", "u", "down", "down", "down", "down", "enter", "down", "down")
        await type_in(pilot, "13")
        await until(pilot, lambda: "no reference net yet" in words(app, "#what-if"))


@piloted
async def test_what_if_for_real(tmp_path: Path, cli: Cli, scheme_file: Callable[..., Path]) -> None:
    path = scheme_file()
    app = EditorApp(cli.home, path=path, inspection=Inspection(cli.home))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: editor_questions.NOT_YET in words(app, "#what-if"))
        done = cli("--run", path, "--quiet")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        await pilot.press("p", *"4", "backspace", *"5000")
        direct = result["direct"]
        told = f"direct {direct['validation_error_pct']:.2f} % validation at {direct['compression_ratio']:.1f}×"
        await pilot.press("escape", "down", "minus", "u")
        await until(pilot, lambda: told in words(app, "#what-if"))


@piloted
async def test_nets_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
    )
    raw: dict[str, Any] = {
        "version": 1,
        "model": {"factory": "mine.py:net"},
        "data": {"name": "mnist_sample"},
        "compress": [{"layers": ["1"], "how": {"type": "prune", "kappa": 9000}}],
    }
    path = tmp_path / "scheme.json"
    path.write_text(json.dumps(raw))
    app = EditorApp(tmp_path, path=path, inspection=Inspection(tmp_path / "home"))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.editor.session.names == ["1"])
        await until(pilot, lambda: "kappa" in errors(app))
        assert errors(app)["kappa"] == "✗ 9000 exceeds the 7,840 weights of 1"


@piloted
async def test_ascii(tmp_path: Path) -> None:
    app = EditorApp(tmp_path, path=TABLE6_3, ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        for key in ("p", *"9999", "escape", "down", "minus", "end", "enter", "escape", "up", "enter"):
            await pilot.press(key)
        for static in app.editor.query(Static):
            assert str(static.content).isascii(), static.content
        for row in app.editor.table.rows:
            assert "".join(map(str, row.cells)).isascii(), row
