"""Random objects in 2D and 3D, each a function of its generator: the classes that a recipe is tried on.

Every function returns a complex64 array with the object near the centre (index N//2) and zero elsewhere; magnitudes of order 1.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Generator = np.random.Generator


def grid(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Coordinates from the centre N//2, pixels, one open array per axis."""
    return list(np.ogrid[tuple(slice(-(n // 2), n - n // 2) for n in shape)])


def polytope(shape: tuple[int, ...], extent: float, facets: int, rng: Generator) -> np.ndarray:
    """A convex polygon or polyhedron from random half spaces, its longest extent along an axis about `extent` pixels.
    Smooth over the pixel at the facets: values from 0 to 1."""
    d = len(shape)
    if d == 2:
        angle = 2 * np.pi * (np.arange(facets) + rng.uniform(-0.35, 0.35, facets)) / facets + rng.uniform(0, 2 * np.pi)
        normals = np.stack([np.sin(angle), np.cos(angle)], 1)
    else:  # a jittered spiral over half of the sphere, turned at random, and its opposites: no needles, no open shapes
        half = np.arange((facets + 1) // 2) + 0.5
        z, turn = half / len(half), np.pi * (1 + 5**0.5) * half
        ring = np.sqrt(1 - z**2)
        spiral = np.stack([z, ring * np.sin(turn), ring * np.cos(turn)], 1) + rng.normal(0, 0.15, (len(half), 3))
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        normals = np.concatenate([spiral @ rotation, -spiral @ rotation])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    distance = rng.uniform(0.65, 1.0, len(normals))
    x = grid(shape)

    def signed(scale: float) -> np.ndarray:
        inside = np.full(shape, np.inf)
        for normal, far in zip(normals, distance):
            inside = np.minimum(inside, far * scale - sum(c * a for c, a in zip(normal, x)))
        return inside

    low, high = 0.0, float(max(shape))
    for _ in range(30):
        middle = (low + high) / 2
        body = signed(middle) > 0
        long = max(np.ptp(np.nonzero(body)[a]) + 1 for a in range(d)) if body.any() else 0
        low, high = (middle, high) if long < extent else (low, middle)
    return np.clip(signed(low) + 0.5, 0, 1)


def smooth_field(shape: tuple[int, ...], length: float, rng: Generator) -> np.ndarray:
    """A Gaussian random field with correlation length `length` pixels, scaled to lie in [-1, 1] over the array's middle."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), length, mode="wrap")
    return field / np.abs(field).max()


def blob(shape: tuple[int, ...], extent: float, rng: Generator) -> np.ndarray:
    """bool: an irregular outline, about `extent` pixels long."""
    x = grid(shape)
    radius = np.sqrt(sum((a / rng.uniform(0.75, 1.0)) ** 2 for a in x))
    wobble = smooth_field(shape, extent / 6, rng)
    low, high = 0.0, float(max(shape))
    for _ in range(30):
        middle = (low + high) / 2
        body = _largest_part(radius < middle * (1 + 0.45 * wobble))
        long = max(np.ptp(np.nonzero(body)[a]) + 1 for a in range(len(shape))) if body.any() else 0
        low, high = (middle, high) if long < extent else (low, middle)
    return _largest_part(radius < low * (1 + 0.45 * wobble))


def _largest_part(mask: np.ndarray) -> np.ndarray:
    labels, n = ndimage.label(mask)  # type: ignore[misc]
    if n < 2:
        return mask
    return labels == 1 + int(np.argmax(ndimage.sum_labels(mask, labels, range(1, n + 1))))


def poly(shape: tuple[int, ...], rng: Generator) -> np.ndarray:
    """A faceted crystal of uniform magnitude with a smooth phase up to ±π."""
    extent = rng.uniform(20, 31) * min(shape) / 64
    body = polytope(shape, extent, int(rng.integers(5, 9)) if len(shape) == 2 else int(rng.integers(8, 13)), rng)
    phase = smooth_field(shape, extent / rng.uniform(3, 6), rng)
    inside = np.abs(phase[body > 0.5]).max()
    return (body * np.exp(1j * rng.uniform(0.3, 1.0) * np.pi * phase / inside)).astype(np.complex64)


def defect(shape: tuple[int, ...], rng: Generator) -> np.ndarray:
    """A faceted crystal with 1 to 4 vortices (dislocations seen end-on; in 3D straight lines along a random direction) whose
    cores are dim, often a phase step (planar fault), and smooth strain."""
    extent = rng.uniform(20, 31) * min(shape) / 64
    d = len(shape)
    body = polytope(shape, extent, int(rng.integers(5, 9)) if d == 2 else int(rng.integers(8, 13)), rng)
    phase = rng.uniform(0.1, 0.5) * np.pi * smooth_field(shape, extent / rng.uniform(3, 6), rng)
    x = grid(shape)
    core = np.ones(shape)
    depth = np.asarray(ndimage.distance_transform_edt(body > 0.5))
    inside = np.argwhere(depth > min(3, 0.5 * depth.max())) - np.array([n // 2 for n in shape])
    for _ in range(int(rng.integers(1, 5))):
        point = inside[rng.integers(len(inside))]
        u, v = _plane(d, rng)
        a = sum(c * (y - p) for c, y, p in zip(u, x, point)) + 0.13
        b = sum(c * (y - p) for c, y, p in zip(v, x, point)) + 0.29
        phase = phase + rng.choice([-1, 1]) * np.arctan2(a, b)
        core *= np.sqrt((a**2 + b**2) / (a**2 + b**2 + 1.0))
    if rng.random() < 0.5:
        normal = rng.normal(size=d)
        normal /= np.linalg.norm(normal)
        side = sum(c * y for c, y in zip(normal, x)) > rng.uniform(-0.2, 0.2) * extent
        phase = phase + rng.uniform(0.5, 1.0) * np.pi * side
    return (body * core * np.exp(1j * phase)).astype(np.complex64)


def _plane(d: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    if d == 2:
        return np.array([1.0, 0.0]), np.array([0.0, 1.0])
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return q[:, 0], q[:, 1]


def real(shape: tuple[int, ...], rng: Generator) -> np.ndarray:
    """A real nonnegative texture with an irregular, partly dim outline."""
    extent = rng.uniform(20, 31) * min(shape) / 64
    body = blob(shape, extent, rng)
    texture = 0.5 + 0.5 * smooth_field(shape, extent / rng.uniform(10, 20), rng)
    dim = 0.6 + 0.4 * smooth_field(shape, extent / 4, rng)
    edge = ndimage.gaussian_filter(body.astype(float), 0.6) * body
    return (edge * dim * texture).astype(np.complex64)


def complex_texture(shape: tuple[int, ...], rng: Generator) -> np.ndarray:
    """Varying magnitude, an unrelated strong phase, an irregular outline."""
    extent = rng.uniform(20, 31) * min(shape) / 64
    body = blob(shape, extent, rng)
    magnitude = 0.6 + 0.4 * smooth_field(shape, extent / rng.uniform(8, 16), rng)
    phase = np.pi * rng.uniform(0.6, 1.0) * smooth_field(shape, extent / rng.uniform(6, 12), rng)
    edge = ndimage.gaussian_filter(body.astype(float), 0.6) * body
    return (edge * magnitude * np.exp(1j * phase)).astype(np.complex64)


CLASSES = {"poly": poly, "defect": defect, "real": real, "complex": complex_texture}
