"""Convolutions as products of spectra: Y = W ⋆ X costs one small matrix product a frequency.

Owns the Fourier transform of real n × n fields as matrix products, and the three products that a convolution's
training needs (outputs, gradient of the inputs, gradient of the kernels), for several nets at once.  Everything is a
matrix product over contiguous tensors, so that it runs at the speed of those on any device.  Knows no nets and no
losses.

Fields are n × n and periodic: a kernel of k × k then has n − k + 1 valid outputs a side that no period touches.  A
field is real, so that half of the frequencies in y say what the other half would; with all n in x, F = n·(⌊n/2⌋ + 1)
complex numbers remain, each a real and an imaginary row.

Layout, innermost last: [nets, frequency in y, frequency in x, 2, channels, batch].  Rounding is that of a sum of n²
products, as in a direct convolution: there is no cancellation as in Winograd's transforms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lctui.learning.products import Products


@dataclass(frozen=True)
class Spectrum:
    """The transforms between the positions (y, x) of n × n fields and their frequencies (v, u), for k × k kernels.

    Between fields and spectra they go axis by axis; complex numbers are pairs of rows, real and imaginary.
    """

    n: int
    half: int
    """Frequencies in y: ⌊n/2⌋ + 1."""
    forward_y: Tensor
    """[half·2, n]: from rows y to rows (v, part)."""
    forward_x: Tensor
    """[n·2, 2·n]: from rows (part, x) to rows (u, part)."""
    inverse_x: Tensor
    """[2·n, n·2]: from rows (u, part) to rows (part, x)."""
    inverse_y: Tensor
    """[n, half·2]: from rows (v, part) to rows y."""
    from_kernel: Tensor
    """[2F, k²]: a kernel to its frequencies."""
    to_kernel: Tensor
    """[k², 2F]: frequencies to a kernel's gradient."""

    @classmethod
    def of(cls, n: int, k: int, device: torch.device) -> Spectrum:
        """The transforms as float32, computed in float64."""
        half = n // 2 + 1
        place = torch.arange(n)
        angle = (place[:, None] * place % n).double() * (2 * math.pi / n)  # whole numbers modulo n keep it exact
        cos, sin = angle.cos(), angle.sin()
        forward_y = torch.stack([cos[:half], -sin[:half]], dim=1)  # [v, part, y]
        # (a + ib)·exp(−iθ) = (a cos θ + b sin θ) + i(b cos θ − a sin θ)
        forward_x = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)  # [u, part, part, x]
        inverse_x = forward_x.permute(2, 3, 0, 1) / n  # unitary but for n
        share = torch.tensor([1.0 if v == 0 or 2 * v == n else 2.0 for v in range(half)])  # its conjugate is left out
        inverse_y = (share.view(half, 1, 1) * forward_y).permute(2, 0, 1) / n  # [y, v, part]
        from_kernel, to_kernel = _both_axes(forward_y, forward_x, inverse_x, inverse_y, k)
        matrices = (
            forward_y.reshape(2 * half, n),
            forward_x.reshape(2 * n, 2 * n),
            inverse_x.reshape(2 * n, 2 * n),
            inverse_y.reshape(n, 2 * half),
            from_kernel,
            to_kernel,
        )
        return cls(n, half, *(matrix.float().contiguous().to(device) for matrix in matrices))

    def needed(self) -> tuple[Tensor, Tensor]:
        """Which of the 2F rows say something new, and how often each counts on the way back: [2F'] and [2F'].

        Where a frequency in y is its own opposite, that in x and its opposite are conjugates.
        """
        n, device = self.n, self.from_kernel.device
        v, u = torch.meshgrid(torch.arange(self.half), torch.arange(n), indexing="ij")
        own_v, own_u = 2 * v % n == 0, 2 * u % n == 0
        kept = (~own_v | (2 * u <= n)).reshape(-1)
        times = torch.where(own_v & ~own_u, 2.0, 1.0).reshape(-1)
        rows = torch.arange(2 * len(kept)).view(-1, 2)[kept].reshape(-1)
        return rows.to(device), times[kept].repeat_interleave(2).to(device)


