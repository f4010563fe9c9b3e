"""Crystals of known strain, as a 34-ID-C scan would have measured them: what benchmarks/strain_error.py is about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

import untwin as ut
from untwin.bragg.beamlines import beamline
from untwin.bragg.instrument import Instrument
from untwin.data.measurement import Geometry

FINER = 3  # the density is drawn on a grid so many times finer
SIZE, VOXEL = 64, 13e-9  # pixels; m along every axis
BLUR = (0.15, 0.5, 0.4)  # pixels: that of scan 54
STRAIN, LAYER = 3e-4, 20e-9  # rms; depth of the surface layer, m


@dataclass(frozen=True, eq=False)
class Crystal:
    """pattern: what was measured. image: (*grid) complex, centred, the crystal cut to the detector's frequencies. strain: exact, at the
    voxels. depth: m, below the surface (negative outside)."""

    pattern: ut.Pattern
    image: np.ndarray
    strain: np.ndarray
    depth: np.ndarray


def geometry(size: int = SIZE) -> Geometry:
    """Of 34-ID-C as scan 54 was taken, with a distance and a step that give voxels of 13 nm."""
    row, frames = beamline("34idc"), 3
    names, distance, step = [c.name for c in row.sample], 0.5, 0.005
    at = {"theta": 0.22, "chi": 90.0, "phi": -5.0}
    for _ in range(4):
        sample = np.array([[at[n.lower()] + (step * (k - 1) if n.lower() == "theta" else 0.0) for n in names] for k in range(frames)])
        detector = np.tile([{"delta": 32.174, "gamma": 12.6346}[c.name.lower()] for c in row.detector], (frames, 1))
        instrument = Instrument(row, sample, detector, np.full(frames, 9000.0), distance, (55e-6, 55e-6), (128.0, 128.0))
        found = instrument.geometry(1, 126, 127)
        sizes = found.voxel_size((size,) * 3)
        step, distance = step * sizes[0] / VOXEL, distance * VOXEL / sizes[1]
    return found


def crystal(seed: int, photons: float | None = 1e7, blur: tuple[float, ...] = BLUR, diameter: float = 300e-9, size: int = SIZE) -> Crystal:
    """photons: None for the noise-free intensity, of 1e7."""
    rng, place = np.random.default_rng((540, seed)), geometry(size)
    a, q = place.voxel_vectors((size,) * 3), np.array(place.q)
    along = q / np.linalg.norm(q)
    cube = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    corners = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]]) / 3**0.5
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    normals = np.concatenate([cube, -cube, corners, -corners]) @ turn.T
    heights = diameter / 2 * np.concatenate([rng.uniform(0.9, 1.15, 6), rng.uniform(0.8, 1.1, 8)])
    waves = rng.standard_normal((8, 3))
    waves *= 2 * np.pi / (np.linalg.norm(waves, axis=1)[:, None] * rng.uniform(180e-9, 500e-9, 8)[:, None])
    weights, phases, sign = rng.standard_normal(8) / np.linalg.norm(waves, axis=1), rng.uniform(0, 2 * np.pi, 8), rng.choice([-1, 1])

    def depth(r: np.ndarray) -> np.ndarray:
        return -np.max([r @ n - h for n, h in zip(normals, heights)], axis=0)

    def displacement(r: np.ndarray, parts: tuple[float, float]) -> np.ndarray:
        smooth = sum(w * np.sin(r @ k + p) for w, k, p in zip(weights, waves, phases))
        layer = sum((n @ along) * np.exp(np.minimum(r @ n - h, 0) / LAYER) for n, h in zip(normals, heights))
        return parts[0] * smooth + parts[1] * sign * layer

    def strain(r: np.ndarray, parts: tuple[float, float]) -> np.ndarray:
        by = 0.25e-9 * along
        return (displacement(r + by, parts) - displacement(r - by, parts)) / 0.5e-9

    points = grid(size, a)
    below = depth(points)
    inside = below > 0
    smooth, layer = (strain(points[inside], parts) for parts in ((1.0, 0.0), (0.0, 1.0)))
    parts = (0.9 * STRAIN / smooth.std(), 0.43 * STRAIN / layer.std())
    parts = tuple(p * STRAIN / strain(points[inside], parts).std() for p in parts)
    fine = grid(FINER * size, a / FINER)
    near = depth(fine)
    density = np.clip(0.5 + near / (VOXEL / FINER), 0, 1)
    lit = density > 0
    u = displacement(fine[lit], parts)
    slope = np.linalg.lstsq(np.c_[fine[lit], np.ones(len(u))], u, rcond=None)[0]  # the peak is in the middle
    wave = np.zeros(density.shape, dtype=np.complex128)
    wave[lit] = density[lit] * np.exp(-1j * np.linalg.norm(q) * (u - fine[lit] @ slope[:3]))
    far = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(wave)))
    amplitude = middle(far, size)
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(amplitude), norm="ortho"))
    wide = np.abs(middle(far, size + 16)) ** 2
    if any(blur):
        wide = np.fft.ifftn(ndimage.fourier_gaussian(np.fft.fftn(wide), blur)).real.clip(min=0)
    intensity = middle(wide, size)
    scale = (photons or 1e7) / intensity.sum()
    counts = rng.poisson(scale * intensity) if photons else scale * intensity
    pattern = ut.Pattern(np.fft.ifftshift(counts).astype(np.float32), np.ones(counts.shape, dtype=bool), geometry=place)
    exact = np.where(inside, strain(points, parts) - slope[:3] @ along, np.nan)
    return Crystal(pattern, (image * scale**0.5).astype(np.complex64), exact, below)


def grid(n: int, a: np.ndarray) -> np.ndarray:
    """(n, n, n, 3) m: the points of a centred array with these voxel vectors."""
    m = np.arange(n) - n // 2
    return m[:, None, None, None] * a[0] + m[None, :, None, None] * a[1] + m[None, None, :, None] * a[2]


def middle(x: np.ndarray, size: int) -> np.ndarray:
    return x[tuple(slice(n // 2 - size // 2, n // 2 - size // 2 + size) for n in x.shape)]
