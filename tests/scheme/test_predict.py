"""Predicted sizes: exact where the formula depends on shapes alone, checked against formulas written out here."""

from __future__ import annotations

import math
import random
from math import comb
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lctui.scheme.check import resolved_tasks
from lctui.scheme.net import Layer, NetInfo, lenet5
from lctui.scheme.predict import NetPrediction, predict
from lctui.scheme.report import check_report
from lctui.scheme.storage import expected_coded_position_bits, expected_gap_bits
from tests.scheme.cases import parsed

NET = lenet5(5)
SHAPES = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (5, 500)}
WEIGHTS = {name: math.prod(shape) for name, shape in SHAPES.items()}
BIASES = 20 + 50 + 500 + 5


def prediction(*tasks: tuple[list[str], Any], net: NetInfo = NET, **fields: Any) -> NetPrediction:
    raw = {
        "model": {"factory": "lenet5", "args": {"classes": 5}},
        "data": {"name": "mnist", "classes": [0, 1, 2, 3, 4]},
        "compress": [{"layers": layers, "how": how} for layers, how in tasks],
        **fields,
    }
    scheme = parsed(raw)
    return predict(net, resolved_tasks(scheme, net), scheme.lc.mu)


def clog2(k: int) -> int:
    """⌈log₂ k⌉, by counting."""
    return next(bits for bits in range(64) if 2**bits >= k)


EXACT: list[tuple[list[str], Any, int]] = [
    (["fc1"], {"type": "quantize", "k": 2}, 400_000 * 1 + 64),
    (["fc1"], {"type": "quantize", "k": 1}, 32),
    (["fc2"], {"type": "quantize", "k": 5}, 2500 * 3 + 32 * 5),
    (["conv1", "conv2"], {"type": "quantize", "k": 33}, 25_500 * 6 + 32 * 33),
    (["fc2"], {"type": "quantize", "codebook": "fixed", "values": [-1, 0, 1, 2, 3]}, 2500 * 3),
    (["fc2"], {"type": "quantize", "codebook": "fixed", "values": [0.5]}, 0),
    # {0, ±1, ±2⁻¹, ±2⁻²}: 7 entries.
    (["fc2"], {"type": "quantize", "codebook": "powers_of_two", "c": 2}, 2500 * 3),
    (["fc2"], {"type": "quantize", "codebook": "powers_of_two", "c": 3, "scaled": True}, 2500 * 4 + 32),
    (["fc2"], {"type": "quantize", "codebook": "binary"}, 2500 + 32),
    (["fc2"], {"type": "quantize", "codebook": "binary", "scaled": False}, 2500),
    (["fc2"], {"type": "quantize", "codebook": "ternary"}, 5000 + 32),
    (["fc2"], {"type": "quantize", "codebook": "ternary", "scaled": False}, 5000),
    (["fc2"], {"type": "prune", "kappa": 0}, 0),
    (["conv2"], {"type": "prune_structured", "kappa": 7}, 32 * 7 * 500 + 50),
    (["fc1"], {"type": "prune_structured", "fraction": 0.25}, 32 * 125 * 800 + 500),
    (["fc1"], {"type": "prune_n_m"}, 32 * 200_000 + clog2(comb(4, 2)) * 100_000),
    # 500 inputs in groups of 8: 62 full groups and one of 4, for each of 5 outputs.
    (["fc2"], {"type": "prune_n_m", "n": 3, "m": 8}, 5 * (32 * 3 * 63 + clog2(comb(8, 3)) * 63)),
    (["fc1"], {"type": "low_rank", "rank": 4}, 32 * 4 * 1300),
    (["fc1"], {"type": "low_rank", "rank": 4, "bits": 16}, 16 * 4 * 1300),
    (["fc1"], {"type": "low_rank", "rank": 0}, 0),
    (["conv1"], {"type": "low_rank", "rank": 5}, 32 * 5 * (20 * 5 + 5)),
    (["conv2"], {"type": "low_rank", "rank": 9}, 32 * 9 * (50 * 5 + 20 * 5)),
    (["conv2"], {"type": "low_rank", "rank": 9, "conv_scheme": "scheme_1"}, 32 * 9 * (50 + 500)),
    (["fc2"], [{"type": "low_rank", "rank": 1}, {"type": "quantize", "k": 2}], 32 * 505 + 2500 + 64),
]


@pytest.mark.parametrize(("layers", "how", "bits"), EXACT, ids=lambda x: str(x)[:70])
def test_what_follows_from_shapes_is_predicted_to_the_bit(layers: list[str], how: Any, bits: int) -> None:
    predicted = prediction((layers, how))
    untouched = sum(n for name, n in WEIGHTS.items() if name not in layers)
    assert predicted.total.compressed_bits == bits + 32 * (untouched + BIASES)
    assert predicted.total.reference_bits == 32 * 428_575
    assert predicted.total.exact
    assert sum(predicted.layers[name].compressed_bits for name in layers) == bits


