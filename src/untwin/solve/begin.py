"""Where a start begins: bounds of the object from the autocorrelation, and a random object inside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from untwin import expression, fourier
from untwin.solve.recipe import Algorithm, require
from untwin.solve.state import State

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern
    from untwin.model.problem import Problem


def filled(pattern: Pattern) -> np.ndarray:
    """The intensity with unmeasured pixels filled by a smoothed log intensity (blur that grows until it reaches them)."""
    from scipy import ndimage

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


def hull_of_autocorrelation(pattern: Pattern, above: float = 3.0) -> np.ndarray | None:
    """Half spaces (k, d + 1), normal and offset, of the convex hull of the autocorrelation's support: r lies inside where n·r + c <= 0.

    The autocorrelation of a convex object fills exactly its difference body, 2^d times its volume if it is centrosymmetric, however strong
    its phase; so half of the hull is the object's outline, up to centrosymmetry. Its support: what stands `above` times over the noise
    floor, the median over lags beyond 0.42 N, in one piece around zero. Where the centre of the pattern is hidden, the pattern is high-pass
    filtered beyond the hole first: edges autocorrelate, too. None where nothing stands out.
    """
    from scipy import ndimage, spatial

    k = [np.fft.fftfreq(n, 1 / n) for n in pattern.shape]
    square = sum((f**2).reshape([-1 if a == axis else 1 for a in range(pattern.ndim)]) for axis, f in enumerate(k))
    intensity = np.where(pattern.measured, pattern.intensity, 0).astype(np.float64)
    radius = hidden_radius(pattern)
    if radius > 0:
        intensity *= 1 - np.exp(-np.asarray(square) / (2 * (2 * radius) ** 2))
    a = ndimage.gaussian_filter(np.abs(np.fft.ifftn(intensity)), 1.0, mode="wrap")
    far = np.zeros(pattern.shape, dtype=bool)
    for axis, f in enumerate(k):
        far |= (np.abs(f) > 0.42 * pattern.shape[axis]).reshape([-1 if b == axis else 1 for b in range(pattern.ndim)])
    high = np.fft.fftshift(a > above * np.median(a[far]))
    labels, _ = ndimage.label(high)  # type: ignore[misc]
    middle = tuple(n // 2 for n in pattern.shape)
    piece = labels == labels[middle]
    if not labels[middle] or min(np.ptp(np.nonzero(piece)[axis]) for axis in range(pattern.ndim)) < 4:
        return None
    surface = np.argwhere(piece & ~ndimage.binary_erosion(piece)) - np.array(middle)
    return spatial.ConvexHull(surface).equations


def hidden(pattern: Pattern) -> np.ndarray:
    """(k, d) positions, relative to the zero frequency, of the unmeasured pixels in one piece around it; none where it was measured."""
    from scipy import ndimage

    hole = np.fft.fftshift(~pattern.measured)
    labels, _ = ndimage.label(hole)  # type: ignore[misc]
    middle = tuple(n // 2 for n in pattern.shape)
    if not labels[middle]:
        return np.empty((0, pattern.ndim))
    return np.argwhere(labels == labels[middle]) - np.array(middle)


def hidden_radius(pattern: Pattern) -> float:
    """Radius of what is hidden around the zero frequency, pixels; 0 where it was measured."""
    hole = hidden(pattern)
    return float(np.sqrt(np.square(hole).sum(1).max()) + 0.5) if len(hole) else 0.0


def halved(hull: np.ndarray, shape: tuple[int, ...], scale: float, margin: float) -> np.ndarray:
    """(*grid) bool, FFT order: half of the hull, times `scale`, widened by `margin` pixels."""
    inside = np.ones(shape, dtype=bool)
    for *normal, offset in hull:
        height = np.zeros(shape)
        for axis, (n, c) in enumerate(zip(shape, normal)):
            height = height + (c * np.fft.fftfreq(n, 1 / n)).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        inside &= 2 * (height - margin) / scale + offset <= 0
    return inside


def outline(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """First support, and bounds for the area of any later one: (*grid) bool both, FFT order.

    With the centre measured: half of the autocorrelation's hull plus half a pixel, and the same 15 % and a pixel wider. With a hidden centre
    the autocorrelation is less sure: its part above 4 % of the peak (hole filled by a smoothed log intensity) or the hull, whichever
    reaches further, and a third of the array.
    """
    hull = hull_of_autocorrelation(pattern)
    if hidden_radius(pattern) == 0 and hull is not None:
        return halved(hull, pattern.shape, 1.0, 0.5), halved(hull, pattern.shape, 1.15, 1.0)
    support = autocorrelation_support(pattern)
    if hull is not None:
        support |= halved(hull, pattern.shape, 1.0, 0.5)
    bounds = np.ones(pattern.shape, dtype=bool)
    for axis, n in enumerate(pattern.shape):
        near = np.abs(np.fft.fftfreq(n)) <= 0.35 ** (1 / pattern.ndim) / 2
        bounds &= near.reshape([-1 if a == axis else 1 for a in range(pattern.ndim)])
    return support, bounds | support


def autocorrelation_support(pattern: Pattern, level: float = 0.04, scale: float = 1.3) -> np.ndarray:
    """(*grid) bool, FFT order: the autocorrelation above `level` of its peak, shrunk to half its size times `scale`."""
    a = np.fft.ifftn(filled(pattern)).real
    above = a > level * a.max()
    lags = [np.rint(np.fft.fftfreq(n, scale / (2 * n))).astype(int) for n in pattern.shape]
    inside = np.ones(pattern.shape, dtype=bool)
    for axis, (n, lag) in enumerate(zip(pattern.shape, lags)):
        inside &= (np.abs(lag) <= n // 2).reshape([-1 if a == axis else 1 for a in range(pattern.ndim)])
    support = above[np.ix_(*(lag % n for n, lag in zip(pattern.shape, lags)))] & inside
    support.flat[0] = True
    return support


def box_widths(pattern: Pattern, margin: float = 1.05) -> tuple[int, ...]:
    """Width of the object along each axis, pixels: the largest lag at which the autocorrelation (unmeasured pixels zero) stands
    above its noise, times `margin`. Edges autocorrelate, so a missing centre does not matter for the extent.

    Per axis: maximum over the other axes, smoothed by 1.5 pixels; noise floor = median over lags beyond 0.42 N; the largest lag
    above 1.6 floors, gaps of 2 % of N allowed.
    """
    from scipy import ndimage

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


@dataclass(frozen=True, repr=False)
class Box(Algorithm):
    """Support and bounds = a box of the object's extents, from the autocorrelation.

    margin: factor on the extents, at least 1.
    """

    margin: float = 1.05

    def __post_init__(self) -> None:
        require(self, "margin", 1, 10)

    def step(self, problem: Problem, state: State) -> State:
        import torch

        box = np.ones(problem.pattern.shape, dtype=bool)
        for axis, (n, w) in enumerate(zip(problem.pattern.shape, box_widths(problem.pattern, self.margin))):
            near = np.abs(np.fft.fftfreq(n, 1 / n)) <= w / 2
            box &= near.reshape([-1 if a == axis else 1 for a in range(problem.ndim)])
        support = torch.from_numpy(box).to(state.x.device).expand(state.support.shape)
        return replace(state, support=support, bounds=support)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Triangle(Algorithm):
    """Support = one half of the bounds' box, cut along its diagonal: an object and its twin do not both fit, so one of them wins."""

    def step(self, problem: Problem, state: State) -> State:
        import torch

        total = torch.zeros(problem.pattern.shape)
        for axis, n in enumerate(problem.pattern.shape):
            line = state.bounds[0].any(dim=tuple(a for a in range(problem.ndim) if a != axis)) if problem.ndim > 1 else state.bounds[0]
            k = torch.fft.fftfreq(n, 1 / n)
            inside = k[line.cpu()]
            low, width = inside.min(), (inside.max() - inside.min()).clamp(min=1)
            total = total + ((k - low) / width).reshape([-1 if a == axis else 1 for a in range(problem.ndim)])
        return replace(state, support=state.bounds & (total < problem.ndim / 2).to(state.x.device))

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Whole(Algorithm):
    """Support = the bounds."""

    def step(self, problem: Problem, state: State) -> State:
        return replace(state, support=state.bounds)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Random(Algorithm):
    """x = random magnitudes and phases (real objects: random magnitudes) inside the support, as bright as the data."""

    def step(self, problem: Problem, state: State) -> State:
        x = random_object(problem, state.support, state.seeds)
        return replace(state, x=x, image=x)

    def __repr__(self) -> str:
        return expression.write(self)


