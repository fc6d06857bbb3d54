"""Additive combinations: a task's weights as the sum of several compressions.

Owns the alternation over the members and Θ as their Θs.  Solves no member itself: it is handed the solver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lctui.compression.base import Compressed, Part, Shape, Target, theta_dtype
from lctui.compression.deltas import add_up
from lctui.compression.low_rank import LowRankFactors, improved, rank_price
from lctui.scheme.compressions import Block, LowRank, Prune
from lctui.scheme.net import Layer

SWEEPS = 30
TOLERANCE = 1e-6

Solve = Callable[[Block, Tensor, Compressed | None, float], Compressed]
"""A member's C step: `solve(how, v, previous, energy)` with v [N] and ‖·‖² of the whole task's target."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Additive(Compressed):
    """Δ(Θ) = Σ_j Δ_j(Θ_j): the members' Θs, in the order of `how`."""

    members: tuple[Compressed, ...]

    def flat(self) -> Tensor:
        return add_up([member.flat() for member in self.members]).to(theta_dtype(self.dtype))

    @property
    def parameters(self) -> int:
        return sum(member.parameters for member in self.members)

    @property
    def bits(self) -> int:
        return sum(member.bits for member in self.members)

    @property
    def multiplications(self) -> tuple[int, ...]:
        return tuple(map(sum, zip(*(member.multiplications for member in self.members), strict=True)))

    def flops(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        return tuple(map(sum, zip(*(member.flops(layers) for member in self.members), strict=True)))

    def learned(self) -> dict[str, Any]:
        return {"parts": [member.learned() for member in self.members]}

    def parts(self) -> dict[str, Part]:
        return {f"{j}.{name}": part for j, member in enumerate(self.members) for name, part in member.parts().items()}

    @classmethod
    def from_parts(
        cls,
        how: tuple[Any, ...],
        shapes: tuple[Shape, ...],
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype,
        listed: bool,
    ) -> Additive:
        # The dispatcher knows every member's form, and imports this module for its own.
        from lctui.compression.dispatch import restore

        groups: list[dict[str, Tensor]] = [{} for _ in how]
        for name, tensor in tensors.items():
            number, _, rest = name.partition(".")
            if not number.isascii() or not number.isdigit() or str(int(number)) != number or int(number) >= len(how):
                raise ValueError(f"{name!r} belongs to none of the sum's {len(how)} members")
            groups[int(number)][rest] = tensor
        members = tuple(restore(one, shapes, own, dtype, listed) for one, own in zip(how, groups, strict=True))
        return cls(how=how, shapes=shapes, dtype=dtype, listed=listed, members=members)


def add(
    how: tuple[Block, ...],
    target: Target,
    v: Tensor,
    mu: float,
    pixels: int,
    previous: Compressed | None,
    solve: Solve,
) -> Additive:
    """min over Θ₁..Θ_J of ‖v − Σ_j Δ_j(Θ_j)‖² + (2/μ)·Σ_j penalty_j(Θ_j): a local optimum.

    Alternates the members' C steps, each on what the others leave, until the objective falls by less than 1e-6 of
    itself or after 30 sweeps.  It never rises: a step that rounding makes worse is not taken.  Penalties are part of
    the objective (α‖θ‖₀, α‖θ‖₁, α·C(r)); without them it is the error.  A rank that is chosen under `normalize`
    measures its error relative to ‖v‖² of the sum's target, which stays the same over the sweeps.  With low-rank
    members, up to 30 cheap sweeps come before: theirs are steps of orthogonal iteration.  Starts from zero, and from
    the previous Θ; the better end is returned.

    Source: Idelbayev & Carreira-Perpiñán, More general and effective model compression via an additive combination of
    compressions, ECML 2021.
    """
    exact = v.double()
    problem = _Problem(how, exact, mu, pixels, float(exact.square().sum()), solve)
    best = problem.alternate(problem.first())
    if isinstance(previous, Additive) and previous.how == how and previous.shapes == target.shapes:
        again = problem.state([problem.fitted(member.to(v.device)) for member in previous.members])
        best = min(best, problem.alternate(again), key=lambda state: state.objective)
    members = tuple(fit.theta for fit in best.fits)
    return Additive(how=how, shapes=target.shapes, dtype=target.dtype, listed=target.listed, members=members)


@dataclass(frozen=True)
class _Fit:
    """A member's Θ, with what the objective needs of it: Δ(Θ) [N] in float64, and (2/μ)·penalty(Θ)."""

    theta: Compressed
    delta: Tensor
    penalty: float


@dataclass(frozen=True)
class _State:
    """The members' fits, what they leave of v [N] in float64, and ‖what they leave‖² + (2/μ)·Σ penalty_j."""

    fits: tuple[_Fit, ...]
    left: Tensor
    objective: float


@dataclass(frozen=True)
class _Problem:
    how: tuple[Block, ...]
    v: Tensor
    mu: float
    pixels: int
    energy: float
    solve: Solve

    def first(self) -> _State:
        """One sweep from zero: each member fits what those before it leave."""
        fits: list[_Fit] = []
        rest = self.v
        for how in self.how:
            fits.append(self.fitted(self.solve(how, rest, None, self.energy)))
            rest = rest - fits[-1].delta
        return self.state(fits)

    def alternate(self, state: _State) -> _State:
        """Sweeps until the objective stops falling: cheap ones of low-rank members as long as they get somewhere."""
        if any(isinstance(fit.theta, LowRankFactors) for fit in state.fits):
            state = self.sweeps(state, self.step)
        return self.sweeps(state, self.solve)

    def sweeps(self, state: _State, solve: Solve) -> _State:
        """Sweeps with this solver until the objective falls by less than 1e-6 of itself, 30 at most."""
        for _ in range(SWEEPS):
            before = state.objective
            for j in range(len(self.how)):
                changed = self.refit(state, j, solve)
                if changed.objective < state.objective:
                    state = changed
            if before - state.objective <= TOLERANCE * before:
                break
        return state

    def step(self, how: Block, rest: Tensor, previous: Compressed | None, energy: float) -> Compressed:
        """A member's C step, or for low rank a better Θ of the same rank: exact answers to a moving target can wait."""
        if isinstance(previous, LowRankFactors):
            return improved(previous, rest)
        return self.solve(how, rest, previous, energy)

    def refit(self, state: _State, j: int, solve: Solve) -> _State:
        """Member j fitted anew to what the others leave."""
        old = state.fits[j]
        rest = state.left + old.delta
        new = self.fitted(solve(self.how[j], rest, old.theta, self.energy))
        return self.state([*state.fits[:j], new, *state.fits[j + 1 :]], rest - new.delta)

    def state(self, fits: Sequence[_Fit], left: Tensor | None = None) -> _State:
        """The state that these fits make; `left` if it is known."""
        if left is None:
            left = self.v - add_up([fit.delta for fit in fits])
        return _State(tuple(fits), left, float(left.dot(left)) + sum(fit.penalty for fit in fits))

    def fitted(self, theta: Compressed) -> _Fit:
        """A member's Θ with its part in the objective."""
        delta = theta.flat().double()
        return _Fit(theta, delta, self.penalty(theta, delta))

    def penalty(self, theta: Compressed, delta: Tensor) -> float:
        """(2/μ)·penalty of one member: 0 for constraints."""
        how = theta.how
        if isinstance(how, Prune) and how.alpha is not None:
            size = float(delta.abs().sum()) if how.norm == "l1" else int(torch.count_nonzero(delta))
            return 2 * how.alpha / self.mu * size
        if isinstance(how, LowRank) and isinstance(theta, LowRankFactors) and how.rank == "auto":
            unit = self.energy if how.normalize and self.energy > 0 else 1.0
            price = rank_price(how, (theta.u.shape[0], theta.z.shape[0]), self.pixels)
            return 2 * price * theta.rank / self.mu * unit
        return 0.0
