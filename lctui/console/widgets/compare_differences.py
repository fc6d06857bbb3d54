"""What differs between the schemes of several runs, and what came of it: a row a field, a column a run.

Owns which runs fit and how values are set off from those of the run that the others are compared to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding

from lctui.console.compared_runs import Comparison
from lctui.console.comparison import OUTCOMES, Outcome, canonical, differences, value_text
from lctui.console.exports import Exportable
from lctui.console.widgets.compare_view import View
from lctui.console.widgets.table import GAP, Column, LineTable, Row
from lctui.errors import printable
from lctui.export import formats

FIELD_WIDTH = 34
RUN_WIDTH = 13
FAINT, BETTER = "dim", "bold green"
RESULTS = "results"


class Differences(View):
    """A table of differing fields, then results; the run compared to stays in the first column."""

    BINDINGS = [
        Binding("left,h", "turn_to(-1)", "run to the left", show=False),
        Binding("right,l", "turn_to(1)", "run to the right", show=False),
    ]

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison, id="differences")
        self._from = 0
        self._at: str | None = None

    def compose(self) -> ComposeResult:
        """One table."""
        yield LineTable([Column("field", 12, flex=1)], empty="  no runs to compare")

    def enter(self) -> None:
        """Arrow keys move in the table."""
        self.query_one(LineTable).focus()

    def words(self) -> str:
        """What faint and marked mean, and which runs are in view."""
        others, seen = len(self._others()), len(self._columns_ids()) - 1
        base = self.comparison.base
        if base is None:
            return ""
        legend = f"{self.app.glyphs.finished} better than {self.comparison.letters.get(base) or 'first'}"
        return legend + (f", runs {self._from + 1}–{self._from + seen} of {others}" if seen < others else "")

    def in_hand(self) -> str | None:
        """The run whose column is marked."""
        ids = [name for name in (self.comparison.base, *self._others()) if name is not None]
        return self._at if self._at in ids else next(iter(ids), None)

    def _others(self) -> list[str]:
        return [run_id for run_id in self.comparison.shown if run_id != self.comparison.base]

    def _field_width(self) -> int:
        return min(FIELD_WIDTH, max(self.size.width // 3, 12))

    def _run_width(self) -> int:
        """The base and one other run fit in any case."""
        return max(min(RUN_WIDTH, (self.size.width - 1 - self._field_width()) // 2 - GAP), 6)

    def _columns_ids(self) -> list[str]:
        """The runs in view: the base, then as many others as fit."""
        base, others = self.comparison.base, self._others()
        if base is None:
            return []
        room = max((self.size.width - 1 - self._field_width()) // (self._run_width() + GAP) - 1, 1)
        if (here := self.in_hand()) in others:
            place = others.index(str(here))
            self._from = min(max(self._from, place - room + 1), place)
        self._from = max(0, min(self._from, len(others) - room))
        return [base, *others[self._from : self._from + room]]

    def on_resize(self, event: events.Resize) -> None:
        """Other runs fit."""
        self.show()

    def show(self) -> None:
        """Columns if they are others, and rows."""
        ids, table = self._columns_ids(), self.query_one(LineTable)
        columns = [
            Column("field", self._field_width(), flex=1),
            *(Column(self._title(name), self._run_width(), "right") for name in ids),
        ]
        if tuple(columns) != table.columns:
            place = table.key
            table.set_columns(columns)
            table.set_rows(self.rows(ids))
            table.go_to(place or "")
        else:
            table.set_rows(self.rows(ids))
        self.post_message(self.Changed())

    def _title(self, run_id: str) -> str:
        here = self.app.glyphs.cursor if run_id == self.in_hand() else ""
        pinned = self.app.glyphs.pinned if run_id == self.comparison.pinned else ""
        return self.app.glyphs.plain(f"{here}{pinned}{self.comparison.legend(run_id)}")

    def rows(self, ids: Sequence[str]) -> list[Row]:
        """Differences among all runs that are drawn, for those in view; then results."""
        comparison = self.comparison
        everyone = [run_id for run_id in comparison.shown if comparison.runs[run_id].scheme]
        everyone = list(dict.fromkeys([*ids[:1], *everyone]))
        rows = []
        for each in differences([comparison.runs[run_id].scheme for run_id in everyone]):
            values = dict(zip(everyone, each.values, strict=True))
            rows.append(self._scheme_row(each.field, [values.get(run_id) for run_id in ids]))
        if not rows and len(everyone) > 1:
            rows.append(Row("same", ("the schemes are the same", *[""] * len(ids)), faint=True))
        rows.append(Row(RESULTS, (RESULTS, *[""] * len(ids)), faint=True))
        return rows + [self._result_row(outcome, ids) for outcome in self._outcomes()]

    def _scheme_row(self, field: str, values: Sequence[Any]) -> Row:
        same = [canonical(value) == canonical(values[0]) for value in values]
        cells = [
            Text(self.app.glyphs.plain(printable(value_text(value))), FAINT if equal and place else "")
            for place, (value, equal) in enumerate(zip(values, same, strict=True))
        ]
        return Row(field, (Text(printable(field)), *cells))

    def _result_row(self, outcome: Outcome, ids: Sequence[str]) -> Row:
        numbers = [self._outcome(outcome, run_id) for run_id in ids]
        cells = [self._result(outcome, number, numbers[0], place == 0) for place, number in enumerate(numbers)]
        return Row(f"{RESULTS}.{outcome.title}", (Text(f"  {outcome.title}"), *cells))

    def _outcomes(self) -> list[Outcome]:
        return [outcome.under(self.comparison.measure) for outcome in OUTCOMES]

    def _outcome(self, outcome: Outcome, run_id: str) -> float | None:
        run = self.comparison.runs[run_id]
        if outcome.path[0] == "final":
            return run.final(outcome.path[1])
        return run.best(outcome.path[1])[1] if outcome.path[0] == "best" else outcome.of(run.result)

    def _result(self, outcome: Outcome, number: float | None, base: float | None, is_base: bool) -> Text:
        words = self.app.glyphs.plain(outcome.text(number))
        if outcome.beats(number, base):
            return Text(f"{self.app.glyphs.finished} {words}", BETTER)
        return Text(words, FAINT if number == base and not is_base else "")

    def exportable(self) -> Exportable:
        """All runs that are drawn, also those that do not fit; results with every digit."""
        comparison = self.comparison
        ids = [name for name in (comparison.base, *self._others()) if name is not None]
        fields = differences([comparison.runs[run_id].scheme for run_id in ids])
        rows: list[tuple[formats.Cell, ...]] = [
            (each.field, *(None if value is None else value_text(value) for value in each.values)) for each in fields
        ]
        rows += [(each.title, *(self._outcome(each, run_id) for run_id in ids)) for each in self._outcomes()]
        columns = (formats.Column("field"), *(formats.Column(comparison.name(run_id), form="number") for run_id in ids))
        return Exportable("compare-differences", formats.Table("what differs", columns, tuple(rows)))

    def action_turn_to(self, by: int) -> None:
        """Marks another run's column."""
        ids = [name for name in (self.comparison.base, *self._others()) if name is not None]
        if ids:
            place = ids.index(str(self.in_hand())) + by
            self._at = ids[max(0, min(place, len(ids) - 1))]
            self.show()
