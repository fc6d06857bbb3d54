"""Whoever watches runs from inside their process: what they are told, and the one who listens to nothing.

Owns the interface alone; displays are `lctui.headless.display`'s.
"""

from __future__ import annotations

from typing import Protocol

from lctui import events
from lctui.runs.status import Progress


class Observer(Protocol):
    """Somebody watching a run from inside its process."""

    def event(self, event: events.Event) -> None:
        """Something happened."""

    def progress(self, progress: Progress) -> None:
        """A batch is done."""


class Nobody:
    """The observer of a run that nobody watches."""

    def event(self, event: events.Event) -> None:
        """Ignores the event."""

    def progress(self, progress: Progress) -> None:
        """Ignores the progress."""
