"""Where starts run: in this process, in threads of it, in a pool of processes, or elsewhere (runs.cluster); in the same batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, thread, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from untwin.engine import memory
from untwin.judge.metrics import r_factor
from untwin.model.waves.farfield import FarField
from untwin.processes import GRACE_PERIOD, cores, interruptible, one_thread, pool
from untwin.runs.checkpoint import Checkpoint, PartState
from untwin.runs.live import StartsLook, lines_of
from untwin.solve.recipe import Recipe, length, segments
from untwin.solve.run import iterate
from untwin.solve.state import CHECK, State

if TYPE_CHECKING:
    from untwin.model.problem import Problem
    from untwin.solve.state import State

BATCH_PIXELS = 16_384  # up to this size a batch beats the pool on a CPU (measured: benchmarks/launch.py)
THREAD_PIXELS = 16_384  # for each worker: threads then wait for one another's Python in less than half of their time (benchmarks/launch.py)
BATCH = 12  # starts in one batch on a CPU: more leave the second-level cache

GPU_ARRAYS = 7.0  # of a start on a GPU beside those of its steps: temporary ones of the passes, and of the transform

Report = Callable[[int, float | None], None]  # called with the steps taken since the last call, and the lowest R known now
Parts = dict[str, tuple[int, Recipe, "State"]]  # by name: number of the job, recipe, starts
OnDone = Callable[[str, "RunResult"], None]
Strategy = Callable[["Launcher", "Problem", Parts, int, OnDone], None]  # works parts off, whatever their order


@dataclass(frozen=True, eq=False)
class RunResult:
    """A population after its recipe, as the states of its batches; for each start its R-factors on the way, (steps, values); CPU seconds
    of other processes."""

    states: tuple[State, ...]
    traces: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    cpu_seconds: float = 0.0

    @property
    def state(self) -> State:
        """One of all starts."""
        return State.concatenate(self.states)


def residual(problem: Problem, state: State) -> tuple[float, ...]:
    """R-factor of each start's object."""
    problem = problem.holding(state.nuisance) if state.nuisance else problem
    d = problem.counts
    f = problem.predict(problem.project_object(state.image, state.support))
    return tuple(r_factor(f, d.intensity, d.measured).tolist())


def run_here(
    problem: Problem, recipe: Recipe, state: State, samples: int = 0, checkpoint: Checkpoint | None = None, name: str = ""
) -> RunResult:
    """The recipe, with the R-factor looked at about `samples` times on the way, at multiples of CHECK, so that as many steps are taken at
    once. name: of this part of a run in its checkpoint; it goes on from what is kept there.

    A batch whose starts have all come to NaN or infinity ends at once, unless a rule is in force, which keeps an earlier image.
    """
    every = CHECK * max(1, round(length(recipe) / samples / CHECK)) if samples else 0
    checkpoint = checkpoint or Checkpoint()
    part = checkpoint.read(name, problem.device) if name else None
    state, trace = (part.state, part.trace) if part else (state, [])
    with checkpoint.part(name, StartsLook(problem, None if every else residual)) as reached:
        for state in iterate(problem, recipe, state, CHECK):  # noqa: B020
            if every and state.step % every == 0 and (not trace or state.step > trace[-1][0]):
                trace.append((state.step, residual(problem, state)))
            checkpoint.live.under_way(state.step * len(state.seeds))
            reached(state, trace)
            if state.step % CHECK == 0 and state.rule_state is None and not bool(state.finite().any()):
                break
    return _run_result(state[list(range(len(state.seeds)))], trace)


def _run_result(state: State, trace: list[tuple[int, tuple[float, ...]]]) -> RunResult:
    steps = tuple(step for step, _ in trace)
    return RunResult((state,), tuple((steps, tuple(values[i] for _, values in trace)) for i in range(len(state.seeds))))


def _part_state(result: RunResult) -> PartState:
    steps = result.traces[0][0]
    return PartState(result.state, [(step, tuple(values[i] for _, values in result.traces)) for i, step in enumerate(steps)])


