"""Objects that are their own twin: x(r) = u conj(x(t - r)), u a phase factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Inversion:
    """shift: t, pixels, so that the centre is a pixel or the middle between pixels. turn: u, a tensor of the object's type."""

    shift: tuple[int, ...]
    turn: Tensor

    def inverted(self, a: Tensor) -> Tensor:
        """a(t - r). a: (..., *grid)."""
        axes = tuple(range(-len(self.shift), 0))
        return a.flip(axes).roll([1 + s for s in self.shift], axes)

    def even(self, x: Tensor) -> Tensor:
        """The part of x that is its own twin. x: (..., *grid)."""
        return (x + self.turn.to(x.dtype) * self.inverted(x).conj()) / 2


def inversion(x: Tensor) -> tuple[Inversion, float]:
    """The inversion under which an object comes nearest to its twin, and E between the two. x: (*grid)."""
    import torch

    correlation = torch.fft.ifftn(torch.fft.fftn(x.to(torch.complex128)) ** 2)  # at t: sum over r of x(r) x(t - r)
    at = int(correlation.abs().argmax())
    peak, power = correlation.flatten()[at], float(x.abs().double().square().sum())
    share = min(1.0, float(peak.abs()) / power) if power > 0 else 1.0
    phase = peak / peak.abs().clamp(min=1e-300)
    shift = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), x.shape))
    return Inversion(shift, phase if x.is_complex() else phase.real.sign()), (1 - share**2) ** 0.5
