"""Small questions over a screen: yes or no, a line of text, one of a list.

Owns their look and keys; whoever asks gets the answer from `push_screen_wait`.
"""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

_BOX = """
{name} {{ align: center middle; }}
{name} > Vertical {{
    width: 70; max-width: 94%; height: auto; max-height: 90%;
    border: round $primary; background: $surface; padding: 0 1;
}}
{name} Static {{ height: auto; }}
{name} Input, {name} Input:focus {{ border: none; height: 1; padding: 0; background: $boost; }}
{name} OptionList, {name} OptionList:focus {{ border: none; padding: 0; background: $surface; }}
{name} OptionList {{ height: auto; max-height: 16; }}
"""


class Confirm(ModalScreen[bool]):
    """A yes-or-no question about something that cannot be undone; only `y` says yes."""

    BINDINGS = [Binding("y", "answer(True)", "yes"), Binding("n,escape,q,enter", "answer(False)", "no")]
    DEFAULT_CSS = _BOX.format(name="Confirm")

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        with Vertical():
            yield Static(Text(self._question))
            yield Static(Text("y yes   n no", style="bold"))

    def action_answer(self, answer: bool) -> None:
        """Closes with the answer."""
        self.dismiss(answer)


class Ask(ModalScreen[str | None]):
    """A question answered by a line of text; None when it is left by escape."""

    BINDINGS = [Binding("escape", "leave", "cancel")]
    DEFAULT_CSS = _BOX.format(name="Ask")

    def __init__(self, question: str, value: str = "") -> None:
        super().__init__()
        self._question, self._value = question, value

    def compose(self) -> ComposeResult:
        """The question over the line."""
        with Vertical():
            yield Static(Text(self._question))
            yield Input(self._value, select_on_focus=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter answers."""
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Closes without an answer."""
        self.dismiss(None)


class Choose(ModalScreen[str | None]):
    """One of some choices, as (key, words); typing narrows a long list; None when it is left by escape."""

    BINDINGS = [
        Binding("escape", "leave", "cancel"),
        Binding("down", "move('down')", "down", show=False),
        Binding("up", "move('up')", "up", show=False),
        Binding("pagedown", "move('page_down')", "page down", show=False),
        Binding("pageup", "move('page_up')", "page up", show=False),
    ]
    DEFAULT_CSS = _BOX.format(name="Choose")

    def __init__(self, question: str, choices: list[tuple[str, str]], *, free: bool = False) -> None:
        super().__init__()
        self._question, self._choices = question, choices
        self._free = free
        """What fits no choice is an answer too: a path, say."""
        self._shown = choices

    def compose(self) -> ComposeResult:
        """The question over the line that narrows, over the list."""
        with Vertical():
            yield Static(Text(self._question))
            yield Input(placeholder="type to narrow", select_on_focus=False)
            yield OptionList(*self._options())

    def on_mount(self) -> None:
        """Keys go to the line, arrows to the list."""
        self.query_one(OptionList).can_focus = False
        self.query_one(OptionList).highlighted = 0 if self._shown else None

    def _options(self) -> list[Option]:
        return [Option(Text(words)) for _, words in self._shown]

    def on_input_changed(self, event: Input.Changed) -> None:
        """Only choices with all the words stay."""
        words = event.value.lower().split()
        self._shown = [choice for choice in self._choices if all(word in choice[1].lower() for word in words)]
        box = self.query_one(OptionList)
        box.clear_options()
        box.add_options(self._options())
        box.highlighted = 0 if self._shown else None

    def on_input_submitted(self) -> None:
        """Enter chooses."""
        place, typed = self.query_one(OptionList).highlighted, self.query_one(Input).value
        if place is not None:
            self.dismiss(self._shown[place][0])
        elif self._free and typed.strip():
            self.dismiss(typed)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """So does a click."""
        self.dismiss(self._shown[event.option_index][0])

    def action_move(self, where: str) -> None:
        """Along the list."""
        box = self.query_one(OptionList)
        {
            "down": box.action_cursor_down,
            "up": box.action_cursor_up,
            "page_down": box.action_page_down,
            "page_up": box.action_page_up,
        }[where]()

    def action_leave(self) -> None:
        """Closes without a choice."""
        self.dismiss(None)
