"""Shifts of pictures, which are not periodic, and the factor between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from untwin.model.alignment import Alignment

if TYPE_CHECKING:
    from torch import Tensor

FINE = 0.25  # pixels between the shifts that are tried about the best whole one
LEAST_OVERLAP = 0.5  # of the pixels, below which a shift is not considered


def translated(x: Tensor, by: Sequence[int], zero: bool = False) -> Tensor:
    """x (..., *grid) moved by whole pixels along its last axes; what comes in is its border again, or zero."""
    import torch

    for axis, step in zip(range(-len(by), 0), by):
        n = x.shape[axis]
        index = torch.arange(n, device=x.device) - step
        inside = ((index >= 0) & (index < n)).reshape([-1 if a == axis else 1 for a in range(-x.ndim, 0)])
        x = x.index_select(x.ndim + axis, index.clamp(0, n - 1))
        x = x.where(inside, x.new_zeros(())) if zero else x
    return x


def shifted_and_scaled(x: Tensor, reference: Tensor, axes: int, subpixel: bool = True) -> Alignment:
    """Each x (batch, ..., *grid) moved onto the reference (..., *grid) by a shift along the last `axes` axes and a positive factor.

    Error E = sqrt(1 − c²), c the correlation about their means where both are known. by: (batch, axes) pixels, to 1/4 with subpixel.
    """
    import torch

    rows, errors, shifts, factors = [], [], [], []
    for one in x:
        best = _whole_pixels(one, reference, axes)
        if subpixel:
            best = _fraction(one, reference, best)
        error, factor, aligned = _compared(one, reference, best)
        rows.append(aligned * factor)
        errors.append(error)
        shifts.append(best)
        factors.append(factor)
    by = torch.tensor(shifts, dtype=torch.float64, device=x.device).reshape(len(x), axes)
    none = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    return Alignment(torch.stack(rows), torch.stack(errors), none, by, torch.stack(factors))


def _whole_pixels(x: Tensor, reference: Tensor, axes: int) -> tuple[float, ...]:
    """The shift of whole pixels with the largest correlation where both are known."""
    import torch

    dims = tuple(range(-axes, 0))
    grid = tuple(reference.shape[-axes:])
    size = tuple(2 * n for n in grid)

    def spectrum(a: Tensor) -> Tensor:
        return torch.fft.rfftn(a.double(), s=size, dim=dims)

    def correlated(a: Tensor, b: Tensor) -> Tensor:
        c = torch.fft.irfftn(spectrum(b) * spectrum(a).conj(), s=size, dim=dims)
        return c.reshape(-1, *size).sum(0)

    mean = reference.double().mean()
    a, b, one = x.double() - mean, reference.double() - mean, torch.ones_like(reference.double())
    n = correlated(one, one).clamp(min=0.5)
    sa, sb = correlated(a, one) / n, correlated(one, b) / n
    va, vb = correlated(a * a, one) / n - sa**2, correlated(one, b * b) / n - sb**2
    c = (correlated(a, b) / n - sa * sb) / (va.clamp(min=1e-12) * vb.clamp(min=1e-12)).sqrt()
    c = c.where(n > LEAST_OVERLAP * one.numel(), c.new_full((), -torch.inf))
    flat, shift = int(c.argmax()), []
    for m in reversed(size):
        shift.append(flat % m)
        flat //= m
    return tuple(float(s if s < m // 2 else s - m) for s, m in zip(reversed(shift), size))


def _fraction(x: Tensor, reference: Tensor, coarse: tuple[float, ...]) -> tuple[float, ...]:
    import itertools

    steps = [i * FINE for i in range(-3, 4)]
    tries = [tuple(w + s for w, s in zip(coarse, step)) for step in itertools.product(steps, repeat=len(coarse))]
    return min(tries, key=lambda by: float(_compared(x, reference, by)[0]))


def _compared(x: Tensor, reference: Tensor, by: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """(error, factor, moved x) of one shift; the border that came in does not count."""
    import math

    import torch

    aligned = x
    for axis, step in zip(range(-len(by), 0), by):
        low = math.floor(step)
        by_low = [low if a == axis else 0 for a in range(-len(by), 0)]
        aligned = translated(aligned, by_low)
        if step != low:
            step_by_one = [1 if a == axis else 0 for a in range(-len(by), 0)]
            aligned = torch.lerp(aligned, translated(aligned, step_by_one), step - low)
    inside = tuple(slice(max(0, math.ceil(s)), n + min(0, math.floor(s))) for s, n in zip(by, reference.shape[-len(by) :]))
    a, b = aligned[(..., *inside)].double(), reference[(..., *inside)].double()
    factor = (a * b).sum() / a.square().sum().clamp(min=1e-300)
    a, b = a - a.mean(), b - b.mean()
    c = (a * b).sum() / (a.square().sum() * b.square().sum()).clamp(min=1e-300).sqrt()
    return (1 - c.clamp(0, 1).square()).sqrt(), factor.to(x.dtype), aligned
