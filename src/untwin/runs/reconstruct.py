"""From a pattern to a Reconstruction: the plan is run, its best is chosen, aligned with the others, and judged."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import int_argument, seed_argument, within
from untwin.data.measurement import Pattern
from untwin.engine.memory import release
from untwin.errors import InputError, NumericalFailure, WorkerLost
from untwin.live.record import Record, recorded
from untwin.model.constraints import RealValued, Support
from untwin.model.inference import layout_for
from untwin.model.networks import weights
from untwin.model.problem import Problem
from untwin.processes import dismiss_workers
from untwin.provenance import made_with
from untwin.runs import auto, memory
from untwin.runs.assess import assess
from untwin.runs.checkpoint import EVERY, Checkpoint, checkpoint_in, digest
from untwin.runs.cluster import afar
from untwin.runs.conditions import Conditions, problem_of
from untwin.runs.device import as_mask, require_agreement
from untwin.runs.launch import Launcher, launcher, one_thread
from untwin.runs.live import object_view
from untwin.runs.names import parse
from untwin.runs.solution import NUMBERS, Reconstruction
from untwin.runs.stages.finish import LARGE_PIXELS
from untwin.runs.stages.inspect import Inspect
from untwin.runs.stages.plan import Plan, Report
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.runs.stages.search import Search
from untwin.runs.stages.strays import Strays
from untwin.solve.begin import ResetSupport, require_outline
from untwin.solve.calibrate import Calibrate
from untwin.solve.predict import Predict, started
from untwin.solve.recipe import Recipe, require_suited

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STARTS = 8  # of a recipe without a plan (unmeasured)
MAX_EFFORT = 1000.0
SHOWN = ("r_factor", "seconds", "cpu_seconds")  # of the numbers, for whoever watches


def reconstruct(
    pattern: Pattern | Problem,
    recipe: Recipe | Plan | str | None = None,
    *,
    start: str = "random",
    method: str = "auto",
    starts: int | None = None,
    effort: float | None = None,
    seed: int = 0,
    positivity: bool = False,
    sparse: int | None = None,
    keep_strays: bool = False,
    support: np.ndarray | Tensor | None = None,
    device: str | torch.device | None = None,
    workers: int | None = None,
    scheduler: Any = None,
    checkpoint: Checkpoint | str | Path | None = None,
    report: Report | None = None,
    live: Record | str | Path | None = None,
    progress: bool = True,
) -> Reconstruction:
    """The object behind a far-field pattern, or behind other numbers |W x|².

    pattern: what `untwin.read` returns, or a Problem. recipe: steps, a Plan, or the text of either; by default the automatic plan.
    start: "random"; "predict", "predict:MODEL" (`Predict`) or the folder of a result (`Guess`): one of two families begins from that.
    method: instead of a recipe, the name of a plan: auto, classical, refine, double-dip, siren or drp (docs/deep-priors.md).
    effort: factor on the work of the automatic plan, 1 by default. In pictures and sparse objects on what it may spend where families of
        starts do not agree, about a minute of CPU at 128 x 128. Elsewhere on the number of starts, and of further families where no two
        are alike. Counted in starts or iterations, so that the same bits come out on a slower machine.
    starts: independent starts. seed: of all random numbers; the same one gives the same result on the same machine, and another shares no
        start with it.
    positivity: the object is real and at least zero. sparse: and so many of its values are not 0 (docs/sparse-objects.md). support: (*grid)
        bool, centred at N//2, kept as it is by the automatic plan.
    keep_strays: the automatic plan masks no pixel by itself, neither hot or saturated ones nor light that no object explains.
    device: "cpu" (default), "cuda", "cuda:1" or a torch.device; a GPU is first held against the CPU in a short run.
    workers: starts at once on a CPU; by default all cores. scheduler: a Dask cluster that takes the starts, with the same bits: "local"
        (with `workers` processes), "tcp://host:8786", "file.json", a distributed.Client or a cluster of Dask (docs/cluster.md).
    checkpoint: a folder in which the run keeps what it has done, so that the same call after a kill goes on from there and ends with
        the same bits (same machine, versions, device). It stays until you delete it. report: called with the steps taken since the
        last call, the lowest R known (or None), and the number of steps foreseen.
    live: a folder in which the run shows itself while it goes on: `untwin watch FOLDER` (docs/watch.md).
    progress: in a notebook a line shows how far the run is; elsewhere nothing does.
    Raises InputError where something does not fit, or the folder holds another run; NumericalFailure where no start comes to anything.
    """
    problem = _problem(pattern, positivity, device, sparse)
    support = _cornered_support(problem, support)
    plan = _with_start(problem, _plan(problem, recipe, method, starts, support is not None, effort), start, support is not None)
    plan = _with_strays(plan) if keep_strays else plan
    _require_suited(problem, plan, support)
    seed = seed_argument(seed)
    with (
        checkpoint_in(checkpoint) as store,
        _launching(problem, plan, workers, scheduler, store) as launch,
        recorded(live, "reconstruct", Path(problem.pattern.source.path or "").name, progress=progress) as record,
    ):
        store.live = record
        solution = _solved(problem, plan, seed, launch, support, record.reporting(report), record)
        _show_end(record, solution)
    asked = "recipe" if recipe is not None else method
    return replace(solution, method=asked, effort=1.0 if effort is None else float(effort))


def _show_end(record: Record, solution: Reconstruction) -> None:
    """What there is to be seen of a run that has come to its end."""
    numbers = {k: solution.numbers[k] for k in SHOWN if k in solution.numbers}
    record.set(verdict=asdict(solution.verdict), numbers=numbers, stage="", under_way=0)
    record.show(lambda: object_view(solution.image.real if solution.positivity else solution.image, solution.support))


def _solved(
    problem: Problem, plan: Plan, seed: int, launch: Launcher, support: Tensor | None, report: Report | None, live: Record
) -> Reconstruction:
    """The plan run, and what it leaves judged."""
    clock, cpu, checkpoint = time.perf_counter(), time.process_time(), launch.checkpoint
    needed = memory.require(problem, plan, launch)
    provenance = made_with(problem.device)
    checkpoint.begin(_identity(problem, plan, seed, support, {**provenance, "batch": launch.batch}, _prediction(problem)))
    with one_thread(), _keeping(checkpoint):
        outcome = plan.run(problem, seed, launch, support=support, report=report, live=live)
        if time.perf_counter() - clock > EVERY:
            checkpoint.keep()
        live.stage("verdict")
        if problem.counts.amplitude.numel() > LARGE_PIXELS:
            release()
            dismiss_workers()
        solution = assess(plan, outcome, seed, {**provenance, "workers": launch.workers, "memory_estimated": needed})
    took = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu + launch.cpu_seconds}
    return replace(solution, numbers=solution.numbers | took, conditions=Conditions.of(problem, plan, support))


@contextmanager
def _launching(problem: Problem, plan: Plan, workers: int | None, scheduler: Any, checkpoint: Checkpoint) -> Iterator[Launcher]:
    """Who runs the starts of a plan; a connection to a cluster is closed when the block ends."""
    with afar(scheduler, workers, problem.device) as elsewhere:
        launch = replace(launcher(problem, workers, checkpoint, memory.arrays(problem, plan)), iterates=plan.stage(Refine) is not None)
        yield launch if elsewhere is None else replace(launch, elsewhere=elsewhere, workers=elsewhere.tasks.threads)


@contextmanager
def _keeping(checkpoint: Checkpoint) -> Iterator[None]:
    """What is done is kept where the block is interrupted."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, WorkerLost) or not isinstance(error, InputError | NumericalFailure):
            checkpoint.keep()
        raise


