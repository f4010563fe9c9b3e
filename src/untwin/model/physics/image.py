"""Linear physics of pictures: nothing, missing pixels, blur, coarse pixels; and any function of torch.

x is (..., channels, *grid); what is measured is physics(x). `object_grid` says which grid of x gives a measured grid.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from untwin.checks import require_int
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class ImagePhysics(ABC):
    """y = physics(x)."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        """The grid of x for measurements of this grid. Raises InputError where there is none."""
        return measured

    def on(self, device: Any) -> ImagePhysics:
        """The same physics with its tensors on a device."""
        return self


class Linear(ImagePhysics):
    """A linear physics."""

    def adjoint(self, w: Tensor) -> Tensor:
        """A* w, by the reverse of what A does: <A x, w> = <x, A* w>."""
        import torch

        x = torch.zeros(
            (*w.shape[: w.ndim - self.axes], *self.object_grid(tuple(w.shape[w.ndim - self.axes :]))), dtype=w.dtype, device=w.device
        )
        return torch.func.vjp(self.__call__, x)[1](w)[0]

    axes: int = 2


@dataclass(frozen=True)
class Identity(Linear):
    """y = x: denoising. axes: dimensions of the grid."""

    axes: int = 2

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True, eq=False)
class Mask(Linear):
    """y = x where measured, 0 elsewhere: inpainting. measured: (*grid) bool."""

    measured: Tensor = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", self.measured.ndim)

    def __call__(self, x: Tensor) -> Tensor:
        return x.where(self.measured, x.new_zeros(()))

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        if tuple(self.measured.shape) != tuple(measured):
            raise InputError(f"the mask has shape {tuple(self.measured.shape)}, the image {tuple(measured)}; crop or pad one of them")
        return measured

    def on(self, device: Any) -> Mask:
        return Mask(self.measured.to(device))


@dataclass(frozen=True, eq=False)
class Blur(Linear):
    """y(r) = Σ_s kernel(s) x(r − s), where the whole kernel lies on x: x is larger than y by the kernel's size less one, so that nothing
    is assumed of what lies beyond the border. kernel: real, any odd or even size, and of any sum."""

    kernel: Tensor = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", self.kernel.ndim)

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
        whole = torch.complex(*y) if x.is_complex() else y[0]
        return whole[(..., *(slice(n - 1, None) for n in self.kernel.shape))]  # what did not wrap around

    def on(self, device: Any) -> Blur:
        return Blur(self.kernel.to(device))


@dataclass(frozen=True)
class Downsample(Linear):
    """Coarse pixels: a Lanczos window of two lobes, then every `factor`-th pixel (as in the deep image prior's super-resolution);
    with mean=True the mean of factor x factor pixels. axes: dimensions of the grid."""

    factor: int = 2
    mean: bool = False
    axes: int = 2

    def __post_init__(self) -> None:
        require_int(self, "factor", 2, 64)

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n * self.factor for n in measured)

    def _window(self) -> list[float]:
        n = self.factor
        if self.mean:
            return [1 / n] * n
        places = [(i - (4 * n - 1) / 2) / n for i in range(4 * n)]  # symmetric about the middle of the coarse pixel
        w = [math.sin(math.pi * t) * math.sin(math.pi * t / 2) * 2 / (math.pi * t) ** 2 if t else 1.0 for t in places]
        return [v / sum(w) for v in w]

    def __call__(self, x: Tensor) -> Tensor:
        import torch

        grid = tuple(x.shape[-self.axes :])
        if any(n % self.factor for n in grid):
            fitting = tuple(n - n % self.factor for n in grid)
            raise InputError(f"factor {self.factor} does not divide the image's {grid}; crop it to {fitting}")
        if x.is_complex():
            return torch.complex(self(x.real), self(x.imag))
        window = x.new_tensor(self._window())
        margin = (len(window) - self.factor) // 2
        for axis in range(x.ndim - self.axes, x.ndim):
            n = x.shape[axis]
            at = torch.arange(-margin, n + margin, device=x.device).clamp(0, n - 1)  # the border pixel goes on beyond the border
            y = x.index_select(axis, at).movedim(axis, -1)
            x = (y.unfold(-1, len(window), self.factor) * window).sum(-1).movedim(-1, axis)
        return x


@dataclass(frozen=True)
class Forward(ImagePhysics):
    """Any function of torch: y = function(x), gradients by torch. x is (1, channels, *grid), y (1, *the measurement's shape).

    grid: of x; by default that of y.
    """

    function: Callable[[Any], Any]
    grid: tuple[int, ...] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)

    def object_grid(self, measured: tuple[int, ...]) -> tuple[int, ...]:
        return measured if self.grid is None else self.grid
