"""What can be asked of a run: everything that its files say, flat, with short names for what is asked most.

Owns the names that the filter of the run list understands.  Reads nothing: files come in as parsed, however odd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Facts = dict[str, Any]

_MAX_DEPTH = 16
_MAX_WORDS = 256
_MAX_NUMBERS = 16
_COMPOUND = (dict, list, type(None))

_SHORT = {
    "train": "train_error_pct",
    "val": "validation_error_pct",
    "test": "test_error_pct",
    "ratio": "compression_ratio",
}
"""Short names of summary fields; errors are percent."""

COMMON = (
    *("id", "name", "tag", "status", "model", "data", "layer", "type", "study", "device", "seed", "error", "created"),
    *("phase", "step", "steps", "mu", "age", "seconds", *_SHORT),
)
"""Facts that can be asked for whether any run has them or not; `age`, in seconds, is worked out when asked."""


def facts_of(summary: Facts, files: Mapping[str, Facts]) -> Facts:
    """All facts of a run: dotted paths into its meta, scheme and result, its summary, and the short names.

    A list of words or numbers is one fact, a list of objects has its numbers in the paths.  What is null, and long
    lists of numbers (codebooks), are no facts.
    """
    facts: Facts = {}
    for name in ("meta", "scheme", "result"):
        _flatten(facts, "", files[name], _MAX_DEPTH)
    _flatten(facts, "", summary, 1)
    scheme = files["scheme"]
    tasks = [task for task in _list(scheme.get("compress")) if isinstance(task, dict)]
    data = scheme.get("data")
    short = {
        **{name: summary[field] for name, field in _SHORT.items()},
        "tag": summary["tags"],
        "model": summary["model"],
        "data": data.get("name") if isinstance(data, dict) else None,
        "layer": _distinct(name for task in tasks for name in _list(task.get("layers"))),
        "type": _distinct(how.get("type") for task in tasks for how in _members(task.get("how"))),
        "created_unix": _seconds(summary["created"]),
    }
    _flatten(facts, "", short, 1)
    return facts


def _flatten(facts: Facts, prefix: str, value: Mapping[str, Any], depth: int) -> None:
    """The facts in an object; what is nested beyond `depth` is none."""
    for name, item in value.items():
        # Parsed JSON has these very types; half a million of them are looked at in a large home.
        kind = type(item)
        if kind is dict:
            if depth:
                _flatten(facts, f"{prefix}{name}.", item, depth - 1)
        elif kind is list:
            _add_list(facts, f"{prefix}{name}", item, depth)
        elif item is not None:
            facts[prefix + name] = item


def _add_list(facts: Facts, path: str, values: list[Any], depth: int) -> None:
    plain = [value for value in values if type(value) not in _COMPOUND]
    numbers = sum([not isinstance(value, str) for value in plain])
    if plain and numbers <= _MAX_NUMBERS:
        facts[path] = plain[:_MAX_WORDS]
    if depth and len(plain) < len(values):
        compound = {str(i): value for i, value in enumerate(values) if type(value) in _COMPOUND}
        _flatten(facts, f"{path}.", compound, depth - 1)


def _members(how: Any) -> list[Facts]:
    """The compressions of a task: one, or the terms of a sum."""
    return [each for each in (how if isinstance(how, list) else [how]) if isinstance(each, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _distinct(values: Iterator[Any]) -> list[str]:
    return list(dict.fromkeys(value for value in values if isinstance(value, str)))


def _seconds(time: str | None) -> float | None:
    """An ISO 8601 time in Unix seconds, UTC where it does not say."""
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except (ValueError, OverflowError, OSError):
        return None
