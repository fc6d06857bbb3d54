"""How a worker learns that it should stop.

Owns the request: a signal to the process, or a file named `stop` in the run folder.  Either ends the run after the
batch under way, with everything kept.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class StopRequest:
    """Whether somebody asked the worker to stop; call it to know."""

    flag: Flag = field(default_factory=Flag)
    above: StopRequest | None = None
    """What stops this one too: a study's request, of which this is a run's own."""

    def __call__(self) -> bool:
        return self.flag.is_set() or (self.above is not None and self.above())

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """The first SIGINT, SIGTERM or SIGHUP asks for a stop after the batch; a second one ends the process.

        A signal that is ignored stays so: `nohup` means that the run shall go on.
        """

        def ask(number: int, frame: FrameType | None) -> None:
            if self.flag.is_set():
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.flag.set()

        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, ask) for number in heeded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
