"""What it means to compare runs: metrics by step, the Pareto front, what differs between schemes.

Owns the arithmetic and wording behind the compare screen, on plain numbers and JSON objects.  Draws nothing and reads
no files.  Errors are percent and better when lower; compression ratios are better when higher.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan
from typing import Any, Literal

from lctui.export import plots
from lctui.headless.words import duration, size_of, times
from lctui.runs.follow import RunHistory, best_step
from lctui.runs.log import finite
from lctui.scheme.compressions import KINDS
from lctui.scheme.measure import CLASSES, ERROR, Measure

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Metric:
    """A number that every LC step reports."""

    column: str
    title: str
    kind: Literal["error", "ratio", "size"]
    measure: Measure = ERROR

    def of(self, measure: Measure) -> Metric:
        """The same metric of runs whose errors are such."""
        if self.kind != "error" or measure == self.measure:
            return self
        return replace(self, title=measure.title(self.column.partition("_")[0]), measure=measure)

    def text(self, value: float | None) -> str:
        """A value as a table shows it; a dash where there is none."""
        if value is None or isnan(value):
            return "–"
        if self.kind == "error":
            return self.measure.text(value)
        return times(value) if self.kind == "ratio" else f"{value:.3g}"


METRICS = (
    Metric("validation_error_pct", "validation error %", "error"),
    Metric("test_error_pct", "test error %", "error"),
    Metric("train_error_pct", "train error %", "error"),
    Metric("gap", "gap ‖w−Δ(Θ)‖", "size"),
    Metric("mu", "μ", "size"),
    Metric("loss", "loss", "size"),
    Metric("compression_ratio", "compression ratio", "ratio"),
)
"""In the order that one key goes through."""

ERRORS = METRICS[:3]


@dataclass(frozen=True)
class Steps:
    """One run's LC steps as they stood when they were read: columns of equal length, nan where there is no number."""

    columns: Mapping[str, Sequence[float]]
    sampled: bool = False
    """Only some of the steps are here; the others are still being read."""

    @classmethod
    def of(cls, history: RunHistory) -> Steps:
        """A copy, so that the history may grow in another thread."""
        names = ("step", "compressed_bits", *(metric.column for metric in METRICS))
        return cls({name: array("d", history.steps[name]) for name in names}, history.sampled)

    def __len__(self) -> int:
        return len(self.columns["step"])

    def last(self, column: str) -> float | None:
        """The value of the last step."""
        return _known(self.columns[column][-1]) if len(self) else None

    def at_step(self, column: str, step: float) -> float | None:
        """The value of the step nearest to `step`; None beyond the run's steps."""
        steps = self.columns["step"]
        if not steps or not steps[0] - 0.5 <= step <= steps[-1] + 0.5:
            return None
        after = min(bisect_left(steps, step), len(steps) - 1)
        nearest = after - 1 if after and step - steps[after - 1] < steps[after] - step else after
        return _known(self.columns[column][nearest])

    def best(self) -> int | None:
        """The place of the best step: lowest validation error, ties to the later."""
        return best_step(self.columns["validation_error_pct"])


def _known(value: float) -> float | None:
    return None if isnan(value) else value


@dataclass(frozen=True)
class Point:
    """A run in the plane of error and ratio."""

    run_id: str
    ratio: float
    error: float


def point(run_id: str, ratio: Any, error: Any) -> Point | None:
    """A point, if both are numbers; a ratio of None (nothing left to store) has no place in the plane."""
    numbers = [value for value in (ratio, error) if isinstance(value, int | float) and isfinite(value)]
    return Point(run_id, *map(float, numbers)) if len(numbers) == 2 else None


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats, by rising ratio: none is better in one and no worse in the other.

    Equal points stand or fall together.  Points that are not finite are left out.
    """
    finite = [each for each in points if isfinite(each.ratio) and isfinite(each.error)]
    front = set(plots.pareto_front((each.ratio, each.error) for each in finite))
    return sorted((each for each in finite if (each.ratio, each.error) in front), key=lambda each: each.ratio)


@dataclass(frozen=True)
class Difference:
    """A field and what each run has there; None where a run has no such field."""

    field: str
    values: Values


def differences(schemes: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The fields in which schemes differ, in the order of the schemes, by dotted name.

    Tasks are told by their layers, not by their place in the list (`compress.fc1.how.k`), so that a task more or less
    makes no others differ.  An absent field and null are the same, and so are 1 and 1.0; what only tasks of one type
    have, and leave as it is by default, goes without saying.  Names are no difference.
    """
    flat = [_flat(scheme) for scheme in schemes]
    groups = _merged([[_group(name) for name in each] for each in flat])
    rows = []
    for group in groups:
        for name in _merged([[name for name in each if _group(name) == group] for each in flat]):
            values = tuple(each.get(name) for each in flat)
            if len({canonical(value) for value in values}) > 1 and not _is_default(name, flat):
                rows.append(Difference(name, values))
    return rows


