"""Several far fields of one object, each behind a mask: coded diffraction, chirps, defocus (phase diversity)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from untwin import fourier
from untwin.data.optics import Optics, require_masks
from untwin.errors import InputError
from untwin.model.symmetry import GlobalPhase, Symmetry
from untwin.model.waves.base import Waves

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from untwin.data.measurement import Pattern

DARK = 1e-12  # of the largest Σ|m|²: below it no light comes through


@dataclass(frozen=True, repr=False, eq=False)
class Masked(Waves):
    """W x = F(m_k x), exposures k of one object x: (starts, *grid) -> (starts, exposures, *detector), each in FFT order.

    masks: (exposures, *grid) complex: what the object is multiplied by, in the order of a picture. By default those of the pattern's
        optics. Random phases: coded diffraction (Candès, Li and Soltanolkotabi, Appl. Comput. Harmon. Anal. 39, 2015). exp(iπ C r²): a
        lens, or the near field of a single hologram. A pupil times exp(i defocus): phase diversity (Gonsalves, Opt. Eng. 21, 1982).
    Where the detector has more pixels than the masks, the object lies in the corner of an array of zeros (oversampling).
    """

    masks: Any = field(default=None, repr=False, compare=False)
    detector: tuple[int, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.masks is not None:
            object.__setattr__(self, "masks", require_masks(self.masks))

    @property
    def ndim(self) -> int:
        return self._required.ndim - 1

    @property
    def _required(self) -> Any:
        if self.masks is None:
            raise InputError("Masked() without masks, and the pattern has none; expected Masked(masks) with (exposures, height, width)")
        return self.masks

    def on(self, pattern: Pattern) -> Masked:
        own = self if self.masks is not None or pattern.optics is None else Masked(pattern.optics.masks)
        masks = own._required
        exposures, detector = pattern.shape[0], pattern.shape[1:]
        if exposures != len(masks) or len(detector) != masks.ndim - 1 or any(n < m for n, m in zip(detector, masks.shape[1:])):
            raise InputError(
                f"masks of shape {masks.shape} with exposures of shape {pattern.shape}; expected one mask for each exposure, no larger "
                f"than it, such as {(exposures, *detector)}"
            )
        return own if own.detector == detector else Masked(masks, detector)

    def recorded(self, pattern: Pattern) -> Pattern:
        optics = pattern.optics or Optics()
        return pattern if self.masks is None or optics.masks is self.masks else replace(pattern, optics=replace(optics, masks=self.masks))

    def object_shape(self, pattern: Pattern) -> tuple[int, ...]:
        masks = self.masks if self.masks is not None else pattern.optics and pattern.optics.masks
        return pattern.shape[1:] if masks is None else tuple(masks.shape[1:])

    @property
    def fft_order(self) -> bool:
        return False

    @cached_property
    def unitary(self) -> bool:  # type: ignore[override]
        """One mask of pure phase, on the grid of the detector."""
        import numpy as np

        masks = self._required
        return len(masks) == 1 and self.detector == masks.shape[1:] and bool(np.allclose(np.abs(masks), 1, atol=1e-6))

    def illuminated(self, pattern: Pattern) -> np.ndarray | None:
        lit = self._masks_power() > 0
        return None if lit.all() else lit

    def _masks_power(self) -> np.ndarray:
        import numpy as np

        power = np.square(np.abs(self._required.astype(np.complex128))).sum(0)
        return np.where(power > DARK * power.max(), power, 0)

    @property
    def symmetry(self) -> Symmetry:
        return GlobalPhase()

    @cached_property
    def _cast(self) -> dict[Any, tuple[Tensor, Tensor]]:
        return {}

    def _masks(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The masks, and 1 / Σ_k |m_k|², 0 where no light comes through."""
        import torch

        kind = like.dtype if like.is_complex() else like.dtype.to_complex()
        key = (kind, str(like.device))
        if key not in self._cast:
            m, power = torch.from_numpy(self._required), torch.from_numpy(self._masks_power())
            inverse = torch.where(power > 0, 1 / power.clamp(min=1e-30), power.new_zeros(()))
            self._cast[key] = (m.to(like.device, kind), inverse.to(like.device, kind.to_real()))
        return self._cast[key]

    def propagate(self, x: Tensor) -> Tensor:
        import torch

        masks, _ = self._masks(x)
        y = x.unsqueeze(1) * masks
        detector = self.detector or tuple(masks.shape[1:])
        if detector != tuple(masks.shape[1:]):
            pad = [v for n, m in zip(reversed(detector), reversed(masks.shape[1:])) for v in (0, n - m)]
            y = torch.nn.functional.pad(y, pad)
        return fourier.forward(y, self.ndim, spent=True)

    def backpropagate(self, w: Tensor, spent: bool = False) -> Tensor:
        masks, _ = self._masks(w)
        y = fourier.inverse(w, self.ndim, spent)
        y = y[(..., *(slice(0, n) for n in masks.shape[1:]))]
        return (masks.conj() * y).sum(1)

    def pseudoinverse(self, w: Tensor, real: bool = False) -> Tensor:
        """W* W is diagonal: Σ_k |m_k|²."""
        _, inverse = self._masks(w)
        x = self.backpropagate(w) * inverse
        return x.real if real else x
