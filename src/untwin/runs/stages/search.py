"""Independent starts, divided among families that share nothing: that two of them end at the same object is the certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from untwin.checks import require_int
from untwin.errors import InputError, NumericalFailure
from untwin.runs.failure import Failure, Failures
from untwin.runs.population import Population, start
from untwin.runs.stages.base import MOST, Arrays, Cohort, Context, Rank, Size, Stage, reason, require_recipes
from untwin.solve.begin import begin
from untwin.solve.recipe import Recipe, length

if TYPE_CHECKING:
    from untwin.solve.state import Member

SAMPLES = 25  # looks at the R-factor of a start on its way (for the convergence figure; unmeasured)
REPLACED = 0.5  # share of the starts that may fail and be replaced before the run counts as broken, one at least (unmeasured)


@dataclass(frozen=True, repr=False)
class Search(Stage):
    """Independent starts, each through the same recipe.

    first: the recipe. starts: how many; number s belongs to family s modulo `families`, and its seed follows from the run's.
    A start that fails is replaced by one with a seed of its own, as long as no more than half of them have failed (or one).
    Raises NumericalFailure where none is left.
    """

    first: Recipe
    starts: int = 8
    families: int = 1

    rank: ClassVar[Rank] = Rank.SEARCH
    title: ClassVar[str] = "random starts"

    def __post_init__(self) -> None:
        require_recipes(self, self.first)
        require_int(self, "starts", 1, MOST)
        require_int(self, "families", 1, MOST)
        if self.families > self.starts:
            raise InputError(f"Search: {self.families} families of {self.starts} starts; expected at least one start each")

    @property
    def members(self) -> int:
        """Starts in the largest family."""
        return -(-self.starts // self.families)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return (self.first,)

    def steps(self, size: Size) -> int:
        return self.starts * length(self.first)

    def arrays(self, size: Size) -> Arrays:
        return Arrays(2 * size.start_arrays, self.starts)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        """The cohort with these families beside those that it has; their starts are counted on."""
        members = tuple(start(context.seed, cohort.starts + i, cohort.raised + i % self.families) for i in range(self.starts))
        population, traces, failures = self._with_replacements(members, context)
        dead = population.dead()
        living = [i for i in range(self.starts) if i not in dead]
        shares = [[i for i in living if i % self.families == k] for k in range(self.families)]
        cohort = replace(
            cohort,
            families=(*cohort.families, *(population.rows(rows) for rows in shares if rows)),
            firsts=(*cohort.firsts, population.living().resting(context.problem)),
            traces=(*cohort.traces, *(traces[i] for i in living)),
            failures=cohort.failures + failures,
            broken=cohort.broken or bool(dead),
            starts=cohort.starts + self.starts,
            raised=cohort.raised + self.families,
        )
        if not any(len(first) for first in cohort.firsts):
            raise NumericalFailure(Failure.ALL.format(first=cohort.failures[0][1], count=len(cohort.failures)))
        return cohort

    def _with_replacements(self, members: tuple[Member, ...], context: Context) -> tuple[Population, list, Failures]:
        """The starts after the recipe, those that failed replaced; their traces; and what failed."""
        failures: Failures = ()
        current, attempt = list(members), 0
        population, traces = self._through(members, context)
        while rows := population.dead():
            failures += tuple((current[i], reason(population, i)) for i in rows)
            if len(failures) > max(1, int(REPLACED * len(members))):
                break
            attempt += 1
            for i in rows:
                current[i] = start(context.seed, members[i].number, members[i].family, attempt)
            replacements, lines = self._through(tuple(current[i] for i in rows), context)
            population = population.replaced(rows, replacements)
            for i, line in zip(rows, lines):
                traces[i] = line
        return population, traces, failures

    def _through(self, members: tuple[Member, ...], context: Context) -> tuple[Population, list]:
        jobs = [(self.first, begin(context.problem, members, context.support))]
        result = context.map(jobs, SAMPLES)[0]
        return Population.of(context.problem, *result.states), list(result.traces)
