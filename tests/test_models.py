"""Nets: the built-in ones as described, weights fixed by the seed or read from a file, the user's own functions."""

from __future__ import annotations

import random
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lctui import user_code
from lctui.errors import BadInput
from lctui.models import build, describe
from lctui.scheme import Model
from lctui.scheme.net import BUILT_IN

IMAGE = torch.zeros(1, 1, 28, 28)


def problem(error: pytest.ExceptionInfo[BadInput]) -> str:
    assert len(error.value.lines()) == 1
    line = error.value.lines()[0]
    assert "\n" not in line
    return line


def make(factory: str, *, seed: int = 0, base: Path | None = None, file: Any = None, **args: Any) -> nn.Module:
    named = None if file is None else str(file)
    return build(Model(factory=factory, args=args, weights=named), seed=seed, base=base)


@pytest.mark.parametrize("classes", [2, 5, 10])
@pytest.mark.parametrize("factory", ["lenet5", "lenet300"])
def test_built_in_nets_are_what_their_descriptions_say(factory: str, classes: int) -> None:
    found, expected = describe(make(factory, classes=classes), IMAGE), BUILT_IN[factory](classes)
    assert found.layers == expected.layers
    assert found.others == expected.others
    assert make(factory, classes=classes)(IMAGE).shape == (1, classes)


@pytest.mark.parametrize("factory", ["lenet5", "lenet300"])
def test_flops_are_those_that_torch_counts(factory: str) -> None:
    net = make(factory)
    with FlopCounterMode(display=False) as counter:
        net(IMAGE)
    assert describe(net, IMAGE).flops == counter.get_total_flops()


def test_pooling_before_relu_gives_the_textbook_net() -> None:
    net: Any = make("lenet5")
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    x = torch.max_pool2d(torch.relu(net.conv1(images)), 2)
    x = torch.max_pool2d(torch.relu(net.conv2(x)), 2)
    assert torch.equal(net(images), net.fc2(torch.relu(net.fc1(x.flatten(1)))))


def test_the_seed_fixes_the_weights_and_nothing_else_is_touched() -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    first, again, other = (make("lenet300", seed=seed).state_dict() for seed in (7, 7, 2**63 - 1))
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc1.weight"], other["fc1.weight"])


def test_torchvision_nets_come_untrained_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a download was attempted")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    net = make("torchvision:resnet18", num_classes=7)
    info = describe(net, torch.zeros(1, 3, 32, 32))
    assert info.parameters == sum(value.numel() for value in net.state_dict().values())
    assert info.layers[0].name == "conv1"
    assert info.layers[0].pixels == 16 * 16
    assert (info.layers[-1].name, info.layers[-1].kind, info.layers[-1].shape) == ("fc", "Linear", (7, 512))


def test_torchvision_nets_give_one_output_in_training() -> None:
    net = make("torchvision:googlenet", num_classes=3)
    assert isinstance(net.train()(torch.zeros(2, 3, 64, 64)), Tensor)


