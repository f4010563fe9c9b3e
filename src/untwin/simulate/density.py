"""Density that varies: parts that change the magnitude."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.simulate.fields import gaussian_field, standardised
from untwin.simulate.scene import Part, Scene
from untwin.simulate.settings import Setting, draw, draw_integer, require_within
from untwin.simulate.streams import Streams


@dataclass(frozen=True, repr=False)
class Texture(Part):
    """A magnitude that varies: times 1 − contrast · (½ − ½ tanh of a Gaussian random field).

    contrast: 0 to 1; 1 reaches down to darkness. power: of the field's spectrum.
    """

    contrast: Setting = 0.6
    power: Setting = 3.0

    def __post_init__(self) -> None:
        require_within(self, "contrast", 0, 1)
        require_within(self, "power", 0, 10)

    def add(self, scene: Scene, streams: Streams) -> None:
        contrast = [draw(self.contrast, g) for g in streams.generators]
        power = np.array([draw(self.power, g) for g in streams.generators])
        field = standardised(gaussian_field(scene.grid, power, streams), scene.outlines.magnitude)
        scene.magnitude = scene.magnitude * (1 - scene.grid.column(contrast) * (0.5 - 0.5 * field.tanh()))
        for label, c in zip(scene.labels, contrast, strict=True):
            label["texture"] = {"contrast": c}


@dataclass(frozen=True, repr=False)
class Organelles(Part):
    """A cell's inside: one dense nucleus and smaller grains on a paler ground, all ellipsoids, real and nonnegative.

    grains: how many. ground: magnitude between them, relative to the densest.
    """

    grains: Setting = 8
    ground: Setting = 0.35

    def __post_init__(self) -> None:
        require_within(self, "grains", 0, 200, integer=True)
        require_within(self, "ground", 0, 1)

    def add(self, scene: Scene, streams: Streams) -> None:
        import torch

        grid, d = scene.grid, scene.grid.ndim
        depth = (-scene.outlines.distance[:, : grid.size].amin(1)).cpu().numpy()
        cells = [self._ellipsoids(scene, row, g, float(depth[row])) for row, g in enumerate(streams.generators)]
        ground = [draw(self.ground, g) for g in streams.generators]
        dense = torch.zeros_like(scene.magnitude) + grid.column(ground)
        for k in range(max(map(len, cells))):
            ellipsoids = [c[k] if k < len(c) else (np.full(d, 1e4), np.ones(d), 0.0) for c in cells]
            at, axes, weight = (np.array([e[j] for e in ellipsoids]) for j in range(3))
            square = torch.zeros_like(dense)
            for a in range(d):
                square = square + ((grid.points[a] - grid.column(at[:, a])) / grid.column(axes[:, a])).square()
            fall = ((1 - square.sqrt()) * grid.column(axes.min(1)) + 0.5).clamp(0, 1)
            dense = dense + grid.column(weight) * fall
        scene.magnitude = scene.magnitude * dense
        for label, c, base in zip(scene.labels, cells, ground, strict=True):
            label["organelles"] = {"grains": len(c) - 1, "ground": base}

    def _ellipsoids(self, scene: Scene, row: int, g: np.random.Generator, depth: float) -> list[tuple[np.ndarray, np.ndarray, float]]:
        d = scene.grid.ndim
        ellipsoids = [(scene.inside(g, row, 0.6 * depth), depth * g.uniform(0.35, 0.6, d), g.uniform(0.3, 0.65))]
        for _ in range(draw_integer(self.grains, g)):
            ellipsoids.append((scene.inside(g, row, 1.0), np.maximum(1.0, depth * g.uniform(0.06, 0.2, d)), g.uniform(0.1, 0.5)))
        return ellipsoids
