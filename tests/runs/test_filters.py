"""The filter language: what fits, what is refused and in which words; no text and no facts make it fail."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lctui.runs.filters import FilterError, parse

FACTS: dict[str, Any] = {
    "id": "a52y-table6-3",
    "name": "Table6-3 of May",
    "status": "finished",
    "tag": ["mnist", "paper"],
    "test": 0.55,
    "ratio": 37.7,
    "step": 30,
    "type": ["prune", "low_rank"],
    "layer": ["conv1", "fc1"],
    "model": "torchvision:resnet18",
    "compress.0.how.kappa": 104,
    "compress.1.how.kappa": 2505,
    "compress.1.how.norm": "l0",
    "l_step.clip_lr": True,
    "l_step.lr": 0.2,
    "reference.lr": 0.02,
    "created": "2026-11-24T01:32:40Z",
    "error": "",
    "seconds": 5400,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "may",
        "table6-3",
        "a52y finished",
        "paper",
        '"of may"',
        "'3 of'",
        "ratio>20 and test<0.6",
        "ratio > 20 test < 0.6",
        "ratio≥20×",
        "test<=0.55%",
        "test>=.55 step=30 step==30 step!=31 step:30",
        "TEST<1 AND Ratio>1",
        "type:prune",
        "type=low_rank",
        "type!=quantize",
        "layer:conv",
        "kappa>2000",
        "kappa<2000",
        "kappa=104",
        "how.kappa=2505",
        "compress.1.how.kappa=2505",
        "norm:l0",
        "clip_lr:true",
        "clip_lr!=false",
        "model:torchvision:resnet18",
        'model:"torchvision:resnet18"',
        "created:2026-11-24T01:32",
        "seconds>1h",
        "seconds=90m",
        "has:kappa",
        "has:error",
        "not has:nothing",
        "not quantize",
        "not not may",
        "not (quantize or failed)",
        "quantize or may and paper",
        "(quantize or may) paper",
        "nothing or nothing or may",
        "lr<0.1",
        "lr=0.2",
        "not:x or may",
        "test>1e-3 test<+1 test>-1",
    ],
)
def test_fits(text: str) -> None:
    assert parse(text).matches(FACTS)
    assert parse(text, FACTS.keys() | {"nothing", "not"}).matches(FACTS)


@pytest.mark.parametrize(
    "text",
    [
        "june",
        "may june",
        "ratio>40",
        "ratio<37.7",
        "type=low",
        "type:quantize",
        "type!=prune",
        "norm<1",
        "kappa>2505",
        "nothing>0",
        "nothing<0",
        "nothing=0",
        "nothing!=0",
        "nothing:x",
        "appa>0",
        "has:nothing",
        "clip_lr=1",
        "clip_lr>0",
        "not may",
        "may and not paper",
        "step:3",
        "status:fini and not status=finished",
        '""x',
    ],
)
def test_fits_not(text: str) -> None:
    assert not parse(text).matches(FACTS)


def test_age_is_worked_out_when_asked() -> None:
    facts = {"created_unix": time.time() - 7200}
    assert parse("age>1h age<1d has:age").matches(facts)
    assert not parse("age<1h").matches(facts)
    assert not parse("age<1h or age>1h").matches({})
    # A clock that was set back.
    assert parse("age<0").matches({"created_unix": time.time() + 3600})


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("test<", 5, "a value is missing after test<"),
        ("test<abc", 5, "test < needs a number, not 'abc'"),
        ("ratio > 20 and test < x", 22, "test < needs a number, not 'x'"),
        ("test=>3", 4, "'=>' is no operator; did you mean '>='?"),
        ("a!b", 1, "'!' is no operator; did you mean '!='? (one of: :, =, !=, <, <=, >, >=)"),
        ("<3", 0, "a field is missing before '<'"),
        ("and x", 0, "a word or a comparison is missing before 'and'"),
        ("x and", 5, "a word or a comparison is missing before the end"),
        ("x or or y", 5, "a word or a comparison is missing before 'or'"),
        ("not", 3, "a word or a comparison is missing before the end"),
        ("()", 1, "a word or a comparison is missing before ')'"),
        ("x (y", 2, "this parenthesis is not closed"),
        ("x) y", 1, "this parenthesis closes none"),
        ('x "y', 2, 'the quote " is not closed'),
        ("(" * 60 + "x", 51, "nested more than 50 levels deep"),
        ("not " * 60 + "x", 204, "nested more than 50 levels deep"),
        ("x" * 5000, 4096, "the filter is longer than 4096 characters"),
        ("test<\x1b[2Jx", 5, r"test < needs a number, not '\x1b[2Jx'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, position: int, message: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse(text)
    assert (str(refused.value), refused.value.position) == (message, position)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("x kapa>3", 2, "no run has a field 'kapa'; did you mean 'kappa'?"),
        ("has:kapa", 4, "no run has a field 'kapa'; did you mean 'kappa'?"),
        ("ration>3", 0, "no run has a field 'ration'; did you mean 'ratio'?"),
        ("wwwwww:x", 0, "no run has a field 'wwwwww'; quote a text that has an operator in it"),
    ],
)
def test_a_field_that_no_run_has_is_refused_where_the_fields_are_known(text: str, position: int, message: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse(text, FACTS)
    assert (str(refused.value), refused.value.position) == (message, position)
    assert not parse(text).matches(FACTS)


def test_common_fields_may_be_asked_for_before_any_run_has_them() -> None:
    assert not parse("age>1d or val<1 or has:study", ["id"]).matches({"id": "x"})


PIECES = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "(",
        ")",
        '"',
        "'",
        "<",
        "<=",
        "=",
        "!=",
        ":",
        "has:",
        "test",
        "kappa",
        "3",
        "1h",
        " ",
        "é",
        "\0",
    ]
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.just(10**5000),
    st.builds(object),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
NAMES = st.sampled_from(
    ["test", "compress.0.how.kappa", "name", "id", "status", "tag", "tags", "created_unix", "age", "", 3]
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=25).map("".join)), st.dictionaries(NAMES, ODD))
@example("x<" + "9" * 400, {"x": 10**5000})
@example("ſ:x", {"S": "X"})
def test_every_text_is_a_filter_or_an_error_and_every_filter_answers(text: str, facts: Any) -> None:
    for fields in ((), ("test", "a.kappa")):
        try:
            found = parse(text, fields)
        except FilterError as error:
            assert 0 <= error.position <= len(text)
            assert str(error).isprintable()
        else:
            assert found.matches(facts) in (True, False)


NESTED = st.recursive(
    st.sampled_from([("may", True), ("june", False), ("test<1", True), ("nothing<1", False)]),
    lambda inner: st.one_of(
        inner.map(lambda one: (f"not ({one[0]})", not one[1])),
        inner.map(lambda one: (f"({one[0]})", one[1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]} and {two[1][0]})", two[0][1] and two[1][1])),
        st.tuples(inner, inner).map(lambda two: (f"(({two[0][0]}) {two[1][0]})", two[0][1] and two[1][1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]} or {two[1][0]})", two[0][1] or two[1][1])),
    ),
    max_leaves=8,
)


@given(NESTED)
def test_and_or_not_mean_what_they_say(case: tuple[str, bool]) -> None:
    text, expected = case
    assert parse(f"({text})").matches(FACTS) == expected
