"""Blur by a known kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError
from untwin.model.image.base import Linear

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Blur(Linear):
    """y(r) = Σ_s kernel(s) x(r − s), where the whole kernel lies on x: x is larger than y by the kernel's size less one, so that nothing
    is assumed of what lies beyond the border. kernel: real, any odd or even size, and of any sum."""

    kernel: Tensor = field(repr=False)

    @property
    def axes(self) -> int:
        return self.kernel.ndim

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        if len(measured) != self.kernel.ndim or any(k > n for k, n in zip(self.kernel.shape, measured)):
            raise InputError(
                f"the kernel has shape {tuple(self.kernel.shape)}, the image {tuple(measured)}; expected a kernel of as many axes "
                "that is no larger than the image; crop its dark border"
            )
        return tuple(n + k - 1 for n, k in zip(measured, self.kernel.shape))

    def __call__(self, x: Tensor) -> Tensor:
        import torch

        d = self.kernel.ndim
        grid, axes = tuple(x.shape[-d:]), tuple(range(-d, 0))
        real = x.real.dtype if x.is_complex() else x.dtype
        k = torch.fft.rfftn(self.kernel.to(real), s=grid, dim=axes)
        parts = (x.real, x.imag) if x.is_complex() else (x,)
        y = [torch.fft.irfftn(torch.fft.rfftn(p, dim=axes) * k, s=grid, dim=axes) for p in parts]
        convolved = torch.complex(*y) if x.is_complex() else y[0]
        return convolved[(..., *(slice(n - 1, None) for n in self.kernel.shape))]  # what did not wrap around

    def on(self, device: Any) -> Blur:
        return Blur(self.kernel.to(device))
