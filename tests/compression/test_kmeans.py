"""Optimal k-means against brute force, kmeans1d and scikit-learn."""

from __future__ import annotations

import kmeans1d
import numpy as np
import pytest
import torch
from c_step_oracles import best_partition_error, modest, nearest_error, vectors
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor

from lctui.compression import kmeans_exact, kmeans_grid, kmeans_search, kmeans_windows
from lctui.compression.kmeans import optimal_codebook

DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.uniform(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n),
    "clumps": lambda rng, n: rng.choice([-1.0, 0.1, 1.0], n) + 1e-3 * rng.normal(size=n),
    "few values": lambda rng, n: np.round(8 * rng.normal(size=n)) / 8,
    "mostly zero": lambda rng, n: np.where(rng.uniform(size=n) < 0.8, 0.0, rng.normal(size=n)),
    "two scales": lambda rng, n: np.where(rng.uniform(size=n) < 0.9, 1e-4, 1.0) * rng.normal(size=n),
    "growing gaps": lambda rng, n: np.exp(0.02 * np.arange(n) * 700 / n) * rng.choice([-1, 1], n),
    "equal clumps": lambda rng, n: np.repeat(np.arange(5), -(-n // 5))[:n] + 1e-5 * rng.normal(size=n),
}


def sample(name: str, n: int, seed: int = 0) -> np.ndarray:
    return DISTRIBUTIONS[name](np.random.default_rng(seed), n).astype(np.float32)


def oracle_error(values: np.ndarray, k: int) -> float:
    found = kmeans1d.cluster(values.astype(np.float64), min(k, len(np.unique(values))))
    return nearest_error(torch.from_numpy(values), found.centroids)


@modest
@given(vectors(max_size=8), st.integers(1, 9))
def test_no_partition_is_better(v: Tensor, k: int) -> None:
    codebook = optimal_codebook(v.numpy(), k)
    assert nearest_error(v, codebook) <= best_partition_error(v, k) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("k", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_agrees_with_kmeans1d(name: str, k: int) -> None:
    values = sample(name, 2000)
    found = nearest_error(torch.from_numpy(values), optimal_codebook(values, k))
    assert found <= oracle_error(values, k) * (1 + 1e-9)


@pytest.mark.parametrize("few", [1, 40])
@pytest.mark.parametrize("least, even, near", [(4, 1, 2), (9, 3, 8), (64, 8, 4), (256, 32, 48)])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_narrowing_never_loses_the_optimum(
    name: str, least: int, even: int, near: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kmeans_grid, "LEAST", least)
    monkeypatch.setattr(kmeans_grid, "CELLS", 1)
    monkeypatch.setattr(kmeans_windows, "EVEN", even)
    monkeypatch.setattr(kmeans_windows, "NEAR", near)
    monkeypatch.setattr(kmeans_search, "FEW", few)
    for seed, k in enumerate([3, 4, 8, 13]):
        values = sample(name, 700, seed)
        found = nearest_error(torch.from_numpy(values), optimal_codebook(values, k))
        assert found <= oracle_error(values, k) * (1 + 1e-9)


@pytest.mark.parametrize("k", [3, 10])
def test_large_problems_are_exact(k: int) -> None:
    values = sample("normal", 60_000)
    found = nearest_error(torch.from_numpy(values), optimal_codebook(values, k))
    assert found == pytest.approx(oracle_error(values, k), rel=1e-9)


def test_restarts_of_lloyd_do_not_beat_it() -> None:
    values = sample("heavy tails", 300)
    lloyd = KMeans(n_clusters=6, n_init=20, random_state=0).fit(values.reshape(-1, 1).astype(np.float64))
    assert nearest_error(torch.from_numpy(values), optimal_codebook(values, 6)) <= lloyd.inertia_ * (1 + 1e-9)


@pytest.mark.parametrize("block, scan", [(1, 1), (3, 10**9), (10**9, 1)])
def test_how_work_is_cut_up_does_not_matter(block: int, scan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = sample("normal", 500)
    expected = optimal_codebook(values, 5)
    monkeypatch.setattr(kmeans_search, "FEW", 500)
    monkeypatch.setattr(kmeans_exact, "BLOCK", block)
    monkeypatch.setattr(kmeans_exact, "LONG_SCAN", scan)
    np.testing.assert_array_equal(optimal_codebook(values, 5), expected)


@modest
@given(vectors(max_size=20), st.integers(1, 30))
def test_the_codebook_has_k_ascending_entries(v: Tensor, k: int) -> None:
    codebook = optimal_codebook(v.numpy(), k)
    assert codebook.shape == (k,)
    assert (np.diff(codebook) >= 0).all()
    distinct = sorted(set(v.tolist()))
    if len(distinct) <= k:
        assert codebook.tolist() == distinct + [distinct[-1]] * (k - len(distinct))


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e12, 1e30])
def test_any_unit_will_do(factor: float) -> None:
    values = sample("normal", 200)
    expected = optimal_codebook(values, 4) * factor
    np.testing.assert_allclose(optimal_codebook(values * np.float32(factor), 4), expected, rtol=1e-5)


def test_tight_clumps_far_from_the_mean_are_told_apart() -> None:
    values = np.array([-1000.0, -1000 + 2**-10, 0.0, 2**-12, 1000.0, 1000 + 2**-10], dtype=np.float32)
    expected = [-1000 + 2**-11, 2**-13, 1000 + 2**-11]
    np.testing.assert_allclose(optimal_codebook(values, 3), expected, rtol=1e-12)
