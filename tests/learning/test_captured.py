"""Epochs as CUDA graphs against the same operations one by one; all of it needs a GPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lctui.errors import Interrupted
from lctui.learning.captured import CapturedBatches
from lctui.learning.descent import Penalty, SgdSettings
from lctui.learning.ensemble import Ensemble
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.train import Position, Trainer, Turn
from lctui.models import LeNet5

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

SETTINGS = SgdSettings(batch_size=8, momentum=0.9, nesterov=True, weight_decay=1e-3)
LAST = torch.cuda.device_count() - 1


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 24 * 24, 3))


def with_statistics() -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(1), plain())


def with_dropout() -> nn.Module:
    return nn.Sequential(plain(), nn.Dropout(0.5))


class Asking(nn.Sequential):
    """A net whose course depends on a number that it asks the device for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = super().forward(x)
        return x * 2 if float(x.detach().sum()) > 0 else x


def asking() -> nn.Module:
    return Asking(plain())


def lenet5() -> nn.Module:
    return LeNet5(3)


def make_trainer(make: object, device: str = "cuda:0", **settings: object) -> Trainer:
    torch.manual_seed(1)
    net = FlatNet(make(), torch.device(device))  # type: ignore[operator]
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(50, 1, 28, 28, generator=generator)
    labels = torch.randint(0, 3, (50,), generator=generator)
    data = Resident(inputs, labels, torch.device(device))
    chosen = SgdSettings(**{**vars(SETTINGS), **settings})  # type: ignore[arg-type]
    trainer = Trainer(net, data, chosen, seed=5)
    trainer.begin(("l_step", 0), Position())
    assert isinstance(trainer.batches, CapturedBatches)
    return trainer


def epochs(trainer: Trainer, count: int = 2) -> list[float]:
    penalty = Penalty(torch.full_like(trainer.net.w, 0.1), torch.zeros_like(trainer.net.w))
    return [trainer.epoch(0.02 / (i + 1), penalty) for i in range(count)]


@pytest.mark.parametrize("device", sorted({"cuda:0", f"cuda:{LAST}"}))
@pytest.mark.parametrize("make", [plain, with_statistics, lenet5])
def test_a_captured_epoch_is_the_plain_one(make: object, device: str) -> None:
    captured, eager = make_trainer(make, device), make_trainer(make, device)
    assert isinstance(eager.batches, CapturedBatches)
    eager.batches.captures = False
    assert epochs(captured) == pytest.approx(epochs(eager), rel=1e-4)
    assert isinstance(captured.batches, CapturedBatches) and captured.batches.captures
    assert len(captured.batches.graphs) == 2  # whole batches, and the last one
    for name, tensor in captured.net.module.state_dict().items():
        torch.testing.assert_close(tensor, eager.net.module.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_nothing_inside_an_epoch_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(lenet5)
    epochs(trainer, 1)
    batch = trainer.batches.batch

    def watched(size: int) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            batch(size)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(trainer.batches, "batch", watched)
    epochs(trainer, 1)


def test_a_net_that_asks_the_device_runs_uncaptured_and_others_are_captured_after_it() -> None:
    trainer = make_trainer(asking)
    wanted = make_trainer(asking)
    assert isinstance(trainer.batches, CapturedBatches) and isinstance(wanted.batches, CapturedBatches)
    wanted.batches.captures = False
    assert epochs(trainer) == epochs(wanted)
    assert not trainer.batches.captures
    after = make_trainer(with_dropout)
    assert all(loss > 0 for loss in epochs(after))
    assert isinstance(after.batches, CapturedBatches) and after.batches.captures


@pytest.mark.parametrize("make", [plain, with_dropout, lenet5])
def test_a_captured_epoch_stops_after_a_batch_and_goes_on(make: object) -> None:
    whole = make_trainer(make)
    losses = epochs(whole, 1)
    stopped, left = make_trainer(make), 4

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    stopped.stop = stop
    with pytest.raises(Interrupted):
        epochs(stopped, 1)
    assert stopped.position.batch == 4
    torch.rand(3, device="cuda")
    again = make_trainer(make)
    again.net.load_state(copy.deepcopy(stopped.net.state()))
    again.begin(("l_step", 0), stopped.position, stopped.momentum.clone())
    assert epochs(again, 1) == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(again.net.w, whole.net.w, rtol=1e-3, atol=1e-4)


def test_tf32_rounds_and_float32_does_not() -> None:
    exact, rough = make_trainer(lenet5), make_trainer(lenet5, precision="tf32")
    epochs(exact, 1)
    epochs(rough, 1)
    distance = float((exact.net.w - rough.net.w).norm() / exact.net.w.norm())
    assert 0 < distance < 0.01
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("make", [plain, lenet5])
def test_a_stack_is_captured_too(make: object) -> None:
    trainers = [make_trainer(make) for _ in range(3)]
    for trainer in trainers:
        trainer.data = trainers[0].data
    penalties = [
        Penalty(torch.full_like(one.net.w, 0.1 * i), torch.zeros_like(one.net.w)) for i, one in enumerate(trainers)
    ]
    ensemble = Ensemble(99)
    for _ in range(2):
        turns = [Turn(one, 0.02, penalty) for one, penalty in zip(trainers, penalties, strict=True)]
        ensemble.train(turns)
        assert [turn.together for turn in turns] == [3, 3, 3]
    alone = make_trainer(make)
    losses = [alone.epoch(0.02, penalties[0]) for _ in range(2)]
    assert turns[0].loss() == pytest.approx(losses[1], rel=1e-3)
