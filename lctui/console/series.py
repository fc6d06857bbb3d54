"""The numbers behind one curve: copied once, smoothed, searched, and reduced to what a plot can show.

A column of dots shows its first, lowest, highest and last value and nothing else, so that is what a long series is
reduced to before drawing; the picture is the same as with every point.  A smoothed series is there for its trend, and
is reduced to its mean in each column.  Owns gaps (whatever is no finite number) and what a logarithmic axis must
leave out.  Draws nothing.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from lctui.console.axes import LARGEST

BLOCK = 32
"""Points whose lowest and highest value are found once, so that zooming and growing need not look at them again."""
SHORT = 2000
"""Series up to this long are checked for order; longer ones are taken to go from left to right."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Reduction:
    """What to see of a series: window (x), columns of dots, scales, smoothing."""

    low: float
    high: float
    columns: int
    log_x: bool = False
    log_y: bool = False
    weight: float = 0.0


@dataclass(frozen=True)
class Lines:
    """Polylines in plot units (value, or decimal logarithm), inside the window; how many values had to stay out."""

    lines: list[list[Point]] = field(default_factory=list)
    left_out: int = 0

    def extent(self) -> Point | None:
        """Lowest and highest position of all vertices."""
        heights = [v for line in self.lines for _, v in line]
        return (min(heights), max(heights)) if heights else None


class Series:
    """Points x[i], y[i] of a curve.  A line's x must not decrease; short series are checked, and drawn as they come."""

    def __init__(self, x: Sequence[float], y: Sequence[float], before: Series | None = None) -> None:
        size = min(len(x), len(y))
        self.x, self.y = _copied(x, size), _copied(y, size)
        self.ordered = size > SHORT or all(self.x[i] <= self.x[i + 1] for i in range(size - 1))
        self._smooth: dict[float, array[float]] = {0.0: self.y}
        self._blocks: Blocks | None = None
        self._reduced: dict[Reduction, Lines] = {}
        if before is not None and 0 < len(before) <= size:
            self._inherit(before)

    def __len__(self) -> int:
        return len(self.y)

    def _inherit(self, before: Series) -> None:
        """Keeps the work done on a series of which this one is a continuation, bit for bit."""
        size = len(before)
        if not _same(before.y, self.y, size):
            return
        if size == len(self) and _same(before.x, self.x, size):
            self._smooth, self._blocks, self._reduced = before._smooth, before._blocks, before._reduced
        elif before._blocks is not None:
            self._blocks = before._blocks.grown(self.y)

    def smoothed(self, weight: float) -> array[float]:
        """Exponential moving average over all points (not over what is drawn), corrected for its start at zero."""
        if weight not in self._smooth:
            self._smooth[weight] = smoothed(self.y, weight)
        return self._smooth[weight]

    def blocks(self) -> Blocks:
        """Lowest and highest values of blocks of the series."""
        if self._blocks is None:
            self._blocks = Blocks.of(self.y)
        return self._blocks

    def extent(self, log: bool = False) -> Point | None:
        """The first and the last x that can be shown, in values."""
        if self.ordered and self.x and not log and _finite(self.x[0]) and _finite(self.x[-1]):
            return self.x[0], self.x[-1]
        usable = [x for x in self.x if (0 if log else -LARGEST) < x < LARGEST]
        return (min(usable), max(usable)) if usable else None

    def nearest(self, x: float) -> int | None:
        """The index of the point next to x."""
        if not self.ordered:
            return min(range(len(self)), key=lambda i: _distance(self.x[i], x), default=None)
        right = bisect_left(self.x, x)
        around = [i for i in (right - 1, right) if 0 <= i < len(self)]
        return min(around, key=lambda i: _distance(self.x[i], x), default=None)

    def beyond(self, x: float, step: float) -> float | None:
        """The next x of a point at least `step` (negative: to the left) away from x; None if there is none."""
        if not self.ordered:
            found = [
                one for one in self.x if (one > x and one >= x + step if step > 0 else one < x and one <= x + step)
            ]
            return (min(found) if step > 0 else max(found)) if found else None
        if step > 0:
            i = max(bisect_right(self.x, x), bisect_left(self.x, x + step))
            return self.x[i] if i < len(self) else None
        i = min(bisect_left(self.x, x), bisect_right(self.x, x + step)) - 1
        return self.x[i] if i >= 0 else None

    def lines(self, how: Reduction) -> Lines:
        """The series as polylines, with no more vertices than the columns can show."""
        if how not in self._reduced:
            if len(self._reduced) > 3:
                self._reduced.clear()
            vertices, left_out = self._vertices(how)
            self._reduced[how] = Lines(_polylines(vertices, how), left_out)
        return self._reduced[how]

    def points(self, how: Reduction) -> tuple[list[tuple[float, float, int]], int]:
        """Every point in the window in plot units, with its index; how many a logarithmic axis leaves out."""
        floor_x, floor_y = (0.0 if log else -LARGEST for log in (how.log_x, how.log_y))
        found, left_out = [], 0
        for i, (x, y) in enumerate(zip(self.x, self.y, strict=True)):
            if not (how.low <= x <= how.high and -LARGEST < y < LARGEST):
                continue
            if x > floor_x and y > floor_y:
                found.append((math.log10(x) if how.log_x else x, math.log10(y) if how.log_y else y, i))
            else:
                left_out += 1
        return found, left_out

    def _vertices(self, how: Reduction) -> tuple[list[Point], int]:
        """Vertices in values; what cannot be drawn is nan there, and breaks the line."""
        x, y = self.x, self.smoothed(how.weight)
        if not self.ordered:
            return list(zip(x, y, strict=True)), _not_positive(y) if how.log_y else 0
        start, stop = bisect_left(x, how.low), bisect_right(x, how.high)
        left_out = 0
        if stop - start <= 4 * how.columns:
            inside = list(zip(x[start:stop], y[start:stop], strict=True))
            left_out = _not_positive(y[start:stop]) if how.log_y else 0
        else:
            inside, left_out = self._columns(start, stop, how)
        outside = list(zip(x[max(start - 1, 0) : start], y[max(start - 1, 0) : start], strict=True))
        return outside + inside + list(zip(x[stop : stop + 1], y[stop : stop + 1], strict=True)), left_out

    def _columns(self, start: int, stop: int, how: Reduction) -> tuple[list[Point], int]:
        """What every column of dots shows: first, lowest, highest and last value, or the mean of a smoothed series."""
        x, y = self.x, self.smoothed(how.weight)
        vertices: list[Point] = []
        left_out = 0
        for edge, centre in _columns(how):
            end = bisect_left(x, edge, start, stop) if edge < math.inf else stop
            if end == start:
                continue
            if how.weight:
                mean, count = _mean(y[start:end], how.log_y)
                vertices.append((centre, mean))
            else:
                low, high, count = self._extremes(start, end, how.log_y)
                vertices += (
                    [(x[start], y[start]), (centre, low), (centre, high), (x[end - 1], y[end - 1])]
                    if low <= high
                    else [(centre, math.nan)]
                )
            left_out += count
            start = end
        return vertices, left_out

    def _extremes(self, start: int, stop: int, log: bool) -> tuple[float, float, int]:
        """Lowest and highest value that can be drawn (inf and -inf if none), and how many a log scale leaves out."""
        low, high = self.blocks().extremes(self.y, start, stop)
        if not log or low > 0:
            return low, high, 0
        chunk = self.y[start:stop]
        good = [value for value in chunk if 0 < value < LARGEST]
        return min(good, default=math.inf), max(good, default=-math.inf), _not_positive(chunk)


