"""One of a few values, on one line.

Owns the keys of such a field: left, right and space go through the values, enter lists them, a letter goes to the
value that begins with it, backspace leaves the field out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.geometry import Offset, Region
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lctui.console.form_model import LEFT_OUT, written
from lctui.errors import printable


def label_of(value: Any) -> str:
    """A value as the field shows it: yes and no for true and false."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(written(value))


class Choice(Widget, can_focus=True):
    """A value out of `choices`; what is left out shows the default, faintly."""

    BINDINGS = [
        Binding("right,space", "cycle(1)", "next", key_display="space"),
        Binding("left", "cycle(-1)", "previous", show=False),
        Binding("enter", "list", "list", key_display="enter"),
        Binding("backspace,delete", "clear", "leave out", show=False),
    ]
    COMPONENT_CLASSES = {"choice--default"}
    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; text-wrap: nowrap; pointer: pointer; }
    Choice > .choice--default { color: $text-muted; }
    Choice:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    Choice:focus > .choice--default { color: $block-cursor-foreground; }
    """

    class Changed(Message):
        """Another value has been chosen, or the field is left out."""

        def __init__(self, choice: Choice, value: Any) -> None:
            super().__init__()
            self.choice, self.value = choice, value

        @property
        def control(self) -> Choice:
            """The field."""
            return self.choice

    def __init__(self, choices: Sequence[Any], value: Any, default: Any = LEFT_OUT) -> None:
        super().__init__()
        self.choices, self.value, self.default = tuple(choices), value, default

    def show(self, choices: Sequence[Any], value: Any, default: Any) -> None:
        """Other choices or another value."""
        if (self.choices, self.value, self.default) != (tuple(choices), value, default) or type(value) is not type(
            self.value
        ):
            self.choices, self.value, self.default = tuple(choices), value, default
            self.refresh()

    @property
    def place(self) -> int | None:
        """Where the value, or the default in its place, is among the choices."""
        value = self.default if self.value is LEFT_OUT else self.value
        same = (i for i, choice in enumerate(self.choices) if choice == value and type(choice) is type(value))
        return next(same, None)

    def render(self) -> Text:
        """The value, with signs that there are others."""
        glyphs = self.app.glyphs  # type: ignore[attr-defined]
        left, right = ("<", ">") if glyphs.ascii else ("‹", "›")
        value = self.default if self.value is LEFT_OUT else self.value
        style = self.get_component_rich_style("choice--default") if self.value is LEFT_OUT else ""
        words = label_of(value) if value is not LEFT_OUT else "choose"
        return Text.assemble(f"{left} ", (words, style), f" {right}", no_wrap=True)

    def action_cycle(self, by: int) -> None:
        """To the next value, around the end."""
        place = self.place
        self._choose(by - 1 if place is None and by > 0 else by if place is None else place + by)

    def action_clear(self) -> None:
        """Leaves the field out."""
        if self.value is not LEFT_OUT:
            self.post_message(self.Changed(self, LEFT_OUT))

    def action_list(self) -> None:
        """Lists the choices over the form."""
        labels = [label_of(choice) for choice in self.choices]
        self.app.push_screen(ChoiceList(labels, self.place, self.region), self._listed)

    def _listed(self, place: int | None) -> None:
        if place is not None:
            self._choose(place)

    def _choose(self, place: int) -> None:
        value = self.choices[place % len(self.choices)]
        if value != self.value or type(value) is not type(self.value):
            self.post_message(self.Changed(self, value))

    def on_key(self, event: events.Key) -> None:
        """A letter goes to the next value that begins with it."""
        if event.character is None or not event.character.isalnum():
            return
        start = (self.place if self.place is not None else -1) + 1
        order = [(start + i) % len(self.choices) for i in range(len(self.choices))]
        letter = event.character.lower()
        found = next((place for place in order if label_of(self.choices[place]).lower().startswith(letter)), None)
        if found is not None:
            event.stop()
            self._choose(found)

    def on_click(self) -> None:
        """A click lists the choices."""
        self.focus()
        self.action_list()


class ChoiceList(ModalScreen[int | None]):
    """The choices of a field, over it."""

    BINDINGS = [Binding("escape", "leave", "cancel")]
    DEFAULT_CSS = """
    ChoiceList { background: transparent; }
    ChoiceList OptionList {
        width: auto; height: auto; max-height: 12; padding: 0; border: round $accent; background: $surface;
    }
    ChoiceList OptionList:focus { border: round $accent; }
    """

    def __init__(self, labels: list[str], place: int | None, region: Region) -> None:
        super().__init__()
        self._labels, self._place, self._region = labels, place, region

    def compose(self) -> ComposeResult:
        """The list."""
        yield OptionList(*(Option(Text(label)) for label in self._labels))

    def on_mount(self) -> None:
        """Puts it under the field, or above it where there is no room."""
        options = self.query_one(OptionList)
        options.highlighted = self._place or 0
        height = min(len(self._labels), 10) + 2
        width = max(map(len, self._labels)) + 4
        options.styles.width, options.styles.height = width, height
        below = self._region.bottom
        y = below if below + height <= self.app.size.height else max(0, self._region.y - height)
        options.offset = Offset(max(0, min(self._region.x, self.app.size.width - width)), y)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        self.dismiss(event.option_index)

    def on_click(self, event: events.Click) -> None:
        """A click beside the list closes it."""
        if event.widget is self:
            self.dismiss(None)

    def action_leave(self) -> None:
        """Closes without a choice."""
        self.dismiss(None)
