"""Screens as text, against what they looked like when somebody last looked at them.

`LCTUI_SNAPSHOTS=write python -m pytest tests/console/test_snapshots.py` takes them anew; look at the difference.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from textual.pilot import Pilot

from lctui.console.app import Console
from tests.console.conftest import Opened, settled, text_of

FOLDER = Path(__file__).parents[1] / "data" / "snapshots"
QUICKSTART = "eexm-quickstart"
TABLE = Path(__file__).parents[2] / "schemes" / "report" / "table6-3.json"


async def home(pilot: Pilot[None]) -> str:
    """The list, and the card of a run."""
    pilot.app.screen.query_one("#runs").go_to(QUICKSTART)  # type: ignore[attr-defined]
    return "best @14"


async def run(pilot: Pilot[None]) -> str:
    """The run view."""
    assert isinstance(pilot.app, Console)
    pilot.app.open_run(QUICKSTART)
    return "best @14"


async def editor(pilot: Pilot[None]) -> str:
    """A row of the study in the editor, a number that is too large typed."""
    assert isinstance(pilot.app, Console)
    pilot.app.open_editor(scheme=json.loads(TABLE.read_text()))
    await pilot.pause()
    await pilot.press("down", "p", *"25050")
    return "exceeds"


async def compare(pilot: Pilot[None]) -> str:
    """What differs between three runs."""
    assert isinstance(pilot.app, Console)
    pilot.app.open_compare(["t2u3-k-0.k=4", "hhkp-k-0.k=8", "nrvx-k-ternary"])
    await settled(pilot)
    await pilot.press("3")
    return "ratio"


SIZES = [(120, 40), (80, 24), (60, 20)]


@pytest.mark.parametrize("screen", [home, run, editor, compare])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_looks_as_it_did(console: Opened, screen: object, width: int, height: int) -> None:
    async def shown() -> str:
        async with console(width, height) as pilot:
            words = await screen(pilot)  # type: ignore[operator]
            for _ in range(600):
                if words in text_of(pilot):
                    break
                await asyncio.sleep(0.05)
            await pilot.pause(0.6)  # a plot draws new numbers at most twice a second
            return steady(text_of(pilot))

    name = f"{screen.__name__}-{width}x{height}.txt"  # type: ignore[attr-defined]
    text = asyncio.run(shown())
    if os.environ.get("LCTUI_SNAPSHOTS") == "write":
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text)
    assert text == (FOLDER / name).read_text()


def steady(text: str) -> str:
    """The screen without what differs from one moment and machine to the next: load, ages, the helper's answer."""
    lines = [re.sub(r"(cpu|cuda:).*", "", line).rstrip() for line in text.splitlines()]
    lines = [re.sub(r"(?<=[ ])( *<1m| *\d+[mhd])(?= │|$)", lambda age: " " * len(age[0]), line) for line in lines]
    lines = [re.sub(r"begun \S+ ago", "begun", re.sub(r"what if .*", "what if", line)) for line in lines]
    return "\n".join(line.rstrip() for line in lines) + "\n"
