"""A figure's values beyond its `y_range`: drawn in a strip at its edge, so that the others stay readable.

Owns the strips: where in them a point goes, what parts them from the axis, and the values written there.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from lctui.export.plots import Figure, Series

_FOOT, _HEIGHT = 0.10, 0.03
"""Where a strip's lowest point is, and how far its highest is from there, as shares of the range."""
_EDGE = 0.05


def clipped(figure: Figure) -> Figure:
    """The figure with points beyond its range moved into the strips, in their order, their values at their names."""
    if figure.y_range is None:
        return figure
    low, high = figure.y_range
    places = _places(sorted({y for each in figure.series for y in each.y if isfinite(y)}), low, high)
    return replace(figure, series=tuple(_moved(each, places, low, high) for each in figure.series))


def _places(values: list[float], low: float, high: float) -> dict[float, float]:
    """Where each value beyond the range is drawn."""
    span, places = high - low, {}
    above, below = [y for y in values if y > high], [y for y in values if y < low][::-1]
    for n, y in enumerate(above):
        places[y] = high + span * (_FOOT + _HEIGHT * n / len(above))
    for n, y in enumerate(below):
        places[y] = low - span * (_FOOT + _HEIGHT * n / len(below))
    return places


def _moved(series: Series, places: dict[float, float], low: float, high: float) -> Series:
    if series.kind == "bars":
        return replace(series, y=tuple(min(max(y, low), high) for y in series.y))
    names = tuple(
        f"{name} {y:.2f}".strip() if y in places else name for name, y in zip(series.labels, series.y, strict=False)
    )
    return replace(series, y=tuple(places.get(y, y) for y in series.y), labels=names)


def scale(axes: Axes, figure: Figure, y_range: tuple[float, float]) -> None:
    """Limits that show the range and the strips in use; ticks only where the axis is to scale."""
    low, high = y_range
    span = high - low
    drawn = [y for each in figure.series for y in each.y if isfinite(y)]
    ticks = [tick for tick in MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    limits = [low - 0.03 * span, high + 0.03 * span]
    style: dict[str, Any] = {"color": "0.55", "linewidth": 0.8, "linestyle": (0, (2, 2)), "zorder": 1.5}
    if any(y > high for y in drawn):
        axes.axhline(high + _EDGE * span, **style)
        limits[1] = high + (_FOOT + _HEIGHT + 0.06) * span
    if any(y < low for y in drawn):
        axes.axhline(low - _EDGE * span, **style)
        limits[0] = low - (_FOOT + _HEIGHT + 0.06) * span
    axes.set_ylim(*limits)
