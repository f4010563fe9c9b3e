"""Whether a nonnegative object fills its box, as pictures do, and how large that box is: from the counts alone.

The autocorrelation of a box of w pixels along an axis reaches to lag w - 1, corners included; that of an object without corners leaves
those of its difference body empty. The noise of the bright zero frequency is the same at every lag: it is what stands at lags of half the
array, where an object of at most half the array leaves nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern

STANDS_OUT = 6.0  # standard deviations of counting noise, from which on the largest value at a lag is no noise (benchmarks/pictures.py)
CONTINUES = 2.5  # the same of the lags that follow the last such one: a dim edge left out cost 7 dB (coffee, 1e6 photons)
BEYOND = 0.75  # of the widths: lags further along every axis are the corners, which those of a disc or a regular octagon are not
FILLED = 0.2  # of what a uniform box has there (benchmarks/pictures.py: pictures 0.34 and more at 1e6, crystals at most 0.06)
CERTAIN = 40.0  # standard deviations of its mean (benchmarks/pictures.py: pictures 48 and more at 1e5 photons, crystals at most 27)
MAX_FAR = 3.0  # mean square at lags of half the array over that of noise: above it, the object is larger than half the array
MIN_SIZE = 16  # pixels of the array along an axis


def frame_widths(pattern: Pattern) -> tuple[int, ...] | None:
    """Widths in pixels of the box that a real nonnegative object fills; None where it does not, or where the pattern does not tell."""
    if pattern.ndim != 2 or min(pattern.shape) < MIN_SIZE or not pattern.measured.all() or not pattern.counted:
        return None
    intensity = np.asarray(pattern.intensity, dtype=np.float64)
    correlation = np.fft.fftn(intensity).real
    lags = np.meshgrid(*(np.abs(np.fft.fftfreq(n, 1 / n)) for n in pattern.shape), indexing="ij")
    far = np.any([lag >= n // 2 for lag, n in zip(lags, pattern.shape)], axis=0)
    centre = float(intensity.flat[0])
    noise = math.sqrt(max(float(intensity.sum()) - centre, 1.0))
    correlation -= correlation[far].mean()
    if float(np.square(correlation[far]).mean()) > MAX_FAR * noise**2:
        return None
    widths = []
    for axis, n in enumerate(pattern.shape):
        highest = correlation.max(axis=1 - axis)[: n // 2]
        lag = int(np.flatnonzero(highest > STANDS_OUT * noise).max(initial=0))
        while lag + 1 < len(highest) and highest[lag + 1] > CONTINUES * noise:  # a dim edge
            lag += 1
        widths.append(lag + 1)
    uniform = (
        centre
        * intensity.size
        * math.prod(1 / w**2 for w in widths)
        * np.prod([(w - lag).clip(min=0) for w, lag in zip(widths, lags)], axis=0)
    )
    beyond = np.all([lag >= BEYOND * w for w, lag in zip(widths, lags)], axis=0) & (uniform > 0)
    row, column = (np.fft.fftfreq(n, 1 / n) for n in pattern.shape)
    for sign in (1, -1):
        corner = beyond & (sign * row[:, None] * column[None, :] > 0)
        total, pairs = float(correlation[corner].sum()), int(corner.sum()) / 2
        if not pairs or total < FILLED * float(uniform[corner].sum()) or total < CERTAIN * noise * math.sqrt(pairs):
            return None
    return tuple(widths)


def frame(pattern: Pattern) -> np.ndarray | None:
    """(*grid) bool, FFT order: that box, its middle at index 0."""
    widths = frame_widths(pattern)
    if widths is None:
        return None
    lines = [np.isin(np.arange(n), (np.arange(w) - w // 2) % n) for n, w in zip(pattern.shape, widths)]
    return lines[0][:, None] & lines[1][None, :]
