"""The settings file when it is odd, or when another console stands still in the middle of writing it."""

from __future__ import annotations

import asyncio
import json

import pytest

from lctui.console import settings as module
from lctui.console.settings import Settings, load_settings, save_settings, settings_file
from tests.console.conftest import Opened
from tests.runs.children import HOLD, child


@pytest.mark.parametrize("odd", ['"smoothing": NaN', '"later": [Infinity]', '"later": 1e999', '"smoothing": 7'])
def test_what_no_file_may_hold_costs_that_setting_alone(odd: str) -> None:
    """Python's own JSON has NaN and infinities; a hand, or another program, may have written them."""
    settings_file().parent.mkdir(parents=True, exist_ok=True)
    settings_file().write_text(f'{{"theme": "nord", {odd}}}')
    settings = load_settings()
    assert settings.model_dump() == Settings(theme="nord").model_dump()
    settings.details = False
    save_settings(settings)
    text = settings_file().read_text()
    kept = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (kept["theme"], kept["details"]) == ("nord", False)
    assert load_settings().model_dump() == settings.model_dump()


def test_a_console_that_stands_still_while_it_writes_holds_up_no_other(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    settings_file().parent.mkdir(parents=True, exist_ok=True)

    async def test() -> None:
        async with console(120, 40) as pilot:
            with child(HOLD, settings_file().with_name("settings.lock")):
                await pilot.press("o")  # returns only once the key has been dealt with
                assert pilot.app.settings.sort == "name"
                assert load_settings().sort == "newest"
            await pilot.press("i")
        # With the next change, the one before it is kept too.
        kept = load_settings()
        assert (kept.sort, kept.details) == ("name", False)

    asyncio.run(test())
