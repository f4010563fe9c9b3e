"""How far a result is known: results of counts that are drawn anew, from other starts, in other supports, by other projections."""

from __future__ import annotations

from concurrent.futures import as_completed
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin import fourier
from untwin.checks import int_argument
from untwin.cluster import Shared, executor
from untwin.errors import InputError, NumericalFailure
from untwin.judge import trust
from untwin.model.alignment import carried
from untwin.model.problem import Problem
from untwin.processes import cores, one_thread, pool
from untwin.random import derive
from untwin.runs.launch import run_here
from untwin.runs.names import parse
from untwin.solve.state import State

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.runs.solution import Reconstruction

# E of a replica with the image from which on it is another object, and left out. What is far from the image and was left out would make the
# error too small: on scan 54 replicas are off by 0.14 to 0.26, and by more the larger β is (benchmarks/scan54.py)
OTHER_ERROR = 0.5
REPLICAS = 8  # docs/bragg.md, How far the strain is known
THRESHOLDS = (0.15, 0.32)  # of the supports, shares of the weighted level: between them nothing tells which is right (the same page)
RELAXATIONS = (0.6, 0.85)  # β: below, the counts' noise is fitted; above, what is faint is damped (the same page)
SHARPENED = 15  # iterations of the deconvolution: 15 to 60 hardly differ (model.sharpen), and it is most of the work
FEW = 400.0  # photons for each voxel: the spread is 0.62 of the error at 120, 0.92 to 1.26 at 1,200 (benchmarks/strain_error.py)
RECIPE = "ShrinkWrap(threshold={threshold}, sigma=1.0, level='weighted') + 60*RAAR(beta={beta}) + 100*Mean(RAAR(beta={beta}))"


def replicate(
    solution: Reconstruction, count: int = REPLICAS, seed: int = 0, workers: int | None = None, scheduler: Any = None
) -> Reconstruction:
    """The solution with `count` replicas, whose spread about its image is the standard error of what is made of it.

    What a result rests on and might have been otherwise is varied, all at once: the counts (each number n drawn anew from a Poisson
    distribution of mean n), the start (the independent results of the solution in turn), the support (its threshold) and the
    relaxation of the projections, which decides how much of the faint light is believed. What all of them share is not seen: the
    physics. Where the numbers are no counts they stay, and a warning says so.

    solution: of a scan about a Bragg peak, whose independent results are its replicas. seed: of all that is drawn.
    workers: processes; by default all cores. scheduler: of a Dask cluster, as for `reconstruct`. Raises InputError where the solution holds
    no replicas or its physics is not known here, NumericalFailure where fewer than two come out like the image.
    """
    count = int_argument("count", count, 2)
    if solution.replicas is None or not len(solution.replicas):
        raise InputError("this result keeps no independent results to begin from; expected one of a 3D scan with its geometry")
    if solution.physics is None:
        raise InputError("the physics of this result is not known here; reconstruct the pattern again")
    if solution.positivity:
        raise InputError("the object was taken as real and nowhere negative, and has no displacement; leave positivity out")
    problem = Problem(solution.pattern, physics=solution.physics)
    starts, d = fourier.cornered(solution.replicas, problem.ndim), problem.ndim
    jobs = [(problem, recipe, starts[k % len(starts)], derive(seed, "replica", k)) for k, recipe in enumerate(recipes(count, seed))]
    workers = min(count, workers or cores())
    with one_thread():
        if scheduler is not None:
            states = _on_cluster(jobs, scheduler, workers)
        else:
            states = [_replica(*job) for job in jobs] if workers == 1 else _in_pool(jobs, workers)
        state = State.concatenate(states)
        image = fourier.cornered(solution.image, d)
        aligned = problem.symmetry.align(problem.project_object(state.image, state.support), image)
        x = aligned.x * carried(state.support, aligned, d)
        alike, similar = ((aligned.error < limit).tolist() for limit in (OTHER_ERROR, trust.SIMILAR_ERROR))
    if sum(alike) < 2:
        raise NumericalFailure(f"{sum(alike)} of {count} replicas are like the image: its error cannot be told")
    numbers, warnings = solution.numbers | {"replicas": float(sum(alike))}, solution.warnings + _doubts(solution, alike)
    verdict = solution.verdict
    if verdict.trusted and sum(similar) <= count // 2:
        doubt = f"{count - sum(similar)} of {count} replicas came out unlike it: trust the outline"
        verdict = verdict.but(f"{verdict.text}; but {doubt}", doubt)
    return replace(solution, replicas=fourier.centred(x[alike], d), numbers=numbers, warnings=warnings, verdict=verdict)


def recipes(count: int, seed: int) -> list[str]:
    """One for each replica: relaxations and thresholds evenly over their ranges, joined at random."""
    at = (np.arange(count) + 0.5) / count
    mixed = np.random.default_rng(derive(seed, "thresholds")).permutation(at)
    betas, thresholds = (low + (high - low) * u for (low, high), u in ((RELAXATIONS, at), (THRESHOLDS, mixed)))
    return [RECIPE.format(threshold=round(float(t), 4), beta=round(float(b), 4)) for t, b in zip(thresholds, betas)]


def redrawn(problem: Problem, seed: int) -> Problem:
    """The problem of counts that have as much noise more as they had: the same where they are no counts."""
    if not problem.pattern.counted:
        return problem
    y = problem.pattern.intensity
    return problem.recounted(np.random.default_rng(derive(seed, "counts")).poisson(y.astype(np.float64)).astype(y.dtype))


def _replica(problem: Problem, recipe: str, start: Tensor, seed: int) -> State:
    import torch

    state = State.of(start[None], start[None] != 0, (seed,)).replace(bounds=torch.ones_like(start[None], dtype=torch.bool))
    with one_thread():
        return run_here(redrawn(problem, seed).sharpened(SHARPENED), parse(recipe), state).state


def _in_pool(jobs: list[tuple[Problem, str, Tensor, int]], workers: int) -> list[State]:
    with pool(workers) as executor:
        futures = {executor.submit(_replica, *job): k for k, job in enumerate(jobs)}
        ended = {futures[f]: f.result() for f in as_completed(futures)}
    return [ended[k] for k in range(len(jobs))]


def _on_cluster(jobs: list[tuple[Problem, str, Tensor, int]], scheduler: Any, workers: int) -> list[State]:
    with executor(scheduler, workers) as tasks:
        shared = Shared(jobs[0][0])
        return [future.result() for future in [tasks.submit_with(shared, _replica, *job[1:]) for job in jobs]]


def _doubts(solution: Reconstruction, alike: list[bool]) -> tuple[str, ...]:
    doubts = []
    if not solution.pattern.counted:
        doubts.append("the numbers are no counts of photons: the error of the strain holds none of their noise")
    each = solution.pattern.photons / max(1, int(solution.support.sum()))
    if solution.pattern.counted and each < FEW:
        doubts.append(f"with {each:.0f} photons for each voxel the error of strain may be half as large again as its replicas say, or more")
    if solution.replicas is not None and len(solution.replicas) < 2:
        doubts.append("a single independent result is like the image: the error of the strain holds nothing of the search")
    if not all(alike):
        doubts.append(f"{len(alike) - sum(alike)} of {len(alike)} replicas came out unlike the image and are left out")
    return tuple(doubts)
