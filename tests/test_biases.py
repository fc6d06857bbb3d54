"""Biases as tasks: penalised, compressed, stored, counted and resumed as weights are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lctui
from lctui.algorithm import State
from lctui.console.editing import Session
from lctui.errors import Interrupted
from lctui.models import describe
from lctui.scheme.check import resolve
from tests.conftest import Cli, without_times
from tests.test_algorithm import best_two_values, events_of, make_problem, make_scheme
from tests.test_worker import start, steps_of, work

MIXED: dict[str, Any] = {
    "version": 1,
    "name": "biases",
    "model": {"factory": "lenet5", "args": {"classes": 2}},
    "data": {"name": "mnist_sample", "classes": [3, 8], "validation": 0.1},
    "reference": {"epochs": 1, "batch_size": 64, "lr": 0.02},
    "compress": [
        {"layers": ["*", "conv*.bias"], "how": {"type": "prune", "kappa": 3000, "k": 4, "code": "arithmetic"}},
        {"layers": ["fc1.bias"], "how": {"type": "prune", "kappa": 20}},
        {"layers": ["fc2.bias"], "how": [{"type": "quantize", "k": 1}, {"type": "prune", "kappa": 1}]},
    ],
    "lc": {"mu": {"start": 0.01, "factor": 3, "steps": 2}},
    "l_step": {"epochs": 1, "batch_size": 64, "lr": 0.05},
    "seed": 3,
}
"""LeNet5, whose gradient is written by hand, with biases in joint tasks, alone, and as a sum."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, dict[str, Any]]:
    home = tmp_path_factory.mktemp("home")
    run = start(home, MIXED)
    return home, run, work(home, run)


def test_the_artifact_holds_the_biases_that_the_tasks_made(finished: tuple[Path, Any, dict[str, Any]]) -> None:
    _, run, result = finished
    state = lctui.load(run.file("compressed.safetensors"))
    names = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc2.weight"]
    joint = torch.cat([state[name].reshape(-1) for name in names])
    assert int(torch.count_nonzero(joint)) == 3000
    assert len(joint[joint != 0].unique()) <= 4
    assert int(torch.count_nonzero(state["fc1.bias"])) == 20
    assert [layer["layers"] for layer in result["layers"]] == [
        ["conv1", "conv1.bias", "conv2", "conv2.bias", "fc1", "fc2"],
        ["fc1.bias"],
        ["fc2.bias"],
    ]


def test_all_bits_of_the_net_are_its_tasks(finished: tuple[Path, Any, dict[str, Any]]) -> None:
    _, _, result = finished
    assert result["final"]["compressed_bits"] == sum(layer["bits"] for layer in result["layers"])
    assert result["layers"][1]["bits"] < 32 * 500
    assert result["reference"]["bits"] == 32 * (500 + 25_000 + 400_000 + 1000 + 20 + 50 + 500 + 2)
    # Positions of the weights' survivors alone cost multiplications.
    assert result["final"]["flops"] < 2 * 3000 * 24 * 24
    assert result["final"]["artifact_bytes"] <= result["final"]["compressed_bits"] / 8 + 4096 + 256 * 8


@pytest.mark.parametrize("batches", [12, 27])
def test_a_stopped_run_resumes_to_the_very_numbers(
    finished: tuple[Path, Any, dict[str, Any]], tmp_path: Path, batches: int
) -> None:
    _, whole, result = finished
    run = start(tmp_path, MIXED)
    with pytest.raises(Interrupted):
        work(tmp_path, run, batches)
    assert without_times(work(tmp_path, run)) == without_times(result)
    assert steps_of(run) == steps_of(whole)
    mine, theirs = (each.file("compressed.safetensors").read_bytes() for each in (run, whole))
    assert mine == theirs


