"""A small application around the scheme editor: real services, no home screen."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textual.app import App

from lctui.console.glyphs import ASCII, Glyphs
from lctui.console.inspection import Inspection, InspectionError
from lctui.console.palette import colour_of
from lctui.console.screens.editor import EditorScreen
from lctui.runs.store import Run, Store
from lctui.scheme import Scheme

NO_REFERENCE = "no reference net yet: the first run of this model, data and seed trains it"


def piloted(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


class Echo(Inspection):
    """Answers at once, from the prediction alone: for tests that need no net."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.asked: list[dict[str, Any]] = []
        self.nets: list[dict[str, Any]] = []
        self.trained = False

    async def net(self, scheme: dict[str, Any], source: str | Path = "") -> dict[str, Any]:
        """A net of one layer; `bad:net` cannot be built."""
        self.nets.append(scheme)
        if scheme["model"]["factory"] == "bad:net":
            raise InspectionError("boom")
        return {"layers": [{"name": "fc", "kind": "Linear", "shape": [10, 784], "pixels": 1}], "others": 10}

    async def direct(self, scheme: dict[str, Any], source: str | Path = "") -> dict[str, Any]:
        """As the process would, without the error of a net."""
        self.asked.append(scheme)
        if scheme["seed"] == 13 and not self.trained:
            raise InspectionError(NO_REFERENCE)
        kept = [task["how"].get("kappa") for task in scheme["compress"] if isinstance(task["how"], dict)]
        error = {"error_pct": 4.5, "split": "validation", "images": 490, "reference_error_pct": 0.49}
        return {**error, "compression_ratio": 21.8, "compressed_bits": 1, "kept": kept}


class EditorApp(App[None]):
    """Opens the editor at once, as the console does."""

    def __init__(
        self,
        home: Path,
        scheme: dict[str, Any] | None = None,
        path: Path | None = None,
        *,
        ascii_only: bool = False,
        inspection: Inspection | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.store = Store(home)
        self.glyphs = ASCII if ascii_only else Glyphs()
        self.inspection = inspection or Echo(home)
        self.said: list[str] = []
        self.started: list[Scheme] = []
        self.opened: list[str] = []
        self.resumed = 0
        self.editor = EditorScreen(scheme, path)

    async def on_mount(self) -> None:
        """The editor is all there is."""
        await self.push_screen(self.editor)

    def on_unmount(self) -> None:
        """Ends what it has started."""
        self.inspection.close()

    def status_words(self) -> str:
        """No machine to speak of."""
        return ""

    def colour_of(self, run_id: str) -> str:
        """The run's colour."""
        return colour_of(run_id)

    def say(self, text: str, severity: str = "information") -> None:
        """Kept, to be looked at."""
        self.said.append(text)

    def start(self, schemes: Sequence[Scheme], device: str | None = None) -> list[Run]:
        """A run folder each, with no worker."""
        self.started += schemes
        return [self.store.create(scheme, {}, "queued") for scheme in schemes]

    async def attempt(self, action: Callable[..., Any], *args: Any) -> Any:
        """At once; nothing goes wrong here."""
        return action(*args)

    def open_run(self, run_id: str) -> None:
        """Kept, to be looked at."""
        self.opened.append(run_id)

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """There is no terminal to hand over: the editor of the tests needs none; errors are not looked after."""
        yield
        self.resumed += 1
