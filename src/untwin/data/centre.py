"""Where the zero frequency of a pattern is: the centre of symmetry of a real object, or the peak of any other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

# A pattern whose asymmetry stays below this is centred as that of a real object (whether it is one: data.realness). Measured on
# simulated 64 x 64 patterns
# (blurred random textures, irregular outline of about 25 pixels, 12 seeds each; without a stop | with a stop of radius
# 3):
#   real, 1e4 photons   -0.003 .. 0.003 | -0.015 .. 0.012        real, 1e5 and 1e6   at most 0.0006 | 0.0035
#   phase of 0.3 rad rms 0.027 .. 0.080 |  0.054 .. 0.19         phase of 1.5 rad rms 0.097 .. 0.17 | 0.14 .. 0.22
# and measured: the ESRF logo, a real object, -3e-5; a nearly unstrained gold crystal 0.015. Low counts behind a stop
# are where this can miss a real object; it then is treated as complex, which is the safe side.
REAL = 0.01
MOST_NOISE = 0.2  # the asymmetry of unrelated speckles: what a noise that nobody knows may come to

_WINDOW = {2: 768, 3: 96}  # the search looks at the brightest part only: a second of CPU
_COVER = 0.3  # a trial centre counts where at least this share of the amplitude has a measured partner
_TIE = 4.0  # standard deviations of counting noise: trial centres closer than this cannot be told apart


@dataclass(frozen=True)
class SymmetryCentre:
    """The best centre of symmetry of a pattern.

    centre: in pixels, one number per axis, whole or half.
    asymmetry: what is left of e(2 centre) after counting noise, where it is that; see `asymmetry_about`.
    """

    centre: tuple[float, ...]
    asymmetry: float


def centre_of_symmetry(intensity: np.ndarray, measured: np.ndarray, counts: bool = True) -> SymmetryCentre:
    """The point about which the pattern is most nearly its own mirror image, to half a pixel.

    With A = √I where measured (m = 1), every trial s = 2 × centre has e(s) = 1 − [A ∗ A](s) / [A² ∗ m](s), by
    zero-padded convolutions; s with too few measured pairs are left out, and where counting noise cannot tell the
    array's centre N//2
    from the minimum, N//2 it is. A pattern without enough measured pairs anywhere answers N//2 and 1. counts: see `asymmetry_about`.
    """
    middle = tuple(n // 2 for n in intensity.shape)
    centre = _least_asymmetric(intensity, measured, middle)
    if centre is None:
        return SymmetryCentre(tuple(float(c) for c in middle), 1.0)
    return SymmetryCentre(centre, asymmetry_about(intensity, measured, centre, counts))


def _least_asymmetric(intensity: np.ndarray, measured: np.ndarray, middle: tuple[int, ...]) -> tuple[float, ...] | None:
    from scipy import fft

    window, start = _window(np.where(measured, intensity, 0), middle)
    m = measured[window].astype(np.float64)
    amplitude = np.sqrt(np.where(measured[window], np.maximum(intensity[window], 0), 0), dtype=np.float64)
    size = [fft.next_fast_len(2 * n - 1, real=True) for n in m.shape]
    A, P, M = (np.asarray(fft.rfftn(a, size)) for a in (amplitude, amplitude**2, m))
    same = np.asarray(fft.irfftn(A * A, size))
    power = np.asarray(fft.irfftn(P * M, size))
    floor = _COVER * power.max()
    if not floor > 0:
        return None
    e = np.where(power >= floor, 1 - same / np.maximum(power, floor), np.inf)
    best = np.unravel_index(np.argmin(e), e.shape)
    default = tuple(2 * (c - o) for c, o in zip(middle, start, strict=True))
    pairs = np.count_nonzero(np.logical_and(*opposite(measured[window], tuple(s / 2 for s in best))))
    noise = _TIE * 0.5 * np.sqrt(max(pairs, 1)) / power[best]
    if all(0 <= s < n for s, n in zip(default, e.shape, strict=True)) and e[default] <= e[best] + noise:
        best = default
    return tuple(float(s) / 2 + o for s, o in zip(best, start, strict=True))


def asymmetry_about(intensity: np.ndarray, measured: np.ndarray, centre: tuple[float, ...], counts: bool = True) -> float:
    """Σ (A − A')² / 2 over the measured pairs of pixels opposite each other about `centre`, less what Poisson counting
    alone would give, over Σ A² of the same pixels: 0 for a real object, of order 0.2 for unrelated speckles. 1 without
    any pair. counts: the intensity is in photons; otherwise nobody knows what its noise gives, and nothing is taken off."""
    both = np.logical_and(*opposite(measured, centre))
    a = np.maximum(opposite(intensity, centre)[0][both], 0).astype(np.float64)
    n = a + a[::-1]  # the same pixels, from the last on, are those opposite
    total = n.sum() / 2
    if not total > 0:
        return 1.0
    root = np.sqrt(a, out=a)
    difference = ((root - root[::-1]) ** 2).sum() / 2
    return float((difference - (_counting(n).sum() if counts else 0)) / total)


def opposite(array: np.ndarray, centre: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that have one opposite them about `centre`, and those opposite; empty where there are none."""
    window, mirrored = [], []
    for n, c in zip(array.shape, centre, strict=True):
        s = round(2 * c)
        low, high = max(0, s - n + 1), min(n - 1, s)
        window.append(slice(low, max(low, high + 1)))
        mirrored.append(slice(s - high, max(s - high, s - low + 1)))
    if any(w.start == w.stop for w in window):
        none = array[(slice(0, 0),) * array.ndim]
        return none, none
    return array[tuple(window)], array[tuple(mirrored)][(slice(None, None, -1),) * array.ndim]


def _counting(n: np.ndarray) -> np.ndarray:
    """E[(√I − √I')² / 2 | I + I' = n] for two equal Poisson means: I is binomial(n, 1/2). Fractions between the two
    integers."""
    table = _binomial_table()
    if (n == np.rint(n)).all():
        return np.append(table, 0.25)[np.minimum(n, table.size).astype(np.int32)]
    return np.interp(n, np.arange(table.size), table, right=0.25)


@cache
def _binomial_table(most: int = 200) -> np.ndarray:
    from math import comb

    expected = np.zeros(most + 1)
    for n in range(1, most + 1):
        k = np.arange(n + 1)
        weight = np.array([comb(n, int(j)) / 2**n for j in k])
        expected[n] = weight @ ((np.sqrt(k) - np.sqrt(n - k)) ** 2) / 2
    return expected


def _window(intensity: np.ndarray, middle: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """The part of a large array around its brightest region, as slices and where they start."""
    most = _WINDOW[intensity.ndim]
    if max(intensity.shape) <= most:
        return (slice(None),) * intensity.ndim, (0,) * intensity.ndim
    peak = np.unravel_index(np.argmax(intensity), intensity.shape)
    start = tuple(int(np.clip(p - most // 2, 0, max(0, n - most))) for p, n in zip(peak, intensity.shape, strict=True))
    return tuple(slice(o, o + most) for o in start), start


def bright_centre(intensity: np.ndarray, measured: np.ndarray) -> tuple[float, ...]:
    """Centre of mass of the squared intensity, in pixels: the peak where there is one, the middle of the bright
    speckles where a strong phase has broken it up; a stop in the middle does not move it."""
    weight = np.where(measured, intensity, 0).astype(np.float64)
    weight = (weight / weight.max()) ** 2
    total = weight.sum()
    return tuple(
        float(np.arange(n) @ weight.sum(axis=tuple(a for a in range(weight.ndim) if a != axis)) / total)
        for axis, n in enumerate(weight.shape)
    )


def is_near(point: tuple[float, ...], centre: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """True where an object without symmetry does not care which of the two is the centre: 2 pixels or a tenth of the
    array.
    (Simulated: 64 pixels, phases of 0.3 to 3 rad rms, with and without a stop of radius 3: off by up to 5.7 pixels,
    mostly 2.)"""
    return all(abs(p - c) <= max(2.0, 0.1 * n) for p, c, n in zip(point, centre, shape, strict=True))


def is_cornered(intensity: np.ndarray, measured: np.ndarray) -> bool:
    """True where the zero frequency is at index 0 (FFT order): rolled to the middle, the bright part is less than half
    as spread out (mean squared distance), and no corner is dark."""
    if _spread(np.fft.fftshift(intensity), np.fft.fftshift(measured)) > 0.5 * _spread(intensity, measured):
        return False
    mean = intensity[measured].mean()
    for side in np.ndindex(*(2,) * intensity.ndim):
        wide = [max(3, n // 8) for n in intensity.shape]
        block = tuple(slice(0, w) if s else slice(-w, None) for s, w in zip(side, wide, strict=True))
        inside = measured[block]
        if inside.any() and intensity[block][inside].mean() < mean:
            return False
    return True


def is_centred(intensity: np.ndarray, measured: np.ndarray) -> bool:
    """True where the array is certainly not in FFT order, because its bright part lies in the middle: it is less than half as spread out
    there as it would be rolled."""
    return _spread(intensity, measured) < 0.5 * _spread(np.fft.fftshift(intensity), np.fft.fftshift(measured))


def _spread(intensity: np.ndarray, measured: np.ndarray) -> float:
    """Mean squared distance of the intensity from the array's centre, per axis in units of its length."""
    weight = np.where(measured, intensity, 0)
    total = 0.0
    for axis, n in enumerate(weight.shape):
        profile = weight.sum(axis=tuple(a for a in range(weight.ndim) if a != axis), dtype=np.float64)
        total += float(((np.arange(n) - n // 2) / n) ** 2 @ profile / profile.sum())
    return total
