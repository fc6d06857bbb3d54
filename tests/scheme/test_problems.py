"""Bad schemes are refused with every problem at once: its place, the value, the rule and the nearest valid name."""

from __future__ import annotations

from typing import Any

import pytest

from lctui.scheme import Task
from lctui.scheme.check import resolve
from lctui.scheme.net import Layer, NetInfo
from tests.scheme.cases import EXAMPLE, MINIMAL, changed, only_problem, problems_of, with_how

WRONG: list[tuple[str, Any, list[str]]] = [
    ("seed", -1, ["-1", "at least 0"]),
    ("seed", True, ["true", "whole number"]),
    ("seed", 1.5, ["1.5", "whole number"]),
    ("seed", "0", ['"0"', "whole number"]),
    ("seed", 2**63, [str(2**63), "less than"]),
    ("version", 2, ["2", "version 1"]),
    ("version", True, ["true"]),
    ("precision", "float23", ["float23", "did you mean 'float32'?"]),
    ("name", "", ["must not be empty"]),
    ("name", "x" * 201, ["200 characters"]),
    ("name", 5, ["5", "string"]),
    ("tags", "x", ['"x"', "list"]),
    ("model", [], ["[]", "object"]),
    ("model.factory", "lenet6", ["lenet6", "did you mean 'lenet5'?"]),
    ("model.args", [], ["object"]),
    ("model.args.classes", "5", ['"5"', "whole number"]),
    ("model.args.classes", True, ["true", "whole number"]),
    ("data.name", "mnit", ["mnit", "did you mean 'mnist'?"]),
    ("data.validation", 1.0, ["1.0", "less than 1"]),
    ("data.validation", -0.1, ["-0.1", "at least 0"]),
    ("data.classes", [3], ["at least 2"]),
    ("data.classes.1", 10, ["10", "0 to 9"]),
    ("data.classes.1", -2, ["-2", "at least 0"]),
    ("data.classes", [0, 2, 2, 6, 7], ["2", "more than once"]),
    ("reference.epochs", 0, ["0", "at least 1"]),
    ("reference.epochs", 3.0, ["3.0", "whole number"]),
    ("reference.lr", 0, ["0", "greater than 0"]),
    ("reference.lr", "0.1", ['"0.1"', "must be a number"]),
    ("reference.lr", False, ["false", "must be a number"]),
    ("reference.momentum", 1, ["1", "less than 1"]),
    ("reference.lr_decay", 1.01, ["1.01", "at most 1"]),
    ("reference.weight_decay", -1e-4, ["-0.0001", "at least 0"]),
    ("reference.nesterov", 1, ["1", "true or false"]),
    ("lc.method", "penalty", ["penalty", "augmented_lagrangian, quadratic_penalty"]),
    ("lc.tolerance", 0, ["0", "greater than 0"]),
    ("lc.mu.start", -1, ["-1", "greater than 0"]),
    ("lc.mu.factor", 0.9, ["0.9", "at least 1"]),
    ("lc.mu.steps", 0, ["0", "at least 1"]),
    ("l_step.batch_size", None, ["null", "whole number"]),
    ("compress", {}, ["{}", "list"]),
    ("compress.0", 3, ["3", "object"]),
    ("compress.0.layers", "conv1", ['["conv1"]']),
    ("compress.0.layers", [], ["at least 1"]),
    ("compress.0.layers.0", "conv11", ["'conv11'", "did you mean 'conv1'?"]),
    ("compress.0.layers.0", "attention", ["attention", "conv1, conv2, fc1, fc2"]),
    ("compress.0.layers.0", "pool*", ["'pool*' matches no layer", "conv1, conv2, fc1, fc2"]),
    ("compress.0.how", None, ["null", "object"]),
    ("compress.0.how", "prune", ['"prune"', "object"]),
    ("compress.0.how", [], ["at least 1"]),
    ("compress.0.how.kappa", 501, ["501", "500 weights of conv1"]),
    ("compress.0.how.kappa", -1, ["-1", "at least 0"]),
    ("compress.0.how.kappa", True, ["true", "must be a number"]),
    ("compress.0.how.kappa", "104", ['"104"', "must be a number"]),
    ("compress.0.how.kappa", 1e300, ["1e+300", "500 weights"]),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG, ids=lambda x: str(x)[:40])
