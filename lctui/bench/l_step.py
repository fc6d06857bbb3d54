"""The L step against the loop that people write.

Owns the plain loop: a DataLoader over a TensorDataset, the penalty in the loss, one net at a time, float32.  It is the
yardstick, so it must stay as plain as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from lctui import data, models
from lctui.bench.rounds import Say, take_turns
from lctui.data_items import Split
from lctui.learning.descent import Penalty, SgdSettings
from lctui.learning.ensemble import Ensemble
from lctui.learning.gradients import Autograd
from lctui.learning.net import FlatNet
from lctui.learning.precision import arithmetic, tensor_cores
from lctui.learning.resident import Resident
from lctui.learning.train import Position, Trainer, Turn
from lctui.scheme import Data, Model

BATCH_SIZE = 256
MOST_IMAGES = 40 * BATCH_SIZE
LR, MOMENTUM, MU = 0.05, 0.9, 1e-3
FIVE_DIGITS = (0, 2, 5, 6, 7)
TOGETHER_ON_CPU, TOGETHER_ON_GPU = 4, 28
MATMUL_ON_CPU, MATMUL_ON_GPU = 2048, 8192


class PlainLeNet5(nn.Module):
    """LeNet5 as it is usually written: ReLU, then pooling."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


PLAIN: dict[str, Callable[[int], nn.Module]] = {"lenet5": PlainLeNet5, "lenet300": models.LeNet300}


@dataclass(frozen=True)
class Images:
    """What is trained on: `name` of the data set, inputs [n, 1, 28, 28], labels [n]."""

    name: str
    inputs: Tensor
    labels: Tensor
    classes: int

    @classmethod
    def load(cls, home: Path) -> Images:
        """Five digits of MNIST where LCTUI_DATA has it, else the sample that is always there; at most `MOST_IMAGES`."""
        if os.environ.get("LCTUI_DATA"):
            block = Data(name="mnist", classes=FIVE_DIGITS, validation=0.0)
        else:
            block = Data(name="mnist_sample", validation=0.0)
        loaded = data.load(block, seed=0, home=home)
        train = loaded.train
        assert isinstance(train, Split)  # built-in data are never streamed
        return cls(block.name, train.inputs[:MOST_IMAGES], train.labels[:MOST_IMAGES], loaded.classes)


def measure_l_step(net: str, images: Images, device: torch.device, rounds: int, say: Say) -> list[dict[str, Any]]:
    """An epoch of one net in every way: rows with `way`, `images_per_second`, `ratio` to the plain loop and so on."""
    say(f"L step, {net}")
    together = TOGETHER_ON_GPU if device.type == "cuda" else TOGETHER_ON_CPU
    ways: dict[str, tuple[str, int, Callable[[], object]]] = {
        # As torch is set up by default, a GPU's convolutions are TF32.
        "plain PyTorch loop": (arithmetic("tf32", device), 1, lambda: _plain_epoch(net, images, device))
    }
    for precision in ("float32", "tf32", "bfloat16") if device.type == "cuda" else ("float32", "bfloat16"):
        ours = Ours(net, images, device, precision, 1)
        ways[f"lctui, {precision}"] = (arithmetic(precision, device), 1, ours.epoch)
    if not isinstance(ours.trainers[0].descent.gradient, Autograd):
        ways["lctui, float32, by autograd"] = ("float32", 1, Ours(net, images, device, "float32", 1, True).epoch)
    several = Ours(net, images, device, "float32", together)
    ways[f"lctui, float32, {together} runs together"] = ("float32", together, several.epoch)
    times = take_turns({name: way[2] for name, way in ways.items()}, rounds, device, say)
    rates = {name: len(images.labels) * ways[name][1] / found.median for name, found in times.items()}
    flops = flops_per_image(net, images)
    matmul = {kind: matmul_flops(kind, device, rounds) for kind in {way[0] for way in ways.values()}}
    return [
        {
            "net": net,
            "way": name,
            "arithmetic": ways[name][0],
            "images_per_second": rates[name],
            "ratio": rates[name] / rates["plain PyTorch loop"],
            "flops_per_second": rates[name] * flops,
            "share_of_matmul_rate": rates[name] * flops / matmul[ways[name][0]],
            "epoch_seconds": list(times[name].seconds),
        }
        for name in ways
    ]


def flops_per_image(net: str, images: Images) -> float:
    """FLOPs of one image's forward and backward pass by the plain algorithm, however they are really done."""
    module = PLAIN[net](images.classes)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(module(images.inputs[:BATCH_SIZE]), images.labels[:BATCH_SIZE]).backward()
    return counter.get_total_flops() / BATCH_SIZE


def matmul_flops(kind: str, device: torch.device, rounds: int) -> float:
    """FLOP/s of a large square matrix product in this arithmetic: what the device can do at best."""
    side = MATMUL_ON_GPU if device.type == "cuda" else MATMUL_ON_CPU
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    left, right = torch.rand(2, side, side, device=device, dtype=dtype)
    with tensor_cores(kind):
        times = take_turns({"matmul": lambda: left @ right}, rounds, device, lambda line: None)
    return 2 * side**3 / times["matmul"].median


class Ours:
    """lctui's own epoch, of one net or of several together."""

    def __init__(
        self, net: str, images: Images, device: torch.device, precision: str, count: int, autograd: bool = False
    ) -> None:
        settings = SgdSettings(BATCH_SIZE, MOMENTUM, nesterov=True, precision=precision)
        resident = Resident(images.inputs, images.labels, device)
        model = Model(factory=net, args={"classes": images.classes})
        nets = [FlatNet(models.build(model, seed=seed), device) for seed in range(count)]
        self.trainers = [Trainer(one, resident, settings, seed=0) for one in nets]
        self.penalties = [Penalty(torch.full_like(one.w, MU), one.w.clone()) for one in nets]
        self.ensemble = Ensemble(count)
        if autograd:
            self.trainers[0].descent.gradient = Autograd(nets[0], self.trainers[0].kind)

    def epoch(self) -> None:
        """One epoch of every net."""
        turns = []
        for trainer, penalty in zip(self.trainers, self.penalties, strict=True):
            trainer.begin(("bench",), Position())
            turns.append(Turn(trainer, LR, penalty))
        self.ensemble.train(turns)
        for turn in turns:
            turn.loss()


def _plain_epoch(name: str, images: Images, device: torch.device) -> None:
    net = PLAIN[name](images.classes).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, nesterov=True)
    targets = {name: weight.detach().clone() for name, weight in net.named_parameters() if name.endswith("weight")}
    loader = DataLoader(TensorDataset(images.inputs, images.labels), batch_size=BATCH_SIZE, shuffle=True)
    for inputs, truth in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(inputs.to(device)), truth.to(device))
        for name, weight in net.named_parameters():
            if name in targets:
                loss = loss + 0.5 * MU * (weight - targets[name]).square().sum()
        loss.backward()
        optimizer.step()
