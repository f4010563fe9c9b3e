"""Every start brought to rest by one and the same recipe, and the mean of the similar ones of a family for its result."""

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
    """All starts go through this recipe. The result of a family is the mean of its largest group of similar starts, in the support
    that most of them have. What is shown is the mean of all that are similar, whatever their scores: the likelihood may prefer a start
    that no other is like. In how many families it does is `families_overruled`; with any, nothing is trusted.

    A search ends in one of many minima that counting noise makes around the right one: starts differ by more than their noise, and their
    mean is nearer to the truth than any. A running mean of relaxed projections, 60*RAAR(beta=0.75) + 100*Mean(RAAR(beta=0.75)), wanders
    over these minima by itself and keeps what they share (docs/bragg.md). Families see nothing of one another: that two means
    agree is evidence as it is for two starts.

    Raises NumericalFailure where nothing is left.
    """

    recipe: Recipe

    rank: ClassVar[Rank] = Rank.RESULTS
    title: ClassVar[str] = "averages"

    def __post_init__(self) -> None:
        require_recipes(self, self.recipe)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return (self.recipe,)

    def steps(self, size: Size) -> int:
        return size.starts * length(self.recipe)

    def arrays(self, size: Size) -> Arrays:
        return Arrays(3 * size.start_arrays, size.starts, size.starts)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        problem = context.problem
        began = gather(list(cohort.families)) if cohort.families else cohort.best(problem)
        (ended,), failed = context.run([(self.recipe, replace(began.state, x=began.state.image))])
        living, failures = ended.living(), cohort.failures + failed
        if not len(living):
            raise NumericalFailure(Failure.ALL.format(first=failures[0][1], count=len(failures)))
        of = [m.family for m in living.members]
        families = [living.rows([i for i, f in enumerate(of) if f == k]) for k in dict.fromkeys(of)]
        means = [family_mean(problem, family) for family in families]
        overruled = sum(m.members[0] != f.members[f.order(problem)[0]] for m, f in zip(means, families, strict=True))
        results = gather(means)
        results, numbers = results.rows(results.order(problem)), cohort.numbers | {"families_overruled": float(overruled)}
        candidates = living.resting(problem)
        return replace(cohort, families=(), results=results, candidates=candidates, failures=failures, averaged=True, numbers=numbers)


def family_mean(problem: Problem, family: Population) -> Population:
    """One result: the mean of the similar starts of a family, as far as most of their supports reach: of the start to which most others
    are similar, the best of several, and of these. Where no two are similar the best one as it is."""
    family = family.rows(family.order(problem))
    x = objects(problem, family)
    alike = problem.symmetry.distances(x) < trust.SIMILAR_ERROR
    middle = int(alike.sum(1).argmax())  # the first of several, which is the best
    rows = alike[middle].nonzero().flatten().tolist()
    if len(rows) < 2:
        return family.rows([0])
    aligned = problem.symmetry.align(x[rows], x[middle])
    state = family.rows(rows).state
    inside = carried(state.support, aligned, problem.ndim).float().mean(0, keepdim=True) > 0.5
    mean = problem.project_object(aligned.x.mean(0, keepdim=True).to(state.image.dtype), inside)
    return Population.of(problem, replace(state[[0]], x=mean, image=mean, support=inside))
