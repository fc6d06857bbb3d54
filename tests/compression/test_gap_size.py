"""The gap code's size against a loop over its definition."""

from __future__ import annotations

import torch
from c_step_oracles import gap_bits as oracle
from c_step_oracles import modest
from hypothesis import example, given
from hypothesis import strategies as st

from lctui.compression import gap_bits, gap_code, gap_width


@modest
@given(st.sets(st.one_of(st.integers(0, 60), st.integers(0, 5000), st.integers(0, 2**40)), max_size=40))
@example({2})
@example({3})
@example({2**32 - 3, 2**33})
def test_size_is_the_smallest_over_all_widths(positions: set[int]) -> None:
    ordered = sorted(positions)
    assert gap_bits(torch.tensor(ordered, dtype=torch.int64)) == oracle(ordered)


def test_width_belongs_to_the_size() -> None:
    positions = torch.tensor([0, 1, 40, 41, 300])
    # Gaps 1, 1, 39, 1, 259 at 6 bits (jumps of 63): 1 + 1 + 1 + 1 + 5 symbols.
    assert (gap_width(positions), gap_bits(positions)) == gap_code(positions)
    sizes = {b: b * sum(d // (2**b - 1) + 1 for d in (1, 1, 39, 1, 259)) for b in range(2, 33)}
    assert gap_bits(positions) == sizes[gap_width(positions)] == min(sizes.values())


def test_no_positions_take_no_bits() -> None:
    assert gap_code(torch.empty(0, dtype=torch.int64)) == (2, 0)


def test_a_full_gap_needs_a_second_symbol() -> None:
    # At two bits a symbol advances by at most 3: gap 2 is one symbol, gap 3 is two.
    assert gap_bits(torch.tensor([1])) == 2
    assert gap_bits(torch.tensor([2])) == 3
