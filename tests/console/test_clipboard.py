"""The clipboard: what the terminal receives, decoded by hand, in the forms that multiplexers pass on."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.app import App

from lctui.console.clipboard import LIMIT, copy, fitting, multiplexer, osc52
from tests.console.terminal import Terminal

ROOT = Path(__file__).parents[2]
PLAIN = re.compile(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07")


def decoded(sequence: str) -> str:
    match = PLAIN.fullmatch(sequence)
    assert match, sequence[:80]
    return base64.b64decode(match[1], validate=True).decode()


@pytest.mark.parametrize("text", ["", "a", "two\nlines\t", "μ ünï 网络 🙂", "\x1b]52;c;evil\x07"])
def test_a_terminal_gets_the_text(text: str) -> None:
    assert decoded(osc52(text, {"TERM": "xterm-256color"})) == text


@pytest.mark.parametrize("environ", [{"TMUX": "/tmp/tmux-0/default,1,0", "TERM": "screen"}, {"TERM": "tmux-256color"}])
def test_tmux_gets_it_wrapped_with_every_escape_doubled(environ: dict[str, str]) -> None:
    wrapped = osc52("hello", environ)
    assert wrapped == "\x1bPtmux;\x1b\x1b]52;c;aGVsbG8=\x07\x1b\\"
    assert decoded(wrapped.removeprefix("\x1bPtmux;").removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b")) == "hello"


@pytest.mark.parametrize("environ", [{"STY": "1.pts-0", "TERM": "xterm"}, {"TERM": "screen-256color"}])
def test_screen_gets_it_in_short_strings(environ: dict[str, str]) -> None:
    text = "a long text, " * 200
    strings = re.findall(r"\x1bP(.*?)\x1b\\", osc52(text, environ), flags=re.DOTALL)
    assert len(strings) > 10 and max(map(len, strings)) < 256
    assert decoded("".join(strings)) == text


@pytest.mark.parametrize("environ", [{}, {"TERM": "xterm-kitty", "TMUX": "", "STY": ""}])
def test_other_terminals_need_no_wrapping(environ: dict[str, str]) -> None:
    assert multiplexer(environ) is None


def test_what_fits_is_not_cut() -> None:
    text = "x" * (LIMIT // 4 * 3)
    assert fitting(text) == text
    assert len(PLAIN.findall(osc52(text, {}))[0]) == LIMIT <= 74_994


@pytest.mark.parametrize("letter", ["x", "é", "网", "🙂"])
def test_no_letter_is_cut_in_two(letter: str) -> None:
    for shift in range(4):
        text = "y" * shift + letter * 80_000
        taken = decoded(osc52(text, {}))
        assert text.startswith(taken) and taken == fitting(text)
        assert 0 <= LIMIT // 4 * 3 - len(taken.encode()) < len(letter.encode())


def test_a_table_is_cut_between_lines() -> None:
    text = "one row of a table\n" * 10_000
    taken = fitting(text)
    assert taken.endswith("table\n") and len(text) > len(taken) > 56_000


def test_a_name_that_is_no_unicode_is_copied_all_the_same() -> None:
    assert decoded(osc52("caf\udce9", {})) == "caf?"


def copied(text: str, environ: dict[str, str]) -> tuple[list[str], str]:
    """What `copy` says, and what the application itself would paste."""

    async def run() -> tuple[list[str], str]:
        app: App[None] = App()
        async with app.run_test():
            return copy(app, text, environ), app.clipboard

    return asyncio.run(run())


def test_copying_says_nothing_unless_something_is_missing() -> None:
    assert copied("short", {}) == ([], "short")
    said, kept = copied("x" * 60_000, {"TERM": "tmux"})
    assert said == ["only the first 56,244 characters are copied: terminals take no more"]
    assert kept == "x" * 56_244


PROGRAM = """
import os
from textual.app import App
from lctui.console.clipboard import copy

class Copies(App):
    def on_mount(self):
        copy(self, "through a real terminal: μ")

    def on_key(self):
        self.exit()

    def compose(self):
        from textual.widgets import Static
        yield Static("ready")

Copies().run()
"""


def received(environment: dict[str, str], folder: Path, until: bytes | Path) -> str:
    """What a program that copies writes to its terminal, up to some bytes or until a file is there."""
    environment = {"PYTHONPATH": str(ROOT), "TMUX": "", "STY": "", **environment}
    with Terminal([sys.executable, "-c", PROGRAM], environment, folder=folder) as terminal:
        terminal.wait("ready")
        here: Any = until.exists if isinstance(until, Path) else lambda: until in bytes(terminal.raw)
        terminal.wait(lambda _: here())
        return bytes(terminal.raw).decode(errors="replace")


ENCODED = base64.b64encode("through a real terminal: μ".encode()).decode()


def test_a_real_terminal_receives_it(tmp_path: Path) -> None:
    assert f"\x1b]52;c;{ENCODED}\x07" in received({"TERM": "xterm-256color"}, tmp_path, ENCODED.encode())


def test_under_tmux_it_goes_every_way_there_is(tmp_path: Path) -> None:
    """Plain, wrapped, and by tmux's own command: one that keeps what it is given stands in for a server."""
    command, kept = tmp_path / "tmux", tmp_path / "kept"
    command.write_text('#!/bin/sh\necho "$@" > kept.new && cat >> kept.new && mv kept.new kept\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = {"TMUX": "/nowhere,1,0", "TERM": "tmux-256color", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    raw = received(environment, tmp_path, kept)
    assert f"\x1b]52;c;{ENCODED}\x07" in raw
    assert kept.read_text() == "load-buffer -w -\nthrough a real terminal: μ"
