"""Strain that varies smoothly: parts that add to the phase −Q·u."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.simulate.fields import gaussian_field, standardised
from untwin.simulate.scene import Part, Scene
from untwin.simulate.settings import Setting, draw, draw_integer, require_within
from untwin.simulate.streams import Streams


@dataclass(frozen=True, repr=False)
class Waves(Part):
    """Smooth strain: a Gaussian random field of spectral density |k|^−power.

    rms: of the phase inside the body, rad. power: 2 to 8; larger is smoother.
    """

    rms: Setting = 1.0
    power: Setting = 4.0

    def __post_init__(self) -> None:
        require_within(self, "rms", 0, 100)
        require_within(self, "power", 0, 10)

    def add(self, scene: Scene, streams: Streams) -> None:
        rms = [draw(self.rms, g) for g in streams.generators]
        power = np.array([draw(self.power, g) for g in streams.generators])
        field = standardised(gaussian_field(scene.grid, power, streams), scene.outlines.magnitude)
        scene.phase = scene.phase + field * scene.grid.column(rms)
        for label, r, p in zip(scene.labels, rms, power, strict=True):
            label["waves"] = {"rms": r, "power": float(p)}


@dataclass(frozen=True, repr=False)
class Relaxation(Part):
    """Surface relaxation: atoms near the surface move along its normal n, u = ε n exp(s/λ) with the distance s < 0 to the surface.

    amount: largest −Q·u, rad, of either sign: |amount| = |Q| |ε|. depth: λ, pixels.
    """

    amount: Setting = 0.5
    depth: Setting = 3.0

    def __post_init__(self) -> None:
        require_within(self, "amount", 0, 100)
        require_within(self, "depth", 0.3, 1000)

    def add(self, scene: Scene, streams: Streams) -> None:
        import torch

        grid, d = scene.grid, scene.grid.ndim
        amount = [draw(self.amount, g) * (1 if g.random() < 0.5 else -1) for g in streams.generators]
        depth = [draw(self.depth, g) for g in streams.generators]
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
    """A bent or sheared crystal: −Q·u = a (n·r/L)(m·r/L) with random directions n, m and L half of the longest array axis.

    amount: a, rad, of either sign.
    """

    amount: Setting = 2.0

    def __post_init__(self) -> None:
        require_within(self, "amount", 0, 1000)

    def add(self, scene: Scene, streams: Streams) -> None:
        grid, scale = scene.grid, max(scene.grid.shape) / 2
        amount = [draw(self.amount, g) * (1 if g.random() < 0.5 else -1) for g in streams.generators]
        vectors = [g.standard_normal((2, grid.ndim)) for g in streams.generators]
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
        require_within(self, "pixels", 0, 100, fixed=True)

    def add(self, scene: Scene, streams: Streams) -> None:
        shift = np.array([g.uniform(-self.pixels, self.pixels, scene.grid.ndim) for g in streams.generators])
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
        require_within(self, "gratings", 0, 20, integer=True)
        require_within(self, "gaussians", 0, 20, integer=True)
        require_within(self, "period", 2)
        require_within(self, "sigma", 0.5)
        require_within(self, "span", 0, 2 * np.pi)

    def add(self, scene: Scene, streams: Streams) -> None:
        import torch

        grid, d, count = scene.grid, scene.grid.ndim, len(streams)
        waves = [self._terms(g, h, d) for g, h in zip(streams.generators, scene.half, strict=True)]
        field = torch.zeros_like(scene.phase)
        for k in range(max((len(w[0]) for w in waves), default=0)):
            terms = [w[0][k] if k < len(w[0]) else (0.0, np.zeros(d), 0.0) for w in waves]
            weight, vector, start = (np.array([t[j] for t in terms]) for j in range(3))
            field = field + grid.column(weight) * (grid.along(vector) + grid.column(start)).sin()
        for k in range(max((len(w[1]) for w in waves), default=0)):
            terms = [w[1][k] if k < len(w[1]) else (0.0, np.zeros(d), 1.0) for w in waves]
            weight, at, sigma = (np.array([t[j] for t in terms]) for j in range(3))
            square = torch.zeros_like(field)
            for a in range(d):
                square = square + (grid.points[a] - grid.column(at[:, a])).square()
            field = field + grid.column(weight) * (-square / grid.column(2 * sigma**2)).exp()
        inside = scene.outlines.distance <= 0
        low = field.masked_fill(~inside, float("inf")).amin(1, keepdim=True)
        high = field.masked_fill(~inside, float("-inf")).amax(1, keepdim=True)
        span = [draw(self.span, g) * (len(w[0]) + len(w[1]) > 0) for g, w in zip(streams.generators, waves, strict=True)]
        level = (field - low) / (high - low).clamp(min=1e-6) - 0.5
        phase = level * grid.column(span)
        scene.phase = scene.phase + phase.where(inside & (high > low), phase.new_zeros(()))
        for row in range(count):
            scene.labels[row]["gratings"] = {"gratings": len(waves[row][0]), "gaussians": len(waves[row][1]), "span": span[row]}

    def _terms(self, g: np.random.Generator, half: np.ndarray, d: int) -> tuple[list, list]:
        first, second = [], []
        for _ in range(draw_integer(self.gratings, g)):
            v = g.standard_normal(d)
            first.append((0.2 + 0.8 * g.random(), v * (2 * np.pi / np.sqrt(v @ v) / draw(self.period, g)), 2 * np.pi * g.random()))
        for _ in range(draw_integer(self.gaussians, g)):
            second.append((2 * g.random() - 1, (1.6 * g.random(d) - 0.8) * half, draw(self.sigma, g)))
        return first, second
