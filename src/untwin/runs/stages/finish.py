"""The best results through several supports, again and again, until their score falls no more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from untwin.checks import require_int
from untwin.random import derive
from untwin.runs.failure import Failures
from untwin.runs.population import Population, errors, gather, objects
from untwin.runs.stages.base import MOST, Arrays, Cohort, Context, Rank, Size, Stage, require_recipes
from untwin.solve.recipe import Recipe, length
from untwin.solve.state import Member, State

if TYPE_CHECKING:
    from untwin.model.problem import Problem

CANDIDATES = 32  # finished candidates that are kept for the mean (unmeasured),
LARGE_PIXELS = 1_000_000  # from which on results and recipes come one after the other, so that fewer outcomes wait
CANDIDATE_PIXELS = 10_000_000  # as long as they have no more pixels together, two of them always (80 MB of complex64)


def most_candidates(pixels: int) -> int:
    """How many candidates of so many pixels are kept."""
    return max(2, min(CANDIDATES, CANDIDATE_PIXELS // max(1, pixels)))


@dataclass(frozen=True, repr=False)
class Finish(Stage):
    """The best of all and the best of the family most like it go through all of these recipes; the best outcome starts the next round.

    recipes: each is run `deal` times with seeds of its own (Deal divides settings among them). rounds: at most so many; a result whose
    score falls no more is done.
    """

    recipes: tuple[Recipe, ...]
    deal: int = 1
    rounds: int = 1

    rank: ClassVar[Rank] = Rank.RESULTS
    title: ClassVar[str] = "finish"

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
        jobs = 1 if size.pixels > LARGE_PIXELS else len(self.recipes) * min(2, families)
        dealt = self.deal * jobs if self.rounds else 0
        candidates = min(dealt + families, most_candidates(size.pixels)) if dealt else families
        return Arrays(1.5 * size.start_arrays + size.start * (dealt + candidates), dealt, candidates)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        if not self.recipes or not self.rounds:
            return cohort
        problem, results = context.problem, cohort.best(context.problem)
        n = len(results)
        rows = [0]
        if n > 1:
            others = results.rows(list(range(1, n)))
            rows.append(1 + int(errors(problem, others, objects(problem, results.rows([0]))[0]).argmin()))
        finished, candidates, failures = self._finished(results.rows(rows), context)
        results = gather([finished.rows(finished.order(problem)), *(results.rows([i]) for i in range(n) if i not in rows)])
        if not context.iterates:
            results = results.resting(problem)
        return replace(cohort, families=(), results=results, candidates=candidates, failures=cohort.failures + failures)

    def _finished(self, population: Population, context: Context) -> tuple[Population, Population, Failures]:
        """Each member at its own best; the best of all candidates that were met on the way; and what failed."""
        problem, failures = context.problem, ()
        current = [population.rows([i]) for i in range(len(population))]
        active, candidates = list(range(len(current))), population.resting(problem)
        large = problem.counts.amplitude.numel() > LARGE_PIXELS
        for turn in range(self.rounds):
            better: list[int] = []
            for together in [[i] for i in active] if large else [active]:
                before = [current[i] for i in together]
                jobs = [(i, recipe, self._dealt(current[i].singles[0], turn)) for i in together for recipe in self.recipes]
                for some in [[job] for job in jobs] if large else [jobs]:
                    candidates, failed = self._gone_through(some, current, candidates, context)
                    failures += failed
                better += [i for i, former in zip(together, before, strict=True) if current[i] is not former]
            if not (active := better):
                break
        return gather(current), candidates, failures

    def _gone_through(
        self, jobs: list[tuple[int, Recipe, State]], current: list[Population], candidates: Population, context: Context
    ) -> tuple[Population, Failures]:
        """The candidates with those that these jobs came to, and what failed; a result that one of them has made better stands in its place
        in `current`. What is not kept is gone when this ends."""
        problem = context.problem
        outcomes, failed = context.run([(recipe, state) for _, recipe, state in jobs])
        for i in {i for i, _, _ in jobs}:
            rivals = gather([current[i], *(p for (j, _, _), p in zip(jobs, outcomes) if j == i)])
            best = rivals.order(problem)[0]
            if best:
                single = replace(rivals.singles[best], members=current[i].members)
                current[i] = replace(rivals.rows([best]), singles=(single,))
        return self._best([candidates, *outcomes], problem), failed

    def _best(self, populations: list[Population], problem: Problem) -> Population:
        """The candidates that are kept for the mean, from which nothing begins any more."""
        candidates = gather(populations)
        return candidates.rows(candidates.order(problem)[: most_candidates(problem.counts.amplitude.numel())]).resting(problem)

    def _dealt(self, state: State, turn: int) -> State:
        """A single result, so many times, each with a seed of its own."""
        member = state.members[0]
        members = tuple(Member(derive(member.seed, "candidate", turn, k), k, member.family, "candidate") for k in range(self.deal))
        image, support, bounds = (t.expand(self.deal, *t.shape[1:]) for t in (state.image, state.support, state.bounds))
        nuisance = {name: value[[0] * self.deal] for name, value in state.nuisance.items()}
        return State(x=image, image=image, support=support, bounds=bounds, members=members, nuisance=nuisance)
