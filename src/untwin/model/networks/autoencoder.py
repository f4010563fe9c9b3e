"""The autoencoder of the self-validation rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from untwin.errors import InputError
from untwin.model.networks.base import Network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, repr=False)
class Autoencoder(Network):
    """Stride-2 convolutions to a code of 4 x 4 numbers, four linear layers without a bend on it (which keeps its rank low), and the way
    back with linear upsampling and a sigmoid (Li et al., BMVC 2021). Square images of a power of two."""

    channels: int = 3

    def input_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        return (self.channels, *grid)

    def check(self, grid: tuple[int, ...]) -> None:
        n = grid[0]
        if len(grid) != 2 or grid[1] != n or n < 16 or n & (n - 1):
            raise InputError(f"the autoencoder takes square images of a power of two from 16, got {tuple(grid)}")

    def make(self, grid: tuple[int, ...], outputs: int) -> nn.Module:
        return _modules()[0](self.channels, grid[0].bit_length() - 3, outputs)


@cache
def _modules() -> tuple[type, ...]:
    import torch
    from torch import nn

    from untwin.model.networks.base import norm

    class Auto(nn.Module):
        def __init__(self, inputs: int, levels: int, outputs: int) -> None:
            super().__init__()
            widths = [min(128, 32 * 2**k) for k in range(levels - 1)] + [1]
            down, up = [], []
            for a, b in zip([inputs, *widths], widths):
                down += [nn.Conv2d(a, b, 3, 2, 1, bias=False), norm(2, b), nn.ReLU()]
            for a, b in zip(reversed(widths), [*reversed(widths[:-1]), outputs]):
                up += [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(a, b, 3, 1, 1, bias=False)]
                up += [norm(2, b), nn.ReLU()]
            self.down, self.up = nn.Sequential(*down[:-2]), nn.Sequential(*up[:-2])
            self.code = nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(4)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = self.down(x)
            return self.up(self.code(code.flatten(1)).reshape(code.shape)).sigmoid()

    return (Auto,)
