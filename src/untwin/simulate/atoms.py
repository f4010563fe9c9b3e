"""Atoms in a periodic cell: the benchmark of Elser, Lan and Bendory (SIAM J. Imaging Sci. 11, 2018; arXiv 1706.00399), made anew.

A cell of 128 x 128 pixels repeats itself, so that its pattern is sampled without oversampling. In it lie N atoms of about 8 pixels each.
The published patterns of N atoms come in three grades, E, M and H; how their positions were drawn is not in the files.

As in the three published files of 100 atoms, whose objects were solved and fitted: half of the atoms are twice as heavy as the others;
each is a Gaussian of 0.565 pixels (its transform falls as exp(−q² / 2600)); positions are whole quarters of a pixel, no two nearer than 3
pixels; the counts are Poisson, and the lighter atoms have a weight of 125 in units where the transform is divided by 128 (Σ I about
930,000); zero frequency and the highest row and column are missing. The grades differ in nothing but the autocorrelation, whose sparsity
the paper names as what makes a problem hard: CONTRAST is Σ I² / (Σ I)² times the pixels, by Parseval its mean square, of the three files.

A guess: that each atom moves until the contrast is that of its grade, that the contrast and the weights are the same for every N.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.checks import int_argument
from untwin.data.measurement import Pattern
from untwin.errors import InputError
from untwin.random import derive

SIZE = 128  # pixels along each axis
PIXELS = 8  # of an atom
WIDTH = 0.565  # pixels, of the Gaussian
STEP = 0.25  # pixels, between possible positions
NEAREST = 3.0  # pixels between two atoms, at least
WEIGHT = 125.0  # of a light atom
CONTRAST = {"easy": 4.46, "medium": 3.95, "hard": 3.44}
_CLOSE = 0.01  # to the contrast of the grade
_MOVES = 20_000  # of single atoms, at most
_MOST = 450  # atoms that still find a place at random


@dataclass(frozen=True, eq=False)
class Cell:
    """density: (128, 128) float64, band-limited, so that it is a little below 0 in places. counts: (128, 128) int64, FFT order, 0 where
    nothing was measured. positions: (atoms, 2) pixels; weights: (atoms,). contrast: of the intensity before it is counted."""

    density: np.ndarray
    counts: np.ndarray
    positions: np.ndarray
    weights: np.ndarray
    contrast: float

    @property
    def support(self) -> int:
        """How many pixels the atoms take."""
        return PIXELS * len(self.weights)

    @property
    def pattern(self) -> Pattern:
        return Pattern(self.counts, measured_pixels())

    def write(self, path: str | Path) -> None:
        """As the published files are: 128 lines of 64 whole numbers, the columns 0 to 63 of the counts."""
        np.savetxt(path, self.counts[:, : SIZE // 2], fmt="%d", delimiter="\t")


def measured_pixels() -> np.ndarray:
    """(128, 128) bool: all but zero frequency and the highest row and column."""
    measured = np.ones((SIZE, SIZE), bool)
    measured[0, 0] = measured[SIZE // 2] = measured[:, SIZE // 2] = False
    return measured


def cell(atoms: int, grade: str = "medium", seed: int = 0) -> Cell:
    """A cell of so many atoms. grade: easy, medium or hard."""
    atoms = int_argument("atoms", atoms, 2, _MOST)
    if grade not in CONTRAST:
        raise InputError(f"grade={grade!r}: expected one of {', '.join(CONTRAST)}")
    rng = np.random.default_rng(derive(seed, "atoms in a cell", grade, atoms))
    weights = WEIGHT * np.where(np.arange(atoms) % 2, 1.0, 2.0)
    positions = _placed(rng, atoms)
    positions, contrast = _graded(rng, positions, weights, CONTRAST[grade])
    wave = _wave(positions, weights)
    expected = np.abs(wave) ** 2 * measured_pixels()
    half = rng.poisson(expected)
    counts = _symmetric(half)
    return Cell(np.fft.ifft2(wave).real * SIZE, counts, positions, weights, contrast)


def _symmetric(counts: np.ndarray) -> np.ndarray:
    """One count for a frequency and its mirror image, as the published files have it."""
    mirror = np.roll(np.flip(counts), 1, (0, 1))
    rows, columns = np.indices(counts.shape)
    below = (columns < SIZE // 2) & ((columns > 0) | (rows <= SIZE // 2))
    return np.where(below, counts, mirror)


def _factor(x: np.ndarray) -> np.ndarray:
    """(SIZE, atoms): exp(−2πi q x) along an axis, with the fall of a Gaussian's transform."""
    q = np.fft.fftfreq(SIZE)
    return np.exp(-2j * np.pi * q[:, None] * x - 2 * (np.pi * WIDTH * q[:, None]) ** 2)


def _wave(positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The unitary transform of the cell."""
    return (_factor(positions[:, 0]) * weights) @ _factor(positions[:, 1]).T / SIZE


def _distances(positions: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(atoms,): to a point, around the edges."""
    by = (positions - point + SIZE / 2) % SIZE - SIZE / 2
    return np.hypot(by[:, 0], by[:, 1])


def _drawn(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, round(SIZE / STEP), 2) * STEP


def _placed(rng: np.random.Generator, atoms: int) -> np.ndarray:
    positions = np.empty((0, 2))
    while len(positions) < atoms:
        at = _drawn(rng)
        if (_distances(positions, at) >= NEAREST).all():
            positions = np.vstack([positions, at])
    return positions


def _graded(rng: np.random.Generator, positions: np.ndarray, weights: np.ndarray, contrast: float) -> tuple[np.ndarray, float]:
    """The positions after moves of single atoms that bring the contrast of the pattern nearer to one; and what it has come to."""
    positions, wave, measured = positions.copy(), _wave(positions, weights), measured_pixels()
    now = _contrast(wave, measured)
    for _ in range(_MOVES):
        if abs(now - contrast) <= _CLOSE:
            break
        i, at = int(rng.integers(len(positions))), _drawn(rng)
        if (np.delete(_distances(positions, at), i) < NEAREST).any():
            continue
        both = np.stack([at, positions[i]])
        trial = wave + _wave(both, weights[i] * np.array([1.0, -1.0]))
        value = _contrast(trial, measured)
        if abs(value - contrast) < abs(now - contrast):
            positions[i], wave, now = at, trial, value
    return positions, now


def _contrast(wave: np.ndarray, measured: np.ndarray) -> float:
    """Σ I² / (Σ I)² over the measured pixels, times how many they are."""
    intensity = np.abs(wave[measured]) ** 2
    return float((intensity**2).mean() / intensity.mean() ** 2)
