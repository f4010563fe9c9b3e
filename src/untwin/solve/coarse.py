"""Coarse to fine, for the near field: what is smooth is found on few pixels, where it costs little."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from untwin import expression, fourier
from untwin.checks import require_int
from untwin.data.optics import Optics
from untwin.errors import InputError
from untwin.model.physics import Physics
from untwin.model.problem import Problem
from untwin.model.waves.fresnel import Fresnel
from untwin.solve.begin import FlatStart, begin
from untwin.solve.likelihood import MaximumLikelihood
from untwin.solve.projections import DM, RAAR
from untwin.solve.recipe import Algorithm, Recipe, Setting, require_setting
from untwin.solve.run import iterate

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.solve.state import State

DIFFERENCE_MAP, RESTING = 200, 50  # iterations before the likelihood, on the coarsest grid (unmeasured)


@dataclass(frozen=True, repr=False)
class CoarseStart(Algorithm):
    """x = the most likely object of the same exposures binned by 2 x 2, again and again, until a side has `size` pixels at most: there from
    FlatStart(phase) with 200*DM + 50*RAAR, then from each grid to the next finer one.

    phase: of FlatStart, rad. size: pixels. iterations: of the likelihood on the coarsest grid; finer: on each between it and the last.
    Only for the near field (Fresnel), whose pixels can be binned: the Fresnel number of a pixel is then four times as large.
    """

    phase: Setting = 1.0
    size: int = 64
    iterations: int = 3000
    finer: int = 100

    needs: ClassVar = Problem

    def __post_init__(self) -> None:
        require_setting(self, "phase", 0, 100)
        require_int(self, "size", 8, 100_000)
        require_int(self, "iterations", 1, 100_000)
        require_int(self, "finer", 1, 100_000)

    def check(self, problem: Problem) -> None:
        if not isinstance(problem.physics.waves, Fresnel):
            raise InputError(f"{self!r} is for the near field, and these waves are {problem.physics.waves!r}; try FlatStart or RandomStart")

    def step(self, problem: Problem, state: State) -> State:
        levels = [(problem, state.support)]
        while min(levels[-1][0].shape) > self.size and all(n % 2 == 0 for n in levels[-1][0].shape):
            levels.append(_binned(*levels[-1]))
        coarsest, support = levels[-1]
        recipe = FlatStart(self.phase) + DIFFERENCE_MAP * DM() + RESTING * RAAR() + MaximumLikelihood(self.iterations)
        x = self._ended(coarsest, recipe, state, support, None)
        for finer, support in reversed(levels[1:-1]):
            x = self._ended(finer, 1 * MaximumLikelihood(self.finer), state, support, _refined(x))
        x = x if len(levels) == 1 else _refined(x)
        return state.replace(x=x, image=x)

    def _ended(self, problem: Problem, recipe: Recipe, state: State, support: Tensor, x: Tensor | None) -> Tensor:
        own = begin(problem, state.members, support, x)
        *_, after = iterate(problem, recipe, own, 10)
        return problem.project_object(after.image, after.support)

    def __repr__(self) -> str:
        return expression.write(self)


def _binned(problem: Problem, support: Tensor) -> tuple[Problem, Tensor]:
    """The exposures with 2 x 2 pixels in one, as an ideal detector would have shown them, and the support."""
    d, p = problem.ndim, problem.pattern.corrected()
    numbers = tuple(4 * v for v in problem.physics.waves.numbers)  # type: ignore[attr-defined]
    counts, measured = (_blocks(a, d) for a in (p.intensity.astype(np.float64), p.measured))
    complete = measured.all(tuple(range(-d, 0)))
    values = np.where(complete, counts.sum(tuple(range(-d, 0))), 0).astype(np.float32)
    pattern = replace(p, intensity=values, measured=complete, optics=Optics(fresnel_numbers=numbers))
    binned = Problem(pattern, Physics(Fresnel(numbers)), problem.constraint, problem.loss, problem.modulus, problem.device)
    inside = _blocks(support, d)
    return binned, inside.flatten(-d).any(-1)


def _blocks(a: Any, d: int) -> Any:
    """(..., n/2, m/2, 2, 2) of (..., n, m): an array or a tensor."""
    lead, grid = tuple(a.shape[: a.ndim - d]), tuple(a.shape[a.ndim - d :])
    split = a.reshape(*lead, *(k for n in grid for k in (n // 2, 2)))
    first = len(lead)
    order = (*range(first), *(first + 2 * i for i in range(d)), *(first + 2 * i + 1 for i in range(d)))
    return split.transpose(order) if isinstance(a, np.ndarray) else split.permute(order)


def _refined(x: Tensor) -> Tensor:
    """(starts, *grid) on twice as many pixels along each axis, of the same power: its transform with zeros around it. The middle of a block
    of pixels lies half a fine pixel behind its first."""
    import torch

    d = x.ndim - 1
    grid = tuple(x.shape[1:])
    w = fourier.centred(fourier.forward(x.to(x.dtype if x.is_complex() else x.dtype.to_complex()), d), d)
    pad = [v for n in reversed(grid) for v in (n - n // 2, n // 2)]  # the middle n // 2 comes to n
    w = fourier.cornered(torch.nn.functional.pad(w, pad), d)
    w = w * fourier.ramp(tuple(2 * n for n in grid), (0.5,) * d, w)
    y = fourier.inverse(w, d)
    return y if x.is_complex() else y.real.contiguous()
