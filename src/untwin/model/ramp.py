"""A phase ramp: where the zero frequency of a Bragg peak lies is not known to a pixel, and another place of it puts a ramp on the object.

A ramp on the object shifts its far field, as a ramp on the far field shifts the object. So x and a reference are aligned over
R_g S_s, a shift by s pixels and a ramp of g detector pixels, exp(2πi Σ_j g_j r_j / N_j). The two commute up to a global phase, on a
finite grid only for whole pixels: both orders are tried.

Grids are periodic, in FFT order; one object at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin import fourier
from untwin.model.alignment import align, correlation_peak, twin

if TYPE_CHECKING:
    from torch import Tensor

FIRST, LAST = 6, 40  # Gauss-Newton steps at most, of each start and of the best: 4 to 8 come to an end where two objects are alike
NEAR = 0.5  # of the best |<reference, T x>|² on whole pixels: starts above it are followed
SAME = 1e-9  # E below which nothing is left to look for, and by which one way has to be better than another


@dataclass(frozen=True, eq=False)
class Superposition:
    """x: (*grid) complex128, the moved copy, not rescaled. error: E to the reference. twin: it is of the twin. by: (d,) float64, shift,
    pixels. ramp: (d,) float64, detector pixels: how far the far field was moved."""

    x: Tensor
    error: float
    twin: bool
    by: Tensor
    ramp: Tensor


def superpose(x: Tensor, reference: Tensor, ramp: bool) -> Superposition:
    """x (*grid) on the reference (*grid): shift, twin, global phase and (ramp) a phase ramp, whichever fit best, to fractions of a pixel.

    error E = min over complex c of |reference − c T x| / |reference|: what `align` gives, without its rounding. Whole pixels come from
    correlations, of the magnitudes in either space and of the waves; then Gauss-Newton steps. With the ramp E is never larger.
    """
    import torch

    reference, x = reference.to(torch.complex128), x.to(torch.complex128)
    starts = []
    for is_twin in (False, True):
        y = twin(x[None], x.ndim)[0] if is_twin else x
        pair = _paired(y, reference)
        still = align(y[None], reference, y.ndim)
        starts.append((1 - float(still.error[0]) ** 2, is_twin, y, _Start(pair, still.by[0] + pair.origin, -pair.own)))
        if ramp:
            starts += [(score, is_twin, y, start) for score, start in _starts(pair)]
    starts.sort(key=lambda start: -round(start[0], 6))  # what is its own twin is not called one
    best = None
    for score, is_twin, y, start in starts:
        if best is None or (score > NEAR * starts[0][0] and best[0].error > SAME):
            end = _polished(start, ramp, FIRST)
            best = (end, is_twin, y) if best is None or end.error < best[0].error - SAME else best
    assert best is not None
    end, is_twin = _polished(best[0], ramp, LAST), best[1]
    by, tilt = end.shift - end.pair.origin, end.ramp + end.pair.own
    if ramp and end.error > SAME:  # the other order: the reference (its twin) on x, and the way back; the twin turns a shift round
        goal, sign = (twin(reference[None], x.ndim)[0], 1) if is_twin else (reference, -1)
        pair = _paired(goal, x)
        back = _polished(_Start(pair, sign * by + pair.origin, -tilt - pair.own), ramp, LAST)
        if back.error < end.error - SAME:
            z = _back(back, x)
            z = twin(z[None], x.ndim)[0] if is_twin else z
            return Superposition(z, back.error, is_twin, sign * (back.shift - pair.origin), -back.ramp - pair.own)
    return Superposition(_forth(end), end.error, is_twin, by, tilt)


@dataclass(frozen=True, eq=False)
class _Pair:
    """wave: (*grid) the far field of what is moved, tilted by `own`. reference: (*grid), rolled by `origin`. Both whole pixels, (d,): what
    they do is exact on the periodic grid, and the fractions have the seams of their signed indices, at N / 2, in the dark."""

    wave: Tensor
    reference: Tensor
    own: Tensor
    origin: Tensor


@dataclass(frozen=True, eq=False)
class _Start:
    """shift, ramp: (d,), of the wave on the reference of the pair. error: E, where it is known."""

    pair: _Pair
    shift: Tensor
    ramp: Tensor
    error: float = float("inf")


def _paired(y: Tensor, reference: Tensor) -> _Pair:
    d = y.ndim
    own, origin = _off_seam(fourier.forward(y, d)), _off_seam(reference)
    return _Pair(fourier.forward(_tilted(y, own), d), _rolled(reference, origin), own, origin)


def _starts(pair: _Pair) -> list[tuple[float, _Start]]:
    """With the share of the power that they have in common, in whole pixels: from magnitudes, which a ramp leaves alone, and from those of
    the far field, which a shift does."""
    import torch

    wave, reference, d = pair.wave, pair.reference, pair.wave.ndim
    far = fourier.forward(reference, d)
    norm = float(_inner(wave, wave) * _inner(reference, reference))
    s = _peak(fourier.inverse(wave, d).abs(), reference.abs())[1]
    g = _peak(wave.abs(), far.abs())[1]
    starts = []
    for shift in (s, _peak(_tilted(fourier.inverse(wave, d), g), reference)[1]):
        # the ramp that fits with this shift is the shift of the far field that fits with this ramp of it
        tilt = _peak(_tilted(wave, -shift), far)[1]
        peak, by = _peak(_tilted(fourier.inverse(wave, d), tilt), reference)
        if not any(torch.equal(s.shift, by) and torch.equal(s.ramp, tilt) for _, s in starts):
            starts.append((peak**2 / max(norm, 1e-300), _Start(pair, by, tilt)))
    return starts


def _peak(y: Tensor, reference: Tensor) -> tuple[float, Tensor]:
    """The largest |correlation| of (*grid) arrays, and the whole shift (d,) of y that gives it."""
    import torch

    peak, by = correlation_peak(y[None].to(torch.complex128), reference, y.ndim, False)
    return float(peak[0].abs()), by[0]


def _forth(end: _Start) -> Tensor:
    """What was moved, on the reference as it was."""
    wave = _tilted(end.pair.wave, -end.shift)
    return _rolled(_tilted(fourier.inverse(wave, wave.ndim), end.ramp), -end.pair.origin)


def _back(end: _Start, y: Tensor) -> Tensor:
    """y (*grid), the reference of the pair, on what was moved."""
    wave = fourier.forward(_tilted(_rolled(y, end.pair.origin), -end.ramp), y.ndim)
    return _tilted(fourier.inverse(_tilted(wave, end.shift), y.ndim), -end.pair.own)


def _polished(start: _Start, tilt: bool, steps: int) -> _Start:
    """The least |reference − c T y| over complex c near a start, by Gauss-Newton steps; tilt: its ramp is free, too."""
    import torch

    wave, reference, d = start.pair.wave, start.pair.reference, start.pair.wave.ndim
    norm = float(_inner(reference, reference))
    k = [_line(wave.shape, axis) for axis in range(d)]
    flat = torch.zeros(d, dtype=torch.float64)

    def fitted(s: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """c T y; what its derivatives with respect to s are made of; the square of E."""
        shifted = _tilted(wave, -s)
        y = _tilted(fourier.inverse(shifted, d), g)
        c = torch.vdot(y.flatten(), reference.flatten()) / _inner(y, y).clamp(min=1e-300)
        y = y * c
        rest = reference - y
        return y, shifted * c, rest, float(_inner(rest, rest)) / norm

    s, g = start.shift, start.ramp
    y, shifted, rest, square = fitted(s, g)
    for _ in range(steps):
        columns = [_tilted(fourier.inverse(shifted * (-2j * torch.pi * v), d), g) for v in k]
        columns += [y * (2j * torch.pi * v) for v in k] if tilt else []
        step = _step(columns, y, rest)
        step = step if tilt else torch.cat([step, flat])
        length, better = 1.0, None
        while length > 0.02 and better is None:
            trial = s + length * step[:d], g + length * step[d:]
            result = fitted(*trial)
            better = (*trial, *result) if result[-1] < square else None
            length /= 3
        if better is None:
            break
        gain = square - better[-1]
        s, g, y, shifted, rest, square = better
        if gain < 1e-5 * square or square < SAME**2 / 100:
            break
    return replace(start, shift=s, ramp=g, error=square**0.5)


def _step(columns: list[Tensor], y: Tensor, rest: Tensor) -> Tensor:
    """The Gauss-Newton step δ for D = ∂(c T y)/∂δ, with c projected out (Kaufman, BIT 15, 1975): Σ_k Re<PD_j, PD_k> δ_k = Re<D_j, u>, u the
    residual and P what is orthogonal to y. Nothing along what an object leaves open, such as the ramp of a single pixel."""
    import torch

    power = _inner(y, y).clamp(min=1e-300)
    along = [torch.vdot(y.flatten(), c.flatten()) for c in columns]
    normal = torch.zeros((len(columns),) * 2, dtype=torch.float64)
    for j, a in enumerate(columns):
        for k, b in enumerate(columns[: j + 1]):
            normal[j, k] = normal[k, j] = _inner(a, b) - (along[j].conj() * along[k]).real / power
    slope = torch.stack([_inner(a, rest) for a in columns])
    size = normal.diagonal().clamp(min=1e-300).sqrt()
    return torch.linalg.pinv(normal / size / size[:, None], rcond=1e-10, hermitian=True) @ (slope / size) / size


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Re <a, b>."""
    import torch

    return torch.vdot(a.flatten(), b.flatten()).real


