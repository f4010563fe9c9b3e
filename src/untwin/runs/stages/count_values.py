"""How many values of a sparse object are not 0, where nobody has said it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, ClassVar

from untwin.checks import require_int, require_number
from untwin.errors import NumericalFailure
from untwin.judge import trust
from untwin.model.constraints import Sparse
from untwin.random import derive
from untwin.runs.population import Population, objects
from untwin.runs.stages.base import MOST, Arrays, Cohort, Context, Rank, Size, Stage, require_recipes
from untwin.solve.begin import begin
from untwin.solve.recipe import Recipe, length
from untwin.solve.state import Member

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

FINE = 1.5**0.5  # from one number to the next (docs/sparse-objects.md, How many values)
NUMBERS = 9  # of them: up to five times the first, with which two starts agree


@dataclass(frozen=True, repr=False)
class CountValues(Stage):
    """Sparse() becomes Sparse(k). Searches with more and more values, each by `factor`, until two starts agree; then, from the estimate
    that they agree on, the number at which the misfit falls least, from its square root of `factor` below to that above. Fewer values lack
    some of the object, and more explain noise.

    A search succeeds with two thirds to five fourths of the right number, so that no number need be tried in between. Nothing happens where
    the number is known. Raises NumericalFailure where no two starts agree.

    search: the recipe of each start. polish: of the estimate with another number. starts: for each number. least, most: shares of the
        pixels that are tried.
    """

    search: Recipe
    polish: Recipe
    starts: int = 4
    least: float = 0.005
    most: float = 0.3
    factor: float = 1.5

    rank: ClassVar[Rank] = Rank.DETECTOR
    title: ClassVar[str] = "number of values"

    def __post_init__(self) -> None:
        require_recipes(self, self.search, self.polish)
        require_int(self, "starts", 2, MOST)
        require_number(self, "least", 0, 1, above=True)
        require_number(self, "most", self.least, 1)
        require_number(self, "factor", 1, 10, above=True)

    @property
    def work(self) -> tuple[Recipe, ...]:
        return (self.search, self.polish)

    def steps(self, size: Size) -> int:
        return self.starts * length(self.search)

    def arrays(self, size: Size) -> Arrays:
        return Arrays(3 * self.starts * size.start, self.starts)

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        problem = context.problem
        if all(c.k is not None for c in problem.constraint.parts() if isinstance(c, Sparse)):
            return cohort
        k, image, tried = float(self.least * problem.counts.amplitude.numel()), None, []
        while image is None and k <= self.most * problem.counts.amplitude.numel():
            tried.append(round(k))
            image, k = self._agreed(with_values(problem, round(k)), context), k * self.factor
        if image is None:
            raise NumericalFailure(
                f"no two starts agree with {', '.join(map(str, tried))} values that are not 0; say how many there are: Sparse(k)"
            )
        k = self._enough(problem, image, tried[-1], context)
        note = f"{k} values of the object are not 0 (there the misfit falls least; two starts agree from {tried[-1]} on)"
        numbers = cohort.numbers | {"values": float(k)}
        return replace(cohort, problem=with_values(problem, k), numbers=numbers, notes=(*cohort.notes, note))

    def _agreed(self, problem: Problem, context: Context) -> Tensor | None:
        """(1, *grid): the estimate that explains the counts best, if another start has come to it."""
        k = next(c.k for c in problem.constraint.parts() if isinstance(c, Sparse))
        members = tuple(Member(derive(context.seed, "values", k or 0, i), i, i) for i in range(self.starts))
        own = replace(context, problem=problem, purpose=f"{context.purpose}{k} values, ")
        population = Population.of(problem, *own.map([(self.search, begin(problem, members))])[0].states).living()
        if len(population) < 2:
            return None
        population = population.rows(population.order(problem))
        x = objects(problem, population)
        near = problem.symmetry.align(x[1:], x[0]).error
        return population.state.image[:1] if float(near.min()) < trust.SIMILAR_ERROR else None

    def _enough(self, problem: Problem, image: Tensor, k: int, context: Context) -> int:
        """The number of values, from k on, at which the logarithm of the misfit of an estimate falls least."""
        numbers, misfits, pixels = [min(round(k * FINE**i), image[0].numel()) for i in range(NUMBERS)], [], problem.counts.measured.sum()
        for n in numbers:
            trial = with_values(problem, n)
            state = begin(trial, (Member(derive(context.seed, "values", n)),), x=image).replace(image=image)
            own = replace(context, problem=trial, purpose=f"{context.purpose}{n} of {k} values, ")
            misfits.append(float(Population.of(trial, own.map([(self.polish, state)])[0].state).deviance[0]) + 1e-6 * float(pixels))
        left = [after / before for before, after in zip(misfits, misfits[2:])]
        return numbers[1 + left.index(max(left))]


def with_values(problem: Problem, k: int) -> Problem:
    """The problem with Sparse(k) in place of Sparse()."""
    parts = [Sparse(k) if isinstance(c, Sparse) else c for c in problem.constraint.parts()]
    return problem.within(constraint=reduce(and_, parts))
