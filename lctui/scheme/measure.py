"""What stands for error in a run, in words: the share of wrong classes in percent, or a metric by its name.

Owns how such a number is written and what its columns and axes are called.  Measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

CLASSES = "error"
"""The name of the metric that is the share of wrong classes."""


@dataclass(frozen=True)
class Measure:
    """A metric by its name; without a name, those of several runs that differ."""

    name: str | None = CLASSES

    @classmethod
    def of(cls, scheme: Mapping[str, Any]) -> Measure:
        """The measure of a scheme as JSON, whole or not."""
        objective = scheme.get("objective")
        metric = objective.get("metric") if isinstance(objective, Mapping) else None
        return cls.named(metric) if isinstance(metric, str) else cls()

    @classmethod
    def named(cls, metric: str) -> Measure:
        """The measure that a scheme's field names: `mse`, `file.py:perplexity`."""
        return cls(metric.rpartition(":")[2])

    @classmethod
    def common(cls, measures: Iterable[Measure]) -> Measure:
        """The measure that all of them are, or one without a name."""
        found = set(measures)
        return found.pop() if len(found) == 1 else cls(None) if found else cls()

    @property
    def is_percent(self) -> bool:
        """Is it a percentage?"""
        return self.name == CLASSES

    def text(self, value: float | None) -> str:
        """A value without its unit: a percentage with two digits, another metric with four significant ones."""
        if value is None or not isfinite(value):
            return "–"
        return f"{value:.2f}" if self.is_percent else f"{value:.4g}"

    def short(self, value: float | None) -> str:
        """A value in six cells, with as many digits as fit."""
        if self.is_percent or value is None:
            return self.text(value)
        texts = [f"{value:.{digits}g}" for digits in (4, 3, 2, 1)]
        return next((text for text in texts if len(text) <= 6), texts[-1])

    @property
    def not_of_classes(self) -> str | None:
        """Why plots of classes say nothing of such numbers, if so."""
        return None if self.is_percent else f"its errors are no wrong classes, but {self.name}"

    @property
    def unit(self) -> str:
        """What stands behind a value: `%`, `mse`."""
        return "%" if self.is_percent else self.name or ""

    def said(self, value: float | None) -> str:
        """A value with its unit: `0.51 %`, `0.01234 mse`."""
        return f"{self.text(value)} {self.unit}".rstrip()

    def column(self, split: str) -> str:
        """What a narrow column of a split is called: `test %`, or `test` where the metric stands elsewhere."""
        return f"{split} %" if self.is_percent else split

    def error_column(self) -> str:
        """What all splits' errors are called: `error %`, `mse`."""
        return "error %" if self.is_percent else self.name or "metric"

    def heading(self, split: str) -> str:
        """What a table for readers calls it: `test (%)`, `test mse`."""
        return f"{split} (%)" if self.is_percent else f"{split} {self.name or ''}".rstrip()

    def title(self, split: str = "") -> str:
        """What an axis is called: `test error (%)`, `test mse`."""
        words = [split, "error (%)"] if self.is_percent else [split, self.name or "metric"]
        return " ".join(word for word in words if word)


ERROR = Measure()
"""The share of wrong classes, in percent."""
