"""What the far field cannot tell apart: a shift, the twin (conjugate and inverted), a global phase. Alignment removes all three.

Grids are periodic, in FFT order, on the last d axes; leading axes are a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from untwin import fourier

if TYPE_CHECKING:
    from torch import Tensor


LARGE = 4_000_000  # pixels above which a batch is aligned one by one


def twin(x: Tensor, d: int) -> Tensor:
    """conj x(−r): the object with the same far field."""
    axes = tuple(range(-d, 0))
    return x.flip(axes).roll((1,) * d, axes).conj().resolve_conj()


def shift(x: Tensor, by: Tensor, d: int) -> Tensor:
    """x moved by `by` (batch, d) pixels, fractions allowed, on the periodic grid."""
    return fourier.inverse(fourier.forward(x, d) * _ramps(x.shape[-d:], by, x), d)


def _ramps(grid: tuple[int, ...], by: Tensor, like: Tensor) -> Tensor:
    import torch

    real = torch.float64 if like.dtype in (torch.complex128, torch.float64) else torch.float32
    angle = torch.zeros((len(by),) + (1,) * len(grid), dtype=torch.float64)
    for axis, n in enumerate(grid):
        k = torch.fft.fftfreq(n, dtype=torch.float64)
        column = by[:, axis].double().cpu().reshape((-1,) + (1,) * len(grid))
        angle = angle + column * k.reshape([1] + [-1 if a == axis else 1 for a in range(len(grid))])
    return torch.polar(torch.ones((), dtype=real), (-2 * torch.pi * angle).to(real)).to(like.device)


@dataclass(frozen=True)
class Alignment:
    """x: (batch, *grid) the moved copies. error: (batch,) E to the reference. turned: (batch,) bool, the twin was the nearer one.
    by: (batch, d) shift applied, pixels. factor: (batch,) complex of magnitude 1 applied."""

    x: Tensor
    error: Tensor
    turned: Tensor
    by: Tensor
    factor: Tensor


def align(x: Tensor, reference: Tensor, d: int, subpixel: bool = True) -> Alignment:
    """Move each x (batch, *grid) onto the reference (*grid): shift, twin, global phase, whichever fit best.

    error E = sqrt(1 − |<reference, T x>|² / (|reference|² |x|²)), 0 to 1. The shift maximises the cross-correlation: whole pixels by FFT,
    then halving steps on the correlation's own trigonometric polynomial to 1/512 pixel (Guizar-Sicairos et al., Opt. Lett. 33, 2008,
    for the idea of the second stage).
    """
    import torch

    if len(x) > 1 and x.numel() > LARGE:
        rows = [align(one.unsqueeze(0), reference, d, subpixel) for one in x]
        return Alignment(*(torch.cat([getattr(r, f.name) for r in rows]) for f in fields(Alignment)))
    x = x if x.is_complex() else x.to(x.dtype.to_complex())
    reference = reference if reference.is_complex() else reference.to(reference.dtype.to_complex())
    norm = (_power(x, d) * _power(reference.unsqueeze(0), d)).sqrt().clamp(min=1e-300)
    best = None
    for turned in (False, True):
        y = twin(x, d) if turned else x
        peak, by = _peak(y, reference, d, subpixel)
        if best is None:
            best = (peak, by, torch.zeros(len(x), dtype=torch.bool, device=x.device), y)
        else:
            better = peak.abs() > best[0].abs() * (1 + 1e-9)
            best = (
                torch.where(better, peak, best[0]),
                torch.where(better[:, None], by, best[1]),
                better,
                torch.where(better.reshape((-1,) + (1,) * d), y, best[3]),
            )
    assert best is not None
    peak, by, turned, y = best
    error = (1 - (peak.abs() / norm).square()).clamp(min=0).sqrt().nan_to_num(nan=1.0)
    factor = torch.where(peak.abs() > 0, peak.conj() / peak.abs().clamp(min=1e-300), torch.ones_like(peak))
    if not subpixel:
        moved = torch.stack([one.roll([int(round(float(v))) for v in b], tuple(range(d))) for one, b in zip(y, by)])
    else:
        moved = shift(y, by, d)
    moved = moved * factor.to(moved.dtype).reshape((-1,) + (1,) * d)
    return Alignment(moved, error, turned, by, factor)


def _power(x: Tensor, d: int) -> Tensor:
    return (x.real.double().square() + x.imag.double().square()).flatten(-d).sum(-1)


def _peak(y: Tensor, reference: Tensor, d: int, subpixel: bool) -> tuple[Tensor, Tensor]:
    """The largest value of c(s) = Σ_r conj(reference(r)) y(r − s) over shifts s, and that shift: (batch,) complex128, (batch, d)."""
    import torch

    grid = y.shape[-d:]
    cross = fourier.forward(y, d).to(torch.complex128) * fourier.forward(reference, d).to(torch.complex128).conj()
    # c(s) = Σ_k cross(k) exp(−2πi k s / N): a forward transform over s
    c = torch.fft.fftn(cross, dim=tuple(range(-d, 0)))
    flat = c.flatten(1)
    where = flat.abs().argmax(1)
    index = _unravelled(where, tuple(grid)).double()
    size = torch.tensor(grid, dtype=torch.float64, device=y.device)
    by = torch.where(index > size / 2, index - size, index)
    peak = flat.gather(1, where[:, None]).squeeze(1)
    if not subpixel:
        return peak, by
    step = 0.5
    offsets = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, device=y.device)
    while step > 1 / 1024:
        values = cross
        for axis in range(d):  # contract the first grid axis each time; the trial shifts come last
            n = grid[axis]
            k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=y.device)
            trial = by[:, axis, None] + step * offsets
            kernel = torch.exp(-2j * torch.pi * k[None, :, None] * trial[:, None, :] / n)
            values = torch.einsum("bk...,bks->b...s", values, kernel)
        flat = values.flatten(1)
        where = flat.abs().argmax(1)
        peak = flat.gather(1, where[:, None]).squeeze(1)
        move = _unravelled(where, (3,) * d)
        by = by + step * offsets[move]
        step /= 2
    return peak, by


def _unravelled(flat: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(batch, d) indices of flat ones (batch,). torch.unravel_index would import sympy, which takes a second."""
    import torch

    columns = []
    for n in reversed(grid):
        columns.append(flat % n)
        flat = flat // n
    return torch.stack(columns[::-1], 1)


def centring(x: Tensor) -> list[int]:
    """The roll by whole pixels that brings the centre of mass of |x|² to index 0 of a periodic grid, the centre for people. x: (*grid)."""
    import torch

    weight = x.real.double().square() + (x.imag.double().square() if x.is_complex() else 0)
    by = []
    for axis, n in enumerate(x.shape):
        line = weight.sum(dim=tuple(a for a in range(x.ndim) if a != axis))
        angle = 2 * torch.pi * torch.arange(n, dtype=torch.float64, device=x.device) / n
        mean = torch.atan2((line * angle.sin()).sum(), (line * angle.cos()).sum())
        by.append(-int(torch.round(mean * n / (2 * torch.pi))))
    return by


def distances(x: Tensor, d: int) -> Tensor:
    """(batch, batch) E between every two, after alignment."""
    import torch

    n = len(x)
    table = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n - 1):
        e = align(x[i + 1 :], x[i], d).error.cpu()
        table[i, i + 1 :] = e
        table[i + 1 :, i] = e
    return table
