"""Numbers of an image that can be bounded: its sum, its magnitude, how much of the array it fills."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin import expression
from untwin.checks import require_number

if TYPE_CHECKING:
    from torch import Tensor


class Measure(ABC):
    """A number of an image, or one for each pixel."""

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """Of x (*shape) real or complex: a scalar, or a real tensor of its shape."""

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Total(Measure):
    """Σ x, of complex x Σ |x|: what is known where the dose, the charge or the mass is."""

    def value(self, x: Tensor) -> Tensor:
        return (x.abs() if x.is_complex() else x).sum()


@dataclass(frozen=True, repr=False)
class Magnitude(Measure):
    """|x| of each pixel; of real x, x itself."""

    def value(self, x: Tensor) -> Tensor:
        return (x.real.square() + x.imag.square() + 1e-20).sqrt() if x.is_complex() else x


@dataclass(frozen=True, repr=False)
class Volume(Measure):
    """The share of the array that the object fills, with a soft edge so that it has slopes: mean of m² / (m² + t²), m = |x|, t = `level`
    times the largest m.

    level: of the largest magnitude, where a pixel counts half.
    """

    level: float = 0.2

    def __post_init__(self) -> None:
        require_number(self, "level", 0, 1, above=True)

    def value(self, x: Tensor) -> Tensor:
        m = x.real.square() + x.imag.square() if x.is_complex() else x.square()
        return (m / (m + self.level**2 * m.detach().amax().clamp(min=1e-30))).mean()
