"""Which part of the detector the frames show: a flat field is a fingerprint, and the light of the frames bears it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AROUND = 5  # pixels, of the mean that a pixel is held against
BRIGHT = 10.0  # times the median: there the pattern changes from pixel to pixel by itself
CLIP = 4.0  # standard deviations, of one pixel's say
SURE = 6.0  # standard deviations of chance that the right window has at least: the best of 10^5 wrong ones has 4.3,
CLEAR = 2.0  # and so many times what the best of all others has (scan 54 of 34-ID-C: 0.155 against 0.03)
EXPECTED = 12.0  # standard deviations: as much should a flat that belongs to the frames have, before its absence means something,
ABSENT = 0.25  # of what it should have


@dataclass(frozen=True)
class Match:
    """How the flat of a detector lies on the frames. first: (row, column) of the detector that the first pixel of the frames is, at the
    best correlation. correlation: there. elsewhere: the best of any other window. deviations: `correlation` in units of chance.
    expected: in the same units, what the flat's own contrast would make if it belongs here, beside all else that changes in the frames."""

    first: tuple[int, int]
    correlation: float
    elsewhere: float
    deviations: float
    expected: float

    @property
    def sure(self) -> bool:
        return self.deviations > SURE and self.correlation > CLEAR * self.elsewhere

    @property
    def absent(self) -> bool:
        """The frames have light enough to bear the flat, and do not."""
        return self.expected > EXPECTED and self.deviations < max(SURE, ABSENT * self.expected)


def match(total: np.ndarray, bad: np.ndarray, flat: np.ndarray, noise: float, at: tuple[int, int] | None = None) -> Match:
    """Of the counts of all frames, (rows, columns), and a flat that is at least as large. noise: share of the flat's variance that is
    its own counting noise. at: the window to look at, or the best one.

    Both are held against their local means; the counts are divided by their own counting noise. Where the pattern is bright, and where
    either is dead, nothing is looked at.
    """
    from scipy import signal

    d, known, level = _relative(total, ~bad, counts=True)
    f, alive, _ = _relative(flat, np.isfinite(flat) & (flat > 0), counts=False)
    d, f = np.where(known, d, 0), np.where(alive, f, 0)
    products = signal.fftconvolve(f, d[::-1, ::-1], mode="valid")
    power = np.maximum(signal.fftconvolve(f**2, known[::-1, ::-1].astype(np.float64), mode="valid"), 1e-12)
    energy = max(float((d**2).sum()), 1e-12)
    correlation = products / np.sqrt(power * energy)
    best = at if at is not None else tuple(int(k) for k in np.unravel_index(int(np.argmax(correlation)), correlation.shape))
    others = correlation.copy()
    others[max(0, best[0] - 1) : best[0] + 2, max(0, best[1] - 1) : best[1] + 2] = 0
    strength = float(correlation[best])
    pixels = max(int(known.sum()), 1)
    window = f[best[0] : best[0] + d.shape[0], best[1] : best[1] + d.shape[1]]
    borne = float((window**2 * np.sqrt(level))[known].sum()) / float(np.sqrt(power[best] * energy))  # the correlation where d = f √level
    deviations = np.sqrt(pixels) * np.array([strength, (1 - noise) * borne])
    return Match((int(best[0]), int(best[1])), strength, float(others.max(initial=0)), *map(float, deviations))


def _relative(image: np.ndarray, good: np.ndarray, counts: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(what each pixel has above the mean around it, where that is known, that mean). counts: in standard deviations of counting, and the
    pattern's bright part is left out; else as a share of the mean."""
    from scipy import ndimage

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.uniform_filter(values, AROUND, mode="nearest"), dtype=np.float64)

    weight = mean(good.astype(np.float64))
    level = mean(np.where(good, image, 0).astype(np.float64)) / np.maximum(weight, 1e-6)
    known = good & (weight > 0.5) & (level > 0)
    if counts and known.any():
        known &= np.asarray(ndimage.maximum_filter(level, AROUND)) <= BRIGHT * np.median(level[known])
        value = (image - level) / np.sqrt(np.maximum(level, 1e-6))
        return np.clip(value, -CLIP, CLIP), known, level
    value = image / np.maximum(level, 1e-30) - 1
    return np.clip(np.where(known, value, 0), -1, 1), known, level
