"""How far what is calculated is from what was measured. All per start, over measured pixels, summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin.checks import require_number
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Loss(ABC):
    """loss(f, I, measured) with f the calculated intensity (starts, *grid), I and measured (*grid): (starts,)."""

    @abstractmethod
    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor: ...


def _require_counts(loss: Loss, f: Tensor, intensity: Tensor) -> None:
    if f.is_complex() or intensity.is_complex():
        raise InputError(f"{loss!r} is a loss of counts, and these numbers are complex; take Squared(), Absolute() or Huber()")


def _total(pixels: Tensor, measured: Tensor) -> Tensor:
    import torch

    return pixels.where(measured, pixels.new_zeros(())).flatten(-measured.ndim).sum(-1, dtype=torch.float64)


@dataclass(frozen=True)
class Amplitude(Loss):
    """Σ (√f − √I)²: least squares in amplitude; twice it is the half deviance where counts are many."""

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        _require_counts(self, f, intensity)
        return _total((f.sqrt() - intensity.sqrt()).square(), measured)


@dataclass(frozen=True)
class Intensity(Loss):
    """Σ (f − I)² / max(I, 1): least squares in intensity, weighted by the counting error."""

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        _require_counts(self, f, intensity)
        return _total((f - intensity).square() / intensity.clamp(min=1), measured)


@dataclass(frozen=True)
class Poisson(Loss):
    """Σ f − I + I ln(I / f): half the Poisson deviance, 0 where f = I (Thibault and Guizar-Sicairos, New J. Phys. 14, 2012).

    offset: added to f and I, which keeps slopes small where f is nearly 0.
    """

    offset: float = 0.0

    def __post_init__(self) -> None:
        require_number(self, "offset", 0)

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        _require_counts(self, f, intensity)
        f, intensity = f.double().clamp(min=1e-12) + self.offset, intensity.double() + self.offset  # the difference of large terms
        return _total(f - intensity + (intensity.xlogy(intensity) - intensity.xlogy(f)), measured)


@dataclass(frozen=True)
class Squared(Loss):
    """Σ |f − y|²: Gaussian noise."""

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        r = f - intensity
        return _total(r.real.square() + r.imag.square() if r.is_complex() else r.square(), measured)


@dataclass(frozen=True)
class Absolute(Loss):
    """Σ |f − y|: impulses, and others that are far off."""

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        return _total((f - intensity).abs(), measured)


@dataclass(frozen=True)
class Huber(Loss):
    """Σ r² / 2 below delta, delta (|r| − delta / 2) above (Huber, Ann. Math. Statist. 35, 1964)."""

    delta: float = 0.05

    def __post_init__(self) -> None:
        require_number(self, "delta", 0, above=True)

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        r = (f - intensity).abs()
        return _total((r.square() / 2).where(r < self.delta, self.delta * (r - self.delta / 2)), measured)


@dataclass(frozen=True)
class Gamma(Loss):
    """Σ c² (q − 1 − ln q) with q = (y + b) / (f + b): multiplicative noise, speckle (Aubert and Aujol, SIAM J. Appl. Math. 68, 2008, have
    ln f + y / f). 0 where f = y. b is `offset` times the mean of y, and c that mean plus b: so it is about Σ |f − y|² / 2 where f is near
    the mean, and grows with the square of the unit, which leaves the weight of a regulariser what it is.

    offset: the larger, the less what is dark counts; above 0.
    """

    offset: float = 0.1

    def __post_init__(self) -> None:
        require_number(self, "offset", 0, above=True)

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        _require_counts(self, f, intensity)
        y = intensity.double().clamp(min=0)
        mean = (_total(y, measured) / measured.sum().clamp(min=1)).clamp(min=1e-12)
        b = self.offset * mean
        q = (y + b) / (f.double().clamp(min=0) + b)
        return (mean + b).square() * _total(q - 1 - q.log(), measured)


@dataclass(frozen=True)
class SSIM(Loss):
    """Σ (1 − SSIM) over the pixels (Wang, Bovik, Sheikh and Simoncelli, IEEE Trans. Image Process. 13, 2004), of pictures from 0 to 1, with
    a Gaussian window; what is not measured counts as equal. It finds a kernel better than squares do, and a poorer picture (SelfDeblur).

    sigma: of the window, pixels, which ends at 11/3 of it; near the border the window is what lies inside.
    """

    sigma: float = 1.5

    def __post_init__(self) -> None:
        require_number(self, "sigma", 0.3, 100)

    def __call__(self, f: Tensor, intensity: Tensor, measured: Tensor) -> Tensor:
        _require_counts(self, f, intensity)
        f = f.where(measured, intensity)
        y = intensity.expand(f.shape)
        d = measured.ndim - 1
        mf, my, ff, yy, fy = _windowed((f, y, f * f, y * y, f * y), self.sigma, d)
        vf, vy, c = ff - mf * mf, yy - my * my, fy - mf * my
        a, b = 0.01**2, 0.03**2
        return _total(1 - (2 * mf * my + a) * (2 * c + b) / ((mf * mf + my * my + a) * (vf + vy + b)), measured)


def _windowed(images: tuple[Tensor, ...], sigma: float, d: int) -> tuple[Tensor, ...]:
    """Means of (..., *grid) under a Gaussian along the last d axes, within the grid."""
    import torch

    stacked = torch.stack([*images, torch.ones_like(images[0])])
    shape = stacked.shape
    r = int(11 * sigma / 3)
    window = torch.exp(-torch.arange(-r, r + 1, dtype=stacked.dtype, device=stacked.device).square() / (2 * sigma**2))
    for axis in range(len(shape) - d, len(shape)):
        line = stacked.movedim(axis, -1)
        flat = torch.nn.functional.conv1d(line.reshape(-1, 1, line.shape[-1]), window.reshape(1, 1, -1), padding=r)
        stacked = flat.reshape(line.shape).movedim(-1, axis)
    *means, weight = stacked
    return tuple(m / weight for m in means)
