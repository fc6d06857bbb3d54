"""Nets that others designed, with random weights: described, checked and directly compressed, each as a whole."""

from __future__ import annotations

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
    direct = next(iter(learning_compression(problem, state)))
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
