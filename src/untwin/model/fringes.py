"""How sharp the fringes of a pattern are, from its counts alone: an upper bound on what may have blurred it.

A blurred pattern is the convolution of a nonnegative intensity with a kernel; a sharp one is that of none that is wider than its fringes.
The least wide Gaussian that no nonnegative intensity explains is a bound on the blur, whatever the object.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, optimize, special

from untwin.data.measurement import Pattern

TRIALS = tuple(round(0.1 * k, 1) for k in range(1, 11))  # σ, pixels
PIXELS = 40_000  # of a pattern that is looked at: a second
ITERATIONS = 60  # as many as sharpening takes (model.sharpen)


def blur_bound(pattern: Pattern) -> float | None:
    """σ of the narrowest of TRIALS that cannot have blurred the pattern, pixels; inf where all can. None where nobody looked: the values
    are not counts, or too many."""
    if pattern.intensity.size > PIXELS or not pattern.counted:
        return None
    noise = np.random.default_rng(0)
    for sigma in TRIALS:
        f = _explained(pattern, sigma)[pattern.measured]
        left, chance = (_half_deviance(f, k) for k in (pattern.intensity[pattern.measured], noise.poisson(f)))
        if left > chance:
            return sigma
    return float("inf")


def _explained(pattern: Pattern, sigma: float) -> np.ndarray:
    """The blurred nonnegative intensity nearest to the counts, weighted by their variance."""
    counts, weight = pattern.intensity.astype(np.float64), pattern.measured.astype(np.float64)

    def transfer(width: float) -> np.ndarray:
        d = pattern.ndim
        square = np.zeros(())
        for axis, n in enumerate(pattern.shape):
            k = fft.rfftfreq(n) if axis == d - 1 else fft.fftfreq(n)
            square = square + (k**2).reshape([-1 if a == axis else 1 for a in range(d)])
        return np.exp(-2 * np.pi**2 * width**2 * square)

    def blurred(a: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return fft.irfftn(fft.rfftn(a) * kernel, s=a.shape)  # type: ignore[operator]

    wide, kernel = transfer(2**0.5), transfer(sigma)
    smooth = blurred(counts * weight, wide).clip(min=0) / blurred(weight, wide).clip(min=1e-2)
    variance = np.where(pattern.measured, (counts + smooth) / 2, smooth) + 1
    root = np.sqrt(variance)

    def value(p: np.ndarray) -> tuple[float, np.ndarray]:
        r = weight * (blurred(p.reshape(counts.shape) * root, kernel) - counts) / root
        return float((r * r).sum() / 2), (root * blurred(weight * r / root, kernel)).ravel()

    first = (np.where(pattern.measured, counts, smooth) / root).ravel()
    bounds = [(0, None)] * first.size  # which `minimize` would turn into another form, pixel by pixel, and back again
    best = optimize.fmin_l_bfgs_b(value, first, bounds=bounds, m=10, maxiter=ITERATIONS, maxfun=2 * ITERATIONS)[0]
    return blurred(best.reshape(counts.shape) * root, kernel).clip(min=1e-3)


def _half_deviance(f: np.ndarray, k: np.ndarray) -> float:
    return float((f - k + special.xlogy(k, k / f)).sum())
