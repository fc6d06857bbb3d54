"""A form of one line a field: title, value, and under it what is wrong, while one types.

Owns moving among fields, and turning what is typed into values; where values go and what is wrong with them is for
whoever listens to `Changed` and calls `show` again.  Rows are reused from one form to the next, so that going through a
list of layers costs little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from lctui.console.form_model import LEFT_OUT, Field, parse, written
from lctui.console.forms import Bound, Section
from lctui.console.widgets.choice import Choice, label_of
from lctui.errors import printable

CYCLED = ("choice", "boolean")


class Line(Input):
    """The value of a field that is typed."""

    BINDINGS = [Binding("enter", "submit", "next field", show=False)]
    DEFAULT_CSS = """
    Line, Line:focus { border: none; height: 1; padding: 0; width: 1fr; background: transparent; }
    Line:focus { background: $boost; }
    """

    class Typed(Message):
        """Something was typed into a field; which one is known from that moment on, whatever the line shows next."""

        def __init__(self, bound: Bound, text: str) -> None:
            super().__init__()
            self.bound, self.text = bound, text

    bound: Bound | None = None
    """The field that it shows."""

    def __init__(self, bound: Bound) -> None:
        field = bound.field
        super().__init__(_shown(bound.value), _placeholder(field), suggester=_suggester(field), compact=True)
        self.cursor_blink = False
        self.bound = bound

    def watch_value(self, value: str) -> None:
        """Says so at every key."""
        if self.bound is not None:
            self.post_message(self.Typed(self.bound, value))

    def show(self, text: str) -> None:
        """Another text, that nobody typed."""
        if text != self.value:
            with self.prevent(self.Typed, Input.Changed):
                self.value = text


class FieldRow(Widget):
    """A field's title and value, and its problems below."""

    DEFAULT_CSS = """
    FieldRow { height: auto; layout: grid; grid-size: 2; grid-rows: auto; padding: 0 1; }
    FieldRow > .title { width: 1fr; height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    FieldRow:focus-within > .title { color: $foreground; text-style: bold; }
    FieldRow > .wrong { column-span: 2; height: auto; color: $text-error; display: none; padding: 0 0 0 2; }
    FieldRow.-wrong > .wrong { display: block; }
    """

    def __init__(self, bound: Bound, width: int) -> None:
        super().__init__()
        self.bound = bound
        self.styles.grid_columns = f"{width} 1fr"
        field = bound.field
        self.editor: Choice | Line
        if field.kind in CYCLED:
            self.editor = Choice(_choices(field), bound.value, field.default)
        else:
            self.editor = Line(bound)

    def compose(self) -> ComposeResult:
        """Title, value, problems."""
        yield Static(Text(printable(self.bound.label)), classes="title")
        yield self.editor
        yield Static("", classes="wrong")

    def on_click(self) -> None:
        """A click on the title goes to the value."""
        if not self.editor.has_focus:
            self.editor.focus()

    def fits(self, bound: Bound) -> bool:
        """Can this row show that field?"""
        return isinstance(self.editor, Choice) == (bound.field.kind in CYCLED)

    def show(self, bound: Bound, width: int, *, typed: bool) -> None:
        """Another field, or another value; one that has been `typed` here stands here already."""
        before, self.bound = self.bound, bound
        self.styles.grid_columns = f"{width} 1fr"
        if before.label != bound.label:
            self.query_one(".title", Static).update(Text(printable(bound.label)))
        if isinstance(self.editor, Choice):
            self.editor.show(_choices(bound.field), bound.value, bound.field.default)
            return
        self.editor.bound = bound
        if before.field != bound.field:
            self.editor.placeholder = _placeholder(bound.field)
            self.editor.suggester = _suggester(bound.field)
        if typed or (before.path, before.value) == (bound.path, bound.value):
            return  # the text may be ahead of the value: more may have been typed since
        self.editor.show(_shown(bound.value))

    def show_problems(self, words: Sequence[str]) -> None:
        """What is wrong with it; nothing, if nothing is."""
        glyphs = self.app.glyphs  # type: ignore[attr-defined]
        text = Text("\n".join(f"{glyphs.error} {glyphs.plain(printable(each))}" for each in words))
        wrong = self.query_one(".wrong", Static)
        if wrong.content != text:
            wrong.update(text)
        self.set_class(bool(words), "-wrong")


def _choices(field: Field) -> tuple[Any, ...]:
    return (True, False) if field.kind == "boolean" else field.choices


def _shown(value: Any) -> str:
    return printable(written(value))


def _placeholder(field: Field) -> str:
    if field.default is not LEFT_OUT and field.default not in (None, [], {}):
        return label_of(field.default)
    return "needed" if field.required else "–"


def _suggester(field: Field) -> SuggestFromList | None:
    words = [str(word) for word in field.choices]
    if field.kind == "text":
        words = [word for word in field.schema.get("examples", ()) if isinstance(word, str)]
    return SuggestFromList(words) if words else None


