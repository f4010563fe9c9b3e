"""What a stage is, what travels from one to the next, and what it may ask for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

from untwin import expression
from untwin.engine import memory
from untwin.errors import InputError
from untwin.runs.failure import Failure, Failures
from untwin.runs.population import Population, errors, gather, objects
from untwin.solve.recipe import Recipe, steps

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem
    from untwin.runs.launch import Launcher, RunResult
    from untwin.solve.state import State

Report = Callable[[int, float | None], None]  # steps since the last call, lowest R known


class Rank(IntEnum):
    """Where in a plan a stage can stand: what it works on, in this order."""

    DETECTOR = 0  # looks at the counts alone
    SEARCH = 1  # begins from nothing
    FAMILIES = 2  # works on whole families
    RESULTS = 3  # works on the best of each
    MODEL = 4  # asks whether the physics is right
    END = 5


@dataclass(frozen=True, eq=False)
class Cohort:
    """What travels through a plan.

    families: the living of each, which has never seen another. firsts: the independent starts as they ended, one population for each
    search; traces: R-factors of their living on the way, (steps, values) for each. results: the best of every family, the better first,
    once somebody has asked for them. candidates: the best that a finish has met. refined: results after a refinement. failures: what came
    to nothing, and why. broken: more than half of the starts did. contained: the results are those of a Contain,
    averaged: of an Average.
    starts, raised, generations: independent starts, families and guided generations so far; seeds are counted by them.
    problem: where a stage has found another physics, or pixels that cannot be trusted. numbers, notes: what it has found, for the report.
    """

    families: tuple[Population, ...] = ()
    firsts: tuple[Population, ...] = ()
    traces: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...] = ()
    results: Population | None = None
    candidates: Population | None = None
    refined: Population | None = None
    failures: Failures = ()
    broken: bool = False
    contained: bool = False
    averaged: bool = False
    starts: int = 0
    raised: int = 0
    generations: int = 0
    problem: Problem | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def replaced(self, again: Cohort) -> Cohort:
        """Another cohort in its place, with what was found so far before what that one has found."""
        return replace(again, numbers=self.numbers | again.numbers, notes=self.notes + again.notes)

    def best(self, problem: Problem) -> Population:
        """The results, or the best of every family, the better first."""
        if self.results is not None:
            return self.results
        best = gather([f.rows(f.order(problem)[:1]) for f in self.families])
        return best.rows(best.order(problem))

    def disagreement(self, problem: Problem) -> float:
        """E between the two families whose best are most similar; infinite of a single one."""
        if len(self.families) < 2:
            return math.inf
        best = self.best(problem)
        if len(best) == 2:
            return float(errors(problem, best.rows([1]), objects(problem, best.rows([0]))[0]))
        return float(problem.symmetry.distances(objects(problem, best)).fill_diagonal_(1).min())


@dataclass(frozen=True, eq=False)
class Context:
    """The run that a stage belongs to.

    support: (*grid) bool, FFT order, where it was given. before: the stages that have been run. purpose: names the work of a stage that
    runs them once more.
    iterates: a stage behind this one begins from whole estimates, and not only from the objects in their supports.
    """

    problem: Problem
    seed: int
    launch: Launcher
    support: Tensor | None = None
    report: Report | None = None
    iterates: bool = False
    before: tuple[Stage, ...] = ()
    purpose: str = ""

    def again(self, problem: Problem, purpose: str, stages: tuple[Stage, ...] | None = None) -> Cohort:
        """What other stages, or all before this one, make of another problem, from the beginning."""
        cohort, stages = Cohort(), self.before if stages is None else stages
        for i, stage in enumerate(stages):
            now = replace(self, problem=cohort.problem or problem, before=stages[:i], purpose=f"{self.purpose}{purpose}, ")
            cohort = stage.run(cohort, now)
        return replace(cohort, problem=cohort.problem or problem)

    def map(self, jobs: list[tuple[Recipe, State]], samples: int = 0) -> list[RunResult]:
        """What the launcher makes of them, in order. The work is named by the place of its stage in the plan and by recipes and members:
        where a stage runs the same recipe again, its members have other seeds or roles. samples: looks at the R-factor on the way."""
        memory.release()  # what weighed the jobs before, while others work on these
        results = self.launch.map(self.problem, jobs, samples, self.report, f"{self.purpose}stage {len(self.before)}")
        memory.release()
        return results

    def run(self, jobs: list[tuple[Recipe, State]]) -> tuple[list[Population], Failures]:
        """The populations after their recipes, in order; and those of them that came to NaN or infinity."""
        populations = [Population.of(self.problem, *e.states) for e in self.map(jobs)]
        failures = ((p.members[i], reason(p, i)) for p in populations for i in p.dead())
        if self.report:
            self.report(0, min(float(p.r_factor.min()) for p in populations))
        return populations, tuple((member, why) for member, why in failures if why is Failure.NAN)


def reason(population: Population, row: int) -> Failure:
    """Why this row has come to nothing."""
    return Failure.EMPTY if int(population.pixels[row]) == 0 else Failure.NAN


@dataclass(frozen=True)
class Size:
    """The numbers that a stage counts with before the run.

    starts, families: of the search; members: starts in its largest family; reserve: families that may come to them.
    pixels: of the grid. start: arrays of the object that a start keeps.
    """

    starts: int
    families: int
    members: int
    reserve: int = 0
    pixels: int = 0
    start: float = 0.0

    @property
    def start_arrays(self) -> float:
        """Arrays that all starts keep."""
        return self.start * self.starts


@dataclass(frozen=True)
class Arrays:
    """What a stage takes at its peak, in arrays of the object, beside the work of its steps; how many starts it runs at once; how many
    candidates it leaves."""

    peak: float
    at_once: int = 0
    candidates: int = 0


@dataclass(frozen=True, repr=False)
class Stage(ABC):
    """A part of a plan: frozen settings, one `run`, and what this takes. An expression, like a recipe.

    title: what it does, in two or three words.
    """

    rank: ClassVar[Rank]
    title: ClassVar[str] = "own stage"

    @abstractmethod
    def run(self, cohort: Cohort, context: Context) -> Cohort: ...

    @property
    @abstractmethod
    def work(self) -> tuple[Recipe, ...]:
        """The recipes that it runs."""

    @abstractmethod
    def steps(self, size: Size) -> int:
        """Iterations foreseen, over all starts."""

    @abstractmethod
    def arrays(self, size: Size) -> Arrays: ...

    @property
    def cost(self) -> float:
        """Of one of its steps, in iterations, for the time that is left."""
        costs = [a.cost for recipe in self.work for a in steps(recipe)]
        return sum(costs) / len(costs) if costs else 1.0

    def __repr__(self) -> str:
        return expression.write(self)


class Unforeseen(Stage):
    """A stage without recipes of its own: it looks at what there is, and may run others again, which nobody can foresee."""

    @property
    def work(self) -> tuple[Recipe, ...]:
        return ()

    def steps(self, size: Size) -> int:
        return 0


MOST = 100_000  # starts, families, rounds ...; more is a slip of the pen


def require_recipes(owner: Any, *recipes: Any) -> None:
    """Raise InputError unless all of these are recipes."""
    for r in recipes:
        if not isinstance(r, Recipe):
            raise InputError(f"{type(owner).__name__}: {r!r} is not a recipe; expected steps such as 20*ER + 180*HIO")
