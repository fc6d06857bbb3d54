"""The line of keys at the bottom.

Owns choosing which of the active bindings fit and how they read; the bindings themselves say what there is.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input


class KeyBar(Widget):
    """The keys that work now, most useful first, as many as fit; a click presses one."""

    COMPONENT_CLASSES = {"keybar--key", "keybar--words"}
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        height: 1;
        background: $panel;
        & > .keybar--key { color: $accent; text-style: bold; }
        & > .keybar--words { color: $foreground; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        """Follows the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: Screen[object]) -> None:
        self.refresh()

    def keys(self) -> list[tuple[str, str, str]]:
        """(key, how it is written, what it does) of every active binding that wants to be seen."""
        found: dict[str, tuple[str, str, str]] = {}
        typing = isinstance(self.screen.focused, Input)
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled and binding.description:
                display = self.app.get_key_display(binding)
                if typing and len(display) == 1:
                    continue  # in a line of text it is a sign like any other
                found.setdefault(binding.action, (binding.key, display, binding.description))
        return list(found.values())

    def render_line(self, y: int) -> Strip:
        """All on one line."""
        key_style = self.get_component_rich_style("keybar--key")
        words_style = self.get_component_rich_style("keybar--words")
        segments, self._shown, x = [Segment(" ", words_style)], [], 1
        for key, display, words in self.keys():
            width = cell_len(display) + 1 + cell_len(words) + 2
            if x + width > self.size.width:
                continue
            segments += [Segment(display, key_style), Segment(f" {words}  ", words_style)]
            self._shown.append((x, x + width, key))
            x += width
        return Strip(segments).adjust_cell_length(self.size.width, words_style)

    def on_click(self, event: events.Click) -> None:
        """As if the key had been pressed."""
        for start, end, key in self._shown:
            if start <= event.x < end:
                self.app.simulate_key(key)
