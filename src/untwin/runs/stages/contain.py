"""Where the counts contradict the model: further families whose supports cannot run away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from untwin.checks import require_number
from untwin.judge import metrics, trust
from untwin.runs.population import Population, errors, gather, objects
from untwin.runs.stages.base import Arrays, Cohort, Context, Rank, Size, Stage, require_recipes
from untwin.runs.stages.search import Search
from untwin.solve.recipe import Recipe

if TYPE_CHECKING:
    from untwin.model.problem import Problem

MAX_DEVIANCE_RATIO = 1.5  # half deviance of the best result over the one expected of the truth (docs/benchmarks.md, A wrong model)


@dataclass(frozen=True, repr=False)
class Contain(Stage):
    """Where the best result leaves more than `max_deviance_ratio` times the half deviance that is expected of the truth, and no
    independent family agrees with it, new families are searched with supports that haze cannot widen; they are taken where they agree
    better with one another than those before.

    A wrong model (blur, flat field, a crop) leaves haze around the object. Every pixel of it that a support takes in buys likelihood,
    more than any charge per pixel, and lowers the rms in the support, and with it the next threshold: the support runs away. A share of
    the amplitude-weighted level (ShrinkWrap(level='weighted')) stays where it is; supports are then similar, and the likelihood chooses
    between them as it does under a right model. Where the numbers are no counts nobody knows what is expected: they are searched where no
    family agrees.

    recipe: of the new starts; they are as many, in as many families, as those of the search.
    """

    recipe: Recipe
    max_deviance_ratio: float = MAX_DEVIANCE_RATIO

    rank: ClassVar[Rank] = Rank.RESULTS
    title: ClassVar[str] = "contained supports"

    def __post_init__(self) -> None:
        require_recipes(self, self.recipe)
        require_number(self, "max_deviance_ratio", 0)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return (self.recipe,)

    def steps(self, size: Size) -> int:
        """None: nobody knows whether they will be called."""
        return 0

    def arrays(self, size: Size) -> Arrays:
        return Arrays(3 * size.start_arrays, size.starts, 2 * size.starts)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        problem = context.problem
        before = cohort.best(problem)
        disagreement = nearest(problem, before)
        if cohort.broken or not disagreement >= trust.SAME_ERROR:
            return cohort
        if problem.pattern.counted and deviance_ratio(problem, before) <= self.max_deviance_ratio:
            return cohort
        search = next(stage for stage in context.before if isinstance(stage, Search))
        searched = replace(search, first=self.recipe).run(replace(cohort, families=(), results=None), context)
        results = searched.best(problem) if searched.families else before
        if not nearest(problem, results) < disagreement:
            return replace(cohort, failures=searched.failures, starts=searched.starts, raised=searched.raised)
        return replace(searched, families=(), results=results, candidates=gather(list(searched.families)).resting(problem), contained=True)


def nearest(problem: Problem, results: Population) -> float:
    """E between the best result and the one most like it; NaN of a single one."""
    if len(results) < 2:
        return math.nan
    others, best = results.rows(list(range(1, len(results)))), objects(problem, results.rows([0]))[0]
    return min(errors(problem, others, best).nan_to_num(nan=1.0).tolist())


def deviance_ratio(problem: Problem, results: Population) -> float:
    """Half deviance of the best result over what would be left of the truth by counting alone: 1 where the model is right."""
    best = results.rows([0])
    f = problem.holding(best.state.nuisance).predict(problem.project_object(best.state.image, best.state.support))
    return float(best.deviance / metrics.expected_half_deviance(f.nan_to_num(), problem.counts.measured).clamp(min=1e-30))
