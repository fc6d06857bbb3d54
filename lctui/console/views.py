"""What the console says of a run, as text, rows and plots: shared by home, run view and compare.

Owns wording and choice of numbers; knows no screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from lctui.console.exports import Exportable
from lctui.console.glyphs import Glyphs
from lctui.console.widgets.plot import Curve, Plot
from lctui.errors import printable
from lctui.export.formats import Column, Table, error_column
from lctui.export.plots import Figure, Series
from lctui.headless.words import duration, learned, size_of, times
from lctui.runs.follow import Columns, RunHistory
from lctui.runs.index import RunRow
from lctui.scheme.measure import Measure

SPLITS = (("train", "#8a8f98"), ("validation", "#4a9fd8"), ("test", "#e6a01e"))
"""Error curves and their colours."""


def number(value: float | None, form: str = ".2e") -> str:
    """A number in a form, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else format(value, form)


def last(columns: Columns, name: str) -> float | None:
    """The last value of a column, None where there is none."""
    values = columns[name] if len(columns) else []
    return values[-1] if len(values) and math.isfinite(values[-1]) else None


def error_curves(history: RunHistory, *, train: bool = True) -> list[Curve]:
    """Errors of the compressed net by LC step; while the reference trains, its errors by epoch.

    Without `train`, the others have the scale to themselves: training errors go to zero.
    """
    columns, x = (history.steps, "step") if len(history.steps) else (history.reference, "epoch")
    if not len(columns):
        return []
    splits = [each for each in SPLITS if train or each[0] != "train"]
    names = [each for each in splits if any(map(math.isfinite, columns[f"{each[0]}_error_pct"]))]
    return [
        Curve(split, columns[x], columns[f"{split}_error_pct"], colour, emphasis=split == "test")
        for split, colour in names
    ]


def curve_of(history: RunHistory, name: str, colour: str, title: str = "") -> list[Curve]:
    """One column of the LC steps."""
    return [Curve(title or name, history.steps["step"], history.steps[name], colour)] if len(history.steps) else []


def progress_lines(summary: dict[str, Any], progress: Mapping[str, float], glyphs: Glyphs, width: int) -> list[Text]:
    """Where a live run is: step, epoch and batch, and how long it will take."""
    room = max(min(width - 40, 40), 8)

    def count(name: str) -> int:
        value = progress.get(name, 0.0)
        return int(value) if math.isfinite(value) else 0

    epochs, steps = max(count("epochs"), 1), max(count("steps"), 1)
    epoch = count("epoch") + count("batch") / max(count("batches"), 1)
    eta = summary["eta_seconds"]
    left = f"  ETA {duration(eta)}" if eta is not None and summary["status"] == "running" else ""
    shown_epoch = f"epoch {min(int(epoch) + 1, epochs)}/{epochs}"
    if summary["phase"] == "reference":
        return [Text(glyphs.plain(f"{'reference ' + shown_epoch:<24}{glyphs.bar(epoch / epochs, room)}{left}"))]
    if summary["phase"] not in ("l_step", "finishing"):
        return [Text(glyphs.plain("waits for a reference" if summary["phase"] == "waiting" else "starting"))]
    share = (count("step") + min(epoch / epochs, 1)) / steps
    words = f"LC step {min(count('step') + 1, steps)}/{steps}"
    first = Text(glyphs.plain(f"{words:<24}{glyphs.bar(share, room)}{left}"))
    share = epoch % 1 if epoch < epochs else 1
    return [first, Text(glyphs.plain(f"{'   ' + shown_epoch:<24}{glyphs.bar(share, room)}"))]


def error_lines(history: RunHistory, measure: Measure, width: int = 80) -> list[str]:
    """Train, validation and test error: now, at the best step, of the reference and after direct compression."""
    steps, wide = history.steps, width >= 44
    name, room = (13, 7) if wide else (10, 6)
    lines = [
        f"{measure.error_column()[:name]:<{name}}" + "".join(f"{word:>{room}}" for word in ("train", "val", "test"))
    ]
    lines[0] += f"{'ratio':>10}" if wide else ""
    blocks: list[tuple[str, dict[str, Any] | None]] = [
        ("reference", history.reference_errors),
        ("direct", history.direct),
    ]
    place = history.best_step()
    if len(steps):
        blocks.append(("now", _at(steps, len(steps) - 1)))
    if place is not None:
        blocks.append((f"best @{steps['step'][place]:.0f}", _at(steps, place)))
    for words, block in blocks:
        if block is not None:
            errors = "".join(f"{measure.short(block.get(f'{split}_error_pct')):>{room}}" for split, _ in SPLITS)
            ratio = times(block["compression_ratio"]) if block.get("compression_ratio") else ""
            lines.append(f"{words:<{name}}{errors}" + (f"{ratio:>10}" if wide else ""))
    return lines


