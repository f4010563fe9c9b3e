"""A crystal of facets with a known displacement: what a simulated scan was made of, at any point of the laboratory.

Lengths in m. Frame: that of CXI (z downstream, y up, x = y × z), the crystal as it stands at one frame of the scan, its middle at the
origin. Displacement and strain are those along Q: u·Q/|Q| and its derivative along Q; the phase of the image is −Q·u under exp(−i q·r).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from untwin.bragg.instrument import Instrument
from untwin.bragg.maps import CONVENTION
from untwin.data.atomic import atomic_write
from untwin.simulate.facets import Facets, corners

STEEPEST = 3.0  # e-foldings beyond the surface: farther out the layer's field stays as it is there
SAMPLES = 20_000  # random points of the box, of which half lie in the crystal: its means are good to a per cent
CORE = 2e-9  # m: radius in which a line of a dislocation is dim


@dataclass(frozen=True, eq=False)
class Screw:
    """A screw dislocation: u = b θ / 2π about a line along b. Q·b = 2π turns (a whole number, with its sign).

    point: (3,) m, on the line. line: (3,) unit vector."""

    point: np.ndarray
    line: np.ndarray
    turns: int = 1

    def across(self, points: np.ndarray) -> np.ndarray:
        """(..., 3): from the line to the points, perpendicular to it."""
        away = points - self.point
        return away - (away @ self.line)[..., None] * self.line

    def distance(self, points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(self.across(points), axis=-1)

    def angle(self, points: np.ndarray) -> np.ndarray:
        """θ in (−π, π], right-handed about the line."""
        e = np.cross(self.line, np.eye(3)[np.argmin(np.abs(self.line))])
        e /= np.linalg.norm(e)
        away = self.across(points)
        return np.arctan2(away @ np.cross(self.line, e), away @ e)

    def slope(self, points: np.ndarray, along: np.ndarray) -> np.ndarray:
        """dθ along a unit vector, rad/m."""
        away = self.across(points)
        square = np.maximum((away**2).sum(-1), np.finfo(np.float64).tiny)
        return np.cross(self.line, away) @ along / square


@dataclass(frozen=True, eq=False)
class Displacement:
    """Along the unit vector `along`: waves in the bulk, a layer at the facets, and a part that is linear in position,

        u(r) = Σ a_k sin(k·r + φ_k) + A Σ_f (n_f·along) exp((n_f·r − h_f) / depth) + g·r + c.

    waves: (k, 3) rad/m. heights: a_k, m. starts: φ_k. layer: A, m. depth: m. linear: g. constant: c, m.
    """

    along: np.ndarray
    facets: Facets
    waves: np.ndarray
    heights: np.ndarray
    starts: np.ndarray
    layer: float
    depth: float
    linear: np.ndarray = field(default_factory=lambda: np.zeros(3))
    constant: float = 0.0

    def at(self, points: np.ndarray) -> np.ndarray:
        """(...) m at points (..., 3)."""
        total = points @ self.linear + self.constant
        for k, a, start in zip(self.waves, self.heights, self.starts):
            total = total + a * np.sin(points @ k + start)
        for n, fade in self._layer(points):
            total = total + self.layer * (n @ self.along) * fade
        return total

    def strain(self, points: np.ndarray) -> np.ndarray:
        """(...) at points (..., 3): the derivative of u along `along`."""
        total = np.full(points.shape[:-1], float(self.linear @ self.along))
        for k, a, start in zip(self.waves, self.heights, self.starts):
            total = total + a * float(k @ self.along) * np.cos(points @ k + start)
        for n, fade in self._layer(points):
            total = total + self.layer / self.depth * float(n @ self.along) ** 2 * fade
        return total

    def _layer(self, points: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if self.layer:
            for n, h in zip(self.facets.normals, self.facets.heights):
                yield n, np.exp(np.minimum((points @ n - h) / self.depth, STEEPEST))


@dataclass(frozen=True, eq=False, kw_only=True)
class Crystal:
    """Facets, and a lattice that is displaced inside.

    facets: half spaces n·r <= h, m. field: the smooth displacement. screw: a dislocation, or None. roughness: m, rms; a facet is as soft
    as a Gaussian of this width. q: (3,) rad/m, Q: the wave vector transfer of the lattice before u.
    """

    facets: Facets
    field: Displacement
    screw: Screw | None
    roughness: float
    q: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """(v, 3) m."""
        return corners(self.facets)

    def depth(self, points: np.ndarray) -> np.ndarray:
        """(...) m: how deep below the nearest facet's plane; negative outside."""
        return -np.max([points @ n - h for n, h in zip(self.facets.normals, self.facets.heights)], axis=0)

    def inside(self, points: np.ndarray) -> np.ndarray:
        return self.depth(points) >= 0

    def density(self, points: np.ndarray) -> np.ndarray:
        """(...) 0 to 1, one half on a facet; 0 on the line of a dislocation."""
        from scipy.special import ndtr

        total = np.ones(points.shape[:-1])
        for n, h in zip(self.facets.normals, self.facets.heights):
            total *= ndtr((h - points @ n) / self.roughness)
        if self.screw is not None:
            total *= -np.expm1(-(self.screw.distance(points) ** 2) / (2 * CORE**2))
        return total

    def displacement(self, points: np.ndarray) -> np.ndarray:
        """(...) m, along Q; beside a dislocation up to whole turns 2π/|Q|."""
        total = self.field.at(points)
        if self.screw is not None:
            total = total + self.screw.turns * self.screw.angle(points) / np.linalg.norm(self.q)
        return total

    def strain(self, points: np.ndarray) -> np.ndarray:
        """(...) a plain number, tension positive, relative to the lattice of Q; referred to nothing: subtract a mean to compare."""
        total = self.field.strain(points)
        if self.screw is not None:
            total = total + self.screw.turns * self.screw.slope(points, self.field.along) / np.linalg.norm(self.q)
        return total

    def image(self, points: np.ndarray) -> np.ndarray:
        """(...) complex128: density times exp(−i Q·u)."""
        return self.density(points) * np.exp(-1j * float(np.linalg.norm(self.q)) * self.displacement(points))


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth(Crystal):
    """The crystal of a simulated scan, and what its detector was.

    instrument: where every frame was taken. peak: (frame, row, column) where Q lies; the crystal stands here as it does at that frame.
    expected: (frames, rows, columns) float32, counts that the crystal alone gives on an even detector in an even beam. sensitivity: (rows,
    columns) of the frames, relative. bad: bool (rows, columns), gaps, hot and dead pixels. beam: (frames,), relative intensity.
    """

    instrument: Instrument
    peak: tuple[int, float, float]
    expected: np.ndarray
    sensitivity: np.ndarray
    bad: np.ndarray
    beam: np.ndarray


