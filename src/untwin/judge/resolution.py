"""Resolution: phase retrieval transfer function and Fourier shell correlation, in shells of spatial frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


@dataclass(frozen=True)
class Curve:
    """A quantity against spatial frequency.

    frequency: cycles per object pixel, 0 to 0.5 at the edge of the detector. value: dimensionless, 0 to 1.
    level: the threshold that defines the resolution. crossing: the lowest frequency where the curve is below it, or None where it
    never is.
    """

    frequency: tuple[float, ...]
    value: tuple[float, ...]
    level: float
    crossing: float | None

    @property
    def pixels(self) -> float:
        """Full-period resolution at the crossing, object pixels; at the last known shell where the curve never crosses."""
        edge = self.frequency[-1] if self.crossing is None else self.crossing
        return 1 / edge if edge else math.inf


def shells(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The shell of every pixel of a grid in FFT order, and the mean frequency (cycles per pixel) of each shell up to 0.5."""
    square = np.zeros(shape)
    for axis, n in enumerate(shape):
        square = square + (np.fft.fftfreq(n) ** 2).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    q = np.sqrt(square)
    count = max(4, min(shape) // 2)
    index = np.minimum((q * 2 * count).round().astype(int), count + 1)
    return index, np.arange(count + 1) / (2 * count)


def _curve(frequency: np.ndarray, value: np.ndarray, level: float) -> Curve:
    known = np.isfinite(value)
    frequency, value = frequency[known], value[known]
    below = np.flatnonzero(value < level)
    crossing = None
    if below.size:
        i = int(below[0])
        if i == 0:
            crossing = float(frequency[0])
        else:  # straight line between the two shells
            t = (value[i - 1] - level) / (value[i - 1] - value[i])
            crossing = float(frequency[i - 1] + t * (frequency[i] - frequency[i - 1]))
    return Curve(tuple(map(float, frequency)), tuple(map(float, value.clip(0, 1))), level, crossing)


def prtf(waves: Iterable[Tensor], measured: Tensor) -> Curve:
    """Phase retrieval transfer function, |mean over runs of F x| over its size if all runs agreed (Chapman et al., J. Opt. Soc.
    Am. A 23, 2006), by shell, over measured pixels; resolution where it falls below 1/e.

    waves: (*grid) complex each, at least two, the aligned objects' Fourier transforms w. The shell's value is the root of
    (n |<w>|² − <|w|²>) / ((n − 1) <|w|²>), summed: 1 where the n runs agree and, without the bias of few runs, 0 where their
    phases are random.
    The size is that of the runs and not √I, which is too small where counts are below one.
    """
    index, frequency = shells(tuple(measured.shape))
    keep = measured.cpu().numpy()
    n, mean, power_mean = 0, None, None
    for w in waves:
        square = w.real.square() + w.imag.square()
        mean, power_mean, n = (w, square, 1) if mean is None or power_mean is None else (mean + w, power_mean + square, n + 1)
    if mean is None or power_mean is None:
        raise ValueError("prtf of no waves")
    mean, power_mean = mean / n, power_mean / n

    def total(x: Tensor) -> np.ndarray:
        return np.bincount(index[keep], x.double().cpu().numpy()[keep], minlength=len(frequency) + 1)[: len(frequency)]

    power = total(power_mean)
    coherent = (n * total(mean.real.square() + mean.imag.square()) - power) / (n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(power > 0, np.sqrt((coherent / power).clip(min=0)), np.nan)
    return _curve(frequency, value, 1 / math.e)


def fsc(a: Tensor, b: Tensor, level: float = 0.5) -> Curve:
    """Fourier shell correlation (van Heel, Ultramicroscopy 21, 1987) of two aligned objects' transforms (*grid):
    Re Σ a b* / sqrt(Σ|a|² Σ|b|²)."""
    index, frequency = shells(tuple(a.shape))
    n = len(frequency)

    def total(x: Tensor) -> np.ndarray:
        return np.bincount(index.ravel(), x.double().cpu().numpy().ravel(), minlength=n + 1)[:n]

    cross = total((a * b.conj()).real)
    power = np.sqrt(total(a.abs().square()) * total(b.abs().square()))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(power > 0, cross / power, np.nan)
    return _curve(frequency, value, level)
