"""Where starts run fastest on this CPU: all in one batch, or one by one in a pool of processes with one thread each.

    python benchmarks/launch.py --json benchmarks/results/launch.json

The first recipe of the automatic plan in short (40 HIO with two support updates), 12 starts; best of 3, the two ways in turn; the
pool is warm. Where the ways cross, BATCH_PIXELS in runs/launch.py is set (a batch needs no start-up and no second copy of torch).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.runs.launch import Launcher, cores
from untwin.simulate.detector import measure
from untwin.simulate.shapes import poly
from untwin.solve.begin import begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two sizes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [(64, 64), (128, 128), (256, 256), (512, 512), (32, 32, 32), (64, 64, 64)]
    recipe = ut.parse("2*(20*HIO + ShrinkWrap(sigma=1.5))")
    rows = []
    print(f"| array | starts | batch, s | pool of {cores()}, s | batch / pool |\n|---|---|---|---|---|")
    for shape in sizes[:2] if args.quick else sizes:
        rng = np.random.default_rng(args.seed)
        pattern, _ = measure(poly(shape, rng), 1e7, rng)
        problem = ut.Problem.of(pattern)
        state = begin(problem, tuple(range(12)))
        seconds: dict[int, list[float]] = {1: [], cores(): []}
        for _ in range(4):
            for workers, taken in seconds.items():
                began = time.perf_counter()
                Launcher(workers, 12 if workers == 1 else 1).map(problem, [(recipe, state)])
                taken.append(time.perf_counter() - began)
        batch, pool = (min(taken[1:]) for taken in seconds.values())
        rows.append({"shape": shape, "batch": batch, "pool": pool})
        print(f"| {' x '.join(map(str, shape))} | 12 | {batch:.3f} | {pool:.3f} | {batch / pool:.2f} |", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"script": "launch", "cores": cores(), "untwin": ut.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
