"""Studies: one base scheme, many runs.

Owns which runs a study file stands for: the rows of every part (the product of its grid, its variants), each with its
seeds and each a valid scheme before anything runs, and the stages of the searches for a reference, whose winners are
only known later.  A study is a value: `settled` returns it anew with one stage decided.  Runs nothing.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lctui.errors import BadInput, Problem
from lctui.scheme.dotted import set_path
from lctui.scheme.json_file import read_json
from lctui.scheme.layout import Layout, find_layout_problems
from lctui.scheme.load import find_problems, parse_scheme, word_errors
from lctui.scheme.models import Scheme
from lctui.scheme.study_file import Part, StudyFile

Settings = dict[str, Any]

MAX_RUNS = 10_000
MAX_LABEL = 40
_REFERENCE_ALONE: Settings = {"compress": [], "lc": {}, "l_step": {}}
"""What a candidate does: it trains the reference and stops, whatever rows do afterwards."""

Winners = Mapping[str, tuple[Settings, ...]]
"""What the decided stages of each part's search chose, by the part's path."""


@dataclass(frozen=True)
class Row:
    """A row of a study: one setting, run once with each seed."""

    name: str
    """The row's path in the study: `table1-1`, `quantize/k=2`."""
    schemes: tuple[Scheme, ...]
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """One choice that a stage of a search tries: a scheme that trains the reference and stops."""

    settings: Settings
    scheme: Scheme


@dataclass(frozen=True)
class Stage:
    """A stage of a part's search, numbered from 1; `winner` is the place of the chosen candidate, once it is known.

    The schemes of stages after an undecided one, and of rows, stand for what they would be if the first candidate won.
    """

    part: str
    number: int
    candidates: tuple[Candidate, ...]
    winner: int | None = None

    @property
    def title(self) -> str:
        """What a person reads: `search/1`, `fc/search/2`."""
        return _join(self.part, f"search/{self.number}")


