"""Nets without the channels that do nothing: narrower, and they compute what they did."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lctui.export.narrow import Narrowed, narrow


def prepared(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in evaluation mode, its batch-norms as after some training."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                tensor.data.uniform_(low, low + 1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return net.eval().requires_grad_(False)


def zero(net: nn.Module, **rows: object) -> nn.Module:
    """The net with these rows of layers' weights zero; `__` stands for a dot."""
    for name, places in rows.items():
        net.get_submodule(name.replace("__", ".")).weight.data[places] = 0
    return net


def narrowed(net: nn.Module, inputs: Tensor) -> Narrowed:
    """The net narrowed, once its outputs are known to be the same, and it to have stayed as it was."""
    before = copy.deepcopy(net.state_dict())
    made = narrow(net, inputs[:2])
    with torch.no_grad():
        wanted, found = net(inputs), made.module(inputs)
    assert float((wanted - found).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    return made


def shapes(made: Narrowed) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights, by layer."""
    return {
        name.removesuffix(".weight"): tuple(tensor.shape)
        for name, tensor in made.module.state_dict().items()
        if name.endswith("weight") and tensor.dim() > 1
    }


def test_a_filter_goes_with_its_block_of_columns() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 4)
    )
    made = narrowed(prepared(zero(net, **{"0": [1, 4, 5]})), torch.randn(5, 3, 8, 8))
    assert shapes(made) == {"0": (3, 3, 3, 3), "5": (4, 27)}
    assert made.module.get_submodule("1").num_features == 3
    assert made.notes == ("0: 3 of 6 filters left",)
    assert made.widths == {"0": (3, 3), "5": (27, 4)}


@pytest.mark.parametrize("padding", [0, 1, "same"])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
def test_a_constant_within_zeros_has_one_channel_that_stands_for_all(padding: int | str, mode: str) -> None:
    torch.manual_seed(1)
    second = nn.Conv2d(8, 5, 3, padding=padding, padding_mode=mode, bias=False)
    net = prepared(nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), second))
    made = narrowed(zero(net, **{"0": [0, 2, 3, 7]}), torch.randn(4, 2, 9, 7))
    stays = 5 if padding and mode == "zeros" else 4
    assert shapes(made)["3"] == (5, stays, 3, 3)
    assert not any("zeros stay" in line for line in made.notes)


def test_zero_constants_need_no_stand_in() -> None:
    torch.manual_seed(1)
    first = nn.Conv2d(2, 8, 3)
    first.bias.data = -first.bias.data.abs()
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(8, 5, 3, padding=1))
    made = narrowed(zero(net, **{"0": [0, 2, 3, 7]}).eval(), torch.randn(4, 2, 9, 7))
    assert shapes(made) == {"0": (4, 2, 3, 3), "2": (5, 4, 3, 3)}


def test_what_nobody_reads_goes_and_so_on_upwards() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3)).eval()
    net[4].weight.data[:, [1, 2]] = 0  # neurons that nobody reads
    net[2].weight.data[[0, 3, 4, 5, 6], 5] = 0  # read by those alone
    made = narrowed(net, torch.randn(9, 6))
    assert shapes(made) == {"0": (7, 6), "2": (5, 7), "4": (3, 5)}


def test_a_layer_of_zeros_keeps_one_output() -> None:
    torch.manual_seed(2)
    net = zero(nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3)), **{"0": slice(None)}).eval()
    made = narrowed(net, torch.randn(9, 6))
    assert shapes(made) == {"0": (1, 6), "2": (3, 1)}


class Residual(nn.Module):
    """Two branches that are added, and a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.norm, self.last = nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.a(x))
        y += self.b(x)
        return self.last(F.relu(y)).mean((2, 3))


def test_summands_go_together_or_stay() -> None:
    torch.manual_seed(3)
    made = narrowed(zero(prepared(Residual()), a=[0, 1, 2], b=[1, 2, 5]), torch.randn(4, 3, 6, 6))
    assert shapes(made) == {"a": (4, 3, 3, 3), "b": (4, 3, 1, 1), "last": (4, 4, 1, 1)}
    assert "a: 1 filters of zeros stay: what is read of them is not constant, or nothing else is" in made.notes


