"""What happens inside a crystal: parts that turn an outline into a complex object, 2D and 3D.

The object is magnitude · exp(i Q·u) with the displacement field u and the scattering vector Q = 2π g (Robinson and Harder, Nature Mater. 8,
2009). Each part adds its Q·u to the phase, or changes the magnitude, and leaves a label. Lengths are pixels.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin import expression
from untwin.errors import InputError
from untwin.simulate.bodies import Grid, Outlines
from untwin.simulate.dice import Dice, Setting, counted, drawn, within

if TYPE_CHECKING:
    from torch import Tensor

_FCC = np.array([v for v in itertools.product((1, 0, -1), repeat=3) if sum(map(abs, v)) == 2]) / 2  # ½<110>
_SQUARE = np.array([(0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0)], dtype=float)  # in the plane, and along the line
_PLANES = np.array(list(itertools.product((1, -1), repeat=3))) / np.sqrt(3)
_REFLECTIONS = np.array([(1, 1, 1), (2, 0, 0), (2, 2, 0)], dtype=float)


@dataclass(eq=False)
class Scene:
    """Samples in the making. phase, magnitude: (samples, P) float32. g: (samples, 3) the reflection in the crystal's axes, in reciprocal
    lattice units, so that g·b is a whole number for a lattice vector b. half: (samples, d) half extents of the box. labels: one dict per
    sample; parts add to its list "defects"."""

    grid: Grid
    outlines: Outlines
    magnitude: Tensor
    phase: Tensor
    g: np.ndarray
    half: np.ndarray
    labels: list[dict]

    @classmethod
    def of(cls, grid: Grid, outlines: Outlines, half: np.ndarray, dice: Dice) -> Scene:
        import torch

        if grid.ndim == 2:
            g = np.tile((0.0, 1.0, 0.0), (len(dice), 1))
        else:
            g = _REFLECTIONS[[int(3 * d.random()) for d in dice.generators]]
        q = np.einsum("sij,sj->si", outlines.frames, g)
        labels = [
            dict(label, frame=f.tolist(), reflection=one.tolist(), defects=[])
            for label, f, one in zip(outlines.labels, outlines.frames, q, strict=True)
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


class Part(ABC):
    """One thing that happens inside a crystal."""

    @abstractmethod
    def add(self, scene: Scene, dice: Dice) -> None:
        """Change the scene in place."""

    def __repr__(self) -> str:
        return expression.write(self)


# Smooth strain


def gaussian_field(grid: Grid, power: np.ndarray, dice: Dice) -> Tensor:
    """(samples, P) Gaussian random fields, periodic, of spectral density |k|^−power, mean 0; any scale."""
    import torch
    from scipy import fft

    noise = dice.normal(*grid.shape).cpu().numpy()
    k2 = sum(
        (np.fft.fftfreq(n) if a < grid.ndim - 1 else np.fft.rfftfreq(n)).reshape([-1 if b == a else 1 for b in range(grid.ndim)]) ** 2
        for a, n in enumerate(grid.shape)
    )
    k2 = np.asarray(k2)
    k2.flat[0] = np.inf
    fields = []
    for one, p in zip(noise, power, strict=True):  # one at a time: the same bits in every batch
        fields.append(fft.irfftn(fft.rfftn(one) * (k2 ** (-p / 4)).astype(np.float32), s=grid.shape))
    return grid.list(torch.from_numpy(np.stack(fields)).to(grid.device))


@dataclass(frozen=True, repr=False)
class Waves(Part):
    """Smooth strain: a Gaussian random field of spectral density |k|^−power.

    rms: of the phase inside the body, rad. power: 2 to 8; larger is smoother.
    """

    rms: Setting = 1.0
    power: Setting = 4.0

    def __post_init__(self) -> None:
        within(self, "rms", 0, 100)
        within(self, "power", 0, 10)

    def add(self, scene: Scene, dice: Dice) -> None:
        rms = [drawn(self.rms, g) for g in dice.generators]
        power = np.array([drawn(self.power, g) for g in dice.generators])
        field = centred(gaussian_field(scene.grid, power, dice), scene.outlines.magnitude)
        scene.phase = scene.phase + field * scene.grid.column(rms)
        for label, r, p in zip(scene.labels, rms, power, strict=True):
            label["waves"] = {"rms": r, "power": float(p)}


def centred(field: Tensor, weight: Tensor) -> Tensor:
    """The field with mean 0 and rms 1 over the weight, each sample for itself."""
    import torch

    rows = []
    for f, w in zip(field, weight, strict=True):  # one sum at a time, in float64: the same bits in every batch
        w = w.double()
        total = w.sum().clamp(min=1e-30)
        f = f.double()
        f = f - (f * w).sum() / total
        rows.append((f / ((f.square() * w).sum() / total).sqrt().clamp(min=1e-30)).float())
    return torch.stack(rows)


@dataclass(frozen=True, repr=False)
class Relaxation(Part):
    """Surface relaxation: atoms near the surface move along its normal n, u = ε n exp(s/λ) with the distance s < 0 to the surface.

    amount: largest Q·u, rad, of either sign. depth: λ, pixels.
    """

    amount: Setting = 0.5
    depth: Setting = 3.0

    def __post_init__(self) -> None:
        within(self, "amount", 0, 100)
        within(self, "depth", 0.3, 1000)

    def add(self, scene: Scene, dice: Dice) -> None:
        import torch

        grid, d = scene.grid, scene.grid.ndim
        amount = [drawn(self.amount, g) * (1 if g.random() < 0.5 else -1) for g in dice.generators]
        depth = [drawn(self.depth, g) for g in dice.generators]
        s = grid.array(scene.outlines.distance)
        q = scene.along_q()
        toward = torch.zeros_like(scene.phase)
        length = torch.zeros_like(scene.phase)
        for a in range(d):
            slope = grid.list((s.roll(-1, a + 1) - s.roll(1, a + 1)) / 2)
            toward = toward + slope * grid.column(q[:, a])
            length = length + slope.square()
        fade = (scene.outlines.distance.clamp(max=0) / grid.column(depth)).exp()
        scene.phase = scene.phase + grid.column(amount) * fade * toward / length.sqrt().clamp(min=1e-6)
        for label, a, t in zip(scene.labels, amount, depth, strict=True):
            label["relaxation"] = {"amount": a, "depth": t}


@dataclass(frozen=True, repr=False)
class Bend(Part):
    """A bent or sheared crystal: Q·u = a (n·r/L)(m·r/L) with random directions n, m and L half of the longest array axis.

    amount: a, rad, of either sign.
    """

    amount: Setting = 2.0

    def __post_init__(self) -> None:
        within(self, "amount", 0, 1000)

    def add(self, scene: Scene, dice: Dice) -> None:
        grid, scale = scene.grid, max(scene.grid.shape) / 2
        amount = [drawn(self.amount, g) * (1 if g.random() < 0.5 else -1) for g in dice.generators]
        vectors = [g.standard_normal((2, grid.ndim)) for g in dice.generators]
        n, m = (np.array([v[k] / np.linalg.norm(v[k]) / scale for v in vectors]) for k in range(2))
        scene.phase = scene.phase + grid.column(amount) * grid.along(n) * grid.along(m)
        for label, a in zip(scene.labels, amount, strict=True):
            label["bend"] = {"amount": a}


@dataclass(frozen=True, repr=False)
class Tilt(Part):
    """A tilt of the phase, as when the Bragg peak is not quite in the middle of the array.

    pixels: shift of the peak along each axis, drawn between minus and plus this many.
    """

    pixels: float = 0.5

    def __post_init__(self) -> None:
        within(self, "pixels", 0, 100, fixed=True)

    def add(self, scene: Scene, dice: Dice) -> None:
        shift = np.array([g.uniform(-self.pixels, self.pixels, scene.grid.ndim) for g in dice.generators])
        scene.phase = scene.phase + scene.grid.along(2 * np.pi * shift / np.array(scene.grid.shape))
        for label, s in zip(scene.labels, shift, strict=True):
            label["tilt"] = s.tolist()


@dataclass(frozen=True, repr=False)
class Gratings(Part):
    """The phase of CDI NN (Cherukara, Nashed and Harder, Sci. Rep. 8, 2018): sine gratings plus Gaussians, hard zero outside the outline.

    gratings, gaussians: how many. period, sigma: pixels. span: peak to peak inside, rad; the phase lies in [−span/2, span/2].
    """

    gratings: Setting = 2
    gaussians: Setting = 2
    period: Setting = 24.0
    sigma: Setting = 6.0
    span: Setting = 6.283185307179586

    def __post_init__(self) -> None:
        within(self, "gratings", 0, 20, whole=True)
        within(self, "gaussians", 0, 20, whole=True)
        within(self, "period", 2)
        within(self, "sigma", 0.5)
        within(self, "span", 0, 2 * np.pi)

    def add(self, scene: Scene, dice: Dice) -> None:
        import torch

        grid, d, count = scene.grid, scene.grid.ndim, len(dice)
        waves = [self._terms(g, h, d) for g, h in zip(dice.generators, scene.half, strict=True)]
        field = torch.zeros_like(scene.phase)
        for k in range(max((len(w[0]) for w in waves), default=0)):
            here = [w[0][k] if k < len(w[0]) else (0.0, np.zeros(d), 0.0) for w in waves]
            weight, vector, start = (np.array([h[j] for h in here]) for j in range(3))
            field = field + grid.column(weight) * (grid.along(vector) + grid.column(start)).sin()
        for k in range(max((len(w[1]) for w in waves), default=0)):
            here = [w[1][k] if k < len(w[1]) else (0.0, np.zeros(d), 1.0) for w in waves]
            weight, at, sigma = (np.array([h[j] for h in here]) for j in range(3))
            square = torch.zeros_like(field)
            for a in range(d):
                square = square + (grid.points[a] - grid.column(at[:, a])).square()
            field = field + grid.column(weight) * (-square / grid.column(2 * sigma**2)).exp()
        inside = scene.outlines.distance <= 0
        low = field.masked_fill(~inside, float("inf")).amin(1, keepdim=True)
        high = field.masked_fill(~inside, float("-inf")).amax(1, keepdim=True)
        span = [drawn(self.span, g) * (len(w[0]) + len(w[1]) > 0) for g, w in zip(dice.generators, waves, strict=True)]
        level = (field - low) / (high - low).clamp(min=1e-6) - 0.5
        phase = level * grid.column(span)
        scene.phase = scene.phase + phase.where(inside & (high > low), phase.new_zeros(()))
        for row in range(count):
            scene.labels[row]["gratings"] = {"gratings": len(waves[row][0]), "gaussians": len(waves[row][1]), "span": span[row]}

    def _terms(self, g: np.random.Generator, half: np.ndarray, d: int) -> tuple[list, list]:
        first, second = [], []
        for _ in range(counted(self.gratings, g)):
            v = g.standard_normal(d)
            first.append((0.2 + 0.8 * g.random(), v * (2 * np.pi / np.sqrt(v @ v) / drawn(self.period, g)), 2 * np.pi * g.random()))
        for _ in range(counted(self.gaussians, g)):
            second.append((2 * g.random() - 1, (1.6 * g.random(d) - 0.8) * half, drawn(self.sigma, g)))
        return first, second


# Defects


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

    3D: any line direction, Burgers vectors ½<110> of fcc. 2D: lines seen end-on, Burgers vectors of a square lattice or along the line.
    count: lines. visible: probability that a line's Burgers vector is drawn among those with g·b ≠ 0. nu: Poisson's ratio.
    core: c, pixels.
    """

    count: Setting = 2
    visible: float = 0.9
    nu: Setting = 0.35
    core: Setting = 1.0

    def __post_init__(self) -> None:
        within(self, "count", 0, 50, whole=True)
        within(self, "visible", 0, 1, fixed=True)
        within(self, "nu", 0, 0.49)
        within(self, "core", 0.1, 20)

    def add(self, scene: Scene, dice: Dice) -> None:
        lines = [self._lines(scene, row, g) for row, g in enumerate(dice.generators)]
        for k in range(max(map(len, lines), default=0)):
            self._insert(scene, [row[k] if k < len(row) else None for row in lines])
        for label, row in zip(scene.labels, lines, strict=True):
            label["defects"] += row

    def _lines(self, scene: Scene, row: int, g: np.random.Generator) -> list[dict]:
        found, flat = [], scene.grid.ndim == 2
        frame, reflection = scene.outlines.frames[row], scene.g[row]
        lattice = _SQUARE if flat else _FCC
        for _ in range(counted(self.count, g)):
            nu, core = drawn(self.nu, g), drawn(self.core, g)
            seen = np.abs(lattice @ reflection) > 1e-9
            wanted = lattice[seen] if g.random() < self.visible else lattice[~seen]
            b = wanted[int(g.random() * len(wanted))]
            line = np.array([1.0, 0, 0]) if flat else _normal(g.standard_normal(3))
            at = scene.inside(g, row) + g.uniform(-0.5, 0.5, scene.grid.ndim)
            found.append(
                {
                    "kind": "dislocation",
                    "point": at.tolist(),
                    "line": line.tolist(),
                    "burgers": (frame @ b).tolist(),
                    "reflection": (frame @ reflection).tolist(),
                    "winding": round(float(reflection @ b)),
                    "nu": nu,
                    "core": core,
                }
            )
        return found

    def _insert(self, scene: Scene, lines: list[dict | None]) -> None:
        grid = scene.grid
        numbers = np.zeros((len(lines), 8))
        across, up, at = (np.zeros((len(lines), 3)) for _ in range(3))
        numbers[:, 5:7] = (0.3, 1.0)
        for row, line in enumerate(lines):
            if line is None:
                continue
            e_z, b, q = (np.array(line[k]) for k in ("line", "burgers", "reflection"))
            screw = float(b @ e_z)
            rest = b - screw * e_z
            edge = float(np.linalg.norm(rest))
            e_x = rest / edge if edge > 1e-9 else _normal(np.cross(e_z, (0.0, 0.6, 0.8) if abs(e_z[0]) > 0.5 else (1.0, 0, 0)))
            e_y = np.cross(e_z, e_x)
            across[row], up[row] = e_x, e_y
            at[row, 3 - grid.ndim :] = line["point"]
            numbers[row] = edge, screw, q @ e_x, q @ e_y, q @ e_z, line["nu"], line["core"], line["winding"] != 0
        first = 3 - grid.ndim
        x, y = (grid.along(v[:, first:]) - grid.column((v * at).sum(1)) for v in (across, up))
        edge, screw, gx, gy, gz, nu, core, seen = (grid.column(numbers[:, k]) for k in range(8))
        scene.phase = scene.phase + dislocation(x, y, edge, screw, (gx, gy, gz), nu, core)
        dark = seen * (-(x * x + y * y) / (2 * core * core)).exp()
        scene.magnitude = scene.magnitude * (1 - dark)