@dataclass(frozen=True)
class Blocks:
    """Lowest and highest finite value of each whole block of a series; inf and -inf where a block has none."""

    lows: list[float]
    highs: list[float]

    @classmethod
    def of(cls, y: array[float]) -> Blocks:
        """The blocks of a series."""
        whole = len(y) // BLOCK * BLOCK
        if not whole:
            return cls([], [])
        lanes = [y[i:whole:BLOCK] for i in range(BLOCK)]
        lows, highs = list(map(min, *lanes)), list(map(max, *lanes))
        if not (_finite(sum(lows)) and _finite(sum(highs))):
            for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
                if not (_finite(low) and _finite(high)):  # min() keeps a nan only where it comes first
                    lows[i], highs[i] = _extremes(y[i * BLOCK : (i + 1) * BLOCK])
        return cls(lows, highs)

    def grown(self, y: array[float]) -> Blocks:
        """The blocks of a series that begins as this one did."""
        more = Blocks.of(y[len(self.lows) * BLOCK :])
        return Blocks(self.lows + more.lows, self.highs + more.highs)

    def extremes(self, y: array[float], start: int, stop: int) -> Point:
        """Lowest and highest finite value of y[start:stop]; inf and -inf if there is none."""
        first, last = -(-start // BLOCK), stop // BLOCK
        if last <= first:
            return _extremes(y[start:stop])
        low, high = _extremes(y[start : first * BLOCK] + y[last * BLOCK : stop])
        return min(low, *self.lows[first:last]), max(high, *self.highs[first:last])


def smoothed(y: array[float], weight: float) -> array[float]:
    """s[i] = sum of weight^k y[i-k] over k, divided by the sum of weight^k; gaps are passed over and stay gaps."""
    share = 1 - weight
    values: Iterable[float] = y
    whole = _finite(sum(y))
    if not whole:
        values = [value for value in y if _finite(value)]
    raw = array("d", accumulate(values, lambda state, value: state + share * (value - state), initial=0.0))[1:]
    mass = 1.0
    for i in range(len(raw)):
        mass *= weight
        if mass < 1e-17:
            break
        raw[i] /= 1 - mass
    if whole:
        return raw
    kept = iter(raw)
    return array("d", [next(kept) if _finite(value) else math.nan for value in y])


def _copied(values: Sequence[float], size: int) -> array[float]:
    """The first `size` numbers; what is missing (None) is nan."""
    if isinstance(values, array) and values.typecode == "d":
        return values[:size]
    return array("d", [math.nan if value is None else value for value in values[:size]])


def _same(one: array[float], other: array[float], size: int) -> bool:
    """Whether the first `size` numbers are the same bits (nan equals nan): whole words, some ns each."""
    words = [memoryview(values).cast("B").cast("q")[:size] for values in (one, other)]
    return words[0] == words[1]


def _finite(value: float) -> bool:
    return -LARGEST < value < LARGEST


def _distance(one: float, other: float) -> float:
    return abs(one - other) if _finite(one) else math.inf


def _not_positive(values: Iterable[float]) -> int:
    return sum(-LARGEST < value <= 0 for value in values)


def _extremes(chunk: array[float]) -> Point:
    """Lowest and highest finite value of a few numbers; inf and -inf if there is none."""
    if not chunk:
        return math.inf, -math.inf
    low, high = min(chunk), max(chunk)
    if low > -LARGEST and high < LARGEST:  # false for nan, which min() and max() keep only from the first place
        return low, high
    good = [value for value in chunk if _finite(value)]
    return (min(good), max(good)) if good else (math.inf, -math.inf)


def _mean(chunk: array[float], log: bool) -> tuple[float, int]:
    """Mean of what can be drawn, nan if nothing can; how many values a log scale leaves out."""
    total = sum(chunk)
    if not log and _finite(total):
        return total / len(chunk), 0
    good = [value for value in chunk if (0 if log else -LARGEST) < value < LARGEST]
    mean = sum(value / len(good) for value in good) if good else math.nan
    return mean, _not_positive(chunk) if log else 0


def _columns(how: Reduction) -> Iterator[Point]:
    """Right edge and centre of each column of dots, in values; the last column takes what is left."""
    low, high = (math.log10(how.low), math.log10(how.high)) if how.log_x else (how.low, how.high)
    step = (high - low) / max(how.columns - 1, 1)
    for column in range(how.columns):
        edge, centre = low + (column + 0.5) * step, low + column * step
        if how.log_x:
            edge, centre = 10.0**edge, 10.0**centre
        yield (edge, min(centre, how.high)) if column < how.columns - 1 else (math.inf, how.high)


def _polylines(vertices: list[Point], how: Reduction) -> list[list[Point]]:
    """Vertices in plot units, split at gaps and cut at the edges of the window."""
    floor_x, floor_y = (0.0 if log else -LARGEST for log in (how.log_x, how.log_y))
    low, high = (math.log10(how.low), math.log10(how.high)) if how.log_x else (how.low, how.high)
    lines: list[list[Point]] = []
    line: list[Point] = []
    for x, y in vertices:
        if floor_x < x < LARGEST and floor_y < y < LARGEST:
            line.append((math.log10(x) if how.log_x else x, math.log10(y) if how.log_y else y))
        elif line:
            lines.append(line)
            line = []
    if line:
        lines.append(line)
    return [piece for line in lines for piece in _cut(line, low, high)]


def _cut(line: list[Point], low: float, high: float) -> list[list[Point]]:
    """The parts of a polyline between two x, with new vertices where it crosses them."""
    if all(low <= u <= high for u, _ in line):
        return [line]
    pieces: list[list[Point]] = []
    piece: list[Point] = []
    if low <= line[0][0] <= high:
        piece.append(line[0])
    for start, end in pairwise(line):
        inside = [
            _crossing(start, end, edge) for edge in (low, high) if min(start[0], end[0]) < edge < max(start[0], end[0])
        ]
        piece += sorted(inside, key=lambda point: abs(point[0] - start[0]))
        if low <= end[0] <= high:
            piece.append(end)
        elif piece:
            pieces.append(piece)
            piece = []
    return [*pieces, piece] if piece else pieces


def _crossing(start: Point, end: Point, u: float) -> Point:
    share = (u - start[0]) / (end[0] - start[0])
    return u, start[1] + share * (end[1] - start[1])
