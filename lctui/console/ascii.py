"""The last step before an ASCII terminal: whatever is drawn, borders and scroll bars too, in signs that it has.

Owns a sign for a sign of the same width.  What words can say better than a sign is for `lctui.console.glyphs`.
"""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SIGNS = {
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝", "+"),
    **dict.fromkeys("─━═┄▁▔", "-"),
    **dict.fromkeys("│┃║▏▕┆", "|"),
    **dict.fromkeys("█▉▊▋▌▐▀▄▇▆▅■", "#"),
    **dict.fromkeys("░▒▓▃▂", ":"),
    **dict(zip("×–−…μκαλ·→←↑↓✓✗●◌◆▲▶▼⏎²", "x--~ukal.><^v+x*o#^>v<2", strict=True)),
}


class AsciiFilter(LineFilter):
    """Replaces every sign beyond ASCII by one of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """A line's segments, in ASCII."""
        return [
            segment if segment.text.isascii() else Segment(_ascii(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@lru_cache(4096)
def _ascii(text: str) -> str:
    return "".join(sign if sign.isascii() else _SIGNS.get(sign, "?" * cell_len(sign)) for sign in text)