def test_a_wrong_value_is_named_with_its_place_and_rule(path: str, value: Any, said: list[str]) -> None:
    problem = only_problem(changed({path: value}))
    assert problem.path == path
    assert all(words in problem.message for words in said), problem.message


WRONG_HOW: list[tuple[Any, str, list[str]]] = [
    ({"kappa": 3}, "type", ["missing", "prune_structured"]),
    ({"type": "prun", "kappa": 3}, "type", ["'prun'", "did you mean 'prune'?"]),
    ({"type": "quantize", "codebook": "adaptve", "k": 2}, "codebook", ["did you mean 'adaptive'?"]),
    ({"type": "quantize", "codebook": None}, "codebook", ["null", "powers_of_two"]),
    ({"type": "quantize"}, "k", ["missing"]),
    ({"type": "quantize", "k": 0}, "k", ["0", "at least 1"]),
    ({"type": "quantize", "k": 65537}, "k", ["65537", "at most 65536"]),
    ({"type": "quantize", "codebook": "fixed"}, "values", ["missing"]),
    ({"type": "quantize", "codebook": "fixed", "values": []}, "values", ["at least 1"]),
    ({"type": "quantize", "codebook": "fixed", "values": [1, "2"]}, "values.1", ['"2"', "must be a number"]),
    ({"type": "quantize", "codebook": "fixed", "values": [1, 1.0]}, "", ["1 stands there more than once"]),
    ({"type": "quantize", "codebook": "powers_of_two", "c": -1}, "c", ["-1", "at least 0"]),
    ({"type": "quantize", "codebook": "binary", "k": 2}, "k", ["unknown field"]),
    ({"type": "quantize", "codebook": "binary", "scaled": 0}, "scaled", ["true or false"]),
    ({"type": "prune", "kapa": 3, "alpha": 1.0}, "kapa", ["unknown field", "did you mean 'kappa'?"]),
    ({"type": "prune", "prune": {"kappa": 3}, "alpha": 1.0}, "prune", ["unknown field"]),
    ({"type": "prune"}, "", ["exactly one of 'kappa', 'fraction', 'alpha'", "none"]),
    ({"type": "prune", "kappa": 3, "alpha": 1.0}, "", ["'kappa' and 'alpha'"]),
    ({"type": "prune", "kappa": 3.5}, "", ["3.5", "whole number"]),
    ({"type": "prune", "fraction": 1.5}, "fraction", ["1.5", "at most 1"]),
    ({"type": "prune", "fraction": -0.5}, "fraction", ["-0.5", "at least 0"]),
    ({"type": "prune", "fraction": 0.5, "norm": "l1"}, "", ["fraction", "norm 'l0'"]),
    ({"type": "prune", "alpha": 0.5, "k": 3}, "", ["k (a codebook for the survivors)"]),
    ({"type": "prune", "kappa": 5, "norm": "l2"}, "norm", ["'l2'", "l0, l1"]),
    ({"type": "prune", "kappa": 5, "k": 400_001}, "k", ["400001"]),
    ({"type": "prune_structured", "kappa": 501}, "kappa", ["501", "500 filters or neurons of fc1"]),
    ({"type": "prune_structured"}, "", ["exactly one of"]),
    ({"type": "prune_n_m", "n": 5}, "", ["5", "m 4"]),
    ({"type": "prune_n_m", "m": 0}, "m", ["0", "at least 1"]),
    ({"type": "low_rank"}, "rank", ["missing"]),
    ({"type": "low_rank", "rank": 501}, "rank", ["501", "500", "full rank of fc1", "500 × 800"]),
    ({"type": "low_rank", "rank": -1}, "rank", ["-1", '"auto"']),
    ({"type": "low_rank", "rank": True}, "rank", ["true", '"auto"']),
    ({"type": "low_rank", "rank": 1.5}, "rank", ["1.5", '"auto"']),
    ({"type": "low_rank", "rank": "atuo"}, "rank", ['"atuo"', '"auto"']),
    ({"type": "low_rank", "rank": {"x": 1}}, "rank", ['"auto"']),
    ({"type": "low_rank", "rank": "auto"}, "", ["needs 'alpha'"]),
    ({"type": "low_rank", "rank": 3, "alpha": 1.0}, "", ["rank is fixed to 3"]),
    ({"type": "low_rank", "rank": 3, "bits": 8}, "bits", ["8", "32, 16"]),
    ({"type": "low_rank", "rank": 3, "bits": True}, "bits", ["true"]),
    ({"type": "low_rank", "rank": 3, "conv_scheme": "scheme_3"}, "conv_scheme", ["did you mean 'scheme_"]),
    ({"type": "low_rank", "rank": "auto", "alpha": -1.0}, "alpha", ["-1.0", "at least 0"]),
]


