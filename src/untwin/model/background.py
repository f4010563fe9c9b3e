"""The flat background under a pattern, from its counts alone, before anything is reconstructed.

Where a pattern is dark it is speckle on a floor. Fully coherent speckle of local mean mu is exponential and so reaches 0: of its pixels the
share 1 / (1 + mu) counts nothing. A floor b adds Poisson(b) everywhere and nothing falls below. Partial coherence fills the dark points
too, but in proportion to the speckle around them and not by the same number of counts, so that regions of different brightness tell the two
apart. With the generating function of the counts k of one region,

    E z^k = exp(-b u) < 1 / ((1 + a t u) (1 + e a t u)^2) >_t,  u = 1 - z,  a (1 + 2 e) + b = mean of the region,

two weaker modes of relative weight e stand for partial coherence (the gradient along two axes), common to all regions, and t, lognormal of
width s and mean 1, for a local mean that varies within a region, each its own. Regions are pixels sorted by the mean of their surroundings
*without* themselves and their nearest neighbours: those that happened to be dark are not picked out, which would look like a floor.
b, e and s by maximum likelihood; neighbouring pixels lie in one speckle, so that likelihood counts PER_SPECKLE pixels as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from untwin.data.measurement import Pattern
from untwin.model.outline import profile_widths
from untwin.random import derive

# All numbers were chosen on 64 x 64 patterns of three classes at 1e4 to 1e6 photons, seed 7707 (docs/benchmarks.md, What the counts tell)
NARROWEST = 5  # pixels: the surroundings of a pixel are a box without an inner one, of two speckles and at least so wide
FILLED = 0.4  # of the surroundings must be measured
BRIGHTEST = 150.0  # counts: surroundings from which on a floor of a few counts tells nothing,
CONTRAST = 8.0  # or this many times the darkest tenth of the pixels, where that is brighter
REGIONS = 12
FEWEST = 240  # pixels that are dark enough, below which nothing is said
MOST = 200_000  # pixels that are looked at
LARGEST = 4096  # counts that are looked at
WEIGHTS = (0.0, 0.03, 0.07, 0.12, 0.2, 0.3, 0.45)  # e: those of a blur of 0.5 pixels are 0.1 to 0.4
WIDTHS = (0.0, 0.4, 0.8, 1.2)  # s
PRIOR = 10.0  # log likelihood that a weight of 1 costs: large ones mimic floors
STIFFNESS = 100.0  # times the squared difference of √e to the common one: what a region's own weight costs
STRAY = 1e-7  # probability that any count has: light of something else
WORST = 0.02  # of the pixels: the flat's least sensitive ones are not looked at (0.1 finds floors no better and loses counts)
SHARE = 0.5  # of the pixels of a speckle count as one: the scatter of b about the truth is then its error
ALARM = 1.5  # log likelihood ratio of a floor to none,
SURE = 2.5  # and so many standard deviations: no false floor in coherent patterns, 9 in 384 under partial coherence


@dataclass(frozen=True)
class Background:
    """level: counts per pixel, 0 where a floor is not significant. error: one standard deviation of it.
    evidence: log likelihood ratio of a floor to none."""

    level: float
    error: float
    evidence: float

    def __str__(self) -> str:
        digits = max(0, -math.floor(math.log10(self.error)))
        return f"{self.level:.{digits}f} ± {self.error:.{digits}f} counts per pixel, flat" if self.level > 0 else "none seen"


def flat_background(pattern: Pattern) -> Background | None:
    """The floor of a pattern, outliers masked, beside its dark. None where the values are not counts, or too few pixels are dark."""
    if not pattern.counted:
        return None
    dark = 0.0 if pattern.dark is None else float(pattern.dark[pattern.measured].mean(dtype=np.float64))
    pattern, share = thinned(pattern)
    speckle = [n / max(lag, 1) for n, lag in zip(pattern.shape, profile_widths(pattern))]
    counts = np.where(pattern.measured, np.rint(pattern.intensity), 0).astype(np.int64)
    regions = _regions(counts, pattern.measured, speckle)
    if regions is None:
        return None
    level, error, evidence = _maximum(_Likelihood(*regions), float(regions[1].min()), SHARE * math.prod(speckle))
    level, error = level / share - dark, error / share
    return Background(level if evidence > ALARM and level > SURE * error else 0.0, error, evidence)


def thinned(pattern: Pattern) -> tuple[Pattern, float]:
    """The counts of a detector whose pixels are alike, and its sensitivity: of the photons of the better pixels some are left out by
    chance, so that the rest are Poisson again, and the worst pixels are left out. The pattern and 1 where the sensitivity is not known."""
    if pattern.sensitivity is None:
        return pattern, 1.0
    share = float(np.quantile(pattern.sensitivity[pattern.measured], WORST))
    measured = pattern.measured & (pattern.sensitivity >= share)
    rng = np.random.default_rng(derive(0, "thinned to an even detector"))
    counts = rng.binomial(np.rint(pattern.intensity).astype(np.int64), np.minimum(1, share / pattern.sensitivity))
    intensity = np.where(measured, counts, 0).astype(np.float32)
    return replace(pattern, intensity=intensity, measured=measured, sensitivity=None, dark=None), share


def _regions(counts: np.ndarray, measured: np.ndarray, speckle: list[float]) -> tuple[np.ndarray, np.ndarray] | None:
    """(histograms (regions, counts), means) of pixels in surroundings alike, the brightest left out; None where there are too few."""

    inner = tuple(max(NARROWEST, 2 * int(min(s, n / 12)) + 1) for n, s in zip(counts.shape, speckle))
    outer = tuple(2 * width + 1 for width in inner)

    def ring(a: np.ndarray) -> np.ndarray:
        boxes = [ndimage.uniform_filter(a, widths, mode="wrap") * math.prod(widths) for widths in (outer, inner)]  # type: ignore[arg-type]
        return boxes[0] - boxes[1]

    if any(n <= width for n, width in zip(counts.shape, outer)):
        return None
    weight = ring(measured.astype(np.float64))
    use = measured & (weight > FILLED * (math.prod(outer) - math.prod(inner)))
    if use.sum() < FEWEST:
        return None
    around, k = ring(counts.astype(np.float64))[use] / weight[use], counts[use]
    brightest = max(BRIGHTEST, CONTRAST * float(np.quantile(around, 0.1)))
    dark = np.flatnonzero((around < brightest) & (k < LARGEST))
    dark = dark[:: max(1, len(dark) // MOST)]
    if len(dark) < FEWEST or brightest > LARGEST / 4:
        return None
    order = dark[np.argsort(around[dark], kind="stable")]
    parts = [k[part] for part in np.array_split(order, REGIONS)]
    length = 2 ** math.ceil(math.log2(min(LARGEST, 6 * brightest)))
    histograms = np.stack([np.bincount(part[part < length], minlength=length) for part in parts])
    means = histograms @ np.arange(length) / histograms.sum(1)
    return (histograms, means) if means.min() > 0 else (histograms[means > 0], means[means > 0])


class _Likelihood:
    """Log likelihood of a floor: of each region for its best width, of all for the best weight."""

    def __init__(self, histograms: np.ndarray, means: np.ndarray):
        self.means, length = means, histograms.shape[1]
        self.at = np.nonzero(histograms)
        self.number = histograms[self.at]
        self.first = np.searchsorted(self.at[0], np.arange(len(means)))
        self.u = 1 - np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
        nodes, weights = np.polynomial.hermite_e.hermegauss(3)
        self.nodes, self.node_weights = nodes, weights / weights.sum()

    def __call__(self, floor: float) -> float:
        each = np.array([np.max([self._regions(floor, e, s) for s in WIDTHS], axis=0) for e in WEIGHTS])
        root = np.sqrt(WEIGHTS)
        price = STIFFNESS * (root[:, None] - root) ** 2
        return max(float((each - price[:, i, None]).max(0).sum()) - PRIOR * e for i, e in enumerate(WEIGHTS))

    def _regions(self, floor: float, weight: float, width: float) -> np.ndarray:
        mean = np.maximum(self.means - floor, 0.02 * self.means) / (1 + 2 * weight)
        generating = 0
        lognormal = np.exp(width * self.nodes) if width else np.ones(1)
        parts = self.node_weights if width else np.ones(1)
        for share, t in zip(parts, lognormal / (parts @ lognormal)):
            q = t * mean[:, None] * self.u
            generating = generating + share / ((1 + q) * (1 + weight * q) ** 2)
        probability = np.fft.irfft(generating * np.exp(-floor * self.u), 2 * (len(self.u) - 1))[self.at]
        return np.add.reduceat(self.number * np.log(np.maximum(probability, 0) + STRAY), self.first)


def _maximum(likelihood: _Likelihood, darkest: float, pixels: float) -> tuple[float, float, float]:
    """(b, standard deviation, log likelihood ratio to no floor) at the likelihood's maximum: a coarse grid up to the darkest region's mean,
    halved thrice about its best. The likelihood counts `pixels` neighbours as one."""
    top = 1.2 * darkest
    value = {b: likelihood(b) / pixels for b in (top * (i / 12) ** 1.5 for i in range(13))}
    for _ in range(3):
        grid = sorted(value)
        i = min(max(int(np.argmax([value[b] for b in grid])), 1), len(grid) - 2)
        for b in ((grid[i - 1] + grid[i]) / 2, (grid[i] + grid[i + 1]) / 2):
            value[b] = likelihood(b) / pixels
    best = max(value, key=lambda b: value[b])
    sides = [[(abs(b - best), value[best] - v) for b, v in value.items() if side * (b - best) > 0] for side in (-1, 1)]
    lower = [min((p for p in points if p[1] >= 0.5), default=None) for points in sides]  # as far as one deviation
    errors = [distance / math.sqrt(2 * drop) for distance, drop in filter(None, lower)]
    return best, sum(errors) / len(errors) if errors else top, value[best] - value[0.0]
