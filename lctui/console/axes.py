"""Axes of a plot: where a value falls, which ticks to write, and how numbers read in a few signs.

Pure numbers and text.  Owns linear and decimal-logarithmic scales; refuses to guess about data: what cannot stand on a
logarithmic axis (zero and less) is for the caller to leave out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LARGEST = 1e300
"""Values beyond this are as good as infinite: a span between two of them must still be a finite number."""
SMALL = 1e-250
"""A span between values smaller than this is taken for none."""
SMALLEST = 5e-324
TINY = 1e-9
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`, in units of the plot: the value itself, or its decimal logarithm."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, low: float, high: float, log: bool = False, margin: float = 0.0) -> Axis:
        """A scale with room for everything from `low` to `high` (plot units), also when they are the same."""
        size = max(abs(low), abs(high))
        if high - low <= TINY * size or size < SMALL:
            middle = (low + high) / 2
            half = 0.5 if log or size < SMALL else abs(middle) * 0.05
            return cls(middle - half, middle + half, log)
        extra = (high - low) * margin
        bottom = 0.0 if not log and low >= 0 > low - extra else low - extra
        return cls(bottom, high + extra, log)

    def place(self, unit: float, dots: int) -> int:
        """Which of `dots` places a position in plot units falls on; beyond the ends if it lies outside."""
        return round((unit - self.low) / (self.high - self.low) * (dots - 1))

    def places(self, units: Iterable[float], dots: int) -> list[int]:
        """`place` of many."""
        low, span, last = self.low, self.high - self.low, dots - 1
        return [round((unit - low) / span * last) for unit in units]

    def unit(self, value: float) -> float:
        """A value in plot units."""
        return math.log10(value) if self.log else value

    def value(self, unit: float) -> float:
        """The value at a position in plot units."""
        if not self.log:
            return unit
        return LARGEST if unit > 300 else max(10.0**unit, SMALLEST)

    def at(self, place: float, dots: int) -> float:
        """The value at one of `dots` places."""
        return self.value(self.low + (self.high - self.low) * place / max(dots - 1, 1))

    def ticks(self, most: int, whole: bool = False) -> list[float]:
        """At most about `most` round values inside the scale; whole numbers only if asked."""
        if not self.log:
            return linear_ticks(self.low, self.high, most, whole)
        return log_ticks(self.value(self.low), self.value(self.high), most)


def linear_ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`: as many as fit into `most`."""
    if most < 1 or not high > low:
        return []
    exponent = max(math.floor(math.log10(max((high - low) / most, 1e-300))), 0 if whole else -300)
    for step_exponent in range(exponent, exponent + 4):
        for digit in (1, 2, 5):
            step = digit * 10.0**step_exponent
            first, last = math.ceil(low / step - TINY), math.floor(high / step + TINY)
            if last - first + 1 <= most:
                return [_round_to(i * step, step_exponent) for i in range(first, last + 1)]
    return []


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Decades from `low` to `high`, thinned to fit, or filled up with 1-2-5 or 1-3 where they are few."""
    if most < 1 or not 0 < low < high:
        return []
    if high < 5 * low:
        return linear_ticks(low, high, most)  # within two doublings a logarithmic axis is nearly linear
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = [value for value in (_power(1, exponent) for exponent in range(first, last + 1)) if low <= value <= high]
    for digits in ((1, 2, 5), (1, 3)):
        values = [_power(digit, exponent) for exponent in range(first, last + 1) for digit in digits]
        inside = [value for value in values if low <= value <= high]
        if max(2, len(decades) + 1) <= len(inside) <= most:
            return inside
    every = -(-len(decades) // most) or 1
    return [value for value in decades if round(math.log10(value)) % every == 0] or decades[:1]


def _power(digit: int, exponent: int) -> float:
    return float(f"{digit}e{exponent}") if exponent <= 300 else LARGEST


def _round_to(value: float, exponent: int) -> float:
    """The float nearest to a decimal with `exponent`: 0.3, not 0.30000000000000004."""
    return float(round(value, -exponent)) if exponent > -300 else value


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Ticks in as few signs as keep them apart: `0.53`, `12`, `1.2k`, `5e-05`; decimals alike along an axis."""
    if not ticks:
        return []
    plain = [tick for tick in ticks if tick and 1e-3 <= abs(tick) < 1e15]
    decades = len(plain) > 1 and max(map(abs, plain)) >= 100 * min(map(abs, plain))
    common = 0 if decades else max((_digits(tick, "f", _gap(ticks, tick)) for tick in plain), default=0)
    labels, thousands = [], []
    for tick in ticks:
        gap, size = _gap(ticks, tick), abs(tick)
        divisor, unit = next(((divisor, unit) for divisor, unit in UNITS if size >= divisor), (1.0, ""))
        if tick == 0:
            label = "0"
        elif 1e-3 <= size < 1e15:
            label = f"{tick:.{max(common, _digits(tick, 'f', gap)) if decades else common}f}"
        else:
            mantissa, exponent = f"{tick:.{_digits(tick, 'e', gap)}e}".split("e")
            label = f"{_stripped(mantissa)}e{exponent}"
        labels.append(label)
        short = f"{tick / divisor:.{_digits(tick / divisor, 'f', gap / divisor)}f}"
        thousands.append(_stripped(short) + unit if unit and size < 1e15 else label)
    return thousands if max(map(len, thousands)) <= max(map(len, labels)) else labels


def _gap(ticks: Sequence[float], tick: float) -> float:
    """How far the nearest other tick is: what a label must resolve."""
    gaps = (abs(other - tick) for other in ticks if other != tick)
    return min(gaps, default=abs(tick)) or 1.0


def _digits(value: float, form: str, gap: float) -> int:
    """How many digits after the point a value needs to be told from others at this distance."""
    for digits in range(13):
        if abs(float(f"{value:.{digits}{form}}") - value) <= 1e-4 * min(gap, abs(value)):
            return digits
    return 12


def _stripped(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def reading(value: float | None) -> str:
    """A value as the cursor shows it: four significant digits, whole numbers whole."""
    if value is None or not math.isfinite(value):
        return "–"
    return str(int(value)) if abs(value) < 1e7 and value == int(value) else f"{value:.4g}"
