"""From a JSON Schema to the fields of a form, and from what is typed to JSON values.

Owns both translations.  It knows JSON Schema and the outline of a scheme (blocks, and tasks with a `how`), but no
compression by name: a new pydantic model in the union gets its form from its schema.  It judges nothing: text that is
no value of the field's kind stays text, for the models to refuse in their own words.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

Kind = Literal["text", "integer", "number", "boolean", "choice", "list", "json", "word"]
"""`word` is a number or one of some words; `list` holds scalars; `json` is anything else, written as JSON."""

Schema = Mapping[str, Any]


class Absent(Enum):
    """A field that is left out."""

    LEFT_OUT = 0


LEFT_OUT: Final = Absent.LEFT_OUT


@dataclass(frozen=True)
class Field:
    """One field of a form: where its value is in its block, and how it is written."""

    path: tuple[str, ...]
    kind: Kind
    description: str = ""
    choices: tuple[Any, ...] = ()
    """What a `choice` takes, or the words of a `word`."""
    items: Kind = "text"
    """Kind of a list's items."""
    default: Any = LEFT_OUT
    nullable: bool = False
    required: bool = False
    schema: Schema = field(default_factory=dict, hash=False, compare=False)

    @property
    def title(self) -> str:
        """Its name, as the file and the errors have it."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Block:
    """A part of the scheme that has a form of its own; `key` is empty for the scheme's own scalars."""

    key: str
    description: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Variant:
    """One model of a union: the constants that tell it apart, and its other fields."""

    constants: Mapping[str, Any]
    notes: Mapping[str, str]
    """What each constant means."""
    description: str
    fields: tuple[Field, ...]


class Kinds:
    """The members of a union of models, told apart by `type` and, where several share one, by further constants."""

    def __init__(self, union: Schema, definitions: Schema) -> None:
        self.variants = [_variant(model, definitions) for model in _models(union, definitions)]
        self.types: tuple[str, ...] = tuple(dict.fromkeys(v.constants["type"] for v in self.variants))

    def of_type(self, name: Any) -> list[Variant]:
        """The models that share a type, the usual one first."""
        return [variant for variant in self.variants if variant.constants["type"] == name]

    def variant(self, how: Any) -> Variant | None:
        """The model that a compression is an instance of; None if its type is unknown."""
        candidates = self.of_type(how.get("type")) if isinstance(how, dict) else []
        for variant in candidates:
            usual = candidates[0].constants
            if all(how.get(name, usual.get(name)) == value for name, value in variant.constants.items()):
                return variant
        return candidates[0] if candidates else None

    def fields(self, how: Any) -> tuple[Field, ...]:
        """The form of a compression as it stands: its type, what tells its models apart, and their fields."""
        variant = self.variant(how)
        about = variant.description if variant is not None else "What is done to the weights."
        kind = Field(("type",), "choice", about, self.types, required=True)
        if variant is None:
            return (kind,)
        known = [("type",), *((name,) for name in variant.constants), *(each.path for each in variant.fields)]
        return (kind, *self._telling_apart(variant), *variant.fields, *unknown_fields(how, known))

    def _telling_apart(self, variant: Variant) -> Iterator[Field]:
        siblings = self.of_type(variant.constants["type"])
        for name in variant.constants:
            values = tuple(dict.fromkeys(other.constants[name] for other in siblings if name in other.constants))
            if name != "type" and len(values) > 1:
                yield Field((name,), "choice", variant.notes.get(name, ""), values, default=values[0])


def unknown_fields(value: Any, known: Collection[tuple[str, ...]], under: tuple[str, ...] = ()) -> Iterator[Field]:
    """Fields that a file has and the schema does not know: shown, so that they can be emptied."""
    for name in value if isinstance(value, dict) else ():
        path = (*under, name)
        if path in known:
            continue
        if isinstance(value[name], dict) and any(each[: len(path)] == path for each in known):
            yield from unknown_fields(value[name], known, path)
        else:
            yield Field(path, "json", "No field that lctui knows: empty it to take it out.")


def compressions(scheme: Schema) -> Kinds:
    """What a task can do, from the scheme's JSON Schema."""
    definitions = scheme.get("$defs", {})
    return Kinds(_task(scheme)["how"], definitions)


def layers_field(scheme: Schema) -> Field:
    """The field of a task that names its layers."""
    return _field(("layers",), _task(scheme)["layers"], scheme.get("$defs", {}), required=True)


def _task(scheme: Schema) -> Schema:
    definitions = scheme.get("$defs", {})
    return _resolved(scheme["properties"]["compress"]["items"], definitions)["properties"]


