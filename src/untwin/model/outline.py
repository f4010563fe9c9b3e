"""What the pattern alone says of the object's outline, and of the pixels hidden around the zero frequency.

The autocorrelation of an object, the transform of its pattern, fills at most the object's difference body (Brunn and Minkowski: at least
2^d times its volume) and is counting noise of known variance everywhere else. Pixels that a stop hides take the values with which it is
smallest outside a body of lags, by linear least squares. So the smallest convex body that leaves nothing but noise outside is found
without a single iteration, behind a large stop too, and half of it is the object's outline, up to centrosymmetry, however strong the
phase. (The values themselves are well known only where few speckles are hidden.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from untwin.data.measurement import Pattern

ABOVE = 3.0  # times the noise floor: the autocorrelation's support
EXCESS = 1.2  # times the noise: the autocorrelation does not vanish outside the hull
WIDEST = (0.47, 0.44, 0.41, 0.38)  # times N: half widths of the largest body of lags; the first that leaves noise only
# By so much what is left grows at most from one of these boxes to the next, of 7 patterns of 1e4 to 4e6 photons, flat-fielded or with read
# noise or in 8 bits, where it is noise: 1.24; where an object adds to it: 1.33 and more.
GROWS = 1.25
MOST_HIDDEN = 1500  # pixels that are solved for


@dataclass(frozen=True, eq=False)
class Outline:
    """support: (*grid) bool, FFT order, where a start begins. bounds: likewise, at most so much can the object fill."""

    support: np.ndarray
    bounds: np.ndarray


def outline(pattern: Pattern) -> Outline:
    """The outline of the object behind a pattern."""
    shape = pattern.shape
    hull = hull_by_noise(pattern) or (None if len(hidden(pattern)) else hull_by_level(pattern))
    if hull is not None:
        return Outline(scaled(hull, shape, 0.5, 1.0), scaled(hull, shape, 0.575, 1.5))
    support = autocorrelation_support(pattern) | box(pattern)
    bounds = np.ones(shape, dtype=bool)
    for axis, n in enumerate(shape):
        bounds &= _along(np.abs(np.fft.fftfreq(n)) <= 0.35 ** (1 / pattern.ndim) / 2, axis, pattern.ndim)
    return Outline(support, bounds | support)


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


@dataclass(frozen=True, eq=False)
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


def hull_by_level(pattern: Pattern) -> Hull | None:
    """The convex hull of what stands ABOVE times over the noise floor of the autocorrelation (the median over lags beyond 0.42 N), in one
    piece around zero. None where nothing does. For patterns whose noise is more than that of counting."""
    shape, d = pattern.shape, pattern.ndim
    intensity = np.where(pattern.measured, pattern.intensity, 0)
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
    return _outside(shape, [beyond * n for n in shape])


def _outside(shape: tuple[int, ...], lags: Sequence[float]) -> np.ndarray:
    """(*grid) bool: the lags outside a box."""
    outside = np.zeros(shape, dtype=bool)
    for axis, (n, lag) in enumerate(zip(shape, lags)):
        outside |= _along(np.abs(np.fft.fftfreq(n, 1 / n)) > lag, axis, len(shape))
    return outside


def scaled(hull: Hull, shape: tuple[int, ...], scale: float, margin: float) -> np.ndarray:
    """(*grid) bool, FFT order: the hull times `scale`, widened by `margin` pixels."""
    grid = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    points = np.stack([g.ravel() for g in grid], 1).astype(np.float32)
    normals, heights = hull.normals.astype(np.float32).T, (scale * hull.heights + margin).astype(np.float32)
    inside = [(np.abs(p @ normals) <= heights).all(1) for p in np.array_split(points, max(1, len(points) // 16_384))]
    return np.concatenate(inside).reshape(shape)


class Fill:
    """The unmeasured pixels with which the autocorrelation is smallest outside a body W of lags: minimise Σ_W |F⁻¹(I + P h)|² over their
    values h: (P* F W F⁻¹ P) h = −P* F W F⁻¹ I, with a weak prior on h.

    All unmeasured pixels are solved for, or if they are more than MOST_HIDDEN, those around the zero frequency; the others count as dark.
    """

    def __init__(self, pattern: Pattern):
        self.intensity = np.where(pattern.measured, pattern.intensity, 0).astype(np.float64)
        every = np.argwhere(~pattern.measured)
        self.hole = every if len(every) <= MOST_HIDDEN else hidden(pattern)
        self.at = tuple(self.hole.T)
        mask = np.zeros(pattern.shape, dtype=bool)
        mask[self.at] = True
        rim = np.asarray(ndimage.binary_dilation(mask, iterations=2)) & pattern.measured
        brightest = max(1.0, 10 * self.intensity[rim].max() if rim.any() else 0.0)
        self.prior = self.intensity.sum() / self.intensity.size / brightest**2 * np.eye(len(self.hole))
        lags = self.hole[:, None, :] - self.hole[None, :, :]
        self.pairs = tuple(lags[..., axis] for axis in range(pattern.ndim))
        self.known = np.fft.ifftn(self.intensity)

    def __call__(self, outside: np.ndarray) -> np.ndarray:
        """The intensity with those pixels filled. outside: (*grid) bool, FFT order, the lags outside W."""
        if not len(self.hole):
            return self.intensity
        full = self.intensity.copy()
        full[self.at] = np.linalg.solve(*self.equations(outside))
        return full

    def equations(self, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The matrix and the right-hand side of the normal equations."""
        normal = (np.fft.fftn(outside.astype(float)) / outside.size)[self.pairs].real + self.prior
        return normal, -np.fft.fftn(outside * self.known)[self.at].real

    def left(self, outside: np.ndarray) -> float:
        """Mean square outside per degree of freedom, over that of counting noise in the measured pixels, Σ I / N² per lag."""
        freedom = int(outside.sum()) - len(self.hole)
        if freedom < 1:
            return math.inf
        rest = np.fft.ifftn(self(outside))[outside] if len(self.hole) else self.known[outside]
        return float((rest.real**2 + rest.imag**2).sum() / freedom * outside.size**2 / max(self.intensity.sum(), 1e-30))


