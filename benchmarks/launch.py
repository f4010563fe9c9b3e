"""Where starts run fastest on this CPU: all in one batch, or one by one in a pool of processes with one thread each, or in threads.

    python benchmarks/launch.py --json benchmarks/results/launch.json

The first recipe of the automatic plan in short (40 HIO with two support updates), 12 starts; median of the rounds, the ways in turn; the
pool is warm. Where batch and pool cross, BATCH_PIXELS in runs/launch.py is set (a batch needs no start-up and no second copy of torch).
Threads share one process, and wait for one another wherever Python is at work.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.model.problem import Problem
from untwin.processes import one_thread
from untwin.runs.launch import Launcher, OnDone, Parts, RunResult, cores, run_here
from untwin.simulate.detector import measure
from untwin.simulate.shapes import poly
from untwin.solve.begin import begin


def in_threads(launch: Launcher, problem: Problem, parts: Parts, samples: int, on_done: OnDone) -> None:
    """A strategy of a launcher."""

    def work(name: str) -> RunResult:
        with one_thread():
            return run_here(problem, *parts[name][1:], samples)

    with ThreadPoolExecutor(launch.workers) as executor:
        futures = {executor.submit(work, name): name for name in parts}
        for future in as_completed(futures):
            launch.finish(futures[future], future.result(), on_done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two sizes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [(64, 64), (128, 128), (256, 256), (512, 512), (32, 32, 32), (64, 64, 64), (128, 128, 128)]
    recipe = ut.parse("2*(20*HIO + ShrinkWrap(sigma=1.5))")
    ways = {"batch": Launcher(1, 12), "pool": Launcher(cores(), 1), "threads": Launcher(cores(), 1, elsewhere=in_threads)}
    rows = []
    print(f"| array | batch, s | pool of {cores()}, s | threads, s | batch / pool | threads / pool |\n|---|---|---|---|---|---|")
    for shape in sizes[:2] if args.quick else sizes:
        rng = np.random.default_rng(args.seed)
        pattern, _ = measure(poly(shape, rng), 1e7, rng)
        problem = ut.Problem.of(pattern)
        state = begin(problem, tuple(range(12)))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(1 + args.rounds):  # the first one warms up
            for name, launch in ways.items():
                began = time.perf_counter()
                launch.map(problem, [(recipe, state)])
                seconds[name].append(time.perf_counter() - began)
        row = {name: float(np.median(taken[1:])) for name, taken in seconds.items()}
        rows.append({"shape": shape, **row})
        ratios = f"{row['batch'] / row['pool']:.2f} | {row['threads'] / row['pool']:.2f}"
        print(f"| {' x '.join(map(str, shape))} | {' | '.join(f'{s:.3f}' for s in row.values())} | {ratios} |", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"script": "launch", "cores": cores(), "untwin": ut.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
