"""Algorithms that hold another one and change what it is given: the data step, the constraint, or what is kept of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin import expression
from untwin.checks import require_number
from untwin.errors import InputError
from untwin.model.constraints import Ceiling
from untwin.model.problem import Modulus
from untwin.solve.recipe import Algorithm, Ramp, Setting, require_setting, value

if TYPE_CHECKING:
    from untwin.model.problem import Problem
    from untwin.solve.state import State


class Wrapper(Algorithm):
    """An algorithm around another; `algorithm` is the first field."""

    algorithm: Algorithm

    def __post_init__(self) -> None:
        if not isinstance(self.algorithm, Algorithm):
            raise InputError(f"{type(self).__name__} holds one step, such as {type(self).__name__}(ER); got {self.algorithm!r}")
        self.check()

    def check(self) -> None:
        """Raise InputError where a setting is out of range."""

    def __repr__(self) -> str:
        return expression.write(self)


class Given(Wrapper):
    """The algorithm, handed another problem."""

    @abstractmethod
    def given(self, problem: Problem, state: State) -> Problem: ...

    @property
    def steady(self) -> bool:
        return self.algorithm.steady

    def begin(self, problem: Problem, state: State) -> State:
        return self.algorithm.begin(problem, state)

    def step(self, problem: Problem, state: State) -> State:
        return self.algorithm.step(self.given(problem, state), state)

    def stretch(self, problem: Problem, state: State, steps: int) -> State:
        return self.algorithm.stretch(self.given(problem, state), state, steps)


@dataclass(frozen=True, repr=False)
class Capped(Given):
    """The algorithm with a ceiling on the magnitude inside the support (model.constraints.Ceiling)."""

    algorithm: Algorithm

    def given(self, problem: Problem, state: State) -> Problem:
        return problem.within(constraint=problem.constraint & Ceiling())


@dataclass(frozen=True, repr=False)
class Proximal(Given):
    """The algorithm with the Poisson proximal step in place of the hard modulus (model.problem.Modulus).

    rho: weight of the computed modulus against the counts, above 0; 0.3 is good for few photons.
    """

    algorithm: Algorithm
    rho: float = 0.3

    def check(self) -> None:
        require_number(self, "rho", 0, 100, above=True)

    def given(self, problem: Problem, state: State) -> Problem:
        return problem.within(modulus=Modulus(self.rho, problem.modulus.hole))


@dataclass(frozen=True, repr=False)
class Damped(Given):
    """The algorithm with the wave in unmeasured pixels multiplied by gamma in each step. For real nonnegative objects only:
    without positivity nothing holds the mean up.

    gamma: factor, above 0 and at most 1.
    """

    algorithm: Algorithm
    gamma: Setting = 0.98

    @property
    def steady(self) -> bool:
        return super().steady and not isinstance(self.gamma, Ramp)

    def check(self) -> None:
        require_setting(self, "gamma", 0, 1, above=True)

    def given(self, problem: Problem, state: State) -> Problem:
        hole = value(self.gamma, state, "gamma").reshape((-1,) + (1,) * problem.ndim)
        return problem.within(modulus=Modulus(problem.modulus.rho, hole))


@dataclass(frozen=True, repr=False)
class Mean(Wrapper):
    """The algorithm, with the estimate replaced by the mean of its estimates so far, each cut to the constraint."""

    algorithm: Algorithm

    def begin(self, problem: Problem, state: State) -> State:
        inner = self.algorithm.begin(problem, replace(state, memory=None))
        return replace(inner, memory=(inner.memory, 0, None))

    def step(self, problem: Problem, state: State) -> State:
        memory, count, total = state.memory
        state = self.algorithm.step(problem, replace(state, memory=memory))
        inside = problem.project_object(state.image, state.support)
        total = inside if total is None else total + inside
        return replace(state, image=total / (count + 1), memory=(state.memory, count + 1, total))


@dataclass(frozen=True, repr=False)
class Settle(Algorithm):
    """Go on from the estimate: x' = image' = P_S of the image (after Mean, or after a rule), scaled to as many counts as were measured.

    Capped(Settle) leaves an object under the ceiling, which alone would take power away.
    """

    def step(self, problem: Problem, state: State) -> State:
        x = problem.project_object(state.image, state.support)
        d = problem.tensors
        f = problem.intensity(x)
        counts, found = (v.where(d.measured, v.new_zeros(())).flatten(-problem.ndim).sum(-1) for v in (d.intensity, f))
        x = x * (counts / found.clamp(min=1e-30)).sqrt().reshape((-1,) + (1,) * problem.ndim)
        return replace(state, x=x, image=x)

    def __repr__(self) -> str:
        return expression.write(self)
