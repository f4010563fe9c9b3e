"""A small U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) with dense layers at its bottom: a pattern is global, convolutions are not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module


def unet(channels: int, out: int, size: int, width: int = 16, depth: int = 4, generator: Generator | None = None) -> Module:
    """(batch, channels, size, size) -> (batch, out, size, size). depth: halvings, size a multiple of 2^depth. width: channels at the top,
    twice as many after each halving, 8 x width at most. Weights after He et al. (ICCV 2015), drawn from the generator."""
    return drawn(_unet()(channels, out, size, width, depth), generator)


def drawn(net: Module, generator: Generator | None) -> Module:
    """The network with its weights drawn anew (He et al., ICCV 2015), biases 0; layers called `last` a tenth of that."""
    import torch
    from torch import nn

    with torch.no_grad():
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
                deviation = (2 / layer.weight[0].numel()) ** 0.5 * (0.1 if name.endswith("last") else 1)
                layer.weight.normal_(0, deviation, generator=generator)
                assert layer.bias is not None
                layer.bias.zero_()
    return net


@lru_cache(maxsize=1)
def _unet() -> Any:
    import torch
    from torch import nn

    def block(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(b, b, 3, padding=1), nn.ReLU(inplace=True))

    class UNet(nn.Module):
        def __init__(self, channels: int, out: int, size: int, width: int, depth: int):
            super().__init__()
            widths = [min(8, 2**k) * width for k in range(depth + 1)]
            self.down = nn.ModuleList([block(a, b) for a, b in zip([channels, *widths], widths)])
            self.up = nn.ModuleList([block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1])])
            bottom = widths[-1] * (size >> depth) ** 2
            self.dense = nn.Sequential(nn.Linear(bottom, bottom), nn.ReLU(inplace=True), nn.Linear(bottom, bottom), nn.ReLU(inplace=True))
            self.last = nn.Conv2d(width, out, 1)

        def forward(self, x: Tensor) -> Tensor:
            skips = []
            for k, level in enumerate(self.down):
                x = level(x if k == 0 else nn.functional.max_pool2d(x, 2))
                skips.append(x)
            x = x + self.dense(x.flatten(1)).reshape(x.shape)
            for level, skip in zip(self.up, skips[-2::-1]):
                x = level(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skip], 1))
            return self.last(x)

    return UNet
