"""Domains: cells inside a crystal, of one phase each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from untwin.errors import InputError
from untwin.simulate.scene import Part, Scene
from untwin.simulate.settings import Setting, draw_integer, require_within
from untwin.simulate.streams import Streams


@dataclass(frozen=True, repr=False)
class Domains(Part):
    """Voronoi cells, each of its own phase; that of the cell in the middle is 0, and neighbours differ by `apart` (where a cell has so
    many neighbours that this is impossible, by as much as twenty tries allow). Inversion twins are 0 or one other phase at random.

    count: cells. values: 0 draws phases from (−π, π); 2 makes inversion twins, of phase 0 and one other.
    apart: rad, on the circle.
    """

    count: Setting = 8
    values: int = 0
    apart: float = 0.5

    def __post_init__(self) -> None:
        require_within(self, "count", 1, 200, integer=True)
        require_within(self, "apart", 0, 1.5, fixed=True)
        if self.values not in (0, 2):
            raise InputError(f"Domains(values={self.values!r}): expected 0 (any phase) or 2 (inversion twins)")

    def add(self, scene: Scene, streams: Streams) -> None:
        import torch

        grid, cells = scene.grid, []
        for row, g in enumerate(streams.generators):
            seeds = np.array([scene.inside(g, row, 0.0) + g.uniform(-0.5, 0.5, grid.ndim) for _ in range(draw_integer(self.count, g))])
            cells.append((seeds, self._phases(seeds, g)))
        nearest = torch.full_like(scene.phase, float("inf"))
        phase = torch.zeros_like(scene.phase)
        for k in range(max(len(c[0]) for c in cells)):
            seed = np.array([c[0][k] if k < len(c[0]) else np.full(grid.ndim, 1e6) for c in cells])
            value = grid.column([c[1][k] if k < len(c[0]) else 0.0 for c in cells])
            square = torch.zeros_like(nearest)
            for a in range(grid.ndim):
                square = square + (grid.points[a] - grid.column(seed[:, a])).square()
            closer = square < nearest
            nearest = torch.where(closer, square, nearest)
            phase = torch.where(closer, value, phase)
        scene.phase = scene.phase + phase
        for label, (seeds, phases) in zip(scene.labels, cells, strict=True):
            label["defects"].append({"kind": "domains", "seeds": seeds.tolist(), "phases": phases.tolist()})

    def _phases(self, seeds: np.ndarray, g: np.random.Generator) -> np.ndarray:
        middle = int((seeds**2).sum(1).argmin())
        if self.values == 2:
            phases = np.where(g.random(len(seeds)) < 0.5, 0.0, g.uniform(self.apart, 2 * np.pi - self.apart))
        else:
            neighbours, phases, widest = _neighbours(seeds), np.zeros(len(seeds)), -1.0
            for _ in range(20):
                trial, least = self._spaced_phases(neighbours, middle, g)
                if least > widest:
                    phases, widest = trial, least
                if widest >= self.apart:
                    break
        phases[middle] = 0.0
        return phases

    def _spaced_phases(self, neighbours: list[set[int]], middle: int, g: np.random.Generator) -> tuple[np.ndarray, float]:
        """Phases, and the smallest difference of two neighbours, at most `apart`. Cells take theirs in turn, the crowded ones first, from
        what their neighbours leave free of the circle."""
        phases, least = np.full(len(neighbours), np.nan), self.apart
        phases[middle] = 0.0
        for k in sorted(range(len(neighbours)), key=lambda k: -len(neighbours[k])):
            if k == middle:
                continue
            occupied = phases[sorted(neighbours[k])]
            occupied = np.sort(occupied[~np.isnan(occupied)] % (2 * np.pi))
            if not len(occupied):
                phases[k] = g.uniform(-np.pi, np.pi)
                continue
            arcs = np.diff(np.append(occupied, occupied[0] + 2 * np.pi))
            free = (arcs - 2 * self.apart).clip(0)
            if free.sum() > 0:
                at = g.random() * free.sum()
                arc = int(np.searchsorted(np.cumsum(free), at, side="right").clip(max=len(free) - 1))
                at = occupied[arc] + self.apart + at - free[:arc].sum()
            else:
                arc = int(arcs.argmax())
                at, least = occupied[arc] + arcs[arc] / 2, min(least, arcs[arc] / 2)
            phases[k] = (at + np.pi) % (2 * np.pi) - np.pi
        return phases, least


def _neighbours(seeds: np.ndarray) -> list[set[int]]:
    """Which Voronoi cells touch (Delaunay); all of them where they are too few for that."""
    n, d = seeds.shape
    if n < d + 2:
        return [set(range(n)) - {k} for k in range(n)]
    from scipy.spatial import Delaunay, QhullError

    try:
        simplices = Delaunay(seeds).simplices
    except QhullError:  # all on a line
        return [set(range(n)) - {k} for k in range(n)]
    neighbours: list[set[int]] = [set() for _ in range(n)]
    for simplex in simplices.tolist():
        for a, b in itertools.permutations(simplex, 2):
            neighbours[a].add(b)
    return neighbours
