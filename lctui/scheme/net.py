"""What a net looks like from outside: its layers, shapes and sizes, without torch.

Owns `NetInfo` and the built-in nets' descriptions, so that schemes are checked and sizes predicted before torch is
loaded.  `lctui.models` builds the modules and describes any other net with the same records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any


def matrix_shape(shape: tuple[int, ...], conv_scheme: str) -> tuple[int, int]:
    """Rows and columns of a weight as a matrix: [n, c, h, w] is n × c·h·w (scheme_1) or n·h × c·w (scheme_2)."""
    if not shape:
        return 1, 1
    rows, *rest = shape
    if conv_scheme == "scheme_2" and len(shape) >= 4:
        return rows * rest[-2], prod(rest) // rest[-2]
    return rows, prod(rest)


BIAS = "bias"
"""The kind of a bias among layers."""


@dataclass(frozen=True)
class Layer:
    """A layer that can be compressed: its weight's shape, and the output pixels each weight is used for.

    Or, of kind `BIAS`, a layer's bias: its name is then that of the tensor, `fc1.bias`.  `blocks` are the groups of a
    grouped convolution; `stored` names the tensor in a state dict where the layer's name does not tell.

    `strip_pixels`: of the two convolutions that low rank with scheme_2 makes of one, the horizontal one's weights are
    used that often: its output is as high as the other side of the layer.  None: as often as the layer's.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    pixels: int = 1
    blocks: int = 1
    stored: str | None = field(default=None, compare=False)
    strip_pixels: int | None = None

    @property
    def is_bias(self) -> bool:
        """Is it a bias?"""
        return self.kind == BIAS

    @property
    def tensor(self) -> str:
        """The name of its tensor in a state dict."""
        return self.stored or (self.name if self.is_bias else f"{self.name}.weight")

    @property
    def is_transposed(self) -> bool:
        """Is its weight [inputs, outputs/groups, …], as that of a transposed convolution?"""
        return self.kind.startswith("ConvTranspose")

    @property
    def parameters(self) -> int:
        """Weights, without biases."""
        return prod(self.shape)

    @property
    def flops(self) -> int:
        """Floating-point operations for one input: 2 for each weight and pixel; a bias counts for nothing."""
        return 0 if self.is_bias else 2 * self.parameters * self.pixels

    @property
    def groups(self) -> int:
        """Filters of a convolution, neurons of a linear layer."""
        return self.shape[0]

    def matrix(self, conv_scheme: str) -> tuple[int, int]:
        """Rows and columns of the weight as a matrix, for low rank."""
        return matrix_shape(self.shape, conv_scheme)


@dataclass(frozen=True)
class NetInfo:
    """A net: its compressible layers, how many other values it has, what goes in and how many classes come out.

    Biases that can be compressed are among the others, and listed.  `counted`: are the layers' pixels those of a real
    input?  If not, nothing can be said of FLOPs.
    """

    layers: tuple[Layer, ...]
    others: int
    input_shape: tuple[int, ...] | None = None
    classes: int | None = None
    biases: tuple[Layer, ...] = ()
    counted: bool = True

    @property
    def parameters(self) -> int:
        """All values of the net, biases and batch-norm included."""
        return sum(layer.parameters for layer in self.layers) + self.others

    @property
    def flops(self) -> int:
        """Floating-point operations of the compressible layers for one input: 2 for each weight and pixel."""
        return sum(layer.flops for layer in self.layers)

    @property
    def compressible(self) -> tuple[Layer, ...]:
        """The layers, each followed by its bias, if that can be compressed."""
        bias_of = {bias.name: bias for bias in self.biases}
        pairs = ((layer, bias_of.get(bias_name(layer.name))) for layer in self.layers)
        return tuple(each for pair in pairs for each in pair if each is not None)

    def layer(self, name: str) -> Layer:
        """The layer or bias of that name."""
        return next(layer for layer in (*self.layers, *self.biases) if layer.name == name)


def bias_name(layer: str) -> str:
    """What a layer's bias is called; the net itself, as a layer, is called nothing."""
    return f"{layer}.{BIAS}" if layer else BIAS


def biases(*layers: Layer) -> tuple[Layer, ...]:
    """One bias for each filter or neuron of these layers."""
    return tuple(Layer(bias_name(layer.name), BIAS, (layer.groups,)) for layer in layers)


def lenet5(classes: int = 10) -> NetInfo:
    """LeNet5 as in Caffe, for 1×28×28 images: 20 and 50 filters of 5×5, 500 hidden units."""
    layers = (
        Layer("conv1", "Conv2d", (20, 1, 5, 5), pixels=24 * 24, strip_pixels=28 * 24),
        Layer("conv2", "Conv2d", (50, 20, 5, 5), pixels=8 * 8, strip_pixels=12 * 8),
        Layer("fc1", "Linear", (500, 800)),
        Layer("fc2", "Linear", (classes, 500)),
    )
    others = 20 + 50 + 500 + classes
    return NetInfo(layers, others, input_shape=(1, 28, 28), classes=classes, biases=biases(*layers))


