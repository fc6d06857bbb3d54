"""Nets that others designed, with random weights: described, checked, compressed, and taken through an LC step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lctui.algorithm import LCProblem, State, learning_compression
from lctui.learning.evaluate import Splits
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.models import build, describe
from lctui.scheme import Scheme
from lctui.scheme.check import resolved_tasks
from lctui.scheme.propose import propose
from lctui.scheme.report import check_report
from tests.conftest import Cli

CPU = torch.device("cpu")
slow = pytest.mark.slow


def weights_flops(counter: FlopCounterMode) -> int:
    counts = {str(operation): flops for operation, flops in counter.get_flop_counts()["Global"].items()}
    return sum(counts.get(f"aten.{name}", 0) for name in ("mm", "addmm", "convolution"))


@pytest.mark.parametrize(
    ("name", "side", "layers"),
    [
        ("resnet18", 32, 21),
        pytest.param("mobilenet_v2", 32, 53, marks=slow),
        pytest.param("resnet50", 32, 54, marks=slow),
        pytest.param("vgg16", 224, 16, marks=slow),
        pytest.param("vit_b_16", 224, 50, marks=slow),
    ],
)
def test_a_net_of_the_zoo_is_described_checked_and_directly_compressed(name: str, side: int, layers: int) -> None:
    raw: dict[str, Any] = {"model": {"factory": f"torchvision:{name}"}, "data": {"name": "mine:data"}, "compress": []}
    net = build(Scheme.model_validate(raw).model, seed=0)
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    info = describe(net, image)
    with FlopCounterMode(display=False) as counter:
        net.eval()(image)
    assert (len(info.layers), info.flops) == (layers, weights_flops(counter))
    assert info.parameters == sum(value.numel() for value in net.state_dict().values())

    scheme = Scheme.model_validate(raw | {"compress": propose(info)})
    tasks = resolved_tasks(scheme, info)
    assert [task.names for task in tasks] == [(layer.name,) for layer in info.layers]
    assert check_report(scheme, info)["compression_ratio"] > 4
    one = Resident(image, torch.zeros(1, dtype=torch.int64), CPU)
    problem = LCProblem(FlatNet(net, CPU), info, tasks, Splits(one, one, one), scheme)
    state = State()
    loop = learning_compression(problem, state)
    direct = next(loop)
    assert state.theta is not None
    spared = 0
    for task, theta in zip(tasks, state.theta, strict=True):
        (layer,), dense = task.layers, theta.dense()
        if task.how.type == "prune":
            kept = int(torch.count_nonzero(dense))
            assert kept == max(1, round(0.1 * layer.parameters))
            spared += 2 * (layer.parameters - kept) * layer.pixels
        else:
            assert len(dense.unique()) <= 4  # a codebook's entries all multiply, whatever they are
    assert getattr(direct, "flops", None) == info.flops - spared


@pytest.mark.parametrize(
    ("name", "side"),
    [
        pytest.param("resnet18", 32, marks=slow),
        pytest.param("mobilenet_v2", 32, marks=slow),
        pytest.param("resnet50", 32, marks=slow),
        pytest.param("vgg16", 32, marks=slow),
        pytest.param("vit_b_16", 224, marks=slow),
    ],
)
def test_a_net_of_the_zoo_is_taken_through_an_lc_step(cli: Cli, tmp_path: Path, name: str, side: int) -> None:
    (tmp_path / "images.py").write_text(IMAGES)
    done = cli("new", "--model", f"torchvision:{name}", "--data", "images.py:data", "--set", f"data.args.side={side}")
    assert (done.returncode, done.stderr) == (0, "")
    few = ["reference.epochs=1", "reference.batch_size=4", "lc.mu.steps=1", "l_step.epochs=1", "l_step.batch_size=4"]
    settings = [part for each in (*few, "lc.mu.start=0.001") for part in ("--set", each)]
    done = cli("--run", done.stdout.strip(), "--quiet", *settings, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["steps"] == 1 and result["final"]["compression_ratio"] > 4
    (run,) = cli.runs()
    assert 8 * (run / "compressed.safetensors").stat().st_size < result["reference"]["bits"] / 4


IMAGES = """
import torch

def data(side):
    inputs, labels = torch.rand(12, 3, side, side), torch.arange(12) % 4
    return (inputs[:8], labels[:8]), (inputs[8:], labels[8:])
"""
