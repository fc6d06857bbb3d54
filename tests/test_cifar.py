"""Nets and schemes for CIFAR: the nets are those of the literature, the schemes load, and one runs on such images."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lctui.models import build, describe
from lctui.scheme import Model, Scheme
from lctui.scheme.net import BUILT_IN
from lctui.scheme.study import Study, load_file
from tests.conftest import ROOT, Cli

SCHEMES = sorted((ROOT / "schemes/cifar10").glob("*.json"))

IMAGES = """
import torch

def load(n=32):
    def part(n):
        labels = torch.arange(n) % 10
        return torch.randn(n, 3, 32, 32) + labels.view(-1, 1, 1, 1) / 5, labels

    return part(n), part(n // 2)
"""


def make(factory: str, **args: Any) -> nn.Module:
    return build(Model(factory=factory, args=args), seed=0)


@pytest.mark.parametrize(
    ("factory", "published"),
    # The residual nets: 0.27 M, 0.46 M and 0.85 M in the paper, and to the last digit in its well-known reproductions.
    [("resnet20", 269_722), ("resnet32", 464_154), ("resnet56", 853_018), ("vgg16_cifar", 14_724_042)],
)
def test_nets_have_as_many_parameters_as_published(factory: str, published: int) -> None:
    ten, hundred = (sum(each.numel() for each in make(factory, classes=classes).parameters()) for classes in (10, 100))
    features = 512 if factory == "vgg16_cifar" else 64
    assert (ten, hundred) == (published, published + 90 * (features + 1))


@pytest.mark.parametrize("factory", ["resnet20", "resnet32", "resnet56", "vgg16_cifar"])
def test_the_description_without_torch_is_that_of_the_module(factory: str) -> None:
    net, image = make(factory, classes=7).eval(), torch.zeros(1, 3, 32, 32)
    found, expected = describe(net, image), BUILT_IN[factory](7)
    assert (found.layers, found.others) == (expected.layers, expected.others)
    with FlopCounterMode(display=False) as counter:
        net(image)
    assert expected.flops == counter.get_total_flops()


def test_a_residual_net_computes_what_the_paper_says() -> None:
    net = make("resnet20").eval()
    state = net.state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():  # as if trained: no statistic stays at 0 or 1
        if "bn" in name and value.is_floating_point():
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    images = torch.randn(4, 3, 32, 32, generator=generator)

    def normed(x: Tensor, name: str) -> Tensor:
        scale, shift, mean, var = (
            state[f"{name}.{part}"].view(-1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    x = normed(F.conv2d(images, state["conv1.weight"], padding=1), "bn1").relu()
    for stage, width in enumerate((16, 32, 64), start=1):
        for block in range(3):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = normed(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1").relu()
            y = normed(F.conv2d(y, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            shortcut = torch.zeros(4, width, *y.shape[2:])
            before = (width - x.shape[1]) // 2  # new channels are zero, half of them before the old, half after
            shortcut[:, before : before + x.shape[1]] = x[..., ::stride, ::stride]
            x = (y + shortcut).relu()
    scores = F.avg_pool2d(x, 8).flatten(1) @ state["fc.weight"].mT + state["fc.bias"]
    assert x.shape == (4, 64, 8, 8)
    torch.testing.assert_close(net(images), scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factory", ["resnet20", "vgg16_cifar"])
def test_initial_weights_keep_the_scale_of_signals(factory: str) -> None:
    for layer in make(factory).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            n = layer.weight.numel()
            ratio = float(layer.weight.detach().square().mean()) / (2 / layer.weight[0].numel())
            assert abs(ratio - 1) < 6 * math.sqrt(2 / n)  # six standard deviations of a sample variance
            assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("path", SCHEMES, ids=[path.stem for path in SCHEMES])
def test_schemes_fit_their_nets_and_start_from_one_reference_a_net(path: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "images.py").write_text(IMAGES)
    checked = cli("check", path, "--set", "data.name=images.py:load")
    assert checked.returncode == 0, checked.stderr
    read = load_file(path)
    schemes = read.schemes if isinstance(read, Study) else [read]
    first = {"resnet20": "resnet20.json", "vgg16_cifar": "vgg16_prune.json"}[schemes[0].model.factory]
    shared = load_file(path.with_name(first))
    known = shared.schemes[0] if isinstance(shared, Study) else shared
    assert {scheme.reference_fingerprint() for scheme in schemes} == {known.reference_fingerprint()}
    assert len({scheme.fingerprint() for scheme in schemes}) == len(schemes)


def test_a_residual_net_goes_through_an_lc_step(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "images.py").write_text(IMAGES)
    small = ["data.name=images.py:load", "reference.epochs=1", "reference.batch_size=32"]
    small += ["lc.mu.steps=1", "l_step.epochs=1", "l_step.batch_size=32"]
    settings = [part for each in small for part in ("--set", each)]
    checked = cli("check", ROOT / "schemes/cifar10/resnet20_quantize.json", "--json", *settings)
    assert checked.returncode == 0, checked.stderr
    done = cli("--run", ROOT / "schemes/cifar10/resnet20.json", "--quiet", *settings)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["steps"] == 1
    assert result["final"]["compressed_parameters"] == round(0.05 * (269_722 - 1376 - 10))  # no norms, no biases


def test_a_net_for_other_images_is_refused(cli: Cli, tmp_path: Path) -> None:
    scheme = Scheme.load(ROOT / "schemes/cifar10/resnet20.json").dump()
    (tmp_path / "scheme.json").write_text(json.dumps(scheme | {"data": {"name": "mnist_sample"}}))
    refused = cli("check", "scheme.json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "scheme.json: data.name: mnist_sample has 1×28×28 images, the net takes 3×32×32\n"
