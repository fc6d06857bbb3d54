"""The forms of a scheme: which rows there are to edit, their fields and values, and where a problem belongs.

Owns placing: a field's path in the raw JSON, and the field under which a problem is shown.  Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lctui.console import tasks
from lctui.console.form_model import (
    LEFT_OUT,
    Block,
    Field,
    Kinds,
    blocks,
    compressions,
    layers_field,
    unknown_fields,
)
from lctui.errors import Problem
from lctui.scheme import Scheme

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Row:
    """What a form can be about: a layer, a task that fits no layer of the net, or a block of the scheme."""

    kind: str
    name: str

    @property
    def key(self) -> str:
        """A name for the row in a table."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Bound:
    """A field of a form with its place in the scheme and the value there."""

    field: Field
    path: Place
    value: Any
    label: str

    @property
    def place(self) -> str:
        """The place as problems name it."""
        return ".".join(map(str, self.path))


@dataclass(frozen=True)
class Section:
    """Fields that belong together, under a heading; `member` is the summand that they describe."""

    heading: str
    fields: tuple[Bound, ...]
    about: str = ""
    member: int | None = None


class Forms:
    """Forms made from the scheme's JSON Schema."""

    def __init__(self) -> None:
        schema = Scheme.model_json_schema()
        self.kinds: Kinds = compressions(schema)
        self.blocks: tuple[Block, ...] = blocks(schema)
        self._layers_field = layers_field(schema)

    def rows(self, raw: Any, names: Sequence[str]) -> list[Row]:
        """Layers, tasks that fit none of them, and blocks."""
        stray = [place for place, task in tasks.tasks(raw).items() if not tasks.covered(task, names)]
        return [
            *(Row("layer", name) for name in names),
            *(Row("task", str(place)) for place in stray),
            *(Row("block", block.key) for block in self.blocks),
        ]

    def sections(self, raw: Any, row: Row, place: int | None) -> list[Section]:
        """The form of a row, whose task is at `place`; empty for a layer without one."""
        if row.kind == "block":
            block = next(block for block in self.blocks if block.key == row.name)
            return [self._block(raw, block)]
        if place is None:
            return []
        task, base = tasks.tasks(raw)[place], ("compress", place)
        extra = unknown_fields(task, [("layers",), ("how",)])
        head = _bound(raw, [self._layers_field, *extra], base, 0)
        several = isinstance(task.get("how"), list)
        result = [Section("", head, self._layers_field.description)]
        for member, how in enumerate(tasks.members(task)):
            at = (*base, "how", member) if several else (*base, "how")
            variant = self.kinds.variant(how)
            heading = f"summand {member + 1} of {len(tasks.members(task))}" if several else ""
            about = variant.description if variant is not None else ""
            result.append(Section(heading, _bound(raw, self.kinds.fields(how), at, 0), about, member))
        return result

    def _block(self, raw: Any, block: Block) -> Section:
        known = [field.path for field in block.fields]
        if block.key:
            value = value_at(raw, (block.key,))
            extra = [
                replace(field, path=(block.key, *field.path))
                for field in unknown_fields(value, [path[1:] for path in known])
            ]
        else:
            others = [("version",), ("compress",), *((other.key,) for other in self.blocks)]
            extra = list(unknown_fields(raw, [*known, *others]))
        return Section("", _bound(raw, [*block.fields, *extra], (), 1 if block.key else 0), block.description)


def _bound(raw: Any, fields: Iterable[Field], base: Place, skip: int) -> tuple[Bound, ...]:
    paths = ((field, (*base, *field.path)) for field in fields)
    return tuple(
        Bound(field, path, value_at(raw, path), ".".join(field.path[skip:]) or field.title) for field, path in paths
    )


def value_at(raw: Any, path: Place) -> Any:
    """What stands at a path; `LEFT_OUT` if nothing does."""
    here = raw
    for key in path:
        if isinstance(here, dict) and key in here:
            here = here[str(key)]
        elif isinstance(here, list) and isinstance(key, int) and key < len(here):
            here = here[key]
        else:
            return LEFT_OUT
    return here


def field_of(path: str, places: Sequence[str]) -> str | None:
    """The field that a problem's place is in; of a block's problem, the block's first field."""
    if not path:
        return None
    inside = [place for place in places if path == place or path.startswith(f"{place}.")]
    if inside:
        return max(inside, key=len)
    return next((place for place in places if place.startswith(f"{path}.")), None)


def told(problem: Problem, place: str) -> str:
    """The words under a field; with the rest of the place, where the problem is inside the field's value."""
    inside = problem.path.removeprefix(place).lstrip(".") if problem.path.startswith(f"{place}.") else ""
    return f"{inside}: {problem.message}" if inside and not inside.isdecimal() else problem.message
