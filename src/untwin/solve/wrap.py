"""Algorithms that hold another one and change what it is given: the data step, the constraint, or what is kept of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from untwin import expression
from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.constraints import MagnitudeCap
from untwin.model.counts import Modulus
from untwin.model.inverse import InverseProblem
from untwin.model.problem import Problem
from untwin.solve.recipe import Algorithm, Ramp, Setting, require_setting, require_suited, value

if TYPE_CHECKING:
    from untwin.solve.state import State


class Wrapper(Algorithm):
    """An algorithm around another; `algorithm` is the first field."""

    algorithm: Algorithm

    brief: ClassVar = True

    def parts(self) -> tuple[Algorithm, ...]:
        return (self, *self.algorithm.parts())

    def check(self, problem: InverseProblem) -> None:
        require_suited(problem, self.algorithm)

    def __repr__(self) -> str:
        return expression.write(self)


def require_algorithm(wrapper: Wrapper) -> None:
    """Raise InputError unless what the wrapper holds is one step."""
    if not isinstance(wrapper.algorithm, Algorithm):
        name = type(wrapper).__name__
        raise InputError(f"{name} holds one step, such as {name}(ER); got {wrapper.algorithm!r}")


class ModifiedProblem(Wrapper):
    """The algorithm, handed another problem."""

    needs: ClassVar = Problem

    @abstractmethod
    def modified(self, problem: Problem, state: State) -> Problem: ...

    @property
    def steady(self) -> bool:
        return self.algorithm.steady

    def begin(self, problem: Problem, state: State) -> State:
        return self.algorithm.begin(problem, state)

    def step(self, problem: Problem, state: State) -> State:
        return self.algorithm.step(self.modified(problem, state), state)

    def stretch(self, problem: Problem, state: State, steps: int) -> State:
        return self.algorithm.stretch(self.modified(problem, state), state, steps)


@dataclass(frozen=True, repr=False)
class Capped(ModifiedProblem):
    """The algorithm with an upper bound on the magnitude inside the support (model.constraints.MagnitudeCap)."""

    algorithm: Algorithm

    def __post_init__(self) -> None:
        require_algorithm(self)

    def modified(self, problem: Problem, state: State) -> Problem:
        return problem.within(constraint=problem.constraint & MagnitudeCap())


@dataclass(frozen=True, repr=False)
class Proximal(ModifiedProblem):
    """The algorithm with the Poisson proximal step in place of the hard modulus (model.problem.Modulus).

    rho: weight of the computed modulus against the counts, above 0; 0.3 is good for few photons.
    """

    algorithm: Algorithm
    rho: float = 0.3

    def __post_init__(self) -> None:
        require_algorithm(self)
        require_number(self, "rho", 0, 100, above=True)

    def modified(self, problem: Problem, state: State) -> Problem:
        return problem.within(modulus=Modulus(self.rho, problem.modulus.damping))


@dataclass(frozen=True, repr=False)
class Damped(ModifiedProblem):
    """The algorithm with the wave in unmeasured pixels multiplied by gamma in each step. For real nonnegative objects only:
    without positivity nothing holds the mean up.

    gamma: factor, above 0 and at most 1.
    """

    algorithm: Algorithm
    gamma: Setting = 0.98

    @property
    def steady(self) -> bool:
        return super().steady and not isinstance(self.gamma, Ramp)

    def __post_init__(self) -> None:
        require_algorithm(self)
        require_setting(self, "gamma", 0, 1, above=True)

    def check(self, problem: Problem) -> None:
        require_suited(problem, self.algorithm)
        if not problem.constraint.positive:
            raise InputError(
                f"{self!r} is for real nonnegative objects: without positivity nothing holds the mean up. "
                f"Take {self.algorithm!r} alone, or the constraint Support() & Nonnegative()"
            )

    def modified(self, problem: Problem, state: State) -> Problem:
        hole = value(self.gamma, state, "gamma").reshape((-1,) + (1,) * problem.ndim)
        return problem.within(modulus=Modulus(problem.modulus.rho, hole))


@dataclass(frozen=True, repr=False)
class Mean(Wrapper):
    """The algorithm, with the estimate replaced by the mean of its estimates so far, each cut to the constraint."""

    algorithm: Algorithm

    def __post_init__(self) -> None:
        require_algorithm(self)

    def begin(self, problem: Problem, state: State) -> State:
        inner = self.algorithm.begin(problem, state.replace(memory=None))
        return replace(inner, memory=(inner.memory, 0, None))

    def step(self, problem: Problem, state: State) -> State:
        memory, count, total = state.memory
        state = self.algorithm.step(problem, state.replace(memory=memory))
        inside = problem.project_object(state.image, state.support)
        total = inside if total is None else total + inside
        return state.replace(image=total / (count + 1), memory=(state.memory, count + 1, total))


@dataclass(frozen=True, repr=False)
class Rescale(Algorithm):
    """Go on from the estimate: x' = image' = P_S of the image (after Mean, or after a rule), scaled to as many counts as were measured.

    Capped(Rescale) leaves an object under the bound, which alone would take power away.
    """

    needs: ClassVar = Problem
    brief: ClassVar = True

    def step(self, problem: Problem, state: State) -> State:
        x = problem.project_object(state.image, state.support)
        x = x * problem.brightness(problem.predict(x)).sqrt().reshape((-1,) + (1,) * problem.ndim)
        return state.replace(x=x, image=x)

    def __repr__(self) -> str:
        return expression.write(self)
