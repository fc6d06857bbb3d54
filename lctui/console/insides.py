"""What a run's compressed net looks like inside: charts of a layer's weights, and the same as figures.

Owns which charts a layer has: its codebook with counts, its singular values, a histogram of its non-zeros.  Works on
what the inspection answers and asks nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from lctui.console.widgets.charts import bars, histogram
from lctui.export.plots import Figure, Series

Layer = dict[str, Any]
Painter = Callable[[int, int, bool], list[Text]]
"""Draws into so many columns and lines, in ASCII or not."""

COMPRESSED, REFERENCE = "#2aa876", "#8a8f98"
_NAMES = ("compressed", "reference")
LEAST_HEIGHT = 3
"""Lines that a histogram needs to be worth its place."""


@dataclass(frozen=True)
class LayerChart:
    """A chart of one layer, for the terminal and as a figure."""

    title: str
    lines: Painter
    figure: Figure


def layer_cells(layer: Layer) -> tuple[str, str, str, str]:
    """Name, shape, task and non-zeros of a layer."""
    left = f"{layer['weights'] - layer['zeros']:,}" if layer["zeros"] else "all"
    return layer["name"], "×".join(map(str, layer["shape"])), layer.get("type", "–"), left


def layer_charts(layer: Layer) -> list[LayerChart]:
    """A layer's charts, the most telling first."""
    charts = [_codebook(layer)] if layer.get("codebook") else []
    charts += [_singular_values(layer)] if layer.get("singular_values") else []
    return [*charts, _non_zeros(layer)]


def confusion_figure(title: str, answer: dict[str, Any]) -> Figure:
    """The confusion matrix as a figure."""
    classes = tuple(map(str, answer["classes"]))
    return Figure("confusion", title, "predicted", "true", classes=classes, matrix=tuple(map(tuple, answer["matrix"])))


def _codebook(layer: Layer) -> LayerChart:
    values, counts = layer["codebook"]["values"], layer["codebook"]["counts"]
    title = f"{layer['name']}: weights by codebook value, {len(values)} values"

    def lines(width: int, height: int, ascii: bool) -> list[Text]:
        if len(values) <= height:
            labels = [f"{value: .4g}" for value in values]
            return _split(bars(labels, counts, width, ascii, COMPRESSED))
        return _split(histogram(range(len(values) + 1), counts, width, height, ascii, COMPRESSED))

    series = Series("weights", tuple(values), tuple(counts), "stems")
    return LayerChart(title, lines, Figure("histogram", title, "codebook value", "weights", series=(series,)))


def _singular_values(layer: Layer) -> LayerChart:
    kept, before = layer["singular_values"], layer.get("reference_singular_values") or ()
    title = f"{layer['name']}: singular values, rank {len(kept)}" + (f" of {len(before)}" if before else "")

    def lines(width: int, height: int, ascii: bool) -> list[Text]:
        shown = min(max(2 * len(kept), 16), max(len(before), len(kept)), width)
        padded = [*kept[:shown], *[0.0] * (shown - len(kept))]
        return _stacked(range(shown + 1), padded, before[:shown], width, height, ascii)

    named = (("compressed", kept), ("reference", before))
    series = tuple(Series(name, tuple(range(1, len(each) + 1)), tuple(each)) for name, each in named if each)
    return LayerChart(title, lines, Figure("curve", title, "index", "singular value", log_y=True, series=series))


def _non_zeros(layer: Layer) -> LayerChart:
    edges, counts, before = layer["edges"], layer["counts"], layer["reference_counts"] or ()
    left = layer["weights"] - layer["zeros"]
    title = f"{layer['name']}: {left:,} non-zeros of {layer['weights']:,}"

    def lines(width: int, height: int, ascii: bool) -> list[Text]:
        return _stacked(edges, counts, before, width, height, ascii) if edges else [Text("every weight is zero")]

    named = (("compressed, non-zeros", counts), ("reference", before))
    series = tuple(Series(name, tuple(edges), tuple(each), "step") for name, each in named if each)
    return LayerChart(title, lines, Figure("histogram", title, "weight", "weights", series=series))


def _stacked(
    edges: Sequence[float], after: Sequence[float], before: Sequence[float], width: int, height: int, ascii: bool
) -> list[Text]:
    """Compressed over reference on one scale; the reference goes where there is no room or none."""
    tall = (height - 3) // 2
    if not before or tall < LEAST_HEIGHT:
        return _split(histogram(edges, after, width, height, ascii, COMPRESSED))
    top = _split(histogram(edges, after, width, tall, ascii, COMPRESSED))
    bottom = _split(histogram(edges[: len(before) + 1], before, width, tall, ascii, REFERENCE))
    captions = [
        Text(f"{name}, at most {max(each):.4g}", "dim") for name, each in zip(_NAMES, (after, before), strict=True)
    ]
    return [captions[0], *top, Text(), captions[1], *bottom]


def _split(text: Text) -> list[Text]:
    return list(text.split("\n"))
