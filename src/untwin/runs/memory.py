"""How much memory a reconstruction takes, said before it begins. Counted in arrays of the object's kind; held against measured peaks by
benchmarks/memory.py."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from untwin.errors import NotEnoughMemory
from untwin.runs.launch import brief
from untwin.solve.admm import ADMM
from untwin.solve.fit import Fit
from untwin.solve.recipe import Recipe, segments
from untwin.solve.stopping import KeepBest
from untwin.solve.variance import WMV
from untwin.solve.wrap import Mean, Wrapper

if TYPE_CHECKING:
    from untwin.model.problem import Problem
    from untwin.runs.launch import Launcher
    from untwin.runs.stages.plan import Plan
    from untwin.solve.recipe import Algorithm

PICTURES = 200e6  # bytes that libraries, figures and report take beside what is there (measured),
PIXEL, VOXEL = 340.0, 250.0  # and so many for each of an array that is drawn,
CUBE = 110e6  # and in three dimensions
WORKER = 400e6  # of a process of the pool before it has work: torch and the engine (measured)
THREAD = 48.0  # bytes for each pixel that stay with a thread when its work is done (measured)
NETWORK = 100.0  # arrays of the box in which a prior lives that its layers keep for the gradient (measured with those of the methods)
WAITING = 9.0  # arrays of a start in a worker, beside its steps: what came with it, what is given back, blocks that wait (measured)
ALIGNED = 22.0  # complex arrays of an alignment in double precision, and of the modes (measured)
JUDGED = 64.0  # bytes for each pixel while a start is judged, in double precision (measured)
FREED = 96.0  # and of a real object, while a complex one is tried in its place (measured)
SLACK = 1.05  # what the allocator keeps back


def estimate(problem: Problem, plan: Plan, launch: Launcher) -> int:
    """Bytes that the run takes at its peak, resident, over all its processes here, those that are taken now among them. CPU only."""
    pixels = problem.counts.amplitude.numel()
    complex_bytes = 2 * pixels * problem.counts.amplitude.element_size()
    object_bytes = complex_bytes / 2 if problem.real else complex_bytes
    start = 2 + 2 * pixels / object_bytes  # x, image; support, bounds
    data = 20 * pixels
    size = plan.size(pixels, start)
    stages = [stage.arrays(size) for stage in plan.stages]
    many = min(launch.batch, size.starts)
    work = many * arrays(problem, plan)
    candidates = max(size.families + size.reserve, *(s.candidates for s in stages))
    judged = size.start_arrays + size.starts + size.families + size.reserve + candidates
    idle, busy = 0.0, SLACK * object_bytes * work  # what the steps take beside a stage that runs none, and beside one that does
    if launch.elsewhere is not None:
        busy = 0.0
    elif launch.workers > 1:
        parts = max(1, math.ceil(max(s.at_once for s in stages) / launch.batch))
        workers = min(launch.workers, parts)
        if launch.threads and all(map(brief, plan.recipes)):
            idle, busy = workers * THREAD * pixels, workers * (THREAD * pixels + busy)
        else:
            idle, busy = workers * WORKER, workers * (WORKER + data + SLACK * object_bytes * (work + WAITING * many))
    peaks = [SLACK * object_bytes * s.peak + (busy if s.at_once else idle) for s in stages]
    assessment = (JUDGED + FREED * problem.real) * pixels
    at_work = PICTURES + assessment + max(SLACK * (object_bytes * judged + complex_bytes * ALIGNED) + idle, *peaks)
    report_bytes = PICTURES + (PIXEL * pixels if problem.ndim < 3 else CUBE + VOXEL * pixels) + idle
    return int(_resident() + max(report_bytes, at_work))


def require(problem: Problem, plan: Plan, launch: Launcher) -> int:
    """The estimate. Raises NotEnoughMemory where this machine has less, naming a smaller setting that fits."""
    needed = estimate(problem, plan, launch)
    free = available()
    if problem.device != "cpu" or free is None or needed - _resident() <= free:
        return needed
    raise NotEnoughMemory(
        f"this run takes about {needed / 2**30:.3g} GiB, {free / 2**30:.3g} GiB are free; {_smaller(problem, plan, launch, free)}"
    )


def available() -> int | None:
    """Bytes that this machine, or the container that this process runs in, can still give; None where nobody says."""
    limits = []
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        limits += [n for n in [memory_of_machine()] if n is not None]
    for limit, usage in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:
            path = Path("/sys/fs/cgroup") / limit
            statistics = dict(line.split() for line in path.with_name("memory.stat").read_text().splitlines())
            cache = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))  # is given back when somebody needs it
            limits.append(int(path.read_text()) - int((Path("/sys/fs/cgroup") / usage).read_text()) + cache)
        except (OSError, ValueError):
            continue
    return min(limits, default=None)


def memory_of_machine() -> int | None:
    """Bytes, free or not; None where the system does not say (Windows)."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _smaller(problem: Problem, plan: Plan, launch: Launcher, free: int) -> str:
    """A setting that fits: fewer workers, then fewer starts, then a smaller array."""
    from dataclasses import replace

    def fits(plan: Plan, workers: int) -> bool:
        return estimate(problem, plan, replace(launch, workers=workers)) - _resident() <= free

    for workers in range(launch.workers - 1, 0, -1):
        if fits(plan, workers):
            return f"try workers={workers} (--workers {workers})"
    low, high = 0, plan.search.starts  # the most that fit are in [low, high)
    while high - low > 1:
        n = (low + high) // 2
        low, high = (n, high) if fits(plan.with_starts(n), 1) else (low, n)
    if low:
        if launch.workers > 1:
            return f"try workers=1, starts={low} (--workers 1 --starts {low})"
        return f"try starts={low} (--starts {low})"
    return "try a smaller array: crop the pattern around its centre or bin it, by two along each axis, if it is oversampled enough"


def arrays(problem: Problem, plan: Plan) -> float:
    """Arrays of the object that one start takes in the steps of a plan, beside where it begins."""
    return max(_arrays_of(problem, recipe) for recipe in plan.recipes)


def _arrays_of(problem: Problem, recipe: Recipe) -> float:
    """Arrays of the object that one start takes in its steps, beside where it begins."""
    most = 5.0
    for rule, algorithms in segments(recipe):
        watch = 0.0
        if isinstance(rule, KeepBest):
            watch = 3.0 + (rule.window if isinstance(rule, WMV) else 0)
        most = max(most, *(5.0 + watch + _carried(problem, a) for a in set(algorithms)))
    return most


def _carried(problem: Problem, algorithm: Algorithm) -> float:
    """What an algorithm remembers or computes on the way, in arrays."""
    if isinstance(algorithm, Wrapper):
        return (2.0 if isinstance(algorithm, Mean) else 1.0) + _carried(problem, algorithm.algorithm)
    if isinstance(algorithm, ADMM):
        return 4.0
    if isinstance(algorithm, Fit):
        return NETWORK * algorithm.box**problem.ndim
    return 0.0


def _resident() -> int:
    """Bytes of this process that are resident now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
