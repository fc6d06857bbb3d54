"""What the console remembers between starts: theme, filter, sort order, how plots look.

Owns the settings file in the platform's configuration folder.  A damaged or unwritable file costs the memory, never the
start.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from lctui.runs import atomic

Sort = Literal["newest", "name", "error", "ratio"]
SORTS: tuple[Sort, ...] = ("newest", "name", "error", "ratio")


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
    smoothing: float = 0.0
    """How much plots are smoothed, 0 to below 1."""
    pane: str = "errors"
    """The run view's pane in front."""
    alone: bool = False
    """That pane has the whole screen."""
    details: bool = True
    """The selected run is shown beside the list."""


def settings_file() -> Path:
    """Where the settings are kept."""
    return Path(platformdirs.user_config_dir("lctui", appauthor=False)) / "settings.json"


def load_settings() -> Settings:
    """The settings as they were left; defaults for what is missing or damaged."""
    kept = atomic.read_json(settings_file())
    kept = kept if isinstance(kept, dict) else {}
    settings = Settings()
    for name, value in kept.items():
        if name in Settings.model_fields:
            with contextlib.suppress(ValidationError):
                setattr(settings, name, value)
    return settings


def save_settings(settings: Settings) -> None:
    """Keeps the settings, if the folder can be written to."""
    path = settings_file()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, settings.model_dump(), durable=False)
