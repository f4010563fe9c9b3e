"""Coarse pixels: super-resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from untwin.checks import require_int
from untwin.errors import InputError
from untwin.model.image.base import Linear

if TYPE_CHECKING:
    from torch import Tensor


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
        taps = 4 * n - n % 2
        places = [(i - (taps - 1) / 2) / n for i in range(taps)]  # symmetric about the middle of the coarse pixel
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
