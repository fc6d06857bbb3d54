"""Good schemes load: every field lands, defaults fill the rest, and writing then reading changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from lctui.scheme import Compression, Scheme
from tests.conftest import ROOT
from tests.scheme.cases import EXAMPLE, MINIMAL, changed, parsed, with_how, written

HOWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "prune", "kappa": 104}, {"kappa": 104, "fraction": None, "alpha": None, "norm": "l0", "k": None}),
    ({"type": "prune", "fraction": 0.05}, {"fraction": 0.05, "kappa": None}),
    ({"type": "prune", "alpha": 1e-6}, {"alpha": 1e-6, "kappa": None}),
    ({"type": "prune", "kappa": 0}, {"kappa": 0}),
    ({"type": "prune", "kappa": 12.5, "norm": "l1"}, {"kappa": 12.5, "norm": "l1"}),
    ({"type": "prune", "alpha": 0.1, "norm": "l1"}, {"alpha": 0.1, "norm": "l1"}),
    ({"type": "prune", "kappa": 100, "k": 4}, {"kappa": 100, "k": 4}),
    ({"type": "prune_structured", "kappa": 10}, {"kappa": 10, "fraction": None}),
    ({"type": "prune_structured", "fraction": 0.5}, {"fraction": 0.5, "kappa": None}),
    ({"type": "prune_n_m"}, {"n": 2, "m": 4}),
    ({"type": "prune_n_m", "n": 1, "m": 8}, {"n": 1, "m": 8}),
    ({"type": "quantize", "k": 2}, {"codebook": "adaptive", "k": 2}),
    ({"type": "quantize", "codebook": "adaptive", "k": 64}, {"k": 64}),
    ({"type": "quantize", "codebook": "fixed", "values": [-1, 0.5]}, {"values": [-1.0, 0.5]}),
    ({"type": "quantize", "codebook": "powers_of_two", "c": 3}, {"c": 3, "scaled": False}),
    ({"type": "quantize", "codebook": "powers_of_two", "c": 0, "scaled": True}, {"c": 0, "scaled": True}),
    ({"type": "quantize", "codebook": "binary"}, {"scaled": True}),
    ({"type": "quantize", "codebook": "binary", "scaled": False}, {"scaled": False}),
    ({"type": "quantize", "codebook": "ternary"}, {"scaled": True}),
    (
        {"type": "low_rank", "rank": 5},
        {"rank": 5, "alpha": None, "criterion": "storage", "normalize": True, "conv_scheme": "scheme_2", "bits": 32},
    ),
    ({"type": "low_rank", "rank": 0, "bits": 16}, {"rank": 0, "bits": 16}),
    (
        {"type": "low_rank", "rank": "auto", "alpha": 1e-9, "criterion": "flops", "conv_scheme": "scheme_1"},
        {"rank": "auto", "alpha": 1e-9, "criterion": "flops", "conv_scheme": "scheme_1"},
    ),
]


def test_every_field_of_the_example_lands_where_it_belongs() -> None:
    dumped = parsed(EXAMPLE).dump()
    for block in ("model", "data", "reference", "lc", "l_step"):
        assert dumped[block].items() >= EXAMPLE[block].items()
    assert [task["layers"] for task in dumped["compress"]] == [["conv1"], ["conv2"], ["fc1"], ["fc2"]]
    for task, given in zip(dumped["compress"], EXAMPLE["compress"], strict=True):
        assert task["how"].items() >= given["how"].items()
    assert (dumped["version"], dumped["name"], dumped["seed"], dumped["precision"]) == (1, "table6-3", 0, "float32")


def test_the_defaults_are_those_of_the_contracts_example() -> None:
    scheme = parsed(MINIMAL)
    assert scheme.reference == parsed(EXAMPLE).reference
    assert scheme.lc == parsed(EXAMPLE).lc
    assert scheme.l_step == parsed(EXAMPLE).l_step
    assert (scheme.seed, scheme.precision, scheme.data.validation, scheme.data.classes) == (0, "float32", 0.1, None)


@pytest.mark.parametrize(("given", "expected"), HOWS, ids=str)
def test_every_kind_of_compression_has_its_fields_and_defaults(given: dict[str, Any], expected: dict[str, Any]) -> None:
    (task,) = parsed(with_how(given)).dump()["compress"]
    assert task["how"].items() >= expected.items()
    assert task["how"].items() >= given.items()


@pytest.mark.parametrize("given", [how for how, _ in HOWS], ids=str)
def test_a_compression_can_be_validated_by_itself(given: dict[str, Any]) -> None:
    assert TypeAdapter(Compression).validate_python(given).type == given["type"]


def test_a_list_of_compressions_is_their_sum() -> None:
    how = [{"type": "quantize", "k": 2}, {"type": "prune", "kappa": 50}]
    (task,) = parsed(with_how(how)).compress
    assert [member.type for member in task.how] == ["quantize", "prune"]


@pytest.mark.parametrize("raw", [EXAMPLE, MINIMAL, *(with_how(how) for how, _ in HOWS)], ids=lambda raw: str(raw)[-60:])
def test_writing_a_scheme_and_reading_it_again_changes_nothing(raw: dict[str, Any], tmp_path: Path) -> None:
    scheme = parsed(raw)
    again = Scheme.load(written(tmp_path / "scheme.json", scheme.dump()))
    assert again == scheme
    assert again.dump() == scheme.dump()
    assert again.fingerprint() == scheme.fingerprint()


def test_a_radius_too_large_to_count_with_survives_writing_and_reading(tmp_path: Path) -> None:
    scheme = parsed(with_how({"type": "prune", "kappa": 1e300, "norm": "l1"}))
    assert Scheme.load(written(tmp_path / "scheme.json", scheme.dump())) == scheme


def test_a_count_is_written_as_a_count() -> None:
    for kappa in (104, 104.0):
        assert json.dumps(
            parsed(with_how({"type": "prune", "kappa": kappa})).dump()["compress"][0]["how"]["kappa"]
        ) == ("104")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "scheme.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(EXAMPLE).encode())
    assert Scheme.load(file) == parsed(EXAMPLE)


def test_a_scheme_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parsed(EXAMPLE).seed = 4


def test_the_fingerprint_ignores_what_a_run_is_called_and_nothing_else() -> None:
    fingerprint = parsed(EXAMPLE).fingerprint()
    assert parsed(changed({"name": "another", "tags": ["x"]})).fingerprint() == fingerprint
    for path, value in {
        "seed": 1,
        "precision": "bfloat16",
        "l_step.epochs": 9,
        "lc.mu.factor": 1.2,
        "reference.lr": 0.01,
        "data.validation": 0.2,
        "compress.0.how.kappa": 103,
    }.items():
        assert parsed(changed({path: value})).fingerprint() != fingerprint, path


def test_fields_that_came_later_leave_the_fingerprints_of_before() -> None:
    """Pinned: finished runs are found again by these."""
    scheme = Scheme.load(ROOT / "schemes" / "report" / "table6-3.json")
    assert scheme.fingerprint() == "276feaa9eb15bc2d"
    assert (scheme.reference_fingerprint(), scheme.batches_fingerprint()) == ("b37fad5e3a80b0f1", "61681329687fc3d8")


@pytest.mark.parametrize("how", [{"type": "prune", "kappa": 5}, {"type": "quantize", "k": 4}], ids=str)
def test_a_later_field_counts_where_it_is_not_at_its_default(how: dict[str, Any]) -> None:
    fingerprint = parsed(with_how(how)).fingerprint()
    assert parsed(with_how(how | {"code": "plain"})).fingerprint() == fingerprint
    assert parsed(with_how(how | {"code": "arithmetic"})).fingerprint() != fingerprint
    both = [how, {"type": "low_rank", "rank": 1}]
    assert parsed(with_how([how | {"code": "plain"}, both[1]])).fingerprint() == parsed(with_how(both)).fingerprint()
    assert (
        parsed(with_how([how | {"code": "arithmetic"}, both[1]])).fingerprint() != parsed(with_how(both)).fingerprint()
    )
    assert parsed(with_how(how)).dump()["compress"][0]["how"]["code"] == "plain"


def test_a_reference_is_shared_by_schemes_that_train_the_same_one() -> None:
    reference = parsed(EXAMPLE).reference_fingerprint()
    shared = {"compress": [], "name": "x", "l_step.lr": 0.1, "lc.mu.steps": 2}
    assert parsed(changed(shared)).reference_fingerprint() == reference
    for path, value in {
        "seed": 1,
        "precision": "bfloat16",
        "reference.epochs": 9,
        "data.validation": 0.2,
        "data.classes": [0, 2, 5, 7, 6],
    }.items():
        assert parsed(changed({path: value})).reference_fingerprint() != reference, path


def test_the_schedule_follows_its_formulas() -> None:
    scheme = parsed(EXAMPLE)
    assert [scheme.lc.mu.at(step) for step in (0, 1, 29)] == pytest.approx([5e-5, 5e-5 * 1.15, 5e-5 * 1.15**29])
    assert scheme.l_step.rate(3, mu=1.0) == pytest.approx(0.2 * 0.98**3)
    assert scheme.l_step.rate(3, mu=100.0) == pytest.approx(0.01)
    unclipped = parsed(changed({"l_step.clip_lr": False}))
    assert unclipped.l_step.rate(3, mu=100.0) == pytest.approx(0.2 * 0.98**3)
