"""An encoder with two decoders in 3D, in the manner of AutoPhaseNN (Yao et al., npj Comput. Mater. 8, 124, 2022)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from untwin.model.networks.unet import drawn

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module


def volume(channels: int, width: int = 16, generator: Generator | None = None) -> Module:
    """(batch, channels, n, n, n) -> (batch, 2, n, n, n), n a multiple of 8: magnitude and phase, before their sigmoid and tanh.

    Blocks of two 3³ convolutions, each normalised in up to four groups of channels (Wu and He, ECCV 2018; AutoPhaseNN: over the batch) and
    with leaky ReLU (0.01); width, 2, 4 and 8 times as many channels with maximum pooling between them; each decoder goes the same way back,
    doubling by trilinear interpolation.
    """
    return drawn(_volume()(channels, width), generator)


@lru_cache(maxsize=1)
def _volume() -> Any:
    import torch
    from torch import nn

    def layer(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv3d(a, b, 3, padding=1), nn.GroupNorm(math.gcd(4, b), b), nn.LeakyReLU(0.01, inplace=True))

    def block(a: int, b: int) -> nn.Module:
        return nn.Sequential(layer(a, b), layer(b, b))

    class Decoder(nn.Module):
        def __init__(self, widths: list[int]):
            super().__init__()
            self.blocks = nn.ModuleList([block(a, b) for a, b in zip(widths, widths[1:])])
            self.last = nn.Conv3d(widths[-1], 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            for one in self.blocks:
                x = one(nn.functional.interpolate(x, scale_factor=2.0, mode="trilinear"))
            return self.last(x)

    class Volume(nn.Module):
        def __init__(self, channels: int, width: int):
            super().__init__()
            widths = [width, 2 * width, 4 * width, 8 * width]
            self.encoder = nn.ModuleList([block(a, b) for a, b in zip([channels, *widths], widths)])
            self.magnitude, self.phase = Decoder(widths[::-1]), Decoder(widths[::-1])

        def forward(self, x: Tensor) -> Tensor:
            for k, one in enumerate(self.encoder):
                x = one(x if k == 0 else nn.functional.max_pool3d(x, 2))
            return torch.cat([self.magnitude(x), self.phase(x)], 1)

    return Volume
