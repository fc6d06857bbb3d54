"""LeNet5's loss and gradient written out by hand, for M nets at once.

Owns nothing but arithmetic: the same function as the module's forward pass and autograd's backward pass, to float32
rounding, in less time on a CPU.  What is gained: convolution and pooling of the first layer are one product over
6 × 6 patches, the second convolution is multiplied in the frequency domain, a pooling is a tournament of vectors
whose rounds are remembered in place, and no large tensor is allocated.  In bfloat16, all that is large is kept in it.

Layout: positions outside, channels next, the batch innermost, so that every step is a product or a vector operation
over contiguous memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lctui.learning.products import Products
from lctui.learning.spectral import SpectralConvolution

PIXELS, PATCH, KERNEL = 28, 6, 5
IMAGE = (1, PIXELS, PIXELS)
FILTERS1, FILTERS2 = 20, 50
POOLED1, POOLED2 = 12, 4
FACTORS = ("conv1.weight", "conv1.bias", "conv2.bias", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
"""The parameters that meet rounded numbers; of conv2's kernels, their spectra do."""
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class _Tournament:
    """A pooling: the values at a window's four corners, the winners of both first matches, and ReLU(winner + bias)."""

    rounds: tuple[Tensor, ...]
    halves: list[Tensor]
    pooled: Tensor

    def pass_down(self, slope: Tensor) -> None:
        """The slope at the four corners, in place of their values: all of it goes to the first maximum."""
        _hand_down(slope, *self.halves)
        _hand_down(self.halves[0], *self.rounds[:2])
        _hand_down(self.halves[1], *self.rounds[2:])


@dataclass(frozen=True)
class _Pass:
    """A forward pass, as far as the backward pass needs it."""

    patches: Tensor
    outputs1: Tensor
    first: _Tournament
    outputs2: Tensor
    second: _Tournament
    features: Tensor
    hidden: Tensor
    scores: Tensor