@pytest.mark.parametrize(
    "how",
    [
        {"type": "prune", "kappa": 100},
        {"type": "prune", "fraction": 0.5},
        {"type": "prune", "kappa": 100, "k": 2},
        {"type": "prune", "alpha": 1.0},
        {"type": "prune", "kappa": 3.5, "norm": "l1"},
        {"type": "low_rank", "rank": "auto", "alpha": 1e-9},
        [{"type": "quantize", "k": 2}, {"type": "prune", "kappa": 5}],
    ],
    ids=str,
)
def test_what_only_training_shows_is_not_exact(how: Any) -> None:
    predicted = prediction((["fc1"], how))
    assert not predicted.total.exact
    assert not predicted.layers["fc1"].exact
    assert predicted.layers["fc2"].exact


def gap_bits(positions: list[int]) -> int:
    """The gap code's size: the smallest over b of b·Σe(d), counted symbol by symbol."""
    gaps = [here - before for before, here in zip([-1, *positions], positions, strict=False)]

    def symbols(gap: int, b: int) -> int:
        # A symbol of all ones means "so far without a non-zero", and the rest follows.
        count = 1
        while gap >= 2**b - 1:
            gap -= 2**b - 1
            count += 1
        return count

    return min(b * sum(symbols(gap, b) for gap in gaps) for b in range(2, 17))


@pytest.mark.parametrize(
    ("nonzeros", "n"), [(104, 500), (260, 500), (400, 500), (500, 500), (125, 2500), (150, 25_000), (20, 25_000)]
)
def test_the_expected_gap_code_is_near_the_mean_over_random_positions(nonzeros: int, n: int) -> None:
    draw = random.Random(n + nonzeros)
    sizes = [gap_bits(sorted(draw.sample(range(n), nonzeros))) for _ in range(200 if nonzeros < 50 else 30)]
    assert expected_gap_bits(nonzeros, n) == pytest.approx(sum(sizes) / len(sizes), rel=0.04, abs=2.5)


def test_positions_of_nothing_and_of_everything() -> None:
    assert expected_gap_bits(0, 100) == 0
    assert expected_gap_bits(100, 100) == 200  # every gap is 1, at the shortest symbols of 2 bits


def test_pruning_is_the_values_and_the_expected_positions() -> None:
    for kappa, extra, bits in ((104, {}, 32 * 104), (104, {"k": 5}, 104 * 3 + 32 * 5)):
        predicted = prediction((["conv1"], {"type": "prune", "kappa": kappa} | extra)).layers["conv1"]
        assert predicted.compressed_bits == bits + expected_gap_bits(104, 500)
    half = prediction((["conv1"], {"type": "prune", "fraction": 0.5})).layers["conv1"]
    assert half.compressed_bits == 32 * 250 + expected_gap_bits(250, 500)


def nearly(bits: float) -> Any:
    """In whole bytes, rounded up."""
    return pytest.approx(bits + 4, abs=4.01)


def test_arithmetic_codes_are_expected_to_take_the_logarithm_of_what_there_is() -> None:
    sets = math.log2(comb(500, 104))
    for extra, bits in (({}, 32 * 104), ({"k": 5}, 104 * math.log2(5) + 32 * 5)):
        how = {"type": "prune", "kappa": 104, "code": "arithmetic"} | extra
        predicted = prediction((["conv1"], how)).layers["conv1"]
        assert predicted.compressed_bits == pytest.approx(sets + bits + 8, abs=8.01)
        assert predicted.basis == "estimate"
    for how, bits in (
        ({"k": 5}, 2500 * math.log2(5) + 32 * 5),
        ({"codebook": "ternary"}, 2500 * math.log2(3) + 32),
        ({"codebook": "fixed", "values": [1, 2, 3]}, 2500 * math.log2(3)),
        ({"codebook": "powers_of_two", "c": 2, "scaled": True}, 2500 * math.log2(7) + 32),
    ):
        predicted = prediction((["fc2"], {"type": "quantize", "code": "arithmetic"} | how)).layers["fc2"]
        assert predicted.compressed_bits == nearly(bits)
        assert predicted.basis == "estimate"


def test_the_positions_of_nothing_and_of_everything_are_known() -> None:
    assert expected_coded_position_bits(0, 100) == expected_coded_position_bits(100, 100) == 0
    assert expected_coded_position_bits(99, 100) == 8


def test_an_automatic_rank_is_bounded_by_what_it_costs_at_the_last_mu() -> None:
    how = {"type": "low_rank", "rank": "auto", "alpha": 2.5e-9}
    mu = {"start": 5e-5, "factor": 1.15, "steps": 30}
    rank = math.floor(5e-5 * 1.15**29 / 2 / (2.5e-9 * 1300))
    assert 0 < rank < 500
    predicted = prediction((["fc1"], how), lc={"mu": mu})
    assert predicted.layers["fc1"].compressed_bits == 32 * 1300 * rank
    assert predicted.layers["fc1"].basis == "bound"
    full = prediction((["fc2"], how), lc={"mu": mu})
    assert full.layers["fc2"].compressed_bits == 32 * 505 * 5


