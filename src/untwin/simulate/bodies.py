"""Outlines, 2D and 3D: where an object is. Parameters are drawn sample by sample, the grid is filled for all samples at once.

Every body fits into a box of given half extents around the array's centre N//2, its soft edge pixel included.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from untwin import expression
from untwin.errors import InputError
from untwin.simulate.facets import Facets, convex_hull, distance_to_box, distance_to_facets, fit_to_box, random_rotation, unit_vectors
from untwin.simulate.grid import PixelGrid, blurred
from untwin.simulate.settings import Setting, draw, draw_integer, require_within
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor

_FCC_111 = np.array(list(itertools.product((1, -1), repeat=3))) / np.sqrt(3)
_FCC_100 = np.concatenate([np.eye(3), -np.eye(3)])
_FCC_110 = np.array([v for v in itertools.product((1, 0, -1), repeat=3) if sum(map(abs, v)) == 2]) / np.sqrt(2)


@dataclass(eq=False)
class Outlines:
    """distance: (samples, P) float32, pixels to the surface, negative inside. magnitude: (samples, P), 1 inside, 0 outside, the pixel at
    the surface in between. frames: (samples, 3, 3) the crystal's axes in array axes, as columns (2D: axis 0 stands up out of the plane).
    labels: one dict per sample."""

    distance: Tensor
    magnitude: Tensor
    frames: np.ndarray
    labels: list[dict]


class Body(ABC):
    """An outline. place(grid, half, streams): half is (samples, d), pixels. dimensions: in which it exists."""

    dimensions: ClassVar[tuple[int, ...]] = (2, 3)

    @abstractmethod
    def place(self, grid: PixelGrid, half: np.ndarray, streams: Streams) -> Outlines: ...

    def check(self, ndim: int) -> None:
        """Raise InputError where the body does not exist in so many dimensions."""
        if ndim not in self.dimensions:
            alternatives = "Polygon() or Hull()" if ndim == 2 else "Polyhedron() or Wulff()"
            raise InputError(f"a {type(self).__name__} has {self.dimensions[0]} dimensions, the array {ndim}; take {alternatives}")

    def __repr__(self) -> str:
        return expression.write(self)


def coverage(distance: Tensor) -> Tensor:
    """1 inside, 0 outside, linear over the pixel at the surface."""
    return (0.5 - distance).clamp(0, 1)


class Faceted(Body):
    """A body of half spaces, its middle up to half a pixel from the array's."""

    def room(self, half: np.ndarray) -> np.ndarray:
        """The part of the box (samples, d) that the body is fitted into."""
        return half

    @abstractmethod
    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets: ...

    def place(self, grid: PixelGrid, half: np.ndarray, streams: Streams) -> Outlines:
        import torch

        half = self.room(half)
        frames = [random_rotation(g, grid.ndim) for g in streams.generators]
        bodies = [fit_to_box(self.facets(g, f), h) for g, f, h in zip(streams.generators, frames, half, strict=True)]
        bodies = [
            replace(b, heights=b.heights + b.normals @ (g.random(grid.ndim) - 0.5)) for b, g in zip(bodies, streams.generators, strict=True)
        ]
        # a sharp corner does not stick out of the box
        distance = torch.maximum(distance_to_facets(grid, bodies), distance_to_box(grid, half))
        labels = [{"body": type(self).__name__, "normals": _rounded(b.normals), "heights": _rounded(b.heights)} for b in bodies]
        return Outlines(distance, coverage(distance), np.array(frames), labels)


@dataclass(frozen=True, repr=False)
class Polygon(Faceted):
    """A convex polygon from half planes at jittered angles (2D).

    sides: their number, 3 to 40; distances differ by up to a third.
    """

    dimensions: ClassVar[tuple[int, ...]] = (2,)
    sides: Setting = 6

    def __post_init__(self) -> None:
        require_within(self, "sides", 3, 40, integer=True)

    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets:
        n = draw_integer(self.sides, generator)
        jitter = min(0.3, 0.45 * (n / 2 - 1))  # no gap of half a turn: a triangle stays closed
        angle = 2 * np.pi * (np.arange(n) + generator.uniform(-jitter, jitter, n)) / n + 2 * np.pi * generator.random()
        return Facets(np.stack([np.sin(angle), np.cos(angle)], 1), generator.uniform(0.65, 1.0, n))


@dataclass(frozen=True, repr=False)
class Polyhedron(Faceted):
    """A convex polyhedron from pairs of opposite half spaces in directions spread over the sphere (3D).

    pairs: of facets, 3 to 20.
    """

    dimensions: ClassVar[tuple[int, ...]] = (3,)
    pairs: Setting = 5

    def __post_init__(self) -> None:
        require_within(self, "pairs", 3, 20, integer=True)

    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets:
        n = draw_integer(self.pairs, generator)
        k = np.arange(n) + 0.5
        z, turn = k / n, np.pi * (1 + 5**0.5) * k
        ring = np.sqrt(1 - z**2)
        normals = np.stack([z, ring * np.sin(turn), ring * np.cos(turn)], 1) + generator.normal(0, 0.12, (n, 3))
        normals = np.concatenate([normals, -normals]) @ frame.T
        return Facets(normals / np.linalg.norm(normals, axis=1, keepdims=True), generator.uniform(0.65, 1.0, 2 * n))


