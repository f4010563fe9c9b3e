"""Whether the frames of a stack are slices of one volume, exposures of one pattern, or patterns of their own: what their values say.

Noise is independent from pixel to pixel, whatever its kind; a pattern is not (its speckles are two pixels wide or more). So the frames are
compared through products of neighbouring pixels p, p', in which noise has no mean. With x the intensity, M its sum over the frames, P
that above its darkest tenth, and s the share of each frame in P,

    r(k, p) = (x(k, p) − s(k) P(p) − b(k)) / √M(p)        what frame k has beyond its share and a uniform background,
    change  = Σ r(k, p) r(k, p') / (Σ s(k)² (1 − s(k))² Σ P(p) P(p') / √(M(p) M(p')))        squared, relative to a frame,
    follow  = Σ r(k, p) r(k + 1, p') / Σ r(k, p) r(k, p')        and how much of it is in the next frame, too.

Exposures of one pattern do not change. Slices of a volume do, but neighbours are alike (its object fills at most half of the field of
view), and the peak passes through them. Unrelated frames change, and no frame says anything of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["volume", "exposures", "different", "perhaps a volume", "perhaps exposures"]

FEWEST = 8  # frames that can be a volume: as many as pixels along any axis
_PAIRS = 6000  # pairs of pixels that are looked at, the brightest
_LEAST = 30  # pairs: fewer say nothing
_PATTERN = 5  # standard deviations of the correlation of the pixels of a pair: below, the frames show no pattern at all
_FLOOR = 0.1  # share of the pixels at most as bright as the background
_COMPARABLE = 10  # ratio of the two pixels of a pair: above it one of them is hot
_LONE = 0.9  # share of one frame in a pixel: more is a hot row of an array that is looked at along another axis

# Measured on 612 drawn stacks (benchmarks/stacks.py, seed 17003, 107 to 133 of each kind, frames along axis 0):
_ALIKE = 0.05  # change, with two errors: exposures with photons enough at most 0.006; objects 0.2 and more, slow series from 0.02 on
_NEARLY = 1e-3, 2.5  # change and multiples of its error up to which alike is the same: exposures at most 2.1 errors
_FOLLOW = 0.2  # volumes 0.43 .. 0.99 (1 in 107 at 0.14); objects -0.27 .. 0.09; positions of a scan 0.03 .. 0.7, series up to 0.96
_STEADY = 0.87, 0.7  # level: series 0.91 .. 1, positions 0.72 .. 1 (5 % below 0.87); volumes at most 0.77 (1 in 107 at 0.9)
_SLOWLY = 0.6  # follow: of volumes at a level above 0.7 at least 0.8 (thin ones), of positions of a scan at most 0.7
_DARK, _PEAKED = 0.15, 0.2  # level of frames that are alike: of prisms along the axis at most 0.03, of exposures at least 0.25
_INSIDE = 0.6  # level of the ends of a peak that lies inside
_UNDERSAMPLED = 16, 0.1  # frames and level of the ends from which an undersampled volume is likelier than frames of several objects
_FAINT = 0.4  # level of frames in which there are too few photons to tell


@dataclass(frozen=True)
class Likeness:
    """How the frames of a stack compare.

    length: of the stack. frames: of these that were looked at. change, follow: as above; error: one standard deviation of change. level: of
    the weakest frames relative to the brightest, both as means over an eighth of the stack. ends: of the brighter end, likewise.
    """

    length: int
    frames: int
    change: float = 0.0
    error: float = float("inf")
    follow: float = 0.0
    level: float = 1.0
    ends: float = 1.0

    @property
    def kind(self) -> Kind:
        """What they are, as far as the values tell."""
        short = self.length < FEWEST
        if self.change + 2 * self.error < _ALIKE:
            least, errors = _NEARLY
            if short or self.level > _PEAKED:
                same = self.change < max(least, errors * self.error)
                return "exposures" if same else "perhaps exposures" if short or self.follow < _SLOWLY else "perhaps a volume"
            return "volume" if self.level < _DARK and self.ends < _INSIDE else "perhaps a volume"
        if self.change - 2 * self.error < _ALIKE:
            if short or (self.level > _FAINT and np.isfinite(self.error)):
                return "perhaps exposures"
            return "volume" if self.ends < _INSIDE else "perhaps a volume"
        if short:
            return "different"
        if self.follow < _FOLLOW:
            many, dark = _UNDERSAMPLED
            return "perhaps a volume" if self.frames >= many and self.ends < dark else "different"
        steady, perhaps = _STEADY
        if self.level > perhaps:
            return "different" if self.level > steady or self.follow < _SLOWLY else "perhaps a volume"
        return "volume"


def likeness(intensity: np.ndarray, measured: np.ndarray, axis: int = 0) -> Likeness:
    """Of the frames along an axis of (n, n, n) arrays; those of which nothing was measured are left out."""
    x, m = np.moveaxis(intensity, axis, 0), np.moveaxis(measured, axis, 0)
    some = measured_frames(m)
    some &= ~_lone_frames(x.sum((1, 2), dtype=np.float64))
    number, where = np.flatnonzero(some)[:, None], some[:, None, None]
    n, usable = len(number), np.asarray(m.all(0, where=where))
    if n < 2 or not usable.any():
        return Likeness(len(x), n)
    total = np.where(usable, x.sum(0, dtype=np.float64, where=where), 0)
    a, b = _pairs(total, x.max(0, where=where, initial=0), usable)
    xa, xb = (x[number, y, z].astype(np.float64) for y, z in (a, b))
    ma, mb = total[tuple(a)], total[tuple(b)]
    floor = float(np.quantile(total[usable], _FLOOR))
    few = a.shape[1] < _LEAST
    bright = x.sum((1, 2), dtype=np.float64)[some] if few else xa.sum(1) + xb.sum(1)
    if not bright.any():
        return Likeness(len(x), n)
    level, ends = _levels(bright)
    together = 0.0 if few else float(((ma - ma.mean()) * (mb - mb.mean())).mean())
    if few or together <= _PATTERN / np.sqrt(len(ma)) * ma.std() * mb.std():
        return Likeness(len(x), n, level=level, ends=ends)
    share, rest = _shares(xa + xb, ma + mb, 2 * floor)
    scale = ((share * (1 - share)) ** 2).sum() * ((ma - floor) * (mb - floor) / np.sqrt(ma * mb)).sum()
    if not scale > 0:
        return Likeness(len(x), n, level=level, ends=ends)
    ra, rb = ((v - share[:, None] * (mean - floor) - rest[:, None]) / np.sqrt(mean) for v, mean in ((xa, ma), (xb, mb)))
    each = (ra * rb).sum(0)
    own = (ra * rb).sum(1)
    around = (own[:-1] + own[1:]).sum() / 2
    follow = ((ra[:-1] * rb[1:]).sum() + (ra[1:] * rb[:-1]).sum()) / 2 / around if around > 0 else 0.0
    error = np.sqrt((each * each).sum()) / scale
    if each.sum() / scale + 2 * error < _ALIKE:  # then the shares are known without the background
        level, ends = _levels(np.maximum(share, 0))
    return Likeness(len(x), n, float(each.sum() / scale), float(error), float(follow), level, ends)


def _shares(x: np.ndarray, total: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """(share of each frame in the pattern, what of a uniform background it has in half of a pair): x ≈ share (total − floor) + 2 rest, by
    least squares with the weights of counts, 1 / total. x: (frames, pairs)."""
    unit = float((total - floor).mean()) or 1.0
    pattern = (total - floor) / unit
    normal = np.array([[(pattern**2 / total).sum(), (pattern / total).sum()], [(pattern / total).sum(), (1 / total).sum()]])
    right = np.stack([x @ (pattern / total), x @ (1 / total)])
    share, rest = np.linalg.lstsq(normal, right, rcond=1e-9)[0]
    return share / unit, rest / 2


def measured_frames(measured: np.ndarray) -> np.ndarray:
    """bool: the frames along axis 0 of which as much was measured as of most."""
    pixels = np.count_nonzero(measured, axis=(1, 2))
    return pixels >= max(1.0, 0.8 * float(np.median(pixels[pixels > 0]))) if pixels.any() else pixels > 0


def _lone_frames(total: np.ndarray) -> np.ndarray:
    """bool: frames of several times the brightness of both neighbours: rows of hot pixels, where the stack is looked at along another axis.
    The peak of a rocking curve has neighbours of 0.4 times its brightness at least. None where they are many."""
    around = np.pad(total, 1)
    lone = total > 5 * np.maximum(around[:-2], around[2:])
    return lone if len(total) >= 2 * FEWEST and lone.mean() < 0.125 else np.zeros_like(lone)


def _pairs(total: np.ndarray, brightest: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(2, pairs) twice: the pixels of each pair of neighbours of comparable brightness, the brightest pairs."""
    first, second = [], []
    number = np.arange(total.size).reshape(total.shape)
    every, not_last, not_first = slice(None), slice(None, -1), slice(1, None)
    for low, high in (((not_last, every), (not_first, every)), ((every, not_last), (every, not_first))):
        small, large = np.minimum(total[low], total[high]), np.maximum(total[low], total[high])
        both = usable[low] & usable[high] & (small > 0) & (large <= _COMPARABLE * small)
        first.append(number[low][both])
        second.append(number[high][both])
    a, b = np.concatenate(first), np.concatenate(second)
    flat = total.ravel()
    if len(a) > _PAIRS:
        best = np.sort(np.argpartition(-np.minimum(flat[a], flat[b]), _PAIRS)[:_PAIRS])
        a, b = a[best], b[best]
    share = (brightest / np.where(total > 0, total, 1)).ravel()
    lone = np.maximum(share[a], share[b]) > _LONE
    if lone.size and lone.mean() < 0.1:
        a, b = a[~lone], b[~lone]
    return np.array(np.unravel_index(a, total.shape)), np.array(np.unravel_index(b, total.shape))


def _levels(bright: np.ndarray) -> tuple[float, float]:
    """Weakest over brightest, and brighter end over brightest, of means over an eighth."""
    width = max(1, len(bright) // 8)
    profile = np.convolve(bright, np.full(width, 1 / width), "valid")
    return float(profile.min() / profile.max()), float(max(profile[0], profile[-1]) / profile.max())
