"""The best results through several supports, again and again, until their score falls no more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from untwin.checks import require_int
from untwin.random import derive
from untwin.runs.failure import Failures
from untwin.runs.population import Population, gather, objects
from untwin.runs.stages.base import MOST, Arrays, Cohort, Context, Rank, Size, Stage, require_recipes
from untwin.solve.recipe import Recipe, length
from untwin.solve.state import Member, State

CANDIDATES = 32  # finished candidates that are kept for the mean (unmeasured),
CANDIDATE_PIXELS = 10_000_000  # as long as they have no more pixels together, two of them always (80 MB of complex64)


def most_candidates(pixels: int) -> int:
    """How many candidates of so many pixels are kept."""
    return max(2, min(CANDIDATES, CANDIDATE_PIXELS // max(1, pixels)))


@dataclass(frozen=True, repr=False)
class Finish(Stage):
    """The best of all and the best of the family most like it go through all of these recipes; the best outcome starts the next round.

    recipes: each is run `deal` times with seeds of its own (settings are dealt out by Deal). rounds: at most so many; a result whose
    score falls no more is done.
    """

    recipes: tuple[Recipe, ...]
    deal: int = 1
    rounds: int = 1

    rank: ClassVar[Rank] = Rank.RESULTS

    def __post_init__(self) -> None:
        require_recipes(self, *self.recipes)
        require_int(self, "deal", 1, MOST)
        require_int(self, "rounds", 0, MOST)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return self.recipes

    def steps(self, size: Size) -> int:
        return sum(map(length, self.recipes)) * self.deal * self.rounds * min(2, size.families)

    def arrays(self, size: Size) -> Arrays:
        families = size.families + size.reserve
        dealt = self.deal * len(self.recipes) * min(2, families) if self.rounds else 0
        candidates = min(dealt + families, most_candidates(size.pixels)) if dealt else families
        return Arrays(size.start_arrays + 4 * size.start * dealt + 3 * size.start * candidates, dealt, candidates)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        if not self.recipes or not self.rounds:
            return cohort
        problem, results = context.problem, cohort.best(context.problem)
        n = len(results.state.seeds)
        rows = [0]
        if n > 1:
            x = objects(problem, results)
            rows.append(1 + int(problem.symmetry.align(x[1:], x[0]).error.argmin()))
        finished, candidates, failures = self._finished(results.rows(rows), context)
        results = gather([finished.rows(finished.order(problem)), *(results.rows([i]) for i in range(n) if i not in rows)])
        return replace(cohort, families=(), results=results, candidates=candidates, failures=cohort.failures + failures)

    def _finished(self, population: Population, context: Context) -> tuple[Population, Population, Failures]:
        """Each member at its own best; the best of all candidates that were met on the way; and what failed."""
        problem, failures = context.problem, ()
        current = [population.rows([i]) for i in range(len(population.state.seeds))]
        active, candidates = list(range(len(current))), population
        for turn in range(self.rounds):
            jobs = [(i, recipe, self._dealt(current[i].state, turn)) for i in active for recipe in self.recipes]
            outcomes, failed = context.run([(recipe, state) for _, recipe, state in jobs])
            failures += failed
            candidates = gather([candidates, *outcomes])
            candidates = candidates.rows(candidates.order(problem)[: most_candidates(problem.counts.amplitude.numel())])
            for i in list(active):
                rivals = gather([current[i], *(p for (j, _, _), p in zip(jobs, outcomes) if j == i)])
                best = rivals.order(problem)[0]
                if best == 0:
                    active.remove(i)
                else:
                    better = rivals.rows([best])
                    current[i] = replace(better, state=replace(better.state, members=current[i].state.members))
            if not active:
                break
        return gather(current), candidates, failures

    def _dealt(self, state: State, turn: int) -> State:
        """A single result, so many times, each with a seed of its own."""
        member = state.members[0]
        members = tuple(Member(derive(member.seed, "candidate", turn, k), k, member.family, "candidate") for k in range(self.deal))
        return replace(state[[0] * self.deal], members=members, x=state.image.expand(self.deal, *state.image.shape[1:]))
