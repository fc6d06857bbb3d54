"""Figures as files: PNG for slides, SVG for papers.

Owns how a `Figure` looks.  Series differ in line style and marker as well as in colour, so that a grey print says the
same; colours are Okabe and Ito's, which the colour-blind tell apart; equal figures make equal files.  The console
draws in a process of its own, since loading matplotlib holds the interpreter for half a second:

    python -P -m lctui.export.figures < '{"figure": {…}, "paths": ["error.png", "error.svg"]}'

It exits with 0, with 2 if what it reads is no figure, or with 1 if a file cannot be written.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lctui.errors import BadInput, Exit, LctuiError, printable
from lctui.export import beyond, labels
from lctui.export.plots import DRAWN, GUIDES, Figure, Series, pareto_front
from lctui.runs import atomic

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p")
_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "svg.fonttype": "none",  # text stays text: it can be searched, and edited
    "svg.hashsalt": "lctui",
    "text.parse_math": False,  # a name with $ in it is no formula
}
_DPI = 300
_MANY = 20
"""More classes than this are drawn without their counts, more points than this without their names."""


def draw(figure: Figure, path: Path) -> None:
    """Draws a figure into a file; its suffix is the format.  An older file is replaced whole.

    Raises:
        BadInput: the suffix is neither .png nor .svg.
        OSError: the file cannot be written.
    """
    form = path.suffix.removeprefix(".")
    if form not in DRAWN:
        raise BadInput.one("", str(path), f"must end in {' or '.join('.' + name for name in DRAWN)}")
    # What nobody can draw (a sign that the font lacks) is a box in the picture, and no reason to warn.
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        sheet = Sheet(figsize=_size(figure), layout="constrained")
        FigureCanvasAgg(sheet)
        axes = sheet.add_subplot()
        _DRAW[figure.kind](sheet, axes, beyond.clipped(figure))
        beyond.label(axes, figure)
        # What fits above the axes, at a dozen letters an inch.
        axes.set_title(fill(_text(figure.title, 80), int(12 * (_size(figure)[0] - 0.6))))
        axes.set_xlabel(_text(figure.x_title))
        axes.set_ylabel(_text(figure.y_title))
        metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": "lctui"}
        atomic.replace(path, lambda to: sheet.savefig(to, format=form, dpi=_DPI, metadata=metadata))


def _size(figure: Figure) -> tuple[float, float]:
    """Inches: a figure over one column and a half; a legend beside it, or many classes, need more."""
    if figure.kind == "confusion":
        side = min(9.0, max(3.2, 1.2 + 0.38 * len(figure.classes)))
        return side + 0.4, side
    if figure.kind == "bars":
        return 5.0, min(40.0, max(2.2, 1.0 + 0.44 * len(figure.classes)))
    return (6.6 if _outside(figure) else 5.0), max(3.2, 0.18 * len(figure.series))


def _outside(figure: Figure) -> bool:
    """Are there more series than a legend inside the axes could name without hiding some?"""
    hollow = any(each.kind == "hollow" for each in figure.series)  # they are named too, and so is the front
    return len({each.name for each in figure.series}) + 2 * hollow > 4


def _curve(sheet: Sheet, axes: Axes, figure: Figure) -> None:
    shown = [each for each in figure.series if each.kind not in GUIDES]
    handles = [_line(axes, each, n, len(shown)) for n, each in enumerate(shown)] + _guides(axes, figure)
    _scale(axes, figure)
    _legend(sheet, axes, figure, handles)


def _line(axes: Axes, series: Series, n: int, of: int) -> Artist:
    colour, marker, points = _COLOURS[n % len(_COLOURS)], _MARKERS[n % len(_MARKERS)], len(series.x)
    style: dict[str, Any] = {"markerfacecolor": "white" if n % 2 else colour}
    if series.kind == "points":
        style["linestyle"] = "none"
    else:
        # A dozen markers a line, each line's at other places, so that lines that lie on each other still show.
        every = max(1, points // 12)
        style |= {"linestyle": _LINES[n % len(_LINES)], "markevery": (every * n // max(1, of), every)}
    (line,) = axes.plot(series.x, series.y, color=colour, marker=marker, zorder=3, **style)
    return line


def _guides(axes: Axes, figure: Figure) -> list[Artist]:
    handles: list[Artist] = []
    for n, each in enumerate(_guiding(figure)):
        style: dict[str, Any] = {"color": "0.35", "linewidth": 1, "linestyle": (0, (1, 2 + 3 * n)), "zorder": 2}
        handles.append(axes.axhline(each.y[0], **style) if each.kind == "level" else axes.axvline(each.x[0], **style))
    return handles


def _guiding(figure: Figure) -> list[Series]:
    return [each for each in figure.series if each.kind in GUIDES and (each.y if each.kind == "level" else each.x)]


def _scale(axes: Axes, figure: Figure) -> None:
    """Axes that fit the numbers: whole steps, decades, and zero at the foot where the numbers come near it."""
    xs = [x for each in figure.series for x in each.x if isfinite(x)]
    ys = [y for each in figure.series for y in each.y if isfinite(y)]
    if figure.log_x and any(x > 0 for x in xs):
        _decades(axes, "x", [x for x in xs if x > 0])
    elif figure.kind == "curve" and all(x == int(x) for x in xs):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]))
    if figure.y_range is not None:
        beyond.scale(axes, figure, figure.y_range)
    elif figure.log_y and any(y > 0 for y in ys):
        _decades(axes, "y", [y for y in ys if y > 0])
    elif ys and min(ys) >= 0 and min(ys) <= max(ys) / 2:
        axes.set_ylim(-0.03 * max(ys) if figure.kind != "histogram" else 0, 1.08 * max(ys) or 1)


def _decades(axes: Axes, which: str, values: Sequence[float]) -> None:
    """A logarithmic axis whose labels read as numbers; over less than two decades, 2 and 5 are labelled too."""
    low, high = min(values), max(values)
    axis, pad = (axes.xaxis if which == "x" else axes.yaxis), (high / low) ** 0.06 if high > low else 1.5
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low / pad, high * pad)})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: labels.decade(value)))
    axis.set_minor_formatter(NullFormatter())


def _pareto(sheet: Sheet, axes: Axes, figure: Figure) -> None:
    shown = [each for each in figure.series if each.kind not in (*GUIDES, "hollow", "spread")]
    points = [point for each in shown for point in zip(each.x, each.y, strict=True) if all(map(isfinite, point))]
    front = pareto_front(point for point in points if figure.y_range is None or point[1] <= figure.y_range[1])
    handles: list[Artist] = []
    others = _beside_the_points(axes, figure, [each.name for each in shown])
    for n, each in enumerate(shown):
        colour, marker = _COLOURS[n % len(_COLOURS)], _MARKERS[n % len(_MARKERS)]
        for point in zip(each.x, each.y, strict=True):
            face = colour if point in front or each.kind == "solid" else "white"
            axes.plot(*point, color=colour, marker=marker, markerfacecolor=face, markersize=5.5, zorder=3)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5.5))
    levels = _guides(axes, figure)
    _scale(axes, figure)
    # Up to a point's ratio, its error can be had: the front comes from the left and climbs just after each point.
    style: dict[str, Any] = {"color": "0.4", "linestyle": "--", "linewidth": 1, "zorder": 2}
    left, right = axes.get_xlim()
    front = [(left, y) for _, y in front[:1]] + front
    axes.plot([x for x, _ in front], [y for _, y in front], drawstyle="steps-pre", **style)
    axes.set_xlim(left, right)
    names = [each.name for each in shown] if len(shown) > 1 or others else []
    kept = (handles if names else []) + others + [Line2D([], [], **style), *levels]
    named = [*names, *["published"][: len(others)], "Pareto front", *(each.name for each in _guiding(figure))]
    _legend(sheet, axes, figure, kept, named)
    labelled = [(x, y, name) for each in shown for x, y, name in zip(each.x, each.y, each.labels, strict=False)]
    if len(labelled) <= _MANY:
        labels.place(axes, [(x, y, _text(name, 28)) for x, y, name in labelled], front)


def _beside_the_points(axes: Axes, figure: Figure, names: Sequence[str]) -> list[Artist]:
    """Deviations, and points that others published, hollow; returns what the legend shows of the latter."""
    for each in figure.series:
        n = names.index(each.name) if each.name in names else len(names)
        colour, marker = _COLOURS[n % len(_COLOURS)], _MARKERS[n % len(_MARKERS)]
        if each.kind == "spread":
            axes.vlines(each.x[::2], each.y[::2], each.y[1::2], color=colour, linewidth=0.9, zorder=2.4)
        elif each.kind == "hollow":
            style: dict[str, Any] = {"markerfacecolor": "white", "markersize": 6.5, "linestyle": "none"}
            axes.plot(each.x, each.y, color=colour, marker=marker, zorder=2.6, **style)
    hollow: dict[str, Any] = {"marker": _MARKERS[0], "markerfacecolor": "white", "linestyle": "none"}
    if any(each.kind == "hollow" for each in figure.series):
        return [Line2D([], [], color="0.35", markersize=6.5, **hollow)]
    return []


def _confusion(sheet: Sheet, axes: Axes, figure: Figure) -> None:
    """Shades are shares of the true class, on a scale that shows one in a hundred; counts are written in."""
    if not figure.matrix:
        return
    shares = [[value / (sum(row) or 1) for value in row] for row in figure.matrix]
    norm = matplotlib.colors.PowerNorm(0.4, 0, 1)
    image = axes.imshow(shares, cmap="Blues", norm=norm)
    names, few = [_text(name, 16) for name in figure.classes], len(figure.classes) <= _MANY
    every = max(1, len(names) // 25)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(range(0, len(names), every)))
        axis.set_ticklabels(names[::every])
    if max(map(len, names), default=0) > 3:
        axes.tick_params("x", rotation=45)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if not few:
        bar = sheet.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.01, 0.1, 0.3, 1], label="share of the true class")
        bar.outline.set_visible(False)
        return
    for row, values in enumerate(figure.matrix):
        for column, value in enumerate(values):
            dark = norm(shares[row][column]) > 0.6
            text = f"{value:.0f}" if value == int(value) else f"{value:.2f}"
            axes.text(column, row, text if value else "", color="w" if dark else "k", ha="center", va="center", size=7)


def _histogram(sheet: Sheet, axes: Axes, figure: Figure) -> None:
    foot = min((y for each in figure.series for y in each.y if y > 0), default=1) / 2 if figure.log_y else 0
    handles: list[Artist] = []
    named: list[tuple[float, float, str]] = []
    for n, each in enumerate(figure.series):
        colour = _COLOURS[n % len(_COLOURS)]
        if each.kind == "step":
            style: dict[str, Any] = {"fill": True, "facecolor": colour + "40"} if n == 0 else {}
            style |= {"edgecolor": colour, "linestyle": _LINES[n % len(_LINES)], "linewidth": 1.2, "zorder": 3}
            handles.append(axes.stairs(each.y, each.x, baseline=foot, **style))
        elif each.kind == "stems":
            size, style = (4.0 if len(each.x) <= _MANY else 2.0), {"marker": _MARKERS[n % len(_MARKERS)], "ls": "none"}
            axes.vlines(each.x, foot, each.y, color=colour, linewidth=0.35 * size, zorder=4)
            handles += axes.plot(each.x, each.y, color=colour, markersize=size, zorder=5, **style)
            named += [(x, y, _text(name, 28)) for x, y, name in zip(each.x, each.y, each.labels, strict=False)]
        elif each.kind not in GUIDES:
            handles.append(_line(axes, each, n, len(figure.series)))
    handles += _guides(axes, figure)
    _scale(axes, figure)
    _legend(sheet, axes, figure, handles)
    if 0 < len(named) <= _MANY:
        labels.place(axes, named)


def _bars(sheet: Sheet, axes: Axes, figure: Figure) -> None:
    """Bars of each class under each other; in grey, the first series is full and the others are hatched."""
    thick, rows = 0.8 / max(1, len(figure.series)), range(len(figure.classes))
    handles: list[Any] = []
    for n, each in enumerate(figure.series):
        colour = _COLOURS[n % len(_COLOURS)]
        style: dict[str, Any] = {"facecolor": "white", "hatch": "////"} if n else {"facecolor": colour}
        places = [row - 0.4 + thick * (n + 0.5) for row in rows]
        drawn = axes.barh(places, each.y, 0.9 * thick, edgecolor=colour, linewidth=0.6, zorder=3, **style)
        axes.bar_label(drawn, [f"{value:.1f}" for value in each.y], padding=2, fontsize=7)
        handles.append(drawn)
    words = figure.series[0].labels if figure.series else ()
    names = [_text(name, 28) for name in figure.classes]
    axes.set_yticks(rows, [f"{name}\n{_text(words[n])}" if n < len(words) else name for n, name in enumerate(names)])
    axes.tick_params("y", length=0, labelsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.margins(x=0.1)
    _legend(sheet, axes, figure, handles)


def _legend(
    sheet: Sheet, axes: Axes, figure: Figure, handles: Sequence[Artist], names: Sequence[str] | None = None
) -> None:
    """Names of the series; a single one is named by the title."""
    if names is None:
        first = [each.name for each in figure.series if each.kind not in GUIDES]
        names = first + [each.name for each in _guiding(figure)]
        if len(names) < 2:
            return
    # matplotlib hides names that begin with an underscore: it gets numbers, and then the names.
    numbers = [str(n) for n in range(len(names))]
    if _outside(figure):
        legend = sheet.legend(handles, numbers, loc="outside right upper", handlelength=3)
    elif figure.kind in ("histogram", "bars"):  # within the axes, it would hide some bar or stem
        legend = sheet.legend(handles, numbers, loc="outside lower center", ncols=len(names))
    else:
        many = sum(len(each.x) for each in figure.series) > 5000  # looking for the best place takes long then
        legend = axes.legend(handles, numbers, loc="upper right" if many else "best", handlelength=3)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(_text(name))


def _text(text: str, most: int = 40) -> str:
    """Text in one line, cut where it would leave no room to draw."""
    line = printable(text)
    return line if len(line) <= most else line[: most - 1] + "…"


_DRAW = {"curve": _curve, "pareto": _pareto, "confusion": _confusion, "histogram": _histogram, "bars": _bars}


def main() -> int:
    """Draws the figure on stdin into its files; a failure is one line on stderr."""
    try:
        request = json.loads(sys.stdin.read())
        if not isinstance(request, dict) or not isinstance(request.get("paths"), list):
            raise BadInput.one("", "stdin", 'must be a JSON object with "figure" and "paths"')
        figure = Figure.from_json(request.get("figure"))
        for path in map(Path, request["paths"]):
            try:
                draw(figure, path)
            except OSError as error:
                return _failed(f"{path}: cannot be written: {error.strerror or error}", Exit.FAILED)
    except LctuiError as error:
        return _failed(str(error), error.exit_code)
    except (ValueError, RecursionError) as error:
        return _failed(f"stdin: is no JSON: {error}", Exit.BAD_INPUT)
    return Exit.DONE


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"{printable(message)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
