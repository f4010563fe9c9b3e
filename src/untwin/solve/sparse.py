"""Sparse blind deconvolution: pictures that share one map of where a motif occurs, neither of them known.

    min over A, X >= 0, b:   1/2 sum_s sum_measured |Y_s - sum_m A_ms * X_m - b_s|^2 + lambda sum W |X|,   |A_m| = 1

Alternating descent: the maps by accelerated proximal steps (FISTA; Beck and Teboulle, SIAM J. Imaging Sci. 2, 2009) with momentum that is
restarted (O'Donoghue and Candes, Found. Comput. Math. 15, 2015), step 1/L in closed form; the motifs by conjugate gradients on their normal
equations, which is a least squares fit in their box and needs no step. lambda falls along a path that ends at a multiple of what is left,
so that it stays high where much is left: with noise, and with motifs that overlap. The maps that are shown belong to the universal
threshold, sigma sqrt(2 log N) (Donoho and Johnstone, Biometrika 81, 1994), with weights (Candes, Wakin and Boyd, J. Fourier Anal. Appl. 14,
2008). The model, the start from a window of the data, the box larger than the motif: Kuo, Zhang, Lau and Wright (ICML 2019), Lau, Qu,
Kuo, Zhou, Zhang and Wright (NeurIPS 2019), Cheung et al. (Nat. Commun. 11, 1081, 2020).

What is not measured (pixels, and a border as wide as the box, where motifs that stand outside reach in) is filled in with the model after
each sweep, which is a majorisation of the sum over measured pixels. Arrays are NumPy's in single precision; motifs have their origin at
their first pixel, and maps live on the grid with the border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from untwin.model import motifs as symmetry

Array = np.ndarray
SHARED = 0.6  # of a map, that stands where another one does: random maps share 0.24 at most (overlap 0.5 to 4.5 each, 90 pairs)


@dataclass(frozen=True, eq=False)
class Observation:
    """values: (channels, height, width) float32. measured: (height, width) bool. grid: of the maps, no smaller than the pictures; equal to
    them the convolution is periodic."""

    values: Array
    measured: Array
    grid: tuple[int, int]

    @property
    def count(self) -> int:
        """Numbers that were measured."""
        return len(self.values) * int(self.measured.sum())

    def filled(self, model: Array) -> Array:
        """The model with what was measured in its place."""
        h, w = self.measured.shape
        full = model.copy()
        np.copyto(full[:, :h, :w], self.values, where=self.measured)
        return full

    def residual(self, model: Array) -> Array:
        """(channels, height, width), 0 where nothing was measured."""
        h, w = self.measured.shape
        return np.where(self.measured, self.values - model[:, :h, :w], np.float32(0))


@dataclass(frozen=True, eq=False)
class Estimate:
    """motifs: (motifs, channels, *box), norm 1. maps: (motifs, *grid). bias: (channels,). energy: sum of squares of the residual.
    penalty: lambda; weight: W, (motifs, *grid) or 1. objective: what is minimised, with W = 1."""

    motifs: Array
    maps: Array
    bias: Array
    energy: float = math.inf
    penalty: float = math.inf
    weight: Any = 1.0
    spectrum: Array | None = None  # of the filled pictures

    @property
    def objective(self) -> float:
        return 0.5 * self.energy + self.penalty * float(np.abs(self.maps).sum(dtype=np.float64))


@dataclass(frozen=True)
class Descent:
    """sweeps: over motifs and maps at one lambda, at most. steps: proximal steps of a sweep. solves: conjugate gradients of a sweep, 0
    leaves the motifs alone. tolerance: change of the motifs at which a lambda is done. ratio: of a lambda to the one before. end: of the
    path, in standard deviations of what is left. nonnegative: maps are."""

    sweeps: int = 6
    steps: int = 4
    solves: int = 3
    tolerance: float = 1e-3
    ratio: float = 0.7
    end: float = 2.5
    nonnegative: bool = True


def start(observed: Observation, corners: Any, box: tuple[int, int]) -> Estimate:
    """Windows of the data as motifs, no maps. corners: (motifs, 2), the first pixel of each window."""
    values = observed.values
    bias = values.mean((1, 2), where=observed.measured)
    full = observed.filled(np.broadcast_to(bias[:, None, None], (len(values), *observed.grid)))
    centred = full - bias[:, None, None]
    windows = np.stack([np.roll(centred, (-int(i), -int(j)), (1, 2))[:, : box[0], : box[1]] for i, j in corners])
    maps = np.zeros((len(windows), *observed.grid), np.float32)
    windows, maps = symmetry.unit(windows, maps)
    return Estimate(windows, maps, bias, spectrum=_forward(full))


def extended(observed: Observation, estimate: Estimate, choice: float) -> Estimate:
    """One motif more, a window of what the others leave unexplained, and no maps. choice: in [0, 1), which of the hundredth of all windows
    that hold most."""
    left = observed.residual(model(observed, estimate))
    h, w = estimate.motifs.shape[2:]
    energy = np.pad(np.square(left).sum(0).cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
    sums = energy[h:, w:] - energy[:-h, w:] - energy[h:, :-w] + energy[:-h, :-w]
    most = np.argsort(sums.ravel())[-max(1, sums.size // 100) :]
    i, j = np.unravel_index(most[int(choice * len(most))], sums.shape)
    window = left[:, i : i + h, j : j + w]
    motifs = np.concatenate([estimate.motifs, window[None]])
    motifs, maps = symmetry.unit(motifs, np.zeros((len(motifs), *observed.grid), np.float32))
    return replace(estimate, motifs=motifs, maps=maps, penalty=math.inf)


def unmixed(observed: Observation, estimate: Estimate, settings: Descent) -> Estimate:
    """Where a motif stands only where another one does, too, it may be the difference of two: their sum in its place, if that explains the
    same with less."""
    for a, b in ((a, b) for a in range(len(estimate.motifs)) for b in range(len(estimate.motifs)) if a != b):
        share, shift = _coincidence(estimate.maps[a], estimate.maps[b], estimate.motifs.shape[2:])
        if share < SHARED:
            continue
        other = _near(np.roll(estimate.maps[a], (-shift[0], -shift[1]), (0, 1)), estimate.maps[b])
        ratio = float(other[0].sum() / max(float(np.abs(estimate.maps[b]).sum()), 1e-30))
        motifs, maps = estimate.motifs.copy(), estimate.maps.copy()
        motifs[b] += ratio * symmetry.shifted(estimate.motifs[a], *shift)
        maps[a] -= np.roll(other[0], shift, (0, 1))
        motifs, maps = symmetry.unit(motifs, maps)
        tried = descend(observed, replace(estimate, motifs=motifs, maps=maps), estimate.penalty, settings)
        if tried.objective < estimate.objective:
            estimate = tried
    return estimate


def _coincidence(a: Array, b: Array, box: tuple[int, ...]) -> tuple[float, tuple[int, int]]:
    """The largest share of map b that stands within a pixel of where map a does, over shifts of up to half a box, and that shift."""
    from scipy.ndimage import maximum_filter

    near = maximum_filter((np.abs(a) > 0.25 * typical(a[None])[0]).astype(np.float32), 3, mode="wrap")
    both = _inverse(_forward(near) * _forward(np.abs(b)).conj(), (a.shape[0], a.shape[1]))
    rows, columns = (np.r_[0 : n // 2 + 1, -(n // 2) : 0] for n in box)
    part = both[np.ix_(rows, columns)]
    i, j = np.unravel_index(int(part.argmax()), part.shape)
    return float(part.max()) / max(float(np.abs(b).sum()), 1e-30), (int(rows[i]), int(columns[j]))


def _near(a: Array, b: Array) -> tuple[Array, Array]:
    """Of map a what stands within a pixel of map b, and the rest."""
    from scipy.ndimage import maximum_filter

    near = maximum_filter((np.abs(b) > 0.25 * typical(b[None])[0]).astype(np.uint8), 3, mode="wrap").astype(bool)
    return np.where(near, a, 0), np.where(near, 0, a)


def largest_penalty(observed: Observation, estimate: Estimate) -> float:
    """The lambda at which the maps become zero."""
    transfer = _forward(estimate.motifs, observed.grid)
    transfer[..., 0, 0] = 0
    back = _inverse((transfer.conj() * _spectrum(estimate)).sum(1), observed.grid)
    return float(np.abs(back).max())


def left_over(observed: Observation, estimate: Estimate) -> float:
    """Root mean square of the residual: the standard deviation of the noise, where all else is explained."""
    return math.sqrt(estimate.energy / observed.count)


def threshold(observed: Observation, estimate: Estimate) -> float:
    """The universal threshold of what is left: noise that a motif of norm 1 passes on is smaller in every pixel of the map."""
    return left_over(observed, estimate) * math.sqrt(2 * math.log(estimate.maps.size))


def path(observed: Observation, estimate: Estimate, settings: Descent) -> Estimate:
    """lambda from just below the largest one downwards, to `end` times what is left."""
    penalty = 0.9 * largest_penalty(observed, estimate)
    while penalty > 0:
        estimate = descend(observed, estimate, penalty, settings)
        end = settings.end * left_over(observed, estimate)
        if penalty <= end:
            break
        penalty = max(settings.ratio * penalty, 0.999 * end)
    return estimate


def descend(observed: Observation, estimate: Estimate, penalty: float, settings: Descent) -> Estimate:
    """Sweeps at one lambda, after which the motifs stand in the middle of their boxes."""
    estimate = replace(estimate, penalty=penalty)
    for _ in range(settings.sweeps):
        before = estimate.motifs
        estimate = _sweep(observed, estimate, settings)
        if np.square(estimate.motifs - before).sum() <= settings.tolerance**2 * len(before):
            break
    return centred(estimate)


def centred(estimate: Estimate) -> Estimate:
    """The same with every motif in the middle of its box."""
    motifs, maps = symmetry.centred(estimate.motifs, estimate.maps)
    return replace(estimate, motifs=motifs, maps=maps)


def boxed(estimate: Estimate, box: tuple[int, int]) -> Estimate:
    """The same motifs in the middle of a larger box, or what a smaller one in the middle holds of them."""
    (h, w), (rows, columns) = estimate.motifs.shape[2:], box
    up, left = (rows - h) // 2, (columns - w) // 2
    out = np.zeros((*estimate.motifs.shape[:2], rows, columns), np.float32)
    out[:, :, max(up, 0) : up + h, max(left, 0) : left + w] = estimate.motifs[:, :, max(-up, 0) : rows - up, max(-left, 0) : columns - left]
    motifs, maps = symmetry.unit(out, np.roll(estimate.maps, (-up, -left), (1, 2)))
    return replace(estimate, motifs=motifs, maps=maps, weight=1.0)


def trimmed(observed: Observation, estimate: Estimate, smallest: int = 3) -> Estimate:
    """Every motif cut to the window of largest norm, of a size that is the same for all. It is the size that loses least: what lies outside
    is lost, and inside every number costs twice its own variance, that of a least squares fit (Mallows, Technometrics 15, 1973)."""
    h, w = estimate.motifs.shape[2:]
    power = np.square(estimate.maps).sum((1, 2), dtype=np.float64)
    noise = np.minimum(estimate.energy / observed.count / np.maximum(power, 1e-30), 1.0)  # variance of each number of a motif; of norm 1
    best, size = -math.inf, (h, w)
    for rows in range(min(smallest, h), h + 1):
        columns = max(1, round(rows * w / h))
        energies = [_largest_window(np.square(m).sum(0), rows, columns)[0] for m in estimate.motifs]
        gain = float(sum(e - 2 * len(m) * rows * columns * v for e, m, v in zip(energies, estimate.motifs, noise)))
        if gain > best:
            best, size = gain, (rows, columns)
    return cut(estimate, size)


def cut(estimate: Estimate, size: tuple[int, int]) -> Estimate:
    """Every motif cut to its window of largest norm."""
    corners = [_largest_window(np.square(m).sum(0), *size)[1] for m in estimate.motifs]
    motifs = np.stack([m[:, i : i + size[0], j : j + size[1]] for m, (i, j) in zip(estimate.motifs, corners)])
    maps = np.stack([np.roll(m, corner, (0, 1)) for m, corner in zip(estimate.maps, corners)])
    motifs, maps = symmetry.unit(motifs, maps)
    return replace(estimate, motifs=motifs, maps=maps, weight=1.0)


def _largest_window(energy: Array, rows: int, columns: int) -> tuple[float, tuple[int, int]]:
    """The sum in the window of this size that holds most, and its first pixel."""
    s = np.pad(energy.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
    sums = s[rows:, columns:] - s[:-rows, columns:] - s[rows:, :-columns] + s[:-rows, :-columns]
    i, j = np.unravel_index(int(sums.argmax()), sums.shape)
    return float(sums[i, j]), (int(i), int(j))


def enlarged(observed: Observation, estimate: Estimate, box: tuple[int, int], settings: Descent) -> Estimate:
    """The motifs fitted again in a large box, and cut to what is significant of it."""
    wide = descend(observed, boxed(estimate, box), estimate.penalty, replace(settings, sweeps=2))
    return descend(observed, trimmed(observed, wide), estimate.penalty, settings)


def sharpened(observed: Observation, estimate: Estimate, settings: Descent) -> Estimate:
    """Maps at the universal threshold, the motifs as they are. Weights take the penalty from where a motif stands clearly, so that its
    strength is not made smaller."""
    penalty, fixed = threshold(observed, estimate), replace(settings, sweeps=4, steps=8, solves=0, tolerance=0.0)
    for _ in range(2):
        clear = 0.25 * typical(estimate.maps)[:, None, None]
        weight = (clear / (np.abs(estimate.maps) + clear)).astype(np.float32)
        estimate = replace(estimate, weight=weight, penalty=penalty)
        for _ in range(fixed.sweeps):
            estimate = _sweep(observed, estimate, fixed)
    return replace(estimate, weight=1.0)


def typical(maps: Array) -> Array:
    """(motifs,): the mean of a map, each pixel weighted by its own magnitude; 1 of a map of zeros."""
    sums = np.abs(maps).sum((1, 2))
    return np.where(sums > 0, np.square(maps).sum((1, 2)) / np.where(sums > 0, sums, 1), 1.0)


def model(observed: Observation, estimate: Estimate) -> Array:
    """(channels, *grid): the sum over motifs, and the bias."""
    product = (_forward(estimate.motifs, observed.grid) * _forward(estimate.maps)[:, None]).sum(0)
    return _inverse(product, observed.grid) + estimate.bias[:, None, None]


def _sweep(observed: Observation, estimate: Estimate, settings: Descent) -> Estimate:
    grid, spectrum = observed.grid, _spectrum(estimate)
    maps, lines = _maps_step(grid, estimate, spectrum, settings)
    if not maps.any():
        return replace(estimate, maps=maps, energy=float(np.square(observed.residual(model(observed, replace(estimate, maps=maps)))).sum()))
    fitted = _motifs_step(grid, estimate.motifs, lines, spectrum, settings.solves)
    empty = ~np.square(fitted).sum((1, 2, 3)).astype(bool)
    fitted[empty] = estimate.motifs[empty]
    motifs, scaled = symmetry.unit(fitted, maps)
    product = (_forward(fitted, grid) * lines[:, None]).sum(0)
    bias = ((spectrum[:, 0, 0] - product[:, 0, 0]).real / math.prod(grid)).astype(np.float32)
    predicted = _inverse(product, grid) + bias[:, None, None]
    energy = float(np.square(observed.residual(predicted)).sum())
    if observed.grid != observed.measured.shape or not observed.measured.all():
        spectrum = _forward(observed.filled(predicted))
    return replace(estimate, motifs=motifs, maps=scaled, bias=bias, energy=energy, spectrum=spectrum)


def _maps_step(grid: tuple[int, int], estimate: Estimate, spectrum: Array, settings: Descent) -> tuple[Array, Array]:
    """FISTA on the maps at fixed motifs; they and their transforms. The cost of a step does not depend on the channels."""
    transfer = _forward(estimate.motifs, grid)
    transfer[..., 0, 0] = 0  # the bias takes the mean
    n = len(transfer)
    gram = [[(transfer[a].conj() * transfer[b]).sum(0) for b in range(n)] for a in range(n)]
    target = [(t.conj() * spectrum).sum(0) for t in transfer]
    bound = max(float(np.sum([np.abs(g) for g in row], axis=0).max()) for row in gram)  # Gershgorin
    limit = (estimate.penalty / bound) * estimate.weight
    x, y, momentum = estimate.maps, estimate.maps, 1.0
    xh = yh = _forward(x)
    for _ in range(settings.steps):
        gradient = _inverse(np.stack([sum(g * v for g, v in zip(row, yh)) - t for row, t in zip(gram, target)]), grid)
        new = _shrunk(y - gradient / bound, limit, settings.nonnegative)
        newh = _forward(new)
        if float(np.vdot(y - new, new - x)) > 0:
            momentum = 1.0
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        beta = np.float32((momentum - 1) / following)
        y, yh = new + beta * (new - x), newh + beta * (newh - xh)
        x, xh, momentum = new, newh, following
    return x, xh


def _shrunk(x: Array, limit: Any, nonnegative: bool) -> Array:
    limit = np.asarray(limit, np.float32)
    return np.maximum(x - limit, 0) if nonnegative else np.copysign(np.maximum(np.abs(x) - limit, 0), x)


def _motifs_step(grid: tuple[int, int], motifs: Array, lines: Array, spectrum: Array, solves: int) -> Array:
    """Conjugate gradients on the normal equations of the motifs in their box. lines: the transforms of the maps."""
    n, (h, w) = len(motifs), motifs.shape[2:]
    lines = lines.copy()
    lines[:, 0, 0] = 0
    right = np.stack([_inverse(x.conj() * spectrum, grid)[:, :h, :w] for x in lines])
    small = (fast_length(2 * h - 1), fast_length(2 * w - 1))
    rows, columns = np.r_[0:h, 1 - h : 0], np.r_[0:w, 1 - w : 0]
    inner = [[_lags(_inverse(lines[a].conj() * lines[b], grid), rows, columns, small) for b in range(n)] for a in range(n)]
    gram = [[_forward(c) for c in row] for row in inner]

    def normal(v: Array) -> Array:
        vh = _forward(v, small)
        return np.stack([_inverse(sum(g * u for g, u in zip(row, vh)), small)[:, :h, :w] for row in gram])

    x = motifs
    r = right - normal(x)
    p, rr = r, float(np.vdot(r, r))
    for _ in range(solves):
        if not rr > 0:
            break
        q = normal(p)
        curvature = float(np.vdot(p, q))
        if not curvature > 0:
            break
        x, r = x + np.float32(rr / curvature) * p, r - np.float32(rr / curvature) * q
        new = float(np.vdot(r, r))
        p, rr = r + np.float32(new / rr) * p, new
    return x


def _lags(correlation: Any, rows: Array, columns: Array, small: tuple[int, int]) -> Array:
    out = np.zeros(small, np.float32)
    out[np.ix_(rows, columns)] = correlation[np.ix_(rows, columns)]
    return out


def fast_length(n: int) -> int:
    """The next length whose transform is fast."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(n, real=True) or n)


def _forward(a: Array, shape: tuple[int, int] | None = None) -> Array:
    """The transform of the last two axes, filled up with zeros to the shape."""
    from scipy.fft import rfft2

    return np.asarray(rfft2(a, s=shape))


def _inverse(a: Any, shape: tuple[int, int]) -> Array:
    from scipy.fft import irfft2

    return np.asarray(irfft2(a, s=shape))


def _spectrum(estimate: Estimate) -> Array:
    assert estimate.spectrum is not None
    return estimate.spectrum
