"""The README's pictures, taken from the real program: `python -m tests.console.pictures HOME [FOLDER]`.

HOME must hold finished runs, among them one called `quickstart`; the pictures are Textual's own SVG screenshots.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from textual.pilot import Pilot

from lctui.console.app import Console

SIZE = (120, 34)
WAIT_SECONDS = 6.0
"""Long enough for the process with torch to start and answer."""


async def take(home: Path, folder: Path) -> None:
    """Home, editor, run view, and three views of compare."""
    folder.mkdir(parents=True, exist_ok=True)
    app = Console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(2)
        row = next(row for row in app.index.rows if row.summary["name"] == "quickstart")
        app.screen.query_one("#runs").go_to(row.id)  # type: ignore[attr-defined]
        await shot(pilot, folder / "home.svg", 1.5)
        await pilot.press("enter")
        await shot(pilot, folder / "run.svg", 1.5)
        await pilot.press("e", "down")
        await shot(pilot, folder / "editor.svg", WAIT_SECONDS, "p", *"9000")
        await pilot.press("escape", "escape")
        await pilot.pause(0.5)
        app.pop_screen() if len(app.screen_stack) > 3 else None
        app.open_compare([each.id for each in app.index.rows if each.summary["status"] == "finished"][:5])
        for key, name in (("1", "compare"), ("2", "pareto"), ("4", "insides")):
            await pilot.press(key)
            await shot(pilot, folder / f"{name}.svg", WAIT_SECONDS if key == "4" else 1.5)
        app.inspection.close()


async def shot(pilot: Pilot[None], path: Path, seconds: float, *keys: str) -> None:
    """A picture once `keys` are pressed and what they began has come to rest."""
    await pilot.press(*keys)
    await pilot.pause(seconds)
    pilot.app.save_screenshot(str(path))


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else ".pictures")))
