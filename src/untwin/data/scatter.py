"""How much the numbers of a pattern scatter, and how that grows with their size: from what no object can have made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

_LONG = {2: 16, 3: 12}  # pixels of a block along an axis
_MOST = {2: 3000, 3: 1200}  # blocks that are looked at: 0.05 s for 512 x 512, 0.4 s for 64 x 64 x 64
_AT_ONCE = 200_000  # pixels of blocks that are worked on together: 10 MB at most
_FEW = 12  # blocks, and fewer tell nothing
_TAPER = 8.0  # of Kaiser's window: what lies more than 2.7 bins away leaks by less than 1e-6 of its power
# Relative error of one block's variance, overlap with its neighbours included: a mean over n blocks errs by this over sqrt(n), within 20 %
# (36 simulated patterns, poly, defect and complex, 64 to 128 pixels and 32 to 48 cubed, 1e4 to 1e7 photons).
_SPREAD = {2: 0.8, 3: 1.1}
_DARK = 6.0  # standard deviations of a dark block's level
_HOT = 30.0  # times its neighbours and the usual number: a pixel that no speckle explains
_STRAY = 30.0  # times what is expected: a block with a hot pixel


@dataclass(frozen=True, eq=False)
class Scatter:
    """Mean and variance of the numbers in small blocks, sorted by the mean.

    A far-field intensity is band-limited: its Fourier transform, the object's autocorrelation, ends at twice the object's extent. In the
    corners of the transform of a tapered block (the checkerboard of the pixels and the next frequencies to it) is noise only. There a block
    of numbers v with the taper w has the power Σ w² Var v; of counts of photons times a gain g it is g Σ w² v.

    level: Σ w² v / Σ w². variance: power / Σ w². dimensions: of the array. pixels: that a block's level is a mean of, (Σ w²)² / Σ w⁴.
    """

    level: np.ndarray
    variance: np.ndarray
    dimensions: int
    pixels: float = 50.0

    @property
    def measurable(self) -> bool:
        return len(self.level) >= _FEW

    def less(self, offset: float) -> Scatter:
        return replace(self, level=self.level - offset)

    def upto(self, level: float) -> Scatter:
        n = int(np.searchsorted(self.level, level))
        return replace(self, level=self.level[:n], variance=self.variance[:n])

    def over(self, step: float) -> Scatter:
        """Of the same numbers in steps."""
        return replace(self, level=self.level / step, variance=self.variance / step**2)

    def error(self, blocks: float) -> float:
        """Of a mean of variance/expectation over so many blocks, standard deviation."""
        return _SPREAD[self.dimensions] / np.sqrt(max(blocks, 1.0))

    def fano(self, least: float = 0.0, share: float = 0.8) -> tuple[float, float]:
        """(variance over mean, relative error): the mean over the blocks with a level above `least`, without the brightest, into which an
        object leaks first. NaN and infinite where there are too few."""
        inside = self.level > least
        ratio = (self.variance[inside] / self.level[inside])[: max(int(share * inside.sum()), _FEW)]
        if len(ratio) < _FEW:
            return float("nan"), float("inf")
        ratio = _without_strays(ratio)
        return float(ratio.mean()), self.error(len(ratio))

    def lowest(self, least: float = 0.0, error: float = 0.2) -> tuple[float, float]:
        """(the least variance over mean among parts of the blocks with a level above `least`, relative error): each part has enough blocks
        for `error`; they are the brightest ones, the twice as many brightest, and so on."""
        inside = self.level > max(least, 1e-30)
        ratio = (self.variance[inside] / self.level[inside])[::-1]
        n, best = int(np.ceil(self.error(1) ** 2 / error**2)), (float("nan"), float("inf"))
        while n <= len(ratio):
            part = (float(ratio[:n].mean()), self.error(n))
            best = part if not part[0] >= best[0] else best
            n *= 2
        return best

    def power(self, least: float = 0.0, share: float = 0.8) -> tuple[float, float]:
        """(p, error) of variance ∝ level^p: 1 for photons, 0 for their square roots, above 1 where the object leaks in and where a flat
        field scatters. Of the blocks with a level above `least`, without the brightest."""
        inside = (self.level > least) & (self.variance > 0)
        n = int(share * inside.sum())
        if n < _FEW:
            return float("nan"), float("inf")
        x, y = np.log(self.level[inside][:n]), self.variance[inside][:n]
        x = x - x.mean()
        basis = np.stack([np.ones_like(x), x], 1)
        # maximum likelihood of exponential variances with expectation exp(a + p x), by Newton's method
        line = np.polyfit(x, np.log(y), 1)[::-1]
        for _ in range(30):
            expected = np.exp(np.clip(basis @ line, -600, 600))
            weight = np.minimum(y / expected, _STRAY)
            step = np.linalg.solve(basis.T @ (basis * weight[:, None]) + 1e-9 * np.eye(2), basis.T @ (weight - 1))
            line = line + np.clip(step, -1, 1)
            if np.abs(step).max() < 1e-4:
                break
        return float(line[1]), float(self.error(1) / np.sqrt(max((x**2).sum(), 1e-30)))

    def misfit(self, brightest: int) -> tuple[float, float]:
        """(deviance, share of noise) of variance = g level + q level², neither negative, over so many of the brightest blocks: Σ y/e − 1 −
        log y/e, which no change of units alters; the share is that of g level where the blocks are in the middle of their order."""
        level, y = self.level[-brightest:], np.maximum(self.variance[-brightest:], 1e-300)
        if not level[0] > 1e-9 * level[len(level) // 2]:
            return np.inf, 0.0
        ratio = y / level
        x = level / np.median(level)
        basis = np.stack([np.ones_like(x), np.minimum(x, 1e100)], 1)
        best = (np.inf, 0.0)
        for columns in ([0], [1], [0, 1]):
            expected = np.full_like(ratio, np.median(ratio)) if columns != [1] else np.median(ratio / x) * x
            part = basis[:, columns]
            for _ in range(30):
                weight = np.where(ratio < _STRAY * expected, 1 / expected, 0)
                normal = part.T @ (part * weight[:, None] ** 2)
                if not np.isfinite(normal).all():
                    break
                solution = np.linalg.pinv(normal, hermitian=True) @ (part.T @ (ratio * weight**2))
                if not (solution > 0).all():
                    break
                expected, before = part @ solution, expected
                if np.abs(expected / before - 1).max() < 1e-3:
                    z = np.minimum(ratio / expected, _STRAY)
                    deviance = float((z - 1 - np.log(np.maximum(z, 1e-6))).sum())
                    if deviance < best[0] - 2:
                        best = deviance, float(solution[0] / solution.sum()) if 0 in columns else 0.0
                    break
        return best

    def dark(self) -> tuple[float, float, float, float]:
        """(level at which the line of variance over level meets zero, its error, gain, its relative error): an offset, less read
        noise²/gain. NaN and infinite where it cannot be told."""
        (a, g, _), covariance = self.line()
        if not g > 0:
            return float("nan"), float("inf"), float("nan"), float("inf")
        where = -a / g
        square = covariance[0, 0] + where**2 * covariance[1, 1] + 2 * where * covariance[0, 1]
        return float(where), float(np.sqrt(max(square, 0)) / g), float(g), float(np.sqrt(covariance[1, 1]) / g)

    def _dark_as_one(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(levels, variances, number of blocks) with the dark blocks as one: noise alone tells their levels apart, and would flatten
        a line."""
        n = len(self.level)
        noise = np.sqrt(max(float(self.variance[: max(n // 3, 1)].mean()), 0) / self.pixels)
        dark = int(np.searchsorted(self.level, self.level[n // 10] + _DARK * noise))
        if dark < _FEW or n - dark < _FEW:
            return self.level, self.variance, np.ones(n)
        level, variance = ([a[:dark].mean(), *a[dark:]] for a in (self.level, self.variance))
        return np.array(level), np.array(variance), np.array([dark, *[1] * (n - dark)])

    def line(self) -> tuple[np.ndarray, np.ndarray]:
        """(coefficients, covariance) of variance = a + g level + q level², by weights: a = read noise² − g offset, g the gain, and q, which
        is not negative, what leaks of the object or scatters with a flat field."""
        low = self.variance > 0
        if low.sum() < _FEW:
            return np.full(3, np.nan), np.full((3, 3), np.inf)
        low[np.flatnonzero(low)[int(0.8 * low.sum()) :]] = False  # leave out the brightest
        floor = max(0.02 * float(self.variance[low].mean()), 1e-200)  # empty blocks would decide everything
        scale = max(float(np.abs(self.level[low]).mean()), 1e-100)
        level, variance, many = self._dark_as_one()
        x = level / scale
        basis = np.stack([np.ones_like(x), x, np.minimum(x, 1e100) ** 2], 1)
        columns, expected = [0, 1, 2], np.maximum(self.variance[low].mean() * np.maximum(x, 0.1), floor)
        for iteration in range(40):  # the first ones leave nothing out: they do not know yet what the bright blocks should have
            usual = variance < _STRAY * expected * max(1, 10.0 ** (4 - iteration))
            weight = np.where(usual, many * (floor / expected) ** 2, 0)
            part = basis[:, columns]
            inverse = np.linalg.pinv(part.T @ (part * weight[:, None]), hermitian=True)
            solution = inverse @ (part.T @ (weight * variance))
            if len(columns) == 3 and solution[2] < 0:
                columns = [0, 1]
                continue
            expected, before = np.maximum(part @ solution, floor), expected
            if iteration > 4 and np.abs(expected / before - 1).max() < 1e-3:
                break
        scales = np.array([1, scale, scale**2])[columns]
        full, covariance = np.zeros(3), np.zeros((3, 3))
        full[columns] = solution / scales
        covariance[np.ix_(columns, columns)] = inverse / np.outer(scales, scales) * (floor * self.error(1)) ** 2
        return full, covariance


def scatter_of(values: np.ndarray, measured: np.ndarray, hot: bool = False) -> Scatter:
    """values, measured: (*grid); blocks with an unmeasured pixel are left out, and those with a hot one, unless `hot`.
    Along an axis of fewer pixels than a block has, all of it."""
    d = values.ndim
    long = tuple(min(_LONG[d], n) for n in values.shape)
    corners = _corners(values, measured, long)
    usual = np.inf if hot else _usual(values, corners, long)
    window = np.ones(())
    for n in long:
        window = np.multiply.outer(window, np.kaiser(n, _TAPER))
    axes, power = tuple(range(1, d + 1)), (window**2).sum()
    levels, variances = [np.zeros(0)], [np.zeros(0)]
    for blocks in _blocks(values, corners, long):
        blocks = blocks if hot else _without_hot(blocks, usual)
        levels.append((blocks * window**2).sum(axes) / power)
        # the corner and the frequencies next to it, by transforms of these alone
        waves = blocks * window
        for n in long:
            k = np.array([n // 2 - 1, n // 2, n // 2 + 1]) if n > 3 else np.array([n // 2])
            waves = np.tensordot(waves, np.exp(-2j * np.pi * np.outer(np.arange(n), k) / n), axes=([1], [0]))
        variances.append((np.abs(waves) ** 2).mean(axes) / power)
    level, variance = np.concatenate(levels), np.concatenate(variances)
    order = np.argsort(level, kind="stable")
    return Scatter(level[order], variance[order], d, float(power**2 / (window**4).sum()))


def _corners(values: np.ndarray, measured: np.ndarray, long: tuple[int, ...]) -> np.ndarray:
    """(blocks, dimensions) where the blocks begin, each a third of its length from the next. Of too many, those are taken that lie evenly
    in the order of brightness, and half as many of the brightest."""
    d = values.ndim
    starts = [np.unique(np.linspace(0, n - m, -(-(n - m) // max(m // 3, 1)) + 1).astype(int)) for n, m in zip(values.shape, long)]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, d)
    if len(corners) > _MOST[d]:
        middle = tuple((corners + np.array(long) // 2).T)
        near = values[middle].astype(np.float64) * measured[middle]
        for axis in range(d):  # a few pixels say how bright a block is
            for shift in (-2, 3):
                one = list(middle)
                one[axis] = np.clip(one[axis] + shift, 0, values.shape[axis] - 1)  # a stack may have few frames
                near += values[tuple(one)].astype(np.float64) * measured[tuple(one)]
        order = np.argsort(near, kind="stable")
        part = _MOST[d] // 3
        chosen = np.concatenate([order[np.linspace(0, len(order) - 1 - part, 2 * part).astype(int)], order[-part:]])
        corners = corners[np.unique(chosen)]
    good = np.lib.stride_tricks.sliding_window_view(measured, long)[tuple(corners.T)]
    return corners[good.reshape(len(good), -1).all(1)]


def _blocks(values: np.ndarray, corners: np.ndarray, long: tuple[int, ...]) -> Iterator[np.ndarray]:
    """(blocks, *long) float64, some at a time."""
    view = np.lib.stride_tricks.sliding_window_view(values, long)
    some = max(1, _AT_ONCE // int(np.prod(long)))
    for k in range(0, len(corners), some):
        yield view[tuple(corners[k : k + some].T)].astype(np.float64)


def _usual(values: np.ndarray, corners: np.ndarray, long: tuple[int, ...]) -> float:
    """The median of the positive numbers of the blocks, 0 without any; of many, of a sample."""
    each = len(corners) * int(np.prod(long)) // 100_000 + 1
    positive = np.concatenate([np.zeros(0), *(blocks[blocks > 0][::each] for blocks in _blocks(values, corners, long))])
    return float(np.median(positive)) if len(positive) else 0.0


def _without_strays(ratio: np.ndarray) -> np.ndarray:
    """Blocks whose variance is far above that of the others have a hot pixel or the object in them."""
    middle = np.median(ratio)
    return ratio[ratio <= _STRAY * middle] if middle > 0 else ratio


def _without_hot(blocks: np.ndarray, usual: float) -> np.ndarray:
    """Without those in which a pixel stands alone in its frame, as a hot pixel does."""
    top = blocks.reshape(len(blocks), -1, *blocks.shape[-2:]).max(axis=1)  # a hot pixel is hot in every frame
    padded = np.pad(top, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    rows, columns = top.shape[1:]
    ring = [padded[:, i : i + rows, j : j + columns] for i in (0, 1, 2) for j in (0, 1, 2) if (i, j) != (1, 1)]
    around = np.partition(np.stack(ring), 4, axis=0)[4]  # another one beside it does not count
    return blocks[~(top > _HOT * np.maximum(around, usual)).any(axis=(1, 2))]
