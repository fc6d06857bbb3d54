"""The console that a person's words go through on the command line: what others wrote is shown, never obeyed.

Owns that: text is no markup, and escape sequences, control and direction signs in it are spelled out, whatever file or
error they came from.  Colours and cursor movements of Rich's own are untouched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from lctui.errors import printable


class Terminal(Console):
    """Rich's console for text of any origin."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich renders it, with every sign that is not to be printed spelled out."""
        for segment in super().render(renderable, options):
            inert = segment.control or segment.text.isprintable()
            yield segment if inert else Segment(_inert(segment.text), segment.style)


def _inert(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
