"""A net as one vector: views, ties, and the caller's module left alone."""

from __future__ import annotations

import torch
from torch import nn

from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident

CPU = torch.device("cpu")


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4))


def test_parameters_are_views_into_w() -> None:
    net = FlatNet(make(), CPU)
    net.w.zero_()
    assert all(not parameter.any() for parameter in net.module.parameters())
    assert net.w.numel() == sum(parameter.numel() for parameter in net.module.parameters())


def test_gradients_gather_in_grad() -> None:
    module = make()
    net = FlatNet(module, CPU)
    inputs = torch.randn(5, 2, 4, 4)
    net.module(inputs).square().sum().backward()
    module(inputs).square().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(net.view(net.grad, name), parameter.grad)


def test_the_callers_module_stays_as_it_was() -> None:
    module = make()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    net = FlatNet(module, CPU)
    net.w.add_(1)
    net.module(torch.randn(2, 2, 4, 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_tied_weights_stand_once_and_stay_tied() -> None:
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    module[1].weight = module[0].weight
    net = FlatNet(module, CPU)
    assert net.w.numel() == 16
    state = net.state()
    assert state["0.weight"] is state["1.weight"]


def test_state_round_trip_keeps_the_views() -> None:
    net, other = FlatNet(make(), CPU), FlatNet(make(), CPU)
    other.w.normal_()
    net.load_state(other.state())
    assert torch.equal(net.w, other.w)
    net.w.zero_()
    assert not net.module[3].weight.any()


def test_batches_hold_the_images_that_were_asked_for() -> None:
    inputs, labels = torch.randn(7, 3, 4, 5), torch.arange(7)
    data = Resident(inputs, labels, CPU)
    batch, truth = data.batch(torch.tensor([6, 0, 3]))
    assert torch.equal(batch, inputs[[6, 0, 3]])
    assert torch.equal(truth, torch.tensor([6, 0, 3]))
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_batches_in_order_are_the_whole_data() -> None:
    inputs, labels = torch.randn(7, 3, 4, 5), torch.arange(7)
    batches = list(Resident(inputs, labels, CPU).in_order(3))
    assert [len(truth) for _, truth in batches] == [3, 3, 1]
    assert torch.equal(torch.cat([batch for batch, _ in batches]), inputs)


def test_data_that_are_no_images_keep_their_shape() -> None:
    inputs = torch.randn(4, 6, 2)
    batch, _ = Resident(inputs, torch.zeros(4, dtype=torch.int64), CPU).batch(torch.tensor([2]))
    assert torch.equal(batch, inputs[2:3])
