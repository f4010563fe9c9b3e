"""The most probable object in its support: counts against a total variation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm, Setting, require_setting, value

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.state import State

OFFSET = 0.1  # counts, added to those measured and those expected, which keeps slopes small where nearly none are expected
ROUND = 0.3  # sqrt(counts): differences much below this count by their square, so that there is a slope everywhere
MOMENTUM, MEMORY = 0.9, 0.99  # of the slope, and of its mean square
LAST = 0.02  # share of the rate that is left at the end


@dataclass(frozen=True, repr=False)
class Penalized(Algorithm):
    """One step down the slope of half the Poisson deviance plus weight times the total variation of a real object (isotropic, between
    pixels of the support; Rudin, Osher and Fatemi, Physica D 60, 1992), from the image; then it is cut to the constraint.

    An object in sqrt(counts) has the same noise whatever the photons, so one weight serves them all. A large weight that falls
    (Ramp(5, 0.5)) draws what is coarse first, and leaves places where projections stand still.

    weight: of the total variation. rate: root mean square of a step, as a share of the object's own; a cosine takes it to its end.
    The slope is that of one physics for all starts: Adam's momentum, with one mean square for all pixels.
    """

    weight: Setting = 0.5
    rate: float = 0.06

    needs: ClassVar = Problem

    def __post_init__(self) -> None:
        require_setting(self, "weight", 0, 1e6)
        require_number(self, "rate", 0, 1, above=True)

    def check(self, problem: Problem) -> None:
        if not problem.real:
            raise InputError(f"{self!r} takes the total variation of a real object; give positivity=True, or leave it out")

    def begin(self, problem: Problem, state: State) -> State:
        x = problem.project_object(state.image, state.support)
        return state.replace(x=x, memory=(0, x.new_zeros(x.shape), x.new_zeros(len(x))))

    def step(self, problem: Problem, state: State) -> State:
        count, slope, square = state.memory
        x, one = state.x, (-1,) + (1,) * problem.ndim
        weight = value(self.weight, state, "weight").to(x.dtype).reshape(one)
        new = _misfit_slope(problem, x) + weight * _variation_slope(x, state.support)
        new = new.where(state.support, new.new_zeros(()))
        inside = state.support.flatten(1).sum(1).clamp(min=1).to(x.dtype)
        slope = MOMENTUM * slope + (1 - MOMENTUM) * new
        square = MEMORY * square + (1 - MEMORY) * new.square().flatten(1).sum(1) / inside
        count += 1
        size = (x.square().flatten(1).sum(1) / inside).sqrt()
        rate = self.rate * (LAST + (1 - LAST) * (1 + math.cos(math.pi * state.progress)) / 2)
        by = rate * size / (square / (1 - MEMORY**count)).sqrt().clamp(min=1e-30) / (1 - MOMENTUM**count)
        x = problem.project_object(x - by.reshape(one) * slope, state.support)
        return state.replace(x=x, image=x, error=None, memory=(count, slope, square))

    def __repr__(self) -> str:
        return expression.write(self)


def _misfit_slope(problem: Problem, x: Tensor) -> Tensor:
    """Of half the Poisson deviance."""
    import torch

    counts = problem.counts
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        f = problem.predict(leaf)
        expected = f.detach()
        outer = (1 - (counts.intensity + OFFSET) / (expected + OFFSET)).where(counts.measured, expected.new_zeros(()))
        (slope,) = torch.autograd.grad(f, leaf, outer)
    return slope


def _variation_slope(x: Tensor, support: Tensor) -> Tensor:
    """Of Σ √(Σ_axes difference² + ROUND²), differences between neighbours that are both in the support."""
    differences = []
    for axis in range(1, x.ndim):
        pair = support & support.roll(-1, axis)
        differences.append((x.roll(-1, axis) - x).where(pair, x.new_zeros(())))
    size = (sum((d.square() for d in differences), x.new_zeros(())) + ROUND**2).sqrt()
    total = x.new_zeros(x.shape)
    for axis, d in enumerate(differences, 1):
        d = d / size
        total += d.roll(1, axis) - d
    return total