class LeNet5Gradient:
    """Mean cross-entropy of M nets, and its gradient.

    Bound to the nets' parameters and gradients by name, each [M, …] and of any strides.  `kind` is the arithmetic of
    its products: "float32", "tf32" or "bfloat16".
    """

    def __init__(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], kind: str) -> None:
        self.weights, self.gradients = weights, gradients
        device = weights["fc1.weight"].device
        self.nets, self.kind = len(weights["fc1.weight"]), kind
        self.products = Products(device, torch.bfloat16 if kind == "bfloat16" else torch.float32)
        self.convolution = SpectralConvolution(POOLED1, (FILTERS2, FILTERS1, KERNEL), self.products)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The losses [M] on inputs [b, 1, 28, 28] with labels [b]; the gradients are replaced."""
        gradients, nets, batch = self.gradients, self.nets, len(labels)
        self.factors = {name: self.products.rounded(name, self.weights[name]) for name in FACTORS}
        passed = self._forward(inputs)
        losses, slope = _cross_entropy(passed.scores.float(), labels)
        slope = self._linear_backward("fc2", passed.hidden, self.products.rounded("scores slope", slope))
        slope = self._linear_backward("fc1", passed.features, _through_relu(slope, passed.hidden))
        second, first = passed.second, passed.first
        slope = _through_relu(_as_pooled(slope, batch), second.pooled)
        torch.sum(slope, (1, 2, 4), dtype=torch.float32, out=gradients["conv2.bias"])
        second.pass_down(slope)
        slope = self.convolution.backward(passed.outputs2.view(nets, -1, FILTERS2 * batch), gradients["conv2.weight"])
        slope = _through_relu(slope.view(first.pooled.shape), first.pooled)
        torch.sum(slope, (1, 3), dtype=torch.float32, out=gradients["conv1.bias"])
        first.pass_down(slope)
        self._first_weights(passed.outputs1, passed.patches, gradients["conv1.weight"])
        return losses

    def _forward(self, inputs: Tensor) -> _Pass:
        weights, nets, batch = self.factors, self.nets, len(inputs)
        patches = self._patches(inputs)
        outputs1 = self._first_products(weights["conv1.weight"], patches)  # [M, 144, 4, 20, b]
        first = self._pool("1", outputs1.unbind(2), weights["conv1.bias"])  # pooled: [M, 144, 20, b]
        fields = first.pooled.view(nets, POOLED1**2, -1)
        outputs2 = self.convolution.forward(self.weights["conv2.weight"], fields, batch)
        outputs2 = outputs2.view(nets, POOLED2, 2, POOLED2, 2, FILTERS2, batch)
        corners2 = tuple(outputs2[:, :, y, :, x] for y, x in CORNERS)
        second = self._pool("2", corners2, weights["conv2.bias"])  # pooled: [M, 4, 4, 50, b]
        features = self._features(second.pooled)  # [M, 800, b]
        hidden = self._linear("hidden", "fc1", features).relu_()
        scores = self._linear("scores", "fc2", hidden)
        return _Pass(patches, outputs1, first, outputs2, second, features, hidden, scores)

    def _patches(self, inputs: Tensor) -> Tensor:
        """The 6 × 6 pixels that each pooled output of the first layer depends on: [144, 36, b]."""
        batch = len(inputs)
        pixels = self.products.room("pixels", PIXELS, PIXELS, batch)
        pixels.view(-1, batch).copy_(inputs.reshape(batch, -1).T)
        windows = pixels.unfold(0, PATCH, 2).unfold(1, PATCH, 2)  # [12, 12, b, 6, 6]
        patches = self.products.room("patches", POOLED1, POOLED1, PATCH, PATCH, batch)
        return patches.copy_(windows.permute(0, 1, 3, 4, 2)).view(POOLED1**2, PATCH**2, batch)

    def _first_products(self, weight: Tensor, patches: Tensor) -> Tensor:
        """The first convolution at the four corners of every pooling window: [M, 144, 4, 20, b]."""
        nets, batch = len(weight), patches.shape[-1]
        corners = self.products.room("corners", nets, len(CORNERS), FILTERS1, PATCH, PATCH)
        for corner, (y, x) in enumerate(CORNERS):  # around a corner's 5 × 5 taps the buffer stays zero
            corners[:, corner, :, y : y + KERNEL, x : x + KERNEL] = weight[:, :, 0]
        outputs = self.products.room("rounds1", nets, POOLED1**2, len(CORNERS) * FILTERS1, batch)
        for taps, out in zip(corners.view(nets, -1, PATCH**2), outputs, strict=True):
            self.products.into(out, taps, patches)
        return outputs.view(nets, POOLED1**2, len(CORNERS), FILTERS1, batch)

    def _first_weights(self, slope: Tensor, patches: Tensor, out: Tensor) -> None:
        nets, batch = len(slope), patches.shape[-1]
        found = self.products.room("corner gradients", nets, POOLED1**2, len(CORNERS) * FILTERS1, PATCH**2)
        for gradient, into in zip(slope.view(nets, POOLED1**2, -1, batch), found, strict=True):
            self.products.into(into, gradient, patches.mT)
        taps = found.sum(1, dtype=torch.float32).view(nets, len(CORNERS), FILTERS1, PATCH, PATCH)
        out.zero_()
        for corner, (y, x) in enumerate(CORNERS):
            out[:, :, 0] += taps[:, corner, :, y : y + KERNEL, x : x + KERNEL]

    def _pool(self, name: str, rounds: tuple[Tensor, ...], bias: Tensor) -> _Tournament:
        """ReLU of the windows' maxima plus bias."""
        shape = rounds[0].shape
        halves = [self.products.room(f"half {name}{i}", *shape) for i in (0, 1)]
        for half, one, other in zip(halves, rounds[::2], rounds[1::2], strict=True):
            torch.maximum(one, other, out=half)
        pooled = torch.maximum(*halves, out=self.products.room(f"pooled {name}", *shape))
        # The bias moves all four alike, and ReLU is increasing: both can wait until a quarter is left.
        pooled.add_(bias.view(len(bias), *[1] * (pooled.dim() - 3), -1, 1)).relu_()
        return _Tournament(rounds, halves, pooled)

    def _features(self, pooled: Tensor) -> Tensor:
        """What the linear layers see: [M, 800, b], channel by channel as `flatten` has it."""
        nets, batch = len(pooled), pooled.shape[-1]
        features = self.products.room("features", nets, FILTERS2, POOLED2, POOLED2, batch)
        return features.copy_(pooled.permute(0, 3, 1, 2, 4)).view(nets, -1, batch)

    def _linear(self, name: str, layer: str, inputs: Tensor) -> Tensor:
        outputs = self.products.make(name, self.factors[f"{layer}.weight"], inputs)
        return outputs.add_(self.factors[f"{layer}.bias"][..., None])

    def _linear_backward(self, layer: str, inputs: Tensor, slope: Tensor) -> Tensor:
        """∂L/∂inputs, given ∂L/∂outputs [M, o, b]."""
        self.products.into(self.gradients[f"{layer}.weight"], slope, inputs.mT)
        torch.sum(slope, 2, dtype=torch.float32, out=self.gradients[f"{layer}.bias"])
        return self.products.make(f"{layer} slope", self.factors[f"{layer}.weight"].mT, slope)


def _cross_entropy(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of scores [M, classes, b]: [M]; and its slope."""
    logs = scores.log_softmax(1)
    truth = labels.expand(len(scores), 1, -1)
    losses = -logs.gather(1, truth).mean((1, 2))
    slope = logs.exp_()
    return losses, slope.scatter_add_(1, truth, slope.new_full((), -1.0).expand(truth.shape)).div_(len(labels))


def _as_pooled(slope: Tensor, batch: int) -> Tensor:
    return slope.view(len(slope), FILTERS2, POOLED2, POOLED2, batch).permute(0, 2, 3, 1, 4)


def _through_relu(slope: Tensor, outputs: Tensor) -> Tensor:
    """The slope before a ReLU, given its outputs; in place."""
    return torch.ops.aten.threshold_backward.grad_input(slope, outputs, 0, grad_input=slope)


def _hand_down(slope: Tensor, one: Tensor, other: Tensor) -> None:
    """Gives a match's slope to its winner (the first of equals): overwrites both with what they get."""
    torch.mul(one.ge_(other), slope, out=one)
    torch.sub(slope, one, out=other)
