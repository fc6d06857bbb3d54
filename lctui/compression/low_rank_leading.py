"""The leading eigenvectors of a Gram matrix, without the others: found by iteration, then proven to be the leading.

Owns the iteration, its stopping rule and the proof.  Knows nothing of layers, ranks or prices.  Whoever asks has the
full decomposition to fall back on: an answer is given only where it is certain and comes at less cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BACKWARD = 2.0**-30
"""What residuals may be, relative to √θ·‖V‖: far less than what rounding V to float32 makes of them."""
SLACK = 2.0**-24
"""By which share of the truncation's squared error the sum of the eigenvalues found may miss the best."""
ROUNDING = 2.0**-49
"""The share of tr G that is float64's rounding: nothing smaller is asked of a residual."""

BUDGET = 4
"""All p eigenvectors cost as much as multiplying G with about 4p vectors, on CPUs; a proof as much as with p/3."""
SMALLEST = 128
"""Below so many rows all eigenvectors are had in a millisecond or two, no later than a few of them."""
USUAL = 40
"""So many products with each vector are not too pessimistic a guess; flat spectra take them."""
SPARE = 4
"""At least so many more vectors than wanted ones are iterated on."""
EARLY = 6
"""The filter's degree while the Ritz values are still far from eigenvalues."""
DEGREE = 40
SPREAD = 1e8
"""How much more than the others a filter may amplify the largest direction: half of float64's digits."""


@dataclass(frozen=True)
class Wanted:
    """Which eigenvalues: the `most` largest, of those `above` a threshold."""

    most: int
    above: float = -math.inf

    def count(self, falling: list[float]) -> int:
        """How many of these values are wanted."""
        return sum(value > self.above for value in falling[: self.most])


def leading(gram: Tensor, wanted: Wanted, expected: int, start: Tensor | None = None) -> Tensor | None:
    """The eigenvectors of the wanted eigenvalues θ of G = V Vᵀ, largest first: [p, count].

    Exact for weights V in float32, in this sense.  Every residual ‖Gx − θx‖ is at most 2⁻³⁰·√θ·‖V‖_F: the vectors are
    exact for weights that differ from V by less than V's rounding.  And Σθ misses the best sum by at most about 2⁻²³
    of the truncation's squared error tr G − Σθ, however close the eigenvalues lie: the vectors of a cluster are not
    determined, their sum is.  (Both down to float64's rounding of tr G.)

    Chebyshev-filtered subspace iteration (Zhou, Saad, Tiago & Chelikowsky 2006): a polynomial of G that stays small
    on [0, the block's smallest Ritz value] and grows fast above.  Small residuals say that these are eigenvectors,
    not that no larger one was missed.  That is proven by inertia: σI − G + XΘXᵀ has a Cholesky factor only if no
    eigenvalue beyond those found exceeds σ.

    Args:
        gram: [p, p], float64, symmetric and positive semidefinite.
        wanted: which eigenvalues.
        expected: a guess at their number, to begin with.
        start: [k, p], directions to start from; they may speed it up, and need not be good.

    Returns:
        None where all p eigenvectors are had more cheaply: p small, many wanted, eigenvalues that hardly differ.
    """
    p = gram.shape[0]
    random = torch.Generator().manual_seed(0)

    def filled(vectors: Tensor, width: int) -> Tensor:
        noise = torch.randn((width - vectors.shape[0], p), generator=random, dtype=torch.float64)
        return torch.cat((vectors, noise.to(gram.device)))

    energy, widest = float(gram.trace()), BUDGET * p // USUAL
    width = min(block_size(expected), widest)
    if energy == 0 or wanted.most == 0:
        return gram.new_empty((p, 0))
    if p < SMALLEST or expected + SPARE > widest:
        return None
    block = _Block.of(gram, filled(gram.new_empty(0, p) if start is None else start[:width], width))
    spent = rounds = 0
    while True:
        view = _View.of(block, wanted, energy)
        if view.excess <= 1:
            if _none_missed(gram, block, view.count, view.bound(wanted)):
                return block.vectors[: view.count].mT
            spent += p // 3
        rounds += 1
        spent += width
        # The first Ritz values tell little of how fast it will be.
        hopeless = rounds > 2 and spent + view.degree() * width > BUDGET * p
        if hopeless or view.count + SPARE > widest:
            return None
        degree = max(2, min(view.degree(), view.safe_degree(), EARLY if rounds <= 2 else DEGREE))
        spent += (degree - 1) * width
        width = max(width, min(block_size(view.count), widest))
        block = _Block.of(gram, filled(_filtered(gram, block, view.edge, degree), width))


