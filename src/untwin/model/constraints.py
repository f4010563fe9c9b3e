"""What is known of the object beside its pattern. Each constraint is a projection (the MagnitudeCap, whose level is the object's own, only
nearly so); `a & b` applies a, then b.

The support that changes lives in the State and is handed in; everything else is fixed in the Problem.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from untwin import engine
from untwin.engine.plain import magnitude_cap

if TYPE_CHECKING:
    from torch import Tensor


class Constraint(ABC):
    """project(x, support): the nearest object that satisfies it. x is (starts, *grid), support bool of the same shape."""

    @abstractmethod
    def project(self, x: Tensor, support: Tensor) -> Tensor: ...

    def satisfied(self, x: Tensor, support: Tensor) -> Tensor:
        """bool, like x: where the projection leaves x as it is."""
        return self.project(x, support) == x

    @cached_property
    def real(self) -> bool:
        """True where the constraint makes the object real: the Problem then works in real arithmetic."""
        return any(isinstance(c, RealValued | Nonnegative) for c in self.parts())

    def parts(self) -> tuple[Constraint, ...]:
        """The constraints that this one is made of."""
        return (self,)

    @cached_property
    def positive(self) -> bool:
        """True where no value may be below zero."""
        return any(isinstance(c, Nonnegative) for c in self.parts())

    @cached_property
    def flags(self) -> engine.ConstraintFlags | None:
        """The same for the engine, where it can do it: Support(), with Nonnegative() or RealValued() before or after it (the order makes no
        difference), and perhaps MagnitudeCap() at the end."""
        parts = list(self.parts())
        capped = len(parts) > 1 and type(parts[-1]) is MagnitudeCap
        parts = parts[:-1] if capped else parts
        others = [c for c in parts if type(c) is not Support]  # one of the user's may be another set
        if len(parts) == len(others) or not all(type(c) in (RealValued, Nonnegative) for c in others):
            return None
        return engine.ConstraintFlags(positive=self.positive, capped=capped)

    def __and__(self, other: Constraint) -> Both:
        return Both(self, other)


@dataclass(frozen=True)
class Support(Constraint):
    """Zero outside the support."""

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        return x.where(support, x.new_zeros(()))


@dataclass(frozen=True)
class RealValued(Constraint):
    """No imaginary part."""

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        return x.real if x.is_complex() else x


@dataclass(frozen=True)
class Nonnegative(Constraint):
    """Real and at least zero."""

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        return (x.real if x.is_complex() else x).clamp(min=0)


@dataclass(frozen=True)
class MagnitudeCap(Constraint):
    """No magnitude inside the support above the typical one, c = sqrt(Σ m⁴ / Σ m²) over the support of each start.

    Larger values are set to magnitude c with their phase kept, smaller ones stay. It lifts crystals with defects, whose
    magnitude is uniform but for the cores; it is false for objects of strongly varying magnitude, so let the score decide.
    """

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        return x * magnitude_cap(x.where(support, x.new_zeros(())), x)


@dataclass(frozen=True)
class PhaseOnly(Constraint):
    """One magnitude for the whole support, their mean; nothing but phases is free: a pupil, an object that does not absorb."""

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        m = x.abs()
        inside = support.flatten(1).sum(1).clamp(min=1)
        c = m.where(support, m.new_zeros(())).flatten(1).sum(1) / inside
        c = c.reshape((-1,) + (1,) * (x.ndim - 1))
        return (x.sgn() if x.is_complex() else x.sign()) * c


@dataclass(frozen=True)
class Both(Constraint):
    """first, then second."""

    first: Constraint
    second: Constraint

    def parts(self) -> tuple[Constraint, ...]:
        return (*self.first.parts(), *self.second.parts())

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        return self.second.project(self.first.project(x, support), support)
