"""What the console remembers between starts: theme, filter, sort order, how plots look.

Owns the settings file in the platform's configuration folder, which several consoles may change at once.  A damaged or
unwritable file costs the memory, never the start.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from lctui.errors import BadInput
from lctui.runs import atomic
from lctui.runs.locks import Lock

Sort = Literal["newest", "name", "error", "ratio"]
SORTS: tuple[Sort, ...] = ("newest", "name", "error", "ratio")

PATIENCE_SECONDS = 0.5
"""Writing takes a thousandth of that; a console that was suspended in the middle of it would never end."""


class Settings(BaseModel):
    """What is kept."""

    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    theme: str = "textual-dark"
    """The colours' name."""
    filter: str = ""
    """The run list's filter."""
    sort: Sort = "newest"
    """The run list's order."""
    log_y: bool = True
    """Plots of errors have a logarithmic axis."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """How much plots are smoothed, 0 to below 1."""
    pane: str = "errors"
    """The run view's pane in front."""
    alone: bool = False
    """That pane has the whole screen."""
    details: bool = True
    """The selected run is shown beside the list."""
    _known: dict[str, Any] = PrivateAttr(default_factory=dict)

    def know(self) -> None:
        """What there is now is what the file says."""
        self._known = self.model_dump()

    def changed(self) -> dict[str, Any]:
        """What is not as the file said when it was read or written here last."""
        return {name: value for name, value in self.model_dump().items() if value != self._known.get(name)}


def settings_file() -> Path:
    """Where the settings are kept."""
    return Path(platformdirs.user_config_dir("lctui", appauthor=False)) / "settings.json"


def load_settings() -> Settings:
    """The settings as they were left; defaults for what is missing or damaged."""
    settings = Settings()
    for name, value in _kept().items():
        if name in Settings.model_fields:
            with contextlib.suppress(ValidationError):
                setattr(settings, name, value)
    settings.know()
    return settings


def save_settings(settings: Settings) -> None:
    """Keeps what was changed here, beside what another console has changed; if the folder can be written to.

    While another console is at it, for longer than it takes, this one does not stand still: what was changed here is
    kept with the next change, or at the end.
    """
    path, changed = settings_file(), settings.changed()
    if not changed:
        return
    with contextlib.suppress(OSError, BadInput):
        path.parent.mkdir(parents=True, exist_ok=True)
        with Lock(path.with_name("settings.lock")) as lock:
            if not lock.wait_briefly(PATIENCE_SECONDS):
                return
            atomic.sweep(path.parent, path.name)
            atomic.write_json(path, {**_kept(), **changed}, durable=False)
        settings.know()


def _kept() -> dict[str, Any]:
    """What the file says, as far as it can be written again: JSON knows no NaN, though files may have it."""
    kept = atomic.read_json(settings_file())
    return {name: value for name, value in kept.items() if _is_json(value)} if isinstance(kept, dict) else {}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
