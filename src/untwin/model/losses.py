"""How far a calculated intensity is from a measured one. All per start, over measured pixels, summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Loss(ABC):
    """loss(f, I, measured) with f the calculated intensity (starts, *grid), I and measured (*grid): (starts,)."""

    @abstractmethod
    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor: ...


def _total(pixels: Tensor, measured: Tensor) -> Tensor:
    import torch

    return pixels.where(measured, pixels.new_zeros(())).flatten(-measured.ndim).sum(-1, dtype=torch.float64)


@dataclass(frozen=True)
class Amplitude(Loss):
    """Σ (√f − √I)²: least squares in amplitude; twice it is the half deviance where counts are many."""

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        return _total((f.sqrt() - intensity.sqrt()).square(), measured)


@dataclass(frozen=True)
class Intensity(Loss):
    """Σ (f − I)² / max(I, 1): least squares in intensity, weighted by the counting error."""

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        return _total((f - intensity).square() / intensity.clamp(min=1), measured)


@dataclass(frozen=True)
class Poisson(Loss):
    """Σ f − I + I ln(I / f): half the Poisson deviance, 0 where f = I (Thibault and Guizar-Sicairos, New J. Phys. 14, 2012)."""

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        f, intensity = f.double().clamp(min=1e-12), intensity.double()  # the difference of large terms
        return _total(f - intensity + (intensity.xlogy(intensity) - intensity.xlogy(f)), measured)
