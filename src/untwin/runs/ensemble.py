"""Many starts: families of independent starts, guided generations within a family, a finish, and a choice by penalised likelihood.

Families never see one another: that two of them end at the same object is the certificate that the verdict rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin import expression
from untwin.errors import InputError, NumericalFailure
from untwin.judge import metrics
from untwin.judge.trust import ALIKE
from untwin.random import derive
from untwin.solve.begin import begin
from untwin.solve.recipe import Recipe, length
from untwin.solve.state import Member, State, join, take

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.problem import Problem
    from untwin.runs.launch import Launcher
    from untwin.runs.launch import Report as Steps

Failed = list[tuple[Member, str]]  # and the reason
Report = Callable[[int, float | None, int], None]  # steps since the last call, lowest R known, steps foreseen in all

CANDIDATES = 32  # finished candidates that are kept for the mean,
CANDIDATE_PIXELS = 10_000_000  # as long as they have no more pixels together (two of them always)

NAN = "NaN or infinity"  # why a start has failed

NEAR = 0.3  # E below which the results of two families are on their way to the same object, before the finish


@dataclass(frozen=True, repr=False)
class Plan:
    """What a population does. Every part is a recipe, so a plan is an expression, too.

    first: each independent start. starts: how many, dealt to so many families that never see one another.
    reserve: further families of the same size, run one at a time as long as no two results are alike.
    children, generations: after the first, each family is guided `generations` times (Chen et al., Phys. Rev. B 76, 2007): its
        better half is aligned to its best, a; child = |b| exp(i arg a); the children take these recipes in turn; the best quarter lives on.
    finish, rounds: the best of all and the best of the family most like it go through all of these recipes, `deal` times each with
        seeds 0, 1, ... (settings are dealt out by Deal); the best outcome starts the next round, until the score falls no more or
        `rounds` are done.
    refine: at the end the best result and that of the family most like it go through this, each on its own (`to_refine`); `reconstruct`
        keeps what comes out where the two are alike afterwards, or, of a single family, where the half deviance has fallen.
    apart: refine only where these two differ by more than this (E).
    explained: where these two are not alike, the results of all families are refined; and what comes out with the least half deviance is
        kept in any case if this is at most so many times what is expected of the truth. 0: never. It tells right from wrong only with many
        photons.
    """

    first: Recipe
    starts: int = 8
    families: int = 1
    reserve: int = 0
    children: tuple[Recipe, ...] = ()
    generations: int = 0
    finish: tuple[Recipe, ...] = ()
    deal: int = 1
    rounds: int = 0
    refine: Recipe | None = None
    apart: float = 0.0
    explained: float = 0.0

    def __post_init__(self) -> None:
        for name, low in (("starts", 1), ("families", 1), ("reserve", 0), ("generations", 0), ("deal", 1), ("rounds", 0)):
            v = getattr(self, name)
            if isinstance(v, bool) or not isinstance(v, int) or not low <= v <= 100_000:
                raise InputError(f"Plan({name}={v!r}): expected a whole number, {low} or more")
        for name, high in (("apart", 1), ("explained", 100)):
            v = getattr(self, name)
            if isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v < high:
                raise InputError(f"Plan({name}={v!r}): expected a number from 0, below {high}")
        for r in (self.first, *self.children, *self.finish, *((self.refine,) if self.refine else ())):
            if not isinstance(r, Recipe):
                raise InputError(f"Plan: {r!r} is not a recipe; expected steps such as 20*ER + 180*HIO")
        if self.families > self.starts:
            raise InputError(f"Plan: {self.families} families of {self.starts} starts; expected at least one start each")

    def __repr__(self) -> str:
        return expression.write(self)

    @property
    def members(self) -> int:
        """Starts in the largest family."""
        return -(-self.starts // self.families)

    def steps(self) -> int:
        """Iterations over all starts, without the reserve (for progress)."""
        children = max(map(length, self.children), default=0) * (self.members - self.members // 4)
        finish = sum(map(length, self.finish)) * self.deal * self.rounds * min(2, self.families)
        refined = self.families if self.explained else min(2, self.families)
        refine = length(self.refine) * refined if self.refine else 0
        return self.starts * length(self.first) + self.families * self.generations * children + finish + refine


@dataclass(frozen=True)
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
            one = take(state, [row])
            x = problem.project_object(one.image, one.support)
            f = problem.holding(one.nuisance).predict(x)
            free.append(metrics.unknowns(x, one.support))
            deviance.append(metrics.half_deviance(f, d.intensity, d.measured))
            r.append(metrics.r_factor(f, d.intensity, d.measured))
        pixels = state.support.flatten(1).sum(1).double()
        dead = ~torch.cat(deviance).isfinite() | ~torch.cat(r).isfinite() | ~torch.cat(free).isfinite() | (pixels == 0)
        return cls(state, torch.cat(deviance).masked_fill(dead, float("inf")), torch.cat(r), pixels, torch.cat(free))

    def scores(self, problem: Problem) -> Tensor:
        return metrics.scores(self.deviance, self.unknowns, int(problem.counts.measured.sum()))

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
        return Population(take(self.state, rows), self.deviance[rows], self.r_factor[rows], self.pixels[rows], self.unknowns[rows])

    def replaced(self, rows: list[int], others: Population) -> Population:
        """With others, in order, in place of some rows."""
        n = len(self.state.seeds)
        at = [n + rows.index(i) if i in rows else i for i in range(n)]
        return gather([self, others]).rows(at)


def gather(populations: list[Population]) -> Population:
    import torch

    return Population(
        join([p.state for p in populations]),
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


def children(problem: Problem, population: Population, members: tuple[Member, ...]) -> State:
    """Children of a family: magnitudes of its better half, aligned by whole pixels, with the best one's phases."""
    import torch

    order = population.order(problem)
    best = population.rows(order[:1])
    parents = population.rows(order[: max(1, len(order) // 2)])
    a = best.state.image[0]
    moved = problem.symmetry.align(parents.state.image, a, subpixel=False)
    if problem.real:
        x = moved.x.real
    else:
        phase = torch.sgn(a)
        x = moved.x.abs() * phase
    x = x[[i % len(x) for i in range(len(members))]]
    bounds = best.state.bounds.expand(x.shape)
    return State(x=x, image=x, support=best.state.support.expand(x.shape), bounds=bounds, members=members)


def _reason(population: Population, row: int) -> str:
    return "empty support" if int(population.pixels[row]) == 0 else NAN


def _run(problem: Problem, jobs: list[tuple[Recipe, State]], launch: Launcher, report: Steps | None, failed: Failed) -> list[Population]:
    done = [Population.of(problem, e.state) for e in launch.map(problem, jobs, report=report)]
    failed.extend((p.state.members[i], _reason(p, i)) for p in done for i in p.dead() if _reason(p, i) == NAN)
    if report:
        report(0, min(float(p.r_factor.min()) for p in done))
    return done


def _generation(
    problem: Problem,
    plan: Plan,
    families: list[Population],
    seed: int,
    generation: int,
    launch: Launcher,
    report: Steps | None,
    failed: Failed,
) -> list[Population]:
    jobs, survivors = [], []
    for k, grown in enumerate(families):
        family = grown.living()
        n = len(family.state.seeds)
        keep = max(1, n // 4)
        kin = family.state.members[0].family
        brood = children(
            problem, family, tuple(Member(derive(seed, "child", kin, generation, i), i, kin, "child") for i in range(max(1, n - keep)))
        )
        count = len(plan.children)
        for i, recipe in enumerate(plan.children):
            rows = list(range(i, len(brood.seeds), count))
            if rows:
                jobs.append((k, recipe, take(brood, rows)))
        survivors.append(family.rows(family.order(problem)[:keep]))
    done = _run(problem, [(r, s) for _, r, s in jobs], launch, report, failed)
    return [gather([survivors[k], *(p for (j, _, _), p in zip(jobs, done) if j == k)]) for k in range(len(families))]


def _finish(
    problem: Problem, plan: Plan, population: Population, launch: Launcher, report: Steps | None, failed: Failed
) -> tuple[Population, Population]:
    """Rounds of the finish on every member; each ends at its own best. Also the best of all candidates that were met on the way."""
    current = [population.rows([i]) for i in range(len(population.state.seeds))]
    active = set(range(len(current)))
    met = population
    for turn in range(plan.rounds):
        jobs = []
        for i in sorted(active):
            one = current[i].state
            was = one.members[0]
            dealt_to = tuple(Member(derive(was.seed, "candidate", turn, k), k, was.family, "candidate") for k in range(plan.deal))
            dealt = replace(take(one, [0] * plan.deal), members=dealt_to, x=one.image.expand(plan.deal, *one.image.shape[1:]))
            jobs += [(i, recipe, dealt) for recipe in plan.finish]
        done = _run(problem, [(r, s) for _, r, s in jobs], launch, report, failed)
        met = gather([met, *done])
        met = met.rows(met.order(problem)[: max(2, min(CANDIDATES, CANDIDATE_PIXELS // problem.counts.amplitude.numel()))])
        for i in sorted(active):
            candidates = gather([current[i], *(p for (j, _, _), p in zip(jobs, done) if j == i)])
            best = candidates.order(problem)[0]
            if best == 0:
                active.discard(i)
            else:
                chosen = candidates.rows([best])
                current[i] = replace(chosen, state=replace(chosen.state, members=current[i].state.members))
        if not active:
            break
    return gather(current), met


@dataclass(frozen=True)
class Outcome:
    """What a plan leaves. first: the independent starts as they ended, traces: their R-factors on the way. results: the best of every
    family, the finished ones first, each the better first. candidates: the best that the finish has met, or the results again.
    refined: the best result, and the one most like it (or all, see Plan.explained), after Plan.refine.
    failed: what came to nothing, and why; others stand in for them, unless they were too many (broken)."""

    first: Population
    traces: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    results: Population
    candidates: Population
    refined: Population | None = None
    failed: tuple[tuple[Member, str], ...] = ()
    broken: bool = False


def start(seed: int, number: int, family: int = 0, attempt: int = 0) -> Member:
    """An independent start of a run. attempt: above 0, the first, second ... that stands in for one that came to nothing."""
    return Member(derive(seed, "start", number, attempt), number, family)


def breed(
    problem: Problem,
    plan: Plan,
    seed: int,
    launch: Launcher,
    support: Tensor | None = None,
    report: Report | None = None,
) -> Outcome:
    """Run the plan.

    Start s of the first ones belongs to family s modulo their number; its seed follows from the run's (`start`). A start that comes to
    nothing is replaced by one with a seed of its own, as long as no more than half of them have failed (or one). Raises NumericalFailure
    where none is left.
    """
    firsts, traces, bests = [], [], []
    failed: Failed = []
    total, asked, raised = plan.steps(), 0, 0
    tell = (lambda steps, lowest: report(steps, lowest, total)) if report else None

    def independent(members: tuple[Member, ...]) -> tuple[Population, list[int]]:
        """The first generation; and the rows of `members` that have come to something."""
        now, attempt, most = list(members), 0, len(failed) + max(1, len(members) // 2)
        ended = launch.map(problem, [(plan.first, begin(problem, members, support))], samples=25, report=tell)[0]
        grown, lines = Population.of(problem, ended.state), list(ended.traces)
        while rows := grown.dead():
            failed.extend((now[i], _reason(grown, i)) for i in rows)
            if len(failed) > most:
                break
            attempt += 1
            for i in rows:
                now[i] = start(seed, members[i].number, members[i].family, attempt)
            again = launch.map(problem, [(plan.first, begin(problem, tuple(now[i] for i in rows), support))], samples=25, report=tell)[0]
            grown = grown.replaced(rows, Population.of(problem, again.state))
            for i, line in zip(rows, again.traces):
                lines[i] = line
        living = [i for i in range(len(members)) if i not in rows]
        firsts.append(grown.living())
        traces.extend(lines[i] for i in living)
        return grown, living

    def raise_families(count: int, starts: int) -> None:
        nonlocal asked, raised
        members = tuple(start(seed, asked + i, raised + i % count) for i in range(starts))
        asked, raised = asked + starts, raised + count
        grown, living = independent(members)
        shares = [[i for i in living if i % count == k] for k in range(count)]
        families = [grown.rows(rows) for rows in shares if rows]
        for g in range(plan.generations if plan.children and families else 0):
            families = _generation(problem, plan, families, seed, g, launch, tell, failed)
        bests.extend(f.rows(f.order(problem)[:1]) for f in families)

    raise_families(plan.families, plan.starts)
    broken = len(firsts[0].state.seeds) < plan.starts
    if not bests:
        raise NumericalFailure(
            f"every start came to nothing: {failed[0][1]} ({len(failed)} tried); try more starts, another recipe or a given support"
        )
    for _ in range(0 if broken else plan.reserve):
        if len(bests) > 1 and float(problem.symmetry.distances(objects(problem, gather(bests))).fill_diagonal_(1).min()) < NEAR:
            break
        raise_families(1, plan.members)
    results = gather(bests)
    results = results.rows(results.order(problem))
    candidates = results
    if plan.finish and plan.rounds:
        results, candidates = _finished(problem, plan, results, launch, tell, failed)
    refined = None
    if plan.refine and (rows := to_refine(problem, plan, results)):
        jobs = [(plan.refine, as_role(take(results.state, [row]), "refinement")) for row in rows]
        refined = gather(_run(problem, jobs, launch, tell, failed))
    return Outcome(gather(firsts), tuple(traces), results, candidates, refined, tuple(failed), broken)


def as_role(state: State, role: str) -> State:
    return replace(state, members=tuple(replace(m, role=role) for m in state.members))


def to_refine(problem: Problem, plan: Plan, results: Population) -> list[int]:
    """The rows of the results that go through Plan.refine: the best one and the one most like it; all where these two are not alike and
    Plan.explained is set; none where they hardly differ."""
    n = len(results.state.seeds)
    if n < 2:
        return [0]
    x = objects(problem, results)
    e = problem.symmetry.align(x[1:], x[0]).error.nan_to_num(nan=1.0)
    if float(e.min()) <= plan.apart:
        return []
    return list(range(n)) if plan.explained and float(e.min()) >= ALIKE else [0, 1 + int(e.argmin())]


def _finished(
    problem: Problem, plan: Plan, results: Population, launch: Launcher, report: Steps | None, failed: Failed
) -> tuple[Population, Population]:
    """The best result and the one most like it go through the finish; the others follow as they are. Also the candidates met."""
    n = len(results.state.seeds)
    chosen = [0]
    if n > 1:
        x = objects(problem, results)
        chosen.append(1 + int(problem.symmetry.align(x[1:], x[0]).error.argmin()))
    finished, met = _finish(problem, plan, results.rows(chosen), launch, report, failed)
    return gather([finished.rows(finished.order(problem)), *(results.rows([i]) for i in range(n) if i not in chosen)]), met
