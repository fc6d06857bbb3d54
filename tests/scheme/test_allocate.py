"""The choice of one option a layer, against all choices that there are."""

from __future__ import annotations

import random
from itertools import product

import pytest

from lctui.scheme.allocate import CELLS, Option, allocate


def best_of_all(units: list[list[Option]], budget: int) -> float | None:
    """The least damage that fits, by trying every combination."""
    sums = [
        sum(option.damage for option in chosen)
        for chosen in product(*units)
        if sum(option.bits for option in chosen) <= budget
    ]
    return min(sums, default=None)


@pytest.mark.parametrize("seed", range(60))
def test_no_combination_does_less_harm(seed: int) -> None:
    chance = random.Random(seed)
    units = [
        [Option(chance.randint(1, 400), round(chance.random(), 3)) for _ in range(chance.randint(1, 5))]
        for _ in range(chance.randint(1, 5))
    ]
    budget = chance.randint(50, 1200)  # fewer bits than cells: nothing is rounded
    places, wanted = allocate(units, budget), best_of_all(units, budget)
    assert (places is None) == (wanted is None)
    if places is not None:
        chosen = [options[place] for options, place in zip(units, places, strict=True)]
        assert sum(option.bits for option in chosen) <= budget
        assert sum(option.damage for option in chosen) == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_wastes_no_more_than_a_cell_a_layer(seed: int) -> None:
    chance = random.Random(seed)
    units = [[Option(chance.randint(1, 10**8), chance.random()) for _ in range(4)] for _ in range(5)]
    budget = 2 * 10**8
    places = allocate(units, budget)
    if places is None:
        assert best_of_all(units, budget) is None
        return
    found = sum(options[place].damage for options, place in zip(units, places, strict=True))
    assert sum(options[place].bits for options, place in zip(units, places, strict=True)) <= budget
    tighter = best_of_all(units, budget - 5 * (budget // CELLS + 1))
    assert tighter is None or found <= tighter + 1e-12
