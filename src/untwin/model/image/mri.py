"""Magnetic resonance imaging: some of the Fourier coefficients, through the sensitivities of the coils."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin import fourier
from untwin.errors import InputError
from untwin.model.image.base import Linear

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class MRI(Linear):
    """y = sampled · F (s x), F unitary, zero frequency in the middle of the array (index N//2), as scanners' files have it.

    x: (..., 1, *grid) real or complex, its middle at N//2. sampled: (*grid) bool. sensitivities: (coils, *grid) complex, or none for one
    coil; y is (..., coils, *grid) complex.
    """

    sampled: Tensor = field(repr=False)
    sensitivities: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        import torch

        s = self.sensitivities
        if not isinstance(self.sampled, torch.Tensor) or self.sampled.dtype != torch.bool:  # 0 and 1, as files and other programs have it
            object.__setattr__(self, "sampled", torch.as_tensor(self.sampled) != 0)
        if s is not None and tuple(s.shape[1:]) != tuple(self.sampled.shape):
            raise InputError(f"sensitivities have shape {tuple(s.shape)}, expected (coils, *{tuple(self.sampled.shape)})")

    @property
    def axes(self) -> int:
        return self.sampled.ndim

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        if tuple(self.sampled.shape) != tuple(measured):
            raise InputError(
                f"the sampling pattern has shape {tuple(self.sampled.shape)}, the k-space {tuple(measured)}; crop or pad one of them"
            )
        return measured

    def __call__(self, x: Tensor) -> Tensor:
        d = self.axes
        x = x if x.is_complex() else x.to(x.dtype.to_complex())
        x = x if self.sensitivities is None else x * self.sensitivities
        w = fourier.centred(fourier.forward(fourier.cornered(x, d), d), d)
        return w.where(self.sampled, w.new_zeros(()))

    def adjoint(self, w: Tensor) -> Tensor:
        d = self.axes
        w = w.where(self.sampled, w.new_zeros(()))
        x = fourier.centred(fourier.inverse(fourier.cornered(w, d), d), d)
        return x if self.sensitivities is None else (x * self.sensitivities.conj()).sum(-d - 1, keepdim=True)

    def on(self, device: Any) -> MRI:
        s = self.sensitivities
        return MRI(self.sampled.to(device), None if s is None else s.to(device))
