"""Where starts run: in this process, or in a pool of processes with one thread each; in the same batches in both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from untwin.judge.metrics import r_factor
from untwin.processes import PATIENCE, cores, one_thread, pool
from untwin.runs.checkpoint import Checkpoint, Held
from untwin.solve.recipe import Recipe, length
from untwin.solve.run import iterate
from untwin.solve.state import CHECK, State

if TYPE_CHECKING:
    from untwin.model.problem import Problem
    from untwin.solve.state import State

BATCH_PIXELS = 16_384  # up to this size a batch beats the pool on a CPU (measured: benchmarks/launch.py)
BATCH = 12  # starts in one batch on a CPU: more leave the second-level cache

GPU_ARRAYS = 7.0  # of a start on a GPU beside those of its steps: temporary ones of the passes, and of the transform

Report = Callable[[int, float | None], None]  # called with the steps taken since the last call, and the lowest R known now
Parts = dict[str, tuple[int, Recipe, "State"]]  # by name: number of the job, recipe, starts
Came = Callable[[str, "Ended"], None]


@dataclass(frozen=True, eq=False)
class Ended:
    """A population after its recipe; for each start its R-factors on the way, (steps, values); CPU seconds of other processes."""

    state: State
    traces: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    elsewhere: float = 0.0


def residual(problem: Problem, state: State) -> tuple[float, ...]:
    """R-factor of each start's object."""
    d = problem.counts
    f = problem.predict(problem.project_object(state.image, state.support))
    return tuple(r_factor(f, d.intensity, d.measured).tolist())


def run_here(
    problem: Problem, recipe: Recipe, state: State, samples: int = 0, checkpoint: Checkpoint | None = None, name: str = ""
) -> Ended:
    """The recipe, with the R-factor looked at about `samples` times on the way, at multiples of CHECK, so that as many steps are taken at
    once. name: of this part of a run in its checkpoint; it goes on from what is kept there.

    A batch whose starts have all come to NaN or infinity ends at once, unless a rule is in force, which keeps an earlier image.
    """
    every = CHECK * max(1, round(length(recipe) / samples / CHECK)) if samples else 0
    kept = checkpoint or Checkpoint()
    held = kept.read(name, problem.device) if name else None
    state, trace = (held.state, held.trace) if held else (state, [])
    with kept.part(name) as reached:
        for state in iterate(problem, recipe, state, CHECK):  # noqa: B020
            if every and state.step % every == 0 and (not trace or state.step > trace[-1][0]):
                trace.append((state.step, residual(problem, state)))
            reached(state, trace)
            if state.step % CHECK == 0 and state.rule_state is None and not bool(state.finite().any()):
                break
    return _ended(state[list(range(len(state.seeds)))], trace)


def _ended(state: State, trace: list[tuple[int, tuple[float, ...]]]) -> Ended:
    steps = tuple(step for step, _ in trace)
    return Ended(state, tuple((steps, tuple(values[i] for _, values in trace)) for i in range(len(state.seeds))))


def _held(ended: Ended) -> Held:
    steps = ended.traces[0][0]
    return Held(ended.state, [(step, tuple(values[i] for _, values in ended.traces)) for i, step in enumerate(steps)])


def _work(problem: Problem, recipe: Recipe, state: State, samples: int, checkpoint: Checkpoint, name: str) -> Ended:
    with one_thread():
        return run_here(problem, recipe, state, samples, checkpoint, name)


def _work_elsewhere(problem: Problem, recipe: Recipe, state: State, samples: int, checkpoint: Checkpoint, name: str) -> Ended | None:
    """None where it was interrupted; what it has done is then kept."""
    began = time.process_time()
    try:
        ended = _work(problem, recipe, state, samples, checkpoint, name)
    except KeyboardInterrupt:
        return None
    return replace(ended, elsewhere=time.process_time() - began)


