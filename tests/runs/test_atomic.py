"""A file that is replaced is the old one or the new one, whatever happens to the writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lctui.runs import atomic
from tests.runs.children import child, kill

STOPS_BEFORE_THE_RENAME = """
import sys
from pathlib import Path
from lctui.runs import atomic

def write(temporary):
    temporary.write_text("new")
    print("ready", flush=True)
    sys.stdin.read()

atomic.replace(Path(sys.argv[1]), write)
print("done", flush=True)
"""


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    for value in ({"a": 1}, {"b": [None, "ü"]}):
        atomic.write_json(file, value)
        assert json.loads(file.read_text(encoding="utf-8")) == value
        assert atomic.read_json(file) == value
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError])
def test_a_writer_that_fails_leaves_the_old_file(failure: type[BaseException], tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half a n")
        raise failure

    with pytest.raises(failure):
        atomic.replace(file, write)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    atomic.write_json(file, 1)
    for value in (float("nan"), {"x": object()}, "\ud800"):
        with pytest.raises((ValueError, TypeError)):
            atomic.write_json(file, value)
    assert atomic.read_json(file) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


@pytest.mark.parametrize("old", ["old", None])
def test_a_writer_killed_before_the_rename_leaves_what_was_there(old: str | None, tmp_path: Path) -> None:
    file = tmp_path / "f"
    if old is not None:
        file.write_text(old)
    with child(STOPS_BEFORE_THE_RENAME, file) as process:
        kill(process)
    assert (file.read_text() if file.exists() else None) == old
    # What the dead writer left behind is in nobody's way.
    atomic.replace(file, lambda temporary: temporary.write_text("later") and None)
    assert file.read_text() == "later"


def test_the_same_writer_left_alone_puts_the_new_file_there(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    with child(STOPS_BEFORE_THE_RENAME, file) as process:
        assert file.read_text() == "old"
        output, _ = process.communicate("")
        assert output == "done\n"
    assert file.read_text() == "new"


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000])
def test_reading_what_is_no_json_gives_nothing(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    if content is not None:
        file.write_bytes(content)
    assert atomic.read_json(file) is None
    assert atomic.read_json(tmp_path) is None
