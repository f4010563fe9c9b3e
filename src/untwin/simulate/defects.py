"""Defects of the lattice: dislocations, faults and twins. Lengths are pixels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin.simulate.scene import Part, Scene
from untwin.simulate.settings import Setting, draw, draw_integer, require_within
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor

_FCC_BURGERS = np.array([v for v in itertools.product((1, 0, -1), repeat=3) if sum(map(abs, v)) == 2]) / 2  # ½<110>
# of a square lattice: in the plane, and along the line
_SQUARE_BURGERS = np.array([(0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0)], dtype=float)
_FCC_111 = np.array(list(itertools.product((1, -1), repeat=3))) / np.sqrt(3)


def dislocation(
    x: Tensor, y: Tensor, edge: float | Tensor, screw: float | Tensor, along: tuple, nu: float | Tensor, core: float | Tensor
) -> Tensor:
    """Q·u of a straight dislocation in an isotropic medium (Hirth and Lothe, Theory of Dislocations, 1982), in units where Q·b = 2π g·b:

        u_x = (b/2π) [atan2(y, x) + x y / (2 (1−ν) r²)]
        u_y = −(b/2π) [(1−2ν)/(4 (1−ν)) ln r² + (x² − y²) / (4 (1−ν) r²)]
        u_z = (b_s/2π) atan2(y, x)

    with r² = x² + y² + core². x, y: pixels in the line's frame, x along the edge component b, z along the line. edge, screw: b and b_s in
    lattice units. along: (g_x, g_y, g_z), the reflection in that frame. Q·u = 2π g·u.
    """
    import torch

    angle = torch.atan2(y, x)
    r2 = x * x + y * y + core * core
    ux = angle + x * y / (2 * (1 - nu) * r2)
    uy = -((1 - 2 * nu) / (4 * (1 - nu)) * r2.log() + (x * x - y * y) / (4 * (1 - nu) * r2))
    return along[0] * edge * ux + along[1] * edge * uy + along[2] * screw * angle


@dataclass(frozen=True, repr=False)
class Dislocations(Part):
    """Straight dislocation lines, screw, edge and mixed, with dim cores: magnitude times 1 − exp(−r²/2c²) where they are visible (g·b ≠ 0).
    Their phase −Q·u winds by −2π g·b, right-handed about the line in the axes of the array; the label
    "winding" is that of the phase, in turns.

    3D: any line direction, Burgers vectors ½<110> of fcc. 2D: lines seen end-on, Burgers vectors of a square lattice or along the line.
    count: lines. visible: probability that a line's Burgers vector is drawn among those with g·b ≠ 0. nu: Poisson's ratio.
    core: c, pixels.
    """

    count: Setting = 2
    visible: float = 0.9
    nu: Setting = 0.35
    core: Setting = 1.0

    def __post_init__(self) -> None:
        require_within(self, "count", 0, 50, integer=True)
        require_within(self, "visible", 0, 1, fixed=True)
        require_within(self, "nu", 0, 0.49)
        require_within(self, "core", 0.1, 20)

    def add(self, scene: Scene, streams: Streams) -> None:
        lines = [self._lines(scene, row, g) for row, g in enumerate(streams.generators)]
        for k in range(max(map(len, lines), default=0)):
            self._insert(scene, [row[k] if k < len(row) else None for row in lines])
        for label, row in zip(scene.labels, lines, strict=True):
            label["defects"] += row

    def _lines(self, scene: Scene, row: int, g: np.random.Generator) -> list[dict]:
        lines, flat = [], scene.grid.ndim == 2
        frame, reflection = scene.outlines.frames[row], scene.g[row]
        lattice = _SQUARE_BURGERS if flat else _FCC_BURGERS
        for _ in range(draw_integer(self.count, g)):
            nu, core = draw(self.nu, g), draw(self.core, g)
            visible = np.abs(lattice @ reflection) > 1e-9
            candidates = lattice[visible] if g.random() < self.visible else lattice[~visible]
            opposite = candidates[int(g.random() * len(candidates))]  # −b: the phase −Q·u of b is Q·u of −b
            line = np.array([1.0, 0, 0]) if flat else _unit(g.standard_normal(3))
            at = scene.inside(g, row) + g.uniform(-0.5, 0.5, scene.grid.ndim)
            lines.append(
                {
                    "kind": "dislocation",
                    "point": at.tolist(),
                    "line": line.tolist(),
                    "burgers": (-(frame @ opposite)).tolist(),
                    "reflection": (frame @ reflection).tolist(),
                    "winding": round(float(reflection @ opposite)),
                    "nu": nu,
                    "core": core,
                }
            )
        return lines

    def _insert(self, scene: Scene, lines: list[dict | None]) -> None:
        grid = scene.grid
        numbers = np.zeros((len(lines), 8))
        across, up, at = (np.zeros((len(lines), 3)) for _ in range(3))
        numbers[:, 5:7] = (0.3, 1.0)
        for row, line in enumerate(lines):
            if line is None:
                continue
            e_z, b, q = (np.array(line[k]) for k in ("line", "burgers", "reflection"))
            screw = -float(b @ e_z)
            edge_vector = -b - screw * e_z
            edge = float(np.linalg.norm(edge_vector))
            e_x = edge_vector / edge if edge > 1e-9 else _unit(np.cross(e_z, (0.0, 0.6, 0.8) if abs(e_z[0]) > 0.5 else (1.0, 0, 0)))
            e_y = np.cross(e_z, e_x)
            across[row], up[row] = e_x, e_y
            at[row, 3 - grid.ndim :] = line["point"]
            numbers[row] = edge, screw, q @ e_x, q @ e_y, q @ e_z, line["nu"], line["core"], line["winding"] != 0
        first = 3 - grid.ndim
        x, y = (grid.along(v[:, first:]) - grid.column((v * at).sum(1)) for v in (across, up))
        edge, screw, gx, gy, gz, nu, core, visible = (grid.column(numbers[:, k]) for k in range(8))
        scene.phase = scene.phase + dislocation(x, y, edge, screw, (gx, gy, gz), nu, core)
        dark = visible * (-(x * x + y * y) / (2 * core * core)).exp()
        scene.magnitude = scene.magnitude * (1 - dark)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _lattice_planes(scene: Scene, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
    """(samples, d) normals of a lattice plane ({111} in 3D, any direction in 2D), and (samples, d) points on it inside the body. In 3D
    only planes n that the reflection sees: a fault moves the lattice by n/3, which shows where g·n is no multiple of 3; a twin about the
    others would share the reflection."""
    d, normals, points = scene.grid.ndim, [], []
    for row, g in enumerate(streams.generators):
        if d == 2:
            a = 2 * np.pi * g.random()
            normals.append(np.array([np.sin(a), np.cos(a)]))
        else:
            visible = _FCC_111[np.round(_FCC_111 @ scene.g[row] * 3**0.5).astype(int) % 3 != 0]
            normals.append(scene.outlines.frames[row] @ visible[int(len(visible) * g.random())])
        points.append(scene.inside(g, row))
    return np.array(normals), np.array(points)


def _distance_from_plane(scene: Scene, normals: np.ndarray, points: np.ndarray) -> Tensor:
    """(samples, P) n·(r − p)."""
    return scene.grid.along(normals) - scene.grid.column((normals * points).sum(1))


@dataclass(frozen=True, repr=False)
class Faults(Part):
    """Planar (stacking) faults: beyond a {111} plane (2D: any plane) the phase jumps by one of ±2π/3.

    count: planes.
    """

    count: Setting = 1

    def __post_init__(self) -> None:
        require_within(self, "count", 0, 50, integer=True)

    def add(self, scene: Scene, streams: Streams) -> None:
        counts = [draw_integer(self.count, g) for g in streams.generators]
        for k in range(max(counts, default=0)):
            rows = [r for r, c in enumerate(counts) if c > k]
            subset, subscene = streams.rows(rows), scene.rows(rows)
            normals, points = _lattice_planes(subscene, subset)
            sign = [1 if g.random() < 0.5 else -1 for g in subset.generators]
            side = (_distance_from_plane(subscene, normals, points) > 0).float()
            jump = side * scene.grid.column(np.array(sign) * 2 * np.pi / 3)
            scene.phase[rows] = scene.phase[rows] + jump
            for row, n, p, s in zip(rows, normals, points, sign, strict=True):
                scene.labels[row]["defects"].append({"kind": "fault", "normal": n.tolist(), "point": p.tolist(), "jump": s * 2 * np.pi / 3})


@dataclass(frozen=True, repr=False)
class Twin(Part):
    """A growth twin: one side of a {111} plane (2D: any plane) does not meet the Bragg condition and is dark.

    probability: of one. share: of the body, at most, that goes dark.
    """

    probability: float = 0.2
    share: float = 0.4

    def __post_init__(self) -> None:
        require_within(self, "probability", 0, 1, fixed=True)
        require_within(self, "share", 0, 0.9, fixed=True)

    def add(self, scene: Scene, streams: Streams) -> None:
        rows = [r for r, g in enumerate(streams.generators) if g.random() < self.probability]
        if not rows:
            return
        subscene = scene.rows(rows)
        normals, points = _lattice_planes(subscene, streams.rows(rows))
        distance = _distance_from_plane(subscene, normals, points)
        for k, row in enumerate(rows):
            body = subscene.magnitude[k].double()
            dark = float((body * (distance[k] > 0)).sum() / body.sum().clamp(min=1e-30))
            side = -1 if dark > 0.5 else 1
            beyond = side * distance[k]
            if min(dark, 1 - dark) > self.share:  # the plane is moved outwards until no more than `share` lies beyond it
                inside = beyond[subscene.outlines.distance[k] < 0].sort().values
                outwards = float(inside[int((1 - self.share) * (len(inside) - 1))])
                points[k] += side * outwards * normals[k]
                beyond = beyond - outwards
            scene.magnitude[row] = scene.magnitude[row] * (0.5 - beyond).clamp(0, 1)
            scene.labels[row]["defects"].append({"kind": "twin", "normal": (side * normals[k]).tolist(), "point": points[k].tolist()})
