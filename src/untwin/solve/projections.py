"""Projection algorithms. With y = P_M x, each row of one table is x' = a x + c y + s P_S(u x + v y).

|            | a | c    | s | u  | v    |
| ER         | 0 | 0    | 1 | 0  | 1    |
| SF         | 0 | −1   | 2 | 0  | 1    |
| RAAR       | β | 1−2β | β | −1 | 2    |
| HPR        | 1 | −β   | 1 | −1 | 1+β  |
| DM, β = 1  | 1 | −1   | 1 | −1 | 2    |
| RRR        | 1 | −β   | β | −1 | 2    |

HIO is Fienup's own form, which equals HPR for a plain support and differs from it under positivity. The difference map with any
other β projects onto the support first and has two modulus projections' worth of work, so it stands beside the table.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_number
from untwin.engine import Coefficients, Fienup
from untwin.engine.plain import total
from untwin.errors import InputError
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm

if TYPE_CHECKING:
    from untwin.solve.state import State


def require_between_objects(problem: Problem, algorithm: Algorithm) -> None:
    """Raise InputError where projections go between waves, which only rows of the table do."""
    if problem.between_waves:
        raise InputError(f"{algorithm!r} goes between objects, and {problem.physics.waves!r} has no inverse; try RAAR, DM or HIO")


class Projection(Algorithm):
    """A row of the table."""

    needs: ClassVar = Problem
    brief: ClassVar = True

    @property
    def steady(self) -> bool:
        return True

    @abstractmethod
    def coefficients(self) -> Coefficients | Fienup: ...

    def begin(self, problem: Problem, state: State) -> State:
        """Where projections go between waves, the iterate is a wave, and x its object, W⁺ w."""
        return state.replace(memory=problem.propagate(state.x)) if problem.between_waves else state

    def step(self, problem: Problem, state: State) -> State:
        return self.stretch(problem, state, 1)

    def stretch(self, problem: Problem, state: State, steps: int) -> State:
        if problem.between_waves:
            w, image, error = problem.advance_wave(state.memory, state.support, self.coefficients(), steps)
            return state.replace(x=problem.objects(w), image=image, error=error, memory=w)
        x, image, error = problem.advance(state.x, state.support, self.coefficients(), steps)
        return state.replace(x=x, image=image, error=error)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class ER(Projection):
    """Error reduction (Fienup, Appl. Opt. 21, 1982; Gerchberg and Saxton, 1972): x' = P_S P_M x."""

    def coefficients(self) -> Coefficients:
        return Coefficients(a=0, c=0, s=1, u=0, v=1)


@dataclass(frozen=True, repr=False)
class SF(Projection):
    """Solvent flipping (Abrahams and Leslie, Acta Cryst. D 52, 1996): x' = R_S P_M x, the reflection 2 P_S − 1 for P_S."""

    def coefficients(self) -> Coefficients:
        return Coefficients(a=0, c=-1, s=2, u=0, v=1)


@dataclass(frozen=True, repr=False)
class RAAR(Projection):
    """Relaxed averaged alternating reflections (Luke, Inverse Problems 21, 2005): x' = β/2 (R_S R_M + I) x + (1 − β) P_M x.

    beta: relaxation, above 0 and at most 1.
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        require_number(self, "beta", 0, 1, above=True)

    def coefficients(self) -> Coefficients:
        return Coefficients(a=self.beta, c=1 - 2 * self.beta, s=self.beta, u=-1, v=2)


@dataclass(frozen=True, repr=False)
class HPR(Projection):
    """Hybrid projection reflection (Bauschke, Combettes and Luke, J. Opt. Soc. Am. A 20, 2003):
    x' = ½ [R_S (R_M + (β − 1) P_M) + I + (1 − β) P_M] x.

    beta: relaxation, above 0 and at most 1.
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        require_number(self, "beta", 0, 1, above=True)

    def coefficients(self) -> Coefficients:
        return Coefficients(a=1, c=-self.beta, s=1, u=-1, v=1 + self.beta)


@dataclass(frozen=True, repr=False)
class RRR(Projection):
    """Relaxed reflect-reflect (Elser, J. Glob. Optim. 68, 2017; Elser, Lan and Bendory, SIAM J. Imaging Sci. 11, 2018):
    x' = x + β [P_S(2 P_M x − x) − P_M x]. With β = 1 it is DM.

    beta: relaxation, above 0 and below 2.
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        require_number(self, "beta", 0, 2, above=True, below=True)

    def coefficients(self) -> Coefficients:
        return Coefficients(a=1, c=-self.beta, s=self.beta, u=-1, v=2)


@dataclass(frozen=True, repr=False)
class HIO(Projection):
    """Hybrid input-output, Fienup's form (Appl. Opt. 21, 1982): x' = y where y satisfies the constraint, x − β y elsewhere.

    beta: feedback, above 0 and at most 1.
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        require_number(self, "beta", 0, 1, above=True)

    def coefficients(self) -> Fienup:
        return Fienup(self.beta)


@dataclass(frozen=True, repr=False)
class DM(Projection):
    """Difference map (Elser, J. Opt. Soc. Am. A 20, 2003): x' = x + β [P_S f_M − P_M f_S], with
    f_M = P_M x + (P_M x − x) / β and f_S = P_S x − (P_S x − x) / β. For β = 1 it is the row of the table.

    beta: step, not 0, between −2 and 2. The estimate is P_M f_S.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        require_number(self, "beta", -2, 2)
        if self.beta == 0:
            raise InputError("DM(beta=0): the map would stand still; expected a number between -2 and 2, not 0")

    def check(self, problem: Problem) -> None:
        if self.beta != 1:
            require_between_objects(problem, self)

    def coefficients(self) -> Coefficients:
        return Coefficients(a=1, c=-1, s=1, u=-1, v=2)

    def stretch(self, problem: Problem, state: State, steps: int) -> State:
        if self.beta == 1:
            return super().stretch(problem, state, steps)
        for _ in range(steps):
            state = self._step(problem, state)
        return state

    def _step(self, problem: Problem, state: State) -> State:
        x, b = state.x, self.beta
        m = problem.project_modulus(x)
        s = problem.project_object(x, state.support)
        f_m = total(((1 + 1 / b, m), (-1 / b, x)))
        f_s = total(((1 - 1 / b, s), (1 / b, x)))
        y, error = problem.impose(f_s)
        image = total(((1.0, x), (b, problem.project_object(f_m, state.support)), (-b, y)))
        return state.replace(x=image, image=y, error=error)
