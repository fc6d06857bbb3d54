"""What a run achieved: which step is best, and what `result.json` repeats of it."""

from __future__ import annotations

from typing import Any

import pytest

from lctui.events import DirectCompression
from lctui.results import Kept, measured, result_of

IDENTITY = {"id": "abcd-x", "name": "x", "seed": 3, "device": "cpu"}


def step(number: int, validation: float | None, test: float = 1.0) -> dict[str, Any]:
    return {
        "step": number,
        "train_error_pct": 0.5,
        "validation_error_pct": validation,
        "test_error_pct": test,
        "compression_ratio": 10.0 + number,
        "layers": [{"layers": ["fc1"], "bits": number}],
    }


def kept(*validation: float | None) -> Kept:
    direct = step(0, 9.0) | {"layers": [{"layers": ["fc1"], "bits": 0}]}
    del direct["step"]
    return Kept(1.5, {"parameters": 7}, direct, [step(n, value) for n, value in enumerate(validation, 1)])


@pytest.mark.parametrize(
    ("validation", "best"),
    [
        ((3.0, 2.0, 4.0), 2),
        ((2.0, 2.0, 2.0), 3),
        ((1.0, 2.0, 1.0, 3.0), 3),
        ((0.0,), 1),
        ((None, 5.0, None), 2),
        ((None, None), None),
        ((), None),
    ],
)
def test_the_best_step_has_the_lowest_validation_error_and_is_the_later_of_equals(
    validation: tuple[float | None, ...], best: int | None
) -> None:
    found = kept(*validation).best
    assert (found["step"] if found is not None else None) == best


def test_the_test_error_does_not_choose_the_best_step() -> None:
    numbers = Kept(steps=[step(1, 2.0, test=0.1), step(2, 1.0, test=50.0)])
    assert numbers.best is not None
    assert numbers.best["step"] == 2


def test_a_result_holds_the_last_step_the_best_and_the_tasks() -> None:
    result = result_of(kept(1.0, 2.0, 3.0), identity=IDENTITY, status="finished", artifact_bytes=123)
    assert {name: result[name] for name in IDENTITY} == IDENTITY
    assert (result["status"], result["steps"], result["seconds"]) == ("finished", 3, 1.5)
    assert result["reference"] == {"parameters": 7}
    assert result["final"]["compression_ratio"] == 13.0
    assert result["final"]["artifact_bytes"] == 123
    assert "step" not in result["final"]
    assert (result["best"]["step"], result["best"]["compression_ratio"]) == (1, 11.0)
    assert result["layers"] == [{"layers": ["fc1"], "bits": 3}]
    assert all("layers" not in result[block] for block in ("direct", "final", "best"))


def test_before_the_first_step_the_net_is_directly_compressed() -> None:
    result = result_of(kept(), identity=IDENTITY, status="interrupted", artifact_bytes=None)
    assert result["final"]["validation_error_pct"] == result["direct"]["validation_error_pct"] == 9.0
    assert result["best"] is None
    assert result["layers"] == [{"layers": ["fc1"], "bits": 0}]


def test_a_run_that_failed_early_has_no_numbers() -> None:
    result = result_of(Kept(), identity=IDENTITY, status="failed", artifact_bytes=None)
    assert [result[block] for block in ("reference", "direct", "final", "best", "layers")] == [None] * 5


def test_kept_numbers_survive_a_checkpoint() -> None:
    before = kept(1.0, None)
    assert Kept(**before.record()) == before


def test_a_result_repeats_what_an_event_measured() -> None:
    numbers = {
        "train_error_pct": 1.0,
        "validation_error_pct": None,
        "test_error_pct": 2.0,
        "compressed_parameters": 3,
        "compressed_bits": 4,
        "compression_ratio": None,
        "flops": 5,
        "flops_ratio": 1.0,
        "layers": [],
    }
    assert measured(DirectCompression(**numbers)) == numbers
