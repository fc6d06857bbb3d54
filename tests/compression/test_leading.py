"""The leading singular triplets against NumPy's full SVD, on spectra that are kind and on ones that are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from c_step_oracles import error, modest, solve
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lctui.compression import low_rank, low_rank_leading
from lctui.compression.low_rank_leading import Wanted, leading

SPECTRA = {
    "noise": np.sqrt(np.linspace(1, 0.01, 150)),
    "flat": np.ones(150),
    "two levels": np.where(np.arange(150) < 5, 2.0, 1.0),
    "cluster around the rank": np.concatenate((1 + 1e-7 * np.arange(12)[::-1], np.linspace(0.9, 0.1, 138))),
    "close pair": np.concatenate(([3, 2, 1.5, 1.2, 1.0, 1.0 - 1e-5], np.linspace(0.5, 0, 144))),
    "steep": 10.0 ** -np.linspace(0, 7, 150),
    "geometric": 0.8 ** np.arange(150),
    "rank 3": np.where(np.arange(150) < 3, 1.0, 0.0),
    "rank 3 and rounding": np.where(np.arange(150) < 3, 1.0, 1e-7),
    "one spike": np.where(np.arange(150) < 1, 1e3, 1.0),
}


def matrix(spectrum: np.ndarray, m: int, n: int, seed: int = 0) -> Tensor:
    """A float32 matrix with these singular values, up to its rounding."""
    rng = np.random.default_rng(seed)
    u = np.linalg.qr(rng.normal(size=(m, len(spectrum))))[0]
    z = np.linalg.qr(rng.normal(size=(n, len(spectrum))))[0]
    return torch.from_numpy((u * spectrum @ z.T).astype(np.float32))


def best_error(v: Tensor, rank: int) -> float:
    """‖V − V_r‖², from all singular values."""
    return float((np.linalg.svd(v.double().numpy(), compute_uv=False)[rank:] ** 2).sum())


def assert_best(v: Tensor, rank: int, previous: object = None) -> None:
    found = error(v, solve({"type": "low_rank", "rank": rank}, v, previous=previous).dense())
    # What rounding the factors to float32 adds is a share of ‖V‖², not of the error.
    assert found == pytest.approx(best_error(v, rank), rel=2e-7, abs=1e-14 * float(v.double().square().sum()))


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("m, n", [(150, 260), (300, 150)])
def test_the_error_is_the_least(name: str, m: int, n: int) -> None:
    v = matrix(SPECTRA[name], m, n)
    for rank in (1, 5, 8):
        assert_best(v, rank)


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
def test_the_scale_does_not_matter(scale: float) -> None:
    v = matrix(SPECTRA["noise"], 150, 200)
    expected = solve({"type": "low_rank", "rank": 4}, v).dense().double()
    found = solve({"type": "low_rank", "rank": 4}, v * scale).dense().double() / scale
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_factors_are_the_svds_where_there_is_a_gap() -> None:
    v = matrix(np.concatenate(([9.0, 7.0, 5.0, 4.0], np.linspace(1, 0, 146))), 150, 400)
    u, s, zt = np.linalg.svd(v.double().numpy(), full_matrices=False)
    found = solve({"type": "low_rank", "rank": 4}, v).dense().numpy()
    np.testing.assert_allclose(found, (u[:, :4] * s[:4]) @ zt[:4], atol=2e-7)


@pytest.mark.parametrize("name", SPECTRA)
def test_a_start_does_not_change_the_answer(name: str) -> None:
    v = matrix(SPECTRA[name], 150, 260)
    for other in (v, matrix(SPECTRA["noise"], 150, 260, seed=1), torch.zeros_like(v)):
        assert_best(v, 5, previous=solve({"type": "low_rank", "rank": 5}, other))


def test_a_start_that_is_an_eigenvector_hides_no_larger_one() -> None:
    # Residuals are zero at once for the start's direction; only the proof tells that another is larger.
    v = torch.zeros(150, 170)
    v[3, 5] = 1.0
    previous = solve({"type": "low_rank", "rank": 1}, v)
    v[60, 70] = 1.0 + 1e-3
    v += 1e-3 * matrix(np.ones(150), 150, 170)
    assert_best(v, 1, previous=previous)


def test_the_leading_are_found_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Tensor) -> None:
        raise AssertionError("all eigenvectors were asked for")

    v = matrix(np.concatenate((np.linspace(9, 5, 6), np.linspace(1, 0, 294))), 300, 400)
    monkeypatch.setattr(low_rank, "all_eigenvectors", refused)
    assert_best(v, 6)
    assert solve({"type": "low_rank", "rank": "auto", "alpha": 1e-5}, v).learned() == {"rank": 6}


@modest
@given(st.sampled_from(sorted(SPECTRA)), st.floats(1e-7, 1e-3), st.floats(0.1, 10), st.integers(0, 3))
def test_automatic_rank_is_the_best_of_all(name: str, alpha: float, mu: float, seed: int) -> None:
    v = matrix(SPECTRA[name], 150, 180, seed)
    squares = np.linalg.svd(v.double().numpy(), compute_uv=False) ** 2
    left = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    objective = alpha * 330 * np.arange(151) + mu / 2 * left / left[0]
    theta = solve({"type": "low_rank", "rank": "auto", "alpha": alpha}, v, mu)
    assert objective[theta.learned()["rank"]] == pytest.approx(objective.min(), rel=1e-6)


def test_zero_and_thin_matrices() -> None:
    assert solve({"type": "low_rank", "rank": 3}, torch.zeros(150, 150)).learned() == {"rank": 0}
    assert solve({"type": "low_rank", "rank": 0}, torch.ones(150, 150)).learned() == {"rank": 0}
    for shape in ((1, 1000), (1000, 1), (2, 500)):
        assert_best(torch.randn(shape, generator=torch.Generator().manual_seed(0)), 1)


@modest
@given(st.integers(130, 170), st.integers(1, 4), st.integers(0, 10**6))
def test_what_is_given_is_the_leading_eigenspace(p: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.standard_t(3, size=(p, p + 20)))
    gram = rows @ rows.mT
    found = leading(gram, Wanted(count), count)
    if found is None:
        return
    values = np.linalg.eigvalsh(gram.numpy())[::-1]
    torch.testing.assert_close(found.mT @ found, torch.eye(count, dtype=torch.float64), atol=1e-12, rtol=0)
    left = values[count:].sum()
    assert float((found.mT @ gram @ found).trace()) == pytest.approx(values[:count].sum(), abs=1e-7 * left)


def test_threads_and_calls_agree() -> None:
    v = matrix(SPECTRA["geometric"], 150, 260)
    first, second = (solve({"type": "low_rank", "rank": 5}, v).dense() for _ in range(2))
    assert torch.equal(first, second)
    state = torch.random.get_rng_state()
    low_rank_leading.leading(v.double() @ v.double().mT, Wanted(5), 5)
    assert torch.equal(state, torch.random.get_rng_state())
