"""Starts that have ended, with their figures, and what the next ones are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from untwin.judge import metrics
from untwin.model.alignment import LARGE, Alignment
from untwin.random import derive
from untwin.solve.state import Member, State

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

SURVIVORS = 4  # one in so many of a family lives on beside its children (unmeasured)
LARGE_PIXELS = 500_000  # from which on a resting start is worth the work of writing it anew (unmeasured)
PARENTS = 2  # one in so many, the better ones, is a parent (the better half; unmeasured)


@dataclass(frozen=True, eq=False)
class Population:
    """Starts that have ended, with their figures, all (starts,) float64: deviance (half, Poisson; infinite where a start has come to
    nothing or is not finite), r_factor, pixels in the support, unknowns (metrics.unknowns).

    singles: a state of each start, so that nothing is copied where some of them are chosen, ordered or joined.
    """

    singles: tuple[State, ...]
    deviance: Tensor
    r_factor: Tensor
    pixels: Tensor
    unknowns: Tensor

    @classmethod
    def of(cls, problem: Problem, *states: State) -> Population:
        """Figures of P_S of the estimates."""
        import torch

        d = problem.counts
        singles = tuple(state[[row]] for state in states for row in range(len(state.members)))
        deviance, r, free, pixels = [], [], [], []
        for single in singles:
            x = problem.project_object(single.image, single.support)
            f = problem.holding(single.nuisance).predict(x)
            free.append(metrics.unknowns(x, single.support))
            deviance.append(metrics.half_deviance(f, d.intensity, d.measured))
            r.append(metrics.r_factor(f, d.intensity, d.measured))
            pixels.append(single.support.flatten(1).sum(1).double())
        figures = [torch.cat(values) for values in (deviance, r, pixels, free)]
        dead = ~figures[0].isfinite() | ~figures[1].isfinite() | ~figures[3].isfinite() | (figures[2] == 0)
        return cls(singles, figures[0].masked_fill(dead, float("inf")), *figures[1:])

    def __len__(self) -> int:
        return len(self.singles)

    @property
    def state(self) -> State:
        """One of all starts: a copy where there are several."""
        return State.concatenate(self.singles)

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(m for s in self.singles for m in s.members)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(m.seed for m in self.members)

    def scores(self, problem: Problem) -> Tensor:
        return metrics.scores(self.deviance, self.unknowns, int(problem.counts.measured.sum()), problem.pattern.counted)

    def order(self, problem: Problem) -> list[int]:
        """Rows from the best to the worst."""
        return self.scores(problem).argsort(stable=True).tolist()

    def dead(self) -> list[int]:
        """Rows that have come to nothing."""
        return (~self.deviance.isfinite()).nonzero().flatten().tolist()

    def living(self) -> Population:
        dead = self.dead()
        return self.rows([i for i in range(len(self)) if i not in dead]) if dead else self

    def same_bits(self, row: int, other: int) -> bool:
        """True where two results are the same to the bit: their starts did not differ, and that they agree says nothing."""
        import torch

        return torch.equal(self.singles[row].image, self.singles[other].image)

    def rows(self, rows: list[int]) -> Population:
        singles = tuple(self.singles[r] for r in rows)
        return Population(singles, self.deviance[rows], self.r_factor[rows], self.pixels[rows], self.unknowns[rows])

    def replaced(self, rows: list[int], replacements: Population) -> Population:
        """With replacements, in order, in place of some rows."""
        n = len(self)
        at = [n + rows.index(i) if i in rows else i for i in range(n)]
        return gather([self, replacements]).rows(at)

    def resting(self, problem: Problem) -> Population:
        """The same where nothing begins from it any more: of a large array only what lies inside the support takes memory."""
        if not problem.constraint.confined or problem.counts.amplitude.numel() < LARGE_PIXELS or problem.device != "cpu":
            return self
        return replace(self, singles=tuple(_resting(s) for s in self.singles))


def _resting(state: State) -> State:
    """The state whose x and image are 0 outside the support: pages of memory in which nothing was ever written are not there."""
    import mmap

    import torch

    block = mmap.mmap(-1, state.image.nbytes)
    image = torch.frombuffer(block, dtype=state.image.dtype).view(state.image.shape)
    inside = state.support.flatten().nonzero().flatten()
    image.flatten()[inside] = state.image.flatten()[inside]
    return replace(state, x=image, image=image)


def gather(populations: list[Population]) -> Population:
    import torch

    return Population(
        tuple(s for p in populations for s in p.singles),
        torch.cat([p.deviance for p in populations]),
        torch.cat([p.r_factor for p in populations]),
        torch.cat([p.pixels for p in populations]),
        torch.cat([p.unknowns for p in populations]),
    )


def objects(problem: Problem, population: Population) -> Tensor:
    """(starts, *grid) complex: P_S of the estimates."""
    import torch

    x = [problem.project_object(s.image, s.support) for s in population.singles]
    x = x[0] if len(x) == 1 else torch.cat(x)
    return x if x.is_complex() else x.to(x.dtype.to_complex())


def aligned(problem: Problem, population: Population, reference: Tensor) -> Iterator[Alignment]:
    """The object of each start, aligned with the reference (*grid), one after the other; large arrays are aligned so, too, and copies
    that nobody keeps are gone."""
    rows = [[i] for i in range(len(population))]
    if len(population) * reference.numel() > LARGE:
        yield from (problem.symmetry.align(objects(problem, population.rows(row)), reference) for row in rows)
    elif rows:
        every = problem.symmetry.align(objects(problem, population), reference)
        yield from (Alignment(*(getattr(every, f.name)[row] for f in fields(Alignment))) for row in rows)


def errors(problem: Problem, population: Population, reference: Tensor) -> Tensor:
    """(starts,): E of each object to the reference (*grid)."""
    import torch

    each = [a.error for a in aligned(problem, population, reference)]
    return torch.cat(each) if each else torch.zeros(0, dtype=torch.float64)


def start(seed: int, number: int, family: int = 0, attempt: int = 0) -> Member:
    """An independent start of a run. attempt: above 0, the first, second ... that stands in for one that came to nothing."""
    return Member(derive(seed, "start", number, attempt), number, family)


def as_role(state: State, role: str) -> State:
    return replace(state, members=tuple(replace(m, role=role) for m in state.members))


def survivors(members: int) -> int:
    """How many of a family of so many live on beside their children."""
    return max(1, members // SURVIVORS)


def children_of(members: int) -> int:
    """How many children a family of so many gets: it keeps its size, and a single start gets one."""
    return max(1, members - survivors(members))


def children(problem: Problem, population: Population, members: tuple[Member, ...], mix: bool = False) -> State:
    """Children of a family: magnitudes of its better half, aligned by whole pixels, with the best one's phases. mix: each is the mean of
    one of these and of another, drawn by its seed."""
    import torch

    order = population.order(problem)
    best = population.rows(order[:1])
    parents = population.rows(order[: max(1, len(order) // PARENTS)])
    a = best.state.image[0]
    aligned = problem.symmetry.align(parents.state.image, a, subpixel=False)
    if problem.real:
        x = aligned.x.real
    else:
        phase = torch.sgn(a)
        x = aligned.x.abs() * phase
    first = [i % len(x) for i in range(len(members))]
    if mix and len(x) > 1:
        others = [1 + derive(m.seed, "mate") % (len(x) - 1) for m in members]
        x = (x[first] + x[[(i + by) % len(x) for i, by in zip(first, others)]]) / 2
    else:
        x = x[first]
    bounds = best.state.bounds.expand(x.shape)
    nuisance = {name: value.expand(len(members)) for name, value in best.state.nuisance.items()}
    return State(x=x, image=x, support=best.state.support.expand(x.shape), bounds=bounds, members=members, nuisance=nuisance)
