"""Nets for images of 32×32 pixels in three channels, as the literature trains them on CIFAR.

Owns the residual nets of He et al. 2016 (arXiv 1512.03385, §4.2) and VGG-16 with batch-norm.  What they look like from
outside is in `lctui.scheme.net`, without torch.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lctui.scheme.net import RESNET_WIDTHS, VGG16_STAGES


class BasicBlock(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))), [n, inputs, s, s] to [n, width, s/stride, s/stride].

    The shortcut has no parameters (option A): every second pixel, and zeros for the channels that x lacks.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new = stride, width - inputs
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.new:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
        return F.relu(x + residual)


class ResNet(nn.Module):
    """The CIFAR ResNet of 6·blocks + 2 layers, for images [n, 3, 32, 32]: three stages of 16, 32 and 64 channels."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        first, *_ = RESNET_WIDTHS
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        for stage, (inputs, width) in enumerate(pairwise((first, *RESNET_WIDTHS)), start=1):
            strides = [1 if stage == 1 else 2] + [1] * (blocks - 1)
            sizes = [inputs] + [width] * (blocks - 1)
            parts = (BasicBlock(size, width, stride) for size, stride in zip(sizes, strides, strict=True))
            self.add_module(f"layer{stage}", nn.Sequential(*parts))
        self.fc = nn.Linear(RESNET_WIDTHS[-1], classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # [n, 16, 32, 32]
        for stage in range(1, len(RESNET_WIDTHS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))  # of [n, 64, 8, 8]


class Vgg16(nn.Module):
    """VGG-16 for images [n, 3, 32, 32]: 13 convolutions of 3×3 with batch-norm, in five stages, and one linear layer.

    Layers are called as in the paper: conv1_1, conv1_2, conv2_1, …, conv5_3.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        inputs = 3
        for stage, (width, count) in enumerate(VGG16_STAGES, start=1):
            for place in range(1, count + 1):
                self.add_module(f"conv{stage}_{place}", nn.Conv2d(inputs, width, 3, padding=1, bias=False))
                self.add_module(f"bn{stage}_{place}", nn.BatchNorm2d(width))
                inputs = width
        self.fc = nn.Linear(inputs, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        for stage, (_, count) in enumerate(VGG16_STAGES, start=1):
            for place in range(1, count + 1):
                convolution = self.get_submodule(f"conv{stage}_{place}")
                x = F.relu(self.get_submodule(f"bn{stage}_{place}")(convolution(x)))
            x = F.max_pool2d(x, 2)
        return self.fc(x.flatten(1))  # of [n, 512, 1, 1]


def resnet20(classes: int = 10) -> ResNet:
    """ResNet-20: 269,722 parameters for 10 classes."""
    return ResNet(3, classes)


def resnet32(classes: int = 10) -> ResNet:
    """ResNet-32: 464,154 parameters for 10 classes."""
    return ResNet(5, classes)


def resnet56(classes: int = 10) -> ResNet:
    """ResNet-56: 853,018 parameters for 10 classes."""
    return ResNet(9, classes)


def vgg16_cifar(classes: int = 10) -> Vgg16:
    """VGG-16 with batch-norm: 14,724,042 parameters for 10 classes."""
    return Vgg16(classes)


def _initialise(net: nn.Module) -> None:
    """He et al. 2015 (arXiv 1502.01852): weights N(0, 2/fan_in), biases 0."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
