"""How strong the noise of a picture is, from the picture alone, and how much of it clipping leaves.

The deviation of the noise is sigma f^(p/2) where f is what would be measured without it: p = 0 for Gaussian noise, 1 for counts in any
unit, 2 for speckle (`power`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.errors import InputError
from untwin.model.losses import Absolute, Gamma, Loss, Poisson

if TYPE_CHECKING:
    from torch import Tensor

Noise = dict[str, Any]  # sigma, power, and low and high, where a picture was clipped: -inf and inf where it was not
COUNTS: Noise = {"sigma": 1.0, "power": 1, "low": -math.inf, "high": math.inf}
WINDOWS = 100  # at least, for a median that is right to 10 %
SATURATED = 2e-3  # share of the numbers that are the least or the largest of all; of 7 unclipped pictures with noise: below 2e-4
# Of the variance, in the windows that are looked at where the picture was clipped. With it and means of 5 x 5 pixels sigma is right to 2 to
# 4 % (root mean square; 7 pictures, 64 and 128 pixels, sigma 0.05 to 0.26, two seeds), with others that were tried to 2 to 8 %
LEFT = 0.6
MEDIAN = 0.6745  # of |n| where n is normal with deviation 1


def power(loss: Loss) -> int:
    """p of the noise for which the loss is made. Raises InputError for impulses, which have no deviation."""
    if isinstance(loss, Absolute):
        raise InputError(f"{loss!r} is for impulses, whose noise has no deviation; try HeldOut()")
    return 1 if isinstance(loss, Poisson) else 2 if isinstance(loss, Gamma) else 0


def estimate_sigma(y: np.ndarray, measured: np.ndarray | None = None, power: int = 0) -> float:
    """sigma of y (channels, *grid), one for all channels; of complex y, that of |noise|.

    A real picture: the median of |second differences along every axis|, in which a smooth picture cancels (Immerkaer, Comput. Vis. Image
    Underst. 64, 1996, with a median in place of the mean, which edges would raise), over windows of three pixels along each axis that were
    all measured; of two pixels where too few were. Where the picture was clipped, over windows in which clipping has left most of the
    noise, with what it has taken. What is left of an image without noise: 0.003 to 0.006 (7 pictures, 64 to 256 pixels; 0.014 at
    worst).
    Complex y, k-space: the median of the tenth that lies farthest from the middle.
    measured: bool like y. Raises InputError where too few pixels were measured.
    """
    measured = np.ones(y.shape, dtype=bool) if measured is None else np.broadcast_to(measured, y.shape)
    if np.iscomplexobj(y):
        return _of_kspace(y, measured)
    y = y.astype(np.float64)
    low, high = clipped_at(y[measured]) if power == 0 else (-math.inf, math.inf)
    for order in (2, 1):
        windows = [_windows(v, m, order) for v, m in zip(y, measured)]
        d, level = (np.concatenate(part) for part in zip(*windows))
        if d.size >= WINDOWS:
            return _of_windows(d, level, power, low, high)
    raise InputError(
        f"the noise cannot be estimated from {d.size} places with all neighbours measured; expected {WINDOWS}: give sigma, or try HeldOut()"
    )


def clipped_at(values: np.ndarray) -> tuple[float, float]:
    """The least and the largest number where so many are equal to it that the picture must have been clipped there; else -inf and inf."""
    if not values.size:
        return -math.inf, math.inf
    low, high = float(values.min()), float(values.max())
    return (
        low if (values == low).mean() > SATURATED and low < high else -math.inf,
        high if (values == high).mean() > SATURATED and low < high else math.inf,
    )


def _of_windows(d: np.ndarray, level: np.ndarray, power: int, low: float, high: float) -> float:
    if power:
        d = d / level.clip(min=1e-3 * max(float(level.max()), 1e-30)) ** (power / 2)
    sigma = float(np.median(d)) / MEDIAN
    if sigma > 0 and (math.isfinite(low) or math.isfinite(high)):
        for _ in range(8):
            at, variance = _table(sigma, low, high)
            share = np.interp(level, at, variance) / sigma**2  # that clipping leaves
            free = share >= min(LEFT, float(np.quantile(share, 0.8)))
            sigma = float(np.median(d[free] / np.sqrt(share[free].clip(min=1e-9)))) / MEDIAN
    return sigma


def _windows(y: np.ndarray, measured: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Of windows that were all measured: |differences of this order along every axis|, as large as one pixel's noise, and the mean of what
    was measured in the five pixels around along each axis."""
    from numpy.lib.stride_tricks import sliding_window_view
    from scipy.ndimage import uniform_filter

    axes = tuple(a for a in range(y.ndim) if y.shape[a] > order)
    d = y
    for axis in axes:
        d = np.diff(d, n=order, axis=axis)
    size = tuple(order + 1 if a in axes else 1 for a in range(y.ndim))
    known = sliding_window_view(measured, size).all(tuple(range(y.ndim, 2 * y.ndim)))
    share = measured.astype(np.float64)
    level = uniform_filter(y * share, 5) / uniform_filter(share, 5).clip(min=1e-9)
    first = tuple(slice(o := order // 2 if a in axes else 0, o + n) for a, n in enumerate(known.shape))
    gain = (6.0 if order == 2 else 2.0) ** (len(axes) / 2)  # root of the sum of the squares of (1, -2, 1), or of (1, -1), on each axis
    return np.abs(d[known]) / gain, level[first][known]


def _of_kspace(y: np.ndarray, measured: np.ndarray) -> float:
    places = np.meshgrid(*((np.arange(n) - n // 2) / n for n in y.shape[1:]), indexing="ij")
    radius = np.broadcast_to(np.sqrt(sum(p**2 for p in places)), y.shape)[measured]
    if radius.size < WINDOWS:
        raise InputError(f"the noise cannot be estimated from {radius.size} numbers; expected {WINDOWS}: give sigma, or try HeldOut()")
    outer = np.abs(y[measured])[radius >= np.quantile(radius, 0.9)]
    return float(np.median(outer)) / math.sqrt(math.log(2))


def expected(f: Tensor, noise: Noise) -> Tensor:
    """The variance of what is measured, like f, what the fit predicts of it.

    Of a clipped picture f is the mean of what clipping leaves, to which a fit of least squares comes: the variance belongs to the picture
    whose clipped noise has that mean.
    """
    import torch

    s, low, high = noise["sigma"], noise["low"], noise["high"]
    if noise["power"]:
        return s**2 * f.clamp(min=0) ** noise["power"]
    if not s > 0 or not (math.isfinite(low) or math.isfinite(high)):
        return torch.full_like(f, s**2)
    mean, variance = _table(s, low, high)
    x, v = torch.as_tensor(mean, device=f.device), torch.as_tensor(variance, device=f.device)
    at = torch.searchsorted(x, f.double().contiguous()).clamp(1, len(x) - 1)
    share = ((f.double() - x[at - 1]) / (x[at] - x[at - 1]).clamp(min=1e-30)).clamp(0, 1)
    return (v[at - 1] + share * (v[at] - v[at - 1])).to(f.dtype)


def _table(s: float, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of what clipping leaves, for pictures from well below to well above what it leaves alone; the mean rises."""
    bottom, top = _ends(s, low, high)
    return _clipped(np.linspace(bottom - 4 * s, top + 4 * s, 2001), s, low, high)


def _ends(s: float, low: float, high: float) -> tuple[float, float]:
    """Where clipping cuts; 20 deviations away from that where it cuts on one side only."""
    return (low if math.isfinite(low) else high - 20 * s), (high if math.isfinite(high) else low + 20 * s)


def _clipped(x: np.ndarray, s: float, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of x + s n, n normal, cut to [low, high]."""
    from scipy.special import ndtr

    a, b = (low - x) / s, (high - x) / s
    below, above = ndtr(a), ndtr(-b)
    pa, pb = (np.exp(-v * v / 2) / math.sqrt(2 * math.pi) for v in (a, b))
    inside = 1 - below - above
    edge = s * (pa - pb)
    turn = s * s * (np.where(np.isfinite(a), a, 0) * pa - np.where(np.isfinite(b), b, 0) * pb)
    lo, hi = (v if math.isfinite(v) else 0.0 for v in (low, high))
    mean = inside * x + edge + lo * below + hi * above
    square = inside * (x * x + s * s) + 2 * x * edge + turn + lo * lo * below + hi * hi * above
    return mean, (square - mean * mean).clip(min=0)


def noise_of_picture(y: Tensor, measured: Tensor, loss: Loss, sigma: float | None) -> Noise:
    """Of the noise that the loss is made for; sigma estimated where it is None. Raises InputError."""
    by = power(loss)
    values, known = y.cpu().numpy(), measured.cpu().numpy()
    low, high = clipped_at(values[known]) if by == 0 and not y.is_complex() else (-math.inf, math.inf)
    return {"sigma": estimate_sigma(values, known, by) if sigma is None else sigma, "power": by, "low": low, "high": high}


def relative_misfit(f: Tensor, y: Tensor, measured: Tensor, noise: Noise, counts: bool = False) -> Tensor:
    """(starts,) float64: Σ w |f − y|² / Σ w v(f) over what was measured; w = 1, of counts 1 / (f + 1). f: (starts, *data)."""
    v = expected(f.real if f.is_complex() else f, noise)
    r = f - y
    r = r.real.square() + r.imag.square() if r.is_complex() else r.square()
    w = (1 / (f + 1) if counts else v.new_ones(())) * measured
    left, noisy = ((w * a).flatten(1).double().sum(1) for a in (r, v))
    return left / noisy.clamp(min=1e-300)
