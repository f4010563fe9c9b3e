"""At the end, the best results through a last recipe, each on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from untwin.checks import require_number
from untwin.expression import former_settings
from untwin.judge.trust import SIMILAR_ERROR
from untwin.runs.population import Population, as_role, errors, gather, objects
from untwin.runs.stages.base import Arrays, Cohort, Context, Rank, Size, Stage, require_recipes
from untwin.solve.recipe import Recipe, length

if TYPE_CHECKING:
    from untwin.model.problem import Problem


@former_settings(apart="min_disagreement", explained="max_deviance_ratio")
@dataclass(frozen=True, repr=False)
class Refine(Stage):
    """The best result and that of the family most like it go through a recipe, each on its own. `reconstruct` keeps what comes out
    if the two are similar afterwards, or, of a single family, if the half deviance has fallen.

    min_disagreement: only where these two differ by more than this (E).
    max_deviance_ratio: if these two are not similar, the results of all families are refined. The one with the least half deviance is
        kept if this is at most so many times what is expected of the truth. 0: never. It tells right from wrong only with many photons.
    """

    recipe: Recipe
    min_disagreement: float = 0.0
    max_deviance_ratio: float = 0.0

    rank: ClassVar[Rank] = Rank.END
    title: ClassVar[str] = "deep prior"

    def __post_init__(self) -> None:
        require_recipes(self, self.recipe)
        require_number(self, "min_disagreement", 0, 1, below=True)
        require_number(self, "max_deviance_ratio", 0, 100, below=True)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return (self.recipe,)

    def _most(self, families: int) -> int:
        """How many results are refined, at most."""
        return families if self.max_deviance_ratio else min(2, families)

    def steps(self, size: Size) -> int:
        return length(self.recipe) * self._most(size.families)

    def arrays(self, size: Size) -> Arrays:
        most = self._most(size.families + size.reserve)
        return Arrays(size.start_arrays + 2 * size.start * most, most)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        results = cohort.best(context.problem)
        rows = self.rows_to_refine(context.problem, results)
        if not rows:
            return replace(cohort, families=(), results=results)
        jobs = [(self.recipe, as_role(results.singles[row], "refinement")) for row in rows]
        populations, failures = context.run(jobs)
        return replace(cohort, families=(), results=results, refined=gather(populations), failures=cohort.failures + failures)

    def rows_to_refine(self, problem: Problem, results: Population) -> list[int]:
        """The rows of the results that are refined: the best one and the one most like it; all where these two are not similar and
        `max_deviance_ratio` is set; none where they hardly differ."""
        n = len(results)
        if n < 2:
            return [0]
        e = errors(problem, results.rows(list(range(1, n))), objects(problem, results.rows([0]))[0]).nan_to_num(nan=1.0)
        if float(e.min()) <= self.min_disagreement:
            return []
        return list(range(n)) if self.max_deviance_ratio and float(e.min()) >= SIMILAR_ERROR else [0, 1 + int(e.argmin())]