class Form(VerticalScroll, can_focus=False):
    """Fields in sections; keys move among them."""

    BINDINGS = [
        Binding("down,tab", "go(1)", "next field", key_display="tab"),
        Binding("up,shift+tab", "go(-1)", "field before", show=False),
        Binding("escape", "leave", "back to the list"),
    ]
    DEFAULT_CSS = """
    Form { height: 1fr; scrollbar-size-vertical: 1; }
    Form > .heading { height: auto; padding: 0 1; color: $text-muted; }
    Form > .heading.-titled { margin-top: 1; color: $foreground; text-style: bold; }
    """

    class Changed(Message):
        """A field has another value; `typing` says that more may follow."""

        def __init__(self, bound: Bound, value: Any, *, typing: bool) -> None:
            super().__init__()
            self.bound, self.value, self.typing = bound, value, typing

    class Entered(Message):
        """The focus has come to a field."""

        def __init__(self, bound: Bound, member: int | None) -> None:
            super().__init__()
            self.bound, self.member = bound, member

    class Left(Message):
        """Escape: back to where one came from."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._members: dict[str, int | None] = {}
        # Keys, the mouse and answers from another process come in different tasks: one lays out at a time, in order.
        self._laying_out = asyncio.Lock()

    @property
    def rows(self) -> list[FieldRow]:
        """The fields' rows, from the top."""
        return list(self.query_children(FieldRow))

    async def show(
        self, sections: Sequence[Section], problems: Mapping[str, Sequence[str]], typed: str | None = None
    ) -> None:
        """These fields, values and problems, after something was typed into one; rows that fit stay, with the focus."""
        async with self._laying_out:
            if self.is_attached:
                await self._show(sections, problems, typed)

    async def _show(
        self, sections: Sequence[Section], problems: Mapping[str, Sequence[str]], typed: str | None
    ) -> None:
        bounds = [bound for section in sections for bound in section.fields]
        self._members = {bound.place: section.member for section in sections for bound in section.fields}
        width = min(max((len(bound.label) for bound in bounds), default=0) + 2, 16)
        wanted: list[Bound | str] = []
        for section in sections:
            wanted += [section.heading] if section.heading else []
            wanted += section.fields
        where = next((row.bound.place for row in self.rows if row.editor.has_focus), None)
        with self.app.batch_update():
            await self._lay_out(wanted, width)
            for row, bound in zip(self.rows, bounds, strict=True):
                row.show(bound, width, typed=bound.place == typed)
                row.show_problems(problems.get(bound.place, ()))
            if where is not None:
                self.focus_field(where)

    async def _lay_out(self, wanted: Sequence[Bound | str], width: int) -> None:
        """A child for each of these, in this order; those that can show it stay."""
        children: list[Widget | None] = list(self.children)
        stale = [child for child in children[len(wanted) :] if child is not None]
        mounts = []
        for i, item in enumerate(wanted):
            child = children[i] if i < len(children) else None
            if child is not None and _fits(child, item):
                continue
            new = _heading(item) if isinstance(item, str) else FieldRow(item, width)
            mounts.append(self.mount(new, before=child))
            stale += [child] if child is not None else []
        if stale:
            await self.remove_children(stale)
        for mount in mounts:
            await mount

    def focus_field(self, place: str) -> bool:
        """Puts the focus on a field, its text selected; says whether it is there."""
        for row in self.rows:
            if row.bound.place == place:
                if not row.editor.has_focus:
                    row.editor.focus()
                return True
        return False

    def focus_first(self, *, number: bool = False, member: int | None = None) -> None:
        """To the first field, or to the first that holds a number."""
        rows = [row for row in self.rows if member is None or self._members.get(row.bound.place) == member] or self.rows
        wanted = [row for row in rows if row.bound.field.kind in ("integer", "number", "word")] if number else rows
        filled = [row for row in wanted if row.bound.value is not LEFT_OUT]
        for row in (filled if number else []) + wanted + rows:
            row.editor.focus()
            return

    def action_go(self, by: int) -> None:
        """Another field, around the end."""
        rows = self.rows
        place = next((i for i, row in enumerate(rows) if row.editor.has_focus), 0)
        if rows:
            rows[(place + by) % len(rows)].editor.focus()

    def action_leave(self) -> None:
        """Back to the list."""
        self.post_message(self.Left())

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Says which field one is in."""
        if isinstance(event.widget.parent, FieldRow):
            bound = event.widget.parent.bound
            self.post_message(self.Entered(bound, self._members.get(bound.place)))

    def on_line_typed(self, event: Line.Typed) -> None:
        """What is typed is a value at once."""
        event.stop()
        self.post_message(self.Changed(event.bound, parse(event.bound.field, event.text), typing=True))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Told by `Line.Typed` already."""
        event.stop()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes on to the next field."""
        event.stop()
        self.action_go(1)

    def on_choice_changed(self, event: Choice.Changed) -> None:
        """A choice is a value at once."""
        event.stop()
        if isinstance(event.choice.parent, FieldRow):
            self.post_message(self.Changed(event.choice.parent.bound, event.value, typing=False))


def _heading(words: str) -> Static:
    return Static(Text(words), classes="heading -titled")


def _fits(child: Widget, wanted: Bound | str) -> bool:
    if isinstance(wanted, str):
        return isinstance(child, Static) and str(child.content) == wanted
    return isinstance(child, FieldRow) and child.fits(wanted)