@dataclass(frozen=True)
class Study:
    """A study: its stages and rows in order."""

    name: str
    rows: tuple[Row, ...]
    stages: tuple[Stage, ...]
    raw: Any
    """The file's content, overrides done: what the study can be made from again."""
    source: str
    """Where it was read; relative paths are looked for beside it."""
    layout: Layout | None = None
    """Which tables and figures its report has."""
    winners: Winners = field(default_factory=dict)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Every run that a row asks for, in order."""
        return tuple(scheme for row in self.rows for scheme in row.schemes)

    @property
    def undecided(self) -> Stage | None:
        """The stage to decide next."""
        return next((stage for stage in self.stages if stage.winner is None), None)

    def settled(self, stage: Stage, winner: int) -> Study:
        """The study once the candidate at place `winner` of its first undecided stage has won."""
        assert stage.winner is None
        chosen = (*self.winners.get(stage.part, ()), stage.candidates[winner].settings)
        return parse_study(self.raw, self.source, {}, {**self.winners, stage.part: chosen})


def load_file(path: Path, overrides: Settings | None = None) -> Scheme | Study:
    """The scheme or study in a file, with fields overridden by dotted path.

    Raises:
        BadInput: with all problems of the file.
    """
    raw = read_json(path)
    if isinstance(raw, dict) and "study" in raw:
        # The base is what a study's overrides change, whether or not they say so.
        named = {name.removeprefix("base."): value for name, value in (overrides or {}).items()}
        return parse_study(raw, str(path), named)
    return parse_changed(raw, overrides or {}, str(path))[1]


def parse_changed(raw: Any, overrides: Settings, source: str) -> tuple[Any, Scheme]:
    """A scheme's parsed JSON with fields overridden by dotted path, and the scheme that it is.

    Raises:
        BadInput: with all problems.
    """
    changed = _overridden(raw, overrides, source)
    return changed, parse_scheme(changed, source)


def _overridden(raw: Any, overrides: Settings, source: str) -> Any:
    raw = copy.deepcopy(raw)
    problems = [Problem(f"--set {path}", p) for path, value in overrides.items() if (p := set_path(raw, path, value))]
    if problems:
        raise BadInput(source, problems)
    return raw


def parse_study(raw: Any, source: str, overrides: Settings, winners: Winners | None = None) -> Study:
    """The study in parsed JSON, every run of it valid.

    Raises:
        BadInput: with all problems, each with the row it is in.
    """
    try:
        file = StudyFile.model_validate(raw)
    except ValidationError as error:
        raise BadInput(source, word_errors(error, raw, StudyFile)) from None
    if (count := _count(file, 1)) > MAX_RUNS:
        raise BadInput.one(source, "grid", f"makes {count:,} runs; a study has at most {MAX_RUNS:,}")
    base = _overridden(file.base, overrides, source)
    if isinstance(raw, dict) and overrides:
        raw = raw | {"base": base}
    expansion = _Expansion(source, winners or {}, find_problems(base, source)[1])
    expansion.part(file, base, "", "", _Inherited((), ()))
    problems = expansion.problems
    if file.report is not None:
        problems += find_layout_problems(file.report, [row.name for row in expansion.rows])
    if problems:
        raise BadInput(source, dict.fromkeys(problems))
    rows, stages = tuple(expansion.rows), tuple(expansion.stages)
    return Study(file.study, rows, stages, raw, source, file.report, winners or {})


def _count(part: Part, seeds: int) -> int:
    """How many runs a part makes, without making them."""
    seeds = len(part.seeds) if part.seeds is not None else seeds
    rows = len(part.variants) + (prod(map(len, part.grid.values())) if part.grid else 0)
    tried = sum(prod(map(len, stage.values())) for stage in part.search)
    return max(rows * seeds, 1) + tried + sum(_count(each, seeds) for each in part.parts)


@dataclass(frozen=True)
class _Inherited:
    """What a part has from those around it."""

    tags: tuple[str, ...]
    seeds: tuple[int, ...]


class _Expansion:
    """Walks the parts and collects rows, stages and problems."""

    def __init__(self, source: str, winners: Winners, in_base: list[Problem]) -> None:
        self.source, self.winners = source, winners
        # What is wrong with the base is wrong with every row that does not replace it: it is said once.
        self.in_base = in_base
        self.rows: list[Row] = []
        self.stages: list[Stage] = []
        self.problems: list[Problem] = []
        self.taken: set[str] = set()

    def part(self, part: Part, base: Any, path: str, where: str, above: _Inherited) -> None:
        """Adds a part: `base` is what it varies, `path` its place in names, `where` its place in the file."""
        raw = copy.deepcopy(base)
        bad = [
            Problem(f"{where}set.{key}", text) for key, value in part.set.items() if (text := set_path(raw, key, value))
        ]
        self.problems += bad
        if bad:
            return
        tags = (*above.tags, *(tag for tag in part.tags if tag not in above.tags))
        own = _Inherited(tags, tuple(part.seeds) if part.seeds is not None else above.seeds)
        self._search(part, raw, path, where, own)
        for place, name, settings, extra, published in _rows_of(part, where):
            self._row(raw, _join(path, name), place, settings, (*tags, *extra), own.seeds, published)
        for number, each in enumerate(part.parts):
            self.part(each, raw, _join(path, each.name), f"{where}parts.{number}.", own)

    def _search(self, part: Part, raw: Any, path: str, where: str, own: _Inherited) -> None:
        """Adds the stages, and sets in `raw` what their winners chose, or first candidates where that is still open."""
        decided = self.winners.get(path, ())
        for index, grid in enumerate(part.search):
            candidates = []
            for name, settings in _points(grid):
                title = _join(path, f"search/{index + 1}/{name}")
                place = f"{where}search.{index}"
                scheme = self._scheme(raw, title, place, {**settings, **_REFERENCE_ALONE}, own.tags)
                if scheme is not None and scheme.data.validation == 0:
                    reason = "a search chooses by validation error: data.validation must be greater than 0"
                    self.problems.append(Problem(place, reason))
                elif scheme is not None:
                    candidates.append(Candidate(settings, scheme))
            won = decided[index] if index < len(decided) else None
            places = [place for place, candidate in enumerate(candidates) if candidate.settings == won]
            self.stages.append(Stage(path, index + 1, tuple(candidates), places[0] if places else None))
            for key, value in (won or next(_points(grid))[1]).items():
                set_path(raw, key, value)

    def _row(
        self,
        raw: Any,
        name: str,
        where: str,
        settings: Settings,
        tags: tuple[str, ...],
        seeds: tuple[int, ...],
        published: Mapping[str, float],
    ) -> None:
        if name in self.taken:
            self.problems.append(Problem(where.removesuffix(".set"), f"makes two runs that are both called {name!r}"))
        self.taken.add(name)
        repeats: list[tuple[str, Settings]] = [(name, settings)]
        if seeds:
            several = len(seeds) > 1
            repeats = [(f"{name},seed={s}" if several else name, {**settings, "seed": s}) for s in seeds]
        schemes = [self._scheme(raw, title, where, changed, tags) for title, changed in repeats]
        self.rows.append(Row(name, tuple(scheme for scheme in schemes if scheme is not None), published))

    def _scheme(self, base: Any, name: str, where: str, settings: Settings, tags: tuple[str, ...]) -> Scheme | None:
        """The scheme of one run, or None and problems."""
        raw = copy.deepcopy(base)
        bad = [Problem(path, text) for path, value in settings.items() if (text := set_path(raw, path, value))]
        scheme = None
        if not bad:
            if name and isinstance(raw.get("name", ""), str):
                raw["name"] = f"{raw.get('name', 'scheme')}/{name}"
            if tags and isinstance(raw.get("tags", []), list):
                raw["tags"] = list(dict.fromkeys([*raw.get("tags", []), *tags]))
            scheme, bad = find_problems(raw, self.source)
        for problem in bad:
            place = "base" if problem in self.in_base else where
            self.problems.append(Problem(f"{place}.{problem.path}" if problem.path else place, problem.message))
        return scheme


def _rows_of(part: Part, where: str) -> Iterator[tuple[str, str, Settings, tuple[str, ...], Mapping[str, float]]]:
    """A part's own rows as (place in the file, name, settings, tags, published)."""
    for name, settings in _points(part.grid) if part.grid else ():
        yield f"{where}grid", name, settings, (), {}
    for index, variant in enumerate(part.variants):
        yield f"{where}variants.{index}.set", variant.name, variant.set, variant.tags, variant.published
    # What varies nothing is one run, the base as the part sets it; a search that nothing follows is only a search.
    if not (part.grid or part.variants or part.parts or part.search):
        yield f"{where}grid", "", {}, (), {}