def _both_axes(
    forward_y: Tensor, forward_x: Tensor, inverse_x: Tensor, inverse_y: Tensor, m: int
) -> tuple[Tensor, Tensor]:
    """From m × m positions to all frequencies, [2F, m²], and back, [m², 2F]: the transforms of the axes in one.

    They are [half, 2, n], [n, 2, 2, n], [2, n, n, 2] and [n, half, 2].
    """
    forward = torch.einsum("vpy,uqpx->vuqyx", forward_y[..., :m], forward_x[..., :m])
    inverse = torch.einsum("yvp,pxuq->yxvuq", inverse_y[:m], inverse_x[:, :m])
    return forward.reshape(-1, m * m), inverse.reshape(m * m, -1)


class _Transforms(Protocol):
    """Spectra of fields that are zero beyond their first m rows and columns, and those positions of a spectrum."""

    def to_spectrum(self, fields: Tensor) -> Tensor:
        """[M, m², columns] → [M, 2F, columns]."""

    def from_spectrum(self, spectrum: Tensor) -> Tensor:
        """[M, 2F, columns] → [M, m², columns]."""


class _ByAxes:
    """One axis after the other, which takes the fewest multiplications."""

    def __init__(self, name: str, spectrum: Spectrum, m: int, products: Products) -> None:
        self.name, self.m, self.products = name, m, products
        n, self.half = spectrum.n, spectrum.half
        self.forward_y = spectrum.forward_y[:, :m].contiguous()
        self.forward_x = spectrum.forward_x.view(2 * n, 2, n)[..., :m].reshape(2 * n, 2 * m)
        self.inverse_x = spectrum.inverse_x.view(2, n, 2 * n)[:, :m].reshape(2 * m, 2 * n)
        self.inverse_y = spectrum.inverse_y[:m].contiguous()

    def to_spectrum(self, fields: Tensor) -> Tensor:
        nets, columns = len(fields), fields.shape[-1]
        rows = self.products.make(f"{self.name} by y", self.forward_y, fields.view(nets, self.m, -1))
        halves = rows.view(nets * self.half, 2 * self.m, columns)
        return self.products.make(f"{self.name} spectrum", self.forward_x, halves).view(nets, -1, columns)

    def from_spectrum(self, spectrum: Tensor) -> Tensor:
        nets, columns = len(spectrum), spectrum.shape[-1]
        halves = spectrum.view(nets * self.half, -1, columns)
        rows = self.products.make(f"{self.name} by y", self.inverse_x, halves)
        fields = self.products.make(f"{self.name} fields", self.inverse_y, rows.view(nets, 2 * self.half, -1))
        return fields.view(nets, self.m**2, columns)


class _AtOnce:
    """Both axes in one product: for results that are rounded to few bits, and products that cost less than memory.

    Frequencies that say what others have said are left out.  Fields come back `scale` times too small: in few bits
    1/n² would be off by the same for every field, while `scale` makes it a power of two.
    """

    def __init__(self, name: str, spectrum: Spectrum, m: int, products: Products) -> None:
        self.name, self.products = name, products
        n, half = spectrum.n, spectrum.half
        forward_y, forward_x = spectrum.forward_y.view(half, 2, n), spectrum.forward_x.view(n, 2, 2, n)
        inverse_x, inverse_y = spectrum.inverse_x.view(2, n, n, 2), spectrum.inverse_y.view(n, half, 2)
        forward, inverse = _both_axes(forward_y, forward_x, inverse_x, inverse_y, m)
        rows, times = spectrum.needed()
        self.forward = forward[rows].to(products.dtype)
        self.inverse = (inverse[:, rows] / self.scale(n) * times).to(products.dtype)

    @staticmethod
    def scale(n: int) -> float:
        return 2 ** math.ceil(2 * math.log2(n)) / n**2

    def to_spectrum(self, fields: Tensor) -> Tensor:
        return self.products.make(f"{self.name} spectrum", self.forward, fields)

    def from_spectrum(self, spectrum: Tensor) -> Tensor:
        return self.products.make(f"{self.name} fields", self.inverse, spectrum)


