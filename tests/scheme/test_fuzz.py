"""Schemes mutated at random either load, or are refused with problems of one line each; nothing else ever happens."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lctui.errors import BadInput
from lctui.scheme import Scheme
from lctui.scheme.load import parse_scheme
from lctui.scheme.net import describe_built_in
from lctui.scheme.report import check_report
from lctui.scheme.study import parse_study
from tests.scheme.cases import EXAMPLE, with_how
from tests.scheme.test_loading import HOWS

WORDS = [
    *("type", "kappa", "fraction", "alpha", "norm", "k", "rank", "how", "layers", "codebook", "values", "bits", "one"),
    *(
        "sum",
        "prune",
        "quantize",
        "low_rank",
        "quantize:adaptive",
        "auto",
        "adaptive",
        "fixed",
        "binary",
        "l1",
        "conv*",
    ),
    *("conv1", "fc1", "lenet5", "lenet300", "mnist", "cifar10", "float32", "constrained-int", "literal['auto']", "0"),
    *("model", "data", "args", "classes", "compress", "lc", "mu", "x.py:f", "a:b", "[!a]*", "\x1b", "\n", ""),
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 600),
    st.sampled_from([2**53, 2**63, 10**30, -(10**30), 1e300, 1e-300, 0.5, -0.0, 1.0]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(WORDS),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), inner, max_size=3),
        st.sampled_from([how for how, _ in HOWS]),
    ),
    max_leaves=6,
).map(copy.deepcopy)
BASES = [EXAMPLE, *(with_how(how) for how, _ in HOWS), with_how([how for how, _ in HOWS[:3]])]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a tree."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid scheme with a few things replaced, added or removed anywhere."""
    raw = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 4))):
        found = places(raw)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["replace", "add", "remove"])):
            case "replace":
                container[key] = draw(VALUES)
            case "remove":
                del container[key]
            case "add" if isinstance(container, dict):
                container[draw(st.sampled_from(WORDS))] = draw(VALUES)
            case _:
                container.append(draw(VALUES))
    return raw


def assert_well_worded(error: BadInput) -> None:
    lines = error.lines()
    assert lines
    assert len(set(lines)) == len(lines)
    for line in lines:
        assert line.isprintable(), repr(line)
        assert line.startswith("scheme.json: ")
        assert len(line) < 1500


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_a_mutated_scheme_loads_or_is_refused_in_words(raw: Any) -> None:
    before = repr(raw)
    try:
        scheme = parse_scheme(raw, "scheme.json")
    except BadInput as error:
        assert_well_worded(error)
    else:
        dumped = scheme.dump()
        assert Scheme.model_validate(dumped).dump() == dumped
        net = describe_built_in(scheme.model.factory, scheme.model.args)
        if net is not None:
            json.dumps(check_report(scheme, net), allow_nan=False)
    assert repr(raw) == before


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_anything_at_all_loads_or_is_refused_in_words(raw: Any) -> None:
    try:
        parse_scheme(raw, "scheme.json")
    except BadInput as error:
        assert_well_worded(error)


STUDY_PATHS = st.one_of(
    st.sampled_from(
        [
            *(
                "seed",
                "name",
                "l_step.lr",
                "compress.0.how.kappa",
                "compress.0.how",
                "compress.9.how",
                "compress",
                "model",
            ),
            *("compress.0.layers.0", "compress.-1", "compress.0.how.kappa.x", "new.field", "", ".", "data.classes.0"),
        ]
    ),
    st.text(max_size=6),
)


@settings(max_examples=200, deadline=None)
@given(
    base=mutated(),
    grid=st.dictionaries(STUDY_PATHS, st.lists(VALUES, max_size=3), max_size=2),
    variants=st.lists(
        st.fixed_dictionaries({"name": st.one_of(st.just("a"), SCALARS), "set": st.dictionaries(STUDY_PATHS, VALUES)}),
        max_size=2,
    ),
    overrides=st.dictionaries(STUDY_PATHS, VALUES, max_size=1),
)
def test_a_random_study_loads_or_is_refused_in_words(base: Any, grid: Any, variants: Any, overrides: Any) -> None:
    raw = {"version": 1, "study": "s", "base": base, "grid": grid, "variants": variants}
    try:
        study = parse_study(raw, "scheme.json", overrides)
    except BadInput as error:
        assert_well_worded(error)
    else:
        names = [scheme.name for scheme in study.schemes]
        assert names
        assert len(set(names)) == len(names) or any("name" in str(path) for path in [*grid, *variants, *overrides])
