"""A study in words: settings, what was learned, means with deviations, differences."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from lctui.export import study_words as words
from lctui.export.study_numbers import Learned, Measured, Spread
from lctui.export.study_tables import rows_table
from lctui.runs.study_runs import StudyRow
from lctui.scheme import How, Scheme
from lctui.scheme.measure import ERROR
from tests.conftest import tiny

HOW: TypeAdapter[Any] = TypeAdapter(How)
AUTO = {"type": "low_rank", "rank": "auto", "alpha": 1e-9}


@pytest.mark.parametrize(
    ("how", "found", "said"),
    [
        ({"type": "prune", "kappa": 104}, [{"nonzeros": 104}], "prune κ=104"),
        ({"type": "prune", "kappa": 104, "k": 4}, [], "prune κ=104, k=4"),
        ({"type": "prune", "kappa": 2.5, "norm": "l1"}, [], "prune κ=2.5, l1"),
        ({"type": "prune", "fraction": 0.0285714}, [{"nonzeros": 12229}], "prune to 2.86 % (κ=12,229)"),
        ({"type": "prune", "fraction": 0.2}, [], "prune to 20 %"),
        ({"type": "prune", "alpha": 1e-5}, [{"nonzeros": 7}, {"nonzeros": 9}], "prune α=1e-5 (7/9 kept)"),
        ({"type": "prune_structured", "kappa": 3}, [], "prune to 3 groups"),
        ({"type": "prune_structured", "fraction": 0.5}, [], "prune to 50 % of groups"),
        ({"type": "prune_n_m"}, [], "prune 2:4"),
        ({"type": "quantize", "k": 2}, [{"codebook": [-1, 1]}], "k=2"),
        ({"type": "quantize", "codebook": "fixed", "values": [0, 1]}, [], "2 fixed values"),
        ({"type": "quantize", "codebook": "powers_of_two", "c": 3}, [], "powers of two to 1/8"),
        ({"type": "quantize", "codebook": "ternary"}, [], "ternary"),
        ({"type": "quantize", "codebook": "binary", "scaled": False}, [], "binary, ±1"),
        (AUTO, [{"rank": 5}, {"rank": 5}], "rank 5 (α=1e-9)"),
        (AUTO, [{"rank": 4}, {"rank": 5}, {"rank": 4}], "rank 4/5/4 (α=1e-9)"),
        (AUTO, [], "rank learned (α=1e-9)"),
        (AUTO | {"normalize": False, "criterion": "flops"}, [{"rank": 0}], "rank 0 (α=1e-9), flops, not normalised"),
        ({"type": "low_rank", "rank": 3, "bits": 16}, [{"rank": 3}], "rank 3, 16 bits"),
        ([AUTO, {"type": "prune", "kappa": 9}], [{"parts": [{"rank": 2}, {}]}], "rank 2 (α=1e-9) + prune κ=9"),
    ],
)
def test_what_was_done(how: Any, found: list[dict[str, Any]], said: str) -> None:
    assert words.done(Learned(("fc1",), HOW.validate_python(how), tuple(found))) == said


def test_rounded_training_and_augmented_inputs_are_said_of_rows_and_references() -> None:
    plain = Scheme.model_validate(tiny())
    data = plain.data.model_dump() | {"augment": ["shift=1", "flip"]}
    other = Scheme.model_validate(tiny(precision="bfloat16", data=data))
    for said in (words.schedule, words.trained):
        assert said(other) == said(plain) + ", inputs augmented by shift=1, flip, in bfloat16"


def test_joint_tasks_name_their_layers() -> None:
    task = Learned(("a", "b"), HOW.validate_python({"type": "quantize", "k": 2}), ())
    assert words.done(task) == "k=2 (joint: a, b)"


@pytest.mark.parametrize(
    ("values", "form", "said"),
    [
        ((0.53,), ERROR.text, "0.53"),
        ((0.5, 0.7), ERROR.text, "0.60 ± 0.14"),
        ((0.5, 0.5), ERROR.text, "0.50 ± 0.00"),
        ((10334,), words.count, "10,334"),
        ((10334, 10334), words.count, "10,334"),
        ((1000, 1002), words.count, "1,001 ± 1"),
        ((37.7, 37.9), words.ratio, "37.8 ± 0.1"),
        ((3.5, 3.52), words.ratio, "3.51 ± 0.01"),
        ((9.99,), words.ratio, "9.99"),
        ((9.996,), words.ratio, "10.0"),
    ],
)
def test_means_and_deviations(values: tuple[float, ...], form: Any, said: str) -> None:
    assert words.spread(Spread(values), form) == said


def test_nothing_has_no_mean() -> None:
    assert Spread.of([None, True, "1"]) is None
    assert words.spread(None, ERROR.text) is None


@pytest.mark.parametrize(("value", "said"), [(0.02, "+0.02"), (-0.02, "−0.02"), (0.001, "0.00"), (-0.0, "0.00")])
def test_differences_have_a_sign_unless_they_are_nothing(value: float, said: str) -> None:
    assert words.signed(value, ERROR.text) == said


def test_some_layers_with_all_their_biases_are_said_in_one_breath() -> None:
    assert words.together(["conv1", "conv1.bias", "fc1", "fc1.bias"]) == "conv1, fc1 and biases"
    assert words.together(["conv1", "fc1", "fc1.bias"]) == "conv1, fc1, fc1.bias"
    assert words.together(["fc1.bias"]) == "fc1.bias"


def heads(*schemes: list[dict[str, Any]]) -> list[str]:
    """The headings between a table's row and its errors, of rows that do this and have not been run."""
    given = [Scheme.model_validate(tiny(compress=compress)) for compress in schemes]
    rows = [StudyRow(str(n), (), (scheme,), (None,), {}) for n, scheme in enumerate(given)]
    table = rows_table("t", [Measured(row, {}) for row in rows]).words
    names = [column.heading or column.name for column in table.columns]
    return names[1 : names.index("train (%)")]


def test_what_layers_share_in_every_row_is_one_column() -> None:
    prune, quantize = {"type": "prune", "kappa": 9}, {"type": "quantize", "k": 2}
    joint = [{"layers": ["*", "*.bias"], "how": prune}]
    assert heads(joint, joint) == ["fc1, fc2, fc3 and biases"]
    pair = [{"layers": ["fc1", "fc2"], "how": prune}, {"layers": ["fc3"], "how": quantize}]
    assert heads(pair) == ["fc1, fc2", "fc3"]
    apart = [{"layers": [name], "how": quantize} for name in ("fc1", "fc2", "fc3")]
    assert heads(pair, apart) == ["fc1", "fc2", "fc3"]
