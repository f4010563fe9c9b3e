"""The pattern as tensors, and how its moduli are imposed on a wave."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import require_number
from untwin.engine import plain
from untwin.expression import former_settings
from untwin.model.detection import Ideal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.model.detection import Detection
    from untwin.model.waves.base import Waves


@dataclass(frozen=True, eq=False)
class Counts:
    """The pattern as tensors on one device, (*grid) each.

    intensity, measured: as read, for losses. amplitude, imposed: what the projection sets; where the pattern repeats itself (a real
    object in the far field) the average of both halves, and a pixel is imposed where either half was measured. target: both in one, the
    amplitude, or −1 where nothing is imposed. mirrored: both halves were averaged. half: its half for rfftn.
    sharpened: the amplitude is what an ideal detector would have counted (Problem.sharpened).
    arranged: for engine.iterations.
    """

    intensity: Tensor
    measured: Tensor
    amplitude: Tensor
    imposed: Tensor
    mirrored: bool = False
    sharpened: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """What travels: the arrays, and not what follows from them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def target(self) -> Tensor:
        return self.amplitude.where(self.imposed, self.amplitude.new_full((), -1.0))

    @cached_property
    def half(self) -> Tensor:
        return self.target[..., : self.target.shape[-1] // 2 + 1].contiguous()

    @cached_property
    def arranged(self) -> Tensor:
        from untwin.engine import iterations

        return iterations.arranged(self.target)

    @classmethod
    def of(cls, pattern: Pattern, mirror: Waves | None = None, device: str = "cpu", dtype: torch.dtype | None = None) -> Counts:
        """mirror: waves whose patterns of real objects repeat themselves; the halves are then averaged. dtype: real, by default float32."""
        import torch

        intensity, measured = (
            torch.from_numpy(pattern.intensity.astype(np.float64)),
            torch.from_numpy(np.ascontiguousarray(pattern.measured)),
        )
        merged, imposed, mirrored = intensity, measured, False
        if mirror is not None:
            counts, coverage = intensity.where(measured, intensity.new_zeros(())), measured.double()
            twin, again = mirror.mirror(counts), mirror.mirror(coverage)
            if twin is not None and again is not None:
                weight = coverage + again
                mirrored, merged, imposed = True, (counts + twin) / weight.clamp(min=1), weight > 0

        def tensor(a: Tensor) -> Tensor:
            return a.to(device, a.dtype if a.dtype == torch.bool else dtype or torch.float32).contiguous()

        return cls(tensor(intensity), tensor(measured), tensor(merged.sqrt()), tensor(imposed), mirrored)


@former_settings(hole="damping")
@dataclass(frozen=True, eq=False)
class Modulus:
    """How the data are imposed on a wave of which m₀ = √D(|w|²) is expected, where the counts are I: w' = w m / m₀.

    rho: 0 sets m to √I; above 0 it is the Poisson proximal step, the minimiser of m² − I ln m² + ρ (m − m₀)²:
        m = [ρ m₀ + √(ρ² m₀² + 4 (1 + ρ) I)] / (2 (1 + ρ)). Few photons: 0.3.
    damping: factor on the wave where nothing was measured, in [0, 1]: 1 leaves it free. For real nonnegative objects 0.97 to
        0.985 keeps the hole from filling with haze. A number, or a tensor (starts, 1, ...).
    """

    rho: float = 0.0
    damping: float | Tensor = 1.0

    def __post_init__(self) -> None:
        require_number(self, "rho", 0)
        if isinstance(self.damping, bool | int | float | str):
            require_number(self, "damping", 0, 1)

    def __call__(self, w: Tensor, target: Tensor, width: int = 0, detection: Detection = Ideal()) -> Tensor:  # noqa: B008 (frozen)
        """Scale w (starts, *grid), in place, to the modulus that the data allow; returns Σ (m₀ − target)², (starts,) float64.

        target: (*grid), √I where it is imposed, negative elsewhere. width: as for engine.plain.modulus, where D(f) = f.
        """
        if type(detection) is Ideal:
            return plain.modulus(w, target, self.rho, self.damping, width)
        import torch

        f = w.real.square() + w.imag.square()
        expected = detection.expected(f).to(f.dtype)
        rounding = torch.finfo(f.dtype).eps * expected.flatten(1).amax(1).reshape((-1,) + (1,) * (f.ndim - 1))
        expected = expected.clamp(min=rounding).add(1e-30).sqrt()  # what a transform leaves of 0 is no ground for a factor
        imposed, rho = target >= 0, self.rho
        error = (expected - target).where(imposed, target.new_zeros(())).square().flatten(1).sum(1, dtype=torch.float64)
        m = target
        if rho:
            m = (rho * expected + (rho**2 * expected.square() + 4 * (1 + rho) * target.square()).sqrt()) / (2 * (1 + rho))
        damping = self.damping.to(target) if isinstance(self.damping, torch.Tensor) else torch.full_like(expected[:1], self.damping)
        w.mul_((m / expected).where(imposed, damping))
        return error