def _work(
    problem: Problem, recipe: Recipe, state: State, samples: int, checkpoint: Checkpoint, name: str, iterates: bool = True
) -> RunResult:
    with one_thread():
        result = run_here(problem, recipe, state, samples, checkpoint, name)
    return result if iterates else at_rest(result)


def at_rest(result: RunResult) -> RunResult:
    """The iterate is left behind, which is half of what would travel and be kept."""
    return replace(result, states=tuple(s.replace(x=s.image) for s in result.states))


def _work_in_worker(
    problem: Problem, recipe: Recipe, state: State, samples: int, checkpoint: Checkpoint, name: str, iterates: bool = True
) -> RunResult | None:
    """None where it was interrupted; what it has done is then kept."""
    began = time.process_time()
    try:
        result = _work(problem, recipe, state, samples, checkpoint, name, iterates)
    except KeyboardInterrupt:
        return None
    memory.release()  # a worker that waits is small
    return replace(result, cpu_seconds=time.process_time() - began)


@dataclass
class Launcher:
    """Runs recipes on populations, in batches of at most `batch` starts: what is in a batch does not depend on the workers, since the same
    start may end with other last bits in a batch of another size.

    workers: processes, or threads of this one; 1 runs everything here. checkpoint: where batches that have ended are kept, and
    found again. cpu_seconds: CPU seconds that other processes have spent so far. elsewhere: who takes the batches instead of this machine.
    iterates: whether x comes back, too, beside the image: stages begin from images, but for a Refine. threads: workers are threads for
    recipes that are `brief`.
    """

    workers: int
    batch: int = BATCH
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    cpu_seconds: float = 0.0
    elsewhere: Strategy | None = None
    iterates: bool = True
    threads: bool = False

    def map(
        self, problem: Problem, jobs: list[tuple[Recipe, State]], samples: int = 0, report: Report | None = None, purpose: str = ""
    ) -> list[RunResult]:
        """The populations after their recipes, in the order of the jobs whatever finishes first.

        purpose: what the jobs are for. Beside their recipes and members it names what a checkpoint keeps of them: two calls of one run
        differ in one of these.
        """
        parts: Parts = {}
        for j, (recipe, state) in enumerate(jobs):
            n = len(state.seeds)
            for i in range(0, n, self.batch):
                batch = state[list(range(i, min(i + self.batch, n)))]
                parts[self.checkpoint.name(purpose, j, i, recipe, batch.members, samples)] = (j, recipe, batch)
        results: dict[str, RunResult] = {}

        def on_done(name: str, result: RunResult) -> None:
            results[name] = result
            look = partial(StartsLook(problem), result.state, _part_state(result).trace)
            self.checkpoint.live.finished(name, lines_of(result.state.members, result.traces), look)
            if report:
                report(length(parts[name][1]) * len(parts[name][2].seeds), _lowest(result))

        for name in parts:
            if (part := self.checkpoint.read(name, problem.device)) and part.ended:
                on_done(name, _run_result(part.state, part.trace))
        pending = {name: part for name, part in parts.items() if name not in results}
        threads = self.threads and all(brief(recipe) for recipe, _ in jobs)
        machine = Launcher._in_this_process if self.workers == 1 else Launcher._in_threads if threads else Launcher._in_pool
        if pending:
            (self.elsewhere or machine)(self, problem, pending, samples, on_done)
        return [_joined([results[name] for name, (j, _, _) in parts.items() if j == k]) for k in range(len(jobs))]

    def finish(self, name: str, result: RunResult, on_done: OnDone) -> None:
        """A part has ended."""
        self.cpu_seconds += result.cpu_seconds
        self.checkpoint.finish_part(name, _part_state(result))
        on_done(name, result)

    def _in_this_process(self, problem: Problem, parts: Parts, samples: int, on_done: OnDone) -> None:
        for name, (_, recipe, state) in parts.items():
            arguments = problem, recipe, state, samples, self.checkpoint, name
            self.finish(name, _work(*arguments, self.iterates) if problem.device == "cpu" else run_here(*arguments), on_done)

    def _in_pool(self, problem: Problem, parts: Parts, samples: int, on_done: OnDone) -> None:
        worker_checkpoint = self.checkpoint.for_worker()
        with pool(self.workers) as executor:
            futures = {
                executor.submit(_work_in_worker, problem, recipe, state, samples, worker_checkpoint, name, self.iterates): name
                for name, (_, recipe, state) in parts.items()
            }
            self._gather(futures, on_done, self.checkpoint.ask_to_stop)

    def _in_threads(self, problem: Problem, parts: Parts, samples: int, on_done: OnDone) -> None:
        stop = threading.Event()

        def unwanted() -> bool:
            return stop.is_set() or getattr(thread, "_shutdown", False)  # the interpreter ends, and waits for these threads

        def work(recipe: Recipe, state: State, name: str) -> RunResult | None:
            with suppress(KeyboardInterrupt), interruptible(unwanted):
                return _work(problem, recipe, state, samples, self.checkpoint.for_worker(), name, self.iterates)

        with ThreadPoolExecutor(self.workers) as executor:
            try:
                futures = {executor.submit(work, recipe, state, name): name for name, (_, recipe, state) in parts.items()}
                self._gather(futures, on_done, stop.set)
            finally:
                stop.set()
                executor.shutdown(cancel_futures=True)
                memory.release()

    def _gather(self, futures: dict[Future[RunResult | None], str], on_done: OnDone, stop: Callable[[], None]) -> None:
        """What workers give back, as it comes; None is that of one that was interrupted. stop: asks them all to stop."""
        try:
            for future in as_completed(futures):
                result = future.result()
                if result is None:
                    raise KeyboardInterrupt
                self.finish(futures[future], result, on_done)
        except KeyboardInterrupt:
            stop()
            for future in futures:
                future.cancel()
            for future in wait(futures, GRACE_PERIOD if self.checkpoint.folder else 0).done:
                if not future.cancelled() and not future.exception() and (result := future.result()):
                    self.checkpoint.finish_part(futures[future], _part_state(result))
            raise
        finally:
            for future in futures:
                future.cancel()  # nothing where it has ended


