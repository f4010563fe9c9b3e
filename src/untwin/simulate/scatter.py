"""Light that does not come from the object: stray spots, a streak, air scatter. Shapes only; a Detector says how much.

FFT order, float64, (samples, *grid). Nothing here draws a random number: positions and directions are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SPOTS = 3  # of stray light, at most


def column(v: Tensor, d: int) -> Tensor:
    """One number per sample, to be broadcast over d axes."""
    return v.reshape(-1, *(1,) * d)


def _frequencies(shape: tuple[int, ...], like: Tensor) -> list[Tensor]:
    """Signed distances from the zero frequency along each axis, pixels, one open array per axis."""
    import torch

    d = len(shape)
    k = [torch.fft.fftfreq(n, 1 / n, dtype=like.dtype, device=like.device) for n in shape]
    return [a.reshape([-1 if b == axis else 1 for b in range(d)]) for axis, a in enumerate(k)]


def _elongated(k: list[Tensor], centre: Tensor, direction: Tensor, across: Tensor, along: Tensor) -> Tensor:
    """exp(−a²/2 along² − (r² − a²)/2 across²), r the distance from `centre`, a its part along the unit vector `direction`.

    centre, direction: (samples, d), pixels; across, along: (samples,), pixels.
    """
    d = len(k)
    offset = [k[a] - column(centre[:, a], d) for a in range(d)]
    square, ahead = offset[0] ** 2, offset[0] * column(direction[:, 0], d)
    for a in range(1, d):
        square, ahead = square + offset[a] ** 2, ahead + offset[a] * column(direction[:, a], d)
    wide, long = column(1 / across**2, d), column(1 / along**2, d)
    return (ahead * ahead * ((wide - long) / 2) - square * (wide / 2)).exp()


def spots(shape: tuple[int, ...], number: Tensor, position: Tensor, direction: Tensor, u: Tensor) -> Tensor:
    """Stray light, sum 1: `number` Gaussian spots, round to three times as long as wide, 0.3 to 0.45 of the array from the centre.

    position, direction: (samples, SPOTS, d) standard normal; u: (samples, SPOTS, 3) uniform.
    """
    import torch

    d = len(shape)
    size = position.new_tensor(shape)
    k = _frequencies(shape, position)
    centre = position / position.norm(dim=-1, keepdim=True) * (0.3 + 0.15 * u[..., :1]) * size
    direction = direction / direction.norm(dim=-1, keepdim=True)
    across = ((0.012 + 0.018 * u[..., 1]) * min(shape)).clamp(min=0.7)
    along = across * (1 + 2 * u[..., 2])
    total = torch.zeros((), dtype=position.dtype, device=position.device)
    for b in range(SPOTS):
        spot = _elongated(k, centre[:, b], direction[:, b], across[:, b], along[:, b])
        total = total + spot * column((number > b) / (number * spot.flatten(1).sum(1)), d)
    return total


def streak(shape: tuple[int, ...], position: Tensor, direction: Tensor) -> Tensor:
    """The streak of another crystal's facet, sum 1: a Gaussian 0.35 of the array from the centre, not periodic, with
    σ = 6/64 of the shortest axis along `direction` and 1/64 of it (0.7 pixels at least) across.

    position, direction: (samples, d) standard normal, of which only the directions count.
    """
    size = position.new_tensor(shape)
    centre = position / position.norm(dim=-1, keepdim=True) * 0.35 * size
    direction = direction / direction.norm(dim=-1, keepdim=True)
    along = position.new_full((len(position),), 6 / 64 * min(shape))
    across = position.new_full((len(position),), max(1 / 64 * min(shape), 0.7))
    light = _elongated(_frequencies(shape, position), centre, direction, across, along)
    return light / column(light.flatten(1).sum(1), len(shape))


def air_scatter(shape: tuple[int, ...], counts: Tensor, width: Tensor, slope: Tensor) -> Tensor:
    """counts · exp(−Σ_j (k_j / N_j)² / 2 width²) (1 + slope · 2 k_d / N_d), k_d along the last axis: a broad hill, brighter on one side.

    counts, width, slope: (samples,) float64. At the zero frequency it is `counts`.
    """
    d = len(shape)
    k = _frequencies(shape, counts)
    square = sum((a / n) ** 2 for a, n in zip(k, shape))
    return column(counts, d) * (-square / (2 * column(width, d) ** 2)).exp() * (1 + column(slope, d) * (2 * k[-1] / shape[-1]))