@pytest.mark.parametrize(
    ("factory", "args", "said"),
    [
        ("lenet4", {}, "model.factory: 'lenet4' is not known; did you mean 'lenet5'?"),
        ("lenet5", {"clases": 3}, "model.args.clases: lenet5 takes no argument 'clases'; did you mean 'classes'?"),
        ("lenet5", {"classes": "a"}, "model.args: lenet5 does not take these arguments: TypeError"),
        ("torchvision:resnet19", {}, "model.factory: torchvision: 'resnet19' is not known; did you mean 'resnet18'?"),
        ("torchvision:resnet18", {"weights": "DEFAULT"}, "model.args.weights: trained weights would be downloaded"),
        ("torchvision:resnet18", {"size": 3}, "model.args: torchvision:resnet18 does not take these arguments"),
        ("no_such_package.nets:net", {}, "model.factory: no module 'no_such_package'"),
        ("json.no_such:net", {}, "model.factory: no module 'json.no_such'"),
        ("json:loadz", {}, "model.factory: json has no 'loadz'; did you mean 'load'?"),
        ("json:decoder", {}, "model.factory: json:decoder is module, not a function"),
        ("json:", {}, "model.factory: 'json:' must be package.module:function"),
        ("json:loads", {"s": "1"}, "model.factory: json:loads returned int, not an nn.Module"),
        ("nets.py:net", {}, "model.factory: cannot read"),
    ],
)
def test_what_cannot_be_built_is_named(tmp_path: Path, factory: str, args: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        make(factory, base=tmp_path, **args)
    assert problem(error).startswith(said)


NETS = """
import torch
from helper_beside_nets import width

def net(classes, depth=1):
    print("this must not reach stdout")
    return torch.nn.Linear(width, classes)

def broken():
    raise RuntimeError("first line\\nsecond line")

def leaves():
    raise SystemExit(3)
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "helper_beside_nets.py").write_text("width = 4\n")
    (tmp_path / "half.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "typo.py").write_text("def net(:\n")
    return tmp_path


def test_a_net_from_a_file(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = make("nets.py:net", base=nets, classes=3)
    assert describe(net).layers[0].shape == (3, 4)
    assert torch.equal(net.weight, make(f"{nets}/nets.py:net", classes=3).weight)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "this must not reach stdout" in captured.err


def test_a_net_from_a_module_in_the_folder(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nets / "nets_found_as_a_module.py").write_text(NETS)
    monkeypatch.chdir(nets)
    assert describe(make("nets_found_as_a_module:net", classes=3)).layers[0].shape == (3, 4)


@pytest.mark.parametrize(
    ("factory", "args", "said"),
    [
        (
            "nets.py:net",
            {},
            "model.args: nets.py:net cannot be called with these arguments: missing a required argument",
        ),
        (
            "nets.py:net",
            {"classes": 1, "dept": 2},
            "model.args.dept: nets.py:net takes no argument 'dept'; did you mean",
        ),
        ("nets.py:nett", {}, "model.factory: nets.py has no 'nett'; did you mean 'net'?"),
        ("nets.py:broken", {}, "model.factory: nets.py:broken: calling it raised RuntimeError: first line second line"),
        ("nets.py:leaves", {}, "model.factory: nets.py:leaves: calling it raised SystemExit: 3"),
        ("half.py:net", {}, "model.factory: half.py:net: importing it raised ModuleNotFoundError: No module named"),
        ("typo.py:net", {}, "model.factory: typo.py:net: importing it raised SyntaxError"),
    ],
)
def test_what_is_wrong_in_a_users_file_is_named(nets: Path, factory: str, args: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        make(factory, base=nets, **args)
    assert problem(error).startswith(said)


def test_an_edited_file_is_another_function(nets: Path) -> None:
    before = user_code.source_digest("nets.py:net", base=nets)
    (nets / "nets.py").write_text(NETS.replace("width, classes", "width + 1, classes"))
    assert user_code.source_digest("nets.py:net", base=nets) != before
    assert describe(make("nets.py:net", base=nets, classes=3)).layers[0].shape == (3, 5)
    assert user_code.source_digest("json:loads") == user_code.source_digest("json:dumps") != ""
    with pytest.raises(BadInput):
        user_code.source_digest("gone.py:net", base=nets)


class Mixed(nn.Module):
    """Every kind of layer, tied weights, a layer used twice, and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.conv = nn.Conv1d(6, 6, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm1d(6)
        self.up = nn.ConvTranspose1d(6, 4, 2, stride=2)
        self.twice = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("kept", torch.zeros(3))
        self.register_buffer("passing", torch.zeros(100), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).transpose(1, 2)  # [n, 6, 5]
        y = self.up(self.norm(self.conv(x)))  # [n, 4, 10]
        y = self.twice(self.twice(y.transpose(1, 2)))
        return self.head(x.transpose(1, 2)).mean(1) + y.sum()


def test_any_net_is_described_and_left_as_it_was() -> None:
    net = Mixed()
    net.norm.eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    info = describe(net, torch.zeros(3, 5, dtype=torch.int64))
    layers = {layer.name: (layer.kind, layer.shape, layer.pixels) for layer in info.layers}
    assert layers == {
        "embed": ("Embedding", (11, 6), 5),  # looked up for free, multiplied by as the head
        "conv": ("Conv1d", (6, 3, 3), 5),
        "up": ("ConvTranspose1d", (6, 4, 2), 5),
        "twice": ("Linear", (4, 4), 20),
    }
    # Biases of conv and up, weight and bias and two running statistics of norm, its counter, and the kept buffer.
    assert info.others == 6 + 4 + 4 * 6 + 1 + 3
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert net.training
    assert not net.norm.training
    assert not net.conv._forward_hooks


def test_flops_of_transposed_and_grouped_convolutions() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, groups=2), nn.ConvTranspose2d(8, 6, 3, stride=2), nn.Flatten())
    image = torch.zeros(1, 4, 9, 11)
    with FlopCounterMode(display=False) as counter:
        net(image)
    assert describe(net, image).flops == counter.get_total_flops()