def _points(grid: Mapping[str, list[Any]]) -> Iterator[tuple[str, Settings]]:
    """The product of a grid, each point with its name."""
    for places in itertools.product(*(range(len(values)) for values in grid.values())):
        point = dict(zip(grid, places, strict=True))
        name = ",".join(_label(path, grid[path], place) for path, place in point.items())
        yield name, {path: grid[path][place] for path, place in point.items()}


def _label(path: str, values: list[Any], place: int) -> str:
    """A grid's value in a run's name: `0.kappa=104`; what is too long for a name goes by its number, from 1."""
    value = values[place]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > MAX_LABEL or not text.isprintable() or "/" in text:
        text = f"#{place + 1}"
    parts = path.split(".")
    # κ of several tasks must not look alike: keep the task's number where there is one.
    numbered = parts[0] == "compress" and len(parts) > 2 and parts[1] != "*"
    return f"{parts[1]}.{parts[-1]}={text}" if numbered else f"{parts[-1]}={text}"


def _join(*names: str) -> str:
    return "/".join(name for name in names if name)


def best_candidate(results: Sequence[Mapping[str, Any]]) -> int | None:
    """The place of the lowest validation error among the results of runs that train a reference, ties to the first.

    Test data has no say.  None if no run has finished.
    """
    errors = [_validation_error(result) for result in results]
    tried = [place for place, error in enumerate(errors) if error is not None]
    return min(tried, key=lambda place: errors[place] or 0.0, default=None)


def _validation_error(result: Mapping[str, Any]) -> float | None:
    reference = result.get("reference") if result.get("status") == "finished" else None
    return reference.get("validation_error_pct") if isinstance(reference, dict) else None
