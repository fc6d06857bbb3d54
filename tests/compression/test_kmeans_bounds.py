"""Bounds, starts and the assignment of weights, each against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from c_step_oracles import modest
from hypothesis import given
from hypothesis import strategies as st

from lctui.compression import codebooks
from lctui.compression.codebooks import nearest
from lctui.compression.kmeans import codebook_of_sorted, optimal_codebook
from lctui.compression.kmeans_arcs import Arcs
from lctui.compression.kmeans_bounds import Cells, bound, layout
from lctui.compression.kmeans_grid import Grid, ends
from lctui.compression.kmeans_search import best_boundaries
from lctui.compression.kmeans_start import coarse, improved, limits
from lctui.compression.kmeans_sums import Measure, Sums

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(size=n),
    "clumps": lambda rng, n: rng.integers(0, 3, n) + 10.0 ** rng.integers(-6, 0) * rng.normal(size=n),
    "ties": lambda rng, n: np.round(4 * rng.normal(size=n)),
}


def points(name: str, n: int, seed: int) -> tuple[np.ndarray, Sums]:
    x = np.sort(SHAPES[name](np.random.default_rng(seed), n))
    x = x - x.mean()
    return x, Sums.of(x)


def program(values: np.ndarray, k: int) -> float:
    """The least error of at most k clusters, from the recursion over all splits: O(k·N²)."""
    x = np.sort(values.astype(np.longdouble))
    first, second = (np.concatenate(([0], np.cumsum(part))) for part in (x, x * x))
    size = np.arange(len(x) + 1)
    count = np.maximum(size[None, :] - size[:, None], 1)
    cost = second[None, :] - second[:, None] - (first[None, :] - first[:, None]) ** 2 / count
    cost[size[:, None] > size[None, :]] = np.inf
    least = cost[0]
    for _ in range(k - 1):
        least = (least[:, None] + cost).min(0)
    return float(least[-1])


def error(values: np.ndarray, entries: np.ndarray) -> float:
    distance = values.astype(np.longdouble)[:, None] - entries.astype(np.longdouble)
    return float((distance**2).min(1).sum())


@modest
@given(st.sampled_from(sorted(SHAPES)), st.integers(1, 120), st.integers(1, 130), st.integers(0, 10**6))
def test_as_good_as_the_program_over_all_splits(name: str, n: int, k: int, seed: int) -> None:
    values = SHAPES[name](np.random.default_rng(seed), n)
    scale = float(((values - values.mean()) ** 2).sum())
    assert error(values, optimal_codebook(values, k)) <= program(values, k) * (1 + 1e-9) + 1e-14 * scale


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("k", [2, 3, 9, 40])
@pytest.mark.parametrize("name", SHAPES)
def test_as_good_in_every_unit(name: str, k: int, factor: float) -> None:
    values = (SHAPES[name](np.random.default_rng(k), 700) * factor).astype(np.float32)
    least = program(values.astype(np.float64) / factor, k)
    found = error(values.astype(np.float64) / factor, optimal_codebook(values, k) / factor)
    assert found <= least * (1 + 1e-9) + 1e-12 * float(np.var(values.astype(np.float64) / factor))


@modest
@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 10**6), st.integers(1, 9))
def test_no_cluster_between_two_cells_costs_less_than_the_bound(name: str, seed: int, widest: int) -> None:
    rng = np.random.default_rng(seed)
    x, sums = points(name, 40, seed)
    edges = np.sort(rng.integers(1, 41, size=(2, widest + 1)), axis=1)
    cells = Cells.of(x, sums, edges).priced(rng.exponential(size=(2, widest)) * rng.choice([0, 1e-3, 1, 10]))
    inside = cells.inside
    for i in range(widest):
        for j in range(widest):
            if cells.empty[0, i] or cells.empty[1, j]:
                continue
            a, b = np.s_[0, i : i + 1], np.s_[1, j : j + 1]
            found = float(bound(cells.right.at(a), inside.at(a), cells.left.at(b), inside.at(b))[0])
            for s in range(cells.first[0, i], cells.last[0, i] + 1):
                left_out = inside.price[0, i] * (cells.last[0, i] - s)
                for t in range(max(s, cells.first[1, j]), cells.last[1, j] + 1):
                    paid = inside.price[1, j] * (cells.last[1, j] - t)
                    cost = float(sums.cost(np.array([s]), np.array([t]))[0]) - left_out + paid
                    assert found <= cost + 1e-9 * (1 + float(sums.second[-1]))


@modest
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 12))
def test_ways_through_cells_are_the_shortest(seed: int, layers: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, width, size=(layers - 1, width))
    arcs = Arcs.between(low, np.minimum(low + rng.integers(0, 3), width - 1))
    lengths, start, end = rng.uniform(size=len(arcs.source)), rng.uniform(size=width), rng.uniform(size=width)
    dense = np.full((layers * width, layers * width), np.inf)
    dense[arcs.source, arcs.target] = lengths
    ways, rest = [start], [end]
    for layer in range(layers - 1):
        block = dense[layer * width : (layer + 1) * width, (layer + 1) * width : (layer + 2) * width]
        ways.append((ways[-1][:, None] + block).min(0))
    for layer in range(layers - 2, -1, -1):
        block = dense[layer * width : (layer + 1) * width, (layer + 1) * width : (layer + 2) * width]
        rest.append((block + rest[-1]).min(1))
    forward, backward = arcs.forward(lengths, start), arcs.backward(lengths, end)
    np.testing.assert_array_equal(forward, ways)
    np.testing.assert_array_equal(backward, rest[::-1])
    before, after = arcs.before(lengths, forward), arcs.after(lengths, backward)
    np.testing.assert_array_equal(
        forward[1:], forward.reshape(-1)[before] + dense[before, np.arange(width, layers * width).reshape(-1, width)]
    )
    np.testing.assert_array_equal(
        backward[:-1], dense[np.arange((layers - 1) * width).reshape(-1, width), after] + backward.reshape(-1)[after]
    )


@pytest.mark.parametrize("name", SHAPES)
def test_the_grid_excludes_no_optimum(name: str) -> None:
    for k in (3, 5, 12):
        x, sums = points(name, 900, k)
        best = best_boundaries(x, sums, k)
        budget = sums.total(best) * (1 + 1e-9) + 1e-12 * float(sums.second[-1])
        grid = Grid.of(x, sums, Measure.of(x, sums), best, budget)
        start, stop = (each[0] for each in ends(sums, grid.cells))
        ways = grid.ways(start, k - 1, budget)
        rest = grid.rest(stop, ways, budget)
        cell = np.searchsorted(grid.cells.first[0], best, side="right") - 1
        assert (ways[np.arange(k - 1), cell] + rest[np.arange(k - 1), cell] <= budget).all()


@modest
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 20))
def test_cells_cover_their_window(seed: int, even: int, near: int) -> None:
    rng = np.random.default_rng(seed)
    x, sums = points("cauchy", 500, seed)
    low = np.sort(rng.integers(1, 400, size=6))
    high = low + rng.integers(0, 99, size=6)
    known = rng.integers(low, high + 1)
    edges = layout(Measure.of(x, sums), low, high, known, even, near)
    assert (np.diff(edges, axis=1) >= 0).all()
    np.testing.assert_array_equal(edges[:, 0], low)
    np.testing.assert_array_equal(edges[:, -1], high + 1)


@pytest.mark.parametrize("name", SHAPES)
def test_starts_are_clusterings_and_are_never_made_worse(name: str) -> None:
    for n, k in [(60, 3), (60, 59), (3000, 30)]:
        x, sums = points(name, n, k)
        cuts = coarse(sums, Measure.of(x, sums), k)
        low, high = limits(n, k)
        better = improved(sums, cuts)
        for found in (cuts, better):
            assert ((low <= found) & (found <= high)).all()
            assert (np.diff(found) > 0).all()
        assert sums.total(better) <= sums.total(cuts)


@pytest.mark.parametrize("k", [3, 8])
@pytest.mark.parametrize("name", SHAPES)
def test_where_it_starts_does_not_matter(name: str, k: int) -> None:
    values = np.sort(SHAPES[name](np.random.default_rng(1), 5000).astype(np.float32))
    expected = codebook_of_sorted(values, k)
    for start in (expected, values[:k].astype(np.float64), np.linspace(values[0], values[-1], k)):
        np.testing.assert_array_equal(codebook_of_sorted(values, k, start), expected)


@modest
@given(
    st.integers(0, 10**6),
    st.integers(1, 300),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([0, 3, 10]),
    st.sampled_from([1e-30, 1.0, 1e30]),
)
def test_weights_take_the_nearest_entry_compared_in_doubles(
    seed: int, k: int, dtype: torch.dtype, coarseness: int, factor: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(codebooks.TABLE + 100, generator=generator, dtype=torch.float64)
    v = (v * coarseness).round() / coarseness if coarseness else v / v.roll(1)
    v = (v * factor).to(dtype)
    entries = v[torch.randint(len(v), (k,), generator=generator)]
    ascending = entries.double().sort().values
    expected = ascending[torch.bucketize(v.double(), (ascending[1:] + ascending[:-1]) / 2)]
    assert torch.equal(entries[nearest(v, entries).long()].double(), expected)
