"""Where a pattern is a crop of a larger one: its opposite faces do not fit together, and |F x|², which is periodic, joins them.

A pattern that is all that reaches the detector (or that was simulated on its own grid) goes on across the seam as smoothly as inside. Of a
crop the outermost pixels belong to neither side; left in the data, they are explained by haze and sharp edges that are not the object's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from untwin.data.measurement import Pattern

RATIO = 2.0  # docs/benchmarks.md, A wrong model: measured crops 2.3 to 5.6, ideal patterns 1
SIGNIFICANT = 5.0  # standard errors; measured crops: 8.7 to 28 (docs/benchmarks.md, A wrong model)
ANSCOMBE = 3 / 8  # sqrt(I + 3/8) has the same variance for all means (Anscombe, Biometrika 35, 1948)


class Seam(NamedTuple):
    """ratio: mean square difference of opposite faces, in square roots of counts, over that of each face and the layer beside it: 1 where
    the pattern is periodic. significance: the excess in standard errors. NaN where there is nothing to compare."""

    ratio: float
    significance: float

    @property
    def parts(self) -> bool:
        return self.ratio > RATIO and self.significance > SIGNIFICANT

    @property
    def sentence(self) -> str:
        """What is done where it parts."""
        return f"a crop (opposite faces differ {self.ratio:.1f} times as much as neighbouring layers; outermost pixels masked)"


def seam(pattern: Pattern) -> Seam:
    """How well the opposite faces of a pattern fit together."""
    root = np.sqrt(np.fft.fftshift(pattern.intensity).astype(np.float64) + ANSCOMBE)
    measured = np.fft.fftshift(pattern.measured)
    across, neighbours = [], []
    for axis in range(pattern.ndim):
        for pairs, (a, b) in ((across, (0, -1)), (neighbours, (0, 1)), (neighbours, (-1, -2))):
            both = measured.take(a, axis) & measured.take(b, axis)
            pairs.append(np.square(root.take(a, axis) - root.take(b, axis))[both])
    faces, inside = np.concatenate(across), np.concatenate(neighbours)
    if not len(faces) or not inside.any():
        return Seam(np.nan, np.nan)
    excess = faces.mean() - inside.mean()
    error = np.sqrt(faces.var() / len(faces) + inside.var() / len(inside))
    return Seam(float(faces.mean() / inside.mean()), float(excess / max(error, 1e-30)))


def outermost(pattern: Pattern) -> np.ndarray:
    """(*grid) bool, FFT order: the pixels of the faces."""
    faces = np.ones(pattern.shape, dtype=bool)
    faces[(slice(1, -1),) * pattern.ndim] = False
    return np.fft.ifftshift(faces)
