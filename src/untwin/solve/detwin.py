"""Breaking the tie between an object and its twin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.errors import InputError
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class Detwin(Algorithm):
    """One error reduction with half of the support: a mixture of object and twin is pushed to one side (Guizar-Sicairos and
    Fienup, J. Opt. Soc. Am. A 29, 2012). The support is cut through its centre of mass along the first axis, for this step only."""

    needs: ClassVar = Problem
    brief: ClassVar = True

    def check(self, problem: Problem) -> None:
        if problem.pattern.optics is not None:
            raise InputError(f"{self!r} is of one far field: {problem.physics.waves!r} has no twin; leave it out")

    def step(self, problem: Problem, state: State) -> State:
        import torch

        y, error = problem.impose(state.x)
        n = problem.pattern.shape[0]
        weight = state.support.flatten(2).sum(2).to(torch.float64)
        angle = 2 * torch.pi * torch.arange(n, dtype=torch.float64, device=y.device) / n
        centre = torch.atan2((weight * angle.sin()).sum(1), (weight * angle.cos()).sum(1))  # circular mean: no edge
        side = torch.sin(angle[None, :] - centre[:, None]) >= 0
        half = state.support & side.reshape((len(state.seeds), n) + (1,) * (problem.ndim - 1))
        return state.replace(x=problem.project_object(y, half), image=y, error=error)

    def __repr__(self) -> str:
        return expression.write(self)
