"""Named columns of numbers that grow together: what is kept of ten thousands of events, in eight bytes a number.

Owns what counts as a number (`lctui.runs.log.finite`) and the speed of taking in many records at once.  Knows no event.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import compress
from math import isfinite, nan
from typing import Any

from lctui.runs.log import finite

_PLAIN = {float, int}


class Columns:
    """Columns of floats, all of one length; nan where a record has no finite number of that name."""

    def __init__(self, *names: str) -> None:
        self._columns = {name: array("d") for name in names}

    def __len__(self) -> int:
        return min(map(len, self._columns.values()))

    def __getitem__(self, name: str) -> array[float]:
        return self._columns[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(self._columns)

    def append(self, record: Mapping[str, Any]) -> None:
        """One more row."""
        for name, column in self._columns.items():
            column.append(finite(record.get(name)))

    def extend(self, records: Sequence[Mapping[str, Any]], **computed: Sequence[float]) -> None:
        """One more row a record; `computed` are whole columns that no record holds."""
        for name, column in self._columns.items():
            column.extend(numbers(computed[name] if name in computed else [record.get(name) for record in records]))

    def pad(self, length: int) -> None:
        """Rows without numbers, up to this length."""
        missing = array("d", [nan]) * (length - len(self))
        for column in self._columns.values():
            column.extend(missing)

    def truncate(self, length: int) -> None:
        """Drops the rows from `length` on."""
        for column in self._columns.values():
            del column[length:]

    def keep(self, mask: Sequence[bool]) -> None:
        """Drops the rows for which `mask` is false."""
        for name, column in self._columns.items():
            self._columns[name] = array("d", compress(column, mask))


def numbers(values: Sequence[Any]) -> array[float]:
    """Values as floats, nan for what is no finite number."""
    if set(map(type, values)) <= _PLAIN:
        try:
            found = array("d", values)
        except OverflowError:
            return array("d", map(finite, values))
        # A sum that is finite had only finite terms: one pass for nearly every column there is.
        if isfinite(sum(found)):
            return found
    return array("d", map(finite, values))