def test_without_an_example_a_layer_has_one_pixel() -> None:
    assert {layer.pixels for layer in describe(make("lenet5")).layers} == {1}


def test_an_example_that_the_net_does_not_take() -> None:
    with pytest.raises(BadInput) as error:
        describe(make("lenet5"), torch.zeros(1, 3, 32, 32))
    assert problem(error).startswith("model.factory: the net does not take an input of 3×32×32: RuntimeError")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    state = make("lenet300", seed=5).state_dict()
    file = tmp_path / f"trained{suffix}"
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state} if suffix == ".pth" else state, file)
    loaded = make("lenet300", file=file.name, base=tmp_path).state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_one_name_of_tied_weights_is_enough(nets: Path) -> None:
    (nets / "tied.py").write_text(
        "import torch\ndef net():\n    a, b = torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False)\n"
        "    b.weight = a.weight\n    return torch.nn.Sequential(a, b)\n"
    )
    save_file({"1.weight": torch.eye(3)}, nets / "tied.safetensors")
    net = make("tied.py:net", base=nets, file="tied.safetensors")
    assert torch.equal(net.state_dict()["0.weight"], torch.eye(3))


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("fc1", "fcl"): value for name, value in state.items()}


def reshaped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros(2, 3) for name in state}


def not_finite(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value / 0 if name == "fc2.bias" else value for name, value in state.items()}


def more(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "fc9.bias": torch.zeros(1)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed, "lacks fc1.weight, fc1.bias; the file has 'fcl.weight'"),
        (more, "has unexpected fc9.bias"),
        (
            reshaped,
            "has other shapes: fc1.bias is 2×3, the net's is 300; fc1.weight is 2×3, the net's is 300×784; "
            "fc2.bias is 2×3, the net's is 100 and 3 more",
        ),
        (not_finite, "has values that are not finite in fc2.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: Any, said: str) -> None:
    file = tmp_path / "other.safetensors"
    save_file(change(dict(make("lenet300").state_dict())), file)
    with pytest.raises(BadInput) as error:
        make("lenet300", file=file)
    assert problem(error) == f"model.weights: {file} {said}"


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("owned").touch, ())

    for name, said in {
        "gone.safetensors": "no file",
        "notes.txt": "must be a .safetensors, .pt or .pth file",
        "torn.safetensors": "cannot read",
        "torn.pt": "cannot read",
        "hostile.pt": "cannot read",
        "list.pt": "holds no state dict",
    }.items():
        file = tmp_path / name
        if name.startswith(("torn", "notes")):
            file.write_bytes(b"\x10torn")
        elif name == "hostile.pt":
            torch.save(Hostile(), file)
        elif name == "list.pt":
            torch.save([torch.zeros(1)], file)
        with pytest.raises(BadInput) as error:
            make("lenet300", file=file)
        assert problem(error).startswith("model.weights: ")
        assert said in problem(error)
    assert not (tmp_path / "owned").exists()
