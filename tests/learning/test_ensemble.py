"""Nets that train together against the same nets alone: same batches, same numbers, and none tied to the others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lctui.errors import Interrupted
from lctui.learning import ensemble as module
from lctui.learning import precision
from lctui.learning.descent import Penalty, SgdSettings
from lctui.learning.ensemble import Ensemble
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.train import Position, Trainer, Turn

SETTINGS = SgdSettings(batch_size=8, momentum=0.9, nesterov=True)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def make_module(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))


def make_data(device: str = "cpu") -> Resident:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(50, 1, 6, 6, generator=generator)
    return Resident(inputs, torch.randint(0, 3, (50,), generator=generator), torch.device(device))


def make_trainers(data: Resident, count: int = 3, make: object = make_module, **options: object) -> list[Trainer]:
    device = data.labels.device
    nets = [FlatNet(make(seed), device) for seed in range(count)]  # type: ignore[operator]
    trainers = [Trainer(net, data, SETTINGS, seed=5, **options) for net in nets]  # type: ignore[arg-type]
    for trainer in trainers:
        trainer.begin(("l_step", 0), Position())
    return trainers


def turns_of(trainers: list[Trainer]) -> list[Turn]:
    """One epoch of each, with a learning rate and a penalty of its own."""
    return [
        Turn(trainer, 0.02 * (i + 1), Penalty(torch.full_like(trainer.net.w, 0.1 * i), trainer.net.w.clone()))
        for i, trainer in enumerate(trainers)
    ]


def assert_alike(found: list[Trainer], wanted: list[Trainer]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.net.w, other.net.w, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.momentum, other.momentum, rtol=1e-3, atol=1e-4)
        assert one.position == other.position


@pytest.mark.parametrize("device", DEVICES)
def test_nets_train_together_as_they_do_alone(device: str) -> None:
    data = make_data(device)
    alone, together = make_trainers(data), make_trainers(data)
    ensemble = Ensemble(99)
    for _ in range(2):
        turns = turns_of(together)
        ensemble.train(turns)
        assert [turn.together for turn in turns] == [3, 3, 3]
        losses = [turn.loss() for turn in turns_of(alone)]
        assert [turn.loss() for turn in turns] == pytest.approx(losses, rel=1e-4)
    assert_alike(together, alone)


def test_more_nets_than_fit_take_turns() -> None:
    data = make_data()
    alone, together = make_trainers(data, 5), make_trainers(data, 5)
    turns = turns_of(together)
    Ensemble(2).train(turns)
    assert [turn.together for turn in turns] == [2, 2, 2, 2, 1]
    for turn in turns_of(alone):
        turn.loss()
    assert_alike(together, alone)


@pytest.mark.parametrize("after", [0, 3, 6])
def test_one_that_is_stopped_leaves_after_the_batch_and_the_others_go_on(after: int) -> None:
    data = make_data()
    alone, together = make_trainers(data), make_trainers(data)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    together[1].stop = stop
    turns = turns_of(together)
    ensemble = Ensemble(99)
    while any(turn.outcome is None for turn in turns):
        ensemble.train(turns)
    losses = [turn.loss() for turn in turns_of(alone)]
    with pytest.raises(Interrupted):
        turns[1].loss()
    assert together[1].position.batch == after
    assert [turns[0].loss(), turns[2].loss()] == pytest.approx([losses[0], losses[2]], rel=1e-4)
    together[1].stop = lambda: False
    again = turns_of(together)[1]
    again.penalty = turns[1].penalty
    assert again.loss() == pytest.approx(losses[1], rel=1e-4)
    assert_alike(together, alone)


def test_who_is_behind_trains_first_until_all_are_abreast() -> None:
    data = make_data()
    trainers = make_trainers(data)
    trainers[1].begin(("l_step", 1), Position(epoch=1))
    trainers[2].begin(("l_step", 0), Position(epoch=1))
    turns = turns_of(trainers)
    ensemble = Ensemble(99)
    ensemble.train(turns)
    assert [turn.outcome is None for turn in turns] == [False, True, True]
    turns[0] = turns_of(trainers)[0]
    ensemble.train(turns)
    assert [turn.together for turn in turns] == [2, 1, 2]
    assert [turn.outcome is None for turn in turns] == [False, True, False]


def frozen(seed: int) -> nn.Sequential:
    module = make_module(seed)
    module[0].requires_grad_(False)
    return module


def test_frozen_weights_with_a_penalty_go_the_same_way_in_a_stack() -> None:
    data = make_data()
    alone, together = make_trainers(data, make=frozen), make_trainers(data, make=frozen)
    ensemble = Ensemble(99)
    for _ in range(3):
        turns = turns_of(together)
        ensemble.train(turns)
        assert [turn.together for turn in turns] == [3, 3, 3]
        for turn in turns_of(alone):
            turn.loss()
    assert_alike(together, alone)


def test_bfloat16_nets_train_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: True)
    data = make_data()
    half = SgdSettings(8, 0.9, nesterov=True, precision="bfloat16")
    trainers = [Trainer(FlatNet(make_module(seed), torch.device("cpu")), data, half, seed=5) for seed in range(2)]
    turns = turns_of(trainers)
    Ensemble(99).train(turns)
    assert [turn.together for turn in turns] == [2, 2]


def with_dropout(seed: int) -> nn.Module:
    """As a run gets it: checked, and so in evaluation mode."""
    return nn.Sequential(*make_module(seed), nn.Dropout(0.5)).eval()


class OwnNoise(nn.Sequential):
    """Randomness that cannot be seen from outside."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = super().forward(x)
        return x + torch.randn_like(x) if self.training else x


