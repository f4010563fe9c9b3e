"""Bodies made of bodies: notched, joined, or one of several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.errors import InputError
from untwin.simulate.bodies import Body, Faceted, Outlines, coverage
from untwin.simulate.facets import unit_vectors
from untwin.simulate.grid import PixelGrid, ShiftedGrid
from untwin.simulate.settings import Setting, draw, require_within
from untwin.simulate.streams import Streams


@dataclass(frozen=True, repr=False)
class Notched(Body):
    """A body without a part of itself: a copy of its kind, smaller, at the surface, is taken out. Not convex; some
    fall into two pieces.

    body: any body of half spaces. size: of the notch, as a share of the body.
    """

    body: Body
    size: Setting = 0.5

    def __post_init__(self) -> None:
        _require_faceted(self, self.body)
        require_within(self, "size", 0.1, 0.9)

    def check(self, ndim: int) -> None:
        self.body.check(ndim)

    def place(self, grid: PixelGrid, half: np.ndarray, streams: Streams) -> Outlines:
        import torch

        body = self.body.place(grid, half, streams)
        size = np.array([[draw(self.size, g)] for g in streams.generators])
        away = np.array([unit_vectors(g.standard_normal(grid.ndim)) for g in streams.generators])
        notch = self.body.place(ShiftedGrid(grid, 0.75 * half * away), half * size, streams)
        distance = torch.maximum(body.distance, -notch.distance)
        labels = [b | {"body": "Notched" + b["body"], "notch": n} for b, n in zip(body.labels, notch.labels, strict=True)]
        return Outlines(distance, coverage(distance), body.frames, labels)


@dataclass(frozen=True, repr=False)
class Joined(Body):
    """Two bodies of one kind in opposite corners of the box, overlapping where they are large enough. Not convex.

    body: any body of half spaces. size: of each, as a share of the box; above 0.55 they mostly touch.
    """

    body: Body
    size: Setting = 0.65

    def __post_init__(self) -> None:
        _require_faceted(self, self.body)
        require_within(self, "size", 0.2, 0.9)

    def check(self, ndim: int) -> None:
        self.body.check(ndim)

    def place(self, grid: PixelGrid, half: np.ndarray, streams: Streams) -> Outlines:
        import torch

        size = np.array([[draw(self.size, g)] for g in streams.generators])
        away = np.array([_direction(g, grid.ndim) for g in streams.generators]) * half * (1 - size)
        first = self.body.place(ShiftedGrid(grid, away), half * size, streams)
        second = self.body.place(ShiftedGrid(grid, -away), half * size, streams)
        distance = torch.minimum(first.distance, second.distance)
        labels = [a | {"body": "Joined" + a["body"], "second": b} for a, b in zip(first.labels, second.labels, strict=True)]
        return Outlines(distance, coverage(distance), first.frames, labels)


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

    def place(self, grid: PixelGrid, half: np.ndarray, streams: Streams) -> Outlines:
        import torch

        body_index = streams.choice(self.weights or (1.0,) * len(self.bodies)).cpu().numpy()
        count, size = len(streams), grid.points.shape[1]
        distance, magnitude = (torch.empty((count, size), dtype=torch.float32, device=grid.device) for _ in range(2))
        frames, labels = np.empty((count, 3, 3)), [{} for _ in range(count)]
        for k, body in enumerate(self.bodies):
            rows = np.flatnonzero(body_index == k)
            if len(rows):
                part = body.place(grid, half[rows], streams.rows(rows.tolist()))
                at = torch.from_numpy(rows).to(grid.device)
                distance[at], magnitude[at], frames[rows] = part.distance, part.magnitude, part.frames
                for row, label in zip(rows, part.labels, strict=True):
                    labels[row] = label
        return Outlines(distance, magnitude, frames, labels)


def _require_faceted(owner: Body, body: object) -> None:
    if not isinstance(body, Faceted):
        raise InputError(f"{type(owner).__name__}({body!r}): expected a body of half spaces: Polygon(), Polyhedron() or Wulff()")


def _direction(generator: np.random.Generator, ndim: int) -> np.ndarray:
    """A random direction, its largest component 1: a point on the surface of the box."""
    v = generator.standard_normal(ndim)
    return v / np.abs(v).max()