def _lowest(result: RunResult) -> float | None:
    return min((values[-1] for _, values in result.traces if values), default=None)


def _joined(parts: list[RunResult]) -> RunResult:
    return RunResult(tuple(s for p in parts for s in p.states), tuple(t for p in parts for t in p.traces))


def launcher(problem: Problem, workers: int | None = None, checkpoint: Checkpoint | None = None, arrays: float = 5.0) -> Launcher:
    """Small arrays on a CPU in batches in this process; larger ones one by one on as many workers as there are cores; on a GPU as large a
    batch as half of its memory holds, all of it, so that what else runs there does not change the batch, and with it last bits.

    arrays: of the object that one start takes in its steps (memory.arrays).
    """
    import torch

    amplitude, checkpoint = problem.counts.amplitude, checkpoint or Checkpoint()
    pixels = amplitude.numel()
    if problem.device.startswith("cuda"):
        index = torch.device(problem.device).index
        total = torch.cuda.get_device_properties(torch.cuda.current_device() if index is None else index).total_memory
        start = pixels * amplitude.element_size() * (1 if problem.real else 2) * (GPU_ARRAYS + arrays)
        return Launcher(1, max(1, int(total / 2 / start)), checkpoint)
    if pixels <= BATCH_PIXELS:
        return Launcher(workers or 1, BATCH, checkpoint)
    workers = workers or cores()
    return Launcher(workers, 1, checkpoint, threads=pixels >= THREAD_PIXELS * workers and _of_untwin(problem))


def _of_untwin(problem: Problem) -> bool:
    """False where a part of the problem is somebody's own: it may remember something, which threads would share."""
    parts = (*problem.physics.parts, problem.modulus, problem.loss, *problem.constraint.parts())
    return type(problem.physics.waves) is FarField and all(type(part).__module__.startswith("untwin.") for part in parts)


def brief(recipe: Recipe) -> bool:
    """Whether starts may take it in threads: its steps are brief, and no rule looks at them."""
    return all(rule is None and all(part.brief for a in set(algorithms) for part in a.parts()) for rule, algorithms in segments(recipe))