def with_noise(seed: int) -> nn.Module:
    return OwnNoise(*make_module(seed)).eval()


def with_statistics(seed: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(1), *make_module(seed))


class Asking(nn.Sequential):
    """A net whose course depends on a number it asks for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = super().forward(x)
        return x * 2 if float(x.detach().sum()) > 0 else x


def asking(seed: int) -> nn.Sequential:
    return Asking(*make_module(seed))


@pytest.mark.parametrize("make", [with_dropout, with_noise, with_statistics, asking])
def test_nets_that_cannot_be_stacked_train_one_by_one(make: object) -> None:
    data = make_data()
    alone, together = make_trainers(data, make=make), make_trainers(data, make=make)
    turns = turns_of(together)
    Ensemble(99).train(turns)
    assert [turn.together for turn in turns] == [1, 1, 1]
    for turn in turns_of(alone):
        turn.loss()
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one.net.w, other.net.w)


def test_a_stack_that_runs_out_of_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data()
    alone, together = make_trainers(data, 5), make_trainers(data, 5)
    real, tried = module._Stack, []

    def small(trainers: list[Trainer]) -> object:
        tried.append(len(trainers))
        if len(trainers) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return real(trainers)

    monkeypatch.setattr(module, "_Stack", small)
    turns = turns_of(together)
    Ensemble(99).train(turns)
    assert tried == [5, 2]
    for turn in turns_of(alone):
        turn.loss()
    assert_alike(together, alone)


def test_groups_of_one_size_share_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data()
    real, made = module._Stack, []

    def counted(trainers: list[Trainer]) -> object:
        made.append(len(trainers))
        return real(trainers)

    monkeypatch.setattr(module, "_Stack", counted)
    alone, together = make_trainers(data, 4), make_trainers(data, 4)
    ensemble = Ensemble(2)
    for _ in range(2):
        ensemble.train(turns_of(together))
        for turn in turns_of(alone):
            turn.loss()
    assert made == [2]
    assert_alike(together, alone)


def test_one_that_fails_alone_keeps_nobody_from_training() -> None:
    data = make_data()
    trainers = make_trainers(data, 2, make=with_dropout)

    def fail(done: int, total: int) -> None:
        raise RuntimeError("mine alone")

    trainers[0].on_batch = fail
    turns = turns_of(trainers)
    Ensemble(99).train(turns)
    with pytest.raises(RuntimeError, match="mine alone"):
        turns[0].loss()
    assert turns[1].loss() > 0