class SpectralConvolution:
    """Y = W ⋆ X without bias, for M nets: valid cross-correlation, as convolutional layers have it.

    W: [M, o, c, k, k], X: [M, n², c·b], Y: [M, (n − k + 1)², o·b], with b inputs innermost.
    """

    def __init__(self, n: int, shape: tuple[int, int, int], products: Products) -> None:
        """`shape` is (o, c, k)."""
        self.outputs, self.channels, self.kernel = shape
        self.spectrum = Spectrum.of(n, self.kernel, products.device)
        self.products = products
        self.of_kernels = Products(products.device)  # they are small: nothing of them is rounded before the end
        self.from_kernel, self.to_kernel = self.spectrum.from_kernel, self.spectrum.to_kernel
        transforms: type[_AtOnce | _ByAxes] = _ByAxes
        if products.dtype != torch.float32:
            transforms = _AtOnce
            rows, times = self.spectrum.needed()
            self.from_kernel = self.from_kernel[rows] * _AtOnce.scale(n)
            self.to_kernel = self.to_kernel[:, rows] * times
        self.frequencies = len(self.from_kernel) // 2
        self.at_inputs: _Transforms = transforms("input", self.spectrum, n, products)
        self.at_outputs: _Transforms = transforms("output", self.spectrum, n - self.kernel + 1, products)

    def forward(self, weight: Tensor, fields: Tensor, batch: int) -> Tensor:
        """Y; remembers the spectra of W and X for the gradients.

        With corr(W, X) having the spectrum conj(Ŵ)·X̂, a frequency's product is real arithmetic on stacked parts:
        [Ŷr; Ŷi] = [[Ŵr, Ŵi], [−Ŵi, Ŵr]] [X̂r; X̂i].
        """
        nets, frequencies, rows = len(weight), self.frequencies, 2 * self.channels
        taps = weight.permute(0, 3, 4, 1, 2).reshape(nets, self.kernel**2, -1)
        parts = self.of_kernels.make("spectrum", self.from_kernel, taps)
        real, imaginary = parts.view(nets, frequencies, 2, self.outputs, self.channels).unbind(2)
        mixed = self.products.room("mixed", nets, frequencies, 2, self.outputs, 2, self.channels)
        mixed[:, :, 0, :, 0], mixed[:, :, 0, :, 1] = real, imaginary
        mixed[:, :, 1, :, 1] = real
        mixed[:, :, 1, :, 0].copy_(imaginary).neg_()
        self.mixed = mixed.view(nets * frequencies, 2 * self.outputs, rows)
        self.inputs = self.at_inputs.to_spectrum(fields).view(nets * frequencies, rows, batch)
        found = self.products.make("product", self.mixed, self.inputs)
        return self.at_outputs.from_spectrum(found.view(nets, 2 * frequencies, -1))

    def backward(self, gradient: Tensor, weight_gradient: Tensor) -> Tensor:
        """∂L/∂X: [M, n², c·b], given ∂L/∂Y; writes ∂L/∂W into `weight_gradient`, shaped as W."""
        nets, frequencies, batch = len(gradient), self.frequencies, self.inputs.shape[-1]
        outer = self.at_outputs.to_spectrum(gradient).view(nets * frequencies, 2 * self.outputs, batch)
        # ∂L/∂W = corr(∂L/∂Y, X), with the spectrum conj(Ĝ)·X̂ = (ĜrX̂r + ĜiX̂i) + i(ĜrX̂i − ĜiX̂r).
        pairs = self.products.make("weight pairs", outer, self.inputs.mT)
        crossed = pairs.view(nets, frequencies, 2, self.outputs, 2, self.channels)
        parts = self.of_kernels.room("spectrum", nets, frequencies, 2, self.outputs, self.channels)
        torch.add(crossed[:, :, 0, :, 0], crossed[:, :, 1, :, 1], out=parts[:, :, 0])
        torch.sub(crossed[:, :, 0, :, 1], crossed[:, :, 1, :, 0], out=parts[:, :, 1])
        taps = self.of_kernels.make("taps", self.to_kernel, parts.view(nets, 2 * frequencies, -1))
        shape = (nets, self.kernel, self.kernel, self.outputs, self.channels)
        weight_gradient.copy_(taps.view(shape).permute(0, 3, 4, 1, 2))
        # ∂L/∂X = conv(∂L/∂Y, W), with the spectrum Ĝ·Ŵ: the transposed matrices.
        back = self.products.make("back", self.mixed.mT, outer)
        return self.at_inputs.from_spectrum(back.view(nets, 2 * frequencies, -1))
