"""Storage formulas: how many bits a compressed task takes, from counts alone.

Owns every formula of the accounting, in plain integers and without torch, so that the console predicts sizes with
the very code that a run reports them with.  Floats are stored in 32 bits.  Positions (the gap code) and arithmetic
codes depend on the weights: their exact size is computed from those, their expected size from the count.
"""

from __future__ import annotations

import math

FLOAT_BITS = 32
GAP_WIDTHS = range(2, 33)
CODED_WEIGHTS = 1 << 27
"""Positions can be arithmetic-coded in layers of so many weights, and so many rows, at most."""
CODED_ROWS = 1 << 22


def index_bits(k: int) -> int:
    """Bits of one index into a codebook of k: ⌈log₂ k⌉."""
    return (k - 1).bit_length()


def dense_bits(n: int) -> int:
    """n values as they are: 32 bits each."""
    return FLOAT_BITS * n


def adaptive_codebook_bits(n: int, k: int) -> int:
    """n weights by a learned codebook of k: n·⌈log₂ k⌉ + 32k."""
    return n * index_bits(k) + FLOAT_BITS * k


def fixed_codebook_bits(n: int, k: int, *, scaled: bool = False) -> int:
    """n weights by a given codebook of k, which costs nothing itself; a learned scale costs 32 bits."""
    return n * index_bits(k) + (FLOAT_BITS if scaled else 0)


def powers_of_two_size(c: int) -> int:
    """Entries of {0, ±1, ±2⁻¹, …, ±2⁻ᶜ}."""
    return 2 * c + 3


def binary_bits(n: int, *, scaled: bool) -> int:
    """n weights in {−a, +a}: a bit each, and 32 for a learned a."""
    return fixed_codebook_bits(n, 2, scaled=scaled)


def ternary_bits(n: int, *, scaled: bool) -> int:
    """n weights in {−a, 0, +a}: two bits each, and 32 for a learned a."""
    return fixed_codebook_bits(n, 3, scaled=scaled)


def survivors_bits(nonzeros: int, k: int | None) -> int:
    """Values of a pruned task's non-zeros, without their positions: 32 bits each, or a codebook of k."""
    return dense_bits(nonzeros) if k is None else adaptive_codebook_bits(nonzeros, k)


def structured_bits(kept_weights: int, groups: int) -> int:
    """The kept groups' weights at 32 bits, and one bit a group to say which are kept."""
    return dense_bits(kept_weights) + groups


def n_m_bits(slots: int, groups: int, n: int, m: int) -> int:
    """N:M pruning: 32 bits a stored value, and ⌈log₂ C(m, n)⌉ bits a group for its pattern."""
    return dense_bits(slots) + groups * index_bits(math.comb(m, n))


def low_rank_bits(rows: int, columns: int, rank: int, bits: int) -> int:
    """Two factors, rows × rank and columns × rank, at `bits` a number."""
    return bits * low_rank_parameters(rows, columns, rank)


def low_rank_parameters(rows: int, columns: int, rank: int) -> int:
    """Numbers in two factors of the given rank: r(m + n)."""
    return rank * (rows + columns)


def expected_gap_bits(nonzeros: int, n: int) -> int:
    """Expected size of the gap code of `nonzeros` positions out of n, if every position is equally likely.

    Gaps are then close to geometric with p = nonzeros/n, and a gap d costs one b-bit symbol plus one more for every
    full 2ᵇ − 1 in it: E e(d) = 1 + Σ_{j≥1} (1 − p)^(j(2ᵇ − 1) − 1).  Real pruned nets cluster their survivors, so
    this is an estimate.
    """
    if nonzeros == 0:
        return 0
    q = 1 - min(1.0, nonzeros / n)

    def symbols(b: int) -> float:
        jump = q ** (2**b - 1)
        return 1 + (jump / (1 - jump) / q if q > 0 else 0.0)

    return math.ceil(min(b * nonzeros * symbols(b) for b in GAP_WIDTHS))


def coded_bits(size_in_bytes: int) -> int:
    """An arithmetic code is as long as what it codes is unlikely: it is written to know, and fills whole bytes."""
    return 8 * size_in_bytes


def expected_coded_position_bits(nonzeros: int, n: int) -> int:
    """Expected size of the arithmetic code of `nonzeros` positions out of n, if all sets of them are equally likely.

    log₂ C(n, nonzeros), in whole bytes.  Real pruned nets cluster their survivors, often in half of it.
    """
    if not 0 < nonzeros < n:
        return 0
    sets = math.lgamma(n + 1) - math.lgamma(nonzeros + 1) - math.lgamma(n - nonzeros + 1)
    return coded_bits(math.ceil(sets / math.log(2) / 8))


def expected_coded_index_bits(n: int, k: int) -> int:
    """Expected size of the arithmetic code of n indices into a codebook of k, if all are equally likely: n·log₂ k."""
    return coded_bits(math.ceil(n * math.log2(k) / 8))
