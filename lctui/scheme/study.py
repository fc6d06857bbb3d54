"""Studies: one base scheme, many runs.

Owns the study file: the product of its grid, plus its variants, each a valid scheme before anything runs.  Also owns
setting a field by its dotted path, which the command line's `--set` shares.
"""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from lctui.errors import BadInput, Problem
from lctui.scheme.compressions import Block
from lctui.scheme.json_file import read_json, unfit
from lctui.scheme.load import find_problems, parse_scheme, word_errors
from lctui.scheme.models import Name, Scheme

MAX_RUNS = 10_000
MAX_LABEL = 40


class Variant(Block):
    """One run of a study that differs from the base in named fields."""

    name: Name
    """What is added to the base's name."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted paths and the values they take."""


class StudyFile(Block):
    """A study as the file has it; the base is checked once its fields are set."""

    version: Literal[1] = 1
    """Version of this file format."""
    study: Name
    """The study's name."""
    base: dict[str, Any]
    """The scheme that every run starts from."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Dotted paths and the values each takes; the runs are their product."""
    variants: list[Variant] = Field(default_factory=list)
    """Further runs."""


@dataclass(frozen=True)
class Study:
    """A study's name, and its runs in order."""

    name: str
    schemes: tuple[Scheme, ...]


def load_file(path: Path, overrides: dict[str, Any] | None = None) -> Scheme | Study:
    """The scheme or study in a file, with fields overridden by dotted path.

    Raises:
        BadInput: with all problems of the file.
    """
    raw = read_json(path)
    if isinstance(raw, dict) and "study" in raw:
        # The base is what a study's overrides change, whether or not they say so.
        named = {name.removeprefix("base."): value for name, value in (overrides or {}).items()}
        return parse_study(raw, str(path), named)
    return parse_scheme(_overridden(raw, overrides or {}, str(path)), str(path))


def _overridden(raw: Any, overrides: dict[str, Any], source: str) -> Any:
    raw = copy.deepcopy(raw)
    problems = [Problem(f"--set {path}", p) for path, value in overrides.items() if (p := set_path(raw, path, value))]
    if problems:
        raise BadInput(source, problems)
    return raw


def parse_study(raw: Any, source: str, overrides: dict[str, Any]) -> Study:
    """The study in parsed JSON, every run of it valid.

    Raises:
        BadInput: with all problems, each with the member it is in.
    """
    try:
        file = StudyFile.model_validate(raw)
    except ValidationError as error:
        raise BadInput(source, word_errors(error, raw, StudyFile)) from None
    base = _overridden(file.base, overrides, source)
    schemes: list[Scheme] = []
    problems: list[Problem] = []
    taken: set[str] = set()
    # What is wrong with the base is wrong with every member that does not replace it: say it once.
    in_base = find_problems(base, source)[1]
    for where, name, settings in _members(file, source):
        scheme, found = _member(base, name, settings, source)
        problems += [
            Problem(f"base.{p.path}" if p.path else "base", p.message)
            if p in in_base
            else Problem(f"{where}.{p.path}" if p.path else where, p.message)
            for p in found
        ]
        if name in taken:
            problems.append(Problem(where.removesuffix(".set"), f"makes two runs that are both called {name!r}"))
        taken.add(name)
        if scheme is not None:
            schemes.append(scheme)
    if problems:
        raise BadInput(source, dict.fromkeys(problems))
    return Study(file.study, tuple(schemes))


def _member(
    base: dict[str, Any], name: str, settings: dict[str, Any], source: str
) -> tuple[Scheme | None, list[Problem]]:
    raw = copy.deepcopy(base)
    bad = [Problem(path, text) for path, value in settings.items() if (text := set_path(raw, path, value))]
    if bad:
        return None, bad
    if name and isinstance(raw.get("name", ""), str):
        raw["name"] = f"{raw.get('name', 'scheme')}/{name}"
    return find_problems(raw, source)


def _members(file: StudyFile, source: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Every run as (place in the file, name, settings)."""
    sizes = [len(values) for values in file.grid.values()]
    count = 1
    for size in sizes:
        count *= size
    if count + len(file.variants) > MAX_RUNS:
        raise BadInput.one(source, "grid", f"makes {count:,} runs; a study has at most {MAX_RUNS:,}")
    result = []
    # A grid of nothing has one point, the base itself: it is a run only when there is nothing else.
    if file.grid or not file.variants:
        for places in itertools.product(*map(range, sizes)):
            point = dict(zip(file.grid, places, strict=True))
            settings = {path: file.grid[path][place] for path, place in point.items()}
            name = ",".join(_label(path, file.grid[path], place) for path, place in point.items())
            result.append(("grid", name, settings))
    result += [(f"variants.{i}.set", variant.name, variant.set) for i, variant in enumerate(file.variants)]
    return result


def _label(path: str, values: list[Any], place: int) -> str:
    """A grid's value in a run's name: `0.kappa=104`; what is too long for a name goes by its number, from 1."""
    value = values[place]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > MAX_LABEL or not text.isprintable():
        text = f"#{place + 1}"
    parts = path.split(".")
    # κ of several tasks must not look alike: keep the task's number where there is one.
    short = f"{parts[1]}.{parts[-1]}" if parts[0] == "compress" and len(parts) > 2 else parts[-1]
    return f"{short}={text}"


def set_path(raw: Any, path: str, value: Any) -> str | None:
    """Sets a field by dotted path, in place; returns what is wrong with the path or the value, or None."""
    if (problem := unfit(value)) is not None:
        return problem
    *parents, last = path.split(".")
    here = raw
    for done, key in enumerate(parents):
        if isinstance(here, dict):
            here = here.setdefault(key, {})
        elif (item := _item(here, key)) is not None:
            here = here[item]
        else:
            return _dead_end(here, ".".join(parents[:done]) or "the scheme", key)
    if isinstance(here, dict):
        here[last] = copy.deepcopy(value)
        return None
    if (item := _item(here, last)) is not None:
        here[item] = copy.deepcopy(value)
        return None
    return _dead_end(here, ".".join(parents) or "the scheme", last)


def _item(here: Any, key: str) -> int | None:
    """The item of a list that a key numbers; None if there is none."""
    numbers = isinstance(here, list) and key.isdecimal() and len(key) <= len(str(len(here)))
    return int(key) if numbers and int(key) < len(here) else None


def _dead_end(here: Any, where: str, key: str) -> str:
    if isinstance(here, list):
        return f"{where} has {len(here)} items, numbered from 0; there is no {key!r}"
    return f"{where} has no fields, so {key!r} cannot be set in it"
