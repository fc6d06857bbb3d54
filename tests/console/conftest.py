"""The console on recorded runs: a home of its own for every test, and settings of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from lctui.console.app import Console

RECORDED = Path(__file__).parents[1] / "data" / "home"

Opened = Callable[..., AbstractAsyncContextManager[Pilot[None]]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with five finished runs, recorded from real ones."""
    return Path(shutil.copytree(RECORDED, tmp_path / "home"))


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def console(home: Path) -> Opened:
    """Opens the console at a size; the runs have been read when it is entered."""

    @asynccontextmanager
    async def opened(width: int = 120, height: int = 40, **options: object) -> AsyncIterator[Pilot[None]]:
        app = Console(Path(str(options.pop("at", home))), **options)  # type: ignore[arg-type]
        async with app.run_test(size=(width, height), notifications=True) as pilot:
            await settled(pilot)
            yield pilot
            app.inspection.close()

    return opened


async def settled(pilot: Pilot[None]) -> None:
    """Waits for the threads that read, and for the painting that they ask for."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def text_of(pilot: Pilot[None]) -> str:
    """The screen as text."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())
