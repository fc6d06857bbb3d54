"""Keys, one after the other, however fast they come.

Textual hands a printable key to the focused widget at once, while a key with a binding travels up to the application
first: of keys that arrive together, as over a slow line or from a fast typist, `⌫` would come after the digits that
were typed after it, and a letter meant for the list would land in the field that escape was about to leave.  Owns
holding each key back until the one before it, and what that set off, has been dealt with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.timer import Timer

PATIENCE = 0.3
"""Seconds after which the next key is let through in any case: a handler may be waiting for it."""


class OrderedKeys(App[None]):
    """An application that deals with a key before it looks at the next."""

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[events.Key | events.Paste] = deque()
        self._turn = 0
        self._under_way = False
        self._patience: Timer | None = None

    @property
    def keys_are_done(self) -> bool:
        """Has every key that came been dealt with?"""
        return not (self._held or self._under_way)

    async def on_event(self, event: events.Event) -> None:
        """Keys wait for their turn; everything else goes its way."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._under_way:
            self._held.append(event)
        else:
            await self._deal_with(event)

    async def _deal_with(self, event: events.Key | events.Paste) -> None:
        self._under_way = True
        self._turn += 1
        turn = self._turn
        way = self._way_up()
        await super().on_event(event)
        self._patience = self.set_timer(PATIENCE, lambda: self._next(turn))
        # Behind the key on its way up to the application, then behind what its action has sent.
        self._after(way, lambda: self._after(way, lambda: self._next(turn)))

    def _way_up(self) -> list[MessagePump]:
        """What a key passes: the focused widget, what it stands in, the screen, the application."""
        if not self.screen_stack:
            return [self]
        return [*(self.focused or self.screen).ancestors_with_self]

    def _after(self, way: list[MessagePump], done: Callable[[], Awaitable[None] | None]) -> None:
        """Calls `done` when all of them, in this order, have dealt with what is in their queues now."""
        for i, pump in enumerate(way):
            # One that has gone has nothing left to deal with.
            if pump.call_later(self._after, way[i + 1 :], done):
                return
        self.call_later(done)

    async def _next(self, turn: int) -> None:
        if turn != self._turn or not self._under_way:
            return  # patience ran out before, or the other way round
        if self._patience is not None:
            self._patience.stop()
        self._under_way = False
        if self._held:
            await self._deal_with(self._held.popleft())
