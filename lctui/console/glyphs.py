"""The signs that the console draws with, in Unicode or in plain ASCII.

Owns which sign means what; a terminal or font without Unicode is served by `--ascii`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from lctui.errors import printable


@dataclass(frozen=True)
class Glyphs:
    """One sign a meaning."""

    running: str = "●"
    queued: str = "◌"
    starting: str = "◌"
    finished: str = "✓"
    failed: str = "✗"
    diverged: str = "✗"
    crashed: str = "✗"
    stalled: str = "?"
    interrupted: str = "⏸"
    marked: str = "◆"
    pinned: str = "▲"
    cursor: str = "▶"
    full: str = "█"
    part: str = "▌"
    empty: str = "·"
    error: str = "✗"
    mu: str = "μ"
    dash: str = "–"
    ascii: bool = False

    def status(self, status: str) -> str:
        """The sign of a run's status."""
        return getattr(self, status) if status in _NAMES else "?"

    def bar(self, share: float, width: int) -> str:
        """A bar of `width` cells, filled to `share` (0 to 1)."""
        halves = round(max(0.0, min(share, 1.0)) * width * 2)
        bar = self.full * (halves // 2) + (self.part if halves % 2 else "")
        return bar + self.empty * (width - len(bar))

    def plain(self, text: str) -> str:
        """Text as this terminal can show it, in one line; escape sequences in it are spelled out."""
        text = printable(text)
        if not self.ascii:
            return text
        return text.translate(_PLAIN).encode("ascii", "replace").decode()


ASCII = Glyphs(
    running="*",
    queued="o",
    starting="o",
    finished="+",
    failed="x",
    diverged="x",
    crashed="x",
    stalled="?",
    interrupted="=",
    marked="#",
    pinned="^",
    cursor=">",
    full="#",
    part="-",
    empty=".",
    error="x",
    mu="mu",
    dash="-",
    ascii=True,
)

_NAMES = {each.name for each in fields(Glyphs)}
_PLAIN = str.maketrans(
    {
        "×": "x",
        "–": "-",
        "−": "-",
        "…": "~",
        "μ": "u",
        "κ": "kappa",
        "α": "alpha",
        "λ": "lambda",
        "Δ": "D",
        "Θ": "Theta",
        "‖": "||",
        "·": ".",
        "≤": "<=",
        "≥": ">=",
        "±": "+-",
        "¹": "1",
        "²": "2",
        "→": "->",
        "ᵀ": "'",
        "⌈": "ceil(",
        "⌉": ")",
        "₂": "2",
        "½": "1/2",
        "ℓ": "l",
        "₀": "0",
        "₁": "1",
        "∞": "inf",
    }
)