class Many(nn.Module):
    """Concatenation, a gate, depthwise convolution, a view by a number, a mean, and a sum with a number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.each = nn.Conv2d(10, 10, 3, stride=2, padding=1, groups=10)
        self.squeeze, self.excite = nn.Conv2d(10, 3, 1), nn.Conv2d(3, 10, 1)
        self.last = nn.Linear(90, 7)
        self.end = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.a(x), F.relu(self.b(x))], 1)
        x = self.each(x) + 0
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = x * gate
        return self.end(F.dropout(1 - self.last(x.view(x.size(0), 90)), 0.5, self.training))


def test_concatenations_gates_and_depthwise_filters() -> None:
    torch.manual_seed(4)
    net = zero(Many().eval(), a=[0], b=[1, 2], each=[0, 5, 6, 8], squeeze=[1], last=[2, 3])
    net.a.bias.data[0] = net.b.bias.data[[1, 2]] = 0
    net.each.bias.data[[0, 5, 6, 8]] = 0
    made = narrowed(net, torch.randn(4, 3, 6, 6))
    assert shapes(made) == {
        "a": (3, 3, 3, 3),
        "b": (3, 3, 3, 3),
        "each": (6, 1, 3, 3),
        "squeeze": (2, 6, 1, 1),
        "excite": (6, 2, 1, 1),
        "last": (5, 54),
        "end": (3, 5),
    }


class Attention(nn.Module):
    """What is not understood: attention, a layer called twice, a weight read aside or tied, groups, chance."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.grouped = nn.Conv1d(8, 8, 1, groups=2)
        self.norm = nn.LayerNorm(8)
        self.second = nn.Linear(8, 8)
        if kind == "tied":
            self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.kind == "attention":
            x = self.attention(x[:, None], x[:, None], x[:, None], need_weights=False)[0].squeeze(1)
        if self.kind == "twice":
            x = self.first(x)
        if self.kind == "aside":
            x = x + self.first.weight.sum()
        if self.kind == "groups":
            x = self.grouped(x[:, :, None])[:, :, 0]
        if self.kind == "tied":
            x = self.second(x)
        if self.kind == "norm":
            x = self.norm(x)
        if self.kind == "random":
            x = x + F.dropout(torch.zeros_like(x), 0.5)
        return self.last(x)


@pytest.mark.parametrize("kind", ["attention", "twice", "aside", "groups", "tied", "norm", "random"])
def test_what_is_not_understood_stays(kind: str) -> None:
    torch.manual_seed(5)
    net = zero(Attention(kind).eval(), first=[1, 2])
    made = narrowed(net, torch.randn(4, 8))
    assert made.module is net
    assert not any("left" in line for line in made.notes)


def test_a_hook_pins_its_layer() -> None:
    net = zero(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval(), **{"0": [1, 2]})
    net[0].register_forward_hook(lambda layer, inputs, output: output + 1)
    assert narrowed(net, torch.randn(3, 4)).module is net


class TwoReaders(nn.Module):
    """Two convolutions that pad with zeros and read the same channels, one of them through ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 5, 1)
        self.a, self.b = nn.Conv2d(5, 3, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.cat([self.a(F.relu(x)), self.b(x)], 1)


def test_readers_have_one_channel_to_stand_for_all() -> None:
    torch.manual_seed(8)
    net = zero(TwoReaders().eval(), first=[0, 1])
    net.first.bias.data[:2] = torch.tensor([1.0, -1.5])  # the second is larger, and nothing behind ReLU
    made = narrowed(net, torch.randn(3, 2, 5, 5))
    assert shapes(made) == {"first": (4, 2, 1, 1), "a": (3, 4, 3, 3), "b": (3, 4, 3, 3)}


class InPlace(nn.Module):
    """Values that are overwritten and then used under their old names."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = F.relu_(x) + 1
        z = self.b(y)
        z.mul_(2)
        return self.c(torch.cat([x, z.sigmoid_()], dim=-1))


def test_what_is_overwritten_is_known_as_what_it_is_then() -> None:
    torch.manual_seed(7)
    net = zero(InPlace().eval(), a=[0, 1, 2], b=[4, 5])
    net.a.bias.data[:3] = torch.tensor([-1.0, 0.5, -2.0])
    made = narrowed(net, torch.randn(5, 4))
    assert shapes(made) == {"a": (3, 4), "b": (4, 3), "c": (3, 7)}


