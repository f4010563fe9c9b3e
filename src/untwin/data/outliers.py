"""Pixels whose counts are not the light of the object, told by the counts alone: isolated hot pixels, and saturation that nobody masked.

An object that fills at most half of the array along an axis casts speckles at least two pixels wide: the brightest of a pixel's neighbours
has a good share of its counts. One that stands so far above them that not even a Poisson number could come out so is not light.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage, special

from untwin.data.counts import clipped, saturation_sentence
from untwin.data.faults import CHANCE, MOST_HOT, NEIGHBOUR, REPEATED
from untwin.data.measurement import Pattern

NEIGHBOURS = 5  # of a pixel at least are measured: as many as beside a straight gap, in the plane
ONE_SIDED = 16.0  # times as bright as its mirror image: 24 simulated crystals reach 15, 23 of 24 streaks of 1 % more (unscripted),
SPREAD = 3.0  # and what hangs together with it is so many times as bright
LOCAL = 5  # pixels, the box of the means that are compared
FAINT = 10.0  # counts, of a mean that is looked at
INNER = 0.125  # of the array from the zero frequency: within it an object's own light may be as one-sided


@dataclass(frozen=True, eq=False)
class Outliers:
    """hot, saturated: (*grid) bool, FFT order, disjoint. sentences: what was seen, one for each kind of which there are any."""

    hot: np.ndarray
    saturated: np.ndarray
    sentences: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.sentences)

    def masked(self, pattern: Pattern) -> Pattern:
        """The pattern without them: not measured, and its warnings say so. The pattern itself where there are none."""
        if not self.any:
            return pattern
        measured = pattern.measured & ~self.hot & ~self.saturated
        warnings = (*pattern.warnings, *self.sentences)
        return replace(pattern, intensity=np.where(measured, pattern.intensity, 0), measured=measured, warnings=warnings)


def outliers(pattern: Pattern) -> Outliers:
    """The hot and the saturated pixels of a pattern."""
    hot = isolated(pattern)  # first: of hot pixels, too, many may share the largest value
    saturated = clipped(pattern.intensity, pattern.measured & ~hot)
    sentences = []
    if hot.any():
        number, most = int(hot.sum()), float(pattern.intensity[hot].max())
        what = "1 isolated pixel is" if number == 1 else f"{number} isolated pixels are"
        sentences.append(f"{what} brighter than light beside such neighbours can be, up to {most:,.0f}: masked as hot")
    if saturated.any():
        sentences.append(saturation_sentence(pattern.intensity, saturated))
    return Outliers(hot, saturated, tuple(sentences))


def one_sided(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """(*grid) bool: light at which the mirror image of the pattern is dark, as that of another crystal's is; and the mean of the mirror
    image around each pixel. An object may do this by its phase, so that this is a suspicion: only a reconstruction without these pixels
    tells, which predicts their light or does not."""
    d = pattern.ndim
    mean = ndimage.uniform_filter(np.where(pattern.measured, pattern.intensity, 0).astype(np.float64), LOCAL, mode="wrap")
    looked_at = None
    if not pattern.measured.all():
        weight = ndimage.uniform_filter(pattern.measured.astype(np.float64), LOCAL, mode="wrap")
        mean /= np.maximum(weight, 0.5 / LOCAL**d)
        looked_at = (weight > 0.5) & _mirrored(weight > 0.5)
    across = _mirrored(mean)
    far = sum(np.fft.fftfreq(n).reshape([-1 if a == axis else 1 for a in range(d)]) ** 2 for axis, n in enumerate(pattern.shape)) > INNER**2
    looked_at = far & (mean > FAINT) if looked_at is None else looked_at & far & (mean > FAINT)
    ratios, ratio = (mean[looked_at] + 1) / (across[looked_at] + 1), np.zeros(pattern.shape)
    if not (ratios > ONE_SIDED).any():
        return np.zeros(pattern.shape, dtype=bool), across
    ratio[looked_at] = ratios
    pieces, _ = ndimage.label(np.fft.fftshift(ratio > SPREAD))  # type: ignore[misc]
    bright = np.isin(pieces, np.setdiff1d(np.unique(pieces[np.fft.fftshift(ratio > ONE_SIDED)]), 0))
    wide = np.fft.ifftshift(np.asarray(ndimage.binary_dilation(bright, iterations=2))) & pattern.measured
    return wide, across


def _mirrored(array: np.ndarray) -> np.ndarray:
    """In FFT order."""
    return np.roll(np.flip(array), 1, tuple(range(array.ndim)))


def isolated(pattern: Pattern) -> np.ndarray:
    """(*grid) bool: the pixels far brighter than their neighbours (the array is periodic). None where the values are not counts.

    The zero frequency and its neighbours are never among them. Nor is a pixel with two as bright ones two pixels away: so looks a
    rectangle along the axes that is oversampled by exactly 2, every other sample of which is 0. Where the mirror image repeats most of
    them, to a pixel, none that it repeats: so look the straight edges of an object that fills more than half of the array.
    """
    intensity, measured = pattern.intensity, pattern.measured
    d, none = intensity.ndim, np.zeros(intensity.shape, dtype=bool)
    if min(intensity.shape) < 8 or not pattern.counted:
        return none
    light, shape = np.where(measured, intensity, 0), np.array(intensity.shape)
    steps = np.array(list(itertools.product(range(-2, 3), repeat=d)))
    far = np.abs(steps).max(1)

    def of(array: np.ndarray, at: np.ndarray) -> np.ndarray:
        return array[tuple(np.moveaxis(at % shape, -1, 0))].astype(np.float64)

    some = np.float32(1.01 * NEIGHBOUR) * light  # rounded, and a little more: one neighbour leaves out nearly all
    at = np.argwhere((some > -np.log(CHANCE)) & (some > np.roll(light, 1, -1)))
    for step in steps[far == 1]:
        at = at[NEIGHBOUR * of(light, at) > of(light, at + step)]
    near, ring = (at[:, None] + steps[far == k] for k in (1, 2))
    expected = NEIGHBOUR * of(light, at)
    unlikely = (expected > -np.log(CHANCE)) & (special.pdtr(np.floor(of(light, near).max(1)), expected) < CHANCE)
    if not 0 < unlikely.sum() <= MOST_HOT * intensity.size:
        return none
    second = np.sort(of(light, ring), axis=1)[:, -2]
    opposite = of(light, -at[:, None] + steps[far <= 1]).max(1)
    repeated = (opposite > REPEATED * of(light, at)) & ~(2 * np.minimum(at, shape - at) >= shape - 1).all(1)  # see faults
    central = (np.minimum(at, shape - at) <= 1).all(1)
    alone = unlikely & (of(measured, near).sum(1) >= NEIGHBOURS) & (second < expected) & ~central
    if alone.any() and repeated[alone].mean() > 0.5:
        alone &= ~repeated
    none[tuple(at[alone].T)] = True
    return none
