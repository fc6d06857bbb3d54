"""A colour for every run, the same in every list and plot and on every start.

Owns the palette, which stays told apart by the colour-blind (after Okabe and Ito, brightened to be legible on dark and
light grounds), and the choice, which depends on the run's id alone.  Colour never carries meaning by itself.
"""

from __future__ import annotations

import zlib

COLOURS = ("#4a9fd8", "#e6a01e", "#2aa876", "#d9673b", "#b77bb5", "#c2b33a", "#5fb9c9", "#d6608f")
"""Readable on dark and on light."""


def colour_of(run_id: str) -> str:
    """The colour of a run."""
    return COLOURS[zlib.crc32(run_id.encode()) % len(COLOURS)]


def distinct(run_ids: list[str]) -> dict[str, str]:
    """Colours of runs shown together: each its own while there are enough, moved along where two would share one."""
    taken: dict[str, str] = {}
    for run_id in run_ids:
        start = COLOURS.index(colour_of(run_id))
        around = [COLOURS[(start + i) % len(COLOURS)] for i in range(len(COLOURS))]
        used = list(taken.values())
        taken[run_id] = min(around, key=lambda colour: (used.count(colour), around.index(colour)))
    return taken
