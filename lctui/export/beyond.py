"""A figure's values beyond its `y_range`: drawn in a strip at its edge, so that the others stay readable.

Owns the strips: where in them a point goes, what parts them from the axis, and the values written beside them.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from lctui.export.plots import Figure, Series

_FOOT, _HEIGHT, _EDGE = 0.10, 0.03, 0.05
"""Of a strip, as shares of the range: where its first point is, how far its last is from there, and its border."""


def clipped(figure: Figure) -> Figure:
    """The figure with points beyond its range moved into the strips, in their order."""
    if figure.y_range is None:
        return figure
    low, high = figure.y_range
    above, below = _beyond(figure, low, high)
    span = high - low
    places = {y: high + span * (_FOOT + _HEIGHT * n / len(above)) for n, y in enumerate(above)}
    places |= {y: low - span * (_FOOT + _HEIGHT * n / len(below)) for n, y in enumerate(reversed(below))}
    return replace(figure, series=tuple(_moved(each, places, low, high) for each in figure.series))


def _beyond(figure: Figure, low: float, high: float) -> tuple[list[float], list[float]]:
    """The points' values above and below the range, ascending; a deviation ends at the range's edge."""
    values = sorted({y for each in figure.series if each.kind != "spread" for y in each.y if isfinite(y)})
    return [y for y in values if y > high], [y for y in values if y < low]


def _moved(series: Series, places: dict[float, float], low: float, high: float) -> Series:
    if series.kind == "spread":
        return replace(series, y=tuple(min(max(y, low), high) for y in series.y))
    return replace(series, y=tuple(places.get(y, y) for y in series.y))


def scale(axes: Axes, figure: Figure, y_range: tuple[float, float]) -> None:
    """Limits that show the range and the strips in use; ticks only where the axis is to scale."""
    low, high = y_range
    span, (above, below) = high - low, _beyond(figure, low, high)
    limits = [low - 0.03 * span, high + 0.03 * span]
    style: dict[str, Any] = {"color": "0.55", "linewidth": 0.8, "linestyle": (0, (2, 2)), "zorder": 1.5}
    if above:
        axes.axhline(high + _EDGE * span, **style)
        limits[1] = high + (_FOOT + _HEIGHT + 0.06) * span
    if below:
        axes.axhline(low - _EDGE * span, **style)
        limits[0] = low - (_FOOT + _HEIGHT + 0.06) * span
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(FixedLocator(_ticks(low, high)))


def _ticks(low: float, high: float) -> list[float]:
    ticks = MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def label(axes: Axes, figure: Figure) -> None:
    """Writes at the axis, beside each strip, which values of the figure are in it."""
    if figure.y_range is None:
        return
    low, high = figure.y_range
    span, ticks = high - low, _ticks(low, high)
    digits = max((len(f"{tick:.6g}".partition(".")[2]) for tick in ticks), default=0)
    named = {tick: f"{tick:.{digits}f}" for tick in ticks}
    above, below = _beyond(figure, low, high)
    for values, place in ((above, high + (_FOOT + _HEIGHT / 2) * span), (below, low - (_FOOT + _HEIGHT / 2) * span)):
        if values:
            first, last = f"{values[0]:.1f}", f"{values[-1]:.1f}"
            named[place] = first if first == last else f"{first}–{last}"
    axes.yaxis.set_major_locator(FixedLocator(list(named)))
    axes.yaxis.set_major_formatter(FixedFormatter(list(named.values())))
