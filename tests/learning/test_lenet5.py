"""LeNet5's gradient by hand against autograd through the module, in float64 as the judge of both."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lctui.data import load
from lctui.learning.descent import Penalty, SgdSettings
from lctui.learning.gradients import Autograd, gradient_of, stacked_gradient
from lctui.learning.lenet5 import LeNet5Gradient
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.train import Position, Trainer
from lctui.models import LeNet5
from lctui.scheme import Data

CPU = torch.device("cpu")
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))
SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor]:
    """Real images: constant backgrounds make ties in every pooling."""
    data = load(Data(name="mnist_sample", validation=0.0), seed=0, home=tmp_path_factory.mktemp("home"))
    return data.train.inputs, data.train.labels


def make_net(seed: int, device: str = "cpu", classes: int = 10) -> FlatNet:
    torch.manual_seed(seed)
    return FlatNet(LeNet5(classes), torch.device(device))


def in_float64(net: FlatNet, inputs: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Loss and gradient by autograd in float64: [P]."""
    module = copy.deepcopy(net.module).cpu().double()
    for parameter in module.parameters():
        parameter.grad = None
    loss = F.cross_entropy(module(inputs.cpu().double()), labels.cpu())
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None])


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("batch", [1, 37, 256])
def test_loss_and_gradient_are_autograds(digits: tuple[Tensor, Tensor], device: str, batch: int) -> None:
    net = make_net(3, device)
    inputs, labels = digits[0][:batch].to(device), digits[1][:batch].to(device)
    by_hand = gradient_of(net, SHAPE, "float32")
    assert isinstance(by_hand, LeNet5Gradient)
    by_hand(inputs[: batch // 2 + 1], labels[: batch // 2 + 1])  # leaves its numbers in the buffers
    net.grad.fill_(7.0)
    loss = by_hand(inputs, labels)
    wanted_loss, wanted = in_float64(net, inputs, labels)
    assert float(loss) == pytest.approx(wanted_loss, rel=1e-5)
    for name, piece in net.slices.items():
        error = (net.grad[piece].cpu().double() - wanted[piece]).norm()
        # ReLUs and poolings near a tie may fall either way in float32; each moves a share of one image's gradient.
        assert float(error / wanted[piece].norm()) < 1e-4, name


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_nets_in_a_stack_are_as_alone(digits: tuple[Tensor, Tensor], device: str) -> None:
    nets = [make_net(seed, device) for seed in range(3)]
    inputs, labels = digits[0][:50].to(device), digits[1][:50].to(device)
    w = torch.stack([net.w for net in nets])
    grad = torch.full_like(w, 5.0)
    losses = stacked_gradient(nets[0], w, grad, inputs, labels, "float32")(inputs, labels)
    for net, loss, found in zip(nets, losses, grad, strict=True):
        alone = gradient_of(net, SHAPE, "float32")(inputs, labels)
        assert float(loss) == pytest.approx(float(alone), rel=1e-5)
        assert float((found - net.grad).norm() / net.grad.norm()) < 1e-4


def test_all_of_a_windows_gradient_goes_to_the_first_maximum(digits: tuple[Tensor, Tensor]) -> None:
    """On constant images every window is a tie of four, which autograd settles for the first."""
    net = make_net(4)
    inputs, labels = torch.full((9, 1, 28, 28), 0.7), torch.arange(9)
    gradient_of(net, SHAPE, "float32")(inputs, labels)
    found = net.grad.clone()
    Autograd(net, "float32")(inputs, labels)
    assert float((found - net.grad).norm() / net.grad.norm()) < 1e-4


def test_an_epoch_of_the_fast_path_is_one_of_the_plain_path(digits: tuple[Tensor, Tensor]) -> None:
    """Same seed, same batches, on real images: weights within 1e-3, losses within 1e-4 of each other."""
    fast, plain = make_net(5), make_net(5)
    data = Resident(digits[0][:1000], digits[1][:1000], CPU)
    mu = 1e-2
    losses, nets = [], []
    for net in (fast, plain):
        trainer = Trainer(net, data, SgdSettings(64, 0.9, nesterov=True), seed=1)
        if net is plain:
            trainer.descent.gradient = Autograd(net, "float32")
        trainer.begin(("l_step", 0), Position())
        losses.append(trainer.epoch(0.02, Penalty(torch.full_like(net.w, mu), torch.zeros_like(net.w))))
        nets.append(net.w)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert float((nets[0] - nets[1]).norm() / nets[1].norm()) < 1e-3


def test_the_same_epoch_twice_gives_the_same_bits(digits: tuple[Tensor, Tensor]) -> None:
    data, ends = Resident(digits[0][:600], digits[1][:600], CPU), []
    for _ in range(2):
        net = make_net(6)
        trainer = Trainer(net, data, SgdSettings(64, 0.9, nesterov=True), seed=1)
        trainer.begin(("l_step", 0), Position())
        ends.append((trainer.epoch(0.02), net.w.clone()))
    assert ends[0][0] == ends[1][0] and torch.equal(ends[0][1], ends[1][1])


class Louder(LeNet5):
    """Another forward pass than the class whose gradient was written out."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def strided() -> LeNet5:
    net = LeNet5()
    net.conv1 = nn.Conv2d(1, 20, 5, padding=2)
    return net


def padded() -> LeNet5:
    net = LeNet5()
    net.conv1 = type("MyConv", (nn.Conv2d,), {})(1, 20, 5)
    return net


def frozen() -> LeNet5:
    net = LeNet5()
    net.fc1.weight.requires_grad_(False)
    return net


def hooked() -> LeNet5:
    net = LeNet5()
    net.conv2.register_forward_hook(lambda module, inputs, output: output * 2)
    return net


@pytest.mark.parametrize("make", [Louder, strided, padded, frozen, hooked])
def test_what_only_looks_like_lenet5_goes_through_autograd(make: type[nn.Module]) -> None:
    assert isinstance(gradient_of(FlatNet(make(), CPU), SHAPE, "float32"), Autograd)


def test_images_of_another_size_go_through_autograd() -> None:
    assert isinstance(gradient_of(make_net(0), (1, 29, 29), "float32"), Autograd)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_bfloat16_stays_near_float64_while_it_trains(digits: tuple[Tensor, Tensor], device: str) -> None:
    """Measured: loss within 0.0014, gradient within 2.6 %; torch's autocast is 0.5 to 1.2 % off."""
    net = make_net(7, device)
    images, labels = digits[0][:1000].to(device), digits[1][:1000].to(device)
    settings = SgdSettings(64, 0.9, nesterov=True)
    trainer = Trainer(net, Resident(images, labels, net.device), settings, seed=1)
    by_hand = gradient_of(net, SHAPE, "bfloat16")
    assert isinstance(by_hand, LeNet5Gradient) and by_hand.kind == "bfloat16"
    for epoch in range(4):
        wanted_loss, wanted = in_float64(net, images[:256], labels[:256])
        loss = float(by_hand(images[:256], labels[:256]))
        assert loss == pytest.approx(wanted_loss, abs=3e-3) and loss != pytest.approx(wanted_loss, abs=1e-6)
        assert float((net.grad.cpu().double() - wanted).norm() / wanted.norm()) < 0.04
        trainer.begin(("l_step", epoch), Position())
        trainer.epoch(0.05)
