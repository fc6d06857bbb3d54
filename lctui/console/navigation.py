"""Where a plot's cursor and window go next: from point to point, to the ends, nearer, farther.

Pure: numbers in, numbers out.  Points are walked from left to right; where curves are lines only, the cursor stops at
their x, but no closer than the plot can show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lctui.console.axes import LARGEST, Axis
from lctui.console.picture import Curve, extent
from lctui.console.series import Series

Window = tuple[float, float]
Stop = tuple[float, tuple[int, int] | None]
"""An x, and the point there if it is one: which curve, which of its points."""


def points(curves: Sequence[Curve], series: Sequence[Series], axis: Axis, log_y: bool) -> list[Stop]:
    """All points that can be shown, from left to right, and upwards where several have the same x."""
    floor_x, floor_y = (0.0 if log else -LARGEST for log in (axis.log, log_y))
    found = [
        (x, y, i, index)
        for i, (curve, one) in enumerate(zip(curves, series, strict=True))
        if curve.kind == "points"
        for index, (x, y) in enumerate(zip(one.x, one.y, strict=True))
        if floor_x < x < LARGEST and floor_y < y < LARGEST
    ]
    return [(x, (i, index)) for x, _, i, index in sorted(found)]


def along_points(stops: Sequence[Stop], cursor: float | None, picked: tuple[int, int] | None, by: int) -> Stop:
    """The point after (1) or before (-1) the one under the cursor; the first or last where there is no next one."""
    places = {point: place for place, (_, point) in enumerate(stops)}
    if picked in places:
        place = places[picked] + by
    elif cursor is None:
        place = 0 if by > 0 else len(stops) - 1
    else:
        place = sum(x <= cursor for x, _ in stops) if by > 0 else sum(x < cursor for x, _ in stops) - 1
    return stops[max(0, min(place, len(stops) - 1))]


def along_lines(series: Sequence[Series], axis: Axis, columns: int, cursor: float | None, by: int) -> float | None:
    """The next x to the right (1) or left (-1) at which a line has a point, at least a column away."""
    if cursor is None:
        return nearest_x(series, axis.value(axis.low if by > 0 else axis.high))
    unit = (axis.high - axis.low) / max(columns, 1) * by
    start = axis.unit(cursor) if not axis.log or cursor > 0 else axis.low
    step = axis.value(start + unit) - cursor
    found = [x for x in (one.beyond(cursor, step) for one in series) if x is not None and abs(x) < LARGEST]
    if not found:
        return end_of(series, axis.log, by)
    return min(found) if by > 0 else max(found)


def end_of(series: Sequence[Series], log: bool, by: int) -> float | None:
    """The first (-1) or last (1) x."""
    whole = extent(series, log)
    return whole and whole[0 if by < 0 else 1]


def nearest_x(series: Sequence[Series], x: float) -> float | None:
    """The x of a point that is nearest to x."""
    found = [one.x[i] for one in series if (i := one.nearest(x)) is not None and math.isfinite(one.x[i])]
    return min(found, key=lambda each: abs(each - x), default=None)


def zoomed(axis: Axis, whole: Window, around: float, factor: float) -> Window | None:
    """The window made `factor` times as narrow, with `around` staying where it is; None: everything is in view."""
    low, high = axis.unit(whole[0]), axis.unit(whole[1])
    centre = min(max(axis.unit(around) if not axis.log or around > 0 else axis.low, axis.low), axis.high)
    left, right = centre - (centre - axis.low) / factor, centre + (axis.high - centre) / factor
    if right - left < (high - low) * 1e-6:
        return axis.value(axis.low), axis.value(axis.high)
    left, right = max(left, low), min(right, high)
    return None if (left <= low and right >= high) or right <= left else (axis.value(left), axis.value(right))


def following(window: Window, x: float, axis: Axis) -> Window:
    """The window, moved as little as has x in view, a tenth of its width from the edge."""
    if window[0] <= x <= window[1] or (axis.log and x <= 0):
        return window
    span = axis.high - axis.low
    at = axis.unit(x)
    left = at - 0.1 * span if at < axis.low else at - 0.9 * span
    return axis.value(left), axis.value(left + span)
