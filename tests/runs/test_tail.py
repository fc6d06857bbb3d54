"""The event tail: every whole event once, whatever happens to the file."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lctui.runs.follow import EventTail, Follower
from lctui.runs.log import read_lines


def line(**fields: Any) -> bytes:
    return json.dumps({"event": "step"} | fields).encode() + b"\n"


def steps(events: list[dict[str, Any]]) -> list[Any]:
    return [event["step"] for event in events]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_what_is_appended_is_read_once(file: Path) -> None:
    tail = EventTail(file)
    assert tail.read() == []
    for i in range(3):
        with file.open("ab") as log:
            log.write(line(step=i))
        assert steps(tail.read()) == [i]
        assert tail.read() == []
        assert not tail.restarted


def test_a_line_under_way_is_read_when_it_has_ended(file: Path) -> None:
    whole = line(step=1) + line(step=2)
    tail, found = EventTail(file), []
    for end in range(len(whole) + 1):
        file.write_bytes(whole[:end])
        found += steps(tail.read())
        assert not tail.restarted
        assert len(found) == whole[:end].count(b"\n")
    assert found == [1, 2]


def test_lines_longer_than_a_read_and_other_line_ends(file: Path) -> None:
    long = line(step=2, codebook=[0.123456789] * 90_000)
    assert len(long) > 1_000_000
    file.write_bytes(line(step=1)[:-1] + b"\r\n" + long + b"\n\r\n" + line(step=3))
    for limit in (1, 100, 1 << 16, 1 << 24):
        tail, found = EventTail(file), []
        while events := tail.read(limit):
            found += steps(events)
        assert found == [1, 2, 3]


def test_junk_does_not_look_like_the_end(file: Path) -> None:
    file.write_bytes(b"junk\n" * 1000 + b"\xff\x00\n" + b"[" * 5000 + b"\n" + line(step=1) + b"{}\n" * 1000)
    tail = EventTail(file)
    assert steps(tail.read(64)) == [1]
    assert tail.read(64) == []


def test_a_file_that_vanishes_has_no_news_and_starts_over_when_it_is_back(file: Path) -> None:
    tail = EventTail(file)
    file.write_bytes(line(step=1))
    tail.read()
    file.rename(file.with_name("old"))
    assert tail.read() == []
    assert not tail.restarted
    file.write_bytes(line(step=7) + line(step=8))
    assert steps(tail.read()) == [7, 8]
    assert tail.restarted
    assert tail.read() == []
    assert not tail.restarted


@pytest.mark.parametrize("content", [b"", line(step=9), line(step=9) * 5], ids=["emptied", "shorter", "longer"])
def test_a_file_that_is_rewritten_in_place_starts_over(content: bytes, file: Path) -> None:
    tail = EventTail(file)
    file.write_bytes(line(step=1) + line(step=2))
    tail.read()
    file.write_bytes(content)
    assert steps(tail.read()) == [9] * (content.count(b"\n"))
    assert tail.restarted


def test_a_folder_in_the_files_place_has_no_news(tmp_path: Path) -> None:
    assert EventTail(tmp_path).read() == []
    assert EventTail(tmp_path / "no" / "such").read() == []


LINES = st.lists(
    st.one_of(
        st.integers(0, 9).map(lambda step: line(step=step)),
        st.integers(0, 9).map(lambda step: line(step=step)[:-1] + b"\r\n"),
        st.binary(max_size=30).map(lambda junk: junk + b"\n"),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(LINES, st.binary(max_size=20), st.lists(st.integers(0, 300), max_size=6), st.integers(1, 200))
def test_however_the_file_grows_the_same_events_are_read(
    lines: list[bytes], torn: bytes, cuts: list[int], limit: int
) -> None:
    content = b"".join(lines) + torn
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        tail, found = EventTail(file), []
        for cut in (*sorted(min(cut, len(content)) for cut in cuts), len(content)):
            file.write_bytes(content[:cut])
            while events := tail.read(limit):
                found += events
            assert not tail.restarted
        assert found == list(read_lines(file))


def test_a_follower_begins_a_new_history_with_a_new_file(file: Path) -> None:
    follower = Follower(file)
    assert not follower.read()
    file.write_bytes(line(step=1) + line(step=2))
    assert follower.read()
    assert not follower.read()
    first = follower.history
    assert first.steps["step"].tolist() == [1, 2]
    file.write_bytes(line(step=5))
    assert follower.read()
    assert first.steps["step"].tolist() == [1, 2]
    assert follower.history.steps["step"].tolist() == [5]
    file.write_bytes(b"")
    assert follower.read()
    assert len(follower.history.steps) == 0
