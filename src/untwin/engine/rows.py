"""What an update is made of: a row of the table of projections, and the constraint as flags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Coefficients:
    """x' = a x + c y + s P(u x + v y), with y = P_M x and P the projection onto the constraint."""

    a: float
    c: float
    s: float
    u: float
    v: float


@dataclass(frozen=True)
class Fienup:
    """x' = y where y satisfies the constraint, x − β y elsewhere: HIO, which is a row of the table for a plain support only."""

    beta: float


@dataclass(frozen=True)
class ConstraintFlags:
    """A constraint as the engine knows it: P inside the support, zero outside of it.

    positive: negative values become zero (real arrays only). capped: no magnitude above c = sqrt(Σ m⁴ / Σ m²) of the start.
    largest: above 0, so many values of a start stay at most, those of the largest magnitudes. supported: False where the support has no
    part in it.
    """

    positive: bool = False
    capped: bool = False
    largest: int = 0
    supported: bool = True
