"""Figures as values: what to draw, in a form that crosses to the process that draws.

Owns the `Figure` record, its JSON, its data as a table, the figures of a run, and which points make a Pareto front.
Draws nothing and loads nothing that could: `lctui.export.figures` does.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress
from math import isfinite, nan
from typing import Any, Literal, get_args

from lctui.errors import BadInput
from lctui.export.formats import Cell, Column, Table
from lctui.export.tables import run_labels
from lctui.runs.follow import Columns, whole_history
from lctui.runs.log import finite
from lctui.runs.store import Run
from lctui.scheme.measure import Measure

Kind = Literal["curve", "pareto", "confusion", "histogram", "bars"]
Mark = Literal["line", "points", "solid", "hollow", "spread", "step", "level", "stems", "place", "bar"]

GUIDES = ("level", "place")
"""Series that are one straight line through the axes."""

DRAWN = ("png", "svg")
"""The formats that a figure can be drawn in."""

_PIECE = 1000


@dataclass(frozen=True)
class Series:
    """Points with a name.

    `step` is a histogram's outline: `x` are its edges, one more than `y`.  `level` is a horizontal line at `y[0]`,
    `place` a vertical one at `x[0]`; `stems` are vertical lines at `x`, up to `y`; `bar` has a bar of length `y` for
    each of the figure's classes.  In a `pareto`, `points` are filled if they are on the front, `solid` ones always;
    beside those of the same name, `hollow` are others' points, which make no front, and `spread` are deviations: two
    points for each, its foot and its head.  `labels` name the points, if anything does.  Columns of a history, which
    another thread may be adding to, are copied, and cut to one length.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: Mark = "line"
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.x, array) and isinstance(self.y, array):
            length = min(len(self.x), len(self.y))
            object.__setattr__(self, "x", self.x[:length])
            object.__setattr__(self, "y", self.y[:length])


@dataclass(frozen=True)
class Figure:
    """A figure: `series` for all kinds but `confusion`, whose `matrix` counts rows (true) by columns (predicted).

    `bars` lie beside the names in `classes`, the first on top; labels of the first series stand below the names.
    What lies outside `y_range`, if there is one, is drawn in a strip at its edge.
    """

    kind: Kind
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False
    log_y: bool = False
    series: tuple[Series, ...] = ()
    classes: tuple[str, ...] = ()
    matrix: tuple[tuple[float, ...], ...] = ()
    y_range: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: a number that is not finite, which JSON does not know, becomes null."""
        record: dict[str, Any] = json.loads("".join(self.json_pieces()))
        return record

    def json_pieces(self) -> Iterator[str]:
        """The figure as JSON, piece by piece: none is so long that writing it would hold other threads up."""
        rest = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "series"}
        yield json.dumps(rest)[:-1] + ', "series": ['
        for n, each in enumerate(self.series):
            yield f"{', ' if n else ''}{json.dumps({'name': each.name, 'kind': each.kind})[:-1]}"
            for axis in ("x", "y", "labels"):
                yield f', "{axis}": '
                yield from _json_list(getattr(each, axis))
            yield "}"
        yield "]}"

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
            low_high = None if given["y_range"] is None else tuple(map(float, given["y_range"]))
            made = {"series": series, "classes": tuple(given["classes"]), "matrix": matrix, "y_range": low_high}
            figure = cls(**given | made)
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
            if each.kind not in GUIDES and len(each.x) != len(each.y) + edges:
                rule = "one x more than y" if edges else "as many x as y"
                raise BadInput.one("", f"figure.series.{n}", f"must have {rule}, got {len(each.x)} and {len(each.y)}")
            if each.kind == "spread" and len(each.x) % 2:
                raise BadInput.one("", f"figure.series.{n}", f"must have two points a deviation, got {len(each.x)}")
        if self.y_range is not None and (len(self.y_range) != 2 or not self.y_range[0] < self.y_range[1]):
            raise BadInput.one("", "figure.y_range", "must be a lower and a higher number")
        if self.kind == "bars":
            if any(len(each.y) != len(self.classes) for each in self.series):
                raise BadInput.one("", "figure.series", "must have a bar for each class")
        elif any(len(row) != len(self.matrix) for row in self.matrix) or len(self.classes) != len(self.matrix):
            raise BadInput.one("", "figure.matrix", "must be square, with as many classes as rows")

    def data(self) -> Table:
        """The numbers that are drawn, one row a point; a confusion matrix as it stands."""
        return Table(self.title, self.columns(), tuple(self.rows()))

    def columns(self) -> tuple[Column, ...]:
        """The columns of `data`."""
        if self.kind == "confusion":
            return Column("true"), *(Column(name, form="count") for name in self.classes)
        across = Column("x", self.y_title) if self.kind == "bars" else Column("x", self.x_title, "number")
        return (
            Column("series"),
            across,
            Column("y", self.x_title if self.kind == "bars" else self.y_title, "number"),
            Column("label", detail=not any(each.labels for each in self.series)),
        )

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """The rows of `data`, one after another: there may be a million."""
        if self.kind == "confusion":
            for name, row in zip(self.classes, self.matrix, strict=True):
                yield name, *map(_whole, row)
        else:
            for each in self.series:
                yield from _points(each, self.classes if self.kind == "bars" else each.x)


def _json_list(values: Sequence[Any]) -> Iterator[str]:
    yield "["
    for start in range(0, len(values), _PIECE):
        piece = [None if isinstance(v, float) and not isfinite(v) else v for v in values[start : start + _PIECE]]
        yield f"{', ' if start else ''}{json.dumps(piece)[1:-1]}"
    yield "]"


def _series(record: dict[str, Any]) -> Series:
    x, y = (tuple(nan if value is None else float(value) for value in record[axis]) for axis in "xy")
    return Series(str(record["name"]), x, y, record["kind"], tuple(map(str, record["labels"])))


def _points(series: Series, across: Sequence[float] | Sequence[str]) -> Iterable[tuple[Cell, ...]]:
    # An outline has one edge more than it has heights: the last stands alone.  A level has no x, a place no y.
    for n in range(max(len(across), len(series.y))):
        x = across[n] if n < len(across) else None
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
    measured = {run: _Measured.of(run) for run in runs}
    runs = [run for run in runs if measured[run].steps]
    if not runs:
        return {}
    labels, read = run_labels(runs), [measured[run] for run in runs]
    gaps = tuple(replace(each.gap, name=label) for label, each in zip(labels, read, strict=True))
    title = labels[0] if len(runs) == 1 else ""
    figures = {
        "error": _errors_of_one(read[0], title) if len(runs) == 1 else _test_errors(read, labels),
        "gap": Figure("curve", title, "LC step", "‖w − Δ(Θ)‖", log_y=_spans_decades(gaps), series=gaps),
    }
    if len(runs) > 1:
        figures["pareto"] = error_against_ratio(runs, labels)
    return figures


_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class _Measured:
    """What the figures show of a run: errors of each split, direct compression as step 0, and the gap, by LC step."""

    steps: int
    errors: Mapping[str, Series]
    gap: Series
    reference: float | None
    measure: Measure

    @classmethod
    def of(cls, run: Run) -> _Measured:
        """Reads the run's log, once."""
        history = whole_history(run.file("events.jsonl"))
        direct = history.direct or {}
        errors = {split: _by_step(split, history.steps, f"{split}_error_pct", direct) for split in _SPLITS}
        reference = (history.reference_errors or {}).get("test_error_pct")
        measure = Measure.of(run.read("scheme.json"))
        return cls(len(history.steps), errors, _by_step("gap", history.steps, "gap", {}), reference, measure)


