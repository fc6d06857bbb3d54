"""Dotted paths: setting one field of a file's JSON by name, as studies and `--set` do.

Owns what `compress.1.how.kappa` and `compress.*.how.k` mean.  Knows nothing of schemes: whether the result is one is
for the models to say.
"""

from __future__ import annotations

import copy
from typing import Any

from lctui.scheme.json_file import unfit

EVERY = "*"
"""The segment that stands for every item of a list."""


def set_path(raw: Any, path: str, value: Any) -> str | None:
    """Sets a field, or with `*` one of every item, in place; returns what is wrong with path or value, or None.

    Objects that are missing on the way are made; lists are as long as they are.
    """
    return unfit(value) or _set(raw, path.split("."), 0, value)


def _set(here: Any, keys: list[str], done: int, value: Any) -> str | None:
    key, last = keys[done], done == len(keys) - 1
    if isinstance(here, dict):
        if last:
            here[key] = copy.deepcopy(value)
            return None
        return _set(here.setdefault(key, {}), keys, done + 1, value)
    places = _items(here, key)
    if not places:
        return _dead_end(here, ".".join(keys[:done]) or "the scheme", key)
    for place in places:
        if last:
            here[place] = copy.deepcopy(value)
        elif problem := _set(here[place], keys, done + 1, value):
            return problem
    return None


def _items(here: Any, key: str) -> list[int]:
    """The items of a list that a key names: one by its number, all by `*`; none if there is none."""
    if not isinstance(here, list):
        return []
    if key == EVERY:
        return list(range(len(here)))
    numbers = key.isdecimal() and len(key) <= len(str(len(here)))
    return [int(key)] if numbers and int(key) < len(here) else []


def _dead_end(here: Any, where: str, key: str) -> str:
    if isinstance(here, list):
        if key == EVERY:
            return f"{where} has no items, so '*' stands for nothing"
        return f"{where} has {len(here)} items, numbered from 0; there is no {key!r}"
    return f"{where} has no fields, so {key!r} cannot be set in it"
