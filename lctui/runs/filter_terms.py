"""What one term of a filter means: finding a field among a run's facts, and comparing what is there.

Owns the meaning of words, fields, operators and units; `lctui.runs.filters` owns how terms are written and joined.
Facts may be of any type: what is neither text, a truth value, a number nor a list of these fits nothing.
"""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

Facts = Mapping[str, Any]
Term = Callable[[Facts], bool]

ORDERINGS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = (":", "=", "!=", *ORDERINGS)

_SEARCHED = ("name", "id", "status", "tag")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([%x×smhdw])?", re.ASCII | re.IGNORECASE)


def number_in(text: str) -> float | None:
    """The number that a filter means: 0.5, 2e-3, 12%, 20×, or a time in seconds as 90s, 10m, 2h, 3d, 1w."""
    match = _NUMBER.fullmatch(text)
    return float(match[1]) * _SECONDS.get((match[2] or "").lower(), 1.0) if match else None


def search(text: str) -> Term:
    """Is the text somewhere in the name, the id, the status or a tag?"""
    wanted = text.casefold()
    return lambda facts: any(
        type(value) is str and wanted in value.casefold() for name in _SEARCHED for value in _each(facts.get(name))
    )


def presence(field: str) -> Term:
    """Is the field there?"""
    found = Field(field)
    return lambda facts: bool(found.values(facts))


def ordering(field: str, sign: str, bound: float) -> Term:
    """Is a number of the field on this side of the bound?"""
    found, holds = Field(field), ORDERINGS[sign]
    return lambda facts: any(_is_number(value) and holds(value, bound) for value in found.values(facts))


def equality(field: str, text: str) -> Term:
    """Is a value of the field this text, or this number?"""
    found, equals = Field(field), _equal_to(text)
    return lambda facts: any(map(equals, found.values(facts)))


def difference(field: str, text: str) -> Term:
    """Is the field there, and no value of it this text or number?"""
    found, equals = Field(field), _equal_to(text)

    def differs(facts: Facts) -> bool:
        values = found.values(facts)
        return bool(values) and not any(map(equals, values))

    return differs


def containment(field: str, text: str) -> Term:
    """Is the text part of a value of the field, or the number in it a value?"""
    found, wanted, equals = Field(field), text.casefold(), _equal_to(text)
    return lambda facts: any(
        wanted in value.casefold() if type(value) is str else equals(value) for value in found.values(facts)
    )


class Field:
    """A fact by its name or by the end of its dotted name, in which case all such facts are meant."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ending = f".{name.casefold()}"
        # The names that were met so far, and those among them that are meant: runs share nearly all names.
        self._met: set[Any] = set()
        self._meant: set[str] = set()

    def values(self, facts: Facts) -> list[Any]:
        """All values of the field, those of lists one by one."""
        if self.name in facts:
            return _each(facts[self.name])
        if not facts.keys() <= self._met:
            self._meet(facts)
        values = [value for name in self._meant if name in facts for value in _each(facts[name])]
        return values or (_age(facts) if self.name.casefold() == "age" else [])

    def is_among(self, names: Mapping[str, Any]) -> bool:
        """Is there such a fact?"""
        self._meet(names)
        return bool(self._meant)

    def _meet(self, facts: Facts) -> None:
        self._meant.update(name for name in facts if type(name) is str and f".{name.casefold()}".endswith(self._ending))
        self._met.update(facts)


def _age(facts: Facts) -> list[float]:
    """Seconds since the run was created; it grows by itself, so that it is no fact."""
    created = facts.get("created_unix")
    return [time.time() - float(created)] if created is not None and _is_number(created) else []


def _each(value: Any) -> list[Any]:
    if type(value) is list:
        return value
    return [] if value is None else list(value) if type(value) is tuple else [value]


def _equal_to(text: str) -> Callable[[Any], bool]:
    wanted, number = text.casefold(), number_in(text)

    def equals(value: Any) -> bool:
        if type(value) is str:
            return value.casefold() == wanted
        if type(value) is bool:
            return wanted == str(value).lower()
        return number is not None and _is_number(value) and value == number

    return equals


def _is_number(value: Any) -> bool:
    return type(value) is float or type(value) is int
