"""Blur by a known kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError
from untwin.model.image.base import Linear

if TYPE_CHECKING:
    import torch
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
        k = self._transform(grid, real)
        parts = (x.real, x.imag) if x.is_complex() else (x,)
        y = [torch.fft.irfftn(torch.fft.rfftn(p, dim=axes) * k, s=grid, dim=axes) for p in parts]
        convolved = torch.complex(*y) if x.is_complex() else y[0]
        return convolved[(..., *(slice(n - 1, None) for n in self.kernel.shape))]  # what did not wrap around

    def _transform(self, grid: tuple[int, ...], real: torch.dtype) -> Tensor:
        """Of the kernel on a grid, worked out once for it; in each call where the kernel itself is differentiated."""
        import torch

        def transform() -> Tensor:
            return torch.fft.rfftn(self.kernel.to(real), s=grid, dim=tuple(range(-len(grid), 0)))

        if self.kernel.requires_grad:
            return transform()
        if (grid, real) not in self._transforms:
            with torch.inference_mode(False), torch.no_grad():  # what stays must serve other calls, too
                self._transforms[grid, real] = torch.func.debug_unwrap(transform())
        return self._transforms[grid, real]

    @cached_property
    def _transforms(self) -> dict[tuple[tuple[int, ...], torch.dtype], Tensor]:
        return {}

    def on(self, device: Any) -> Blur:
        return Blur(self.kernel.to(device))
