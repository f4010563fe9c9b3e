"""What is known of the object beside its pattern. Each constraint is a projection (the Ceiling, whose level is the object's own, only
nearly so); `a & b` applies a, then b.

The support that changes lives in the State and is handed in; everything else is fixed in the Problem.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Constraint(ABC):
    """project(x, support): the nearest object that satisfies it. x is (starts, *grid), support bool of the same shape."""

    @abstractmethod
    def project(self, x: Tensor, support: Tensor) -> Tensor: ...

    def satisfied(self, x: Tensor, support: Tensor) -> Tensor:
        """bool, like x: where the projection leaves x as it is."""
        return self.project(x, support) == x

    @property
    def real(self) -> bool:
        """True where the constraint makes the object real: the Problem then works in real arithmetic."""
        return any(isinstance(c, RealValued | Nonnegative) for c in self.parts())

    def parts(self) -> tuple[Constraint, ...]:
        """The constraints that this one is made of."""
        return (self,)

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
class Ceiling(Constraint):
    """No magnitude inside the support above the typical one, c = sqrt(Σ m⁴ / Σ m²) over the support of each start.

    Larger values are set to magnitude c with their phase kept, smaller ones stay. It lifts crystals with defects, whose
    magnitude is uniform but for the cores; it is false for objects of strongly varying magnitude, so let the score decide.
    """

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        square = x.real.square().addcmul_(x.imag, x.imag) if x.is_complex() else x.square()
        inside = square.where(support, square.new_zeros(())).flatten(1)
        level = (inside.square().sum(1) / inside.sum(1).clamp(min=1e-30)).reshape((-1,) + (1,) * (x.ndim - 1))
        return x * (level * (1 + 1e-5) / square.clamp(min=1e-30)).clamp(max=1).sqrt_()  # rounding is no excess


@dataclass(frozen=True)
class Both(Constraint):
    """first, then second."""

    first: Constraint
    second: Constraint

    def parts(self) -> tuple[Constraint, ...]:
        return (*self.first.parts(), *self.second.parts())

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        return self.second.project(self.first.project(x, support), support)
