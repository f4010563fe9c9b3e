"""Plug-and-play runs: which steps a picture with a linear physics takes, and the pictures they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from untwin.errors import NumericalFailure
from untwin.model.denoiser import Denoiser
from untwin.model.image.base import Identity
from untwin.model.image.blur import Blur
from untwin.model.picture import Picture
from untwin.solve.pnp import HQS, PnP, Smooth
from untwin.solve.recipe import Recipe
from untwin.solve.run import iterate
from untwin.solve.state import State

if TYPE_CHECKING:
    from torch import Tensor

# (4 pictures of 128 x 128 that the tables do not use, one seed; docs/denoisers.md)
WEIGHT = 0.3  # of HQS: deblurring at 1 and 5 % 34.1 and 29.0 dB; with 0.23 34.1 and 28.8, with 0.15 33.3 and 23.1 (it begins to diverge)
STEPS = 12  # of HQS: 0.1 to 0.2 dB better than the 8 of DPIR
HOLES = 16  # steps where pixels or frequencies are missing and the rest is sharp
HOLES_FIRST, FLOOR = 0.05, 0.01  # levels from and to, there: 36.4 dB; from 49/255 35.8, from 0.025 36.0; to 0.005 36.1


def steps(problem: Picture, denoiser: Denoiser, sigma: float) -> Recipe:
    """The recipe for a picture whose noise has this deviation: D(y) where only noise is to go, else HQS from a smooth picture."""
    if isinstance(problem.physics, Identity) and bool(problem.measured.all()):
        return 1 * PnP(denoiser, level=sigma)
    return Smooth() + STEPS * HQS(denoiser, noise=max(sigma, 1e-3), weight=WEIGHT)


def image(problem: Picture, recipe: Recipe) -> Tensor:
    """(channels, *grid): where the recipe comes to from zeros. Raises NumericalFailure where that is no picture."""
    import torch

    state = State.of(torch.zeros(1, *problem.shape, device=problem.y.device, dtype=problem.y.dtype))
    for state in iterate(problem, recipe, state):  # noqa: B007, B020
        pass
    if not bool(state.finite().all()):
        raise NumericalFailure("plug-and-play came to nothing (NaN); try a larger weight of HQS, or another prior")
    return state.image[0]


def deblurred(y: Tensor, kernel: Tensor, sigma: float, denoiser: Denoiser | None = None) -> Tensor:
    """The picture (channels, *grid of y) behind y (channels, height, width), 0 to 1, blurred by a kernel, with noise of this deviation.

    The border is free; what lies beyond the frame of y is cut off, the kernel's middle at (k - 1) // 2 of each axis. A kernel that is only
    nearly right wants a larger sigma than that of the noise: 0.03 for one with a similarity of 0.9.
    """
    problem = Picture(y, Blur(kernel))
    x = image(problem, steps(problem, denoiser or Denoiser(), sigma))
    return x[(slice(None), *(slice((k - 1) // 2, (k - 1) // 2 + n) for k, n in zip(kernel.shape, y.shape[1:])))].contiguous()
