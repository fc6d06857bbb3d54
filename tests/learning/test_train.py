"""Training against the loop that anybody would write, and against itself interrupted."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lctui.errors import Interrupted
from lctui.learning import precision
from lctui.learning.augment import NOTHING, Augmenting
from lctui.learning.captured import CapturedBatches
from lctui.learning.descent import Penalty, SgdSettings
from lctui.learning.evaluate import error_of
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.seeds import derive, permutation
from lctui.learning.train import Trainer

CPU = torch.device("cpu")
SETTINGS = SgdSettings(batch_size=8, momentum=0.9, nesterov=True, weight_decay=1e-3)


def make_net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.25), nn.Linear(4 * 16, 3))


def make_data(n: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n, 1, 6, 6, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def trainer(net: FlatNet, **options: object) -> Trainer:
    return Trainer(net, Resident(*make_data(), CPU), SETTINGS, seed=5, stream=("test",), **options)  # type: ignore[arg-type]


def test_an_epoch_equals_the_plain_loop_with_the_penalty_in_the_loss() -> None:
    module = make_net().eval()
    module[3].p = 0.0
    plain = copy.deepcopy(module).train()
    net = FlatNet(module, CPU)
    mu, target = 0.3, torch.randn_like(net.w)
    penalty = Penalty(torch.full_like(net.w, mu), target)
    loss = trainer(net).epoch(0.05, penalty)

    inputs, labels = make_data()
    optimizer = torch.optim.SGD(plain.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    total = 0.0
    for index in permutation(50, derive(5, "test", 0)).split(8):
        optimizer.zero_grad()
        cross_entropy = F.cross_entropy(plain(inputs[index]), labels[index])
        distance = sum(
            (parameter - net.view(target, name)).square().sum() for name, parameter in plain.named_parameters()
        )
        (cross_entropy + mu / 2 * distance).backward()
        optimizer.step()
        total += float(cross_entropy.detach()) * len(index)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(net.view(net.w, name), parameter.detach(), rtol=1e-4, atol=1e-6)
    assert loss == pytest.approx(total / 50, rel=1e-5)


@pytest.mark.parametrize("stop_after", [0, 1, 5, 6, 7, 13])
def test_training_stopped_after_any_batch_goes_on_exactly(stop_after: int) -> None:
    whole = FlatNet(make_net(), CPU)
    undisturbed = trainer(whole)
    losses = [undisturbed.epoch(0.05), undisturbed.epoch(0.04)]

    net = FlatNet(make_net(), CPU)
    done = 0

    def stop() -> bool:
        nonlocal done
        done += 1
        return done > stop_after

    stopped = trainer(net, stop=stop)
    with pytest.raises(Interrupted):
        for lr in (0.05, 0.04):
            stopped.epoch(lr)
    torch.rand(3)  # somebody else uses the global generator meanwhile
    resumed = trainer(net)
    resumed.begin(("test",), stopped.position, stopped.momentum.clone())
    again = [resumed.epoch(lr) for lr in (0.05, 0.04)[resumed.position.epoch :]]
    assert torch.equal(net.w, whole.w)
    assert again == losses[-len(again) :]


def test_an_interruption_that_never_comes_changes_nothing() -> None:
    first, second = FlatNet(make_net(), CPU), FlatNet(make_net(), CPU)
    trainer(first).epoch(0.05)
    trainer(second, stop=lambda: False).epoch(0.05)
    assert torch.equal(first.w, second.w)


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    torch.manual_seed(0)
    net = FlatNet(nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4)), CPU)
    told: list[tuple[int, int]] = []
    data = Resident(*make_data(17), CPU)
    batches = Trainer(net, data, SETTINGS, seed=5, stream=("test",), on_batch=lambda *news: told.append(news))
    assert batches.epoch(0.05) > 0
    assert told == [(1, 2), (2, 2)]


def test_frozen_parameters_stay_as_they_are() -> None:
    module = make_net()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    net = FlatNet(module, CPU)
    trainer(net).epoch(0.05)
    assert torch.equal(net.view(net.w, "0.weight"), before)
    assert not torch.equal(net.view(net.w, "4.weight"), module[4].weight)


def test_bfloat16_trains_to_about_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: True)
    exact, rough = FlatNet(make_net(), CPU), FlatNet(make_net(), CPU)
    trainer(exact).epoch(0.05)
    half = SgdSettings(8, 0.9, nesterov=True, weight_decay=1e-3, precision="bfloat16")
    Trainer(rough, Resident(*make_data(), CPU), half, seed=5, stream=("test",)).epoch(0.05)
    assert rough.w.dtype == torch.float32
    assert not torch.equal(exact.w, rough.w)
    assert float((exact.w - rough.w).norm() / exact.w.norm()) < 0.02


def test_streams_differ_by_every_part_of_their_name() -> None:
    seeds = [derive(0), derive(1), derive(0, "l_step", 0, 1), derive(0, "l_step", 1, 0), derive(0, "reference", 0)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_errors_are_exact_to_the_count() -> None:
    class Always(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.one_hot(torch.ones(len(x), dtype=torch.int64), 3).float()

    labels = torch.tensor([1] * 1337 + [0] * 663 + [2] * 7)
    data = Resident(torch.zeros(2007, 1, 2, 2), labels, CPU)
    assert error_of(Always(), data) == 100 * 670 / 2007
    assert error_of(Always(), Resident(torch.zeros(0, 1, 2, 2), labels[:0], CPU)) is None
    assert not math.isnan(error_of(Always(), data) or 0)


def test_batches_whose_order_lies_on_the_device_are_the_same() -> None:
    """What a CUDA graph replays, run operation by operation."""
    nets = [FlatNet(make_net().eval(), CPU) for _ in range(2)]
    ends = []
    for net in nets:
        net.module[3].p = 0.0
        one = trainer(net)
        if net is nets[1]:
            nothing = Augmenting(NOTHING, len(one.data), CPU)
            one.batches = CapturedBatches(one.descent, one.data, [net.module], nothing)
            one.batches.captures = False
        penalty = Penalty(torch.full_like(net.w, 0.1), torch.zeros_like(net.w))
        ends.append([one.epoch(0.05, penalty), one.epoch(0.04, penalty)])
    assert ends[0] == ends[1] and torch.equal(nets[0].w, nets[1].w)
