"""Whether the object behind a pattern is real, from the counts alone: the pattern of a real object is its own mirror image.

Two opposite pixels of the same sensitivity have the same mean, so that of their counts a, b, with n = a + b, a is binomial(n, 1/2) whatever
the object: E (a - b)^2 = n, Var (a - b)^2 = 2 n (n - 1), exactly. What exceeds that is the phase. It is looked for with three weights,
n^0, n^-1/2 and n^-1: a smooth phase shows where the pattern is bright, a rough one everywhere. A phase of rms s makes an asymmetry of
about s^2 / 2, so that the largest asymmetry that the counts allow bounds the phase.

An object that is its own mirror image, with a phase that is so too, has such a pattern as well: no look at the symmetry tells it from a
real one; where its autocorrelation is negative somewhere, that does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from untwin.data import centre as centring
from untwin.data.measurement import Pattern

# All figures: benchmarks/realness.py
WEIGHTS = (0.0, 0.5, 1.0)
COMPLEX = 1e-5  # chance of such an asymmetry, for a real object, from which on it is none
REAL = 1e-2  # the same, below which a real object is not sure
PHASE = 0.02  # rad rms: "real" is said where no larger phase hides
SHARE = 3.0  # of the square of a phase over the asymmetry it makes: at most so much (mostly 1 to 2.5)
DEVIATIONS = 3.0  # above the asymmetry that was measured: what the counts allow
OVERLAP = 0.5  # of the photons, and of the pixels, have a measured partner
NEGATIVE = 0.01  # of the autocorrelation's peak: deeper than noise in counts of 1e5 and more,
NOISE = 6.0  # and so many standard deviations


@dataclass(frozen=True)
class Realness:
    """answer: "unknown" where nobody can tell, reason says why.
    asymmetry: see `centre.asymmetry_about`; of numbers with an unknown noise with all of it. error: one standard deviation of it, by
    counting alone, NaN where that is not known. phase: rad rms, the largest that the pattern may hide."""

    answer: Literal["real", "complex", "unknown"]
    asymmetry: float
    error: float
    phase: float
    reason: str = ""

    @property
    def real(self) -> bool:
        return self.answer == "real"

    def __str__(self) -> str:
        size = f"asymmetry {self.asymmetry:.2g}" + (f" ± {self.error:.1g}" if self.error == self.error else ", noise included")
        if self.real:
            return f"its own mirror image ({size}): real to {self.phase:.1g} rad, or point-symmetric with its phase; try --positivity"
        if self.answer == "complex":
            return f"not its own mirror image ({size}): the object is complex"
        return f"cannot tell whether the object is real ({size}): {self.reason}"


def realness(pattern: Pattern) -> Realness:
    """What the pattern says of its object being real."""
    pairs = _Pairs.of(pattern)
    asymmetry, error = pairs.asymmetry(pattern.counted)
    phase = math.sqrt(SHARE * max(0.0, max(asymmetry, 0.0) + (DEVIATIONS * error if error == error else 0.0)))
    chance = pairs.chance() if pattern.counted else math.nan

    def answered(answer: Literal["real", "complex", "unknown"], reason: str = "") -> Realness:
        return Realness(answer, asymmetry, error, phase, reason)

    if chance < COMPLEX:
        return answered("complex")
    if pairs.overlap < OVERLAP:
        return answered("unknown", f"only {100 * pairs.overlap:.0f} % of it has a measured mirror image")
    if not phase <= PHASE:
        reason = f"a phase of {phase:.1g} rad rms may hide in the noise" if phase < 1 else "too few photons"
        return answered("unknown", reason if pattern.counted else "these are no counts, so that nobody knows how much of it is noise")
    if chance < REAL:
        return answered("unknown", f"its own mirror image only by a chance of {chance:.1g}")
    if _is_negative(pattern):
        return answered("unknown", "its own mirror image, but no real nonnegative object has an autocorrelation below 0")
    return answered("real")


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Each pair of opposite measured pixels once, in double precision. n: counts of both, where there are any. square: (a - n p)^2 / (p q),
    where p and q = 1 - p are the shares of the two that a real object gives, so that its mean is n; variance: of it. overlap: of the
    photons or of the pixels, whichever is less, how many are in a pair."""

    n: np.ndarray
    square: np.ndarray
    variance: np.ndarray
    overlap: float

    @classmethod
    def of(cls, pattern: Pattern) -> _Pairs:
        middle = tuple(n // 2 + s for n, s in zip(pattern.shape, pattern.offset))

        def both(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            a, b = centring.opposite(np.fft.fftshift(array), middle)
            return a.ravel()[: a.size // 2], b.ravel()[: a.size // 2]

        use = np.logical_and(*both(pattern.measured))
        pixels = 2 * np.count_nonzero(use) / pattern.measured.size
        a, b = (v[use].astype(np.float64) for v in both(pattern.intensity))
        n, some = a + b, a + b > 0
        overlap = min(pixels, float(n.sum()) / max(pattern.photons - float(pattern.intensity.flat[0]), 1e-30))
        p = np.full(len(n), 0.5)
        if pattern.sensitivity is not None or pattern.dark is not None:
            s, t = (v[use].astype(np.float64) for v in both(_or(pattern.sensitivity, 1.0, pattern.shape)))
            d, e = (v[use].astype(np.float64) for v in both(_or(pattern.dark, 0.0, pattern.shape)))
            light = np.maximum(n - d - e, 0) / (s + t)
            p = (s * light + d) / np.maximum(s * light + d + t * light + e, 1e-30)
            some &= (p > 0) & (p < 1)
        n, a, p = n[some], a[some], p[some]
        pq = p * (1 - p)
        return cls(n, (a - n * p) ** 2 / pq, n * np.maximum(1 / pq + 2 * n - 6, 0), overlap)

    def asymmetry(self, counts: bool) -> tuple[float, float]:
        """See `centre.asymmetry_about`, and one standard deviation of it. counts: less what counting alone would give."""
        total = 2 * float(self.n.sum())
        if not total > 0:
            return 1.0, math.nan
        if not counts:
            return float((self.square / self.n).sum()) / total, math.nan
        return float((self.square / self.n - 1).sum()) / total, math.sqrt(float((self.variance / self.n**2).sum())) / total

    def chance(self) -> float:
        """That counting alone makes the pattern as asymmetric: that of the least likely of the three sums, each taken as a multiple of a
        chi-square with the mean and the variance that it has, times three."""
        from scipy import special

        chances = [1.0]
        for power in WEIGHTS:
            w = self.n**-power
            mean, variance = float((w * self.n).sum()), float((w * w * self.variance).sum())
            if variance > 0:
                chances.append(float(special.gammaincc(mean**2 / variance, float((w * self.square).sum()) / (variance / mean))))
        return min(1.0, len(WEIGHTS) * min(chances))


def _or(array: np.ndarray | None, value: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, value, dtype=np.float32) if array is None else array


def _is_negative(pattern: Pattern) -> bool:
    """Whether the autocorrelation is so somewhere; False where unmeasured pixels leave that open."""
    from scipy import fft

    if not pattern.measured.all():
        return False
    correlation = np.real(np.asarray(fft.rfftn(pattern.corrected().intensity)))
    return bool(correlation.min() < -max(NEGATIVE * correlation.flat[0], NOISE * math.sqrt(pattern.photons) if pattern.counted else 0.0))
