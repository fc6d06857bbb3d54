"""Convolution by spectra against torch's own convolution in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lctui.learning.products import Products
from lctui.learning.spectral import SpectralConvolution, Spectrum

CPU = torch.device("cpu")


@pytest.mark.parametrize("n", [12, 7, 6, 2])
def test_a_spectrum_is_the_fourier_transform_and_comes_back(n: int) -> None:
    spectrum = Spectrum.of(n, 1, CPU)
    field = torch.randn(n, n, generator=torch.Generator().manual_seed(0))
    by_y = (spectrum.forward_y @ field).view(spectrum.half, 2 * n)
    found = (by_y @ spectrum.forward_x.T).view(spectrum.half, n, 2)
    wanted = torch.fft.fft2(field.double())[: spectrum.half]
    torch.testing.assert_close(torch.view_as_complex(found.double().contiguous()), wanted, rtol=1e-5, atol=1e-5)
    back = spectrum.inverse_y @ (found.view(spectrum.half, -1) @ spectrum.inverse_x.T).view(2 * spectrum.half, n)
    torch.testing.assert_close(back, field, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize(
    ("n", "shape", "nets", "batch"), [(12, (50, 20, 5), 1, 7), (7, (3, 2, 3), 4, 5), (4, (1, 1, 4), 2, 1)]
)
def test_outputs_and_gradients_are_the_convolutions(
    n: int, shape: tuple[int, int, int], nets: int, batch: int, dtype: torch.dtype, rounding: float
) -> None:
    outputs, channels, k = shape
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(nets, outputs, channels, k, k, generator=generator)
    fields = torch.randn(nets, n, n, channels, batch, generator=generator)
    slope = torch.randn(nets, n - k + 1, n - k + 1, outputs, batch, generator=generator)
    convolution = SpectralConvolution(n, shape, Products(CPU, dtype))
    for _ in range(2):  # a second time, in buffers that hold the first's numbers
        found = convolution.forward(weight, fields.view(nets, n * n, -1).to(dtype), batch).clone()
        weight_gradient = torch.empty_like(weight)
        input_gradient = convolution.backward(slope.reshape(nets, (n - k + 1) ** 2, -1).to(dtype), weight_gradient)
    for m in range(nets):
        w = weight[m].double().requires_grad_()
        x = fields[m].permute(3, 2, 0, 1).double().requires_grad_()
        y = F.conv2d(x, w)
        y.backward(slope[m].permute(3, 2, 0, 1).double())
        assert w.grad is not None and x.grad is not None
        close(found[m].view(slope[m].shape), y.detach().permute(2, 3, 1, 0), rounding)
        close(weight_gradient[m], w.grad, rounding)
        close(input_gradient[m].view(fields[m].shape), x.grad.permute(2, 3, 1, 0), rounding)


def close(found: torch.Tensor, wanted: torch.Tensor, rounding: float) -> None:
    """Measured against the whole: no entry may be off by more than this share of the largest."""
    assert float((found.double() - wanted).abs().max()) <= rounding * float(wanted.abs().max())


def test_products_fill_their_buffers_in_any_shape_of_factors() -> None:
    products = Products(CPU)
    generator = torch.Generator().manual_seed(1)
    shared, many = torch.randn(3, 4, generator=generator), torch.randn(40, 4, 5, generator=generator)
    first = products.make("a", shared, many)
    torch.testing.assert_close(first, shared @ many)
    assert products.make("a", shared, -many) is first and products.make("b", shared, many) is not first
    out = torch.zeros(2, 3, 10)[:, :, ::2]
    products.into(out, shared, many[:2])
    torch.testing.assert_close(out, shared @ many[:2])


def test_factors_are_rounded_to_bfloat16_and_sums_are_not() -> None:
    products = Products(CPU, torch.bfloat16)
    fine = products.rounded("fine", torch.full((1, 256, 1), 1 + 2**-12))
    assert fine.dtype == torch.bfloat16 and float(fine[0, 0, 0]) == 1.0
    ones = products.rounded("ones", torch.full((1, 1, 256), 1.0))
    ones[0, 0, 0] = 2**-7  # lost beside 2⁷ were the sum rounded after every term
    ones[0, 0, 1:129], ones[0, 0, 129:] = 1, -1
    assert float(products.make("sum", ones, fine)) == 1 + 2**-7
    out = torch.zeros(1, 1, 1)
    assert float(products.into(out, ones, fine)) == 1 + 2**-7 and out.dtype == torch.float32


def test_nothing_is_rounded_where_factors_are_float32() -> None:
    values = torch.ones(2, 3)
    assert Products(CPU).rounded("same", values) is values
