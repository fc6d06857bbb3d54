"""What a run's compressed net looks like inside: charts of a layer's weights, for the terminal.

Owns which charts a layer has: its codebook with counts, its singular values, a histogram of its non-zeros.  Works on
what the inspection answers and asks nothing itself; the same as figures for files are in `lctui.export.insides`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from lctui.console.widgets.charts import bars, histogram
from lctui.export.insides import (
    Layer,
    codebook_figure,
    codebook_title,
    singular_values_figure,
    singular_values_title,
    weights_figure,
    weights_title,
)
from lctui.export.plots import Figure

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


def _codebook(layer: Layer) -> LayerChart:
    values, counts = layer["codebook"]["values"], layer["codebook"]["counts"]

    def lines(width: int, height: int, ascii: bool) -> list[Text]:
        if len(values) <= height:
            labels = [f"{value: .4g}" for value in values]
            return _split(bars(labels, counts, width, ascii, COMPRESSED))
        return _split(histogram(range(len(values) + 1), counts, width, height, ascii, COMPRESSED))

    return LayerChart(codebook_title(layer), lines, codebook_figure(layer))


def _singular_values(layer: Layer) -> LayerChart:
    kept, before = layer["singular_values"], layer.get("reference_singular_values") or ()

    def lines(width: int, height: int, ascii: bool) -> list[Text]:
        shown = min(max(2 * len(kept), 16), max(len(before), len(kept)), width)
        padded = [*kept[:shown], *[0.0] * (shown - len(kept))]
        return _stacked(range(shown + 1), padded, before[:shown], width, height, ascii)

    return LayerChart(singular_values_title(layer), lines, singular_values_figure(layer))


def _non_zeros(layer: Layer) -> LayerChart:
    edges, counts, before = layer["edges"], layer["counts"], layer["reference_counts"] or ()

    def lines(width: int, height: int, ascii: bool) -> list[Text]:
        return _stacked(edges, counts, before, width, height, ascii) if edges else [Text("every weight is zero")]

    return LayerChart(weights_title(layer), lines, weights_figure(layer))


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
