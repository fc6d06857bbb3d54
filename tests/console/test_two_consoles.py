"""Two consoles at once: what each remembers, and what both would delete or write."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from lctui.console.screens.home import HomeScreen
from lctui.console.settings import load_settings, save_settings, settings_file
from lctui.runs.store import Store
from tests.conftest import Cli
from tests.console.conftest import Opened, settled


def test_each_keeps_what_it_changed() -> None:
    one, other = load_settings(), load_settings()
    one.sort, other.smoothing = "ratio", 0.5
    save_settings(one)
    save_settings(other)
    kept = load_settings()
    assert (kept.sort, kept.smoothing) == ("ratio", 0.5)
    one.sort = "newest"  # the default, but a change all the same
    save_settings(one)
    assert (load_settings().sort, load_settings().smoothing) == ("newest", 0.5)


def test_what_a_later_version_keeps_stays() -> None:
    settings = load_settings()
    settings.theme = "nord"
    save_settings(settings)
    settings_file().with_name(".settings.json.1.ab.tmp").touch()  # a console was killed while it wrote
    settings_file().write_text(json.dumps({**json.loads(settings_file().read_text()), "later": [1]}))
    settings.theme = "gruvbox"
    save_settings(settings)
    kept = json.loads(settings_file().read_text())
    assert (kept["later"], kept["theme"]) == ([1], "gruvbox")
    assert {file.name for file in settings_file().parent.iterdir()} == {"settings.json", "settings.lock"}


def test_many_writers_lose_nothing() -> None:
    names = ["log_y", "alone", "details"]

    def change(name: str) -> None:
        for value in (False, True, False):
            mine = load_settings()
            setattr(mine, name, value)
            save_settings(mine)

    settings = load_settings()
    settings.filter = "x"
    save_settings(settings)
    threads = [threading.Thread(target=change, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = load_settings()
    assert [getattr(kept, name) for name in names] == [False, False, False] and kept.filter == "x"
    assert {file.name for file in settings_file().parent.iterdir()} == {"settings.json", "settings.lock"}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"sort": 3}'])
def test_a_torn_file_costs_the_setting(content: str) -> None:
    settings_file().parent.mkdir(parents=True, exist_ok=True)
    settings_file().write_text(content)
    settings = load_settings()
    settings.smoothing = 0.25
    save_settings(settings)
    assert (load_settings().smoothing, load_settings().sort) == (0.25, "newest")


def test_two_open_consoles_keep_both_changes(console: Opened) -> None:
    async def test() -> None:
        async with console(120, 40) as one, console(120, 40) as other:
            await one.press("o")
            await other.press("i")
        kept = load_settings()
        assert (kept.sort != "newest", kept.details) == (True, False)

    asyncio.run(test())


def test_a_run_that_is_gone_does_not_keep_the_others(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lctui.cli import _guarded, app
    from lctui.runs.store import Store, new_run
    from lctui.scheme import Scheme
    from tests.conftest import tiny

    store = Store(cli.home)
    made = [new_run(store, Scheme.model_validate(tiny()), "cpu") for _ in range(2)]
    for run in made:
        run.file("status.json").write_text('{"state": "interrupted"}')
    find = Store.find

    def found_and_then_removed(self: Store, prefix: str) -> object:
        run = find(self, prefix)
        if run.id == made[0].id:
            Store(cli.home).remove(run)  # by somebody else, between the look and the deed
        return run

    monkeypatch.setattr(Store, "find", found_and_then_removed)
    code = _guarded(lambda: app(["rm", *(run.id for run in made), "--home", str(cli.home)], standalone_mode=False))
    said = capsys.readouterr()
    assert (code, said.out, said.err) == (2, f"{made[1].id}\n", f"{made[0].id}: is gone already\n")
    assert not store.all()


def test_two_that_delete_the_same_runs(cli: Cli, home: Path) -> None:
    """Whoever is first, each run goes once, and of each it is said to one of the two that it is not there."""
    ids = [run.name for run in cli.runs()]
    processes = [cli.start("rm", *ids) for _ in range(2)]
    ends = [(*process.communicate(), process.returncode) for process in processes]
    assert not cli.runs()
    assert sorted(ids) == sorted("".join(out for out, _, _ in ends).split())
    for out, err, code in ends:
        lines = err.splitlines()
        assert code == (2 if lines else 0)
        assert [line.partition(": ")[0] for line in lines] == [name for name in ids if name not in out.split()]
        assert all(": is gone already" in line or ": no such run in" in line for line in lines), lines


def test_a_name_that_is_not_there_does_not_keep_the_others(cli: Cli, home: Path) -> None:
    gone, *others = [run.name for run in cli.runs()]
    assert cli("rm", gone).returncode == 0
    again = cli("rm", gone, others[0], others[0])
    assert (again.returncode, again.stdout) == (2, f"{others[0]}\n")
    assert again.stderr.startswith(f"{gone}: no such run in ") and again.stderr.count("\n") == 1
    assert {run.name for run in cli.runs()} == set(others[1:])


def test_two_consoles_delete_one_run(console: Opened, home: Path) -> None:
    async def test() -> None:
        async with console(120, 40) as one, console(120, 40) as other:
            chosen = []
            for pilot in (one, other):
                assert isinstance(pilot.app.screen, HomeScreen)
                chosen.append(pilot.app.screen.selected)
                await pilot.press("d")
                await pilot.pause()
            doomed = chosen[0]
            assert doomed is not None and chosen == [doomed, doomed]
            for pilot in (one, other):
                await pilot.press("y")
                await settled(pilot)
                assert doomed not in [run.id for run in Store(home).all()]
            said = [[str(each.message) for each in pilot.app._notifications] for pilot in (one, other)]
            assert said == [[], [f"{doomed}: is gone already"]]
            assert len(Store(home).all()) == 4

    asyncio.run(test())


def test_two_exports_into_one_folder(cli: Cli, home: Path) -> None:
    arguments = ["export", "eexm", "--to", "out", "--format", "csv,md,png", "--plot", "curve", "--home", home]
    processes = [cli.start(*map(str, arguments)) for _ in range(2)]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert [code for _, code in ends] == [0, 0], ends
    once = {file.name: file.read_bytes() for file in (cli.home.parent / "out").rglob("*") if file.is_file()}
    assert cli(*arguments).returncode == 0
    assert once == {file.name: file.read_bytes() for file in (cli.home.parent / "out").rglob("*") if file.is_file()}
