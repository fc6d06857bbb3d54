"""A real terminal for tests: the program in a pty of its own, its output in a terminal emulator.

Owns typing keys, reading the screen as text, waiting until something stands there, counting bytes, and hanging up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import pyte

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "space": " ",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "backspace": "\x7f",
}


class Terminal:
    """A program in a terminal of `columns` × `lines` cells."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        *,
        columns: int = 120,
        lines: int = 40,
        folder: Path | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.bytes = 0
        self.raw = bytearray()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**_inherited(), "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment},
            preexec_fn=_own_terminal,
            close_fds=True,
            cwd=folder,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()

    def press(self, *keys: str) -> None:
        """Types keys by name, or text as it is."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())

    def read(self, seconds: float) -> bytes:
        """Feeds the emulator with what comes within `seconds`, returning at the first bytes."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return b""
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return b""  # the program has closed the terminal
        self.bytes += len(data)
        self.raw += data
        # pyte does not know the kitty keyboard protocol's queries; they write nothing.
        self._stream.feed(data.replace(b"\x1b[?u", b"").replace(b"\x1b[>1u", b"").replace(b"\x1b[<u", b""))
        return data

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(self.screen.display)

    def wait(self, condition: str | Callable[[str], object], timeout: float = 60) -> str:
        """Reads until a text stands on the screen, or a condition on it holds.

        Raises:
            AssertionError: it has not come to that; shows the screen.
        """
        met = condition if callable(condition) else lambda text: condition in text
        deadline = time.monotonic() + timeout
        while not met(self.text):
            ended = self.process.poll() is not None
            left = deadline - time.monotonic()
            if not self.read(max(min(left, 0.5), 0)) and (ended or left <= 0) and not met(self.text):
                state = "ended" if ended else "waits"
                raise AssertionError(f"not seen: {condition!r}; the program {state}; the screen:\n{self.text}")
        return self.text

    def hang_up(self) -> None:
        """Closes the terminal as a lost connection does, and waits for the program."""
        with contextlib.suppress(OSError):
            os.close(self._master)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def lctui(*arguments: str) -> list[str]:
    """The command line of this checkout's `lctui`."""
    return [sys.executable, "-m", "lctui", *arguments]


def _inherited() -> dict[str, str]:
    """The environment without another terminal's size, which programs believe before their own."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "TMUX", "NO_COLOR")}


def _own_terminal() -> None:
    """A session of its own with the pty as its terminal: closing the other end hangs it up."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
