"""Forms from JSON Schema: fields of every kind, compressions nobody has heard of, and text back and forth."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field as PydanticField
from pydantic import TypeAdapter

from lctui.console.form_model import LEFT_OUT, Field, Kinds, blocks, compressions, layers_field, parse, written
from lctui.scheme import Scheme
from lctui.scheme.compressions import Block, Prune, QuantizeAdaptive

SCHEMA = Scheme.model_json_schema()


class Hash(Block):
    """Hashing: weights share values by the hash of their place."""

    type: Literal["hash"] = "hash"
    buckets: int | Literal["few"]
    """How many values are shared."""
    signed: bool = True
    """Give each place a sign."""
    where: Literal["rows", "columns"] = "rows"
    seeds: tuple[int, ...] = ()


class QuantizeLog(Block):
    """Quantization on a logarithmic grid."""

    type: Literal["quantize"] = "quantize"
    codebook: Literal["log"] = "log"
    base: float
    """The grid's ratio."""


def test_a_new_compression_needs_no_console_code() -> None:
    union = Annotated[Prune | Hash | QuantizeAdaptive | QuantizeLog, PydanticField()]
    schema = TypeAdapter(union).json_schema()
    kinds = Kinds(schema, schema["$defs"])
    assert kinds.types == ("prune", "hash", "quantize")
    form = {field.title: field for field in kinds.fields({"type": "hash"})}
    assert {name: field.kind for name, field in form.items()} == {
        "type": "choice",
        "buckets": "word",
        "signed": "boolean",
        "where": "choice",
        "seeds": "list",
    }
    assert form["type"].description == "Hashing: weights share values by the hash of their place."
    assert form["buckets"].required and form["buckets"].choices == ("few",)
    assert form["signed"].default is True
    assert parse(form["seeds"], "1, 2") == [1, 2]
    typed = {"type": "hash", "buckets": parse(form["buckets"], "few"), "where": parse(form["where"], "columns")}
    assert TypeAdapter(union).validate_python(typed) == Hash(buckets="few", where="columns")
    book = {field.title: field for field in kinds.fields({"type": "quantize", "codebook": "log"})}
    assert book["codebook"].choices == ("adaptive", "log")
    assert list(book) == ["type", "codebook", "base"]
    assert [field.title for field in kinds.fields({"type": "quantize"})] == ["type", "codebook", "k", "code"]


def test_the_scheme_s_blocks() -> None:
    found = {block.key: block for block in blocks(SCHEMA)}
    assert list(found) == ["", "model", "data", "objective", "reference", "lc", "l_step"]
    assert [field.title for field in found[""].fields] == ["name", "tags", "seed", "precision"]
    assert [field.title for field in found["lc"].fields] == [
        "lc.method",
        "lc.mu.start",
        "lc.mu.factor",
        "lc.mu.steps",
        "lc.tolerance",
    ]
    classes = next(field for field in found["data"].fields if field.title == "data.classes")
    assert (classes.kind, classes.items, classes.nullable, classes.default) == ("list", "integer", True, None)
    assert all(field.description for block in found.values() for field in block.fields)
    assert layers_field(SCHEMA).kind == "list"


def test_every_compression_has_a_form() -> None:
    kinds = compressions(SCHEMA)
    assert len(kinds.variants) == 9
    for variant in kinds.variants:
        fields = kinds.fields(dict(variant.constants))
        assert fields[0].choices == kinds.types
        assert {field.title for field in fields} == set(variant.constants) - (
            {"codebook"} if len(kinds.of_type(variant.constants["type"])) == 1 else set()
        ) | {field.title for field in variant.fields}


def test_unknown_types_and_fields() -> None:
    kinds = compressions(SCHEMA)
    assert [field.title for field in kinds.fields({"type": "prone"})] == ["type"]
    assert [field.title for field in kinds.fields("junk")] == ["type"]
    assert [field.title for field in kinds.fields({"type": "prune_n_m", "fracton": 1})] == ["type", "n", "m", "fracton"]


NUMBER, INTEGER, TEXT = Field(("a",), "number"), Field(("a",), "integer"), Field(("a",), "text")
LIST, JSON = Field(("a",), "list", items="integer"), Field(("a",), "json")
WORD = Field(("a",), "word", choices=("auto",), items="integer")
CHOICE, FLAG = Field(("a",), "choice", choices=(32, 16)), Field(("a",), "boolean")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (NUMBER, "", LEFT_OUT),
        (NUMBER, "  ", LEFT_OUT),
        (NUMBER, "5e-5", 5e-5),
        (NUMBER, "104", 104),
        (NUMBER, "25,000", 25000),
        (NUMBER, ".5", 0.5),
        (NUMBER, "1e999", "1e999"),
        (NUMBER, "nan", "nan"),
        (NUMBER, "-", "-"),
        (NUMBER, "9" * 41, 1e41),
        (INTEGER, "1e3", 1000),
        (INTEGER, "1.5", 1.5),
        (INTEGER, "ten", "ten"),
        (WORD, "auto", "auto"),
        (WORD, "aut", "aut"),
        (WORD, "7", 7),
        (LIST, "1, 2, 5", [1, 2, 5]),
        (LIST, "[1, 2, 5]", [1, 2, 5]),
        (LIST, "1, 2,", [1, 2]),
        (LIST, "1, x", [1, "x"]),
        (JSON, '{"classes": 5}', {"classes": 5}),
        (JSON, '{"classes": ', '{"classes":'),
        (JSON, "NaN", "NaN"),
        (JSON, "1e999", "1e999"),
        (TEXT, "a b", "a b"),
        (CHOICE, "16", 16),
        (CHOICE, "17", "17"),
        (FLAG, "true", True),
        (FLAG, "yes", "yes"),
    ],
)
def test_what_is_typed(field: Field, text: str, value: Any) -> None:
    found = parse(field, text)
    assert found == value
    assert type(found) is type(value)


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_lists_of_numbers_read_back(values: list[int | float]) -> None:
    field = Field(("a",), "list", items="number")
    kept = [value for value in values if len(str(value)) <= 40]
    assert parse(field, written(kept)) == (kept or [])


@given(st.lists(st.text(), min_size=1))
def test_lists_of_text_read_back(values: list[str]) -> None:
    field = Field(("a",), "list", items="text")
    kept = [value for value in values if value]
    assert parse(field, written(kept)) == kept


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back(value: float) -> None:
    assert parse(NUMBER, written(value)) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), json_values))
def test_objects_read_back(value: dict[str, Any]) -> None:
    assert parse(JSON, written(value)) == value


@given(st.text())
def test_anything_can_be_typed_anywhere(text: str) -> None:
    for field in (NUMBER, INTEGER, TEXT, LIST, JSON, WORD, CHOICE, FLAG):
        parse(field, text)
