"""What the views of the compare screen have in common, and the line that names them.

Owns how a run is signed in tables and legends.  Knows nothing of what a view shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual import events
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from lctui.console.compared_runs import Comparison

if TYPE_CHECKING:
    from lctui.console.app import Console
    from lctui.console.exports import Exportable


class View(Vertical):
    """A way of looking at the compared runs."""

    app: Console

    class Changed(Message):
        """Another metric, run or selection is shown: the line above the view must say so."""

    def __init__(self, comparison: Comparison, *, id: str) -> None:
        super().__init__(id=id)
        self.comparison = comparison

    def show(self) -> None:
        """Draws what is known now."""
        raise NotImplementedError

    def enter(self) -> None:
        """Takes the focus."""
        raise NotImplementedError

    def words(self) -> str:
        """What is shown, for the line above it."""
        return ""

    def in_hand(self) -> str | None:
        """The run under the cursor."""
        return None

    def exportable(self) -> Exportable | None:
        """The table or plot in view."""
        return None

    def signed(self, run_id: str, sign: str | None = None) -> Text:
        """A run's sign in the plot, in its colour; whether it is pinned; and its state unless it is finished."""
        comparison, glyphs = self.comparison, self.app.glyphs
        sign = comparison.letters.get(run_id, "") if sign is None else sign
        pinned = glyphs.pinned if run_id == comparison.pinned else " "
        status = comparison.runs[run_id].status
        going = glyphs.status(status) if status not in ("", "finished") else " "
        style = Style(color=comparison.colours[run_id], bold=run_id == comparison.pinned)
        return Text(f"{sign or ' '}{pinned}", style) + Text(going)


class ViewLine(Static):
    """The views by number, the one in front marked; what it shows on the right.  A click changes the view."""

    DEFAULT_CSS = "ViewLine { height: 1; text-wrap: nowrap; padding: 0 1; }"

    class Picked(Message):
        """A view's name was clicked."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(markup=False)
        self._names = tuple(names)
        self._ends: list[int] = []

    def show(self, current: int, words: str) -> None:
        """Marks a view and says what it shows; at narrow widths only the view in front is named in full."""
        labels = [f"{place + 1} {name}" for place, name in enumerate(self._names)]
        room = self.size.width - 2
        if sum(map(len, labels)) + 3 * len(labels) + len(words) > room:
            labels = [label if place == current else label[:1] for place, label in enumerate(labels)]
        text, self._ends = Text(no_wrap=True, overflow="ellipsis"), []
        for place, label in enumerate(labels):
            text.append(f"[{label}]" if place == current else f" {label} ", "bold" if place == current else "dim")
            self._ends.append(len(text))
        text.append(" " * max(room - len(text) - len(words), 1) + words)
        self.update(text)

    def on_click(self, event: events.Click) -> None:
        """The view whose name is there."""
        for place, end in enumerate(self._ends):
            if event.x - 1 < end:
                self.post_message(self.Picked(place))
                return
