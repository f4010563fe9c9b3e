"""A plan: stages, one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from untwin.engine import memory
from untwin.errors import FormerNameWarning, InputError
from untwin.random import derive
from untwin.runs.failure import Failures
from untwin.runs.population import Population, gather, objects
from untwin.runs.stages.average import Average
from untwin.runs.stages.base import Cohort, Context, Rank, Size, Stage
from untwin.runs.stages.finish import Finish
from untwin.runs.stages.guide import Guide
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.runs.stages.search import Search
from untwin.runs.stages.strays import Strays
from untwin.solve.predict import Guess
from untwin.solve.recipe import Algorithm, Recipe, all_steps

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.live.record import Record
    from untwin.model.problem import Problem
    from untwin.runs.launch import Launcher

Report = Callable[[int, float | None, int], None]  # steps since the last call, lowest R known, steps foreseen in all
ALIGNMENT = 20.0  # iterations that one alignment of two objects takes, about (unmeasured)
MOST_VOXELS = 2**24  # of all families together, above which they are not gathered for a look
Kind = TypeVar("Kind", bound=Stage)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a plan leaves. first: the independent starts as they ended, traces: their R-factors on the way. results: the best of every
    family, the finished ones first, each the better first. candidates: the best that the finish has met, or the results again.
    refined: the best result, and the one most like it (or all, see Refine.max_deviance_ratio), after a Refine.
    failures: what came to nothing, and why; others stand in for them, unless they were too many (broken). contained: see Contain.
    averaged: see Average.
    problem: as the plan has come to see it, with the physics that it has found. numbers, notes: what there is to say of that.
    course: the stages from the search on, each with the R-factors with which it left the best of every family."""

    problem: Problem
    first: Population
    traces: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    results: Population
    candidates: Population
    refined: Population | None = None
    failures: Failures = ()
    broken: bool = False
    contained: bool = False
    averaged: bool = False
    numbers: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    course: tuple[tuple[str, tuple[float, ...]], ...] = ()


@dataclass(frozen=True, init=False, repr=False)
class Plan:
    """What a population does: a Search, perhaps after a look at the counts, and then stages, each with what the one before has left.

    Plan(Search(20*HIO + 10*ER, starts=24, families=2), Guide((50*RAAR,), generations=2)). An expression, like a recipe.
    """

    stages: tuple[Stage, ...]

    def __init__(self, *stages: Stage, **settings: Any) -> None:
        if settings or any(isinstance(s, Recipe) for s in stages):
            stages = _from_old_settings(stages, settings)
        object.__setattr__(self, "stages", stages)
        for s in stages:
            if not isinstance(s, Stage):
                raise InputError(f"Plan: {s!r} is not a stage; expected Plan(Search(20*HIO + 10*ER, starts=8), ...)")
        ranks = [s.rank for s in stages]
        if ranks.count(Rank.SEARCH) != 1 or ranks != sorted(ranks) or ranks.count(Rank.END) > 1:
            names = ", ".join(type(s).__name__ for s in stages) or "nothing"
            raise InputError(
                f"Plan: {names}; expected one Search, then what works on families, then on results, then one refinement at most"
            )

    def __repr__(self) -> str:
        return f"Plan({', '.join(map(repr, self.stages))})"

    @property
    def search(self) -> Search:
        search = self.stage(Search)
        assert search is not None
        return search

    def stage(self, kind: type[Kind]) -> Kind | None:
        """The first stage of a class; None where there is none."""
        return next((s for s in self.stages if isinstance(s, kind)), None)

    def without(self, kind: type[Stage]) -> Plan:
        return Plan(*(s for s in self.stages if not isinstance(s, kind)))

    def with_stage(self, stage: Stage) -> Plan:
        """With this in place of the stages of its class; where there are none, behind the others of its place."""
        same = [i for i, s in enumerate(self.stages) if type(s) is type(stage)]
        others = [s for s in self.stages if type(s) is not type(stage)]
        at = same[0] if same else sum(s.rank <= stage.rank for s in others)
        return Plan(*others[:at], stage, *others[at:])

    def with_starts(self, starts: int) -> Plan:
        """With so many starts, in no more families than that."""
        return self.with_stage(replace(self.search, starts=starts, families=min(self.search.families, starts)))

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        return tuple(r for s in self.stages for r in s.work)

    def algorithms(self) -> Iterator[Algorithm]:
        """Every step of every recipe, and those that wrappers hold."""
        for recipe in self.recipes:
            yield from all_steps(recipe)

    def _own_seed(self, seed: int) -> int:
        """Random starts beside a result are others than those that made it: the same ones would agree with it without being evidence."""
        results = [step.sha256 or step.file for step in self.algorithms() if isinstance(step, Guess)]
        return derive(seed, "beside", *results) if results else seed

    def size(self, pixels: int = 0, start: float = 0.0) -> Size:
        """What the stages count with. pixels: of the grid. start: arrays that a start keeps."""
        s = self.search
        return Size(s.starts, s.families, s.members, sum(r.families for r in self.stages if isinstance(r, Reserve)), pixels, start)

    def steps(self) -> int:
        """Iterations over all starts, without the reserve (for progress)."""
        return sum(s.steps(self.size()) for s in self.stages)

    def _iterates(self, i: int) -> bool:
        """Whether a stage behind this one begins from an estimate as a search has left it."""
        return any(isinstance(s, Refine | Average | Strays) for s in self.stages[i + 1 :])

    def run(
        self,
        problem: Problem,
        seed: int,
        launch: Launcher,
        support: Tensor | None = None,
        report: Report | None = None,
        live: Record | None = None,
    ) -> Outcome:
        """All stages, in order; live shows where they stand. Raises NumericalFailure where every start comes to nothing."""
        total, seed = self.steps(), self._own_seed(seed)
        problem = problem.divided()
        tell = (lambda steps, lowest: report(steps, lowest, total)) if report else None
        cohort, course, names = Cohort(), [], [type(stage).__name__ for stage in self.stages]
        if live is not None:
            live.plan(names, [stage.title for stage in self.stages], [(s.steps(self.size()), s.cost) for s in self.stages])
        for i, stage in enumerate(self.stages):
            if live is not None:
                live.stage(names[i], i)
            context = Context(cohort.problem or problem, seed, launch, support, tell, self._iterates(i), self.stages[:i])
            former, cohort = cohort, stage.run(cohort, context)
            memory.release()
            if live is not None and (former.families is not cohort.families or former.results is not cohort.results):
                _measure_families(live, cohort.problem or problem, cohort)
            if stage.rank >= Rank.SEARCH:
                course.append((names[i], _lowest(cohort, cohort.problem or problem)))
        problem = cohort.problem or problem
        results = cohort.best(problem)
        return Outcome(
            problem=problem,
            first=gather(list(cohort.firsts)),
            traces=cohort.traces,
            results=results,
            candidates=results if cohort.candidates is None else cohort.candidates,
            refined=cohort.refined,
            failures=cohort.failures,
            broken=cohort.broken,
            contained=cohort.contained,
            averaged=cohort.averaged,
            numbers=cohort.numbers,
            notes=cohort.notes,
            course=tuple(course),
        )


