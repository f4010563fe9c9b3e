"""Near field (Fresnel) diffraction at one or several distances, by the angular spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from untwin import fourier
from untwin.data.optics import Optics, require_fresnel_numbers
from untwin.errors import InputError
from untwin.model.symmetry import GlobalPhase, Symmetry
from untwin.model.waves.base import Waves

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern

_ROUNDING = 1e-6  # relative, of a number that was stored in single precision


@dataclass(frozen=True, repr=False, eq=False)
class Fresnel(Waves):
    """W_k x = F⁻¹ exp(−iπ |f|² / N_k) F x, f in cycles per pixel: (starts, *grid) -> (starts, distances, *grid), in the order of a picture.

    numbers: N_k = Δ² / (λ z_k), the Fresnel number of a pixel of size Δ at each distance (of a cone beam: the effective ones); by default
        those of the pattern's optics. The array is periodic: a field of view that the object reaches beyond is padded with pixels that are
        not measured. Reference: Paganin, Coherent X-Ray Optics (2006), section 1.3.
    """

    numbers: tuple[float, ...] = ()
    dimensions: int | None = field(default=None, repr=False, compare=False)
    view: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.numbers, tuple) or self.numbers:
            object.__setattr__(self, "numbers", require_fresnel_numbers(self.numbers))

    def on(self, pattern: Pattern) -> Fresnel:
        numbers = self.numbers or (pattern.optics.fresnel_numbers if pattern.optics else ())
        if not numbers:
            raise InputError("Fresnel() without numbers, and the pattern has none; expected Fresnel((0.01, 0.02)), one for each distance")
        if len(pattern.shape) < 2 or len(numbers) != pattern.shape[0]:
            raise InputError(
                f"{len(numbers)} Fresnel numbers with exposures of shape {pattern.shape}; expected one for each of the first axis"
            )
        for n in pattern.shape[1:]:
            if (least := min(map(abs, numbers))) * n < 1 - _ROUNDING:
                enough = math.ceil((1 - _ROUNDING) / least)
                raise InputError(
                    f"a Fresnel number of {least:g} aliases on {n} pixels: the phase of the propagator turns by more than half a period "
                    f"from one frequency to the next. Expected is 1/{n} at least, or an array of {enough} pixels (pad it with pixels that "
                    "are not measured)"
                )
        view = pattern.measured.all(0)
        return Fresnel(numbers, len(pattern.shape) - 1, None if view.all() or not view.any() else view)

    def recorded(self, pattern: Pattern) -> Pattern:
        optics = pattern.optics or Optics()
        return pattern if self.numbers in ((), optics.fresnel_numbers) else replace(pattern, optics=Optics(None, self.numbers))

    def object_shape(self, pattern: Pattern) -> tuple[int, ...]:
        return pattern.shape[1:]

    @property
    def fft_order(self) -> bool:
        return False

    @property
    def unitary(self) -> bool:
        return len(self.numbers) == 1

    @property
    def symmetry(self) -> Symmetry:
        """What lies outside the field of view nobody saw: two results may differ there."""
        import torch

        return GlobalPhase(None if self.view is None else torch.from_numpy(self.view))

    @cached_property
    def _cast(self) -> dict[Any, Tensor]:
        return {}

    def _propagators(self, like: Tensor, grid: tuple[int, ...]) -> Tensor:
        """(distances, *grid)."""
        import torch

        kind = like.dtype if like.is_complex() else like.dtype.to_complex()
        key = (kind, str(like.device), grid)
        if key not in self._cast:
            square = torch.zeros((), dtype=torch.float64)
            for axis, n in enumerate(grid):
                square = square + torch.fft.fftfreq(n, dtype=torch.float64).reshape([-1 if a == axis else 1 for a in range(len(grid))]) ** 2
            phase = torch.stack([-math.pi * square / number for number in self.numbers])
            self._cast[key] = torch.polar(torch.ones_like(phase), phase).to(like.device, kind)
        return self._cast[key]

    def propagate(self, x: Tensor) -> Tensor:
        h = self._propagators(x, tuple(x.shape[1:]))
        return fourier.inverse(fourier.forward(x, x.ndim - 1).unsqueeze(1) * h, x.ndim - 1, spent=True)

    def backpropagate(self, w: Tensor, spent: bool = False) -> Tensor:
        d = w.ndim - 2
        h = self._propagators(w, tuple(w.shape[2:]))
        return fourier.inverse((fourier.forward(w, d, spent) * h.conj()).sum(1), d, spent=True)

    def pseudoinverse(self, w: Tensor, real: bool = False) -> Tensor:
        """W* W is the number of distances."""
        x = self.backpropagate(w) / len(self.numbers)
        return x.real if real else x
