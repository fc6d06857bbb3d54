"""Keys that arrive together are dealt with one after the other."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from tests.console.conftest import Opened

QUICKSTART = json.loads((Path(__file__).parents[2] / "schemes" / "quickstart.json").read_text())
NAMES = {"⌫": "backspace", "⇥": "tab", "⎋": "escape", "↓": "down", "⏎": "enter"}


async def keys_done(pilot: Pilot[None]) -> None:
    """Waits until all keys that have been sent, and what they set off, are dealt with."""
    await pilot.pause()
    while not pilot.app.keys_are_done:  # type: ignore[attr-defined]
        await pilot.pause(0.02)
    await pilot.pause()


def test_a_burst_of_keys_does_what_the_keys_do_one_by_one(console: Opened) -> None:
    async def typed(burst: bool) -> tuple[object, str]:
        async with console() as pilot:
            app = pilot.app
            app.open_editor(scheme=QUICKSTART)  # type: ignore[attr-defined]
            await pilot.pause()
            for sign in "↓p12345⌫⌫7⎋↓q9⌫8⎋":
                name = NAMES.get(sign, sign)
                app.post_message(events.Key(name, None if sign in NAMES else sign))
                if not burst:
                    await keys_done(pilot)
            await keys_done(pilot)
            return app.screen.session.raw["compress"], type(app.focused).__name__  # type: ignore[attr-defined]

    together, focus = asyncio.run(typed(True))
    assert (together, focus) == asyncio.run(typed(False))
    assert isinstance(together, list)
    assert together[1]["how"]["kappa"] == 1237
    assert together[2]["how"] == {"type": "quantize", "k": 8}


def test_a_handler_that_waits_does_not_hold_the_keys_for_ever(console: Opened) -> None:
    async def test() -> None:
        async with console() as pilot:
            for name in ("d", "n", "slash", "a", "b"):
                pilot.app.post_message(events.Key(name, name if len(name) == 1 else "/"))
            await keys_done(pilot)
            assert pilot.app.screen.query_one("#filter", Input).value == "ab"

    asyncio.run(test())
