"""What the pattern alone says of the object's outline, and of the pixels hidden around the zero frequency.

The autocorrelation of an object, the transform of its pattern, fills at most the object's difference body (Brunn and Minkowski: at least
2^d times its volume) and is counting noise of known variance everywhere else. From that follow, without a single iteration,
- the outline: half of the convex hull of the autocorrelation's support, up to centrosymmetry, however strong the object's phase;
- the hidden pixels: the values with which the autocorrelation vanishes outside that hull, by linear least squares, as long as few speckles
  are hidden. Hull and values are improved in turn, and the noise says when the hull has become too small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from untwin.data.measurement import Pattern

ABOVE = 3.0  # times the noise floor: the autocorrelation's support
EXCESS = 1.4  # times the counting noise: the autocorrelation does not vanish outside the hull
MOST_HIDDEN = 1500  # pixels that are solved for


@dataclass(frozen=True)
class Outline:
    """support: (*grid) bool, FFT order, where a start begins. bounds: likewise, at most so much can the object fill.
    intensity: (*grid) with the hidden pixels filled in, or None where they could not be found."""

    support: np.ndarray
    bounds: np.ndarray
    intensity: np.ndarray | None


def outline(pattern: Pattern) -> Outline:
    """The outline of the object behind a pattern."""
    shape, hole = pattern.shape, hidden(pattern)
    intensity = np.where(pattern.measured, pattern.intensity, 0).astype(np.float64)
    if not len(hole):
        hull = _hull(intensity)
    else:
        intensity, hull = _filled(intensity, hole) if len(hole) <= MOST_HIDDEN else (None, None)
    if hull is not None:
        return Outline(_scaled(hull, shape, 0.5, 0.5), _scaled(hull, shape, 0.575, 1.0), intensity)
    support = autocorrelation_support(pattern) | box(pattern)
    bounds = np.ones(shape, dtype=bool)
    for axis, n in enumerate(shape):
        bounds &= _along(np.abs(np.fft.fftfreq(n)) <= 0.35 ** (1 / pattern.ndim) / 2, axis, pattern.ndim)
    return Outline(support, bounds | support, None)


def hidden(pattern: Pattern) -> np.ndarray:
    """(k, d) int positions, relative to the zero frequency, of the unmeasured pixels in one piece around it; none where it was measured."""
    hole = np.fft.fftshift(~pattern.measured)
    labels, _ = ndimage.label(hole)  # type: ignore[misc]
    middle = tuple(n // 2 for n in pattern.shape)
    if not labels[middle]:
        return np.empty((0, pattern.ndim), dtype=int)
    return np.argwhere(labels == labels[middle]) - np.array(middle)


def hidden_speckles(pattern: Pattern) -> float:
    """Number of speckles behind the stop: hidden pixels around the zero frequency over the pixels of one speckle, Π N / width."""
    hole = hidden(pattern)
    if not len(hole):
        return 0.0
    return len(hole) / math.prod(n / w for n, w in zip(pattern.shape, box_widths(pattern)))


def _along(line: np.ndarray, axis: int, d: int) -> np.ndarray:
    return line.reshape([-1 if a == axis else 1 for a in range(d)])


@dataclass(frozen=True)
class Hull:
    """A centrosymmetric convex body of lags: r lies inside where |n·r| <= h for every direction n. normals (k, d), heights (k,)."""

    normals: np.ndarray
    heights: np.ndarray


def _directions(d: int) -> np.ndarray:
    """Unit vectors over half of the circle (4 degrees apart) or of the sphere (a spiral, some 10 degrees apart)."""
    if d == 2:
        angle = np.pi * np.arange(45) / 45
        return np.stack([np.sin(angle), np.cos(angle)], 1)
    k = np.arange(200) + 0.5
    z, turn = k / 200, np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - z**2)
    return np.stack([z, radius * np.sin(turn), radius * np.cos(turn)], 1)


def _hull(intensity: np.ndarray) -> Hull | None:
    """The convex hull of the autocorrelation's support: what stands ABOVE times over the noise floor (the median over lags beyond
    0.42 N), in one piece around zero. None where nothing does."""
    shape, d = intensity.shape, intensity.ndim
    a = ndimage.gaussian_filter(np.abs(np.fft.ifftn(intensity)), 1.0, mode="wrap")
    if min(shape) < 8:
        return None
    high = np.fft.fftshift(a > ABOVE * np.median(a[_far(shape, 0.42)]))
    labels, _ = ndimage.label(high)  # type: ignore[misc]
    middle = tuple(n // 2 for n in shape)
    piece = labels == labels[middle]
    if not labels[middle] or min(np.ptp(np.nonzero(piece)[axis]) for axis in range(d)) < 4:
        return None
    surface = np.argwhere(piece & ~np.asarray(ndimage.binary_erosion(piece), dtype=bool)) - np.array(middle)
    normals = _directions(d)
    return Hull(normals, np.abs(surface @ normals.T).max(0))


def _far(shape: tuple[int, ...], beyond: float) -> np.ndarray:
    far = np.zeros(shape, dtype=bool)
    for axis, n in enumerate(shape):
        far |= _along(np.abs(np.fft.fftfreq(n)) > beyond, axis, len(shape))
    return far


def _scaled(hull: Hull, shape: tuple[int, ...], scale: float, margin: float) -> np.ndarray:
    """(*grid) bool, FFT order: the hull times `scale`, widened by `margin` pixels."""
    grid = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    points = np.stack([g.ravel() for g in grid], 1).astype(np.float32)
    normals, heights = hull.normals.astype(np.float32).T, (scale * hull.heights + margin).astype(np.float32)
    inside = [(np.abs(p @ normals) <= heights).all(1) for p in np.array_split(points, max(1, len(points) // 16_384))]
    return np.concatenate(inside).reshape(shape)


def _filled(intensity: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray | None, Hull | None]:
    """The intensity with the hole filled, and the hull; None, None where the two do not settle.

    Outside the hull W: minimise Σ_W |F⁻¹(I + P h)|² over the hidden values h: (P* F W F⁻¹ P) h = −P* F W F⁻¹ I, with a weak prior on
    h. The hull begins far out and is drawn in as long as what is left outside is counting noise, of variance Σ I / N² per pixel.
    """
    shape, size = intensity.shape, intensity.size
    at = tuple(hole.T)
    rim = np.asarray(ndimage.binary_dilation(_mask(shape, at), iterations=2)) & ~_mask(shape, at)
    prior = max(1.0, 10 * intensity[rim].max() if rim.any() else 0.0) ** 2
    apart = hole[:, None, :] - hole[None, :, :]
    pairs = tuple(apart[..., axis] for axis in range(len(shape)))
    known = np.fft.ifftn(intensity)

    def solve(outside: np.ndarray) -> tuple[np.ndarray, float]:
        normal = (np.fft.fftn(outside.astype(float)) / size)[pairs].real + intensity.sum() / size / prior * np.eye(len(hole))
        values = np.linalg.solve(normal, -np.fft.fftn(outside * known)[at].real)
        full = intensity.copy()
        full[at] = values
        left = np.mean(np.abs(np.fft.ifftn(full)[outside]) ** 2) * size**2 / max(full.sum(), 1e-30)
        return full, float(left)

    if min(shape) < 16:
        return None, None
    full, left = solve(_far(shape, 0.44))
    hull, settled = _hull(full), False
    if hull is None:
        return None, None
    for scale in np.repeat(np.arange(1.4, 0.84, -0.05), 2):
        outside = ~_scaled(hull, shape, scale, 0.5)
        if outside.mean() < 0.03:
            continue
        trial, left = solve(outside)
        drawn = _hull(trial)
        if left > EXCESS or drawn is None:
            break
        full, hull, settled = trial, drawn, scale < 1.03
    return (full.clip(min=0), hull) if settled else (None, None)


def _mask(shape: tuple[int, ...], at: tuple[np.ndarray, ...]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[at] = True
    return mask


def autocorrelation_support(pattern: Pattern, level: float = 0.04, scale: float = 1.3) -> np.ndarray:
    """(*grid) bool, FFT order: the autocorrelation above `level` of its peak, shrunk to half its size times `scale`; unmeasured pixels are
    filled by a smoothed log intensity. For patterns whose hole is too large for `outline`'s own way."""
    a = np.fft.ifftn(_smoothed(pattern)).real
    above = a > level * a.max()
    lags = [np.rint(np.fft.fftfreq(n, scale / (2 * n))).astype(int) for n in pattern.shape]
    inside = np.ones(pattern.shape, dtype=bool)
    for axis, (n, lag) in enumerate(zip(pattern.shape, lags)):
        inside &= _along(np.abs(lag) <= n // 2, axis, pattern.ndim)
    support = above[np.ix_(*(lag % n for n, lag in zip(pattern.shape, lags)))] & inside
    support.flat[0] = True
    return support


def _smoothed(pattern: Pattern) -> np.ndarray:
    """The intensity with unmeasured pixels filled by a smoothed log intensity (blur that grows until it reaches them)."""
    measured, intensity = pattern.measured, np.asarray(pattern.intensity, dtype=np.float64)
    if measured.all():
        return intensity
    log, weight = np.where(measured, np.log(intensity + 0.5), 0.0), measured.astype(np.float64)
    estimate = np.full(pattern.shape, np.nan)
    sigma = 1.0
    while np.isnan(estimate).any() and sigma < 2 * max(pattern.shape):
        w = ndimage.gaussian_filter(weight, sigma, mode="wrap")
        value = ndimage.gaussian_filter(log, sigma, mode="wrap") / np.maximum(w, 1e-12)
        estimate = np.where(np.isnan(estimate) & (w > 0.05), value, estimate)
        sigma *= 1.5
    return np.where(measured, intensity, np.exp(np.nan_to_num(estimate)) - 0.5).clip(min=0)


def box(pattern: Pattern, margin: float = 1.05) -> np.ndarray:
    """(*grid) bool, FFT order: a box of the object's extents."""
    inside = np.ones(pattern.shape, dtype=bool)
    for axis, (n, w) in enumerate(zip(pattern.shape, box_widths(pattern, margin))):
        inside &= _along(np.abs(np.fft.fftfreq(n, 1 / n)) <= w / 2, axis, pattern.ndim)
    return inside


def box_widths(pattern: Pattern, margin: float = 1.05) -> tuple[int, ...]:
    """Width of the object along each axis, pixels: the largest lag at which the autocorrelation (unmeasured pixels zero) stands
    above its noise, times `margin`. Edges autocorrelate, so a missing centre does not matter for the extent.

    Per axis: maximum over the other axes, smoothed by 1.5 pixels; noise floor = median over lags beyond 0.42 N; the largest lag
    above 1.6 floors, gaps of 2 % of N allowed.
    """
    a = np.abs(np.fft.ifftn(np.where(pattern.measured, pattern.intensity, 0)))
    widths = []
    for axis, n in enumerate(pattern.shape):
        profile = a.max(axis=tuple(b for b in range(pattern.ndim) if b != axis))
        profile = ndimage.gaussian_filter1d(profile, 1.5, mode="wrap")[: n // 2 + 1]
        floor = np.median(profile[int(0.42 * n) :])
        above = profile > 1.6 * floor
        lag, gap = 0, max(1, round(0.02 * n))
        for k in range(len(above)):
            if above[k] and k - lag <= gap + 1:
                lag = k
        widths.append(int(min(n, max(3, round(margin * lag)))))
    return tuple(widths)