def lenet300(classes: int = 10) -> NetInfo:
    """LeNet300 for 1×28×28 images: fully connected, 784-300-100-classes."""
    layers = (
        Layer("fc1", "Linear", (300, 784)),
        Layer("fc2", "Linear", (100, 300)),
        Layer("fc3", "Linear", (classes, 100)),
    )
    others = 300 + 100 + classes
    return NetInfo(layers, others, input_shape=(1, 28, 28), classes=classes, biases=biases(*layers))


RESNET_WIDTHS = (16, 32, 64)
"""Channels of the three stages of a CIFAR ResNet; every stage after the first halves height and width."""
VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage of VGG-16; after each, pooling halves height and width."""

_CIFAR_IMAGE = (3, 32, 32)


def resnet20(classes: int = 10) -> NetInfo:
    """ResNet-20 for 3×32×32 images (He et al. 2016): 19 convolutions and a linear layer."""
    return _resnet(3, classes)


def resnet32(classes: int = 10) -> NetInfo:
    """ResNet-32 for 3×32×32 images: 31 convolutions and a linear layer."""
    return _resnet(5, classes)


def resnet56(classes: int = 10) -> NetInfo:
    """ResNet-56 for 3×32×32 images: 55 convolutions and a linear layer."""
    return _resnet(9, classes)


def vgg16_cifar(classes: int = 10) -> NetInfo:
    """VGG-16 for 3×32×32 images: 13 convolutions with batch-norm and one linear layer."""
    channels, side, _ = _CIFAR_IMAGE
    convolutions = []
    for stage, (width, count) in enumerate(VGG16_STAGES, start=1):
        for place in range(1, count + 1):
            convolutions.append(_convolution(f"conv{stage}_{place}", channels, width, side))
            channels = width
        side //= 2
    return _normed(convolutions, channels, classes)


def _resnet(blocks: int, classes: int) -> NetInfo:
    channels, side = RESNET_WIDTHS[0], _CIFAR_IMAGE[-1]
    convolutions = [_convolution("conv1", _CIFAR_IMAGE[0], channels, side)]
    for stage, width in enumerate(RESNET_WIDTHS, start=1):
        before, side = side, side if stage == 1 else side // 2
        for block in range(blocks):
            convolutions.append(_convolution(f"layer{stage}.{block}.conv1", channels, width, side, before))
            before = side
            convolutions.append(_convolution(f"layer{stage}.{block}.conv2", width, width, side))
            channels = width
    return _normed(convolutions, channels, classes)


def _convolution(name: str, inputs: int, outputs: int, side: int, before: int | None = None) -> Layer:
    """3×3, to images of that side, from images of as many pixels or `before`."""
    strips = (side if before is None else before) * side
    return Layer(name, "Conv2d", (outputs, inputs, 3, 3), pixels=side * side, strip_pixels=strips)


def _normed(convolutions: list[Layer], features: int, classes: int) -> NetInfo:
    """Convolutions without bias, a batch-norm after each, and a linear layer."""
    linear = Layer("fc", "Linear", (classes, features))
    # A batch-norm has scale, shift, running mean and variance for each channel, and one count of batches.
    norms = sum(4 * layer.groups + 1 for layer in convolutions)
    return NetInfo(
        (*convolutions, linear), norms + classes, input_shape=_CIFAR_IMAGE, classes=classes, biases=biases(linear)
    )


BUILT_IN: dict[str, Callable[..., NetInfo]] = {
    "lenet5": lenet5,
    "lenet300": lenet300,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet56": resnet56,
    "vgg16_cifar": vgg16_cifar,
}
"""Built-in nets by factory name."""


@dataclass(frozen=True)
class DataInfo:
    """A built-in data set: the shape of an image, and how many classes there are."""

    input_shape: tuple[int, ...]
    classes: int


BUILT_IN_DATA: dict[str, DataInfo] = {
    "mnist": DataInfo((1, 28, 28), 10),
    "fashion_mnist": DataInfo((1, 28, 28), 10),
    "kmnist": DataInfo((1, 28, 28), 10),
    "cifar10": DataInfo((3, 32, 32), 10),
    "mnist_sample": DataInfo((1, 28, 28), 10),
}
"""Built-in data sets by name."""


def describe_built_in(factory: str, args: dict[str, Any]) -> NetInfo | None:
    """The built-in net of that name, or None if the factory is not built in; the arguments must have been checked."""
    build = BUILT_IN.get(factory)
    return None if build is None else build(**args)
