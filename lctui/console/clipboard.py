"""Copying to the clipboard of the terminal that the user sits at, however far away.

Owns OSC 52 and its wrapping for multiplexers, which keep the plain sequence to themselves unless they are told to pass
it on.  No program can know whether a terminal obeyed, so what is copied is always in a file too.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from textual.app import App

LIMIT = 74_992
"""Base64 digits that terminals take at most; a multiple of four, so that no letter is cut in two."""

_SCREEN_CHUNK = 240  # GNU screen drops strings of more than 256 bytes


def fitting(text: str) -> str:
    """As much of a text as a terminal takes, in whole lines if there are several."""
    data = text.encode("utf-8", "replace")
    room = LIMIT // 4 * 3
    if len(data) <= room:
        return data.decode()
    cut = data[:room].decode("utf-8", "ignore")
    whole = cut.rfind("\n") + 1
    return cut[:whole] if whole else cut


def osc52(text: str, environ: Mapping[str, str]) -> str:
    """The escape sequence that puts a text, as far as it fits, on the clipboard of the terminal behind `environ`."""
    data = base64.b64encode(fitting(text).encode()).decode()
    sequence = f"\x1b]52;c;{data}\a"
    match multiplexer(environ):
        case "tmux":
            return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
        case "screen":
            starts = range(0, len(sequence), _SCREEN_CHUNK)
            return "".join(f"\x1bP{sequence[start : start + _SCREEN_CHUNK]}\x1b\\" for start in starts)
    return sequence


def multiplexer(environ: Mapping[str, str]) -> str | None:
    """Which multiplexer stands between this process and the terminal; over SSH, only TERM tells."""
    term = environ.get("TERM", "")
    if environ.get("TMUX") or term.startswith("tmux"):
        return "tmux"
    return "screen" if environ.get("STY") or term.startswith("screen") else None


def copy(app: App[Any], text: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Copies a text; returns what the user must know about it, a line each.

    Textual writes the plain sequence, and keeps the text for pasting inside the application.  Under a multiplexer the
    wrapped one follows: which of the two it passes on depends on its settings (tmux: set-clipboard, allow-passthrough).
    With tmux's defaults it is neither, but tmux's own command arrives.
    """
    taken = fitting(text)
    app.copy_to_clipboard(taken)
    between = multiplexer(environ)
    if between is not None and app._driver is not None and not app.is_headless:
        app._driver.write(osc52(taken, environ))
        if environ.get("TMUX"):
            app.run_worker(_tell_tmux(taken, environ), exit_on_error=False)
    if taken == text.encode("utf-8", "replace").decode():
        return []
    return [f"only the first {len(taken):,} characters are copied: terminals take no more"]


async def _tell_tmux(text: str, environ: Mapping[str, str]) -> None:
    """Hands a text to tmux, which hands it to the terminal (-w: since tmux 3.2); without tmux to call, nothing."""
    pipe, devnull = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    command = ("tmux", "load-buffer", "-w", "-")
    with suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=devnull, stderr=devnull, env=dict(environ)
        )
        try:
            await process.communicate(text.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
