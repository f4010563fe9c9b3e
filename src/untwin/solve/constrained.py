"""Fits with constraints: min f(θ) subject to bounds on what is measured of the image, by an augmented Lagrangian.

With c <= 0 for a bound that is met, u >= 0 its multiplier in units of the penalty ρ (Rockafellar, J. Optim. Theory Appl. 12, 1973):

    L = f + ρ/2 Σ max(0, u + c)²;   after each step   u <- max(0, u + η min(c, 1)),

and for an equation the same without the max(0, ·). One step of the descent for each of the multipliers, which grow no faster than by η: at
first an image is far from its bounds, and what they had gathered there they would have to lose again below them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from untwin import expression
from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.losses import Loss
from untwin.model.measures import Magnitude, Measure, Total, Volume

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.inverse import InverseProblem


@dataclass(frozen=True, repr=False)
class Bound(ABC):
    """measure: a Loss, for its mean over what was measured; or Total(), Magnitude(), Volume(). limit: above 0. penalty: ρ, beside a
    regulariser whose weight is about 1. rate: η."""

    measure: Loss | Measure
    limit: float
    penalty: float = 1.0
    rate: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.measure, Loss | Measure):
            raise InputError(
                f"{type(self).__name__}({self.measure!r}, ...): expected a loss such as Squared(), or Total(), Magnitude(), Volume()"
            )
        require_number(self, "limit", 0, above=True)
        require_number(self, "penalty", 0, above=True)
        require_number(self, "rate", 0)

    @property
    @abstractmethod
    def window(self) -> tuple[float, float]:
        """The least and the largest value that is allowed."""

    @abstractmethod
    def excess(self, value: Tensor) -> Tensor:
        """c, relative to the limit."""

    def active(self, u: Tensor) -> Tensor:
        """max(0, u)."""
        return u.clamp(min=0)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class AtMost(Bound):
    """measure <= limit."""

    @property
    def window(self) -> tuple[float, float]:
        return 0.0, self.limit

    def excess(self, value: Tensor) -> Tensor:
        return value / self.limit - 1


@dataclass(frozen=True, repr=False)
class AtLeast(Bound):
    """measure >= limit."""

    @property
    def window(self) -> tuple[float, float]:
        return self.limit, float("inf")

    def excess(self, value: Tensor) -> Tensor:
        return 1 - value / self.limit


@dataclass(frozen=True, repr=False)
class Equal(Bound):
    """measure = limit."""

    @property
    def window(self) -> tuple[float, float]:
        return self.limit, self.limit

    def excess(self, value: Tensor) -> Tensor:
        return value / self.limit - 1

    def active(self, u: Tensor) -> Tensor:
        return u


Bounds = Sequence[Bound]


def require_bounds(bounds: Any) -> tuple[Bound, ...]:
    """As a tuple. Raises InputError where one is no bound, or two contradict each other."""
    if isinstance(bounds, Bound) or not isinstance(bounds, Iterable):
        raise InputError(f"Fit(constraints={bounds!r}): expected a list, such as [AtMost(Squared(), 0.01)]")
    bounds = tuple(bounds)
    for b in bounds:
        if not isinstance(b, Bound):
            raise InputError(f"Fit(constraints=...): {b!r} is no constraint; expected such as AtMost(Squared(), 0.01)")
        if isinstance(b.measure, Volume) and b.window[0] > 1:
            raise InputError(f"{b!r} cannot be met: a volume is a share of the array, 1 at most")
    for i, a in enumerate(bounds):
        for b in bounds[:i]:
            if a.measure == b.measure and max(a.window[0], b.window[0]) > min(a.window[1], b.window[1]):
                raise InputError(f"{b!r} and {a!r} contradict each other: no image meets both; change one of the limits")
    return bounds


def require_room(bounds: Bounds, size: int) -> None:
    """Raise InputError where no image of so many pixels has both the sum and the magnitudes that are asked for."""
    for total in (b for b in bounds if isinstance(b.measure, Total)):
        for m in (b for b in bounds if isinstance(b.measure, Magnitude)):
            least, most = (size * v for v in m.window)
            if total.window[0] > most or total.window[1] < least:
                raise InputError(
                    f"{total!r} and {m!r} contradict each other: {size} pixels of such a magnitude sum up to "
                    f"{least:g} to {most:g}; change one of the limits"
                )


def bounded_loss(bounds: Bounds) -> Loss | None:
    """The loss that is bounded, and so is no part of what is minimised."""
    return next((b.measure for b in bounds if isinstance(b.measure, Loss)), None)


def excesses(bounds: Bounds, problem: InverseProblem, g: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """c of each. g: as the prior draws it, x: the same as the problem has it."""
    return tuple(b.excess(problem.render(g, b.measure)[1] if isinstance(b.measure, Loss) else b.measure.value(x)) for b in bounds)


def penalties(bounds: Bounds, multipliers: tuple[Tensor | None, ...], c: tuple[Tensor, ...]) -> Tensor:
    """ρ/2 Σ max(0, u + c)², of a bound on every pixel its mean."""
    terms = [b.penalty / 2 * b.active(v if u is None else v + u).square().mean() for b, u, v in zip(bounds, multipliers, c)]
    return sum(terms[1:], terms[0])


def updated(bounds: Bounds, multipliers: tuple[Tensor | None, ...], c: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """u after a step."""
    steps = [b.rate * v.clamp(-1, 1) for b, v in zip(bounds, c)]
    return tuple(b.active(v if u is None else u + v) for b, u, v in zip(bounds, multipliers, steps))
