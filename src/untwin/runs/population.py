"""Starts that have ended, with their figures, and what the next ones are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin.judge import metrics
from untwin.random import derive
from untwin.solve.state import Member, State

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem

SURVIVORS = 4  # one in so many of a family lives on beside its children (unmeasured)
PARENTS = 2  # one in so many, the better ones, is a parent (the better half; unmeasured)


@dataclass(frozen=True, eq=False)
class Population:
    """Starts that have ended, with their figures, all (starts,) float64: deviance (half, Poisson; infinite where a start has come to
    nothing or is not finite), r_factor, pixels in the support, unknowns (metrics.unknowns)."""

    state: State
    deviance: Tensor
    r_factor: Tensor
    pixels: Tensor
    unknowns: Tensor

    @classmethod
    def of(cls, problem: Problem, state: State) -> Population:
        """Figures of P_S of the estimates."""
        import torch

        d = problem.counts
        deviance, r, free = [], [], []
        for row in range(len(state.seeds)):
            single = state[[row]]
            x = problem.project_object(single.image, single.support)
            f = problem.holding(single.nuisance).predict(x)
            free.append(metrics.unknowns(x, single.support))
            deviance.append(metrics.half_deviance(f, d.intensity, d.measured))
            r.append(metrics.r_factor(f, d.intensity, d.measured))
        pixels = state.support.flatten(1).sum(1).double()
        dead = ~torch.cat(deviance).isfinite() | ~torch.cat(r).isfinite() | ~torch.cat(free).isfinite() | (pixels == 0)
        return cls(state, torch.cat(deviance).masked_fill(dead, float("inf")), torch.cat(r), pixels, torch.cat(free))

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
        return self.rows([i for i in range(len(self.state.seeds)) if i not in dead]) if dead else self

    def rows(self, rows: list[int]) -> Population:
        return Population(self.state[rows], self.deviance[rows], self.r_factor[rows], self.pixels[rows], self.unknowns[rows])

    def replaced(self, rows: list[int], replacements: Population) -> Population:
        """With replacements, in order, in place of some rows."""
        n = len(self.state.seeds)
        at = [n + rows.index(i) if i in rows else i for i in range(n)]
        return gather([self, replacements]).rows(at)


def gather(populations: list[Population]) -> Population:
    import torch

    return Population(
        State.concatenate([p.state for p in populations]),
        torch.cat([p.deviance for p in populations]),
        torch.cat([p.r_factor for p in populations]),
        torch.cat([p.pixels for p in populations]),
        torch.cat([p.unknowns for p in populations]),
    )


def objects(problem: Problem, population: Population) -> Tensor:
    """(starts, *grid) complex: P_S of the estimates."""
    s = population.state
    x = problem.project_object(s.image, s.support)
    return x if x.is_complex() else x.to(x.dtype.to_complex())


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
