"""Is the pattern sampled finely enough: does its autocorrelation end inside the array?"""

from __future__ import annotations

import numpy as np

# Autocorrelation left at the largest lags, relative to its peak, at 64 pixels: objects of 20..31 pixels leave at most
# 0.005, of 43..59 pixels 0.13 (real) or 0.05 (complex) and more; what a stop of radius 3 hides leaks up to 0.18
# everywhere.
_EDGE = 0.44
_CLEAR = 0.08
_CLEAR_WITH_HOLES = 0.2
# At the lag N/2, of that at lag 1, and of the square of counting noise. More than both have, of 1152 axes (4 classes, 2D and 3D, 1e4 to
# 1e8 photons, the phase of a quarter of them mostly noise) of which the object fills up to half, 7; of 288 of which it fills 0.6, 42 %,
# 0.7, 74 %; and all that are named undersampled. A measured crystal at 2.3: 0.0015 and 217.
_GOES_ON = 0.02
_BEYOND_NOISE = 10.0


def undersampled_axes(intensity: np.ndarray, measured: np.ndarray) -> tuple[int, ...]:
    """Axes along which the object is clearly wider than half the field of view (oversampling below 2).

    The autocorrelation is the transform of the intensity with the unmeasured pixels at 0. An object of width w has lags
    up to w, so that an object below N/2 leaves nothing beyond 0.44 N. Counting noise adds 1/√photons per lag: six times
    that, and a margin that is larger where pixels are missing, are allowed for. None where a hole comes within two pixels of
    the brightest: what it hides of the peak leaks more than any object does (behind a stop of radius 2, and a gap of 3 through
    the centre, each of 48 objects of 22 and 28 pixels would be called too wide).
    """
    from scipy import fft

    filled = np.where(measured, intensity, 0).astype(np.float32)
    if _hides_the_peak(filled, measured):
        return ()
    photons = float(filled.sum(dtype=np.float64))
    lags = np.abs(np.asarray(fft.rfftn(filled))) / photons
    allowed = (_CLEAR if measured.all() else _CLEAR_WITH_HOLES) + 6 / np.sqrt(max(photons, 1.0))
    axes = []
    for axis, n in enumerate(filled.shape):
        profile = lags.max(axis=tuple(a for a in range(filled.ndim) if a != axis))
        lag = np.minimum(np.arange(profile.size), n - np.arange(profile.size))
        if np.median(profile[lag >= _EDGE * n]) > allowed:
            axes.append(axis)
    return tuple(axes)


def endless_axes(intensity: np.ndarray, measured: np.ndarray) -> tuple[int, ...]:
    """Axes of even length along which the autocorrelation goes on at the lag N/2, so that it cannot tell the object's width: that is about
    half of the field of view or more, or other light is there, too. Where `undersampled_axes` names an axis it is one of these."""
    filled = np.where(measured, intensity, 0)
    if _hides_the_peak(filled, measured):
        return ()
    photons, least = float(filled.sum(dtype=np.float64)), _GOES_ON if measured.all() else _CLEAR_WITH_HOLES
    axes = []
    for axis, n in enumerate(filled.shape):
        next_to, at_half = (np.abs(_at_lag(filled, axis, lag)) / photons for lag in (1, n // 2))
        if at_half.max() > least * next_to.max() and (at_half**2).mean() * photons > _BEYOND_NOISE:
            axes.append(axis)
    return tuple(axes)


def _at_lag(filled: np.ndarray, axis: int, lag: int) -> np.ndarray:
    """The autocorrelation at one lag along an axis and all along the others."""
    wave = np.exp(2j * np.pi * lag * np.arange(filled.shape[axis]) / filled.shape[axis])
    return np.fft.fftn(np.tensordot(wave, filled, (0, axis)))


def _hides_the_peak(filled: np.ndarray, measured: np.ndarray) -> bool:
    """Does a hole come within two pixels of the brightest? filled: 0 where not measured."""
    brightest = np.unravel_index(int(filled.argmax()), filled.shape)
    return not measured[np.ix_(*((i + np.arange(-2, 3)) % n for i, n in zip(brightest, filled.shape)))].all()