def random_object(problem: Problem, support: Tensor, seeds: tuple[int, ...]) -> Tensor:
    """(starts, *grid): uniform magnitudes and phases inside the support, each start from its own seed, scaled to the data."""
    import torch

    d = problem.tensors
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        m = torch.rand(problem.pattern.shape, generator=generator, dtype=torch.float32)
        if not problem.real:
            m = torch.polar(m, 2 * torch.pi * torch.rand(problem.pattern.shape, generator=generator, dtype=torch.float32))
        rows.append(m)
    x = torch.stack(rows).to(d.amplitude.device)
    x = x.to(d.amplitude.dtype if problem.real else d.amplitude.dtype.to_complex())
    x = x.where(support, x.new_zeros(()))
    power = d.amplitude.where(d.imposed, d.amplitude.new_zeros(())).square().sum()
    norm = (x.real.square() + (x.imag.square() if x.is_complex() else 0)).flatten(1).sum(1)
    return x * (power / norm.clamp(min=1e-30)).sqrt().reshape((-1,) + (1,) * problem.ndim)


def begin(problem: Problem, seeds: tuple[int, ...], support: Tensor | None = None, x: Tensor | None = None) -> State:
    """The state before the first step.

    support: (*grid) or (starts, *grid) bool, FFT order; by default the outline. x: (starts, *grid); by default random.
    """
    import torch

    grid = (len(seeds), *problem.pattern.shape)
    if support is None:
        support, bounds = (torch.from_numpy(a).to(problem.device).expand(grid) for a in outline(problem.pattern))
    else:
        support = bounds = support.to(problem.device).expand(grid)
    if x is None:
        x = random_object(problem, support, seeds)
    return State(x=x, image=x, support=support, bounds=bounds, seeds=tuple(seeds))
