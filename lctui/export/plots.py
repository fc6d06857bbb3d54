"""Figures as values: what to draw, in a form that crosses to the process that draws.

Owns the `Figure` record, its JSON, its data as a table, the figures of a run, and which points make a Pareto front.
Draws nothing and loads nothing that could: `lctui.export.figures` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite, nan
from typing import Any, Literal, get_args

from lctui.errors import BadInput
from lctui.export.formats import Column, Table
from lctui.export.tables import run_labels
from lctui.runs.store import Run

Kind = Literal["curve", "pareto", "confusion", "histogram"]
Mark = Literal["line", "points", "step", "level", "stems"]

DRAWN = ("png", "svg")
"""The formats that a figure can be drawn in."""


@dataclass(frozen=True)
class Series:
    """Points with a name.

    `step` is a histogram's outline: `x` are its edges, one more than `y`.  `level` is a horizontal line at `y[0]`,
    `stems` are vertical lines at `x`, up to `y`.  `labels` name the points, if anything does.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: Mark = "line"
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A figure: `series` for all kinds but `confusion`, whose `matrix` counts rows (true) by columns (predicted)."""

    kind: Kind
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False
    log_y: bool = False
    series: tuple[Series, ...] = ()
    classes: tuple[str, ...] = ()
    matrix: tuple[tuple[float, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: a number that is not finite, which JSON does not know, becomes null."""
        record = asdict(self)
        for series in record["series"]:
            series |= {axis: [value if isfinite(value) else None for value in series[axis]] for axis in "xy"}
        return record

    @classmethod
    def from_json(cls, record: Any) -> Figure:
        """The figure that `to_json` wrote.

        Raises:
            BadInput: it is none.
        """
        try:
            given: dict[str, Any] = {field.name: record[field.name] for field in fields(cls)}
            series = tuple(_series(each) for each in given["series"])
            matrix = tuple(tuple(map(float, row)) for row in given["matrix"])
            figure = cls(**given | {"series": series, "classes": tuple(given["classes"]), "matrix": matrix})
        except (TypeError, KeyError, ValueError) as error:
            raise BadInput.one("", "figure", f"is not one: {type(error).__name__}: {error}") from None
        figure.check()
        return figure

    def check(self) -> None:
        """Raises BadInput unless the figure's parts fit each other."""
        if self.kind not in get_args(Kind):
            raise BadInput.one("", "figure.kind", f"must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        for n, each in enumerate(self.series):
            if each.kind not in get_args(Mark):
                raise BadInput.one("", f"figure.series.{n}.kind", f"must be one of {', '.join(get_args(Mark))}")
            edges = each.kind == "step"
            if each.kind != "level" and len(each.x) != len(each.y) + edges:
                rule = "one x more than y" if edges else "as many x as y"
                raise BadInput.one("", f"figure.series.{n}", f"must have {rule}, got {len(each.x)} and {len(each.y)}")
        if any(len(row) != len(self.matrix) for row in self.matrix) or len(self.classes) != len(self.matrix):
            raise BadInput.one("", "figure.matrix", "must be square, with as many classes as rows")

    def data(self) -> Table:
        """The numbers that are drawn, one row a point; a confusion matrix as it stands."""
        if self.kind == "confusion":
            columns = [Column("true"), *(Column(name, form="count") for name in self.classes)]
            named = zip(self.classes, self.matrix, strict=True)
            return Table(self.title, tuple(columns), tuple((name, *map(_whole, row)) for name, row in named))
        columns = [
            Column("series"),
            Column("x", self.x_title, "number"),
            Column("y", self.y_title, "number"),
            Column("label", detail=not any(each.labels for each in self.series)),
        ]
        return Table(self.title, tuple(columns), tuple(row for each in self.series for row in _points(each)))


def _series(record: dict[str, Any]) -> Series:
    x, y = (tuple(nan if value is None else float(value) for value in record[axis]) for axis in "xy")
    return Series(str(record["name"]), x, y, record["kind"], tuple(map(str, record["labels"])))


def _points(series: Series) -> Iterable[tuple[str, float | None, float | None, str | None]]:
    # An outline has one edge more than it has heights: the last stands alone.  A level has no x.
    for n in range(max(len(series.x), len(series.y))):
        x = series.x[n] if n < len(series.x) else None
        y = series.y[n] if n < len(series.y) else None
        yield series.name, x, y, series.labels[n] if n < len(series.labels) else None


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (ratio, error) points that no other beats: none has as high a ratio and as low an error; by rising ratio."""
    front: list[tuple[float, float]] = []
    for ratio, error in sorted(set(points), key=lambda point: (-point[0], point[1])):
        if not front or error < front[-1][1]:
            front.append((ratio, error))
    return front[::-1]


def run_figures(runs: Sequence[Run]) -> dict[str, Figure]:
    """The figures of some runs, by file stem: errors and gap by LC step; of several, error against ratio as well.

    Runs without an LC step yet are left out.
    """
    steps = {run: [event for event in run.events() if event["event"] == "step"] for run in runs}
    runs = [run for run in runs if steps[run]]
    if not runs:
        return {}
    labels = run_labels(runs)
    gaps = tuple(_by_step(label, steps[run], "gap") for run, label in zip(runs, labels, strict=True))
    title = labels[0] if len(runs) == 1 else ""
    figures = {
        "error": _errors_of_one(runs[0], title) if len(runs) == 1 else _test_errors(runs, labels),
        "gap": Figure("curve", title, "LC step", "‖w − Δ(Θ)‖", log_y=_spans_decades(gaps), series=gaps),
    }
    if len(runs) > 1:
        figures["pareto"] = error_against_ratio(runs, labels)
    return figures


def _errors_of_one(run: Run, title: str) -> Figure:
    """Train, validation and test error by LC step, direct compression as step 0, and the reference's test error."""
    splits = ("train", "validation", "test")
    curves = [_by_step(split, _from_direct(run), f"{split}_error_pct") for split in splits]
    series = tuple(curve for curve in curves if len(curve.x))
    return _error_figure(title, series, _reference_error(run))


def _test_errors(runs: Sequence[Run], labels: Sequence[str]) -> Figure:
    series = tuple(
        _by_step(label, _from_direct(run), "test_error_pct") for run, label in zip(runs, labels, strict=True)
    )
    references = {_reference_error(run) for run in runs}
    return _error_figure("", series, references.pop() if len(references) == 1 else None, "test error (%)")


def _error_figure(
    title: str, series: tuple[Series, ...], reference: float | None, y_title: str = "error (%)"
) -> Figure:
    log_y = _spans_decades(series)
    if reference is not None:
        series = (*series, Series("reference (test)", (), (reference,), "level"))
    return Figure("curve", title, "LC step (0: direct compression)", y_title, log_y=log_y, series=series)


def error_against_ratio(runs: Sequence[Run], labels: Sequence[str]) -> Figure:
    """Test error against compression ratio, a point a run as it stands."""
    found = [(label, run.summary()) for run, label in zip(runs, labels, strict=True)]
    shown = [(label, row) for label, row in found if row["test_error_pct"] is not None and row["compression_ratio"]]
    x = tuple(row["compression_ratio"] for _, row in shown)
    y = tuple(row["test_error_pct"] for _, row in shown)
    points = Series("runs", x, y, "points", tuple(label for label, _ in shown))
    wide = bool(x) and max(x) > 10 * min(x)
    return Figure("pareto", "", "compression ratio", "test error (%)", log_x=wide, series=(points,))


def _from_direct(run: Run) -> list[dict[str, Any]]:
    events = run.events()
    direct = [event | {"step": 0} for event in events if event["event"] == "direct_compression"]
    return direct[-1:] + [event for event in events if event["event"] == "step"]


def _by_step(name: str, events: Sequence[dict[str, Any]], what: str) -> Series:
    found = [(event.get("step"), event.get(what)) for event in events]
    points = [(float(x), float(y)) for x, y in found if isinstance(x, int | float) and isinstance(y, int | float)]
    return Series(name, tuple(x for x, _ in points), tuple(y for _, y in points))


def _reference_error(run: Run) -> float | None:
    found = [event.get("test_error_pct") for event in run.events() if event["event"] == "reference_finished"]
    return found[-1] if found else None


def _spans_decades(series: Iterable[Series]) -> bool:
    """Would a linear axis press most of the values to its foot?"""
    values = sorted(value for each in series for value in each.y if value > 0)
    return bool(values) and values[-1] > 20 * values[len(values) // 2]
