"""Small objects, their exact patterns and problems, all in double precision: what the laws are tried on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from untwin.data.measurement import Pattern
from untwin.model.constraints import Constraint, Nonnegative, Support
from untwin.model.problem import Problem
from untwin.model.waves.farfield import FarField
from untwin.solve.state import State

REAL = Support() & Nonnegative()


def wave(shape: tuple[int, ...], seed: int = 0, starts: int | None = None) -> torch.Tensor:
    """Complex white noise."""
    generator = torch.Generator().manual_seed(seed)
    full = shape if starts is None else (starts, *shape)
    return torch.randn(full, generator=generator, dtype=torch.complex128)


def lopsided(shape: tuple[int, ...]) -> torch.Tensor:
    """A support without a centre of symmetry, around index 0: a box of a third of the array less one corner."""
    inside = torch.ones(shape, dtype=torch.bool)
    corner = torch.ones(shape, dtype=torch.bool)
    for axis, n in enumerate(shape):
        k = torch.fft.fftfreq(n, 1 / n).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        inside &= (k >= -(n // 6)) & (k <= n // 6)
        corner &= k > 0
    return inside & ~corner


def thing(shape: tuple[int, ...], seed: int = 0, real: bool = False) -> torch.Tensor:
    """An object in the lopsided support, magnitudes of 1 to 2 so that nothing inside is near 0."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(1 + rng.random(shape))
    if not real:
        x = torch.polar(x, torch.from_numpy(2 * np.pi * rng.random(shape)))
    return x.where(lopsided(shape), x.new_zeros(()))


def pattern(
    x: torch.Tensor,
    offset: tuple[float, ...] = (),
    hide: float = 0.0,
    photons: float | None = None,
    seed: int = 0,
) -> Pattern:
    """|F x|², a share `hide` of the pixels not measured; with `photons`, Poisson counts of that total."""
    rng = np.random.default_rng(seed)
    intensity = FarField(x.ndim, offset)(x).numpy()
    if photons is not None:
        intensity = rng.poisson(intensity * (photons / intensity.sum())).astype(np.float64)
    seen = rng.random(x.shape) >= hide
    return Pattern(np.where(seen, intensity, 0), seen, offset=offset)


def problem(p: Pattern, constraint: Constraint | None = None, **more) -> Problem:
    """The problem in float64."""
    constraint = constraint or Support()
    return Problem(p, constraint=constraint, **more).to(dtype=torch.float64)


def state(x: torch.Tensor, support: torch.Tensor, seeds: tuple[int, ...] | None = None) -> State:
    """x (starts, *grid) before the first step."""
    return State.of(x, support, seeds)


def run(problem: Problem, recipe, start: State) -> State:
    """The state after the whole recipe."""
    from untwin.solve.run import iterate

    last = replace(start, at=0)
    for after in iterate(problem, recipe, last):
        last = after
    return last


def close(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a − b| / |b|."""
    return float((a - b).abs().square().sum().sqrt() / b.abs().square().sum().sqrt().clamp(min=1e-300))
