"""Names and globs become layers: in the net's order, each in one task."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from lctui.scheme import Task
from lctui.scheme.check import resolve, resolved_tasks
from lctui.scheme.net import BIAS, Layer, NetInfo, lenet5
from tests.scheme.cases import MINIMAL, parsed, with_how

PRUNE = {"type": "prune", "fraction": 0.5}

DEEP = NetInfo(
    tuple(
        Layer(name, "Linear", (4, 4))
        for name in ("stem", "blocks.0.fc", "blocks.1.fc", "blocks.10.fc", "blocks[0]", "odd*name", "head?")
    ),
    others=3,
)


def task(*layers: str) -> Task:
    return TypeAdapter(Task).validate_python({"layers": layers, "how": PRUNE})


def names(*layers: str, net: NetInfo = DEEP) -> tuple[str, ...]:
    """The layers that one task resolves to, without a problem."""
    (resolved,), problems = resolve({0: task(*layers)}, net)
    assert not problems
    return resolved.names


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("stem", ("stem",)),
        ("blocks.*", ("blocks.0.fc", "blocks.1.fc", "blocks.10.fc")),
        ("blocks.?.fc", ("blocks.0.fc", "blocks.1.fc")),
        ("blocks.[!0]*", ("blocks.1.fc", "blocks.10.fc")),
        ("blocks[0]", ("blocks[0]",)),
        ("odd*name", ("odd*name",)),
        ("head?", ("head?",)),
        ("*", tuple(layer.name for layer in DEEP.layers)),
    ],
)
def test_globs_match_and_a_layers_own_name_means_that_layer(pattern: str, expected: tuple[str, ...]) -> None:
    assert names(pattern) == expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("fc1.bias",), ("fc1.bias",)),
        (("*.bias",), ("conv1.bias", "conv2.bias", "fc1.bias", "fc2.bias")),
        (("conv?.bias",), ("conv1.bias", "conv2.bias")),
        (("conv*",), ("conv1", "conv2")),
        (("*",), ("conv1", "conv2", "fc1", "fc2")),
        (("*.bias", "fc*"), ("conv1.bias", "conv2.bias", "fc1", "fc1.bias", "fc2", "fc2.bias")),
    ],
)
def test_biases_are_meant_where_they_are_named(patterns: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert names(*patterns, net=lenet5()) == expected


def test_a_layer_that_is_called_bias_is_a_layer() -> None:
    layers = (Layer("head", "Linear", (2, 2)), Layer("tail.bias", "Linear", (2, 2)))
    net = NetInfo(layers, 2, biases=(Layer("head.bias", BIAS, (2,)),))
    assert names("*.bias", net=net) == ("head.bias", "tail.bias")
    assert [layer.tensor for layer in net.compressible] == ["head.weight", "head.bias", "tail.bias.weight"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("fc1.bais", "no layer 'fc1.bais' with weights to compress; did you mean 'fc1.bias'?"),
        ("fc9.bias", "did you mean 'fc"),
        ("*bias", "'*bias' matches no layer; the net's layers: conv1"),
        ("x*.bias", "'x*.bias' matches no layer"),
    ],
)
def test_biases_that_are_not_there_are_named(pattern: str, said: str) -> None:
    (problem,) = resolve({0: task(pattern)}, lenet5())[1]
    assert said in problem.message


@pytest.mark.parametrize(
    "how", [{"type": "low_rank", "rank": 1}, {"type": "prune_n_m"}, {"type": "prune_structured", "kappa": 1}]
)
def test_what_needs_a_matrix_is_refused_for_biases(how: dict[str, Any]) -> None:
    for layers in (["fc1.bias"], ["fc1", "fc1.bias"]):
        wanted = TypeAdapter(Task).validate_python({"layers": layers, "how": [how, {"type": "prune", "kappa": 1}]})
        (problem,) = resolve({0: wanted}, lenet5())[1]
        assert problem.path == "compress.0.how.0"
        assert problem.message == f"{how['type']} takes weights, fc1.bias is a bias: prune or quantize it"


def test_globs_tell_upper_from_lower_case() -> None:
    net = NetInfo((Layer("Head", "Linear", (2, 2)), Layer("head", "Linear", (2, 2))), 0)
    assert names("h*", net=net) == ("head",)


def test_a_joint_tasks_layers_stand_in_the_nets_order_each_once() -> None:
    assert names("fc*", "conv2", "*1", net=lenet5()) == ("conv1", "conv2", "fc1", "fc2")


def test_a_task_is_known_by_its_place_in_the_scheme() -> None:
    resolved, problems = resolve({2: task("fc1"), 5: task("conv*")}, lenet5())
    assert not problems
    assert [(each.index, each.parameters) for each in resolved] == [(2, 400_000), (5, 500 + 25_000)]


def test_a_task_whose_layers_are_unknown_is_left_out_and_reported() -> None:
    resolved, problems = resolve({0: task("fc1"), 1: task("fc9", "x*")}, lenet5())
    assert [each.names for each in resolved] == [("fc1",)]
    assert [problem.path for problem in problems] == ["compress.1.layers.0", "compress.1.layers.1"]


def test_the_fit_is_not_checked_for_nets_that_only_torch_can_build() -> None:
    fields: dict[str, Any] = {"model": {"factory": "my.package:net"}, "data": {"name": "my.package:data"}}
    scheme = parsed(with_how({"type": "prune", "kappa": 10**9}, ("whatever",), **fields))
    assert scheme.compress[0].layers == ("whatever",)


def test_a_scheme_without_tasks_resolves_to_none() -> None:
    assert resolved_tasks(parsed(MINIMAL), lenet5()) == []