@pytest.mark.parametrize(("how", "field", "said"), WRONG_HOW, ids=str)
def test_a_wrong_compression_is_named_with_its_place_and_rule(how: Any, field: str, said: list[str]) -> None:
    problem = only_problem(with_how(how))
    assert problem.path == ".".join(["compress.0.how", *field.split(".")] if field else ["compress.0.how"])
    assert all(words in problem.message for words in said), problem.message


def test_a_member_of_a_sum_is_named_by_its_number() -> None:
    how = [{"type": "prune", "kappa": 3}, {"type": "low_rank", "rank": 501}]
    assert only_problem(with_how(how)).path == "compress.0.how.1.rank"
    how = [{"type": "prune", "kappa": 3}, {"type": "quantise", "k": 2}]
    assert only_problem(with_how(how)).path == "compress.0.how.1.type"
    how = [{"type": "prune", "kappa": -3}, {"type": "quantize", "k": 2}]
    assert only_problem(with_how(how)).path == "compress.0.how.0.kappa"


def test_a_codebook_cannot_have_more_entries_than_the_task_has_weights() -> None:
    problem = only_problem(with_how({"type": "quantize", "k": 501}, ("conv1",)))
    assert (problem.path, problem.message) == ("compress.0.how.k", "501 exceeds the 500 weights of conv1")
    problem = only_problem(with_how({"type": "prune", "kappa": 5, "k": 501}, ("conv1",)))
    assert (problem.path, problem.message) == ("compress.0.how.k", "501 exceeds the 500 weights of conv1")


def test_layers_too_large_for_the_arithmetic_code_of_positions_are_named() -> None:
    task = Task.model_validate({"layers": ["*"], "how": {"type": "prune", "kappa": 3, "code": "arithmetic"}})
    for shape in ((2**14, 2**14), (2**23, 1)):
        net = NetInfo((Layer("fc", "Linear", (2, 2)), Layer("wide", "Linear", shape)), others=0)
        (problem,) = resolve({0: task}, net)[1]
        assert problem.path == "compress.0.how.code"
        assert problem.message.endswith("weights in 4,194,304 rows, wide is larger; use 'plain'")


def test_a_joint_task_is_checked_against_all_its_layers_together() -> None:
    assert only_problem(with_how({"type": "prune", "kappa": 25_501}, ("conv1", "conv2"))).message == (
        "25501 exceeds the 25,500 weights of conv1, conv2"
    )
    assert "one layer at a time" in only_problem(with_how({"type": "low_rank", "rank": 2}, ("fc1", "fc2"))).message


def test_full_rank_is_of_the_matrix_that_the_filters_make() -> None:
    # conv2 is 50 × 20 × 5 × 5: 250 × 100 by scheme_2, 50 × 500 by scheme_1.
    for scheme, full in (("scheme_2", 100), ("scheme_1", 50)):
        how = {"type": "low_rank", "rank": full + 1, "conv_scheme": scheme}
        assert f"exceeds {full}," in only_problem(with_how(how, ("conv2",))).message


