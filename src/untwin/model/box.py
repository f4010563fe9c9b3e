"""A box around index 0 of a periodic grid: the part of the array in which an object lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def placed(g: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(batch, channels, *box) in an array of zeros, its middle b//2 at index 0."""
    import torch

    d = len(grid)
    box = g.shape[-d:]
    pad = [v for b, n in zip(reversed(box), reversed(grid)) for v in (0, n - b)]
    return torch.nn.functional.pad(g, pad).roll([-(b // 2) for b in box], tuple(range(-d, 0)))


def cut(x: Tensor, box: tuple[int, ...]) -> Tensor:
    """The box around index 0 of (batch, *grid): undoes `placed`."""
    d = len(box)
    x = x.roll([b // 2 for b in box], tuple(range(-d, 0)))
    return x[(..., *(slice(0, b) for b in box))]


def grown(support: Tensor, pixels: int) -> Tensor:
    """A support (batch, *grid) and its neighbours to so many pixels along each axis, on the periodic grid."""
    for axis in range(1, support.ndim):
        wide = support
        for k in range(1, pixels + 1):
            wide = wide | support.roll(k, axis) | support.roll(-k, axis)
        support = wide
    return support


def extent(support: Tensor, axis: int, n: int) -> int:
    """The size of a box around index 0 that holds the support along an axis."""
    import torch

    line = support.movedim(axis, 0).flatten(1).any(1).cpu()
    k = torch.fft.fftfreq(n, 1 / n)[line]
    return int(2 * k.abs().max()) + 2 if len(k) else 1
