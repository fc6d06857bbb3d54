"""The panes of the scheme editor: layers on the left, the form of the selected one on the right, the whole net below.

Owns what happens between a change and what is shown: it is judged and predicted at once.  The forms come from the
models' JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from lctui.console import editor_view as view
from lctui.console.editing import Session
from lctui.console.exports import Exportable
from lctui.console.forms import Bound, Row
from lctui.console.screens.editor_questions import EditorQuestions
from lctui.console.widgets.form import Form
from lctui.console.widgets.layers import TAKEN, LayerTable
from lctui.console.widgets.plot import Curve, Plot
from lctui.console.widgets.table import Row as TableRow
from lctui.errors import printable

DRAWN = 500
"""Steps of a schedule that are drawn."""
LEAST = 5
"""Lines that a curve needs."""
ONE_PANE = 72
"""Columns below which list and form are shown one at a time."""


class EditorPanes(EditorQuestions):
    """Shows one scheme, and takes what is typed into its forms."""

    DEFAULT_CSS = """
    EditorPanes > #panes { height: 1fr; }
    EditorPanes #left { width: 5fr; border: round $primary; }
    EditorPanes #right { width: 3fr; border: round $primary; }
    EditorPanes #left:focus-within, EditorPanes #right:focus-within { border: round $accent; }
    EditorPanes #hint { height: auto; padding: 0 1; display: none; }
    EditorPanes #about { dock: bottom; height: auto; max-height: 5; padding: 0 1; color: $text-muted; }
    EditorPanes #curve { height: 12; display: none; }
    EditorPanes.-curve #curve { display: block; }
    EditorPanes.-curve Form { height: auto; max-height: 75%; }
    EditorPanes.-hint #hint { display: block; }
    EditorPanes.-hint Form { display: none; }
    EditorPanes #whole { height: auto; padding: 0 1; border: round $primary; }
    EditorPanes #whole > Static { height: auto; max-height: 4; text-wrap: nowrap; text-overflow: ellipsis; }
    EditorPanes #wrong { color: $text-error; }
    EditorPanes.-short #whole { border: none; background: $boost; }
    EditorPanes.-short #about { max-height: 2; }
    EditorPanes.-short #curve { height: 1fr; min-height: 4; }
    EditorPanes.-low #about { display: none; }
    EditorPanes.-one #right, EditorPanes.-one.-form #left { display: none; }
    EditorPanes.-one.-form #right { display: block; width: 1fr; }
    EditorPanes.-one #left { width: 1fr; }
    """

    def __init__(self, scheme: dict[str, Any] | None = None, path: Path | None = None) -> None:
        super().__init__(scheme, path)
        types = self.session.forms.kinds.types
        self.keys_of_types = view.type_keys(types, TAKEN)
        self.marked: set[str] = set()
        self.member = 0
        """The summand that keys of the list act on: the one whose field had the focus last, or the last."""
        self._last: Mapping[str, Any] | None = None
        self._columns: object = None

    def take(self, session: Session) -> None:
        """Another scheme: nothing of the one before stays."""
        super().take(session)
        self.marked.clear()
        self.member, self._last = 0, None

    def compose_body(self) -> ComposeResult:
        """Two panes over the whole net."""
        with Horizontal(id="panes"):
            with Vertical(id="left"):
                yield LayerTable(view.columns(self.session), self.keys_of_types, id="layers")
            with Vertical(id="right"):
                yield Static("", id="hint")
                yield Form()
                plot = Plot(ascii=self.app.glyphs.ascii, empty="", id="curve")
                plot.can_focus = False
                yield plot
                yield Static("", id="about")
        with Vertical(id="whole"):
            yield Static("", id="predicted")
            yield Static("", id="what-if")
            yield Static("", id="wrong")

    async def on_mount(self) -> None:
        """The list has the keys."""
        self.query_one(LayerTable).focus()
        await self.refresh_all()

    def on_resize(self, event: Any) -> None:
        """One pane at a time where two do not fit."""
        super().on_resize(event)
        self.set_class(event.size.width < ONE_PANE, "-one")
        self.set_class(event.size.height < 20, "-low")
        self.call_after_refresh(lambda: self._show_curve(self.row))

    def exportable(self) -> Exportable | None:
        """The layers and what they will weigh."""
        report = self.session.report
        return None if report is None or self.broken else view.exported(report, self.session.raw.get("name", "scheme"))

    # What is shown

    @property
    def table(self) -> LayerTable:
        """The list."""
        return self.query_one(LayerTable)

    @property
    def form(self) -> Form:
        """The form."""
        return self.query_one(Form)

    @property
    def row(self) -> Row:
        """The row under the cursor."""
        kind, _, name = (self.table.key or "block:").partition(":")
        return Row(kind, name)

    async def refresh_all(self, typed: str | None = None) -> None:
        """Shows the scheme as it is now, after something was typed into a field."""
        session = self.session
        if session.report is not None:
            self._last = session.report
        self.marked &= set(session.names)
        columns = view.columns(session)
        if columns != self._columns:
            key = self.table.key
            self.table.set_columns(columns)
            self._columns = columns
            self.table.set_rows(self._rows())
            self.table.go_to(session.at or key or "")
        else:
            self.table.set_rows(self._rows())
        await self.show_form(typed)
        self.show_panes()
        self.show_title()
        self.ask_later()

    def _rows(self) -> list[TableRow]:
        self.table.empty = "  nothing to show: it does not parse" if self.broken else ""
        return [] if self.broken else view.rows(self.session, self.marked, self.app.glyphs, self._last)

    async def show_form(self, typed: str | None = None) -> None:
        """The form of the row under the cursor, and what is wrong."""
        row, session = self.row, self.session
        session.at = session.at if self.broken else row.key
        sections = [] if self.broken else session.sections(row)
        fields = [bound for section in sections for bound in section.fields]
        problems, elsewhere = session.problems_of(fields)
        self.set_class(not sections, "-hint")
        self._show_hint(row)
        await self.form.show(sections, problems, typed)
        title = "not a scheme" if self.broken else view.title(session, row)
        self.query_one("#right").border_title = Text(self._plain(title))
        self._show_curve(row)
        here = next((row.bound.field for row in self.form.rows if row.editor.has_focus), None)
        self._describe("" if not sections else here.description if here is not None else sections[-1].about)
        lines = [] if self.broken else view.elsewhere(elsewhere, self.app.glyphs, 1 if self.has_class("-low") else 3)
        if session.net_error and not self.broken:
            lines.append(f"{self.app.glyphs.error} model: {session.net_error}")
        wrong = self.query_one("#wrong", Static)
        wrong.update(Text("\n".join(map(self._plain, lines))))
        wrong.display = bool(lines)
        self.refresh_bindings()

    def _plain(self, words: str) -> str:
        return self.app.glyphs.plain(words)

    def _show_hint(self, row: Row) -> None:
        hint = Text()
        if self.broken:
            hint.append(self._plain(printable(self.broken)), "bold").append("\n\n")
            hint.append("E opens the text in $EDITOR. o opens another file, n starts anew")
            hint.append(", u goes back to the scheme as it was." if self.has_scheme else ".")
        elif row.kind == "layer" and not self.session.sections(row):
            hint.append("not compressed", "bold").append("\n")
            kinds = self.session.forms.kinds
            for key, name in self.keys_of_types.items():
                about = self._plain(kinds.of_type(name)[0].description)
                hint.append(f"\n{key}  ", "bold").append(f"{name}  ").append(about, "dim")
        self.query_one("#hint", Static).update(hint)

    def _show_curve(self, row: Row) -> None:
        scheme = self.session.scheme
        of_steps = row.kind == "block" and row.name in ("lc", "l_step") and not self.broken
        room = self.query_one("#right").size.height - len(self.form.rows) - 5
        self.set_class(of_steps and scheme is not None and room >= LEAST, "-curve")
        if scheme is None or not self.has_class("-curve"):
            return
        plot, colour = self.query_one(Plot), self.app.colour_of("")
        count = scheme.lc.mu.steps
        steps = [1.0 + i * (count - 1) // max(min(count, DRAWN) - 1, 1) for i in range(min(count, DRAWN))]
        mus = [scheme.lc.mu.at(round(step) - 1) for step in steps]
        if row.name == "lc":
            name, values = self.app.glyphs.mu, mus
        else:
            rates = zip(steps, mus, strict=True)
            name, values = "lr", [scheme.l_step.rate(round(step) - 1, mu) for step, mu in rates]
        plot.log_y = row.name == "lc"
        plot.show([Curve(name, steps, values, colour)], title=f"{name} by LC step", now=True)

    def _describe(self, words: str) -> None:
        self.query_one("#about", Static).update(Text(self._plain(words)))

    def show_panes(self) -> None:
        """What is below: the prediction and the answer."""
        self.query_one("#whole").display = not self.broken
        self.query_one("#predicted", Static).update(self._drawn(view.whole_net(self.session, self._last)))
        answer = (
            view.trying(*self.trying)
            if self.trying is not None
            else view.what_if(
                self.answer, self.no_answer, stale=self.stale, awaited=self.session.valid and not self.broken
            )
        )
        self.query_one("#what-if", Static).update(self._drawn(answer))

    def _drawn(self, text: Text) -> Text:
        if self.app.glyphs.ascii:
            text.plain = self._plain(text.plain)
        return text

    # What the form says

    async def on_form_changed(self, event: Form.Changed) -> None:
        """A field has another value."""
        bound, session = event.bound, self.session
        if not event.typing and self._tells_apart(bound):
            session.set_constant(bound.path, event.value)
        else:
            session.set(bound.path, event.value, typing=event.typing)
        await self.refresh_all(bound.place if event.typing else None)

    def _tells_apart(self, bound: Bound) -> bool:
        """Does this field choose among compressions?"""
        if "how" not in bound.path or bound.field.kind != "choice":
            return False
        how = self.session.value(bound.path[:-1])
        variant = self.session.forms.kinds.variant(how)
        return bound.label == "type" or (variant is not None and bound.label in variant.constants)

    def on_form_entered(self, event: Form.Entered) -> None:
        """Another field has the focus: what it means is said below."""
        self.session.settle()
        if event.member is not None:
            self.member = event.member
        self._describe(event.bound.field.description)

    def on_form_left(self) -> None:
        """Back to the list."""
        self.remove_class("-form")
        self.session.settle()
        self.table.focus()

    async def on_line_table_highlighted(self, event: LayerTable.Highlighted) -> None:
        """Another row: its form."""
        if event.key is not None and event.key == self.table.key and event.key != self.session.at:
            self.member = max(0, len(self.session.members(self.row)) - 1)
            self.session.settle()
            await self.show_form()

    def on_line_table_chosen(self) -> None:
        """Into the form."""
        self.enter()

    def enter(self, **where: Any) -> None:
        if self.form.rows:
            self.add_class("-form")
            self.form.focus_first(**where)
        elif self.row.kind == "layer" and self.has_class("-one") and not self.broken:
            keys = ", ".join(f"{key} {name}" for key, name in self.keys_of_types.items())
            self.app.say(f"not compressed; a letter says how: {keys}")