def write_truth(path: Path, truth: Truth, voxel: float = 5e-9, recipe: str = "") -> Path:
    """An .npz file of the truth on a grid of the laboratory, axes z, y, x (slowest first), float32, NaN outside the crystal.

    image: complex64, density exp(−i Q·u). support: bool. displacement: m. strain: relative to the lattice of q. core: m, distance
    from the line of a dislocation, where there is one. vectors: (3, 3) m, row a the step (x, y, z) along axis a. origin: (3,) m, where the
    voxel (0, 0, 0) is. q: (3,) rad/m. peak: (frame, row, column). settings: JSON. voxel: m, edge of the grid's cells.
    """
    reach = np.abs(truth.corners).max(0) + 2 * voxel
    half = np.ceil(reach / voxel).astype(int)
    x, y, z = (np.arange(-n, n + 1) * voxel for n in half)
    points = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], -1)
    support = truth.inside(points)
    arrays = {
        "image": truth.image(points).astype(np.complex64),
        "support": support,
        "displacement": np.where(support, truth.displacement(points), np.nan).astype(np.float32),
        "strain": np.where(support, truth.strain(points), np.nan).astype(np.float32),
        "vectors": np.eye(3)[::-1] * voxel,
        "origin": -half * voxel,
        "q": truth.q,
        "peak": np.array(truth.peak),
        "settings": np.array(json.dumps({"convention": CONVENTION, "frame": "laboratory", "recipe": recipe})),
    }
    if truth.screw is not None:
        arrays["core"] = truth.screw.distance(points).astype(np.float32)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path