@dataclass(frozen=True, repr=False)
class Wulff(Faceted):
    """The equilibrium shape of an fcc crystal (3D): 8 {111}, 6 {100} and 12 {110} facets at distances in proportion to their surface
    energies (Wulff, Z. Kristallogr. 34, 1901), turned at random; or on a substrate, which cuts it off (Winterbottom, Acta Metall. 15,
    1967).

    Facets keep their angles: the body is fitted into the largest cube of the box, so that lattice planes are where the frame says.
    gamma_100, gamma_110: energies relative to {111}. jitter: each facet's own deviation, as a share. substrate: probability of one;
    a {111} facet's distance is then 0 to 0.6 of what it would be.
    """

    dimensions: ClassVar[tuple[int, ...]] = (3,)
    gamma_100: Setting = 1.15
    gamma_110: Setting = 1.2
    jitter: float = 0.1
    substrate: float = 0.0

    def __post_init__(self) -> None:
        require_within(self, "gamma_100", 0.3, 3)
        require_within(self, "gamma_110", 0.3, 3)
        require_within(self, "jitter", 0, 0.5, fixed=True)
        require_within(self, "substrate", 0, 1, fixed=True)

    def room(self, half: np.ndarray) -> np.ndarray:
        return np.tile(half.min(1, keepdims=True), half.shape[1])

    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets:
        a, b = draw(self.gamma_100, generator), draw(self.gamma_110, generator)
        heights = np.concatenate([np.ones(8), np.full(6, a), np.full(12, b)]) * (1 + self.jitter * generator.uniform(-1, 1, 26))
        if generator.random() < self.substrate:
            heights[0] *= generator.uniform(0.05, 0.6)
        return Facets(np.concatenate([_FCC_111, _FCC_100, _FCC_110]) @ frame.T, heights)


@dataclass(frozen=True, repr=False)
class Hull(Body):
    """The convex hull of random points, its magnitude blurred (2D): the outlines of CDI NN (Cherukara, Nashed and Harder, Sci. Rep. 8,
    2018).

    points: their number, 3 or more, in a window of `window` times the box. area: pixels, smaller ones are drawn again. blur: pixels.
    """

    dimensions: ClassVar[tuple[int, ...]] = (2,)
    points: Setting = 7
    window: Setting = 1.0
    area: float = 40.0
    blur: float = 1.0

    def __post_init__(self) -> None:
        require_within(self, "points", 3, 100, integer=True)
        require_within(self, "window", 0.1, 1)
        require_within(self, "area", 0, fixed=True)
        require_within(self, "blur", 0, 10, fixed=True)

    def place(self, grid: PixelGrid, half: np.ndarray, streams: Streams) -> Outlines:
        bodies = [self._facets(h, g) for h, g in zip(half, streams.generators, strict=True)]
        distance = distance_to_facets(grid, bodies)
        magnitude = (distance <= 0).to(distance.dtype)
        if self.blur:
            magnitude = grid.list(blurred(grid.array(magnitude), self.blur))
            for axis in range(grid.ndim):  # cut at the box, as the published array cuts it
                limit = grid.column(half[:, axis] + 0.5)
                magnitude = magnitude * ((grid.points[axis] >= -limit) & (grid.points[axis] < limit))
        labels = [{"body": "Hull", "normals": _rounded(b.normals), "heights": _rounded(b.heights)} for b in bodies]
        return Outlines(distance, magnitude, np.tile(np.eye(3), (len(streams), 1, 1)), labels)

    def _facets(self, half: np.ndarray, generator: np.random.Generator) -> Facets:
        for _ in range(100):
            window = draw(self.window, generator)
            n = draw_integer(self.points, generator)
            middle = (generator.random(2) - 0.5) * 2 * (1 - window)
            p = (middle + window * (2 * generator.random((n, 2)) - 1)) * half
            facets, area = convex_hull(p)
            if area >= self.area:
                return facets
        raise InputError(f"{self!r}: no hull of {self.area:g} pixels in 100 tries in a box of {2 * half[0]:.0f} x {2 * half[1]:.0f} pixels")


@dataclass(frozen=True, repr=False)
class Blob(Body):
    """A smooth, irregular outline: an ellipsoid whose radius wobbles.

    wobble: relative rms of the radius, which follows six waves over the circle or sphere of directions.
    """

    wobble: Setting = 0.1

    def __post_init__(self) -> None:
        require_within(self, "wobble", 0, 0.3)

    def place(self, grid: PixelGrid, half: np.ndarray, streams: Streams) -> Outlines:
        import torch

        d, waves = grid.ndim, 6
        frames = np.array([random_rotation(g, d) for g in streams.generators])
        axes = np.array([g.uniform(0.7, 1.0, d) for g in streams.generators])
        axes = half * axes / axes.max(1, keepdims=True)
        size = np.array([draw(self.wobble, g) for g in streams.generators])
        k = np.array([g.uniform(1.5, 4.5, (waves, 1)) * unit_vectors(g.standard_normal((waves, d))) for g in streams.generators])
        start = np.array([g.uniform(0, 2 * np.pi, waves) for g in streams.generators])
        radius = torch.zeros((len(streams), grid.points.shape[1]), device=grid.device)
        for a in range(d):
            radius = radius + (grid.points[a] / grid.column(axes[:, a])).square()
        radius = radius.sqrt().clamp(min=1e-3)
        wave = torch.zeros_like(radius)
        for w in range(waves):
            wave = wave + (grid.along(k[:, w] / axes) / radius + grid.column(start[:, w])).sin()
        wave = wave * (2 / waves) ** 0.5 * grid.column(size)
        surface = (1 - 0.1 - grid.column(2 * size) + wave).clamp(0.15, 1)
        distance = (radius - surface) * grid.column(axes.min(1))
        labels = [{"body": "Blob", "axes": _rounded(a), "wobble": round(float(s), 4)} for a, s in zip(axes, size, strict=True)]
        return Outlines(distance, coverage(distance), frames, labels)


def _rounded(a: np.ndarray) -> list:
    return np.round(a, 4).tolist()
