"""The event log: whatever a writer left behind, readers see every event once and in order."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lctui.events import Epoch, ReferenceEpoch, RunResumed, RunStarted
from lctui.runs.log import EventLog, parse_line, read_events
from tests.runs.children import child, kill

STARTED = RunStarted(id="a", name="ü\n", device="cpu", fingerprint="f")


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    written = [log.append(STARTED), log.append(RunResumed(phase="reference", step=0, epoch=0, batch=0))]
    log.close()
    assert read_events(tmp_path / "events.jsonl") == written
    assert written[0]["event"] == "run_started"
    assert written[0]["time"].endswith("Z")
    assert len((tmp_path / "events.jsonl").read_bytes().splitlines()) == 2


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_events(tmp_path / "events.jsonl") == []
    assert read_events(tmp_path) == []


@pytest.mark.parametrize(
    "torn", [b"{", b'{"event": "step", "st', b'{"event": "step", "step": 9}', b"\xff", b"\x00" * 9]
)
def test_a_torn_last_line_is_no_event_and_swallows_none(torn: bytes, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(line(event="step", step=1) + torn)
    assert [event["step"] for event in read_events(file)] == [1]
    log = EventLog(file)
    log.append(RunResumed(phase="l_step", step=1, epoch=0, batch=0))
    log.close()
    assert [event["event"] for event in read_events(file)] == ["step", "run_resumed"]


@pytest.mark.parametrize(
    "garbage",
    [b"", b"null", b"[]", b"3", b'"event"', b"{}", b'{"event": 3}', b"\xff\xfe", b"[" * 100_000, b"}{", b"NaN"],
)
def test_a_line_that_is_no_event_is_skipped(garbage: bytes, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(line(event="step", step=1) + garbage + b"\n" + line(event="step", step=2))
    assert [event["step"] for event in read_events(file)] == [1, 2]
    assert parse_line(garbage) is None


@pytest.mark.parametrize("step", ["3", None, [1], {"a": 1}])
def test_events_with_odd_fields_are_read_all_the_same(step: Any, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    kinds = ("step", "epoch", "reference_epoch", "direct_compression")
    events = b"".join(line(event=kind, step=step, epoch=step) for kind in kinds)
    file.write_bytes(events + line(event="run_resumed", step=step, epoch=step, phase=step))
    assert read_events(file)[-1]["event"] == "run_resumed"


def test_a_line_under_way_is_not_read_before_its_end(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    whole = line(event="step", step=1)
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        assert read_events(file) == []
    file.write_bytes(whole)
    assert len(read_events(file)) == 1


def test_what_is_appended_survives_its_writer(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from lctui.events import RunStarted
from lctui.runs.log import EventLog
log = EventLog(Path(sys.argv[1]))
log.append(RunStarted(id="a", name="n", device="cpu", fingerprint="f"))
print("ready", flush=True)
sys.stdin.read()
"""
    with child(code, tmp_path / "events.jsonl") as process:
        kill(process)
    assert [event["id"] for event in read_events(tmp_path / "events.jsonl")] == ["a"]


STEPS, EPOCHS, REFERENCE_EPOCHS = 4, 2, 3


def work() -> list[dict[str, Any]]:
    """What an undisturbed run reports, in order, without its start."""
    reported: list[dict[str, Any]] = [
        {"event": "reference_epoch", "epoch": epoch} for epoch in range(1, REFERENCE_EPOCHS + 1)
    ]
    reported += [{"event": "reference_finished"}, {"event": "direct_compression"}]
    for step in range(1, STEPS + 1):
        reported += [{"event": "epoch", "step": step, "epoch": epoch} for epoch in range(1, EPOCHS + 1)]
        reported.append({"event": "step", "step": step})
    return reported


WORK = work()


def position(done: int) -> dict[str, Any]:
    """What a run that goes on after its first `done` reports says of where it is."""
    after = WORK[:done]
    if not any(event["event"] == "direct_compression" for event in after):
        epochs = sum(event["event"] == "reference_epoch" for event in after)
        return {"event": "run_resumed", "phase": "reference", "step": 0, "epoch": epochs, "batch": 0}
    step = sum(event["event"] == "step" for event in after)
    epoch = sum(event["event"] == "epoch" and event["step"] == step + 1 for event in after)
    return {"event": "run_resumed", "phase": "l_step", "step": step, "epoch": epoch, "batch": 1}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(WORK)), st.integers(0, len(WORK)), st.binary(max_size=12)),
        max_size=5,
    )
)
def test_any_crashes_and_resumes_give_each_report_once_in_order(crashes: list[tuple[int, int, bytes]]) -> None:
    """Each crash comes after some reports, leaves some torn bytes, and goes on from an earlier checkpoint."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        content, done = b"", 0
        for more, lost, torn in crashes:
            reached = min(done + more, len(WORK))
            content += b"".join(line(**event) for event in WORK[done:reached])
            content += torn.replace(b"\n", b"")
            done = max(0, reached - lost)
            # The reference's own end is no place to go on from: the phase is still the reference's.
            while done and WORK[done - 1]["event"] == "reference_finished":
                done -= 1
            file.write_bytes(content)
            log = EventLog(file)
            log.append(RunResumed(**{k: v for k, v in position(done).items() if k != "event"}))
            log.close()
            content = file.read_bytes()
        file.write_bytes(content + b"".join(line(**event) for event in WORK[done:]))
        found = [event for event in read_events(file) if event["event"] != "run_resumed"]
    assert found == WORK


def test_what_was_reported_before_the_checkpoint_stays(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    errors = {"train_error_pct": 1.0, "validation_error_pct": None, "test_error_pct": 1.0}
    for epoch in (1, 2, 3):
        log.append(ReferenceEpoch(epoch=epoch, epochs=3, lr=0.1, loss=1.0, **errors, seconds=1.0))
    for step, epoch in ((1, 1), (1, 2), (2, 1), (2, 2)):
        log.append(Epoch(step=step, epoch=epoch, epochs=2, mu=0.1, lr=0.1, loss=1.0, seconds=1.0))
    log.append(RunResumed(phase="l_step", step=1, epoch=1, batch=3))
    log.close()
    found = read_events(tmp_path / "events.jsonl")
    assert [event["epoch"] for event in found if event["event"] == "reference_epoch"] == [1, 2, 3]
    assert [(e["step"], e["epoch"]) for e in found if e["event"] == "epoch"] == [(1, 1), (1, 2), (2, 1)]


def test_a_pipe_in_the_logs_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    os.mkfifo(path)
    with pytest.raises(OSError, match="is no ordinary file"):
        EventLog(path)
