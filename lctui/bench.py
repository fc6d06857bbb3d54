"""Speed on this machine: the L step against the loop that people write.

Owns `lctui bench`: both loops in one process, alternating, medians of the rounds.  The plain loop is a DataLoader
over a TensorDataset with the penalty in the loss; it is the yardstick, so it must stay as plain as it is.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lctui import data, models
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.train import Penalty, SgdSettings, Trainer
from lctui.prepare import pick_device
from lctui.scheme import Data, Model

BATCH_SIZE = 256
LR, MOMENTUM, MU = 0.05, 0.9, 1e-3
FIVE_DIGITS = (0, 2, 5, 6, 7)


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


def measure(home: Path, device: str, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Times one L-step epoch of LeNet5 in every way, `rounds` times in turn; JSON-ready."""
    where = pick_device(device)
    name, images, labels, classes = _images(home)
    ways: dict[str, Callable[[], float]] = {
        "plain float32": lambda: _plain_epoch(images, labels, classes, where),
        "lctui float32": lambda: _our_epoch(images, labels, classes, where, "float32"),
        "lctui bfloat16": lambda: _our_epoch(images, labels, classes, where, "bfloat16"),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for done in range(rounds + 1):
        for way, epoch in ways.items():
            taken = epoch()
            if done > 0:  # the first round warms up allocators and primitive caches
                seconds[way].append(taken)
        say(f"round {done}/{rounds}" + ("" if done else " (warm-up, not counted)"))
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    return {
        "net": "lenet5",
        "data": name,
        "images": len(labels),
        "batch_size": BATCH_SIZE,
        "device": str(where),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rounds": rounds,
        "l_step": [
            {
                "way": way,
                "epoch_seconds": medians[way],
                "images_per_second": len(labels) / medians[way],
                "share_of_plain_time": medians[way] / medians["plain float32"],
                "all_epoch_seconds": seconds[way],
            }
            for way in ways
        ],
    }


def _images(home: Path) -> tuple[str, Tensor, Tensor, int]:
    """Five digits of MNIST where LCTUI_DATA has it, the sample that is always there otherwise."""
    if os.environ.get("LCTUI_DATA"):
        block = Data(name="mnist", classes=FIVE_DIGITS, validation=0.0)
    else:
        block = Data(name="mnist_sample", validation=0.0)
    loaded = data.load(block, seed=0, home=home)
    return block.name, loaded.train.inputs, loaded.train.labels, loaded.classes


def _plain_epoch(images: Tensor, labels: Tensor, classes: int, device: torch.device) -> float:
    net = PlainLeNet5(classes).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, nesterov=True)
    targets = {name: weight.detach().clone() for name, weight in net.named_parameters() if name.endswith("weight")}
    loader = DataLoader(TensorDataset(images, labels), batch_size=BATCH_SIZE, shuffle=True)
    started = time.perf_counter()
    for inputs, truth in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(inputs.to(device)), truth.to(device))
        for name, weight in net.named_parameters():
            if name in targets:
                loss = loss + 0.5 * MU * (weight - targets[name]).square().sum()
        loss.backward()
        optimizer.step()
    _wait(device)
    return time.perf_counter() - started


def _our_epoch(images: Tensor, labels: Tensor, classes: int, device: torch.device, precision: str) -> float:
    net = FlatNet(models.build(Model(factory="lenet5", args={"classes": classes}), seed=0), device)
    settings = SgdSettings(BATCH_SIZE, MOMENTUM, nesterov=True, precision=precision)
    trainer = Trainer(net, Resident(images, labels, device), settings, seed=0, stream=("bench",))
    penalty = Penalty(torch.full_like(net.w, MU), net.w.clone())
    started = time.perf_counter()
    trainer.epoch(LR, penalty)
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bench_table(report: dict[str, Any]) -> Table:
    """The measurements for a person."""
    title = (
        f"L-step epoch: {report['net']}, {report['images']:,} images of {report['data']}, "
        f"batch {report['batch_size']}, {report['device']}, {report['threads']} threads"
    )
    table = Table(title=title, title_justify="left")
    for name in ("way", "seconds", "images/s", "share of the plain loop's time"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for row in report["l_step"]:
        speed = f"{row['images_per_second']:,.0f}"
        table.add_row(row["way"], f"{row['epoch_seconds']:.2f}", speed, f"{row['share_of_plain_time']:.2f}")
    return table
