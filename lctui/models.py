"""Nets: the built-in ones, torchvision's, the user's own, and their weights from a file.

Owns turning a scheme's `model` block into a module with weights fixed by the seed, and describing any module by the
torch-free records of `lctui.scheme.net`.  Trains nothing and downloads nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lctui import cifar_nets, layers, scheme, user_code
from lctui.errors import BadInput, nearest, not_one_of
from lctui.input_files import require_weights
from lctui.learning.lenet5 import IMAGE, LeNet5Gradient
from lctui.scheme.net import BUILT_IN_DATA, NetInfo

TORCHVISION = "torchvision:"

_TORCHVISION_DEFAULTS: dict[str, dict[str, Any]] = {
    # Auxiliary classifiers would make the output of these two a tuple in training.
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


class LeNet5(nn.Module):
    """LeNet5 as in Caffe: two convolutions and two linear layers, for images [n, 1, 28, 28]."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        # ReLU is increasing, so it commutes with the maximum; after pooling it has a quarter of the work.
        x = F.relu(F.max_pool2d(self.conv1(x), 2))  # [n, 20, 12, 12]
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # [n, 50, 4, 4]
        return self.fc2(F.relu(self.fc1(x.flatten(1))))

    def gradient_by_hand(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], shape: tuple[int, ...], kind: str
    ) -> LeNet5Gradient | None:
        """What `lctui.learning.gradients` uses in place of autograd, if net and images are what they should be.

        Weights and gradients are [M, …] each.
        """
        with torch.device("meta"):  # draws no random numbers
            original = LeNet5(self.fc2.out_features)
        # What a layer prints holds all that it computes with: strides, padding, the lack of a bias.
        same = str(self) == str(original) and list(map(type, self.children())) == list(map(type, original.children()))
        if not same or shape != IMAGE:
            return None
        return LeNet5Gradient(weights, gradients, kind)