def _tilted(x: Tensor, ramp: Tensor) -> Tensor:
    """x (*grid) exp(2πi Σ_j g_j r_j / N_j), r from index 0: its far field moved by `ramp` (d,) pixels; a far field: the object by −ramp."""
    import torch

    for axis, g in enumerate(ramp.tolist()):
        angle = 2 * torch.pi * g * _line(x.shape, axis)
        x = x * torch.polar(torch.ones_like(angle), angle) if g else x
    return x


def _rolled(x: Tensor, by: Tensor) -> Tensor:
    return x.roll(tuple(int(n) for n in by), tuple(range(x.ndim)))


def _line(grid: tuple[int, ...], axis: int) -> Tensor:
    """r_j / N_j, signed, to multiply with what lives on the grid."""
    import torch

    return torch.fft.fftfreq(grid[axis], dtype=torch.float64).reshape([-1 if a == axis else 1 for a in range(len(grid))])


def _off_seam(x: Tensor) -> Tensor:
    """The roll (d,) of x (*grid) that brings the seam of the signed index to where x is dark; 0 where it is nearly as dark as that."""
    import torch

    power = x.abs().square()
    by = []
    for axis, n in enumerate(x.shape):
        line = power.sum(dim=[a for a in range(x.ndim) if a != axis])
        line = line + line.roll(1)  # on both sides of a cut
        seam = n - n // 2  # here the index of fftfreq turns negative
        lit = float(line[seam]) > max(10 * float(line.min()), 1e-3 * float(line.max()))
        by.append(seam - int(line.argmin()) if lit else 0)
    return torch.tensor(by, dtype=torch.float64)
