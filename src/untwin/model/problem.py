"""The Problem: a pattern, its physics, a constraint and a loss, and the maps that every method is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from untwin import engine, fourier
from untwin.data.measurement import Pattern
from untwin.engine import Coefficients, ConstraintFlags, Fienup, plain
from untwin.engine.plain import total
from untwin.errors import InputError
from untwin.model.constraints import Constraint, Nonnegative, Support
from untwin.model.losses import Loss, Poisson
from untwin.model.physics.farfield import FarField

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Modulus:
    """How the data are imposed on a wave of modulus f where the counts are I.

    rho: 0 sets the modulus to √I; above 0 it is the Poisson proximal step, the minimiser of m² − I ln m² + ρ (m − f)²:
        m = [ρ f + √(ρ² f² + 4 (1 + ρ) I)] / (2 (1 + ρ)). Few photons: 0.3.
    hole: factor on the wave where nothing was measured, in [0, 1]: 1 leaves it free. For real nonnegative objects 0.97 to
        0.985 keeps the hole from filling with haze. A number, or a tensor (starts, 1, ...).
    """

    rho: float = 0.0
    hole: float | Tensor = 1.0

    def __call__(self, w: Tensor, target: Tensor, width: int = 0) -> Tensor:
        """Scale w (starts, *grid), in place, to the modulus that the data allow; returns Σ (|w| − target)², (starts,) float64.

        target: (*grid), √I where it is imposed, negative elsewhere. width: as for engine.plain.modulus.
        """
        return plain.modulus(w, target, self.rho, self.hole, width)


@dataclass(frozen=True, eq=False)
class Data:
    """The pattern as tensors on one device.

    intensity, measured: as read, for losses. amplitude, imposed: what the projection sets; for a real object the average of
    both halves of the pattern, and a pixel is imposed where either half was measured. target: both in one, the amplitude, or −1
    where nothing is imposed. half: its half for rfftn. arranged: for engine.iterations.
    """

    intensity: Tensor
    measured: Tensor
    amplitude: Tensor
    imposed: Tensor

    @cached_property
    def target(self) -> Tensor:
        return self.amplitude.where(self.imposed, self.amplitude.new_tensor(-1.0))

    @cached_property
    def half(self) -> Tensor:
        return self.target[..., : self.target.shape[-1] // 2 + 1].contiguous()

    @cached_property
    def arranged(self) -> Tensor:
        from untwin.engine import iterations

        return iterations.arranged(self.target)

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


@dataclass(frozen=True, eq=False)
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
            raise InputError(
                f"projections need a physics that measures magnitudes, such as FarField(); got {self.physics!r}: try Picture and Fit"
            )
        object.__setattr__(self, "physics", FarField(p.ndim, p.offset))  # the pattern knows its own grid
        object.__setattr__(self, "device", str(self.device))
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
    def ndim(self) -> int:
        return self.pattern.ndim

    def impose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """P_M x: the measured moduli with the computed phases, unmeasured pixels left free; and the error of x that it has
        met, Σ (|F x| − √I)² over the imposed pixels, (starts,) float64."""
        found = self._compiled(x, None, Coefficients(0, 0, 0, 0, 0), 1)
        if found:
            return found[1:]
        d = self.tensors
        if self.real and not x.is_complex() and not any(self.physics.offset):
            grid = self.pattern.shape
            w = fourier.forward_half(x, self.ndim)
            error = self.modulus(w, d.half, grid[-1])
            return fourier.inverse_half(w, grid), error
        w = self.physics.propagate(x)
        error = self.modulus(w, d.target)
        y = self.physics.backpropagate(w, spent=True)
        return (y.real.contiguous() if self.real else y), error

    def project_modulus(self, x: Tensor) -> Tensor:
        """P_M x."""
        return self.impose(x)[0]

    def advance(self, x: Tensor, support: Tensor, row: Coefficients | Fienup, steps: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Iterations x' = `update` of x and y = P_M x; returns x', and the y and the error of the last `impose`."""
        found = self._compiled(x, support, row, steps)
        if found:
            return found
        for _ in range(steps - 1):
            x = self.update(x, self.impose(x)[0], support, row)
        y, error = self.impose(x)
        return self.update(x, y, support, row), y, error

    def _compiled(self, x: Tensor, support: Tensor | None, row: Coefficients | Fienup, steps: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """`advance` by machine code, where there is one for it. support: None where x' is not needed."""
        import torch

        flags = self.constraint.flags
        if flags is None or x.is_complex() == self.real or any(self.physics.offset):
            return None
        row = _plain(row, flags)
        if isinstance(row, Fienup) and flags != ConstraintFlags(positive=True):
            return None
        compiled = engine.compiled_for(x, support, flags)
        if compiled is None:
            return None
        if support is None:
            support = x.new_zeros((1, *x.shape[1:]), dtype=torch.bool).expand(x.shape)
        return compiled.run(x, support, self.tensors.arranged, row, flags, self.modulus.rho, self.modulus.hole, steps)

    def update(self, x: Tensor, y: Tensor, support: Tensor, row: Coefficients | Fienup) -> Tensor:
        """x' = a x + c y + s P_S(u x + v y), or Fienup's form, a new tensor."""
        flags = self.constraint.flags
        row = _plain(row, flags)
        if isinstance(row, Fienup):
            if flags == ConstraintFlags(positive=True) and not x.is_complex():
                return plain.fienup(x, y, support, row.beta)
            return y.where(self.satisfies(y, support), x.add(y, alpha=-row.beta))
        if flags is not None and x.is_complex() != self.real:
            return plain.update(x, y, support, row, flags)
        z = self.project_object(total(((row.v, y), (row.u, x))), support)
        return total(((row.s, z), (row.a, x), (row.c, y)))

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

    @property
    def seen(self) -> Tensor:
        """(*grid) bool: what was measured."""
        return self.tensors.measured

    @property
    def symmetric(self) -> bool:
        """True: a shift and a global phase leave the pattern as it is."""
        return True

    def without(self, hidden: Tensor) -> Problem:
        """The same problem with some pixels (and, for a real object, their mirror images) declared unmeasured. hidden: (*grid) bool."""
        p = self.pattern
        if self.real:
            roll = [1 + round(2 * s) for s in p.offset or (0.0,) * p.ndim]
            hidden = hidden | hidden.flip(tuple(range(p.ndim))).roll(roll, tuple(range(p.ndim)))
        d = self.tensors
        return replace(self, data=replace(d, measured=d.measured & ~hidden, imposed=d.imposed & ~hidden))

    def within(self, **changes: Constraint | Modulus) -> Problem:
        """The same problem with another modulus or a further constraint (for algorithms that wrap another)."""
        if any(isinstance(c, Modulus) and not isinstance(c.hole, float) for c in changes.values()):
            return replace(self, **changes)
        key = tuple(sorted(changes.items()))
        return self._variants.get(key) or self._variants.setdefault(key, replace(self, **changes))

    @cached_property
    def _variants(self) -> dict[tuple, Problem]:
        return {}

    @classmethod
    def of(cls, pattern: Pattern, positivity: bool = False, device: str | torch.device = "cpu") -> Problem:
        """The problem for a pattern, with or without a real nonnegative object."""
        constraint = Support() & Nonnegative() if positivity else Support()
        return cls(pattern, constraint=constraint, device=str(device))


def _plain(row: Coefficients | Fienup, flags: ConstraintFlags | None) -> Coefficients | Fienup:
    """Under a plain support Fienup's form is a row of the table (HPR)."""
    if isinstance(row, Fienup) and flags == ConstraintFlags():
        return Coefficients(a=1, c=-row.beta, s=1, u=-1, v=1 + row.beta)
    return row


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
