"""The spacing of the numbers in a file: counts that were multiplied, divided or rounded stand on a comb."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MOST = 200_000  # numbers that are looked at
_LEVELS = 8  # distinct levels of a comb that chance does not make: rms residual below a tenth of a step, where random numbers have 0.29;
_FEWER = 4  # where they lie on it to a thousandth
_NEAR = 0.1  # of a step: numbers so near to a multiple lie on it; rounding must be finer than that to tell
_ON = 0.99  # of the numbers lie on the comb: hot and interpolated pixels need not
_RANGE = 1e-15  # of the numbers that are larger than 99 %: a smaller one is 0 for the spacing
_LUCK = 20.0  # a level is a rounded multiple of a step by chance with probability 1/step: all are, at any peak, with one of exp(−20)
_PEAKS = 8000  # that are tried, at most: 0.1 s
_STRAY = 0.01  # of the levels that chance would leave out: a few were rounded otherwise, in single precision
_CLIPPED = 4  # pixels that share the largest number: it is no peak
_TEETH = 64  # numbers that show whether a comb is there
_ROUNDINGS = (2.0**-23, 2.0**-10)  # relative: of a number that was once single, or once half precision


@dataclass(frozen=True)
class Comb:
    """Numbers start + k step, k whole. step: above 0."""

    step: float
    start: float = 0.0

    def counts(self, values: np.ndarray) -> np.ndarray:
        """k, rounded, float64; integers that are k already, as they are."""
        if values.dtype.kind in "iu" and (self.start, self.step) == (0, 1):
            return values
        k = (values - self.start) / self.step
        return np.rint(k, out=k) if isinstance(k, np.ndarray) else np.rint(k)


def sample(values: np.ndarray, bright: bool = False) -> np.ndarray:
    """Enough of the numbers, sorted, float64, the smallest and the largest among them; bright: all of the brightest, too.
    values: one axis."""
    if len(values) > _MOST:
        few = values[:: len(values) // _MOST + 1]
        rest = [values[values > np.quantile(few, 0.98)][:_MOST]] if bright else []
        values = np.concatenate([few, *rest, [values.min(), values.max()]])
    return np.sort(values.astype(np.float64))


def comb(numbers: np.ndarray, start: float | None = 0.0, coarse: float = 1.0) -> Comb | None:
    """The comb on which all numbers lie, to the rounding of their precision; None where there is none.

    numbers: sorted, not negative. start: of the comb; None: at the smallest number. coarse: their rounding, in units of a float's.
    """
    if not len(numbers):
        return None
    rest = numbers - (numbers[0] if start is None else start)
    rest = rest[rest > _RANGE * numbers[int(0.99 * len(numbers))]]
    if len(rest) < _FEWER:
        return None
    for rounding in _ROUNDINGS:
        step = _step(rest, np.maximum(numbers[-len(rest) :], rest) * (coarse * rounding))
        if step is not None:
            return Comb(step, float(numbers[0]) if start is None else start)
    return None


def _step(rest: np.ndarray, error: np.ndarray) -> float | None:
    """rest: sorted, above 0; error: of each, by rounding."""
    new = np.concatenate([[True], np.diff(rest) > 2 * error[1:]])
    levels, errors = rest[new], error[new]
    if len(levels) < _FEWER:
        return None
    low = levels[:2000]
    gap = float(np.quantile(np.diff(low), 0.02, method="lower"))
    for first in dict.fromkeys([*(gap / k for k in (1, 2, 3)), *(float(low[0]) / k for k in (1, 2, 3, 4))]):
        step = _refined(levels, errors, first)
        if step is None:
            continue
        fine = error < _NEAR * step
        off = np.abs(rest[fine] / step - np.rint(rest[fine] / step))
        if fine.sum() >= _FEWER and np.mean(off < _NEAR + error[fine] / step) >= _ON:
            return step
    return None


def _refined(levels: np.ndarray, errors: np.ndarray, step: float) -> float | None:
    """The step by least squares over more and more levels; None where they do not lie on its multiples."""
    reach = 8.0
    while True:
        part = (levels < reach * step) & (errors < _NEAR * step)
        if part.sum() >= 2:
            k = np.rint(levels[part] / step)
            if not k.any():
                return None
            off = np.abs(levels[part] / step - k)
            good = off < 2 * _NEAR
            if good.mean() < 0.9:
                return None
            step = float(levels[part][good] @ k[good] / (k[good] @ k[good]))
        if part.sum() >= 2000 or reach * step > levels[-1]:
            k = np.rint(levels[part] / step)
            rms = np.sqrt(np.mean((levels[part] / step - k) ** 2)) if part.any() else 1.0
            several = len(np.unique(k)) >= (_LEVELS if rms > 1e-3 else _FEWER) and np.gcd.reduce(k.astype(np.int64)) == 1
            return step if several and rms < _NEAR else None
        reach *= 2


def rounded_comb(integers: np.ndarray, least: float, most: float) -> tuple[float, bool] | None:
    """(step, cut) of the counts whose multiples were rounded (cut: rounded down) to whole numbers, the largest without a fraction, as an
    image of 8 or 16 bits is made: round(k top / K). None where the numbers do not say so.

    integers: sorted whole numbers, not negative. least, most: the step as their scatter has it.
    """
    levels = np.unique(integers)
    top = float(levels[-1])
    if not 0 < top < 2**20 or levels[0] < 0:
        return None
    least = max(least, np.exp((np.log(top) + _LUCK) / max(len(levels) - 2, 1)))
    if (integers == top).sum() >= _CLIPPED:
        return None
    best = (_STRAY + 1e-9, 0.0, False)
    for peak in range(max(int(top / most), 1), min(int(top / least), int(top / most) + _PEAKS) + 1):
        for cut in (False, True):
            allowed = (1 - peak / top) * best[0]
            if _off(levels[:40], int(top), peak, cut) <= allowed and (off := _off(levels, int(top), peak, cut)) <= allowed:
                best = (off / max(1 - peak / top, 1e-9) - 1e-9, top / peak, cut)
    return best[1:] if best[1] else None


def _off(levels: np.ndarray, top: int, peak: int, cut: bool) -> float:
    """The share of them that are no rounded multiples of top / peak."""
    level = levels.astype(np.int64)
    if cut:
        again = (-(-level * peak // top)) * top // peak
    else:
        k = (2 * level * peak + top) // (2 * top)
        again, tie = np.divmod(2 * k * top + peak, 2 * peak)
        again -= (tie == 0) & (again % 2 == 1)  # half to even
    return float((again != level).mean())


def broad_comb(numbers: np.ndarray, near: float, error: float) -> tuple[Comb, float] | None:
    """(comb, coherence) of counts times a step that read noise has broadened. The coherence |⟨exp(2πi v / step)⟩|,
    exp(−2π² (noise/step)²), is that of numbers above the lowest tooth (which says nothing) and below 30 steps more. None where there are
    too few. start: of the lowest tooth.

    numbers: sorted. near, error: the step as the scatter has it, relative error.
    """
    if not (np.isfinite(near) and near > 0):
        return None
    least = numbers[int(0.001 * len(numbers))]
    low = numbers[numbers < least + 30 * near]
    tooth = float(np.median(low[low < least + 0.7 * near])) if len(low) else 0.0
    low = low[low > tooth + 0.5 * near]
    if len(low) < _TEETH:
        return None
    low = low[:: len(low) // 20_000 + 1] - tooth
    steps = near * np.exp(np.linspace(-1, 1, 241) * min(3 * error, 0.4))
    sums = np.array([np.exp(2j * np.pi * low / step).mean() for step in steps])
    best = int(np.argmax(np.abs(sums)))
    step, start = float(steps[best]), tooth + float(steps[best] * np.angle(sums[best])) / (2 * np.pi)
    for reach in (4, 10, 30, 100, 300):  # a line through the teeth, further and further
        part = numbers[np.searchsorted(numbers, tooth - 0.5 * step) : np.searchsorted(numbers, tooth + reach * step)]
        part = part[:: len(part) // 20_000 + 1]
        k = np.rint((part - start) / step)
        if np.ptp(k) > 1:
            step, start = (float(x) for x in np.polyfit(k, part, 1))
    coherence = float(np.abs(np.exp(2j * np.pi * (low + tooth - start) / step).mean()))
    zero = numbers[numbers < tooth + 0.5 * step]
    noise = step * np.sqrt(max(-np.log(max(coherence, 1e-9)), 0) / (2 * np.pi**2))
    if len(zero) >= _TEETH and np.std(zero) < 0.4 * noise:
        return None  # sharp where there is no light: a flat field, not read noise
    return Comb(step, start), coherence
