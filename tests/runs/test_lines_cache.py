"""The cache file of lines: whoever stands still while it writes it holds up nobody."""

from __future__ import annotations

from pathlib import Path

from lctui.runs.lines_cache import load_lines, save_lines
from tests.runs.children import HOLD, child


def test_while_another_process_writes_it_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "lines.jsonl"
    assert save_lines(path, "v", [1])
    with child(HOLD, path.with_suffix(".lock")):
        assert not save_lines(path, "v", [2])
        assert list(load_lines(path, "v")) == [1]
    assert save_lines(path, "v", [2, {"a": "ö"}])
    assert list(load_lines(path, "v")) == [2, {"a": "ö"}]
