"""What a study's runs achieved, row by row: means over the seeds, and the published numbers beside them.

Owns which numbers of a result count for a row, what a mean is taken over, and when a net is at chance level.  Words
and tables are made of it elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Any

from lctui.runs.store import Run
from lctui.runs.study_runs import StudyRow
from lctui.scheme.check import describe, resolved_tasks
from lctui.scheme.measure import Measure
from lctui.scheme.models import Scheme
from lctui.scheme.net import BUILT_IN_DATA

CLOSE_POINTS = 0.10
"""A row is close to the published one if its test error is no higher by more than this, in points of percent; by
another metric, if it is no higher."""
COLLAPSED, AT_CHANCE = "collapsed to one class", "at chance level"
_ROUNDING = 1e-9
_NEAR_CHANCE = 0.9  # of the error of guessing: five digits differ by a tenth in how often they occur


@dataclass(frozen=True)
class Spread:
    """A number's values over the seeds, at least one."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Their mean; a count that all agree on stays a count."""
        return self.values[0] if len(set(self.values)) == 1 else mean(map(float, self.values))

    @property
    def sd(self) -> float | None:
        """Their sample standard deviation; None of a single value."""
        return stdev(map(float, self.values)) if self.n > 1 else None

    @classmethod
    def of(cls, values: Sequence[Any]) -> Spread | None:
        """Of those that are numbers; None without any."""
        numbers = tuple(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
        return cls(numbers) if numbers else None


@dataclass(frozen=True)
class Learned:
    """A task of a row: its layers, what was asked for, and what each finished run made of it."""

    layers: tuple[str, ...]
    how: Any
    found: tuple[Mapping[str, Any], ...]

    def spread(self, name: str) -> Spread | None:
        """A learned number ("rank", "nonzeros", "parameters") over the seeds."""
        return Spread.of([each.get(name) for each in self.found])


@dataclass(frozen=True)
class Measured:
    """A row with the results of its finished runs; `verdicts` says which of the nets are at chance level, by run id."""

    row: StudyRow
    verdicts: Mapping[str, str]

    @property
    def name(self) -> str:
        """The row's name."""
        return self.row.name

    @property
    def scheme(self) -> Scheme:
        """The first seed's scheme: all that the seeds have in common."""
        return self.row.schemes[0]

    @property
    def measure(self) -> Measure:
        """What its errors are."""
        return self.scheme.objective.measure

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The finished runs."""
        return tuple(run for run in self.row.runs if run is not None)

    @cached_property
    def results(self) -> tuple[dict[str, Any], ...]:
        """Their results."""
        return tuple(run.read("result.json") for run in self.runs)

    def spread(self, name: str, block: str = "final") -> Spread | None:
        """A number of a block of the results, over the seeds; a run that only trains a reference ends with it."""
        return Spread.of([_block(result, block).get(name) for result in self.results])

    def mean(self, name: str) -> float | None:
        """The mean of a number of the compressed net."""
        found = self.spread(name)
        return None if found is None else found.mean

    def known(self, name: str) -> float:
        """The mean of a number that the row is known to have."""
        found = self.mean(name)
        assert found is not None
        return found

    @property
    def error(self) -> float:
        """The mean test error, in percent or by the row's metric, of a row that has one."""
        return self.known("test_error_pct")

    @property
    def ratio(self) -> float:
        """The mean compression ratio of a row that has one."""
        return self.known("compression_ratio")

    def published(self, name: str) -> float | None:
        """What somebody else reported."""
        return self.row.published.get(name)

    def difference(self, name: str) -> float | None:
        """Ours minus the published one."""
        ours, theirs = self.mean(name), self.published(name)
        return None if ours is None or theirs is None else ours - theirs

    @property
    def close(self) -> bool:
        """Is the test error no higher than the published one, but for `CLOSE_POINTS`?"""
        found = self.difference("test_error_pct")
        return found is not None and found <= (CLOSE_POINTS + _ROUNDING if self.measure.is_percent else 0.0)

    @property
    def at_chance(self) -> bool:
        """Is a net of this row, or the published one, at chance level?"""
        return bool(self.fates) or self.published_at_chance

    @property
    def published_at_chance(self) -> bool:
        """Is the published error one of guessing?"""
        return near_chance(self.scheme, self.published("test_error_pct"))

    @property
    def fates(self) -> tuple[str, ...]:
        """What became of the nets that are at chance level."""
        return tuple(self.verdicts[run.id] for run in self.runs if run.id in self.verdicts)

    @property
    def tasks(self) -> list[Learned]:
        """The row's tasks, in order."""
        found = [result.get("layers") or () for result in self.results]
        return [
            Learned(_layers(self.scheme, n, found), task.how, tuple(each[n] for each in found if n < len(each)))
            for n, task in enumerate(self.scheme.compress)
        ]

    @property
    def remark(self) -> str:
        """What a reader must know to take the numbers for what they are."""
        said = []
        of = f" in {len(self.fates)} of {len(self.runs)} seeds" if len(self.fates) < len(self.runs) else ""
        if self.fates:
            said.append((COLLAPSED if set(self.fates) == {COLLAPSED} else AT_CHANCE) + of)
        if self.published_at_chance:
            said.append(f"published: {AT_CHANCE}")
        if not self.runs:
            said.append("not run")
        elif len(self.runs) < len(self.row.schemes):
            said.append(f"{len(self.runs)} of {len(self.row.schemes)} seeds finished")
        return "; ".join(said)


def _block(result: Mapping[str, Any], block: str) -> Mapping[str, Any]:
    found = result.get(block)
    if found is None and block == "final":
        found = result.get("reference")
    return found if isinstance(found, dict) else {}


def _layers(scheme: Scheme, place: int, found: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[str, ...]:
    """The layers of a task: as a run has found them, as a built-in net has them, or as the scheme names them."""
    for layers in found:
        if place < len(layers):
            return tuple(layers[place]["layers"])
    net = describe(scheme.model)
    return scheme.compress[place].layers if net is None else resolved_tasks(scheme, net)[place].names


def measure_of(rows: Sequence[Measured]) -> Measure:
    """What the errors of some rows are."""
    return Measure.common(row.measure for row in rows)


def near_chance(scheme: Scheme, error_pct: float | None) -> bool:
    """Is this an error that a net has which guesses, or always says the same?  Of another metric nobody knows."""
    classes = class_count(scheme) if scheme.objective.measure.is_percent else None
    return error_pct is not None and classes is not None and error_pct >= _NEAR_CHANCE * 100 * (1 - 1 / classes)


def class_count(scheme: Scheme) -> int | None:
    """How many classes a scheme's data have, as far as that is known without the data."""
    if scheme.data.classes is not None:
        return len(scheme.data.classes)
    info = BUILT_IN_DATA.get(scheme.data.name)
    return info.classes if info is not None else None
