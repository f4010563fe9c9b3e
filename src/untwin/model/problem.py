"""The Problem: a pattern, its physics, a constraint and a loss, and the maps that every method is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from untwin.data.measurement import Pattern
from untwin.errors import InputError
from untwin.model.constraints import Constraint, Nonnegative, Support
from untwin.model.losses import Loss, Poisson
from untwin.model.physics.farfield import FarField

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Modulus:
    """How the data are imposed on a wave of modulus f where the counts are I.

    rho: 0 sets the modulus to √I; above 0 it is the Poisson proximal step, the minimiser of m² − I ln m² + ρ (m − f)²:
        m = [ρ f + √(ρ² f² + 4 (1 + ρ) I)] / (2 (1 + ρ)). Few photons: 0.3.
    hole: factor on the wave where nothing was measured, in [0, 1]: 1 leaves it free. For real nonnegative objects 0.97 to
        0.985 keeps the hole from filling with haze. A number, or a tensor (starts, 1, ...).
    """

    rho: float = 0.0
    hole: float | Tensor = 1.0

    def __call__(self, w: Tensor, amplitude: Tensor, imposed: Tensor) -> Tensor:
        """w, in place: scaled to the modulus that the data allow. amplitude = √I and imposed are (*grid)."""
        import torch

        square = w.real.square().addcmul_(w.imag, w.imag)
        if self.rho == 0:
            factor = square.add_(1e-20).rsqrt_().mul_(amplitude)
        else:
            rho = self.rho
            f = square.sqrt()
            m = (square.mul_(rho * rho) + 4 * (1 + rho) * amplitude.square()).sqrt_().add_(f, alpha=rho)
            factor = m.div_(f.add_(1e-10)).mul_(1 / (2 * (1 + rho)))
        hole = self.hole.to(factor) if isinstance(self.hole, torch.Tensor) else factor.new_tensor(self.hole)
        factor = torch.where(imposed, factor, hole)
        for part in (w.real, w.imag):  # a real factor times a complex tensor would first be made complex
            part.mul_(factor)
        return w


@dataclass(frozen=True)
class Data:
    """The pattern as tensors on one device.

    intensity, measured: as read, for losses. amplitude, imposed: what the projection sets; for a real object the average of
    both halves of the pattern, and a pixel is imposed where either half was measured.
    """

    intensity: Tensor
    measured: Tensor
    amplitude: Tensor
    imposed: Tensor

    @classmethod
    def of(cls, pattern: Pattern, real: bool, device: str = "cpu", dtype: torch.dtype | None = None) -> Data:
        import torch

        intensity = pattern.intensity.astype(np.float64)
        measured = pattern.measured
        if real:
            twin = tuple(slice(None, None, -1) for _ in range(pattern.ndim))
            roll = tuple(1 + round(2 * s) for s in pattern.offset)  # k -> 2 offset - k
            axes = tuple(range(pattern.ndim))
            counts = np.where(measured, intensity, 0)
            weight = measured + np.roll(measured[twin], roll, axes).astype(float)
            total = counts + np.roll(counts[twin], roll, axes)
            merged, imposed = total / np.maximum(weight, 1), weight > 0
        else:
            merged, imposed = intensity, measured
        dtype = dtype or torch.float32

        def tensor(a: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(a)).to(device, torch.bool if a.dtype == bool else dtype)

        return cls(tensor(intensity), tensor(measured), tensor(np.sqrt(merged)), tensor(imposed))


@dataclass(frozen=True)
class Problem:
    """A far-field pattern to be phased.

    x is (starts, *grid) in FFT order, complex, or real where the constraint makes it so; its |F x|² is in the pattern's units.
    """

    pattern: Pattern
    physics: FarField = field(default_factory=FarField)
    constraint: Constraint = field(default_factory=Support)
    loss: Loss = field(default_factory=Poisson)
    modulus: Modulus = field(default_factory=Modulus)
    device: str = "cpu"
    data: Data | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        p = self.pattern
        if not isinstance(self.physics, FarField):
            raise InputError(f"projections need a physics that measures magnitudes, such as FarField(); got {self.physics!r}")
        object.__setattr__(self, "physics", FarField(p.ndim, p.offset))  # the pattern knows its own grid
        if self.data is None:
            object.__setattr__(self, "data", Data.of(p, self.constraint.real, self.device))

    @property
    def tensors(self) -> Data:
        assert self.data is not None  # made in __post_init__
        return self.data

    @property
    def real(self) -> bool:
        return self.constraint.real

    @property
    def plain(self) -> bool:
        """True where the constraint is nothing but the support."""
        return isinstance(self.constraint, Support)

    @property
    def ndim(self) -> int:
        return self.pattern.ndim

    def project_modulus(self, x: Tensor) -> Tensor:
        """P_M x: the measured moduli with the computed phases; unmeasured pixels stay free."""
        d = self.tensors
        y = self.physics.backpropagate(self.modulus(self.physics.propagate(x), d.amplitude, d.imposed))
        return y.real if self.real else y

    def project_object(self, x: Tensor, support: Tensor) -> Tensor:
        """P_S x."""
        return self.constraint.project(x, support)

    def satisfies(self, x: Tensor, support: Tensor) -> Tensor:
        """bool, like x: where P_S leaves x as it is."""
        return self.constraint.satisfied(x, support)

    def intensity(self, x: Tensor) -> Tensor:
        """|F x|², (starts, *grid)."""
        return self.physics(x)

    def misfit(self, x: Tensor) -> Tensor:
        """(starts,) the loss of x over the measured pixels, in float64."""
        d = self.tensors
        return self.loss(self.intensity(x), d.intensity, d.measured)

    def within(self, **changes: Constraint | Modulus) -> Problem:
        """The same problem with another modulus or a further constraint (for algorithms that wrap another)."""
        return replace(self, **changes)

    @classmethod
    def of(cls, pattern: Pattern, positivity: bool = False, device: str = "cpu") -> Problem:
        """The problem for a pattern, with or without a real nonnegative object."""
        constraint = Support() & Nonnegative() if positivity else Support()
        return cls(pattern, constraint=constraint, device=device)


def require_real(pattern: Pattern) -> None:
    """Raise InputError where the pattern cannot be that of a real object: too far from its own mirror image."""
    from untwin.data.centre import REAL, asymmetry_about

    asymmetry = pattern.asymmetry
    if np.isnan(asymmetry):
        centre = tuple(n // 2 + s for n, s in zip(pattern.shape, pattern.offset))
        asymmetry = asymmetry_about(np.fft.fftshift(pattern.intensity), np.fft.fftshift(pattern.measured), centre)
    if asymmetry > 2 * REAL:
        raise InputError(
            f"positivity needs a real object, whose pattern is its own mirror image; this one differs from its mirror image by "
            f"{asymmetry:.2f} (0 for a real object, below {REAL:g} with noise). Leave positivity out, or check the centre"
        )
