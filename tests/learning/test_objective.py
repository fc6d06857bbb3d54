"""Losses and metrics of one's own in training and evaluation, against formulas and loops written out here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lctui.errors import Diverged, RunFailed
from lctui.learning.descent import SgdSettings
from lctui.learning.ensemble import Ensemble
from lctui.learning.evaluate import Splits, error_of, evaluate
from lctui.learning.gradients import Autograd, gradient_of
from lctui.learning.net import FlatNet
from lctui.learning.objective import LOSSES, METRICS, InFloat32, Loss, Objective
from lctui.learning.resident import Resident
from lctui.learning.train import Position, Trainer, Turn
from lctui.models import LeNet5
from lctui.objectives import check_objective
from lctui.scheme.models import LOSSES as LOSS_NAMES
from lctui.scheme.models import METRICS as METRIC_NAMES
from tests.learning.test_ensemble import assert_alike

CPU = torch.device("cpu")
SETTINGS = SgdSettings(batch_size=8, momentum=0.9, nesterov=True)


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss that no library has under this name."""
    return (outputs - targets).abs().mean()


def per_entry(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs()


def make_data(n: int = 50) -> Resident:
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(n, 6, generator=generator)
    return Resident(inputs, torch.randn(n, 3, generator=generator), CPU)


def make_net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def test_schemes_know_the_names_that_there_are() -> None:
    assert (tuple(LOSSES), tuple(METRICS)) == (LOSS_NAMES, METRIC_NAMES)


@pytest.mark.parametrize("name", ["mse", "own"])
def test_a_linear_nets_gradient_is_the_formula(name: str) -> None:
    torch.manual_seed(0)
    net, x, y = FlatNet(nn.Linear(6, 3, bias=False), CPU), torch.randn(7, 6), torch.randn(7, 3)
    loss = {"mse": LOSSES["mse"], "own": InFloat32(absolute)}[name]
    found = gradient_of(net, (6,), "float32", loss)(x, y)
    residual = (x.double() @ net.w.view(3, 6).double().T) - y
    slope = residual.sign() if name == "own" else 2 * residual
    value = residual.abs() if name == "own" else residual.square()
    torch.testing.assert_close(found.double(), value.mean()[None])
    torch.testing.assert_close(net.grad.double().view(3, 6), slope.T @ x.double() / 21)


def test_a_gradient_by_hand_is_not_taken_for_another_loss() -> None:
    net = FlatNet(LeNet5(), CPU)
    assert isinstance(gradient_of(net, (1, 28, 28), "float32", InFloat32(absolute)), Autograd)
    assert not isinstance(gradient_of(net, (1, 28, 28), "float32"), Autograd)


def test_the_metric_is_a_mean_over_inputs_whatever_the_batches() -> None:
    data, net = make_data(999), make_net(0)
    outputs = net(data.rows).detach().double()
    by_hand = sum(float((outputs[i] - data.labels[i]).abs().mean()) for i in range(len(data))) / len(data)
    objective = Objective(LOSSES["mse"], InFloat32(per_entry))
    assert error_of(net, data, objective) == pytest.approx(by_hand, rel=1e-6)
    splits = Splits(data, Resident(torch.zeros(0, 6), torch.zeros(0, 3), CPU), data, objective)
    errors = evaluate(net, splits)
    assert (errors.train_error_pct, errors.validation_error_pct) == (errors.test_error_pct, None)
    squares = float((outputs - data.labels).square().mean())
    assert error_of(net, data, Objective(metric=METRICS["mse"])) == pytest.approx(squares, rel=1e-6)


def test_a_metric_that_is_no_number_ends_the_run() -> None:
    def nothing(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, 0] / torch.zeros(len(targets))

    with pytest.raises(Diverged, match="the metric is no longer finite"):
        error_of(make_net(0), make_data(), Objective(metric=nothing))


def test_a_metric_that_has_not_a_row_an_input_is_no_number() -> None:
    with pytest.raises(RunFailed, match=r"returned \(3,\) for 50 inputs; it must return a row for each"):
        error_of(make_net(0), make_data(), Objective(metric=lambda outputs, targets: outputs.abs().mean(0)))


def test_a_loss_and_a_metric_may_write_into_their_outputs() -> None:
    def clamped(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.clamp_(-1, 1).sub_(targets).abs_().mean()

    def emptied(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.zero_()[:, 0] + len(targets)

    data, net = make_data(), make_net(0)
    asked = Objective(InFloat32(clamped), InFloat32(emptied))
    assert check_objective(asked, net(data.rows[:2]), data.labels[:2]) == []


def test_broadcasting_is_no_regression() -> None:
    with pytest.raises(ValueError, match=r"an output has \(3,\), a target \(\)"):
        LOSSES["mse"](torch.zeros(4, 3), torch.zeros(4))


@pytest.mark.parametrize("loss", [LOSSES["mse"], InFloat32(absolute)])
def test_nets_train_together_by_another_loss_as_they_do_alone(loss: Loss) -> None:
    data = make_data()

    def trainers() -> list[Trainer]:
        made = [Trainer(FlatNet(make_net(seed), CPU), data, SETTINGS, seed=5, loss=loss) for seed in range(3)]
        for trainer in made:
            trainer.begin(("l_step", 0), Position())
        return made

    alone, together = trainers(), trainers()
    for trainer in alone:
        trainer.epoch(0.05)
    turns = [Turn(trainer, 0.05) for trainer in together]
    crowd = Ensemble(3)
    crowd.train(turns)
    assert [turn.together for turn in turns] == [3, 3, 3]
    assert_alike(together, alone)


def test_a_loss_that_cannot_be_stacked_trains_the_nets_one_by_one_to_the_same() -> None:
    def branching(outputs: Tensor, targets: Tensor) -> Tensor:
        error = (outputs - targets).abs().mean()
        return error if bool(error > 0.5) else error.square()

    def trained(size: int) -> list[Trainer]:
        loss, data = InFloat32(branching), make_data()
        made = [Trainer(FlatNet(make_net(seed), CPU), data, SETTINGS, seed=5, loss=loss) for seed in range(3)]
        turns = [Turn(trainer, 0.05) for trainer in made]
        for trainer in made:
            trainer.begin(("l_step", 0), Position())
        crowd = Ensemble(size)
        while any(turn.outcome is None for turn in turns):
            crowd.train(turns)
        assert [turn.together for turn in turns] == [1, 1, 1]
        return made

    for crowded, alone in zip(trained(3), trained(1), strict=True):
        assert torch.equal(crowded.net.w, alone.net.w) and torch.equal(crowded.momentum, alone.momentum)


def test_nets_of_different_losses_do_not_share_a_stack() -> None:
    data, losses = make_data(), [LOSSES["mse"], InFloat32(absolute)]
    made = [Trainer(FlatNet(make_net(0), CPU), data, SETTINGS, seed=5, loss=loss) for loss in losses]
    turns = [Turn(trainer, 0.05) for trainer in made]
    for trainer in made:
        trainer.begin(("l_step", 0), Position())
    while any(turn.outcome is None for turn in turns):
        Ensemble(2).train(turns)
    assert [turn.together for turn in turns] == [1, 1]
    assert not torch.equal(made[0].net.w, made[1].net.w)


def test_a_function_of_ones_own_gets_float32_under_autocast() -> None:
    seen = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(outputs.dtype)
        return (outputs @ outputs.mT).mean() + targets.mean()

    with torch.autocast("cpu", torch.bfloat16):
        value = InFloat32(loss)(torch.ones(2, 2, dtype=torch.bfloat16), torch.ones(2))
    assert (seen, value.dtype) == ([torch.float32], torch.float32)
