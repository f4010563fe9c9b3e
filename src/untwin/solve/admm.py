"""Alternating direction method of multipliers on the splitting object = modulus, with a dual variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_number
from untwin.model.problem import Problem
from untwin.solve.projections import require_between_objects
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class ADMM(Algorithm):
    """ADMM for phase retrieval (Chang et al., SIAM J. Imaging Sci. 11, 2018; hard constraints, scaled dual λ):
    z = P_S(y + λ); y' = P_M(z − λ); λ' = λ + β (y' − z). The iterate x is z − λ, from which y' comes.

    beta: dual step, above 0 and at most 1.
    """

    needs: ClassVar = Problem

    beta: float = 0.9

    def __post_init__(self) -> None:
        require_number(self, "beta", 0, 1, above=True)

    def check(self, problem: Problem) -> None:
        require_between_objects(problem, self)

    def begin(self, problem: Problem, state: State) -> State:
        return state.replace(memory=(state.x, state.x.new_zeros(state.x.shape)))

    def step(self, problem: Problem, state: State) -> State:
        y, dual = state.memory
        z = problem.project_object(y + dual, state.support)
        x = z - dual
        y, error = problem.impose(x)
        return state.replace(x=x, image=y, error=error, memory=(y, dual + (y - z) * self.beta))

    def __repr__(self) -> str:
        return expression.write(self)
