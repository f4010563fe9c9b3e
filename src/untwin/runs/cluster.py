"""The parts of a run on the workers of a Dask cluster: the same batches as here, with the same bits, whatever worker runs which."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from concurrent.futures import as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin import cluster
from untwin.cluster import ClusterExecutor, Shared
from untwin.errors import ClusterWarning, InputError
from untwin.processes import GRACE_PERIOD, one_thread
from untwin.provenance import made_with
from untwin.runs.checkpoint import Checkpoint, PartState, digest
from untwin.runs.device import short_run
from untwin.runs.launch import Launcher, OnDone, Parts, RunResult, at_rest, run_here

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.live.record import Shows
    from untwin.model.problem import Problem
    from untwin.solve.recipe import Recipe
    from untwin.solve.state import State


@dataclass(frozen=True, eq=False)
class Answer:
    """What a worker sends back. part: where it stands, if it was asked to stop. bits: of a short run there. processor: its instructions."""

    result: RunResult | None
    part: PartState | None
    worker: str
    bits: str
    processor: str


@lru_cache
def bits() -> str:
    """SHA-256 of what a short run on the CPU ends with: processors with other instructions round otherwise."""
    with one_thread():
        return digest(short_run("cpu"))


def processor() -> str:
    """The vector instructions that torch uses."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def work(
    problem: Problem, recipe: Recipe, state: State, samples: int, part: PartState | None, name: str, iterates: bool, expected: str,
    live: Shows,
) -> Answer:  # fmt: skip
    """A part of a run on a worker. part: where it stood when the run was interrupted. iterates: of the Launcher. expected: the device.
    live: shows it to others."""
    from distributed import get_worker

    if (its := str(made_with(problem.device)["device"])) != expected:
        raise InputError(
            f"the worker {get_worker().address} has {its} (here {expected}), which gives other bits; take workers with the same"
        )
    checkpoint, result = Checkpoint(waiting={name: part} if part else {}, live=live), None
    began = time.thread_time()
    try:
        result = run_here(problem, recipe, state[list(range(len(state.members)))], samples, checkpoint, name)
        result = result if iterates else at_rest(result)
        result = replace(result, states=tuple(map(_compact, result.states)), cpu_seconds=time.thread_time() - began)
    except KeyboardInterrupt:
        part = checkpoint.waiting.get(name)
    return Answer(result, part, get_worker().address, bits(), processor())


@dataclass(eq=False)
class Afar:
    """The strategy of a Launcher. The problem travels once to each worker; a part with its recipe, its starts and its name."""

    tasks: ClusterExecutor
    shared: Shared = field(default_factory=lambda: Shared(None))
    rounding: set[str] = field(default_factory=set)

    def __call__(self, launcher: Launcher, problem: Problem, parts: Parts, samples: int, on_done: OnDone) -> None:
        checkpoint = launcher.checkpoint
        if problem is not self.shared.content:
            self.shared = Shared(problem)
        expected = str(made_with(problem.device)["device"])
        futures, live = {}, checkpoint.live.for_worker()
        for name, (_, recipe, state) in parts.items():
            unfinished = checkpoint.read(name, problem.device)
            arguments = recipe, _compact(state), samples, unfinished, name, launcher.iterates, expected, live
            futures[self.tasks.submit_with(self.shared, work, *arguments)] = name
        try:
            for future in as_completed(futures):
                answer = future.result()
                self._note_rounding(answer)
                if answer.result is None:
                    raise KeyboardInterrupt
                launcher.finish(futures[future], answer.result, on_done)
        except KeyboardInterrupt:
            self.tasks.stop()
            for future in wait(futures, GRACE_PERIOD if checkpoint.folder else 0).done:
                if not future.cancelled() and not future.exception():
                    answer = future.result()
                    if answer.result is not None:
                        launcher.finish(futures[future], answer.result, lambda name, result: None)
                    elif answer.part is not None:
                        checkpoint.keep({futures[future]: answer.part})
            raise

    def _note_rounding(self, answer: Answer) -> None:
        if answer.bits != bits() and answer.worker not in self.rounding:
            self.rounding.add(answer.worker)
            warnings.warn(
                f"the worker {answer.worker} ({answer.processor}) rounds otherwise than this process ({processor()}). The last bits of the "
                "result depend on which worker ran what; take nodes of one kind where they matter",
                ClusterWarning,
                stacklevel=2,
            )


@contextmanager
def afar(scheduler: Any, workers: int | None, device: str = "cpu") -> Iterator[Afar | None]:
    """The strategy for a scheduler (cluster.executor); None without one."""
    if scheduler is None:
        yield None
        return
    if device not in ("cpu", "cuda"):
        raise InputError(f"device={device!r} with a scheduler; take 'cuda': each worker sees its own GPU as the first")
    with cluster.executor(scheduler, workers) as tasks:
        yield Afar(tasks)


def _compact(state: State) -> State:
    """With one tensor where two have the same bits: it travels once."""
    image = state.x if _same(state.x, state.image) else state.image
    return state.replace(image=image, bounds=state.support if _same(state.support, state.bounds) else state.bounds)


def _same(a: Tensor, b: Tensor) -> bool:
    if not a.is_cpu or a.dtype != b.dtype or a.requires_grad or b.requires_grad:
        return False
    one, other = (t.contiguous().numpy().reshape(-1).view(np.uint8) for t in (a, b))
    return np.array_equal(one, other)
