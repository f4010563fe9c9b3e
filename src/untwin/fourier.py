"""Unitary Fourier transforms over the last axes, centring, sub-pixel shifts, fast sizes. Zero frequency first.

Sign: forward is Σ x(r) exp(−2πi k·r / N) / √N, so that a shift by +s multiplies by exp(−2πi k·s / N).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def _axes(d: int) -> tuple[int, ...]:
    return tuple(range(-d, 0))


def forward(x: Tensor, d: int, spent: bool = False) -> Tensor:
    """Unitary transform over the last d axes. spent: x is not needed any more, so that its memory may be used for the result."""
    import torch

    from untwin.engine import mkl

    if mkl.takes(x):
        return mkl.transform(x, d, inverse=False, spent=spent)
    return torch.fft.fftn(x, dim=_axes(d), norm="ortho")


def inverse(w: Tensor, d: int, spent: bool = False) -> Tensor:
    """Inverse (and adjoint) of `forward`."""
    import torch

    from untwin.engine import mkl

    if mkl.takes(w):
        return mkl.transform(w, d, inverse=True, spent=spent)
    return torch.fft.ifftn(w, dim=_axes(d), norm="ortho")


def forward_half(x: Tensor, d: int) -> Tensor:
    """Unitary transform of real x over the last d axes: the half of it that tells all, (..., N // 2 + 1)."""
    import torch

    return torch.fft.rfftn(x, dim=_axes(d), norm="ortho")


def inverse_half(w: Tensor, grid: Sequence[int]) -> Tensor:
    """Inverse of `forward_half`, real, on the grid."""
    import torch

    return torch.fft.irfftn(w, s=tuple(grid), dim=_axes(len(grid)), norm="ortho")


def centred(x: Tensor, d: int) -> Tensor:
    """Move index 0 to N//2 on the last d axes (for people and files)."""
    import torch

    return torch.fft.fftshift(x, dim=_axes(d))


def cornered(x: Tensor, d: int) -> Tensor:
    """Move index N//2 to 0 on the last d axes: undoes `centred`, for odd sizes too."""
    import torch

    return torch.fft.ifftshift(x, dim=_axes(d))


def ramp(shape: Sequence[int], shift: Sequence[float], like: Tensor) -> Tensor:
    """exp(−2πi Σ_j k_j s_j / N_j) on the grid `shape`, FFT order, with the signed frequency k: complex, `like`'s precision
    and device. In Fourier space it shifts an object by s; on the object it shifts the pattern by −s."""
    import torch

    real = torch.float64 if like.dtype in (torch.float64, torch.complex128) else torch.float32
    angle = torch.zeros(tuple(shape), dtype=torch.float64)
    for axis, (n, s) in enumerate(zip(shape, shift, strict=True)):
        k = torch.fft.fftfreq(n, dtype=torch.float64)
        angle = angle + (-2 * torch.pi * s * k).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return torch.polar(torch.ones((), dtype=real), angle.to(real)).to(like.device)


def gaussian(shape: Sequence[int], sigma: Tensor, like: Tensor) -> Tensor:
    """Transfer function of a Gaussian blur of `sigma` pixels, for rfftn over the axes of `shape`: one row per entry of
    sigma. exp(−2π² σ² Σ (k_j / N_j)²)."""
    import torch

    square = torch.zeros((1,) * len(shape), dtype=like.dtype, device=like.device)
    for axis, n in enumerate(shape):
        frequencies = torch.fft.rfftfreq if axis == len(shape) - 1 else torch.fft.fftfreq
        square = square + (frequencies(n, device=like.device).to(like) ** 2).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    sigma = sigma.to(like).reshape((-1,) + (1,) * len(shape))
    return torch.exp(-2 * torch.pi**2 * sigma**2 * square)


def gaussian_of(shape: Sequence[int], covariance: Sequence[Tensor | float], like: Tensor) -> Tensor:
    """Transfer function of a Gaussian blur of any shape, for rfftn over the axes of `shape`: exp(−2π² Σ_jk C_jk k_j k_k / (N_j N_k)).

    covariance: C in pixels², one number (the same along every axis), d (one for each), or d (d + 1) / 2: the diagonal, then the elements
    above it, row by row. Each a number, or a tensor (starts, 1, ..., 1).
    """
    import torch

    d = len(shape)
    k = []
    for axis, n in enumerate(shape):
        frequencies = torch.fft.rfftfreq if axis == d - 1 else torch.fft.fftfreq
        k.append(frequencies(n, dtype=like.dtype, device=like.device).reshape([-1 if a == axis else 1 for a in range(d)]))
    diagonal = list(covariance[:d]) if len(covariance) > 1 else [covariance[0]] * d
    form = torch.zeros((), dtype=like.dtype, device=like.device)
    for j, c in enumerate(diagonal):
        form = form + c * k[j] ** 2
    for (i, j), c in zip(itertools.combinations(range(d), 2), covariance[d:]):
        form = form + 2 * c * k[i] * k[j]
    return torch.exp(-2 * torch.pi**2 * form)


def blur(x: Tensor, sigma: Tensor, d: int) -> Tensor:
    """Periodic Gaussian blur of real x over its last d axes, sigma in pixels: one number per leading entry of x, or one for all."""
    import torch

    shape = x.shape[-d:]
    transfer = gaussian(shape, sigma, x)
    return torch.fft.irfftn(torch.fft.rfftn(x, dim=_axes(d)) * transfer, s=tuple(shape), dim=_axes(d))


def is_fast(n: int) -> bool:
    """True where n has no prime factor above 7."""
    for p in (2, 3, 5, 7):
        while n % p == 0:
            n //= p
    return n == 1


def fast_size(n: int) -> int:
    """The smallest even number at or above n without a prime factor above 7 (2 at least)."""
    n = max(2, n + n % 2)
    while not is_fast(n):
        n += 2
    return n
