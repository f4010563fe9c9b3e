"""What is known of the object beside its pattern. Each constraint is a projection (the MagnitudeCap, whose level is the object's own, only
nearly so); `a & b` applies a, then b.

The support that changes lives in the State and is handed in; everything else is fixed in the Problem.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from untwin import engine
from untwin.checks import require_int
from untwin.engine.plain import largest, magnitude_cap
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Constraint(ABC):
    """project(x, support): the nearest object that satisfies it. x is (starts, *grid), support bool of the same shape.

    selects: it looks at all pixels at once, and comes behind those that look at each by itself, whatever the order in which they stand.
    """

    selects: ClassVar[bool] = False

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

    def on(self, shape: tuple[int, ...]) -> Constraint:
        """The same for an object of this shape. Raises InputError where it does not suit its size."""
        return self

    @cached_property
    def positive(self) -> bool:
        """True where no value may be below zero."""
        return any(isinstance(c, Nonnegative) for c in self.parts())

    @cached_property
    def sparse(self) -> bool:
        """True where few values are not 0."""
        return any(isinstance(c, Sparse) for c in self.parts())

    @cached_property
    def everywhere(self) -> bool:
        """True where the object is sparse and no support has a part in it."""
        return self.sparse and all(type(c) in (Sparse, Nonnegative, RealValued) for c in self.parts())

    @cached_property
    def confined(self) -> bool:
        """True where what lies outside the support makes no difference to the object."""
        return any(type(c) is Support for c in self.parts()) and all(
            type(c) in (Support, Nonnegative, RealValued, MagnitudeCap) for c in self.parts()
        )

    @cached_property
    def flags(self) -> engine.ConstraintFlags | None:
        """The same for the engine, where it can do it: Support(), with Nonnegative() or RealValued() before or after it (the order makes no
        difference), and perhaps MagnitudeCap() at the end; or Sparse(k) with any of the first three, or none."""
        parts = list(self.parts())
        capped = len(parts) > 1 and type(parts[-1]) is MagnitudeCap
        parts = parts[:-1] if capped else parts
        sparse = [c.k for c in parts if type(c) is Sparse]
        others = [c for c in parts if type(c) not in (Support, Sparse)]  # one of the user's may be another set
        supported = any(type(c) is Support for c in parts)
        known = (supported and not sparse) or (len(sparse) == 1 and sparse[0] is not None and not capped)
        if not known or not all(type(c) in (RealValued, Nonnegative) for c in others):
            return None
        return engine.ConstraintFlags(positive=self.positive, capped=capped, largest=sparse[0] or 0 if sparse else 0, supported=supported)

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
class Sparse(Constraint):
    """At most k values of the object are not 0: the k of the largest magnitude stay. With Nonnegative() the k largest that are above 0, in
    whatever order the two stand. Of equal values the first stay.

    The support-size constraint of crystallography, where the object repeats itself in every cell and has no empty surroundings (Elser, Lan
    and Bendory, SIAM J. Imaging Sci. 11, 2018).

    k: 1 or more, and no more than the object has pixels; None: the automatic plan finds it (CountValues).
    """

    k: int | None = None

    selects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k is not None:
            require_int(self, "k", 1)

    def on(self, shape: tuple[int, ...]) -> Constraint:
        if self.k is not None and self.k > (pixels := math.prod(shape)):
            raise InputError(
                f"Sparse({self.k}): the object has {pixels} pixels; expected how many of them are not 0, such as "
                f"Sparse({max(1, pixels // 20)})"
            )
        return self

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        if self.k is None:
            raise InputError("Sparse() does not say how many values are not 0; give Sparse(k), or CountValues in front of the search")
        return largest(x.flatten(1), self.k).view(x.shape)


@dataclass(frozen=True, repr=False)
class Both(Constraint):
    """first, then second."""

    first: Constraint
    second: Constraint

    def __repr__(self) -> str:
        return " & ".join(map(repr, self.parts()))

    def parts(self) -> tuple[Constraint, ...]:
        return (*self.first.parts(), *self.second.parts())

    def on(self, shape: tuple[int, ...]) -> Constraint:
        return Both(self.first.on(shape), self.second.on(shape))

    def project(self, x: Tensor, support: Tensor) -> Tensor:
        for c in sorted(self.parts(), key=lambda c: c.selects):
            x = c.project(x, support)
        return x