def _group(name: str) -> str:
    """Fields that stay together: those of a task, or of a block of the scheme."""
    return name.partition(".how")[0] if name.startswith("compress.") else name.partition(".")[0]


def _is_default(name: str, flat: Sequence[Mapping[str, Any]]) -> bool:
    """Do tasks of other types have no such field, and do those that have it leave it as it is by default?"""
    how, _, field = name.rpartition(".")
    if not name.startswith("compress.") or field in ("type", "codebook"):
        return False
    values = [(_defaults(each, how).get(field), each[name]) for each in flat if each.get(name) is not None]
    return all(default is not None and canonical(default) == canonical(value) for default, value in values)


def _defaults(flat: Mapping[str, Any], how: str) -> dict[str, Any]:
    """A compression's default values, by its type."""
    kind = flat.get(f"{how}.type")
    model = KINDS.get(f"quantize:{flat.get(f'{how}.codebook')}" if kind == "quantize" else str(kind))
    return {name: field.default for name, field in model.model_fields.items()} if model is not None else {}


def canonical(value: Any) -> str:
    """A text that equal values share: numbers by their value, whatever their type."""
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return repr(int(value)) if isfinite(value) and value == int(value) else repr(value)


def _flat(scheme: Mapping[str, Any]) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in scheme.items():
        if name == "compress" and isinstance(value, list):
            for task in value:
                _flatten(_task_name(task, leaves), task.get("how") if isinstance(task, Mapping) else task, leaves)
        elif name != "name":
            _flatten(str(name), value, leaves)
    return leaves


def _task_name(task: Any, taken: Mapping[str, Any]) -> str:
    layers = task.get("layers") if isinstance(task, Mapping) else None
    name = f"compress.{'+'.join(map(str, layers)) if isinstance(layers, list) else '?'}.how"
    copies = sum(other.startswith(name) for other in taken)
    return f"{name}#{copies}" if copies else name


def _flatten(name: str, value: Any, leaves: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, leaves)
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for place, inner in enumerate(value):
            _flatten(f"{name}.{place}", inner, leaves)
    else:
        leaves[name] = value


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """Every name once; one that only later lists have stands behind the name before it there."""
    merged: list[str] = []
    for order in orders:
        place = 0
        for name in order:
            if name in merged:
                place = merged.index(name) + 1
            else:
                merged.insert(place, name)
                place += 1
    return merged


def value_text(value: Any) -> str:
    """A scheme's value as a cell shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return str(value)


@dataclass(frozen=True)
class Outcome:
    """A line of results: where it stands in `result.json`, and which way is better."""

    title: str
    path: tuple[str, ...]
    better: Literal["lower", "higher"]
    measure: Measure = ERROR

    def of(self, result: Mapping[str, Any]) -> float | None:
        """The number, if the result has it."""
        value: Any = result
        for name in self.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isfinite(finite(value)) else None

    def text(self, value: float | None) -> str:
        """As a cell shows it."""
        if value is None:
            return "–"
        if self.path[-1] == "seconds":
            return duration(value)
        if self.path[-1] == "compression_ratio":
            return times(value)
        return size_of(value) if self.path[-1] == "compressed_bits" else self.measure.text(value)

    def under(self, measure: Measure) -> Outcome:
        """The same line of runs whose errors are such."""
        if measure == self.measure or not self.path[-1].endswith("_pct"):
            return self
        title = self.title.replace("error %", "%").replace("%", measure.name or "metric")
        return replace(self, title=title, measure=measure)

    def beats(self, value: float | None, other: float | None) -> bool:
        """Is the value better than another?"""
        if value is None or other is None:
            return False
        return value < other if self.better == "lower" else value > other


OUTCOMES = (
    Outcome("test error %", ("final", "test_error_pct"), "lower"),
    Outcome("validation error %", ("final", "validation_error_pct"), "lower"),
    Outcome("train error %", ("final", "train_error_pct"), "lower"),
    Outcome("best validation %", ("best", "validation_error_pct"), "lower"),
    Outcome("direct, test error %", ("direct", "test_error_pct"), "lower"),
    Outcome("ratio", ("final", "compression_ratio"), "higher"),
    Outcome("compressed size", ("final", "compressed_bits"), "lower"),
    Outcome("time", ("seconds",), "lower"),
)


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Are the errors of two runs errors on the same task: the same data set, the same classes of it, the same metric?

    Takes runs' facts (`lctui.runs.facts`).  The digest of what was trained on decides where both runs have one.
    """
    digests = [facts.get("data_sha256") for facts in (a, b)]
    if a.get("objective.metric", CLASSES) != b.get("objective.metric", CLASSES):
        return False
    return digests[0] == digests[1] if all(digests) else _subject(a) == _subject(b)


def _subject(facts: Mapping[str, Any]) -> tuple[str, str, str]:
    classes = facts.get("data.classes")
    chosen = canonical(sorted(classes, key=canonical)) if isinstance(classes, list) else "all"
    arguments = sorted((name, canonical(value)) for name, value in facts.items() if name.startswith("data.args."))
    return canonical(facts.get("data.name")), repr(arguments), chosen
