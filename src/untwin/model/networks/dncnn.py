"""DnCNN: what a small convolutional network takes away from a picture is its noise."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING

from untwin.errors import InputError
from untwin.model.networks import weights
from untwin.model.networks.base import Weights, single_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FOLDER = weights.SHIPPED / "denoisers"
TILE = 512  # pixels: 64 channels of a tile in float32 are 67 MB, whatever the picture


def names() -> list[str]:
    """The denoisers that come with the package."""
    return sorted(p.stem for p in FOLDER.glob(f"*{weights.ENDING}"))


def require(name: str) -> None:
    """Raise InputError where no such denoiser comes with the package."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"shipped are {', '.join(names())}; or hand in a function (x, sigma) -> x"
        raise InputError(f"no denoiser {name!r}; {hint}")


@lru_cache(maxsize=4)
def _load(name: str, device: torch.device) -> Weights:
    import torch

    tensors, _ = weights.read(FOLDER / f"{name}{weights.ENDING}")
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    return {k: v.to(device, memory_format=layout if v.ndim == 4 else torch.contiguous_format) for k, v in tensors.items()}


def dncnn(x: Tensor, sigma: float, name: str = "dncnn") -> Tensor:
    """x without its noise (Zhang et al., IEEE Trans. Image Process. 26, 2017; sigma as a second channel as in FFDNet, 27, 2018).

    x: (batch, 1, height, width) float32, 0 to 1. sigma: deviation of its noise. The border is continued by reflection as far as the
    network looks. Gradients flow through it.
    """
    import torch

    w = _load(name, x.device)
    reach = len(w) // 2  # one pixel for each 3 x 3 convolution
    padded = torch.nn.functional.pad(x, (reach,) * 4, "reflect")
    height, width = x.shape[-2:]
    with single_precision():
        rows = [
            torch.cat([_tile(padded[..., i : i + TILE + 2 * reach, j : j + TILE + 2 * reach], sigma, w) for j in range(0, width, TILE)], -1)
            for i in range(0, height, TILE)
        ]
    return torch.cat(rows, -2)


def _tile(x: Tensor, sigma: float, w: Weights) -> Tensor:
    """What the network makes of the middle of x, without the pixels on which its border has a say."""
    import torch

    depth = len(w) // 2
    y = torch.cat([x, torch.full_like(x, sigma)], 1)
    y = y.contiguous(memory_format=torch.channels_last) if x.is_cpu else y
    for i in range(depth):
        y = torch.nn.functional.conv2d(y, w[f"weight.{i}"], w[f"bias.{i}"])
        y = torch.relu(y) if i < depth - 1 else y
    return x[..., depth:-depth, depth:-depth] - y
