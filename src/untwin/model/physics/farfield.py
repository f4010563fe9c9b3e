"""Far-field (Fraunhofer) diffraction: the detector reads the squared modulus of the Fourier transform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from untwin import fourier

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@lru_cache(maxsize=8)
def _ramp(grid: tuple[int, ...], shift: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    import torch

    return fourier.ramp(grid, shift, torch.empty(0, dtype=dtype, device=device))


@dataclass(frozen=True)
class FarField:
    """forward(x) = |F x|² on the last `dimensions` axes, F unitary, zero frequency first.

    offset: where the true zero frequency lies relative to index 0, in pixels per axis. A pattern that is centred between two
    pixels belongs to an object times a phase ramp: harmless for a complex object, not for a real one.
    """

    dimensions: int = 2
    offset: tuple[float, ...] = ()

    def _ramp(self, x: Tensor, sign: int) -> Tensor | None:
        if not any(self.offset):
            return None
        return _ramp(tuple(x.shape[-self.dimensions :]), tuple(-sign * s for s in self.offset), x.dtype, x.device)

    def propagate(self, x: Tensor) -> Tensor:
        """The complex wave at the detector, (..., *grid); linear, unitary."""
        r = self._ramp(x, +1)
        return fourier.forward(x, self.dimensions) if r is None else fourier.forward(x * r, self.dimensions, spent=True)

    def backpropagate(self, w: Tensor, spent: bool = False) -> Tensor:
        """Adjoint and inverse of `propagate`. spent: w is not needed any more."""
        x = fourier.inverse(w, self.dimensions, spent)
        r = self._ramp(x, -1)
        return x if r is None else x * r

    def __call__(self, x: Tensor) -> Tensor:
        """Intensity at the detector, (..., *grid) real."""
        w = self.propagate(x)
        return w.real.square() + w.imag.square()
