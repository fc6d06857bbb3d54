"""Convolutions as products of spectra: Y = W ⋆ X costs one small matrix product a frequency.

Owns the real Fourier transform of n × n fields as one matrix, and the three products that a convolution's training
needs (outputs, gradient of the inputs, gradient of the kernels), for several nets at once.  Everything is a matrix
product over contiguous tensors, so that it runs at the speed of those on any device.  Knows no nets and no losses.

Fields are n × n and periodic: a kernel of k × k then has n − k + 1 valid outputs a side that no period touches.  Of
the n² frequencies of a real field those that are each other's conjugates count once; each is a pair of rows, the real
and the imaginary part (which is zero for the few frequencies that are their own conjugates).

Layout, innermost last: [nets, frequency, 2, channels, batch].  Rounding is that of a sum of n² products, as in a direct
convolution: there is no cancellation as in Winograd's transforms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lctui.learning.products import Products


@dataclass(frozen=True)
class Spectrum:
    """The transforms between positions and the F frequencies of an n × n field, for kernels of k × k."""

    forward: Tensor
    """[2F, n²]: positions to frequencies."""
    inverse: Tensor
    """[n², 2F]: frequencies to positions."""
    to_outputs: Tensor
    """[(n − k + 1)², 2F]: frequencies to the valid outputs."""
    from_outputs: Tensor
    """[2F, (n − k + 1)²]: valid outputs to frequencies."""
    from_kernel: Tensor
    """[2F, k²]: a kernel to its frequencies."""
    to_kernel: Tensor
    """[k², 2F]: frequencies to a kernel's gradient."""

    @classmethod
    def of(cls, n: int, k: int, device: torch.device) -> Spectrum:
        """The transforms as float32, computed in float64."""
        kept = [(y, x) for y in range(n) for x in range(n) if (y, x) <= (-y % n, -x % n)]
        position = torch.cartesian_prod(torch.arange(n), torch.arange(n))  # [n², 2]
        # Whole numbers modulo n keep the angles exact.
        angle = (position @ torch.tensor(kept).T % n).double() * (2 * math.pi / n)  # [n², F]
        alone = torch.tensor([(y, x) == (-y % n, -x % n) for y, x in kept])
        parts = torch.stack([angle.cos(), torch.where(alone, 0.0, -angle.sin())], dim=-1)  # [n², F, 2]
        share = torch.where(alone, 1.0, 2.0)[:, None] / n**2  # a conjugate that is left out counts here
        forward = parts.reshape(n * n, -1).T
        inverse = (parts * share).reshape(n * n, -1)
        side = torch.arange(n * n).view(n, n)
        outputs, kernel = side[: n - k + 1, : n - k + 1].reshape(-1), side[:k, :k].reshape(-1)
        every = (forward, inverse, inverse[outputs], forward[:, outputs], forward[:, kernel], inverse[kernel])
        return cls(*(matrix.float().contiguous().to(device) for matrix in every))


class SpectralConvolution:
    """Y = W ⋆ X without bias, for M nets: valid cross-correlation, as convolutional layers have it.

    W: [M, o, c, k, k], X: [M, n², c·b], Y: [M, (n − k + 1)², o·b], with b inputs innermost.
    """

    def __init__(self, n: int, shape: tuple[int, int, int], products: Products, device: torch.device) -> None:
        """`shape` is (o, c, k)."""
        self.outputs, self.channels, self.kernel = shape
        self.spectrum = Spectrum.of(n, self.kernel, device)
        self.frequencies = len(self.spectrum.forward) // 2
        self.products = products

    def forward(self, weight: Tensor, fields: Tensor, batch: int) -> Tensor:
        """Y; remembers the spectra of W and X for the gradients.

        With corr(W, X) having the spectrum conj(Ŵ)·X̂, a frequency's product is real arithmetic on stacked parts:
        [Ŷr; Ŷi] = [[Ŵr, Ŵi], [−Ŵi, Ŵr]] [X̂r; X̂i].
        """
        nets, frequencies, rows = len(weight), self.frequencies, 2 * self.channels
        taps = weight.permute(0, 3, 4, 1, 2).reshape(nets, self.kernel**2, -1)
        parts = self.products.make("kernel spectrum", self.spectrum.from_kernel, taps)
        real, imaginary = parts.view(nets, frequencies, 2, self.outputs, self.channels).unbind(2)
        mixed = self.products.room("mixed", nets, frequencies, 2, self.outputs, 2, self.channels)
        mixed[:, :, 0, :, 0], mixed[:, :, 0, :, 1] = real, imaginary
        mixed[:, :, 1, :, 1] = real
        torch.neg(imaginary, out=mixed[:, :, 1, :, 0])
        self.mixed = mixed.view(nets * frequencies, 2 * self.outputs, rows)
        spectrum = self.products.make("input spectrum", self.spectrum.forward, fields)
        self.inputs = spectrum.view(nets * frequencies, rows, batch)
        found = self.products.make("output spectrum", self.mixed, self.inputs)
        return self.products.make("outputs", self.spectrum.to_outputs, found.view(nets, 2 * frequencies, -1))

    def backward(self, gradient: Tensor, weight_gradient: Tensor) -> Tensor:
        """∂L/∂X: [M, n², c·b], given ∂L/∂Y; writes ∂L/∂W into `weight_gradient`, shaped as W."""
        nets, frequencies, batch = len(gradient), self.frequencies, self.inputs.shape[-1]
        spectrum = self.products.make("output spectrum", self.spectrum.from_outputs, gradient)
        outer = spectrum.view(nets * frequencies, 2 * self.outputs, batch)
        # ∂L/∂W = corr(∂L/∂Y, X), with the spectrum conj(Ĝ)·X̂ = (ĜrX̂r + ĜiX̂i) + i(ĜrX̂i − ĜiX̂r).
        pairs = self.products.make("weight pairs", outer, self.inputs.mT)
        crossed = pairs.view(nets, frequencies, 2, self.outputs, 2, self.channels)
        parts = self.products.room("kernel spectrum", nets, frequencies, 2, self.outputs, self.channels)
        torch.add(crossed[:, :, 0, :, 0], crossed[:, :, 1, :, 1], out=parts[:, :, 0])
        torch.sub(crossed[:, :, 0, :, 1], crossed[:, :, 1, :, 0], out=parts[:, :, 1])
        taps = self.products.make("taps", self.spectrum.to_kernel, parts.view(nets, 2 * frequencies, -1))
        shape = (nets, self.kernel, self.kernel, self.outputs, self.channels)
        weight_gradient.copy_(taps.view(shape).permute(0, 3, 4, 1, 2))
        # ∂L/∂X = conv(∂L/∂Y, W), with the spectrum Ĝ·Ŵ: the transposed matrices.
        back = self.products.make("input spectrum", self.mixed.mT, outer)
        return self.products.make("input gradient", self.spectrum.inverse, back.view(nets, 2 * frequencies, -1))
