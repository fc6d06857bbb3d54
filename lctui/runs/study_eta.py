"""How far a study is, and how long it will still take.

Owns the estimate: epochs, weighted by the operations that an input costs, at the pace of the members that have ended
in this process, or of the one under way while none has.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from lctui.scheme import Scheme
from lctui.scheme.check import describe


class StudyEta:
    """The members of a study, by name: what is left, what is under way, what has ended."""

    def __init__(self, schemes: Iterable[Scheme]) -> None:
        self._left = {scheme.name: _work(scheme) for scheme in schemes}
        self._begun: dict[str, float] = {}
        self._seconds = self._timed = 0.0
        self.total, self.ended = len(self._left), 0

    def begin(self, scheme: Scheme) -> None:
        """A member is under way."""
        self._begun[scheme.name] = time.monotonic()

    def end(self, scheme: Scheme, *, reused: bool) -> None:
        """A member has ended; one that was there already tells nothing of the pace."""
        begun = self._begun.pop(scheme.name, None)
        work = self._left.pop(scheme.name, None)
        if work is None:
            return
        self.ended += 1
        if begun is not None and not reused:
            self._seconds += time.monotonic() - begun
            self._timed += work

    def left(self, under_way: float | None = None) -> float | None:
        """Seconds to the end of the study, with `under_way` of them for the members that have begun; None: no idea."""
        waiting = sum(work for name, work in self._left.items() if name not in self._begun)
        pace = self._pace(under_way)
        if pace is None or (under_way is None and self._begun):
            return None
        return (under_way or 0.0) + waiting * pace

    def _pace(self, under_way: float | None) -> float | None:
        """Seconds a unit of work."""
        if self._timed:
            return self._seconds / self._timed
        work = sum(self._left[name] for name in self._begun if name in self._left)
        if under_way is None or not work:
            return None
        return (time.monotonic() - min(self._begun.values()) + under_way) / work


def _work(scheme: Scheme) -> float:
    epochs = scheme.lc.mu.steps * scheme.l_step.epochs if scheme.compress else scheme.reference.epochs
    net = describe(scheme.model)
    return epochs * float(net.flops if net is not None else 1)
