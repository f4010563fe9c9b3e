"""Samples in the making, and the interface of what happens inside a crystal: a part turns an outline into a complex object, 2D or 3D.

The object is magnitude · exp(−i Q·u) with the displacement field u and the scattering vector Q = 2π g, as the transform from object to
detector is exp(−i q·r) (Robinson and Harder, Nature Mater. 8, 2009, with the sign of that transform). Each part adds its −Q·u to the phase,
or changes the magnitude, and leaves a label. Lengths are pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin import expression
from untwin.simulate.bodies import Outlines
from untwin.simulate.grid import PixelGrid
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor

_REFLECTIONS = np.array([(1, 1, 1), (2, 0, 0), (2, 2, 0)], dtype=float)


@dataclass(eq=False)
class Scene:
    """Samples in the making. phase, magnitude: (samples, P) float32. g: (samples, 3) the reflection in the crystal's axes, in reciprocal
    lattice units, so that g·b is a whole number for a lattice vector b. half: (samples, d) half extents of the box. labels: one dict per
    sample; parts add to its list "defects"."""

    grid: PixelGrid
    outlines: Outlines
    magnitude: Tensor
    phase: Tensor
    g: np.ndarray
    half: np.ndarray
    labels: list[dict]

    @classmethod
    def of(cls, grid: PixelGrid, outlines: Outlines, half: np.ndarray, streams: Streams) -> Scene:
        import torch

        if grid.ndim == 2:
            g = np.tile((0.0, 1.0, 0.0), (len(streams), 1))
        else:
            g = _REFLECTIONS[[int(3 * d.random()) for d in streams.generators]]
        q = np.einsum("sij,sj->si", outlines.frames, g)
        labels = [
            dict(label, frame=f.tolist(), reflection=reflection.tolist(), defects=[])
            for label, f, reflection in zip(outlines.labels, outlines.frames, q, strict=True)
        ]
        return cls(grid, outlines, outlines.magnitude.clone(), torch.zeros_like(outlines.magnitude), g, half, labels)

    def along_q(self) -> np.ndarray:
        """(samples, d) unit vectors along Q in array axes."""
        q = np.einsum("sij,sj->si", self.outlines.frames, self.g)[:, 3 - self.grid.ndim :]
        return q / np.linalg.norm(q, axis=1, keepdims=True)

    def inside(self, generator: np.random.Generator, row: int, depth: float = 3.0) -> np.ndarray:
        """(d,) a random pixel at least `depth` inside the body (or half of its greatest depth)."""
        s = -self.outlines.distance[row, : self.grid.size].cpu().numpy()
        deep = np.flatnonzero(s >= min(depth, 0.5 * s.max())) if s.max() > 0 else np.array([s.argmax()])
        return self.grid.points[:, deep[int(generator.random() * len(deep))]].cpu().numpy().astype(float)

    def rows(self, rows: list[int]) -> Scene:
        """A copy of some of the samples, to look at."""
        o = self.outlines
        outlines = Outlines(o.distance[rows], o.magnitude[rows], o.frames[rows], [])
        return Scene(self.grid, outlines, self.magnitude[rows], self.phase[rows], self.g[rows], self.half[rows], [])


class Part(ABC):
    """One thing that happens inside a crystal."""

    @abstractmethod
    def add(self, scene: Scene, streams: Streams) -> None:
        """Change the scene in place."""

    def __repr__(self) -> str:
        return expression.write(self)