@dataclass
class Launcher:
    """Runs recipes on populations, in batches of at most `batch` starts: what is in a batch does not depend on the workers, since the same
    start may end with other last bits in a batch of another size.

    workers: processes; 1 runs everything in this one. checkpoint: where batches that have ended are kept, and found again.
    elsewhere: CPU seconds that other processes have spent so far.
    """

    workers: int
    batch: int = BATCH
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    elsewhere: float = 0.0

    def map(
        self, problem: Problem, jobs: list[tuple[Recipe, State]], samples: int = 0, report: Report | None = None, purpose: str = ""
    ) -> list[Ended]:
        """The populations after their recipes, in the order of the jobs whatever finishes first.

        purpose: what the jobs are for. Beside their recipes and members it names what a checkpoint keeps of them: two calls of one run
        differ in one of these.
        """
        parts: Parts = {}
        for j, (recipe, state) in enumerate(jobs):
            n = len(state.seeds)
            for i in range(0, n, self.batch):
                some = state[list(range(i, min(i + self.batch, n)))]
                parts[self.checkpoint.name(purpose, j, i, recipe, some.members, samples)] = (j, recipe, some)
        ended: dict[str, Ended] = {}

        def came(name: str, one: Ended) -> None:
            ended[name] = one
            if report:
                report(length(parts[name][1]) * len(parts[name][2].seeds), _lowest(one))

        for name in parts:
            if (held := self.checkpoint.read(name, problem.device)) and held.ended:
                came(name, _ended(held.state, held.trace))
        left = {name: part for name, part in parts.items() if name not in ended}
        if left:
            (self._here if self.workers == 1 else self._pool)(problem, left, samples, came)
        return [_joined([ended[name] for name, (j, _, _) in parts.items() if j == k]) for k in range(len(jobs))]

    def _here(self, problem: Problem, parts: Parts, samples: int, came: Came) -> None:
        work = _work if problem.device == "cpu" else run_here
        for name, (_, recipe, state) in parts.items():
            one = work(problem, recipe, state, samples, self.checkpoint, name)
            self.checkpoint.ended(name, _held(one))
            came(name, one)

    def _pool(self, problem: Problem, parts: Parts, samples: int, came: Came) -> None:
        from concurrent.futures import as_completed, wait

        travelling = self.checkpoint.for_worker()
        with pool(self.workers) as executor:
            futures = {
                executor.submit(_work_elsewhere, problem, recipe, state, samples, travelling, name): name
                for name, (_, recipe, state) in parts.items()
            }
            try:
                for future in as_completed(futures):
                    one = future.result()
                    if one is None:
                        raise KeyboardInterrupt
                    self.elsewhere += one.elsewhere
                    self.checkpoint.ended(futures[future], _held(one))
                    came(futures[future], one)
            except KeyboardInterrupt:
                self.checkpoint.ask_to_stop()
                for future in futures:
                    future.cancel()
                for future in wait(futures, PATIENCE if self.checkpoint.folder else 0).done:
                    if not future.cancelled() and not future.exception() and (one := future.result()):
                        self.checkpoint.ended(futures[future], _held(one))
                raise
            finally:
                for future in futures:
                    future.cancel()  # nothing where it has ended


def _lowest(ended: Ended) -> float | None:
    return min((values[-1] for _, values in ended.traces if values), default=None)


def _joined(parts: list[Ended]) -> Ended:
    return Ended(State.concatenate([p.state for p in parts]), tuple(t for p in parts for t in p.traces))


def launcher(problem: Problem, workers: int | None = None, checkpoint: Checkpoint | None = None, arrays: float = 5.0) -> Launcher:
    """Small arrays on a CPU in batches in this process; larger ones in as many processes as there are cores; on a GPU as large a
    batch as half of its memory holds, all of it, so that what else runs there does not change the batch, and with it last bits.

    arrays: of the object that one start takes in its steps (memory.arrays).
    """
    import torch

    amplitude, kept = problem.counts.amplitude, checkpoint or Checkpoint()
    pixels = amplitude.numel()
    if problem.device.startswith("cuda"):
        index = torch.device(problem.device).index
        total = torch.cuda.get_device_properties(torch.cuda.current_device() if index is None else index).total_memory
        start = pixels * amplitude.element_size() * (1 if problem.real else 2) * (GPU_ARRAYS + arrays)
        return Launcher(1, max(1, int(total / 2 / start)), kept)
    if pixels <= BATCH_PIXELS:
        return Launcher(workers or 1, BATCH, kept)
    return Launcher(workers or cores(), 1, kept)
