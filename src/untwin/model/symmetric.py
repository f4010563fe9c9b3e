"""The part of an object that is its own twin: x(r) = conj(x(t - r)), about the centre that suits best."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def even_part(x: Tensor, support: Tensor) -> tuple[Tensor, Tensor, float]:
    """That part, the pixels of the support that have their partner in it, and E between the object and its twin. x, support: (*grid).

    The centre is a pixel or the middle between pixels.
    """
    import torch

    axes = tuple(range(x.ndim))
    correlation = torch.fft.ifftn(torch.fft.fftn(x.to(torch.complex128)) ** 2)  # at t: sum over r of x(r) x(t - r)
    at = int(correlation.abs().argmax())
    shift = [int(i) for i in torch.unravel_index(torch.tensor(at), x.shape)]
    peak, power = correlation.flatten()[at], float(x.abs().double().square().sum())
    share = min(1.0, float(peak.abs()) / power) if power > 0 else 1.0

    def inverted(a: Tensor) -> Tensor:
        return a.flip(axes).roll([1 + s for s in shift], axes)

    phase = peak / peak.abs().clamp(min=1e-300)
    turn = phase.to(x.dtype) if x.is_complex() else phase.real.sign().to(x.dtype)
    return (x + turn * inverted(x).conj()) / 2, support & inverted(support), (1 - share**2) ** 0.5