def _by_step(name: str, steps: Columns, what: str, at_zero: Mapping[str, Any]) -> Series:
    """The points that have both numbers."""
    x, y = array("d", [0.0]), array("d", [finite(at_zero.get(what))])
    x.extend(steps["step"])
    y.extend(steps[what])
    whole = [isfinite(a) and isfinite(b) for a, b in zip(x, y, strict=True)]
    return Series(name, array("d", compress(x, whole)), array("d", compress(y, whole)))


def _errors_of_one(run: _Measured, title: str) -> Figure:
    """Train, validation and test error by LC step, direct compression as step 0, and the reference's test error."""
    series = tuple(each for each in run.errors.values() if len(each.x))
    return _error_figure(title, series, run.reference, run.measure.title())


def _test_errors(runs: Sequence[_Measured], labels: Sequence[str]) -> Figure:
    series = tuple(replace(run.errors["test"], name=label) for run, label in zip(runs, labels, strict=True))
    references = {run.reference for run in runs}
    reference = references.pop() if len(references) == 1 else None
    return _error_figure("", series, reference, Measure.common(run.measure for run in runs).title("test"))


def _error_figure(title: str, series: tuple[Series, ...], reference: float | None, y_title: str) -> Figure:
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
    test = Measure.common(Measure(row["metric"]) for _, row in found).title("test")
    return Figure("pareto", "", "compression ratio", test, log_x=over_a_decade(x), series=(points,))


def over_a_decade(values: Sequence[float]) -> bool:
    """Do they differ so much that a linear axis would crowd the small ones?"""
    return bool(values) and max(values) > 10 * min(values)


def _spans_decades(series: Iterable[Series]) -> bool:
    """Would a linear axis press most of the values to its foot?"""
    values = sorted(value for each in series for value in each.y if value > 0)
    return bool(values) and values[-1] > 20 * values[len(values) // 2]