@pytest.mark.parametrize("block", ["", "model", "data", "reference", "lc", "lc.mu", "l_step", "compress.0"])
def test_an_unknown_field_is_refused_in_every_block(block: str) -> None:
    path = f"{block}.sede" if block else "sede"
    problem = only_problem(changed({path: 1}))
    assert problem.path == path
    assert problem.message.startswith("unknown field")


@pytest.mark.parametrize(
    ("path", "meant"),
    [("sed", "seed"), ("model.arg", "args"), ("lc.mu.stpes", "steps"), ("l_step.batchsize", "batch_size")],
)
def test_an_unknown_field_is_told_the_nearest_one(path: str, meant: str) -> None:
    assert f"did you mean {meant!r}?" in only_problem(changed({path: 1})).message


@pytest.mark.parametrize("field", sorted(MINIMAL))
def test_a_missing_block_is_named(field: str) -> None:
    raw = {name: value for name, value in EXAMPLE.items() if name != field}
    problem = only_problem(raw)
    assert (problem.path, problem.message) == (field, "is missing")


@pytest.mark.parametrize("raw", [[], None, "x", 3, [EXAMPLE]], ids=str)
def test_what_is_no_object_is_no_scheme(raw: Any) -> None:
    problem = only_problem(raw)
    assert problem.path == ""
    assert problem.message.endswith("must be an object")


def test_everything_wrong_is_said_at_once() -> None:
    settings = {
        "sed": 1,
        "precision": "float16",
        "data.classes.0": 12,
        "reference.lr": -1,
        "compress.0.how.kappa": 501,
        "compress.1.how.kappa": "many",
        "compress.2.layers.0": "fc3",
    }
    found = problems_of(changed(settings))
    assert sorted(problem.path for problem in found) == sorted(settings)


def test_a_net_that_cannot_be_built_hides_no_problem_of_the_data() -> None:
    settings = {"model.factory": "lenet6", "data.classes.0": 12}
    assert sorted(problem.path for problem in problems_of(changed(settings))) == ["data.classes.0", "model.factory"]


@pytest.mark.parametrize("pattern", ["conv1", "conv*", "*1"])
def test_a_layer_stands_in_one_task_at_most(pattern: str) -> None:
    prune = {"type": "prune", "kappa": 1}
    problem, *more = problems_of(changed({"compress.3": {"layers": [pattern], "how": prune}}))
    assert problem.path == "compress.3.layers.0"
    assert problem.message == "layer 'conv1' stands in compress.0 already"
    assert len(more) == (0 if pattern == "conv1" else 1)


def test_outputs_and_classes_must_agree() -> None:
    assert "set model.args.classes to 5" in only_problem(changed({"model.args": {}})).message
    assert only_problem(changed({"model.args": {}})).path == "model.args"
    assert only_problem(changed({"model.args.classes": 10})).path == "model.args.classes"


def test_images_must_fit_the_net() -> None:
    problem = only_problem(MINIMAL | {"data": {"name": "cifar10"}})
    assert (problem.path, problem.message) == ("data.name", "cifar10 has 3×32×32 images, the net takes 1×28×28")


def test_arguments_of_built_ins_are_checked() -> None:
    problem = only_problem(changed({"model.args.clases": 5}))
    assert problem.path == "model.args.clases"
    assert "did you mean 'classes'?" in problem.message
    assert only_problem(changed({"data.args": {"root": "x"}})).path == "data.args.root"


def test_a_schedule_must_stay_finite() -> None:
    for settings in ({"lc.mu.steps": 10**6}, {"lc.mu.factor": 1e300}, {"lc.mu.steps": 10**30}):
        assert only_problem(changed(settings)).path == "lc.mu"


def test_nesterov_needs_momentum() -> None:
    assert only_problem(changed({"l_step.momentum": 0})).path == "l_step"