def _normal(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _planes(scene: Scene, dice: Dice) -> tuple[np.ndarray, np.ndarray]:
    """(samples, d) normals of a lattice plane ({111} in 3D, any direction in 2D), and (samples, d) points on it inside the body. In 3D
    only planes n that the reflection sees: a fault moves the lattice by n/3, which shows where g·n is no multiple of 3; a twin about the
    others would share the reflection."""
    d, normals, points = scene.grid.ndim, [], []
    for row, g in enumerate(dice.generators):
        if d == 2:
            a = 2 * np.pi * g.random()
            normals.append(np.array([np.sin(a), np.cos(a)]))
        else:
            seen = _PLANES[np.round(_PLANES @ scene.g[row] * 3**0.5).astype(int) % 3 != 0]
            normals.append(scene.outlines.frames[row] @ seen[int(len(seen) * g.random())])
        points.append(scene.inside(g, row))
    return np.array(normals), np.array(points)


@dataclass(frozen=True, repr=False)
class Faults(Part):
    """Planar (stacking) faults: beyond a {111} plane (2D: any plane) the phase jumps by one of ±2π/3.

    count: planes.
    """

    count: Setting = 1

    def __post_init__(self) -> None:
        within(self, "count", 0, 50, whole=True)

    def add(self, scene: Scene, dice: Dice) -> None:
        counts = [counted(self.count, g) for g in dice.generators]
        for k in range(max(counts, default=0)):
            rows = [r for r, c in enumerate(counts) if c > k]
            some = dice.rows(rows)
            part = _rows(scene, rows)
            normals, points = _planes(part, some)
            sign = [1 if g.random() < 0.5 else -1 for g in some.generators]
            side = (scene_along(part, normals, points) > 0).float()
            jump = side * scene.grid.column(np.array(sign) * 2 * np.pi / 3)
            scene.phase[rows] = scene.phase[rows] + jump
            for row, n, p, s in zip(rows, normals, points, sign, strict=True):
                scene.labels[row]["defects"].append({"kind": "fault", "normal": n.tolist(), "point": p.tolist(), "jump": s * 2 * np.pi / 3})


def scene_along(scene: Scene, normals: np.ndarray, points: np.ndarray) -> Tensor:
    """(samples, P) n·(r − p)."""
    return scene.grid.along(normals) - scene.grid.column((normals * points).sum(1))


def _rows(scene: Scene, rows: list[int]) -> Scene:
    """Some of the samples, to look at."""
    o = scene.outlines
    some = Outlines(o.distance[rows], o.magnitude[rows], o.frames[rows], [])
    return Scene(scene.grid, some, scene.magnitude[rows], scene.phase[rows], scene.g[rows], scene.half[rows], [])


@dataclass(frozen=True, repr=False)
class Twin(Part):
    """A growth twin: one side of a {111} plane (2D: any plane) does not meet the Bragg condition and is dark.

    probability: of one. share: of the body, at most, that goes dark.
    """

    probability: float = 0.2
    share: float = 0.4

    def __post_init__(self) -> None:
        within(self, "probability", 0, 1, fixed=True)
        within(self, "share", 0, 0.9, fixed=True)

    def add(self, scene: Scene, dice: Dice) -> None:
        rows = [r for r, g in enumerate(dice.generators) if g.random() < self.probability]
        if not rows:
            return
        some, part = dice.rows(rows), _rows(scene, rows)
        normals, points = _planes(part, some)
        at = scene_along(part, normals, points)
        for k, row in enumerate(rows):
            body = part.magnitude[k].double()
            dark = float((body * (at[k] > 0)).sum() / body.sum().clamp(min=1e-30))
            side = -1 if dark > 0.5 else 1
            beyond = side * at[k]
            if min(dark, 1 - dark) > self.share:  # the plane is moved outwards until no more than `share` lies beyond it
                inside = beyond[part.outlines.distance[k] < 0].sort().values
                outwards = float(inside[int((1 - self.share) * (len(inside) - 1))])
                points[k] += side * outwards * normals[k]
                beyond = beyond - outwards
            scene.magnitude[row] = scene.magnitude[row] * (0.5 - beyond).clamp(0, 1)
            scene.labels[row]["defects"].append({"kind": "twin", "normal": (side * normals[k]).tolist(), "point": points[k].tolist()})


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
        within(self, "count", 1, 200, whole=True)
        within(self, "apart", 0, 1.5, fixed=True)
        if self.values not in (0, 2):
            raise InputError(f"Domains(values={self.values!r}): expected 0 (any phase) or 2 (inversion twins)")

    def add(self, scene: Scene, dice: Dice) -> None:
        import torch

        grid, cells = scene.grid, []
        for row, g in enumerate(dice.generators):
            seeds = np.array([scene.inside(g, row, 0.0) + g.uniform(-0.5, 0.5, grid.ndim) for _ in range(counted(self.count, g))])
            cells.append((seeds, self._phases(seeds, g)))
        nearest = torch.full_like(scene.phase, float("inf"))
        phase = torch.zeros_like(scene.phase)
        for k in range(max(len(c[0]) for c in cells)):
            here = np.array([c[0][k] if k < len(c[0]) else np.full(grid.ndim, 1e6) for c in cells])
            value = grid.column([c[1][k] if k < len(c[0]) else 0.0 for c in cells])
            square = torch.zeros_like(nearest)
            for a in range(grid.ndim):
                square = square + (grid.points[a] - grid.column(here[:, a])).square()
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
            beside, phases, widest = _neighbours(seeds), np.zeros(len(seeds)), -1.0
            for _ in range(20):
                trial, least = self._apart(beside, middle, g)
                if least > widest:
                    phases, widest = trial, least
                if widest >= self.apart:
                    break
        phases[middle] = 0.0
        return phases

    def _apart(self, beside: list[set[int]], middle: int, g: np.random.Generator) -> tuple[np.ndarray, float]:
        """Phases, and the smallest difference of two neighbours, at most `apart`. Cells take theirs in turn, the crowded ones first, from
        what their neighbours leave free of the circle."""
        phases, least = np.full(len(beside), np.nan), self.apart
        phases[middle] = 0.0
        for k in sorted(range(len(beside)), key=lambda k: -len(beside[k])):
            if k == middle:
                continue
            taken = phases[sorted(beside[k])]
            taken = np.sort(taken[~np.isnan(taken)] % (2 * np.pi))
            if not len(taken):
                phases[k] = g.uniform(-np.pi, np.pi)
                continue
            arcs = np.diff(np.append(taken, taken[0] + 2 * np.pi))
            free = (arcs - 2 * self.apart).clip(0)
            if free.sum() > 0:
                at = g.random() * free.sum()
                arc = int(np.searchsorted(np.cumsum(free), at, side="right").clip(max=len(free) - 1))
                at = taken[arc] + self.apart + at - free[:arc].sum()
            else:
                arc = int(arcs.argmax())
                at, least = taken[arc] + arcs[arc] / 2, min(least, arcs[arc] / 2)
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
    beside: list[set[int]] = [set() for _ in range(n)]
    for simplex in simplices.tolist():
        for a, b in itertools.permutations(simplex, 2):
            beside[a].add(b)
    return beside


# Magnitudes


@dataclass(frozen=True, repr=False)
class Texture(Part):
    """A magnitude that varies: times 1 − contrast · (½ − ½ tanh of a Gaussian random field).

    contrast: 0 to 1; 1 reaches down to darkness. power: of the field's spectrum.
    """

    contrast: Setting = 0.6
    power: Setting = 3.0

    def __post_init__(self) -> None:
        within(self, "contrast", 0, 1)
        within(self, "power", 0, 10)

    def add(self, scene: Scene, dice: Dice) -> None:
        contrast = [drawn(self.contrast, g) for g in dice.generators]
        power = np.array([drawn(self.power, g) for g in dice.generators])
        field = centred(gaussian_field(scene.grid, power, dice), scene.outlines.magnitude)
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
        within(self, "grains", 0, 200, whole=True)
        within(self, "ground", 0, 1)

    def add(self, scene: Scene, dice: Dice) -> None:
        import torch

        grid, d = scene.grid, scene.grid.ndim
        depth = (-scene.outlines.distance[:, : grid.size].amin(1)).cpu().numpy()
        cells = [self._ellipsoids(scene, row, g, float(depth[row])) for row, g in enumerate(dice.generators)]
        ground = [drawn(self.ground, g) for g in dice.generators]
        dense = torch.zeros_like(scene.magnitude) + grid.column(ground)
        for k in range(max(map(len, cells))):
            here = [c[k] if k < len(c) else (np.full(d, 1e4), np.ones(d), 0.0) for c in cells]
            at, axes, weight = (np.array([h[j] for h in here]) for j in range(3))
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
        found = [(scene.inside(g, row, 0.6 * depth), depth * g.uniform(0.35, 0.6, d), g.uniform(0.3, 0.65))]
        for _ in range(counted(self.grains, g)):
            found.append((scene.inside(g, row, 1.0), np.maximum(1.0, depth * g.uniform(0.06, 0.2, d)), g.uniform(0.1, 0.5)))
        return found


NAMES: tuple[type[Part], ...] = (
    Waves, Relaxation, Bend, Tilt, Gratings, Dislocations, Faults, Twin, Domains, Texture, Organelles,
)  # fmt: skip
