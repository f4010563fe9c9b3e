"""CDI NN: an encoder and a decoder without skips (Cherukara, Nashed and Harder, Sci. Rep. 8, 16520, 2018)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator
    from torch.nn import Sequential

WIDTHS = (32, 64, 128)


def cdinn(channels: int = 1, generator: Generator | None = None) -> Sequential:
    """(batch, channels, n, n) -> (batch, 1, n, n), n a multiple of 8: one of the two nets of CDI NN, before its sigmoid.

    Six blocks of two 3 x 3 convolutions with ReLU: 32, 64, 128, each followed by maximum pooling, then 128, 64, 32, each followed by
    doubling (nearest neighbour); one more convolution. 720,321 parameters with one channel, as published, 288 more for each further one.
    generator: draws the weights (He et al., ICCV 2015: the published initialisation leaves deep nets without normalisation longer on
    their first plateau); biases are 0. By default torch's own generator.
    """
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    before = channels
    for i, width in enumerate((*WIDTHS, *WIDTHS[::-1])):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(2) if i < len(WIDTHS) else nn.Upsample(scale_factor=2))
        before = width
    layers.append(nn.Conv2d(before, 1, 3, padding=1))
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                inputs = layer.weight[0].numel()
                gain = 2.0 if layer is not layers[-1] else 0.01
                layer.weight.normal_(0, math.sqrt(gain / inputs), generator=generator)
                torch.nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(*layers)
