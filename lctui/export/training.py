"""Figures from a run's log and its reference's: what became of each layer, and how the reference was trained.

Owns where a reference's history is found, and what a layer's share of the bits is.  Loads no net and no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

from lctui.export.plots import Figure, Series
from lctui.headless.words import learned, times
from lctui.runs import atomic
from lctui.runs.follow import RunHistory, whole_history
from lctui.runs.log import finite
from lctui.runs.store import Run
from lctui.scheme.measure import ERROR, Measure

Record = Mapping[str, Any]

_REST = "not compressed"


def history_of(run: Run) -> RunHistory:
    """All that a run's log says."""
    return whole_history(run.file("events.jsonl"))


def layers_figure(title: str, history: RunHistory) -> Figure | None:
    """Each task's share of the compressed net's bits beside its layers' share of the reference's, in percent.

    Below the names stands what the latest LC step made of the layers.  None where no task has been compressed yet.
    """
    tasks = [task.last for task in history.tasks if task.last.get("layers")]
    sizes = history.steps["compressed_bits"] or [finite((history.direct or {}).get("compressed_bits"))]
    if not tasks or not (total := sizes[-1]) > 0:
        return None
    names, after = [" + ".join(task["layers"]) for task in tasks], [finite(task.get("bits")) for task in tasks]
    before, whole = _reference_bits(tasks, history.reference_errors or {})
    words = [_became(task) for task in tasks]
    if sum(after) < total:
        names, after, words = [*names, _REST], [*after, total - sum(after)], [*words, "biases and other layers"]
        before = [*before, whole - sum(before)] if before else []
    shares = [_shares("compressed", after, total, words)] + ([_shares("reference", before, whole)] if before else [])
    return Figure("bars", title, "share of the bits (%)", series=tuple(shares), classes=tuple(names))


def _reference_bits(tasks: Sequence[Record], reference: Record) -> tuple[list[float], float]:
    """Bits of the tasks' layers in the reference, and of all of it; nothing where a log does not say."""
    bits, whole = [finite(task.get("reference_bits")) for task in tasks], finite(reference.get("bits"))
    return (bits, whole) if isfinite(sum(bits)) and whole > 0 else ([], 0.0)


def _shares(name: str, bits: Sequence[float], whole: float, words: Sequence[str] = ()) -> Series:
    return Series(name, tuple(range(len(bits))), tuple(100 * each / whole for each in bits), "bar", tuple(words))


def _became(task: Record) -> str:
    """What a task learned and how much smaller its layers are, in the words of a figure."""
    bits, before = finite(task.get("bits")), finite(task.get("reference_bits"))
    ratio = [times(before / bits if bits else None)] if isfinite(bits) and isfinite(before) else []
    return ", ".join(filter(None, [learned(task, values=False), *ratio]))


def reference_key(run: Run) -> str | None:
    """Which reference of the home the run used; None before it is known, or if its weights came from a file."""
    for event in run.events():
        if event["event"] == "reference_finished" and isinstance(event.get("reference"), str):
            # It becomes part of a path: a key, and nothing that leads elsewhere.
            return event["reference"] if re.fullmatch(r"[0-9a-f]{16}", event["reference"]) else None
    return None


def reference_epochs(run: Run) -> list[dict[str, Any]]:
    """The epochs that trained the run's reference, as `reference_epoch` events, each with the Unix time of its end.

    They are in the store, or, for one still in training, in the run's own log.  Epochs that another run trained have no
    time: they count as trained just before this run had the reference.
    """
    events = run.events()
    own = {finite(event.get("epoch")): event for event in events if event["event"] == "reference_epoch"}
    key = reference_key(run)
    path = run.folder.parents[1] / "references" / (key or "") / "reference.json"
    record = atomic.read_json(path) if key else None
    stored = record.get("history") if isinstance(record, dict) else None
    epochs = [each for each in stored if isinstance(each, dict)] if isinstance(stored, list) else list(own.values())
    had = next((event for event in events if event["event"] == "reference_finished"), {})
    end, timed = unix_time(had), []
    for epoch in reversed(epochs):
        end = unix_time(own.get(finite(epoch.get("epoch")), {}), end)
        timed.append({**epoch, "unix_time": end})
        seconds = finite(epoch.get("seconds"))
        end -= seconds if isfinite(seconds) else 0.0
    return timed[::-1]


def unix_time(event: Record, otherwise: float = 0.0) -> float:
    """When an event was written, in Unix seconds; `otherwise` where it does not say."""
    try:
        return datetime.fromisoformat(event["time"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return otherwise


def reference_figure(title: str, epochs: Sequence[Record], measure: Measure = ERROR) -> Figure | None:
    """Accuracies, or another metric, on training and validation images by epoch; None where nothing was measured."""
    series = tuple(_measured(split, epochs, measure) for split in ("train", "validation"))
    shown = tuple(each for each in series if each.x)
    y_title = "accuracy (%)" if measure.is_percent else measure.title()
    return Figure("curve", title, "epoch", y_title, series=shown) if shown else None


def _measured(split: str, epochs: Sequence[Record], measure: Measure) -> Series:
    pairs = [(finite(each.get("epoch")), finite(each.get(f"{split}_error_pct"))) for each in epochs]
    if measure.is_percent:
        pairs = [(epoch, 100 - error) for epoch, error in pairs]
    whole = [(x, y) for x, y in pairs if isfinite(x) and isfinite(y)]
    return Series(split, tuple(x for x, _ in whole), tuple(y for _, y in whole))
