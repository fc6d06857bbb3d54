"""Words in a figure: numbers on a logarithmic axis, and names of points where they hide nothing.

Owns where the name of a point goes.  Draws no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import floor, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLACES: tuple[tuple[float, float, str, str], ...] = (
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
    (5, 5, "left", "bottom"),
    (5, -5, "left", "top"),
    (-5, 5, "right", "bottom"),
    (-5, -5, "right", "top"),
    (5, 14, "left", "bottom"),
    (5, -14, "left", "top"),
    (-5, 14, "right", "bottom"),
    (-5, -14, "right", "top"),
)
"""Where a name can stand by its point, best first: points to the right and up, and how the text is aligned."""

_LEADER: dict[str, Any] = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 5}
"""A thin line from a name to its point, to be seen where the name had to stand further off."""


def decade(value: float) -> str:
    """A label of a logarithmic axis: as a number while that is short, as a power of ten beyond."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    power = floor(log10(value) + 1e-9)
    factor = round(value / 10**power)
    return ("" if factor == 1 else f"{factor}·") + f"10{str(power).translate(_SUPERSCRIPT)}"


def place(axes: Axes, names: Sequence[tuple[float, float, str]], front: Sequence[tuple[float, float]] = ()) -> None:
    """Names points (x, y, name), each where it covers no point, name, legend, or stretch of the stairs `front`.

    A point outside the axes (a hole in the numbers, a zero on a logarithmic axis) gets no name.
    """
    sheet: Any = axes.get_figure()
    sheet.draw_without_rendering()  # the layout must be known before places can be compared
    renderer = sheet.canvas.get_renderer()
    names = [each for each in names if axes.bbox.padded(1).contains(*axes.transData.transform(each[:2]))]
    spots = [axes.transData.transform((x, y)) for x, y, _ in names]
    half = 3.5 * sheet.dpi / 72  # of a marker, in pixels
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in spots]
    taken += _stairs([tuple(axes.transData.transform(point)) for point in front])
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    for x, y, name in names:
        note = axes.annotate(
            name, (x, y), textcoords="offset points", size=7, zorder=2.5, annotation_clip=False, arrowprops=_LEADER
        )
        note.set_bbox({"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.7, "linewidth": 0})
        note.set_in_layout(False)
        best = min(_PLACES, key=lambda place: (_cost(note, place, axes, taken, renderer), _PLACES.index(place)))
        _move(note, best)
        taken.append(_words(note, renderer))


def _stairs(corners: Sequence[tuple[float, ...]]) -> list[Bbox]:
    """The lines from point to point, first up and then across, as thin boxes."""
    boxes = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        boxes.append(Bbox.from_extents(x - 1, min(y, next_y), x + 1, max(y, next_y)))
        boxes.append(Bbox.from_extents(min(x, next_x), next_y - 1, max(x, next_x), next_y + 1))
    return boxes


def _move(note: Any, place: tuple[float, float, str, str]) -> None:
    note.set(position=place[:2], ha=place[2], va=place[3])


def _words(note: Any, renderer: Any) -> Bbox:
    """Where the words of a note stand, without the leader, which may cross what it must."""
    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer)


def _cost(note: Any, place: tuple[float, float, str, str], axes: Axes, taken: list[Bbox], renderer: Any) -> float:
    """How much of what must stay visible the name would cover there, or how far it would leave the axes."""
    _move(note, place)
    box, frame = _words(note, renderer), axes.bbox
    out = [frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0, box.y1 - frame.y1]
    shared = [Bbox.intersection(box, other) for other in taken]
    return sum(each.width * each.height for each in shared if each is not None) + 100 * sum(max(0, way) for way in out)