class LeNet300(nn.Module):
    """LeNet300: 784-300-100-classes, fully connected, for images [n, 1, 28, 28]."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


BUILT_IN: dict[str, Callable[..., nn.Module]] = {
    "lenet5": LeNet5,
    "lenet300": LeNet300,
    "resnet20": cifar_nets.resnet20,
    "resnet32": cifar_nets.resnet32,
    "resnet56": cifar_nets.resnet56,
    "vgg16_cifar": cifar_nets.vgg16_cifar,
}
"""Built-in nets by factory name; `lctui.scheme.net` describes the same ones without torch."""


def build(model: scheme.Model, *, seed: int, base: Path | None = None, source: str = "") -> nn.Module:
    """The net of a scheme, on the CPU: initial weights fixed by `seed`, or `model.weights` if it names a file.

    Relative paths start at `base` (default: the current folder).  No global random state changes.

    Raises:
        BadInput: there is no such net, it does not take these arguments, or the weights do not fit it.
    """
    with user_code.seeded(seed):
        net = _make(model, base, source)
    if not isinstance(net, nn.Module):
        raise BadInput.one(source, "model.factory", f"{model.factory} returned {type(net).__name__}, not an nn.Module")
    lazy = next(
        (name for name, p in net.named_parameters() if isinstance(p, nn.parameter.UninitializedParameter)), None
    )
    if lazy is not None:
        problem = f"parameter {lazy!r} is lazy: without a size it has no initial value; give the layer its size"
        raise BadInput.one(source, "model.factory", problem)
    if model.weights is not None:
        load_weights(net, (base or Path.cwd()) / Path(model.weights).expanduser(), source=source)
    return net


def describe(module: nn.Module, example: Tensor | None = None, *, source: str = "") -> NetInfo:
    """The net as layers, shapes and sizes.

    With an `example` batch [n, …] its first element is sent through the net, to count the pixels that each weight is
    used for; without one every layer has one pixel, and they are not `counted`.  Tied weights count once, under the
    first name that they have; so do biases.

    Raises:
        BadInput: the net does not take the example.
    """
    weights = layers.weights(module)
    pixels: Mapping[int, int] = dict.fromkeys((id(weight.value) for weight in weights), 1)
    strips: Mapping[int, int] = {}
    if example is not None:
        pixels, strips = layers.count_pixels(module, lambda: _forward(module, example[:1], source))
    found = tuple(weight.layer(pixels[id(weight.value)], strips.get(id(weight.value))) for weight in weights)
    tensors = {id(value): value for value in module.state_dict(keep_vars=True).values() if isinstance(value, Tensor)}
    values = sum(tensor.numel() for tensor in tensors.values())
    others = values - sum(layer.parameters for layer in found)
    return NetInfo(found, others, biases=layers.biases(weights), counted=example is not None)


def describe_for(module: nn.Module, data: str, *, source: str = "") -> tuple[NetInfo, Tensor | None]:
    """The net as far as it can be known without its data, and an example of these: an empty image of a built-in set.

    Without an example (the data are the user's, or the net does not take such images) pixels are not counted.
    """
    known = BUILT_IN_DATA.get(data)
    if known is not None:
        example = torch.zeros(1, *known.input_shape)
        with suppress(BadInput):
            return describe(module, example, source=source), example
    return describe(module, source=source), None


def load_weights(net: nn.Module, file: Path, *, source: str = "") -> None:
    """Fills the net with the weights in a `.safetensors`, `.pt` or `.pth` file.

    Raises:
        BadInput: the file cannot be read, or its names, shapes or values do not suit the net.
    """
    found = _read_weights(file, source)
    wanted = net.state_dict(keep_vars=True)
    # Of tied weights one name is enough.
    given = {id(tensor) for name, tensor in wanted.items() if name in found}
    missing = [name for name, tensor in wanted.items() if name not in found and id(tensor) not in given]
    unexpected = [name for name in found if name not in wanted]
    for problem, names in (("lacks", missing), ("has unexpected", unexpected)):
        if names:
            raise _unfit(source, file, f"{problem} {_first(names)}{_near(names[0], wanted, found)}")
    shapes = [(name, tensor.shape, wanted[name].shape) for name, tensor in found.items()]
    wrong = [f"{name} is {_shape(has)}, the net's is {_shape(wants)}" for name, has, wants in shapes if has != wants]
    if wrong:
        raise _unfit(source, file, f"has other shapes: {_first(wrong, '; ')}")
    broken = [name for name, tensor in found.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise _unfit(source, file, f"has values that are not finite in {_first(broken)}")
    net.load_state_dict(found, strict=False)


def _make(model: scheme.Model, base: Path | None, source: str) -> Any:
    if model.factory in BUILT_IN:
        return _call_known(BUILT_IN[model.factory], model.factory, model.args, source)
    if model.factory.startswith(TORCHVISION):
        return _make_torchvision(model, source)
    if ":" not in model.factory:
        known = not_one_of(model.factory, BUILT_IN)
        hint = f"{known}, or torchvision:NAME, or module:function of your own"
        raise BadInput.one(source, "model.factory", hint)
    return user_code.call(
        model.factory, model.args, base=base, source=source, path="model.factory", args_path="model.args"
    )


def _make_torchvision(model: scheme.Model, source: str) -> nn.Module:
    from torchvision import models as zoo

    name = model.factory.removeprefix(TORCHVISION)
    names = zoo.list_models(module=zoo)
    if name not in names:
        raise BadInput.one(source, "model.factory", f"torchvision: {not_one_of(name, names)}")
    if model.args.get("weights") is not None:
        rule = "trained weights would be downloaded; leave it out, and name a file of weights in model.weights"
        raise BadInput.one(source, "model.args.weights", rule)
    args = {**_TORCHVISION_DEFAULTS.get(name, {}), **model.args, "weights": None}
    return _call_known(zoo.get_model_builder(name), model.factory, args, source)


def _call_known(factory: Callable[..., nn.Module], name: str, args: Mapping[str, Any], source: str) -> nn.Module:
    user_code.check_arguments(factory, args, name, source=source, path="model.args")
    try:
        return factory(**args)
    except Exception as error:
        problem = f"{name} does not take these arguments: {user_code.one_line(error)}"
        raise BadInput.one(source, "model.args", problem) from error


def _forward(module: nn.Module, example: Tensor, source: str) -> None:
    """One forward pass that leaves no trace: in evaluation mode, without gradients."""
    training = {layer: layer.training for layer in module.modules()}
    like = next(module.parameters(), example)
    example = example.to(like.device, like.dtype if example.is_floating_point() else example.dtype)
    module.eval()
    try:
        with torch.no_grad():
            module(example)
    except Exception as error:
        shape = _shape(example.shape[1:])
        problem = f"the net does not take an input of {shape}: {user_code.one_line(error)}"
        raise BadInput.one(source, "model.factory", problem) from error
    finally:
        for layer, mode in training.items():
            layer.training = mode


def _read_weights(file: Path, source: str) -> dict[str, Tensor]:
    require_weights(file, source)
    try:
        found = _load_tensors(file)
    except Exception as error:
        raise BadInput.one(source, "model.weights", f"cannot read {file}: {user_code.one_line(error)}") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise BadInput.one(source, "model.weights", f"{file} holds no state dict: a mapping of names to tensors")
    return dict(found)


def _load_tensors(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its archive is compressed, as torch never writes it: it could inflate to any size")
    return torch.load(file, map_location="cpu", weights_only=True)


def _unfit(source: str, file: Path, problem: str) -> BadInput:
    return BadInput.one(source, "model.weights", f"{file} {problem}")


def _first(names: list[str], separator: str = ", ") -> str:
    return separator.join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _near(name: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The counterpart that a name without one was most likely meant to have."""
    others = [other for other in {**wanted, **found} if (other in wanted) != (other in found)]
    guess = nearest(name, [other for other in others if other != name and (other in wanted) != (name in wanted)])
    return f"; the {'file' if name in wanted else 'net'} has {guess!r}" if guess else ""


def _shape(shape: torch.Size) -> str:
    return "×".join(map(str, shape)) or "a scalar"
