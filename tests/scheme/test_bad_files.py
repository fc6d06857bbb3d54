"""Files that are no scheme at all give one clear line, and nothing in them reaches the terminal but as text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from lctui.errors import BadInput
from lctui.scheme import Scheme
from tests.scheme.cases import EXAMPLE, changed, problems_of, with_how, written


def refusal(file: Path) -> str:
    """The one line that a file is refused with, without its name."""
    with pytest.raises(BadInput) as caught:
        Scheme.load(file)
    (line,) = caught.value.lines()
    assert line.startswith(f"{file}: ")
    return line.removeprefix(f"{file}: ")


BAD_TEXT: list[tuple[bytes, str]] = [
    (b"", "is not JSON: Expecting value at line 1, column 1"),
    (b"   \n", "is not JSON: Expecting value at line 2, column 1"),
    (b'{"version": 1,\n  "name": oops}', "at line 2, column 11"),
    (b'{"version": 1} {}', "is not JSON"),
    (b'{"seed": NaN}', "NaN is not a JSON number"),
    (b'{"seed": Infinity}', "Infinity is not a JSON number"),
    (b'{"seed": [-Infinity]}', "-Infinity is not a JSON number"),
    (b'{"seed": 1e999}', "1e999 is too large"),
    (b'{"seed": ' + b"1" * 5000 + b"}", "is too large"),
    (b'{"seed": 1, "name": "x", "seed": 2}', "'seed' stands twice"),
    (b'{"model": {"args": {"a": 1, "a": 1}}}', "'a' stands twice"),
    (b'{"name": "\xff"}', "is not UTF-8 text (byte 10)"),
    (json.dumps({"name": "x"}).encode("utf-16"), "is not UTF-8 text"),
    (b'{"name": "\\ud800"}', "is not text"),
    (b'{"\\udc00": 1}', "is not text"),
    (b"[" * 100_000, "nested too deeply"),
    (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    (b'{"model": {"args": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}}", "nested too deeply"),
    (b" " * (4 * 2**20 + 1), "larger than 4 MiB"),
    (b"null", "must be an object"),
    (b"\x00\x01\x02", "is not JSON"),
    (b"\x1b[2J", "is not JSON"),
]


@pytest.mark.parametrize(("content", "said"), BAD_TEXT, ids=[said for _, said in BAD_TEXT])
def test_what_is_no_scheme_is_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "scheme.json"
    file.write_bytes(content)
    assert said in refusal(file)


def test_a_large_file_that_is_within_the_limit_is_read(tmp_path: Path) -> None:
    text = json.dumps(EXAMPLE)
    file = tmp_path / "scheme.json"
    file.write_text(text + " " * (4 * 2**20 - len(text)))
    assert Scheme.load(file).name == "table6-3"


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is a folder, not a scheme file"
    assert refusal(tmp_path / "missing.json") == "no such file"
    assert refusal(tmp_path / "file" / "below.json") == "no such file"
    assert "too long" in refusal(tmp_path / ("x" * 300))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be read" in refusal(tmp_path / "loop")
    (tmp_path / "text").write_text("x")
    assert refusal(tmp_path / "text" / "below.json").startswith("cannot be read")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        Scheme.load("a\0b")
    assert caught.value.lines() == [r"a\x00b: is no name that a file can have"]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device that never ends")
def test_a_device_that_never_ends_is_refused() -> None:
    assert "larger than 4 MiB" in refusal(Path("/dev/zero"))


def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=[json.dumps(EXAMPLE)])
    writer.start()
    assert Scheme.load(pipe).name == "table6-3"
    writer.join()


EVIL = ["\x1b[31mred", "two\nlines", "\r", "bell\x07", "\x9b2J", "\u2028", "\u202etfel", "\x85", "\x7f"]


def assert_harmless(lines: list[str]) -> None:
    """Nothing a terminal would act on, and one line each."""
    assert lines
    for line in lines:
        assert line.isprintable(), repr(line)


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
def test_control_characters_in_a_scheme_never_reach_the_terminal(evil: str) -> None:
    places: list[Any] = [
        changed({"name": 5, evil: 1}),
        changed({"model.factory": evil}),
        changed({"model.factory": f"{evil}.py:net"}),
        changed({"model.weights": evil}),
        changed({"model.args": {evil: 1, "classes": 5}}),
        changed({"model.args.classes": [evil]}),
        changed({"data.name": evil}),
        changed({"data.args": {evil: 1}}),
        changed({"precision": evil}),
        changed({"lc.method": evil}),
        changed({"seed": evil}),
        changed({"compress.0.layers.0": evil}),
        changed({"compress.0.layers.0": evil + "*"}),
        changed({f"compress.0.{evil}": evil}),
        with_how(evil),
        with_how({"type": evil}),
        with_how({"type": "quantize", "codebook": evil}),
        with_how({"type": "prune", "kappa": evil, evil: evil}),
        with_how({"type": "low_rank", "rank": evil}),
    ]
    for raw in places:
        assert_harmless([str(problem) for problem in problems_of(raw)] and BadInput("f", problems_of(raw)).lines())


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
def test_control_characters_in_a_files_name_never_reach_the_terminal(evil: str, tmp_path: Path) -> None:
    for file in (tmp_path / evil, written(tmp_path / f"{evil}.json", {})):
        with pytest.raises(BadInput) as caught:
            Scheme.load(file)
        assert_harmless(caught.value.lines())


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
def test_a_name_may_not_hold_what_a_terminal_acts_on(evil: str) -> None:
    if any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in evil):
        for settings in ({"name": evil}, {"tags": [evil]}, {"compress.0.layers.0": evil}):
            assert any("control characters" in problem.message for problem in problems_of(changed(settings)))


def test_huge_values_and_names_are_quoted_shortened() -> None:
    huge = "x" * 100_000
    for raw in (
        changed({"precision": huge}),
        changed({huge: 1}),
        changed({"seed": [1] * 100_000}),
        changed({"compress.0.layers.0": huge}),
        changed({"model.factory": huge}),
        changed({"model.args.classes": [1] * 100_000}),
        changed({"data.args": {huge: 1}}),
        with_how({"type": huge}),
        with_how({"type": "prune", "kappa": 1, huge: 1}),
        with_how({"type": "low_rank", "rank": huge}),
    ):
        assert all(len(str(problem)) < 400 for problem in problems_of(raw))
