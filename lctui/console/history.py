"""Every state that an edited value has been in.

Owns undo and redo, one step for what is typed into one field in one go, and whether there is something to save.  Knows
nothing of what the value means.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _State:
    raw: Any
    at: str


class History:
    """A JSON value that changes, back and forth."""

    def __init__(self, raw: Any) -> None:
        self.raw: Any = copy.deepcopy(raw)
        self.at = ""
        """Where the user is: undo goes back to where a change was made."""
        self._saved = copy.deepcopy(raw)
        self._past: list[_State] = []
        self._future: list[_State] = []
        self._typing: object = None

    @property
    def dirty(self) -> bool:
        """Is there something that has not been saved?"""
        return bool(self.raw != self._saved)

    def judge(self) -> None:
        """Called after every change."""

    def change(self, mutate: Callable[[Any], object], typing: object = None) -> bool:
        """Changes the value in place; says whether it differs, which it does not where `mutate` returns False.

        Changes with the same `typing` in a row are undone as one.
        """
        before = copy.deepcopy(self.raw)
        if mutate(self.raw) is False or self.raw == before:
            self.raw = before
            return False
        self._remember(before, joined=typing is not None and typing == self._typing)
        self._typing = typing
        self.judge()
        return True

    def replace(self, raw: Any) -> bool:
        """Another value in place of this one, which undo brings back."""
        if raw == self.raw:
            return False
        self._remember(self.raw, joined=False)
        self.raw = copy.deepcopy(raw)
        self.settle()
        self.judge()
        return True

    def _remember(self, before: Any, *, joined: bool) -> None:
        if not joined:
            self._past.append(_State(before, self.at))
        self._future.clear()

    def settle(self) -> None:
        """What is typed next is undone by itself."""
        self._typing = None

    def undo(self) -> bool:
        """Back by one change; says whether there was one."""
        return self._travel(self._past, self._future)

    def redo(self) -> bool:
        """Forth again."""
        return self._travel(self._future, self._past)

    def _travel(self, source: list[_State], target: list[_State]) -> bool:
        if not source:
            return False
        state = source.pop()
        target.append(_State(self.raw, state.at))
        self.raw, self.at = state.raw, state.at
        self.settle()
        self.judge()
        return True

    def mark_saved(self) -> None:
        """This is what the file has now."""
        self._saved = copy.deepcopy(self.raw)
        self.settle()

    def mark_unsaved(self) -> None:
        """No file has this."""
        self._saved = object()
