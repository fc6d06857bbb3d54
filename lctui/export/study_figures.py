"""A study's figures as values: error and accuracy against compression ratio, and those of a row's first run.

Owns what is drawn of which rows, and what is left out because it has not been run.  Draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from lctui.export.insides import codebook_figure, confusion_figure, singular_values_figure
from lctui.export.plots import Figure, Series, over_a_decade, run_figures
from lctui.export.study_insight import Answers, Question
from lctui.export.study_numbers import Measured, measure_of
from lctui.export.tables import run_labels
from lctui.export.training import history_of, layers_figure, reference_epochs, reference_figure
from lctui.runs.store import Run
from lctui.scheme.layout import LayoutFigure
from lctui.scheme.measure import ERROR, Measure

OURS = "this study"
_NAMED = 20
"""More points than this go without their rows' names."""
_GAP_TIMES, _GAP_POINTS = 5, 10
"""Errors are far apart, and the axis is broken between them, where the next is so many times and points as high; by
another metric than percent, so many times."""

ASKED = ("confusion", "codebook", "singular_values")
"""Plots that only the nets can tell."""
OF_CLASSES = ("confusion", "accuracy")
"""Plots of nets that choose among classes."""

Groups = Mapping[str, Sequence[Measured]]


def with_ratio(rows: Sequence[Measured]) -> list[Measured]:
    """The rows that have both an error and a ratio."""
    return [row for row in rows if row.mean("test_error_pct") is not None and row.mean("compression_ratio") is not None]


def tradeoff(layout: LayoutFigure, groups: Groups) -> Figure | None:
    """Test error against ratio, a series a group, published points hollow; None if nothing has been run."""
    found = {name or OURS: with_ratio(rows) for name, rows in groups.items()}
    found = {name: rows for name, rows in found.items() if rows}
    if not found:
        return None
    named = sum(map(len, found.values())) <= _NAMED
    series = [_points(name, rows, named) for name, rows in found.items()]
    series += [bars for name, rows in found.items() if (bars := _bars(name, rows)).x]
    series += [others for name, rows in groups.items() if (others := _published(name or OURS, rows)).x]
    levels = _reference_levels(found)
    x = [x for each in series for x in each.x]
    errors = [y for each in (*series, *levels) if each.kind != "spread" for y in each.y]
    measure = measure_of([row for rows in found.values() for row in rows])
    broken = _range(errors, [y for each in series if each.kind == "spread" for y in each.y], measure)
    tall = broken is None and min(errors) > 0 and max(errors) > 20 * min(errors)
    titles = (layout.title, "compression ratio", measure.title("test"))
    return Figure("pareto", *titles, log_x=over_a_decade(x), log_y=tall, series=(*series, *levels), y_range=broken)


def _points(name: str, rows: Sequence[Measured], named: bool) -> Series:
    x, y = tuple(row.ratio for row in rows), tuple(row.error for row in rows)
    return Series(name, x, y, "solid", _short_names([row.name for row in rows]) if named else ())


def _short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names without the part of the study, where all are of the same."""
    parts = {name.rpartition("/")[0] for name in names}
    return tuple(name.rpartition("/")[2] for name in names) if len(parts) == 1 else tuple(names)


def _bars(name: str, rows: Sequence[Measured]) -> Series:
    """One standard deviation up and down, where there are several seeds."""
    x, y = [], []
    for row in rows:
        error, ratio = row.spread("test_error_pct"), row.mean("compression_ratio")
        if error is not None and ratio is not None and error.sd:
            x += [ratio, ratio]
            foot = error.mean - error.sd
            y += [max(0.0, foot) if row.measure.is_percent else foot, error.mean + error.sd]
    return Series(name, tuple(x), tuple(y), "spread")


def _published(name: str, rows: Sequence[Measured]) -> Series:
    pairs = [(row.published("compression_ratio"), row.published("test_error_pct")) for row in rows]
    both = [(x, y) for x, y in pairs if x is not None and y is not None]
    return Series(name, tuple(x for x, _ in both), tuple(y for _, y in both), "hollow")


def _reference_levels(groups: Groups, accuracy: bool = False) -> list[Series]:
    """The references' mean test errors (or accuracies), one a net, named after the first group that has it."""
    found: dict[str, tuple[str, float]] = {}
    for name, rows in groups.items():
        for row in rows:
            error = row.spread("test_error_pct", "reference")
            if error is not None:
                found.setdefault(row.scheme.model.factory, (name, 100 - error.mean if accuracy else error.mean))
    alone = len(found) == 1
    return [Series("reference" if alone else f"reference of {name}", (), (y,), "level") for name, y in found.values()]


