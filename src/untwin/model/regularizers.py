"""What makes an image less likely before anything is measured: λ R(G). g is (channels, *grid), of order 1; if complex, its magnitude."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin import expression
from untwin.checks import require_number

if TYPE_CHECKING:
    from torch import Tensor


class Regularizer(ABC):
    """weight λ times R(g), a number."""

    weight: float

    @abstractmethod
    def value(self, g: Tensor) -> Tensor:
        """R of real g (channels, *grid)."""

    def __post_init__(self) -> None:
        require_number(self, "weight", 0)

    def __call__(self, g: Tensor) -> Tensor:
        return self.weight * self.value((g.real.square() + g.imag.square() + 1e-12).sqrt() if g.is_complex() else g)

    def __repr__(self) -> str:
        return expression.write(self)


def differences(g: Tensor) -> list[Tensor]:
    """Forward differences of (channels, *grid) along each axis of the grid."""
    return [g.diff(dim=axis) for axis in range(1, g.ndim)]


@dataclass(frozen=True, repr=False)
class TV(Regularizer):
    """Anisotropic total variation per pixel, Σ_axes Σ |difference| / pixels (Rudin, Osher and Fatemi, Physica D 60, 1992)."""

    weight: float = 0.45

    def value(self, g: Tensor) -> Tensor:
        return sum((v.abs().sum() for v in differences(g)), g.new_zeros(())) / g.numel()


@dataclass(frozen=True, repr=False)
class IsotropicTV(Regularizer):
    """Isotropic total variation per pixel, Σ √(Σ_axes difference² + 1e-8) / pixels; the last line of each axis is left out."""

    weight: float = 0.45

    def value(self, g: Tensor) -> Tensor:
        inside = [v[(slice(None), *(slice(0, n - 1) for n in g.shape[1:]))] for v in differences(g)]
        square = sum((v.square() for v in inside), g.new_zeros(()))
        return (square + 1e-8).sqrt().sum() / g.numel()


@dataclass(frozen=True, repr=False)
class L1(Regularizer):
    """Mean magnitude: sparse images."""

    weight: float = 0.01

    def value(self, g: Tensor) -> Tensor:
        return g.abs().mean()


@dataclass(frozen=True, repr=False)
class GradientRatio(Regularizer):
    """|∇g|₁ / (|∇g|₂ √n), n the numbers of g (Krishnan, Tay and Fergus, CVPR 2011, without the √n): does not shrink contrast, so one weight
    serves many noise levels. √n makes it the same for a picture of any size.

    weight: beside a mean loss; what larger ones do is measured in docs/defaults.md. With Fit(root=True) 30 times as much.
    """

    weight: float = 2e-4

    def value(self, g: Tensor) -> Tensor:
        flat = [v.flatten() for v in differences(g)]
        first = sum((v.abs().sum() for v in flat), g.new_zeros(()))
        second = sum((v.square().sum() for v in flat), g.new_zeros(()))
        return first / ((second + 1e-16).sqrt() + 1e-8) / g.numel() ** 0.5