def blocks(scheme: Schema) -> tuple[Block, ...]:
    """The scheme's blocks but the tasks, the scheme's own scalars first; objects inside a block are flattened."""
    definitions = scheme.get("$defs", {})
    required = scheme.get("required", ())
    own: list[Field] = []
    result: list[Block] = []
    for name, property_ in scheme["properties"].items():
        found = _resolved(property_, definitions)
        if name == "compress" or "const" in found:
            continue
        if "properties" in found:
            fields = tuple(_fields(found, definitions, (name,)))
            result.append(Block(name, found.get("description", ""), fields))
        else:
            own.append(_field((name,), found, definitions, required=name in required))
    return (Block("", scheme.get("description", ""), tuple(own)), *result)


def _fields(schema: Schema, definitions: Schema, path: tuple[str, ...] = ()) -> Iterator[Field]:
    required = schema.get("required", ())
    for name, property_ in schema["properties"].items():
        found = _resolved(property_, definitions)
        if "const" in found:
            continue
        if "properties" in found:
            yield from _fields(found, definitions, (*path, name))
        else:
            yield _field((*path, name), found, definitions, required=name in required)


def _field(path: tuple[str, ...], schema: Schema, definitions: Schema, *, required: bool) -> Field:
    found = _resolved(schema, definitions)
    parts = [_resolved(part, definitions) for part in found.get("anyOf", found.get("oneOf", ()))]
    nullable = any(part.get("type") == "null" for part in parts)
    parts = [part for part in parts if part.get("type") != "null"] or [found]
    kind, choices, items = _kind(parts, definitions)
    return Field(
        path=path,
        kind=kind,
        description=found.get("description", ""),
        choices=choices,
        items=items,
        default=found.get("default", LEFT_OUT),
        nullable=nullable,
        required=required,
        schema=found,
    )


def _kind(parts: list[Schema], definitions: Schema) -> tuple[Kind, tuple[Any, ...], Kind]:
    words = tuple(word for part in parts for word in ([part["const"]] if "const" in part else part.get("enum", ())))
    rest = [part for part in parts if "const" not in part and "enum" not in part]
    if not rest:
        return "choice", words, "text"
    if len(rest) > 1:
        return "json", (), "text"
    names: dict[str, Kind] = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
    kind = names.get(str(rest[0].get("type")), "json")
    if words:
        return ("word" if kind in ("integer", "number") else "text" if kind == "text" else "json"), words, kind
    if rest[0].get("type") == "array" and "items" in rest[0]:
        items, _, _ = _kind([_resolved(rest[0]["items"], definitions)], definitions)
        return ("list", (), items) if items in ("text", "integer", "number") else ("json", (), "text")
    return kind, (), "text"


def _variant(model: Schema, definitions: Schema) -> Variant:
    found = {name: _resolved(each, definitions) for name, each in model["properties"].items()}
    constants = {name: each["const"] for name, each in found.items() if "const" in each}
    notes = {name: found[name].get("description", "") for name in constants}
    return Variant(constants, notes, model.get("description", ""), tuple(_fields(model, definitions)))


def _models(union: Schema, definitions: Schema) -> Iterator[Schema]:
    """Every model that a union can be, without those of lists."""
    found = _resolved(union, definitions)
    if "properties" in found:
        yield found
    for part in found.get("oneOf", found.get("anyOf", ())):
        yield from _models(part, definitions)


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """The schema behind a reference; what stands beside the reference wins."""
    if "$ref" not in schema:
        return schema
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    return {**_resolved(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions), **beside}


_INTEGER = re.compile(r"[+-]?\d{1,40}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?")


def parse(form_field: Field, text: str) -> Any:
    """The JSON value of what was typed into a field; `LEFT_OUT` for nothing."""
    kind, stripped = form_field.kind, text.strip()
    if not stripped:
        return LEFT_OUT
    if kind == "text":
        return text
    if kind == "list":
        return _list(form_field.items, stripped)
    if kind == "json":
        return _json(stripped)
    named = {written(choice): choice for choice in form_field.choices}
    if kind == "boolean":
        named = {"true": True, "false": False}
    if stripped in named:
        return named[stripped]
    return _scalar(form_field.items if kind == "word" else kind, stripped)


def _scalar(kind: Kind, text: str) -> Any:
    if kind not in ("integer", "number"):
        return text
    plain = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    if _INTEGER.fullmatch(plain):
        return int(plain)
    if _NUMBER.fullmatch(plain) and math.isfinite(number := float(plain)):
        whole = kind == "integer" and number == int(number) and abs(number) < 2**53
        return int(number) if whole else number
    return text


def _list(items: Kind, text: str) -> Any:
    if text.startswith("[") and isinstance(found := _json(text), list):
        return found
    return [_scalar(items, item.strip()) for item in text.strip("[]").split(",") if item.strip()]


def _json(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        found = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(found, float) and not math.isfinite(found) else found


def written(value: Any) -> str:
    """A value as text that `parse` reads back."""
    if value is LEFT_OUT or value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        simple = all(isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in value)
        plain = not any(isinstance(item, str) and (set(item) & set(',[]"') or item != item.strip()) for item in value)
        if value and simple and plain:
            return ", ".join(written(item) for item in value)
    return json.dumps(value, ensure_ascii=False)