def _range(
    errors: Sequence[float], deviations: Sequence[float] = (), measure: Measure = ERROR
) -> tuple[float, float] | None:
    """Where the error axis ends, if a few large errors (nets at chance level) would press the others to its foot."""
    ordered = sorted(errors)
    if not measure.is_percent and ordered[0] <= 0:
        return None  # times as high means nothing here
    points = _GAP_POINTS if measure.is_percent else 0
    for n, (low, high) in enumerate(pairwise(ordered), 1):
        if high >= max(_GAP_TIMES * low, low + points) and 2 * n >= len(ordered):
            least = min(ordered[0], *deviations, low)
            return (0.0 if least <= low / 2 else least - 0.1 * (low - least or low), 1.06 * low or 1.0)
    return None


def accuracy(layout: LayoutFigure, groups: Groups) -> Figure | None:
    """Test accuracy against ratio, a line a group, and the accuracy of each reference."""
    found = {name or OURS: sorted(with_ratio(rows), key=lambda row: row.ratio) for name, rows in groups.items()}
    found = {name: rows for name, rows in found.items() if rows}
    if not found:
        return None
    series = []
    for name, rows in found.items():
        y = tuple(100 - row.error for row in rows)
        series.append(Series(name, tuple(row.ratio for row in rows), y))
    levels = _reference_levels(found, accuracy=True)
    errors = _range([100 - y for each in (*series, *levels) for y in each.y])
    x = [x for each in series for x in each.x]
    return Figure(
        "curve",
        layout.title,
        "compression ratio",
        "test accuracy (%)",
        log_x=over_a_decade(x),
        series=(*series, *levels),
        y_range=None if errors is None else (100 - errors[1], 100 - errors[0]),
    )


def by_step(layout: LayoutFigure, rows: Sequence[Measured]) -> Figure | None:
    """Errors by LC step: of one run, of each split; of several (each row's first), test errors."""
    first = [row.runs[0] for row in rows if row.runs]
    figure = run_figures(first).get("error") if first else None
    if figure is None:
        return None
    names = dict(zip(run_labels(first), (row.name for row in rows if row.runs), strict=True))
    series = tuple(replace(each, name=names.get(each.name, each.name)) for each in figure.series)
    return replace(figure, title=layout.title, series=series)


def of_first(layout: LayoutFigure, rows: Sequence[Measured], answers: Answers) -> Figure | None:
    """A figure of the first run of these rows; None where the run or its net cannot tell."""
    run, question = first_run(rows), question_of(layout, rows)
    if run is None:
        return None
    if layout.plot == "reference":
        return reference_figure(layout.title, reference_epochs(run), measure_of(rows))
    if layout.plot == "layers":
        return layers_figure(layout.title, history_of(run))
    answer = answers.told.get(question) if question is not None else None
    if answer is None:
        return None
    if layout.plot == "confusion":
        return confusion_figure(layout.title, answer)
    layer: dict[str, Any] = next((each for each in answer["layers"] if each["name"] == layout.layer), {})
    if layout.plot == "codebook":
        return codebook_figure(layer, layout.title) if layer.get("codebook") else None
    return singular_values_figure(layer, layout.title) if "singular_values" in layer else None


def misfit(layout: LayoutFigure, rows: Sequence[Measured]) -> str | None:
    """Why this plot shows nothing of these rows' metric, if so."""
    return measure_of(rows).not_of_classes if layout.plot in OF_CLASSES else None


def first_run(rows: Sequence[Measured]) -> Run | None:
    """The first finished run of some rows."""
    return next((run for row in rows for run in row.runs), None)


def question_of(layout: LayoutFigure, rows: Sequence[Measured]) -> Question | None:
    """What the nets must be asked for this figure, if anything."""
    run = first_run(rows)
    if run is None or layout.plot not in ASKED or misfit(layout, rows):
        return None
    return Question(run.id, layout.of if layout.plot == "confusion" else "weights")
