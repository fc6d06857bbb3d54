"""The run list's lines: which columns, in what order, and what each says of a run.

Owns wording and order.  A line's cells are made when it comes into view: of five thousand runs, forty are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rich.text import Text

from lctui.console.glyphs import Glyphs
from lctui.console.palette import colour_of
from lctui.console.settings import Sort
from lctui.console.widgets.table import Cell, Column
from lctui.headless.tables import age
from lctui.headless.words import times
from lctui.runs.index import RunRow
from lctui.runs.status import AT_WORK
from lctui.scheme.measure import Measure


def columns(glyphs: Glyphs) -> list[Column]:
    """The columns, those that can be spared first with the highest `drop`."""
    return [
        Column("", 3),
        Column("run", 12, flex=3),
        Column("progress", 11, flex=2, drop=1),
        Column("test %", 6, "right"),
        Column("val %", 6, "right", drop=3),
        Column("ratio", 6, "right"),
        Column("model", 8, drop=5, flex=1),
        Column(glyphs.mu, 7, "right", drop=4),
        Column("age", 5, "right", drop=2),
    ]


class RunLine:
    """One run; equal to another line if it says the same."""

    def __init__(self, row: RunRow, glyphs: Glyphs, minute: int, *, marked: bool, pinned: bool) -> None:
        self.row, self.glyphs = row, glyphs
        self.marked, self.pinned = marked, pinned
        # Ages are by the minute: a list of them that changes every second would be sent every second.
        self._state = (row, minute, marked, pinned)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunLine) and self._state == other._state

    __hash__ = None  # type: ignore[assignment]

    @property
    def key(self) -> str:
        """The run's id."""
        return self.row.id

    @property
    def faint(self) -> bool:
        """Nothing happens there now."""
        return self.row.summary["status"] in ("queued", "interrupted")

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """A cell a column."""
        summary, glyphs = self.row.summary, self.glyphs
        colour = colour_of(self.row.id)
        signs = glyphs.status(summary["status"]) + (glyphs.marked if self.marked else " ")
        measured, measure = summary["test_error_pct"] is not None, Measure(summary["metric"])
        return (
            Text(signs + (glyphs.pinned if self.pinned else " "), style=colour),
            Text(glyphs.plain(summary["name"]), style=colour),
            glyphs.plain(progress_words(summary, glyphs)),
            glyphs.plain(measure.short(summary["test_error_pct"])),
            glyphs.plain(measure.short(summary["validation_error_pct"])),
            glyphs.plain(times(summary["compression_ratio"])) if measured else glyphs.dash,
            glyphs.plain(str(summary["model"] or glyphs.dash)),
            f"{summary['mu']:.1e}" if summary["mu"] else glyphs.dash,
            glyphs.plain(age(summary["created"])),
        )


def progress_words(summary: dict[str, Any], glyphs: Glyphs) -> str:
    """Where a run stands, in some ten to twenty cells."""
    status, phase = summary["status"], summary["phase"]
    if status in AT_WORK:
        if phase == "reference":
            return "reference"
        if phase == "waiting":
            return "waits for a reference"
        if summary["steps"]:
            share = summary["step"] / summary["steps"]
            return f"{summary['step']:>2}/{summary['steps']} {glyphs.bar(share, 8)}"
        return str(status)
    if status == "interrupted":
        return f"stopped at {summary['step']}/{summary['steps']}" if summary["steps"] else "stopped"
    if status in ("failed", "diverged", "crashed"):
        return f"{status}: {summary['error']}" if summary["error"] else str(status)
    return "done" if status == "finished" else str(status)


def in_order(rows: Sequence[RunRow], sort: Sort, queue: Sequence[str]) -> list[RunRow]:
    """Live runs first, then the queue in its order, then the others; rows come newest first."""
    places = {run_id: place for place, run_id in enumerate(queue)}

    def place(row: RunRow) -> tuple[Any, ...]:
        summary = row.summary
        if summary["status"] in AT_WORK:
            return (0,)
        if summary["status"] == "queued":
            return (1, places.get(row.id, len(places)))
        match sort:
            case "name":
                return (2, summary["name"])
            case "error":
                error = summary["test_error_pct"]
                return (2, error is None, error or 0.0)
            case "ratio":
                return (2, -(summary["compression_ratio"] or 0.0))
        return (2,)

    return sorted(rows, key=place)
