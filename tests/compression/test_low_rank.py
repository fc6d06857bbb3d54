"""Low rank against numpy's SVD and exhaustive search over ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from c_step_oracles import error, modest, solve
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def as_matrix(v: Tensor, conv_scheme: str) -> np.ndarray:
    """The reshape written out entry by entry."""
    n, c, h, w = v.shape
    rows = np.empty((n, c * h * w) if conv_scheme == "scheme_1" else (n * h, c * w))
    for i, j, y, x in np.ndindex(n, c, h, w):
        if conv_scheme == "scheme_1":
            rows[i, (j * h + y) * w + x] = v[i, j, y, x]
        else:
            rows[i * h + y, j * w + x] = v[i, j, y, x]
    return rows


def tail(matrix: np.ndarray) -> np.ndarray:
    """‖V − V_r‖² for r = 0..min(m, n)."""
    squares = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
    return np.append(np.cumsum(squares[::-1])[::-1], 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (5, 5), (1, 7), (7, 1)])
def test_truncation_is_the_best(shape: tuple[int, int], dtype: torch.dtype) -> None:
    v = normal(*shape, dtype=dtype)
    for rank, best in enumerate(tail(v.numpy())):
        theta = solve({"type": "low_rank", "rank": rank}, v)
        precision = 1e-6 if dtype == torch.float32 else 1e-13
        assert error(v, theta.dense()) == pytest.approx(best, rel=precision, abs=precision**2 * 100)
        assert np.linalg.matrix_rank(theta.dense().double().numpy(), tol=1e-5) <= rank
        assert theta.parameters == rank * sum(shape)
        assert theta.bits == 32 * rank * sum(shape)
        assert theta.learned() == {"rank": rank}
        assert theta.multiplications == (rank * sum(shape),)


@pytest.mark.parametrize("conv_scheme, sizes", [("scheme_1", (6, 40)), ("scheme_2", (12, 20))])
def test_convolutions_are_reshaped_as_promised(conv_scheme: str, sizes: tuple[int, int]) -> None:
    v = normal(6, 4, 2, 5)
    matrix = as_matrix(v, conv_scheme)
    assert matrix.shape == sizes
    theta = solve({"type": "low_rank", "rank": 3, "conv_scheme": conv_scheme}, v)
    assert error(v, theta.dense()) == pytest.approx(tail(matrix)[3], rel=1e-6)
    assert np.linalg.matrix_rank(as_matrix(theta.dense(), conv_scheme), tol=1e-5) == 3
    assert theta.parameters == 3 * sum(sizes)


@pytest.mark.parametrize("rank", [5, 6, 1000])
def test_full_rank_gives_the_weights_back(rank: int) -> None:
    v = normal(5, 8)
    theta = solve({"type": "low_rank", "rank": rank}, v)
    assert theta.learned() == {"rank": 5}
    torch.testing.assert_close(theta.dense(), v)


@pytest.mark.parametrize("rank", [0, 3])
def test_rank_zero_and_zero_matrices(rank: int) -> None:
    v = normal(4, 5) if rank == 0 else torch.zeros(4, 5)
    theta = solve({"type": "low_rank", "rank": rank}, v)
    assert torch.equal(theta.dense(), torch.zeros(4, 5))
    assert (theta.parameters, theta.bits, theta.learned()) == (0, 0, {"rank": 0})


def test_vectors_and_cubes_are_matrices_too() -> None:
    torch.testing.assert_close(
        solve({"type": "low_rank", "rank": 1}, torch.tensor([2.0, 0])).dense(), torch.tensor([2.0, 0])
    )
    assert solve({"type": "low_rank", "rank": 1}, normal(4, 3, 5)).parameters == 4 + 15
    torch.testing.assert_close(solve({"type": "low_rank", "rank": 1}, torch.tensor(3.0)).dense(), torch.tensor(3.0))


@modest
@given(
    st.floats(1e-6, 1.0),
    st.floats(0.01, 100),
    st.sampled_from(["storage", "flops"]),
    st.booleans(),
    st.integers(0, 20),
)
def test_automatic_rank_is_the_best_of_all(alpha: float, mu: float, criterion: str, normalize: bool, seed: int) -> None:
    v = normal(4, 3, 3, 2, seed=seed)
    pixels = 7
    left = tail(as_matrix(v, "scheme_2"))
    price = alpha * (12 + 6) * (pixels if criterion == "flops" else 1)
    objective = price * np.arange(len(left)) + mu / 2 * left / (left[0] if normalize else 1)
    fields = {"type": "low_rank", "rank": "auto", "alpha": alpha, "criterion": criterion, "normalize": normalize}
    rank = solve(fields, v, mu, pixels=pixels).learned()["rank"]
    assert objective[rank] == pytest.approx(objective.min(), rel=1e-6)


def test_automatic_rank_ties_go_to_the_smaller() -> None:
    # Each rank costs 4·0.5 and saves ½·4.
    fields = {"type": "low_rank", "rank": "auto", "alpha": 0.5, "normalize": False}
    assert solve(fields, 2 * torch.eye(2)).learned() == {"rank": 0}
    assert solve({**fields, "alpha": 0.0}, 2 * torch.eye(2)).learned() == {"rank": 2}


def test_half_precision_factors_are_billed_and_used_as_such() -> None:
    v = normal(20, 30)
    theta = solve({"type": "low_rank", "rank": 4, "bits": 16}, v)
    u, z = theta.parts()["u"].tensor, theta.parts()["z"].tensor
    assert (u.dtype, z.dtype) == (torch.float16, torch.float16)
    assert theta.bits == 16 * 4 * 50 == 8 * sum(t.numel() * t.element_size() for t in (u, z))
    torch.testing.assert_close(theta.dense(), (u.double() @ z.double().T).float())
    assert error(v, theta.dense()) == pytest.approx(tail(v.numpy())[4], rel=1e-3)


def test_half_precision_factors_stay_finite() -> None:
    assert torch.isfinite(solve({"type": "low_rank", "rank": 1, "bits": 16}, 1e12 * torch.ones(3, 3)).dense()).all()


def test_decompression_adds_ranks_in_order_and_rounds_once() -> None:
    theta = solve({"type": "low_rank", "rank": 5}, normal(12, 17))
    u, z = (theta.parts()[name].tensor.double().numpy() for name in "uz")
    total = np.zeros((12, 17))
    for r in range(5):
        total = total + np.outer(u[:, r], z[:, r])
    np.testing.assert_array_equal(theta.dense().numpy(), total.astype(np.float32))


def test_decompression_does_not_depend_on_threads() -> None:
    theta = solve({"type": "low_rank", "rank": 30}, normal(120, 300))
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(theta.dense())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_several_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 tensors"):
        solve({"type": "low_rank", "rank": 1}, [torch.ones(2, 2), torch.ones(2, 2)])