def test_structured_pruning_over_unlike_layers_is_bounded_by_the_widest_groups() -> None:
    predicted = prediction((["conv1", "conv2"], {"type": "prune_structured", "kappa": 60}))
    whole = sum(predicted.layers[name].compressed_bits for name in ("conv1", "conv2"))
    assert whole == 32 * (50 * 500 + 10 * 25) + 70
    assert predicted.total.basis == "bound"


HOWS = st.sampled_from(
    [
        None,
        {"type": "quantize", "k": 3},
        {"type": "prune", "kappa": 77},
        {"type": "prune_n_m", "n": 1, "m": 3},
        {"type": "prune_structured", "fraction": 0.3},
        [{"type": "quantize", "k": 2}, {"type": "prune", "fraction": 0.01}],
    ]
)


@settings(max_examples=60, deadline=None)
@given(HOWS, HOWS, st.booleans())
def test_the_layers_and_the_rest_add_up_to_the_total(first: Any, second: Any, joint: bool) -> None:
    groups = [["conv1", "fc1", "fc2"], ["conv2"]] if joint else [["conv1"], ["fc2", "conv2"]]
    tasks = [(layers, how) for layers, how in zip(groups, (first, second), strict=True) if how is not None]
    predicted = prediction(*tasks)
    layers = predicted.layers.values()
    assert sum(layer.compressed_bits for layer in layers) + 32 * BIASES == predicted.total.compressed_bits
    assert sum(layer.reference_bits for layer in layers) + 32 * BIASES == predicted.total.reference_bits
    assert all(layer.compressed_bits >= 0 for layer in layers)
    assert predicted.total.exact == all(layer.exact for layer in layers)


def test_biases_with_a_task_are_counted_there_and_no_more_among_the_others() -> None:
    predicted = prediction((["*.bias"], {"type": "quantize", "k": 4}), (["fc1"], {"type": "prune", "kappa": 0}))
    biases = BIASES * 2 + 4 * 32
    assert predicted.total.compressed_bits == 32 * (428_000 - 400_000) + biases
    assert predicted.total.reference_bits == 32 * 428_575
    assert sum(predicted.layers[f"{name}.bias"].compressed_bits for name in SHAPES) == biases
    joint = prediction((["fc*", "fc1.bias"], {"type": "quantize", "k": 2}))
    assert joint.total.compressed_bits == 32 * (25_500 + BIASES - 500) + 402_500 + 500 + 64


def test_the_report_lists_biases_that_have_a_task() -> None:
    raw = {
        "model": {"factory": "lenet5"},
        "data": {"name": "mnist"},
        "compress": [{"layers": ["fc1", "fc1.bias"], "how": {"type": "quantize", "k": 2}}],
    }
    report = check_report(parsed(raw), lenet5())
    assert [layer["name"] for layer in report["layers"]] == ["conv1", "conv2", "fc1", "fc1.bias", "fc2"]
    bias = report["layers"][3]
    assert (bias["kind"], bias["shape"], bias["task"]) == ("bias", [500], 0)
    assert bias["how"] == "quantize k=2 (joint: fc1, fc1.bias)"
    assert report["others"] == {"parameters": 80, "bits": 32 * 80}
    whole = sum(layer["compressed_bits"] for layer in report["layers"]) + report["others"]["bits"]
    assert whole == report["compressed_bits"]


def test_a_net_of_nothing_is_compressed_beyond_measure() -> None:
    net = NetInfo((Layer("conv1", "Conv2d", SHAPES["conv1"]),), others=0)
    predicted = prediction((["conv1"], {"type": "prune", "kappa": 0}), net=net)
    assert predicted.total.ratio is None


def test_the_report_repeats_the_prediction() -> None:
    raw = {
        "model": {"factory": "lenet5"},
        "data": {"name": "mnist"},
        "compress": [
            {"layers": ["conv*"], "how": {"type": "prune", "kappa": 104}},
            {"layers": ["fc1"], "how": [{"type": "low_rank", "rank": 2}, {"type": "quantize", "k": 2}]},
        ],
    }
    scheme, net = parsed(raw), lenet5()
    report = check_report(scheme, net)
    total = predict(net, resolved_tasks(scheme, net), scheme.lc.mu).total
    assert report["compressed_bits"] == total.compressed_bits
    assert report["compression_ratio"] == total.ratio
    assert report["exact"] is False
    assert [layer["task"] for layer in report["layers"]] == [0, 0, 1, None]
    assert report["layers"][0]["how"] == "prune kappa=104 (joint: conv1, conv2)"
    assert report["layers"][2]["how"] == "low_rank rank=2 + quantize k=2"
    assert report["others"] == {"parameters": 20 + 50 + 500 + 10, "bits": 32 * 580}
    whole = sum(layer["compressed_bits"] for layer in report["layers"]) + report["others"]["bits"]
    assert whole == report["compressed_bits"]
