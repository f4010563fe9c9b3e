"""Where the object's grid lies: of sub-pixel shifts of a sparse object the one that its constraint suits best."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression, fourier
from untwin.checks import require_int
from untwin.engine import Coefficients
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from untwin.solve.state import State

_ER = Coefficients(a=0, c=0, s=1, u=0, v=1)


@dataclass(frozen=True, repr=False)
class Shifts(Algorithm):
    """The estimate, or one of its shifts by fractions of a pixel, whichever explains the counts best after a few steps of ER.

    A pattern does not tell where the object lies, not by a fraction of a pixel either; but how well the k largest values stand for an atom
    depends on where it lies between the pixels, and every start ends where it happened to begin. So two starts that have found the same
    object differ by more than noise until each has moved to where it fits best.

    fractions: of a pixel along each axis. steps: of ER after each shift.
    """

    needs: ClassVar = Problem

    fractions: int = 8
    steps: int = 30

    def __post_init__(self) -> None:
        require_int(self, "fractions", 1, 64)
        require_int(self, "steps", 1)

    def step(self, problem: Problem, state: State) -> State:
        import torch

        best, images = problem.misfit(problem.project_object(state.image, state.support)), state.image
        wave = fourier.forward(images.to(images.dtype if images.is_complex() else images.dtype.to_complex()), problem.ndim)
        for by in itertools.product(range(self.fractions), repeat=problem.ndim):
            ramp = fourier.ramp(problem.shape, [k / self.fractions for k in by], wave)
            x = fourier.inverse(wave * ramp, problem.ndim)
            x = x.real.contiguous() if problem.real else x
            y = problem.advance(x, state.support, _ER, self.steps)[1]
            misfit = problem.misfit(problem.project_object(y, state.support))
            better = (misfit < best).reshape((-1,) + (1,) * problem.ndim)
            best, images = torch.minimum(best, misfit), y.where(better, images)
        return state.replace(x=images, image=images)

    def __repr__(self) -> str:
        return expression.write(self)
