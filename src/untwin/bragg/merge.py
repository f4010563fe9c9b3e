"""Repeated scans of one crystal, laid on each other and added up: by whole pixels, so that counts stay counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.bragg.crop import Crop, about
from untwin.bragg.curvature import pointed
from untwin.bragg.look import Look, cut
from untwin.bragg.options import Preparation
from untwin.bragg.peak import peak_of
from untwin.data.framing import Grids
from untwin.data.noise import Noise
from untwin.errors import InputError

ALIKE = 0.97  # correlation of the amplitudes of two scans, at least (scan 54 of 34-ID-C laid on itself, shifted by parts of a pixel, with
# 0.01 to 1 of its counts: 0.989 and more; on its mirror images 0.87 to 0.949)
BRIGHT = 10.0  # counts, in both together: where the amplitudes are compared
SAME = 0.01  # of the change of q per index: so far may two scans' steps differ
COUNTING = 0.25  # variance of the root of a Poisson number


@dataclass(frozen=True)
class Overlay:
    """How one pattern lies on another. shift: pixels along each axis that it has to be moved by. correlation: of their amplitudes, less
    what counting noise takes away."""

    shift: tuple[float, ...]
    correlation: float


def merged(
    grids: Grids, noise: Noise, look: Look, others: list[Look], box: Crop, options: Preparation, steps: list[str], guesses: list[str]
) -> tuple[Grids, Noise]:
    """The sum of a scan's box and of those of other scans that show the same; flat and dark are summed likewise, with the beam of each."""
    counts, weight, dark = _parts(grids, 1.0)
    visible, used = grids.light, 1
    for k, other in enumerate(others, 2):
        name = f"{other.scan.label or 'scan'} (number {k})"
        try:
            own: list[str] = []
            again, scatter, shift = _laid_on(visible, grids.measured, other, look, box, options, own)
        except InputError as error:
            guesses.append(f"{name} is left out: {error}")
            continue
        match = overlay(visible, grids.measured, again.light, again.measured)
        if match.correlation < ALIKE:
            guesses.append(
                f"{name} is left out: where both are bright its amplitudes correlate with those of the first at {match.correlation:.2f}. "
                f"Expected is {ALIKE:g} at least: it is another crystal, or one that has changed"
            )
            continue
        scale = _scale(visible, grids.measured, again)
        for total, part in zip((counts, weight, dark), _parts(again, scale)):
            total += part
        rest = max(abs(s) for s in match.shift)
        steps.append(
            f"{name} is added, moved by {_shift(shift)} frames, rows and columns (what is left is {rest:.2g} pixels at most), with "
            f"{scale:.2g} times the light of the first. The amplitudes correlate at {match.correlation:.3f}."
        )
        guesses += [sentence for sentence in [*other.guesses, *own] if sentence not in guesses]
        noise, used = noise if scatter.kind == noise.kind else scatter if scatter.kind != "photons" else noise, used + 1
    measured = weight > 0
    steps.append(f"{used} of {1 + len(others)} scans are added up.")
    flat = np.where(measured, weight, 1.0)
    return Grids(np.where(measured, counts, 0).astype(np.float32), measured, flat, dark if dark.any() else None), noise


def _parts(grids: Grids, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(counts, sensitivity, dark) float64, 0 where not measured."""
    flat = np.ones(grids.intensity.shape) if grids.flat is None else grids.flat
    dark = np.zeros(grids.intensity.shape) if grids.dark is None else grids.dark
    return grids.intensity.astype(np.float64), scale * np.where(grids.measured, flat, 0), np.where(grids.measured, dark, 0)


def _laid_on(
    visible: np.ndarray, measured: np.ndarray, other: Look, look: Look, box: Crop, options: Preparation, guesses: list[str]
) -> tuple[Grids, Noise, tuple[int, ...]]:
    """(the box of another scan that shows the same, what scatters it, its shift in frames, rows and columns). Raises InputError."""
    at = peak_of(other.survey, options.centre).at
    ours, theirs = (pointed(x.scan.instrument, c).sampling(*c) for x, c in ((look, box.middle), (other, at)))
    off = float((np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(ours, axis=1)).max())
    if not off < SAME:
        raise InputError(f"its steps differ by {100 * off:.2g} % from those of the first: another step, distance, or reflection")
    window = about(at, box.shape, box.binning)
    quiet: list[str] = []
    again, noise, _ = cut(other, window, options, quiet)
    shift = [round(s) for s in overlay(visible, measured, again.light, again.measured).shift]
    if any(shift):
        window, quiet = window.shifted([-s for s in shift]), []
        again, noise, _ = cut(other, window, options, quiet)
    guesses += quiet
    return again, noise, tuple(a - b for a, b in zip(box.start, window.start))


def overlay(first: np.ndarray, measured: np.ndarray, second: np.ndarray, known: np.ndarray) -> Overlay:
    """Of two patterns (*grid) in one box, 0 where not measured: the shift of the second that fits best, and how well it fits then."""
    from scipy import fft, ndimage

    a, b = np.sqrt(np.where(measured, first, 0)), np.sqrt(np.where(known, second, 0))
    spectrum = np.asarray(fft.rfftn(b))
    product = np.asarray(fft.irfftn(np.conj(spectrum) * np.asarray(fft.rfftn(a)), a.shape))
    best = np.array(np.unravel_index(int(np.argmax(product)), product.shape))
    around = product[np.ix_(*((k + np.arange(-1, 2)) % n for k, n in zip(best, a.shape)))]
    half = np.array(a.shape) // 2
    shift = (best + half) % a.shape - half + _summit(around)
    b = np.asarray(fft.irfftn(np.asarray(ndimage.fourier_shift(spectrum, shift, a.shape[-1])), a.shape))
    both = measured & known & (a**2 + b**2 >= 2 * BRIGHT)
    return Overlay(tuple(float(s) for s in shift), _correlation(a[both], b[both]) if both.sum() > 1 else 0.0)


def _summit(cube: np.ndarray) -> np.ndarray:
    """Where the quadratic form through 3 x 3 x 3 values, the middle one the largest, has its maximum: from the middle, a pixel at most."""
    d = cube.ndim
    gradient, curvature = np.zeros(d), np.zeros((d, d))
    centre = cube[(1,) * d]
    for i in range(d):
        line = np.moveaxis(cube, i, 0)[(slice(None), *(1,) * (d - 1))]
        gradient[i], curvature[i, i] = (line[2] - line[0]) / 2, line[0] - 2 * centre + line[2]
        for j in range(i):
            face = np.moveaxis(cube, (j, i), (0, 1))[(slice(None), slice(None), *(1,) * (d - 2))]
            curvature[i, j] = curvature[j, i] = (face[2, 2] - face[0, 2] - face[2, 0] + face[0, 0]) / 4
    if np.linalg.eigvalsh(curvature).max() >= 0:
        return np.zeros(d)
    return np.clip(-np.linalg.solve(curvature, gradient), -1, 1)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    variance = [max(float(np.var(v.astype(np.float64))) - COUNTING, 1e-12) for v in (a, b)]
    return min(1.0, float(np.mean((a - a.mean()) * (b - b.mean()), dtype=np.float64)) / float(np.sqrt(variance[0] * variance[1])))


def _scale(visible: np.ndarray, measured: np.ndarray, again: Grids) -> float:
    """How many times brighter the beam was."""
    both = measured & again.measured
    return float(again.light[both].sum(dtype=np.float64) / max(visible[both].sum(dtype=np.float64), 1e-30))


def _shift(shift: tuple[int, ...]) -> str:
    return ", ".join(f"{s:+d}" for s in shift)
