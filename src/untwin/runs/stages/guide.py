"""Guided generations within a family (Chen et al., Phys. Rev. B 76, 064113, 2007)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from untwin.checks import require_int, require_number
from untwin.random import derive
from untwin.runs.failure import Failures
from untwin.runs.population import Population, children, children_of, gather, survivors
from untwin.runs.stages.base import MOST, Arrays, Cohort, Context, Rank, Size, Stage, require_recipes
from untwin.solve.recipe import Recipe, length
from untwin.solve.state import Member


@dataclass(frozen=True, repr=False)
class Guide(Stage):
    """Each family is guided: its better half is aligned to its best, a; child = |b| exp(i arg a); the best quarter lives on.

    children: recipes that the children take in turn. generations: how often, at most.
    max_disagreement: E between the best of two families, below which there are no further generations; 0: all are run.
    mix: a child is the mean of two parents, drawn by its seed. Objects with features that each of them lacks come together only so.
    """

    children: tuple[Recipe, ...]
    generations: int = 1
    max_disagreement: float = 0.0
    mix: bool = False

    rank: ClassVar[Rank] = Rank.FAMILIES
    title: ClassVar[str] = "guided generations"

    def __post_init__(self) -> None:
        require_recipes(self, *self.children)
        require_int(self, "generations", 0, MOST)
        require_number(self, "max_disagreement", 0, 1, below=True)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return self.children

    def steps(self, size: Size) -> int:
        return self.generations * size.families * children_of(size.members) * max(map(length, self.children), default=0)

    def arrays(self, size: Size) -> Arrays:
        children = children_of(size.members) * size.families if self.children and self.generations else 0
        return Arrays(1.5 * size.start_arrays + 2 * size.start * children, children)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        for _ in range(self.generations if self.children and cohort.families else 0):
            if self.max_disagreement and cohort.disagreement(context.problem) < self.max_disagreement:
                break
            families, failures = self._generation(cohort, context)
            cohort = replace(cohort, families=families, failures=cohort.failures + failures, generations=cohort.generations + 1)
        return cohort

    def _generation(self, cohort: Cohort, context: Context) -> tuple[tuple[Population, ...], Failures]:
        problem, jobs, remaining = context.problem, [], []
        for k, grown in enumerate(cohort.families):
            family = grown.living()
            n = len(family)
            kin = family.members[0].family
            seeds = (derive(context.seed, "child", kin, cohort.generations, i) for i in range(children_of(n)))
            born = children(problem, family, tuple(Member(seed, i, kin, "child") for i, seed in enumerate(seeds)), self.mix)
            for i, recipe in enumerate(self.children):
                if rows := list(range(i, len(born.seeds), len(self.children))):
                    jobs.append((k, recipe, born[rows]))
            remaining.append(family.rows(family.order(problem)[: survivors(n)]))
        populations, failures = context.run([(recipe, state) for _, recipe, state in jobs])
        return tuple(
            gather([rest, *(p for (j, _, _), p in zip(jobs, populations) if j == k)]) for k, rest in enumerate(remaining)
        ), failures
