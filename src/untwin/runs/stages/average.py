"""Every start brought to rest by one and the same recipe, and the mean of those of a family that are alike for its result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from untwin.errors import NumericalFailure
from untwin.judge import trust
from untwin.model.alignment import carried
from untwin.runs.failure import Failure
from untwin.runs.population import Population, gather, objects
from untwin.runs.stages.base import Arrays, Cohort, Context, Rank, Size, Stage, require_recipes
from untwin.solve.recipe import Recipe, length

if TYPE_CHECKING:
    from untwin.model.problem import Problem


@dataclass(frozen=True, repr=False)
class Average(Stage):
    """All starts go through this recipe; the result of a family is the mean of its best and of those that are like it, in the support that
    most of them have. What is shown is the mean of all that are alike, whatever their scores.

    A search ends in one of many minima that counting noise makes around the right one: starts differ by more than their noise, and their
    mean is nearer to the truth than any. A running mean of relaxed projections, 60*RAAR(beta=0.75) + 100*Mean(RAAR(beta=0.75)), wanders
    over these minima by itself and keeps what they share (docs/bragg.md). Families see nothing of one another: that two means
    agree is evidence as it is for two starts.

    Raises NumericalFailure where nothing is left.
    """

    recipe: Recipe

    rank: ClassVar[Rank] = Rank.RESULTS

    def __post_init__(self) -> None:
        require_recipes(self, self.recipe)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return (self.recipe,)

    def steps(self, size: Size) -> int:
        return size.starts * length(self.recipe)

    def arrays(self, size: Size) -> Arrays:
        return Arrays(4 * size.start_arrays, size.starts, size.starts)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        problem = context.problem
        began = gather(list(cohort.families)) if cohort.families else cohort.best(problem)
        (ended,), failed = context.run([(self.recipe, replace(began.state, x=began.state.image))])
        living, failures = ended.living(), cohort.failures + failed
        if not living.state.seeds:
            raise NumericalFailure(Failure.ALL.format(first=failures[0][1], count=len(failures)))
        families = [m.family for m in living.state.members]
        means = gather([family_mean(problem, living.rows([i for i, f in enumerate(families) if f == k])) for k in dict.fromkeys(families)])
        results = means.rows(means.order(problem))
        return replace(cohort, families=(), results=results, candidates=living, failures=failures, averaged=True)


def family_mean(problem: Problem, family: Population) -> Population:
    """One result: the mean of the best and of those like it, as far as most of their supports reach; a single one stays as it is."""
    family = family.rows(family.order(problem))
    x = objects(problem, family)
    aligned = problem.symmetry.align(x, x[0])
    alike = (aligned.error < trust.SIMILAR_ERROR).nonzero().flatten().tolist()
    if len(alike) < 2:
        return family.rows([0])
    inside = carried(family.state.support, aligned, problem.ndim)[alike].float().mean(0, keepdim=True) > 0.5
    mean = problem.project_object(aligned.x[alike].mean(0, keepdim=True).to(family.state.image.dtype), inside)
    return Population.of(problem, replace(family.state[[0]], x=mean, image=mean, support=inside))