def _require_suited(problem: Problem, plan: Plan, support: Tensor | None) -> None:
    """Raise InputError where a step does not suit the problem, there are too few numbers for the unknowns of the object, or something of
    the physics is unknown and no step finds it, or has the name of another number."""
    require_enough(problem, support)
    for recipe in plan.recipes:
        require_suited(problem, recipe)
    if problem.unknowns and not any(isinstance(a, Calibrate) for a in plan.algorithms()):
        raise InputError(
            f"{', '.join(problem.unknowns)} of the physics is unknown, and no step of the plan finds it. Give a recipe with Calibrate, "
            f"such as '10*(20*RAAR + ShrinkWrap + Calibrate)', or a number instead of Unknown"
        )
    numbers = NUMBERS | problem.unknowns.keys()
    for name in problem.unknowns:
        if name in NUMBERS or f"{name}_error" in numbers:
            taken = name if name in NUMBERS else f"{name}_error"
            raise InputError(
                f"{name} of the physics is unknown and reported as {name} and {name}_error, but {taken} is another number of a "
                f"Reconstruction; rename the field {name} of {problem.physics!r}"
            )


def require_enough(problem: Problem, support: Tensor | None) -> None:
    """Raise InputError where exposures are fewer numbers than an object has, of which nothing is known but where it lies, and whether it is
    real: below 1 of them for each unknown of a real object, 2 for a complex one, others explain them as well."""
    if problem.pattern.optics is None or any(type(c) not in (Support, RealValued) for c in problem.constraint.parts()):
        return
    lit = problem.physics.waves.illuminated(problem.pattern) if support is None else support
    pixels = math.prod(problem.shape) if lit is None else int(lit.sum())
    measured, needed = int(problem.measured.sum()), pixels * (1 if problem.real else 2) - (0 if problem.real else 1)
    if measured < needed:
        raise InputError(
            f"{measured:,} measured numbers for {pixels:,} {'real' if problem.real else 'complex'} unknowns; expected {needed:,} at least: "
            "take more exposures, or say what is known of the object (support, positivity, Sparse)"
        )


