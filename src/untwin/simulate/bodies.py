"""Outlines, 2D and 3D: where an object is. Parameters are drawn sample by sample, the grid is filled for all samples at once.

Every body fits into a box of given half extents around the array's centre N//2, its soft edge pixel included.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from untwin import expression
from untwin.errors import InputError
from untwin.simulate.dice import Dice, Setting, counted, drawn, extremes, within

if TYPE_CHECKING:
    from torch import Tensor

FAR = 1e4  # pixels: a facet that cuts nothing
MULTIPLE = 64  # points per sample are padded to a multiple of it, so that a sample's bits do not depend on its place in a batch


class Grid:
    """The pixels of an array as a list. points: (d, P) float32, pixels from the centre N//2; P is padded by far points."""

    def __init__(self, shape: tuple[int, ...], device: str = "cpu"):
        import torch

        self.shape, self.size, self.device = shape, int(np.prod(shape)), device
        index = np.indices(shape).reshape(len(shape), -1) - np.array([n // 2 for n in shape])[:, None]
        padded = np.full((len(shape), -(-self.size // MULTIPLE) * MULTIPLE), FAR, np.float32)
        padded[:, : self.size] = index
        self.points = torch.from_numpy(padded).to(device)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def list(self, array: Tensor) -> Tensor:
        """(samples, *shape) as (samples, P), padded by 0."""
        import torch

        flat = torch.zeros((len(array), self.points.shape[1]), dtype=array.dtype, device=array.device)
        flat[:, : self.size] = array.reshape(len(array), -1)
        return flat

    def array(self, values: Tensor) -> Tensor:
        """(samples, P) as (samples, *shape)."""
        return values[:, : self.size].reshape(-1, *self.shape)

    def along(self, vectors: np.ndarray) -> Tensor:
        """(samples, P) scalar products of vectors (samples, d), float64, with the points, rounded alike for every sample."""
        import torch

        v = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)).to(self.device)
        total = v[:, :1] * self.points[0]
        for axis in range(1, self.ndim):
            total = total + v[:, axis : axis + 1] * self.points[axis]
        return total

    def column(self, values: list[float] | np.ndarray) -> Tensor:
        """(samples, 1) float32."""
        import torch

        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self.device)[:, None]


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
    """An outline. place(grid, half, dice): half is (samples, d), pixels. dimensions: in which it exists."""

    dimensions: ClassVar[tuple[int, ...]] = (2, 3)

    @abstractmethod
    def place(self, grid: Grid, half: np.ndarray, dice: Dice) -> Outlines: ...

    def check(self, ndim: int) -> None:
        """Raise InputError where the body does not exist in so many dimensions."""
        if ndim not in self.dimensions:
            other = "Polygon() or Hull()" if ndim == 2 else "Polyhedron() or Wulff()"
            raise InputError(f"a {type(self).__name__} has {self.dimensions[0]} dimensions, the array {ndim}; take {other}")

    def __repr__(self) -> str:
        return expression.write(self)


def edge(distance: Tensor) -> Tensor:
    """1 inside, 0 outside, linear over the pixel at the surface."""
    return (0.5 - distance).clamp(0, 1)


# Half spaces


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


def fitted(facets: Facets, half: np.ndarray) -> Facets:
    """The same body, moved and scaled until it just fits into the box of half extents `half` (d,), pixels. Its own units are those of
    the box, so that it is stretched where the box is; the normals are unit vectors again in pixels."""
    points = corners(facets)
    low, high = points.min(0), points.max(0)
    scale = 2 / (high - low).max()
    heights = (facets.heights - facets.normals @ ((low + high) / 2)) * scale
    stretched = facets.normals / half
    length = np.linalg.norm(stretched, axis=1)
    return Facets(stretched / length[:, None], heights / length)


def filled(grid: Grid, bodies: list[Facets]) -> Tensor:
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


def _beyond(grid: Grid, half: np.ndarray) -> Tensor:
    """(samples, P) the largest |r_a| − half_a: distance to the box."""
    import torch

    far = torch.full((len(half), grid.points.shape[1]), -FAR, device=grid.device)
    for axis in range(grid.ndim):
        unit = np.zeros(half.shape)
        unit[:, axis] = 1
        far = torch.maximum(far, grid.along(unit).abs() - grid.column(half[:, axis]))
    return far


def turned(generator: np.random.Generator, ndim: int) -> np.ndarray:
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


def _rounded(a: np.ndarray) -> list:
    return np.round(a, 4).tolist()


class _Cut(Body):
    """A body of half spaces, its middle up to half a pixel from the array's."""

    def room(self, half: np.ndarray) -> np.ndarray:
        """The part of the box (samples, d) that the body is fitted into."""
        return half

    @abstractmethod
    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets: ...

    def place(self, grid: Grid, half: np.ndarray, dice: Dice) -> Outlines:
        import torch

        half = self.room(half)
        frames = [turned(g, grid.ndim) for g in dice.generators]
        bodies = [fitted(self.facets(g, f), h) for g, f, h in zip(dice.generators, frames, half, strict=True)]
        bodies = [
            replace(b, heights=b.heights + b.normals @ (g.random(grid.ndim) - 0.5)) for b, g in zip(bodies, dice.generators, strict=True)
        ]
        distance = torch.maximum(filled(grid, bodies), _beyond(grid, half))  # a sharp corner does not stick out of the box
        labels = [{"body": type(self).__name__, "normals": _rounded(b.normals), "heights": _rounded(b.heights)} for b in bodies]
        return Outlines(distance, edge(distance), np.array(frames), labels)


@dataclass(frozen=True, repr=False)
class Polygon(_Cut):
    """A convex polygon from half planes at jittered angles (2D).

    sides: their number, 3 to 40; distances differ by up to a third.
    """

    dimensions: ClassVar[tuple[int, ...]] = (2,)
    sides: Setting = 6

    def __post_init__(self) -> None:
        within(self, "sides", 3, 40, whole=True)

    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets:
        n = counted(self.sides, generator)
        jitter = min(0.3, 0.45 * (n / 2 - 1))  # no gap of half a turn: a triangle stays closed
        angle = 2 * np.pi * (np.arange(n) + generator.uniform(-jitter, jitter, n)) / n + 2 * np.pi * generator.random()
        return Facets(np.stack([np.sin(angle), np.cos(angle)], 1), generator.uniform(0.65, 1.0, n))


@dataclass(frozen=True, repr=False)
class Polyhedron(_Cut):
    """A convex polyhedron from pairs of opposite half spaces in directions spread over the sphere (3D).

    pairs: of facets, 3 to 20.
    """

    dimensions: ClassVar[tuple[int, ...]] = (3,)
    pairs: Setting = 5

    def __post_init__(self) -> None:
        within(self, "pairs", 3, 20, whole=True)

    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets:
        n = counted(self.pairs, generator)
        k = np.arange(n) + 0.5
        z, turn = k / n, np.pi * (1 + 5**0.5) * k
        ring = np.sqrt(1 - z**2)
        normals = np.stack([z, ring * np.sin(turn), ring * np.cos(turn)], 1) + generator.normal(0, 0.12, (n, 3))
        normals = np.concatenate([normals, -normals]) @ frame.T
        return Facets(normals / np.linalg.norm(normals, axis=1, keepdims=True), generator.uniform(0.65, 1.0, 2 * n))


_111 = np.array(list(itertools.product((1, -1), repeat=3))) / np.sqrt(3)
_100 = np.concatenate([np.eye(3), -np.eye(3)])
_110 = np.array([v for v in itertools.product((1, 0, -1), repeat=3) if sum(map(abs, v)) == 2]) / np.sqrt(2)


@dataclass(frozen=True, repr=False)
class Wulff(_Cut):
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
        within(self, "gamma_100", 0.3, 3)
        within(self, "gamma_110", 0.3, 3)
        within(self, "jitter", 0, 0.5, fixed=True)
        within(self, "substrate", 0, 1, fixed=True)

    def room(self, half: np.ndarray) -> np.ndarray:
        return np.tile(half.min(1, keepdims=True), half.shape[1])

    def facets(self, generator: np.random.Generator, frame: np.ndarray) -> Facets:
        a, b = drawn(self.gamma_100, generator), drawn(self.gamma_110, generator)
        heights = np.concatenate([np.ones(8), np.full(6, a), np.full(12, b)]) * (1 + self.jitter * generator.uniform(-1, 1, 26))
        if generator.random() < self.substrate:
            heights[0] *= generator.uniform(0.05, 0.6)
        return Facets(np.concatenate([_111, _100, _110]) @ frame.T, heights)


@dataclass(frozen=True, repr=False)
class Notched(Body):
    """A body without a part of itself: a copy of its kind, smaller, at the surface, is taken out. Not convex; some
    fall into two pieces.

    body: any body of half spaces. size: of the notch, as a share of the body.
    """

    body: Body
    size: Setting = 0.5

    def __post_init__(self) -> None:
        _inner(self, self.body)
        within(self, "size", 0.1, 0.9)

    def check(self, ndim: int) -> None:
        self.body.check(ndim)

    def place(self, grid: Grid, half: np.ndarray, dice: Dice) -> Outlines:
        import torch

        whole = self.body.place(grid, half, dice)
        size = np.array([[drawn(self.size, g)] for g in dice.generators])
        away = np.array([_unit(g.standard_normal(grid.ndim)) for g in dice.generators])
        notch = self.body.place(moved(grid, 0.75 * half * away), half * size, dice)
        distance = torch.maximum(whole.distance, -notch.distance)
        labels = [w | {"body": "Notched" + w["body"], "notch": n} for w, n in zip(whole.labels, notch.labels, strict=True)]
        return Outlines(distance, edge(distance), whole.frames, labels)


@dataclass(frozen=True, repr=False)
class Joined(Body):
    """Two bodies of one kind in opposite corners of the box, overlapping where they are large enough. Not convex.

    body: any body of half spaces. size: of each, as a share of the box; above 0.55 they mostly touch.
    """

    body: Body
    size: Setting = 0.65

    def __post_init__(self) -> None:
        _inner(self, self.body)
        within(self, "size", 0.2, 0.9)

    def check(self, ndim: int) -> None:
        self.body.check(ndim)

    def place(self, grid: Grid, half: np.ndarray, dice: Dice) -> Outlines:
        import torch

        size = np.array([[drawn(self.size, g)] for g in dice.generators])
        away = np.array([_direction(g, grid.ndim) for g in dice.generators]) * half * (1 - size)
        first = self.body.place(moved(grid, away), half * size, dice)
        second = self.body.place(moved(grid, -away), half * size, dice)
        distance = torch.minimum(first.distance, second.distance)
        labels = [a | {"body": "Joined" + a["body"], "second": b} for a, b in zip(first.labels, second.labels, strict=True)]
        return Outlines(distance, edge(distance), first.frames, labels)


def _inner(owner: Body, body: object) -> None:
    if not isinstance(body, _Cut):
        raise InputError(f"{type(owner).__name__}({body!r}): expected a body of half spaces: Polygon(), Polyhedron() or Wulff()")


def _direction(generator: np.random.Generator, ndim: int) -> np.ndarray:
    """A random direction, its largest component 1: a point on the surface of the box."""
    v = generator.standard_normal(ndim)
    return v / np.abs(v).max()


def moved(grid: Grid, by: np.ndarray) -> _Moved:
    return _Moved(grid, by)


class _Moved(Grid):
    """The grid as seen from points `by` (samples, d), pixels from the centre."""

    def __init__(self, grid: Grid, by: np.ndarray):
        self.shape, self.size, self.device, self.points = grid.shape, grid.size, grid.device, grid.points
        self.by = by

    def along(self, vectors: np.ndarray) -> Tensor:
        return super().along(vectors) - self.column((vectors * self.by).sum(1))


@dataclass(frozen=True, repr=False)
class Mix(Body):
    """Each sample takes one of several bodies, as likely as its weight (all alike by default)."""

    bodies: tuple[Body, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.bodies, tuple) or not self.bodies or not all(isinstance(b, Body) for b in self.bodies):
            raise InputError(f"Mix({self.bodies!r}): expected bodies, such as Mix((Polygon(), Notched(Polygon())))")
        if self.weights and (len(self.weights) != len(self.bodies) or min(self.weights) < 0 or sum(self.weights) <= 0):
            raise InputError(f"Mix(weights={self.weights!r}): expected one weight, 0 or more, for each of the {len(self.bodies)} bodies")

    def check(self, ndim: int) -> None:
        for body in self.bodies:
            body.check(ndim)

    def place(self, grid: Grid, half: np.ndarray, dice: Dice) -> Outlines:
        import torch

        chosen = dice.choice(self.weights or (1.0,) * len(self.bodies)).cpu().numpy()
        count, size = len(dice), grid.points.shape[1]
        distance, magnitude = (torch.empty((count, size), dtype=torch.float32, device=grid.device) for _ in range(2))
        frames, labels = np.empty((count, 3, 3)), [{} for _ in range(count)]
        for k, body in enumerate(self.bodies):
            rows = np.flatnonzero(chosen == k)
            if len(rows):
                part = body.place(grid, half[rows], dice.rows(rows.tolist()))
                at = torch.from_numpy(rows).to(grid.device)
                distance[at], magnitude[at], frames[rows] = part.distance, part.magnitude, part.frames
                for row, label in zip(rows, part.labels, strict=True):
                    labels[row] = label
        return Outlines(distance, magnitude, frames, labels)


# Without facets


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
        within(self, "points", 3, 100, whole=True)
        within(self, "window", 0.1, 1)
        within(self, "area", 0, fixed=True)
        within(self, "blur", 0, 10, fixed=True)

    def place(self, grid: Grid, half: np.ndarray, dice: Dice) -> Outlines:
        bodies = [self._facets(h, g) for h, g in zip(half, dice.generators, strict=True)]
        distance = filled(grid, bodies)
        magnitude = (distance <= 0).to(distance.dtype)
        if self.blur:
            magnitude = grid.list(blurred(grid.array(magnitude), self.blur))
            for axis in range(grid.ndim):  # cut at the box, as the published array cuts it
                limit = grid.column(half[:, axis] + 0.5)
                magnitude = magnitude * ((grid.points[axis] >= -limit) & (grid.points[axis] < limit))
        labels = [{"body": "Hull", "normals": _rounded(b.normals), "heights": _rounded(b.heights)} for b in bodies]
        return Outlines(distance, magnitude, np.tile(np.eye(3), (len(dice), 1, 1)), labels)

    def _facets(self, half: np.ndarray, generator: np.random.Generator) -> Facets:
        for _ in range(100):
            window = drawn(self.window, generator)
            n = counted(self.points, generator)
            middle = (generator.random(2) - 0.5) * 2 * (1 - window)
            p = (middle + window * (2 * generator.random((n, 2)) - 1)) * half
            facets, area = _hull_of(p)
            if area >= self.area:
                return facets
        raise InputError(f"{self!r}: no hull of {self.area:g} pixels in 100 tries in a box of {2 * half[0]:.0f} x {2 * half[1]:.0f} pixels")


def _hull_of(points: np.ndarray) -> tuple[Facets, float]:
    """The hull of points (n, 2) and its area (Andrew, Inf. Process. Lett. 9, 1979; for a handful of points quicker than any library)."""
    ordered = sorted(points.tolist())
    ring: list[list[float]] = []
    for run in (ordered, ordered[::-1]):
        first = len(ring)
        for p in run:
            while len(ring) - first > 1 and _left(ring[-2], ring[-1], p) <= 0:
                ring.pop()
            ring.append(p)
        ring.pop()
    to = ring[1:] + ring[:1]
    lengths = [math.hypot(b[0] - a[0], b[1] - a[1]) for a, b in zip(ring, to)]
    double = [a[0] * b[1] - a[1] * b[0] for a, b in zip(ring, to)]
    normals = [((b[1] - a[1]) / s, (a[0] - b[0]) / s) for a, b, s in zip(ring, to, lengths)]
    return Facets(np.array(normals), np.array([v / s for v, s in zip(double, lengths)])), 0.5 * sum(double)


def _left(a: list[float], b: list[float], c: list[float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def blurred(array: Tensor, sigma: float) -> Tensor:
    """(samples, *shape) convolved with a Gaussian, zero beyond the border; weights beyond 4 sigma are left out."""
    reach = max(1, round(4 * sigma))
    weight = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weight /= weight[0] + 2 * weight[1:].sum()
    for axis in range(1, array.ndim):
        n = array.shape[axis]
        total = array * float(weight[0])
        for k in range(1, min(reach, n - 1) + 1):
            low, high = total.narrow(axis, 0, n - k), total.narrow(axis, k, n - k)
            low.add_(array.narrow(axis, k, n - k) * float(weight[k]))
            high.add_(array.narrow(axis, 0, n - k) * float(weight[k]))
        array = total
    return array


@dataclass(frozen=True, repr=False)
class Blob(Body):
    """A smooth, irregular outline: an ellipsoid whose radius wobbles.

    wobble: relative rms of the radius, which follows six waves over the circle or sphere of directions.
    """

    wobble: Setting = 0.1

    def __post_init__(self) -> None:
        within(self, "wobble", 0, 0.3)

    def place(self, grid: Grid, half: np.ndarray, dice: Dice) -> Outlines:
        import torch

        d, waves = grid.ndim, 6
        frames = np.array([turned(g, d) for g in dice.generators])
        axes = np.array([g.uniform(0.7, 1.0, d) for g in dice.generators])
        axes = half * axes / axes.max(1, keepdims=True)
        size = np.array([drawn(self.wobble, g) for g in dice.generators])
        k = np.array([g.uniform(1.5, 4.5, (waves, 1)) * _unit(g.standard_normal((waves, d))) for g in dice.generators])
        start = np.array([g.uniform(0, 2 * np.pi, waves) for g in dice.generators])
        radius = torch.zeros((len(dice), grid.points.shape[1]), device=grid.device)
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
        return Outlines(distance, edge(distance), frames, labels)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def half_extents(shape: tuple[int, ...], oversampling: Setting, dice: Dice) -> np.ndarray:
    """(samples, d) half extents of the object's box, pixels: N / (2 σ), each axis with its own σ; the soft edge pixel lies within."""
    sigma = dice.setting(oversampling, len(shape)).cpu().numpy()
    return np.maximum(np.array(shape) / (2 * sigma) - 0.5, 0.5)


def check_size(shape: tuple[int, ...], oversampling: Setting) -> None:
    """Raise InputError where the array is too small for an object of at least 6 pixels."""
    if len(shape) not in (2, 3):
        raise InputError(f"shape {shape}: expected two or three sizes, such as 64,64 or 64,64,64")
    least = min(shape) / extremes(oversampling)[1]
    if not least >= 6:
        raise InputError(
            f"an array of {' x '.join(map(str, shape))} at an oversampling of up to {extremes(oversampling)[1]:g} leaves {least:.1f} "
            f"pixels for the object; expected 6 at least: take a larger size or a smaller oversampling"
        )