def _at(columns: Columns, place: int) -> dict[str, Any]:
    names = [*(f"{split}_error_pct" for split, _ in SPLITS), "compression_ratio"]
    values = {name: columns[name][place] for name in names}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def task_words(history: RunHistory) -> list[str]:
    """What each task has learned so far, a line each."""
    return [f"{' '.join(task.layers)}  {task.type}  {learned(task.last)}" for task in history.tasks]


def size_words(history: RunHistory) -> str:
    """The compressed net's size, now."""
    bits = last(history.steps, "compressed_bits")
    if bits is None and history.direct is not None:
        bits = history.direct.get("compressed_bits")
    return size_of(bits) if bits else "–"


def event_words(event: dict[str, Any], measure: Measure) -> str:
    """One event of a run's log in a line."""
    clock = str(event.get("time", ""))[11:19]
    val, test = (measure.text(_float(event, f"{split}_error_pct")) for split in ("validation", "test"))
    errors = f"val {val} test {test}"
    match event.get("event"):
        case "reference_epoch":
            words = f"reference {event.get('epoch')}/{event.get('epochs')}  {errors}"
        case "step":
            words = f"step {event.get('step')}/{event.get('steps')}  {errors}  gap {number(_float(event, 'gap'))}"
        case "direct_compression" | "reference_finished" as kind:
            words = f"{kind.replace('_', ' ')}  {errors}"
        case "run_failed":
            words = f"{event.get('status')}: {event.get('error')}"
        case "run_resumed" | "run_interrupted" as kind:
            words = f"{kind.replace('run_', '')} in {event.get('phase')}, step {event.get('step')}"
        case kind:
            words = str(kind).replace("_", " ")
    return printable(f"{clock} {words}")


def _float(event: dict[str, Any], name: str) -> float | None:
    value = event.get(name)
    return float(value) if isinstance(value, int | float) else None


def runs_export(rows: Sequence[RunRow]) -> Exportable:
    """The run list as a table."""
    summaries = [row.summary for row in rows]
    measure = Measure.common(Measure(summary["metric"]) for summary in summaries)
    columns = (
        Column("id", detail=True),
        Column("name", "run"),
        Column("status"),
        Column("model"),
        Column("step", form="count"),
        Column("mu", "μ", "number", detail=True),
        *(error_column(f"{split}_error_pct", split, measure) for split, _ in SPLITS),
        Column("compression_ratio", "ratio", "ratio"),
        Column("created", detail=True),
    )
    return Exportable("runs", Table.of("runs", columns, summaries))


TASK_COLUMNS = (
    Column("layers"),
    Column("type"),
    Column("learned"),
    Column("parameters", form="count"),
    Column("bits", form="count"),
)


def tasks_export(history: RunHistory, name: str) -> Exportable | None:
    """What a run's tasks have learned so far, as a table."""
    if not history.tasks:
        return None
    rows = [
        {**task.last, "layers": " ".join(task.layers), "type": task.type, "learned": learned(task.last)}
        for task in history.tasks
    ]
    return Exportable(f"{name}-layers", Table.of(f"{name}: layers", TASK_COLUMNS, rows))


def log_export(history: RunHistory, name: str, measure: Measure) -> Exportable | None:
    """A run's log as it is shown, a line an event."""
    rows = [{"event": event_words(event, measure)} for event in history.recent]
    return Exportable(f"{name}-log", Table.of(f"{name}: log", (Column("event"),), rows)) if rows else None


def plot_export(plot: Plot, stem: str, title: str) -> Exportable | None:
    """The curves of a plot as a figure, in full, whatever part of them is in view."""
    series = [_series(curve) for curve in plot.curves]
    if not series:
        return None
    return Exportable(stem, figure=Figure("curve", title, plot.x_title, "", log_y=plot.log_y, series=tuple(series)))


def _series(curve: Curve) -> Series:
    x, y = list(curve.x), list(curve.y)
    length = min(len(x), len(y))  # a thread may be adding to one of them at this moment
    return Series(curve.name, x[:length], y[:length], "points" if curve.kind == "points" else "line")