class Words(nn.Module):
    """Whole numbers in, by an embedding that is not understood."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.a, self.b = nn.Embedding(5, 4), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(self.words(x).mean(1))))


def test_a_net_of_words() -> None:
    torch.manual_seed(6)
    net = zero(Words().eval(), a=[1, 2])
    made = narrowed(net, torch.randint(5, (3, 7)))
    assert shapes(made) == {"words": (5, 4), "a": (4, 4), "b": (2, 4)}


class Halves(nn.Module):
    """What a call of unknown kind returns is concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.cat(torch.chunk(self.b(F.relu(self.a(x))), 2, 1), 1))


def test_a_concatenation_of_pieces_that_are_not_listed_stays() -> None:
    torch.manual_seed(8)
    made = narrowed(zero(Halves().eval(), a=[3], b=[0, 1]), torch.randn(3, 4))
    assert shapes(made) == {"a": (5, 4), "b": (6, 5), "c": (2, 6)}
    assert any(line.startswith("b: 2 neurons of zeros stay") for line in made.notes)


class Branching(nn.Module):
    """Code that depends on numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x if x.sum() > 0 else -x)


def test_a_net_that_cannot_be_traced_stays() -> None:
    net = zero(Branching().eval(), a=[1, 2])
    made = narrowed(net, torch.randn(3, 4))
    assert made.module is net
    (line,) = made.notes
    assert line.startswith("not narrowed: its code cannot be followed: TraceError: ")


def test_a_dense_net_is_left_alone() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    assert narrow(net, torch.randn(3, 4)) == Narrowed(net)


ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU, nn.GELU, nn.Sigmoid, nn.Hardswish, lambda: nn.ReLU(inplace=True), nn.LeakyReLU, nn.Dropout
]  # fmt: skip


@st.composite
def small_nets(draw: st.DrawFn) -> tuple[nn.Module, int]:
    """A net of random blocks with rows and columns of zeros, and its input's channels."""
    torch.manual_seed(draw(st.integers(0, 999)))
    channels = start = draw(st.integers(1, 3))
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.integers(2, 7))
        kernel, padding = draw(st.sampled_from([(3, 1), (1, 0), (3, 0), (2, 1), (3, 2)]))
        mode = draw(st.sampled_from(["zeros", "zeros", "replicate"]))
        stride, bias = draw(st.integers(1, 2)), draw(st.booleans())
        layers.append(nn.Conv2d(channels, width, kernel, stride, padding, bias=bias, padding_mode=mode))
        if draw(st.booleans()):
            layers.append(nn.BatchNorm2d(width))
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
        layers.append(draw(st.sampled_from([nn.Identity(), nn.MaxPool2d(2, 1, 1), nn.AvgPool2d(2, 1, 1)])))
        if draw(st.booleans()):
            layers.append(nn.Conv2d(width, width, 3, padding=1, groups=width))
        channels = width
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 5), nn.ReLU(), nn.Linear(5, 3)]
    net = prepared(nn.Sequential(*layers), draw(st.integers(0, 9)))
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            gone = torch.rand(len(layer.weight)) < draw(st.sampled_from([0, 0.3, 0.7]))
            layer.weight.data[gone] = 0
            layer.weight.data[:, torch.rand(layer.weight.shape[1]) < draw(st.sampled_from([0, 0.3]))] = 0
    return net, start


@settings(max_examples=40)
@given(small_nets())
def test_random_nets_compute_what_they_did(drawn: tuple[nn.Module, int]) -> None:
    net, channels = drawn
    made = narrowed(net, torch.randn(3, channels, 25, 21))
    assert not any("something else" in line or "followed" in line for line in made.notes), made.notes


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "efficientnet_b0"])
def test_nets_of_the_zoo(name: str) -> None:
    torch.manual_seed(0)
    net = prepared(torchvision.models.get_model(name, num_classes=10))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data[torch.rand(len(module.weight)) < 0.5] = 0
    made = narrowed(net, torch.randn(2, 3, 64, 64))
    before, after = (sum(map(Tensor.numel, each.state_dict().values())) for each in (net, made.module))
    assert after < 0.7 * before, made.notes