@pytest.mark.parametrize("method", ["augmented_lagrangian", "quadratic_penalty"])
def test_biases_are_pulled_and_compressed_as_the_paper_says(method: str) -> None:
    """Against the algorithm written out for a net of which only one bias is trained."""
    scheme = make_scheme(
        method,
        compress=[{"layers": ["0.bias"], "how": {"type": "quantize", "k": 2}}],
        l_step={"epochs": 1, "batch_size": 60, "lr": 0.1, "lr_decay": 1.0, "momentum": 0.0, "nesterov": False},
    )
    problem, state = make_problem(scheme), State()
    events_of(problem, state)
    net, data = make_problem(scheme).net.module, problem.splits.train
    bias = net[0].bias
    lam, delta = torch.zeros_like(bias), best_two_values(bias.detach())
    for k in range(5):
        mu = 0.05 * 1.6**k
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(data.rows), data.labels)
        (loss + mu / 2 * (bias - delta - lam / mu).square().sum()).backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.1 * parameter.grad
        delta = best_two_values(bias.detach() - lam / mu)
        if method == "augmented_lagrangian":
            lam = lam - mu * (bias.detach() - delta)
    assert state.theta is not None and state.lam is not None
    torch.testing.assert_close(state.theta[0].dense(), delta, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(problem.net.view(state.lam, "0.bias"), lam, rtol=1e-3, atol=1e-5)
    assert torch.count_nonzero(state.lam) == (torch.count_nonzero(lam) if method == "augmented_lagrangian" else 0)


def test_biases_of_a_users_net_are_found_and_normalisation_has_none() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    net.append(nn.Linear(3, 3))
    net[4].bias = net[3].bias  # tied: one of them
    info = describe(net, torch.zeros(1, 1, 4, 4))
    assert [(bias.name, bias.shape) for bias in info.biases] == [("3.bias", (3,))]
    assert [layer.name for layer in info.compressible] == ["0", "3", "3.bias", "4"]
    assert info.others == 3 + 4 * 2 + 1


def test_the_command_line_checks_and_runs_bias_tasks(cli: Cli, tmp_path: Path) -> None:
    scheme = {**MIXED, "model": {"factory": "lenet300", "args": {"classes": 2}}, "l_step": {"epochs": 1}}
    scheme["compress"] = [{"layers": ["fc1", "fc*.bias"], "how": {"type": "prune", "kappa": 2000, "k": 4}}]
    path = tmp_path / "scheme.json"
    path.write_text(json.dumps(scheme))
    checked = cli("check", path)
    assert checked.returncode == 0, checked.stderr
    assert "fc3.bias" in checked.stdout
    done = cli("--run", path, "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["layers"][0]["layers"] == ["fc1", "fc1.bias", "fc2.bias", "fc3.bias"]
    scheme["compress"][0]["how"] = {"type": "prune_n_m"}
    path.write_text(json.dumps(scheme))
    refused = cli("check", path)
    assert refused.returncode == 2
    assert refused.stderr == (
        "scheme.json: compress.0.how: prune_n_m takes weights, fc1.bias is a bias: prune or quantize it\n"
    ).replace("scheme.json", str(path))


def test_the_editor_keeps_bias_tasks_as_they_are(tmp_path: Path) -> None:
    edited = Session(json.loads(json.dumps(MIXED)))
    assert edited.valid, edited.problems
    edited.set(("seed",), 7)
    assert edited.valid and edited.raw["compress"] == MIXED["compress"]
    assert edited.report is not None
    assert "fc2.bias" in [layer["name"] for layer in edited.report["layers"]]
    rows = edited.rows()
    assert [row.name for row in rows if row.kind == "layer"] == ["conv1", "conv2", "fc1", "fc2"]
    assert [row.name for row in rows if row.kind == "task"] == ["1", "2"]
    for row in rows:
        edited.sections(row)
    assert edited.separate("fc1")
    assert {"layers": ["conv1", "conv2", "fc2", "conv*.bias"], "how": MIXED["compress"][0]["how"]} in edited.raw[
        "compress"
    ]
    assert edited.valid, edited.problems


def test_tasks_name_their_tensors() -> None:
    info = make_problem(make_scheme()).info
    (task,), _ = resolve(
        {0: make_scheme(compress=[{"layers": ["*", "0.bias"], "how": MIXED["compress"][1]["how"]}]).compress[0]}, info
    )
    assert task.tensors == ("0.weight", "0.bias", "2.weight")
