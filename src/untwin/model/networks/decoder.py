"""Decoders: an image grown from a few pixels, without a way down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from untwin.checks import require_int
from untwin.errors import InputError
from untwin.model.networks.base import Network, layer, norm, smooth

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, repr=False)
class DeepDecoder(Network):
    """Deep decoder (Heckel and Hand, ICLR 2019): 1x1 convolutions, linear upsampling by 2, ReLU, normalisation, and nothing else.

    It has fewer numbers than the image, so that it cannot fit noise: 100,224 for 3 channels. layers: upsamplings; width: channels.
    """

    layers: int = 5
    width: int = 128

    def __post_init__(self) -> None:
        require_int(self, "layers", 1, 8)
        require_int(self, "width", 1, 1024)

    def sizes(self, grid: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The grids from the input to the output: halves of one another, rounded up."""
        return [tuple(-(-n // 2 ** (self.layers - k)) for n in grid) for k in range(self.layers + 1)]

    def input_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        return (self.width, *self.sizes(grid)[0])

    def check(self, grid: tuple[int, ...]) -> None:
        _large_enough(self, self.layers, grid)

    def make(self, grid: tuple[int, ...], outputs: int) -> nn.Module:
        return _modules()[0](self, grid, outputs)


@dataclass(frozen=True, repr=False)
class ConvDecoder(Network):
    """ConvDecoder (Zalbagi Darestani and Heckel, IEEE Trans. Comput. Imaging 7, 2021): nearest upsampling by a common ratio, 3x3
    convolution, ReLU, normalisation; a 1x1 convolution at the end.

    layers: convolutions. width: channels. begin: pixels of the input along its shortest axis.
    """

    layers: int = 7
    width: int = 256
    begin: int = 4

    def __post_init__(self) -> None:
        require_int(self, "layers", 2, 12)
        require_int(self, "width", 1, 1024)
        require_int(self, "begin", 1, 64)

    def sizes(self, grid: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The grids from the input to the output: a geometric series along each axis."""
        first = tuple(max(1, round(n * self.begin / min(grid))) for n in grid)
        last = self.layers - 1
        return [tuple(round(a * (n / a) ** (k / last)) for a, n in zip(first, grid)) for k in range(self.layers)]

    def input_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        return (self.width, *self.sizes(grid)[0])

    def check(self, grid: tuple[int, ...]) -> None:
        if min(grid) < self.begin:
            raise InputError(f"{self!r} begins with {self.begin} pixels, the image has {tuple(grid)}; try ConvDecoder(begin={min(grid)})")

    def make(self, grid: tuple[int, ...], outputs: int) -> nn.Module:
        return _modules()[1](self, grid, outputs)


def _large_enough(network: Network, layers: int, grid: tuple[int, ...]) -> None:
    least = 2**layers + 1
    if min(grid) < least:
        raise InputError(f"{network!r} needs {least} pixels along each axis, the image has {tuple(grid)}; take fewer layers")


@cache
def _modules() -> tuple[type, ...]:
    import torch
    from torch import nn

    class Decoder(nn.Module):
        """Upsamples to each size in turn."""

        def __init__(self, network: DeepDecoder, grid: tuple[int, ...], outputs: int) -> None:
            super().__init__()
            d, w = len(grid), network.width
            self.sizes, self.mode = network.sizes(grid)[1:], smooth(d)
            self.mix = nn.ModuleList(layer("Conv", d, w, w, 1, bias=False) for _ in range(network.layers + 1))
            self.norms = nn.ModuleList(norm(d, w) for _ in range(network.layers + 1))
            self.last = layer("Conv", d, w, outputs, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for k, (mix, normalise) in enumerate(zip(self.mix, self.norms)):
                x = mix(x)
                if k < len(self.sizes):
                    x = nn.functional.interpolate(x, self.sizes[k], mode=self.mode, align_corners=False)
                x = normalise(nn.functional.relu(x))
            return self.last(x)

    class ConvNet(nn.Module):
        def __init__(self, network: ConvDecoder, grid: tuple[int, ...], outputs: int) -> None:
            super().__init__()
            d, w = len(grid), network.width
            self.sizes = [*network.sizes(grid)[1:], tuple(grid)]
            self.mix = nn.ModuleList(layer("Conv", d, w, w, 3, padding=1) for _ in range(network.layers))
            self.norms = nn.ModuleList(norm(d, w) for _ in range(network.layers))
            self.last = layer("Conv", d, w, outputs, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for size, mix, normalise in zip(self.sizes, self.mix, self.norms):
                if tuple(x.shape[2:]) != tuple(size):
                    x = nn.functional.interpolate(x, size, mode="nearest")
                x = normalise(nn.functional.relu(mix(x)))
            return self.last(x)

    return Decoder, ConvNet