def _measure_families(live: Record, problem: Problem, cohort: Cohort) -> None:
    """Show how far the best of each family is from the others, where this takes no more than a hundredth of the time."""
    n = len(cohort.families) if cohort.results is None else len(cohort.results)
    alignments = n * (n - 1) // 2
    if not alignments or n * problem.counts.amplitude.numel() > MOST_VOXELS:
        return
    if not live.affordable(alignments * ALIGNMENT * live.seconds_per_step()):
        return
    best = cohort.best(problem)
    distances = problem.symmetry.distances(objects(problem, best)).tolist()
    live.families([f"family {m.family}" for m in best.members], distances)


def _lowest(cohort: Cohort, problem: Problem) -> tuple[float, ...]:
    """R-factors of the best of every family, as far as the plan has come."""
    latest = cohort.results if cohort.refined is None else cohort.refined
    if latest is not None:
        return tuple(latest.r_factor.tolist())
    return tuple(float(f.r_factor[f.order(problem)[0]]) for f in cohort.families)


def _from_old_settings(stages: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Stage, ...]:
    """The stages that the settings of an older Plan stand for, such as Plan(20*HIO, starts=8, families=2, finish=(20*ER,), rounds=1)."""
    names = (
        "first",
        "starts",
        "families",
        "reserve",
        "children",
        "generations",
        "finish",
        "deal",
        "rounds",
        "refine",
        "apart",
        "explained",
    )
    if unknown := [name for name in settings if name not in names]:
        raise InputError(f"Plan has no setting {unknown[0]!r}; expected stages: Plan(Search(20*HIO + 10*ER, starts=8), ...)")
    if len(stages) > len(names) or set(names[: len(stages)]) & set(settings):
        raise InputError("Plan: a setting twice, or too many; expected stages: Plan(Search(20*HIO + 10*ER, starts=8), ...)")
    s = {**dict(zip(names, stages)), **settings}
    of = {name: {now: s[k] for k, now in keys.items() if k in s} for name, keys in _SETTINGS.items()}
    converted: list[Stage] = [Search(s.get("first"), **of["search"])]  # type: ignore[arg-type]
    guide, finish = Guide(s.get("children", ()), s.get("generations", 0)), Finish(s.get("finish", ()), s.get("deal", 1), s.get("rounds", 0))
    converted += [guide] if guide.children and guide.generations else []
    converted += [Reserve(s["reserve"])] if s.get("reserve") else []
    converted += [finish] if finish.recipes and finish.rounds else []
    converted += [Refine(s["refine"], **of["refine"])] if s.get("refine") is not None else []
    warnings.warn("Plan(first, starts=...) is a plan of stages now: Plan(Search(first, starts=...), ...)", FormerNameWarning, stacklevel=3)
    return tuple(converted)


_SETTINGS = {
    "search": {"starts": "starts", "families": "families"},
    "refine": {"apart": "min_disagreement", "explained": "max_deviance_ratio"},
}