def block_size(count: int) -> int:
    """Vectors to iterate on for `count` wanted ones: the further ones widen the gap that convergence lives from."""
    return 4 * math.ceil((1.5 * count + 4) / 4)


@dataclass(frozen=True)
class _Block:
    """Orthonormal `vectors` X [b, p], turned so that X G Xᵀ = diag(θ); their `images` X G; the Ritz `values` θ [b]."""

    vectors: Tensor
    images: Tensor
    values: Tensor

    @classmethod
    def of(cls, gram: Tensor, vectors: Tensor) -> _Block:
        """The Rayleigh-Ritz step in the span of some vectors [b, p]; the values fall."""
        vectors = torch.linalg.qr(vectors.mT).Q.mT
        images = vectors @ gram
        values, turn = torch.linalg.eigh(images @ vectors.mT)
        turn = turn.flip(1).mT
        return cls(turn @ vectors, turn @ images, values.flip(0))


@dataclass(frozen=True)
class _View:
    """A block's figures, on the host.

    `values` are all Ritz values; the first `count` are wanted, and their residuals exceed what is allowed by the
    factors `excesses`.  `slack` is what Σθ may miss, `energy` is tr G.
    """

    values: list[float]
    count: int
    excesses: list[float]
    slack: float
    energy: float

    @classmethod
    def of(cls, block: _Block, wanted: Wanted, energy: float) -> _View:
        residuals = torch.linalg.vector_norm(block.images - block.values[:, None] * block.vectors, dim=1)
        values, norms = torch.stack((block.values, residuals)).tolist()
        count = wanted.count(values)
        slack = SLACK * max(energy - sum(values[:count]), 0.0)
        # Σθ misses the best sum by no more than √count·(Σ residual²)^½ plus count·(bound − θ_count): no gap is needed.
        excesses = [
            norm / max(min(BACKWARD * math.sqrt(max(value, 0.0) * energy), slack / count), ROUNDING * energy)
            for value, norm in zip(values[:count], norms, strict=False)
        ]
        return cls(values, count, excesses, slack, energy)

    @property
    def excess(self) -> float:
        return max(self.excesses, default=0.0)

    @property
    def edge(self) -> float:
        """The filter's interval is [0, edge]."""
        return max(self.values[-1], 2.0**-50 * self.values[0])

    def bound(self, wanted: Wanted) -> float:
        """σ, which no eigenvalue that is not wanted may exceed."""
        level = self.values[self.count - 1] if self.count == wanted.most else wanted.above
        return level + max(self.slack / wanted.most, ROUNDING * self.energy)

    def growth(self, value: float) -> float:
        """ln of what each degree of the filter multiplies an eigenvector by."""
        return math.acosh(max(2 * value / self.edge - 1, 1 + 1e-9))

    def degree(self) -> int:
        """The degree at which every wanted residual should be small enough."""
        return max(
            (
                math.ceil(math.log(4 * excess) / self.growth(value)) + 1
                for value, excess in zip(self.values, self.excesses, strict=False)
                if excess > 1
            ),
            default=EARLY,
        )

    def safe_degree(self) -> int:
        return int(math.log(2 * SPREAD) / self.growth(self.values[0]))


def _filtered(gram: Tensor, block: _Block, edge: float, degree: int) -> Tensor:
    """T(2G/edge − I) of a block, T the Chebyshev polynomial of this degree ≥ 2, scaled to length 1: [b, p]."""
    before, now = block.vectors, 2 / edge * block.images - block.vectors
    for _ in range(degree - 1):
        before, now = now, torch.addmm(before + 2 * now, now, gram, beta=-1, alpha=4 / edge)
    return now / torch.linalg.vector_norm(now, dim=1, keepdim=True)


def _none_missed(gram: Tensor, block: _Block, count: int, bound: float) -> bool:
    """Whether G has no eigenvalue above the bound besides the block's first ones."""
    vectors = block.vectors[:count]
    rest = torch.addmm(gram, vectors.mT * block.values[:count], vectors, beta=-1)
    rest.diagonal().add_(bound)
    return int(torch.linalg.cholesky_ex(rest).info) == 0
