"""Far-field (Fraunhofer) diffraction: the wave at the detector is the Fourier transform of the object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from untwin import fourier
from untwin.checks import is_number, require_int
from untwin.errors import InputError
from untwin.model.symmetry import FarFieldSymmetry, Symmetry
from untwin.model.waves.base import Waves

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.model.outline import Outline


@lru_cache(maxsize=8)
def _ramp(grid: tuple[int, ...], shift: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    import torch

    return fourier.ramp(grid, shift, torch.empty(0, dtype=dtype, device=device))


@dataclass(frozen=True, repr=False)
class FarField(Waves):
    """W = F on the last `dimensions` axes, unitary, zero frequency first.

    dimensions: of the grid; by default those of the pattern that it is used with, and 2 by itself.
    offset: where the true zero frequency lies relative to index 0, in pixels per axis; by default the pattern's, and 0 by itself.
        A pattern that is centred between two pixels belongs to an object times a phase ramp: harmless for a complex object, not for a
        real one.
    """

    dimensions: int | None = None
    offset: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.dimensions is not None:
            require_int(self, "dimensions", 1, 3)
        if not isinstance(self.offset, tuple) or not all(map(is_number, self.offset)):
            raise InputError(f"FarField(offset={self.offset!r}): expected pixels for each axis, such as (0.5, 0.0)")

    @property
    def ndim(self) -> int:
        return self.dimensions or len(self.offset) or 2

    def on(self, pattern: Pattern) -> FarField:
        d = self.dimensions or len(self.offset) or pattern.ndim
        if pattern.optics is not None:
            raise InputError(
                f"{self!r} with numbers that are no single far field ({pattern.optics!r}); try Masked(), Fresnel() or Linear(A)"
            )
        if d != pattern.ndim or len(self.offset) not in (0, d):
            raise InputError(f"{self!r} with a pattern of shape {pattern.shape}: expected FarField({pattern.ndim})")
        return replace(self, dimensions=d, offset=self.offset or pattern.offset)

    @property
    def unitary(self) -> bool:
        return True

    @property
    def symmetry(self) -> Symmetry:
        return FarFieldSymmetry(self.ndim)

    def outline(self, pattern: Pattern) -> Outline:
        """From the autocorrelation, which is the transform of the pattern (model.outline)."""
        from untwin.model.outline import outline

        return outline(pattern)

    def mirror(self, pattern: Tensor) -> Tensor | None:
        """k -> 2 offset − k; None where that is no pixel."""
        d = self.ndim
        if any(2 * s != round(2 * s) for s in self.offset):
            return None
        roll = [1 + round(2 * s) for s in self.offset or (0.0,) * d]
        return pattern.flip(tuple(range(d))).roll(roll, tuple(range(d)))

    def _ramp(self, x: Tensor, sign: int) -> Tensor | None:
        if not any(self.offset):
            return None
        return _ramp(tuple(x.shape[-self.ndim :]), tuple(-sign * s for s in self.offset), x.dtype, x.device)

    def propagate(self, x: Tensor) -> Tensor:
        r = self._ramp(x, +1)
        return fourier.forward(x, self.ndim) if r is None else fourier.forward(x * r, self.ndim, spent=True)

    def backpropagate(self, w: Tensor, spent: bool = False) -> Tensor:
        """Adjoint and inverse of `propagate`."""
        x = fourier.inverse(w, self.ndim, spent)
        r = self._ramp(x, -1)
        return x if r is None else x * r
