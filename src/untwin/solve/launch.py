"""Where starts run: in a batch here, or one by one in a pool of processes with one thread each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin.judge.metrics import r_factor
from untwin.processes import cores, one_thread, pool
from untwin.solve.recipe import Recipe, length
from untwin.solve.run import iterate
from untwin.solve.state import join, take

if TYPE_CHECKING:
    from untwin.model.problem import Problem
    from untwin.solve.state import State

BATCH_PIXELS = 16_384  # up to this size a batch beats the pool on a CPU (measured: benchmarks/launch.py)
STRETCH = 20  # steps that may be taken without a look at the state
BATCH = 12  # starts in one batch on a CPU: more leave the second-level cache

Report = Callable[[int, float | None], None]  # called with the steps taken since the last call, and the lowest R known now


@dataclass(frozen=True)
class Ended:
    """A population after its recipe; for each start its R-factors on the way, (steps, values); CPU seconds of other processes."""

    state: State
    traces: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    elsewhere: float = 0.0


def residual(problem: Problem, state: State) -> tuple[float, ...]:
    """R-factor of each start's object."""
    d = problem.tensors
    f = problem.intensity(problem.project_object(state.image, state.support))
    return tuple(r_factor(f, d.intensity, d.measured).tolist())


def run_here(problem: Problem, recipe: Recipe, state: State, samples: int = 0) -> Ended:
    """The recipe, with the R-factor looked at `samples` times on the way."""
    every = max(1, length(recipe) // samples) if samples else 0
    steps: list[int] = []
    values: list[tuple[float, ...]] = []
    for state in iterate(problem, recipe, state, every or STRETCH):  # noqa: B020
        if every and state.step % every == 0 and (not steps or state.step > steps[-1]):
            steps.append(state.step)
            values.append(residual(problem, state))
    traces = tuple((tuple(steps), tuple(v[i] for v in values)) for i in range(len(state.seeds)))
    return Ended(take(state, list(range(len(state.seeds)))), traces)


def _work(problem: Problem, recipe: Recipe, state: State, samples: int) -> Ended:
    with one_thread():
        return run_here(problem, recipe, state, samples)


def _work_elsewhere(problem: Problem, recipe: Recipe, state: State, samples: int) -> Ended:
    began = time.process_time()
    ended = _work(problem, recipe, state, samples)
    return replace(ended, elsewhere=time.process_time() - began)


@dataclass
class Launcher:
    """Runs recipes on populations. workers: processes; 1 runs everything in this one, in batches of at most `batch` starts.
    elsewhere: CPU seconds that other processes have spent so far."""

    workers: int
    batch: int = BATCH
    elsewhere: float = 0.0

    def map(self, problem: Problem, jobs: list[tuple[Recipe, State]], samples: int = 0, report: Report | None = None) -> list[Ended]:
        """The populations after their recipes, in order. Each start is on its own, so the outcome does not depend on the workers."""
        size = self.batch if self.workers == 1 else 1
        parts = []
        for j, (recipe, state) in enumerate(jobs):
            n = len(state.seeds)
            parts += [(j, recipe, take(state, list(range(i, min(i + size, n))))) for i in range(0, n, size)]
        ended = self._here(problem, parts, samples, report) if self.workers == 1 else self._pool(problem, parts, samples, report)
        return [_joined([e for (j, _, _), e in zip(parts, ended) if j == k]) for k in range(len(jobs))]

    def _here(self, problem: Problem, parts: list[tuple[int, Recipe, State]], samples: int, report: Report | None) -> list[Ended]:
        ended = []
        for _, recipe, state in parts:
            ended.append(_work(problem, recipe, state, samples) if problem.device == "cpu" else run_here(problem, recipe, state, samples))
            if report:
                report(length(recipe) * len(state.seeds), _lowest(ended[-1]))
        return ended

    def _pool(self, problem: Problem, parts: list[tuple[int, Recipe, State]], samples: int, report: Report | None) -> list[Ended]:
        from concurrent.futures import as_completed

        ended: dict[int, Ended] = {}
        with pool(self.workers) as executor:
            futures = {executor.submit(_work_elsewhere, problem, recipe, state, samples): i for i, (_, recipe, state) in enumerate(parts)}
            for future in as_completed(futures):
                i = futures[future]
                ended[i] = future.result()
                self.elsewhere += ended[i].elsewhere
                if report:
                    report(length(parts[i][1]), _lowest(ended[i]))
        return [ended[i] for i in range(len(parts))]


def _lowest(ended: Ended) -> float | None:
    return min((values[-1] for _, values in ended.traces if values), default=None)


def _joined(parts: list[Ended]) -> Ended:
    return Ended(join([p.state for p in parts]), tuple(t for p in parts for t in p.traces))


def launcher(problem: Problem, workers: int | None = None) -> Launcher:
    """Small arrays on a CPU in batches in this process; larger ones in as many processes as there are cores; on a GPU as large a
    batch as half of its free memory holds."""
    import torch

    pixels = problem.tensors.amplitude.numel()
    if problem.device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(problem.device).index or 0)
        return Launcher(1, batch=max(1, int(free / 2 / (pixels * 8 * 12))))
    if pixels <= BATCH_PIXELS:
        return Launcher(workers or 1)
    return Launcher(workers or cores(), batch=1)
