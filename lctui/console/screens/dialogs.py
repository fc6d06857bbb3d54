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
{name} Input {{ border: none; height: 1; padding: 0; background: $boost; }}
{name} OptionList {{ border: none; height: auto; max-height: 16; padding: 0; background: $surface; }}
"""


class Confirm(ModalScreen[bool]):
    """A yes-or-no question; only `y` and enter say yes."""

    BINDINGS = [Binding("y,enter", "answer(True)", "yes"), Binding("n,escape,q", "answer(False)", "no")]
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
    """One of some choices, as (key, words); None when it is left by escape."""

    BINDINGS = [
        Binding("escape,q", "leave", "cancel"),
        Binding("j", "down", "down", show=False),
        Binding("k", "up", "up", show=False),
    ]
    DEFAULT_CSS = _BOX.format(name="Choose")

    def __init__(self, question: str, choices: list[tuple[str, str]]) -> None:
        super().__init__()
        self._question, self._choices = question, choices

    def compose(self) -> ComposeResult:
        """The question over the list."""
        with Vertical():
            yield Static(Text(self._question))
            yield OptionList(*(Option(Text(words), id=f"o{i}") for i, (_, words) in enumerate(self._choices)))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click chooses."""
        self.dismiss(self._choices[event.option_index][0])

    def action_leave(self) -> None:
        """Closes without a choice."""
        self.dismiss(None)

    def action_down(self) -> None:
        """To the next choice."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """To the choice before."""
        self.query_one(OptionList).action_cursor_up()