def filled(pattern: Pattern, least: float) -> np.ndarray | None:
    """(*grid) float64: the intensity, with values of at least `least` in all the unmeasured pixels, with which the autocorrelation is
    smallest outside its hull (bounded linear least squares); None where the pattern does not tell its hull, or hides too much."""
    from scipy.optimize import lsq_linear

    hull = hull_by_noise(pattern)
    fill = Fill(pattern)
    if hull is None or not 0 < len(fill.hole) == int((~pattern.measured).sum()):
        return None
    outside = ~scaled(hull, pattern.shape, 1.0, 1.0)
    normal, right = fill.equations(outside)
    root = np.linalg.cholesky(normal)
    full = fill.intensity.copy()
    full[fill.at] = lsq_linear(root.T, np.linalg.solve(root, right), bounds=(least, np.inf)).x
    return full


def hull_by_noise(pattern: Pattern, box: bool = False) -> Hull | None:
    """The smallest convex body of lags that leaves no more than noise outside: a box, and unless that is wanted, eight normals in the
    plane, thirteen in space. None where more than counting noise is left outside the largest box.

    Large patterns are cropped first: their centre knows the outline well enough.
    """
    d = pattern.ndim
    crop = tuple(min(n, 512 if d == 2 else 48) for n in pattern.shape)
    if min(crop) < 16:
        return None
    small = _cropped(pattern, crop)
    if len(hidden(small)) > MOST_HIDDEN:
        return None
    fill = Fill(small)
    axes = np.eye(d)
    for widest in WIDEST:
        heights = [widest * n for n in crop]
        noise = fill.left(_outside(crop, heights))
        if noise < EXCESS:
            break
    else:
        return None
    level = 1.0 if pattern.counted else _level(fill, noise, [w for w in WIDEST if w < widest])
    limit = EXCESS * (level if noise > 0.1 else 2.5 * noise)  # far below that of counting: smooth, or not in photons
    heights = _drawn_in(fill, axes, heights, limit)
    normals = axes
    if not box:
        normals = _normals(d)
        heights = _drawn_in(fill, normals, list(np.abs(normals) @ np.array(heights)), limit)
    normals = normals * np.array(crop) / np.array(pattern.shape)
    length = np.linalg.norm(normals, axis=1)
    return Hull(normals / length[:, None], np.array(heights) / length)


def _level(fill: Fill, noise: float, boxes: Sequence[float]) -> float:
    """The noise outside the object, from more and more lags: `noise` is that of the outermost alone, and half of counting's or twice as
    much by chance, since a few bright pixels make it. The next smaller boxes count as long as none adds what only an object would."""
    shape = fill.intensity.shape
    for widest in boxes:
        more = fill.left(_outside(shape, [widest * n for n in shape]))
        if more > GROWS * noise:
            break
        noise = max(noise, more)
    return noise


