"""The hourglass with skip connections of the deep image prior."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from untwin.checks import require_int, require_one_of
from untwin.errors import InputError
from untwin.model.networks.base import Network, layer, norm, smooth

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, repr=False)
class Skip(Network):
    """Hourglass with skips (Ulyanov, Vedaldi and Lempitsky, CVPR 2018). 32 -> 3 channels in 2D: 2,217,831 parameters.

    At each of `depth` scales: a 1x1 convolution to `skip` channels; beside it two 3x3 convolutions of `width`, the first with
    stride 2, then the next scale, then upsampling by 2; both joined, normalised, a 3x3 and a 1x1 convolution. Every convolution is followed
    by batch normalisation (of the image at hand, always) and LeakyReLU(0.2). The last is a 1x1 convolution to the outputs.

    depth: scales. width: channels. skip: channels of a skip, 0 for none. inputs: channels of the input.
    upsampling: linear or nearest. padding: reflect, replicate or zeros.
    """

    depth: int = 5
    width: int = 128
    skip: int = 4
    inputs: int = 32
    upsampling: str = "linear"
    padding: str = "reflect"

    def __post_init__(self) -> None:
        require_int(self, "depth", 1, 8)
        require_int(self, "width", 1, 1024)
        require_int(self, "skip", 0, 1024)
        require_int(self, "inputs", 1, 1024)
        require_one_of(self, "upsampling", "linear", "nearest")
        require_one_of(self, "padding", "reflect", "replicate", "zeros")

    def input_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        return (self.inputs, *grid)

    def check(self, grid: tuple[int, ...]) -> None:
        least = 2**self.depth + 1
        if min(grid) < least:
            deepest = max((d for d in range(1, 9) if min(grid) > 2**d), default=0)
            hint = f"try Skip(depth={deepest})" if deepest else "crop less, or pad the image"
            raise InputError(f"a network of {self.depth} scales needs {least} pixels along each axis, the image has {tuple(grid)}; {hint}")

    def make(self, grid: tuple[int, ...], outputs: int) -> nn.Module:
        return _modules()[0](self, len(grid), outputs)


@cache
def _modules() -> tuple[type, ...]:
    import torch
    from torch import nn

    def block(d: int, network: Skip, a: int, b: int, kernel: int, stride: int = 1) -> nn.Sequential:
        conv = layer("Conv", d, a, b, kernel, stride, kernel // 2, padding_mode=network.padding if kernel > 1 else "zeros")
        return nn.Sequential(conv, norm(d, b), nn.LeakyReLU(0.2, inplace=True))

    class Scale(nn.Module):
        def __init__(self, network: Skip, d: int, inputs: int, depth: int) -> None:
            super().__init__()
            w = network.width
            self.aside = block(d, network, inputs, network.skip, 1) if network.skip else None
            self.down = nn.Sequential(block(d, network, inputs, w, 3, 2), block(d, network, w, w, 3))
            self.inner = Scale(network, d, w, depth - 1) if depth > 1 else None
            self.mode = smooth(d) if network.upsampling == "linear" else "nearest"
            self.out = nn.Sequential(norm(d, w + network.skip), block(d, network, w + network.skip, w, 3), block(d, network, w, w, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.down(x)
            if self.inner is not None:
                y = self.inner(y)
            aligned = {} if self.mode == "nearest" else {"align_corners": False}
            y = nn.functional.interpolate(y, scale_factor=2, mode=self.mode, **aligned)
            for axis in range(2, x.ndim):  # an odd size came back one pixel larger
                y = y.narrow(axis, (y.shape[axis] - x.shape[axis]) // 2, x.shape[axis])
            return self.out(y if self.aside is None else torch.cat([self.aside(x), y], 1))

    class Hourglass(nn.Module):
        def __init__(self, network: Skip, d: int, outputs: int) -> None:
            super().__init__()
            self.body = Scale(network, d, network.inputs, network.depth)
            self.last = layer("Conv", d, network.width, outputs, 1)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.last(self.body(z))

    return Hourglass, Scale
