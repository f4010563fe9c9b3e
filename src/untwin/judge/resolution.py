"""Resolution: phase retrieval transfer function and Fourier shell correlation, in shells of spatial frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
        """Full-period resolution at the crossing, object pixels; at the edge of the detector (2) where the curve never crosses."""
        if self.crossing is None:
            return 2.0
        return 1 / self.crossing if self.crossing else math.inf


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


def prtf(waves: Tensor, intensity: Tensor, measured: Tensor) -> Curve:
    """Phase retrieval transfer function (Chapman et al., J. Opt. Soc. Am. A 23, 2006): Σ |mean over runs of F x| / Σ √I over the measured
    pixels of each shell; resolution where it falls below 1/e.

    waves: (runs, *grid) complex, the aligned objects' Fourier transforms. It says how well the runs agree; of one run it says nothing.
    """
    shape = tuple(measured.shape)
    index, frequency = shells(shape)
    mean = waves.mean(0)
    keep = measured.cpu().numpy()
    top = np.bincount(index[keep], mean.abs().cpu().numpy()[keep], minlength=len(frequency) + 1)[: len(frequency)]
    bottom = np.bincount(index[keep], intensity.sqrt().cpu().numpy()[keep], minlength=len(frequency) + 1)[: len(frequency)]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(bottom > 0, top / bottom, np.nan)
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
