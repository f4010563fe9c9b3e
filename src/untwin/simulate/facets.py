"""Half spaces: the geometry of bodies with facets."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin.simulate.grid import FAR, PixelGrid

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Facets:
    """Half spaces n·q <= h in units where the box is [-1, 1]^d. normals: (k, d) unit vectors. heights: (k,)."""

    normals: np.ndarray
    heights: np.ndarray


def corners(facets: Facets) -> np.ndarray:
    """(v, d) the corners of the body that the half spaces leave."""
    n, h = facets.normals, facets.heights
    d = n.shape[1]
    if d == 2:
        i, j = np.array(list(itertools.combinations(range(len(n)), 2))).T
        det = n[i, 0] * n[j, 1] - n[i, 1] * n[j, 0]
        ok = np.abs(det) > 1e-9
        i, j, det = i[ok], j[ok], det[ok]
        points = np.stack([(h[i] * n[j, 1] - h[j] * n[i, 1]) / det, (n[i, 0] * h[j] - n[j, 0] * h[i]) / det], 1)
        return points[(points @ n.T <= h + 1e-9).all(1)]
    from scipy.spatial import HalfspaceIntersection

    return HalfspaceIntersection(np.concatenate([n, -h[:, None]], 1), np.zeros(d)).intersections


def fit_to_box(facets: Facets, half: np.ndarray) -> Facets:
    """The same body, moved and scaled until it just fits into the box of half extents `half` (d,), pixels. Its own units are those of
    the box, so that it is stretched where the box is; the normals are unit vectors again in pixels."""
    points = corners(facets)
    low, high = points.min(0), points.max(0)
    scale = 2 / (high - low).max()
    heights = (facets.heights - facets.normals @ ((low + high) / 2)) * scale
    stretched = facets.normals / half
    length = np.linalg.norm(stretched, axis=1)
    return Facets(stretched / length[:, None], heights / length)


def distance_to_facets(grid: PixelGrid, bodies: list[Facets]) -> Tensor:
    """(samples, P) distances: the largest n·r − h over the facets."""
    import torch

    most = max(len(b.heights) for b in bodies)
    normals = np.zeros((len(bodies), most, grid.ndim))
    heights = np.full((len(bodies), most), FAR)
    for s, b in enumerate(bodies):
        normals[s, : len(b.heights)], heights[s, : len(b.heights)] = b.normals, b.heights
    distance = grid.along(normals[:, 0]) - grid.column(heights[:, 0])
    for k in range(1, most):
        distance = torch.maximum(distance, grid.along(normals[:, k]) - grid.column(heights[:, k]))
    return distance


def distance_to_box(grid: PixelGrid, half: np.ndarray) -> Tensor:
    """(samples, P) the largest |r_a| − half_a: distance to the box."""
    import torch

    far = torch.full((len(half), grid.points.shape[1]), -FAR, device=grid.device)
    for axis in range(grid.ndim):
        unit = np.zeros(half.shape)
        unit[:, axis] = 1
        far = torch.maximum(far, grid.along(unit).abs() - grid.column(half[:, axis]))
    return far


def random_rotation(generator: np.random.Generator, ndim: int) -> np.ndarray:
    """(3, 3) a random rotation; in 2D about axis 0."""
    if ndim == 2:
        c, s = np.cos(a := 2 * np.pi * generator.random()), np.sin(a)
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    w, x, y, z = q = generator.standard_normal(4)
    q /= np.linalg.norm(q)
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def convex_hull(points: np.ndarray) -> tuple[Facets, float]:
    """The hull of points (n, 2) and its area (Andrew, Inf. Process. Lett. 9, 1979; for a handful of points quicker than any library)."""
    ordered = sorted(points.tolist())
    ring: list[list[float]] = []
    for run in (ordered, ordered[::-1]):
        first = len(ring)
        for p in run:
            while len(ring) - first > 1 and _cross(ring[-2], ring[-1], p) <= 0:
                ring.pop()
            ring.append(p)
        ring.pop()
    to = ring[1:] + ring[:1]
    lengths = [math.hypot(b[0] - a[0], b[1] - a[1]) for a, b in zip(ring, to)]
    double = [a[0] * b[1] - a[1] * b[0] for a, b in zip(ring, to)]
    normals = [((b[1] - a[1]) / s, (a[0] - b[0]) / s) for a, b, s in zip(ring, to, lengths)]
    return Facets(np.array(normals), np.array([v / s for v, s in zip(double, lengths)])), 0.5 * sum(double)


def _cross(a: list[float], b: list[float], c: list[float]) -> float:
    """Above 0 where c lies to the left of the line from a to b."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def unit_vectors(v: np.ndarray) -> np.ndarray:
    """(..., d) as vectors of length 1."""
    return v / np.linalg.norm(v, axis=-1, keepdims=True)