def _drawn_in(fill: Fill, normals: np.ndarray, heights: list[float], limit: float) -> list[float]:
    """Heights as small as leave no more than `limit` outside, drawn in in turn by steps of an eighth of the array down to one lag."""
    shape = fill.intensity.shape
    grid = np.stack([np.broadcast_to(_along(np.fft.fftfreq(n, 1 / n), a, len(shape)), shape) for a, n in enumerate(shape)], -1)
    reach = np.abs(grid @ normals.T)
    step = max(shape) // 8
    while step:
        shrunk = True
        while shrunk:
            shrunk = False
            for k in range(len(normals)):
                trial = [h - step * (k == j) for j, h in enumerate(heights)]
                if trial[k] >= 2 and fill.left(np.any(reach > trial, axis=-1)) < limit:
                    heights, shrunk = trial, True
        step //= 2
    return heights


def _normals(d: int) -> np.ndarray:
    """Unit vectors over half of the circle (22.5 degrees apart) or of the sphere (towards faces, edges and corners of a cube)."""
    if d == 2:
        angle = np.pi * np.arange(8) / 8
        return np.stack([np.sin(angle), np.cos(angle)], 1)
    cube = np.array([v for v in itertools.product((-1, 0, 1), repeat=d) if v > (0,) * d], dtype=float)
    return cube / np.linalg.norm(cube, axis=1, keepdims=True)


def _cropped(pattern: Pattern, shape: tuple[int, ...]) -> Pattern:
    """The pattern around the zero frequency."""
    if shape == pattern.shape:
        return pattern
    at = tuple(slice(n // 2 - k // 2, n // 2 - k // 2 + k) for n, k in zip(pattern.shape, shape))
    cut = [np.fft.ifftshift(np.fft.fftshift(a)[at]) for a in (pattern.intensity, pattern.measured)]
    return replace(pattern, intensity=cut[0], measured=cut[1], sensitivity=None, dark=None)


def autocorrelation_support(pattern: Pattern, level: float = 0.04, scale: float = 1.3) -> np.ndarray:
    """(*grid) bool, FFT order: the autocorrelation above `level` of its peak, shrunk to half its size times `scale`; unmeasured pixels are
    filled by a smoothed log intensity. For patterns whose hole is too large for `outline`'s own way."""
    a = np.fft.ifftn(smoothed(pattern)).real
    above = a > level * a.max()
    lags = [np.rint(np.fft.fftfreq(n, scale / (2 * n))).astype(int) for n in pattern.shape]
    inside = np.ones(pattern.shape, dtype=bool)
    for axis, (n, lag) in enumerate(zip(pattern.shape, lags)):
        inside &= _along(np.abs(lag) <= n // 2, axis, pattern.ndim)
    support = above[np.ix_(*(lag % n for n, lag in zip(pattern.shape, lags)))] & inside
    support.flat[0] = True
    return support


def smoothed(pattern: Pattern) -> np.ndarray:
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
    """Width of the object along each axis, pixels, times `margin`: the box of lags outside of which the autocorrelation is counting noise
    once the hidden pixels are filled; where nothing is hidden, or the noise is not that of counting, by the autocorrelation's profile."""
    hull = hull_by_noise(pattern, box=True) if not pattern.measured.all() else None
    lags = profile_widths(pattern) if hull is None else hull.heights
    return tuple(int(min(n, max(3, round(margin * lag)))) for n, lag in zip(pattern.shape, lags))


def profile_widths(pattern: Pattern) -> list[int]:
    """The largest lag at which the autocorrelation (unmeasured pixels zero) stands above its noise. Edges autocorrelate, so that a small
    missing centre does not matter for the extent.

    Per axis: maximum over the other axes, smoothed by 1.5 pixels; noise floor = median over lags beyond 0.42 N; the largest lag
    above 1.6 floors, gaps of 2 % of N allowed.
    """
    a = np.abs(np.fft.ifftn(np.where(pattern.measured, pattern.intensity, 0)))
    lags = []
    for axis, n in enumerate(pattern.shape):
        profile = a.max(axis=tuple(b for b in range(pattern.ndim) if b != axis))
        profile = ndimage.gaussian_filter1d(profile, 1.5, mode="wrap")[: n // 2 + 1]
        floor = np.median(profile[int(0.42 * n) :])
        above = profile > 1.6 * floor
        lag, gap = 0, max(1, round(0.02 * n))
        for k in range(len(above)):
            if above[k] and k - lag <= gap + 1:
                lag = k
        lags.append(lag)
    return lags