def _prediction(problem: Problem) -> Tensor:
    """(1, *grid): the counts that the physics predicts of a ramp. Raises InputError where these cannot be counts."""
    import torch

    physics = repr(problem.physics)
    expected = (
        f"expected real counts of shape {(1, *problem.pattern.shape)}, finite and at least 0 (docs/write-your-own-physics.md, Its laws)"
    )
    try:
        f = problem.predict(_ramp(problem))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{physics} fails on an object of shape {(1, *problem.shape)}: {type(error).__name__}: {error}; {expected}"
        ) from error
    if not isinstance(f, torch.Tensor) or not f.is_floating_point() or f.shape != (1, *problem.pattern.shape):
        kind = (
            f"a {str(f.dtype).removeprefix('torch.')} tensor of shape {tuple(f.shape)}" if isinstance(f, torch.Tensor) else type(f).__name__
        )
        raise InputError(f"{physics} gives {kind}; {expected}")
    if bad := int((~f.isfinite()).sum()):
        raise InputError(f"{physics} gives NaN or infinity in {bad} of {f.numel()} pixels; {expected}")
    if bad := int((f < 0).sum()):
        raise InputError(f"{physics} gives less than 0 in {bad} of {f.numel()} pixels, {float(f.min()):.3g} at least; {expected}")
    return f


def _identity(
    problem: Problem, plan: Plan, seed: int, support: Tensor | None, provenance: dict[str, Any], prediction: Tensor
) -> dict[str, Any]:
    """What a run is: where this is the same, its bits are."""
    p, t = problem.pattern, problem.counts
    flat = [values for values in (p.sensitivity, p.dark) if values is not None]
    return {
        **{k: v for k, v in provenance.items() if k != "threads"},  # one is used
        "input file of SHA-256": p.source.sha256,
        "pattern of SHA-256": digest(p.intensity, p.measured, *flat, t.intensity, t.measured, t.amplitude, t.imposed),
        "centre": p.offset,
        "constraint": repr(problem.constraint),
        "loss": repr(problem.loss),
        "modulus": repr(problem.modulus),
        "physics": repr(problem.physics),
        "what the physics predicts, of SHA-256": digest(prediction),  # its arrays, too, tell it from another
        "support of SHA-256": digest(support),
        "recipe": repr(plan),
        "seed": seed,
    }


def _problem(pattern: Pattern | Problem, positivity: bool, device: str | torch.device | None, sparse: int | None = None) -> Problem:
    if sparse is not None:
        sparse = int_argument("sparse", sparse, 1)
    if isinstance(pattern, Problem):
        if sparse is not None and not pattern.constraint.sparse:
            raise InputError(
                f"sparse={sparse} with a Problem that has no Sparse() constraint; put Nonnegative() & Sparse({sparse}) into it"
            )
        if device is not None and str(device) != pattern.device:
            raise InputError(f"device={str(device)!r} with a Problem on {pattern.device!r}; make the Problem with device={str(device)!r}")
        if positivity and not pattern.real:
            raise InputError("positivity=True with a Problem that has no Nonnegative() constraint; put it into the Problem")
        require_agreement(pattern.device)
        return pattern
    if not isinstance(pattern, Pattern):
        raise InputError(f"reconstruct takes a Pattern or a Problem, got {type(pattern).__name__}; untwin.read(path) makes a Pattern")
    problem = problem_of(pattern, positivity, device=None if device is None else str(device), sparse=sparse)
    require_agreement(problem.device)
    return problem


def _ramp(problem: Problem) -> Tensor:
    """(1, *grid): an object that any change of the physics would show in."""
    import torch

    ramp = torch.linspace(0, 1, math.prod(problem.shape), dtype=problem.counts.amplitude.dtype, device=problem.device)
    return ramp.reshape(1, *problem.shape) if problem.real else torch.complex(ramp, ramp.square()).reshape(1, *problem.shape)


def _cornered_support(problem: Problem, support: np.ndarray | Tensor | None) -> Tensor | None:
    if support is None:
        return None
    mask = as_mask(support)
    if tuple(mask.shape) != problem.shape:
        what = "pattern" if problem.pattern.optics is None else "object"
        raise InputError(f"support has shape {tuple(mask.shape)}, {what} {problem.shape}; crop or pad one of them")
    if not bool(mask.any()):
        raise InputError("the support is empty; expected nonzero where the object is")
    if problem.constraint.everywhere:
        raise InputError(
            f"a support with {problem.constraint!r}, in which it has no part; leave it out, or take the constraint "
            "Support() & Nonnegative() & Sparse(k)"
        )
    return problem.cornered(mask).to(problem.device)


def _plan(
    problem: Problem, recipe: Recipe | Plan | str | None, method: str, starts: int | None, fixed: bool, effort: float | None = None
) -> Plan:
    if starts is not None:
        starts = int_argument("starts", starts, 1)
    if effort is not None:
        if not within(effort, 0, MAX_EFFORT, True):
            raise InputError(f"effort={effort!r}: expected a number above 0 and at most {MAX_EFFORT:g}, such as 2 for twice the work")
        if recipe is not None:
            raise InputError("effort is of the automatic plan, and a recipe says itself how much it does; leave one of them out")
    if isinstance(recipe, str):
        recipe = parse(recipe)
    if method != "auto":
        auto.require_method(method)
        if recipe is not None or fixed:
            argument = "recipe" if recipe is not None else "support"
            raise InputError(f"method={method!r} is a plan of its own and takes no {argument}; leave one of them out")
        return auto.method(method, problem, starts, effort)
    if recipe is None:
        if not fixed and problem.pattern.optics is None and not problem.constraint.everywhere:
            require_outline(problem, "the automatic plan", "give support= or a recipe")
        return auto.plan(problem, starts, fixed, 1.0 if effort is None else effort)
    if isinstance(recipe, Plan):
        return recipe.with_starts(starts) if starts else recipe
    if isinstance(recipe, Recipe):
        n = STARTS if starts is None else starts
        return Plan(Search(recipe, starts=n, families=2 if n > 1 else 1))
    raise InputError(f"recipe is a text, steps or a Plan, got {type(recipe).__name__}; try '20*ER + 180*HIO'")


def _with_strays(plan: Plan) -> Plan:
    """The plan, which masks no pixel by itself."""
    plan = plan.without(Strays)
    return plan.with_stage(Inspect(keep_strays=True)) if plan.stage(Inspect) else plan


def _with_start(problem: Problem, plan: Plan, start: str, fixed: bool) -> Plan:
    """The plan, its first recipe begun as `start` says. Families in reserve would mix predicted and random starts: there are none then."""
    first = started(start)
    if first is None:
        return plan
    if isinstance(first, Predict):
        layout_for(problem.pattern.corrected(), weights.load(first.model))
    search = plan.search
    return plan.without(Reserve).with_stage(replace(search, first=first + ResetSupport() + search.first if fixed else first + search.first))
