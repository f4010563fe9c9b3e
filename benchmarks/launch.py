"""Where starts run fastest on this CPU: all in one batch, or one by one in a pool of processes with one thread each, or in threads.

    python benchmarks/launch.py --json benchmarks/results/launch.json

First the first recipe of the automatic plan in short (40 HIO with two support updates), 12 starts; median of the rounds, the ways in
turn; the pool is warm. Where batch and pool cross, BATCH_PIXELS in runs/launch.py is set. Then an iteration of one start by size: what the
smallest takes is Python, for which threads wait for one another (THREAD_PIXELS). Then whole commands, from file to report, with the pool
and with threads; the memory is that of volumes.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import untwin as ut
from untwin import engine
from untwin.runs import launch
from untwin.runs.launch import Launcher, cores
from untwin.simulate.detector import measure
from untwin.simulate.shapes import poly
from untwin.solve.begin import begin
from volumes import Watcher, cpu_seconds

FIGURES = ("seconds", "cpu", "peak")
WHOLE = ((256, 256), (64, 64, 64), (128, 128, 128))
COMMAND = "import sys; from untwin.runs import launch; launch.THREAD_PIXELS = {pixels}; from untwin.cli import main; main()"


def whole(shape: tuple[int, ...], seed: int, rounds: int) -> list[dict]:
    """`untwin reconstruct` of a fresh crystal, both ways in turn: seconds by the wall and of CPU, and the peak of the memory."""
    size, rows = ",".join(map(str, shape)), []
    with tempfile.TemporaryDirectory() as name:
        pattern, out = f"{name}/c.cxi", f"{name}/out"
        untwin = [sys.executable, "-m", "untwin"]
        subprocess.run(
            [*untwin, "simulate", "crystal", "--size", size, "--seed", str(seed), "-o", pattern], check=True, stdout=subprocess.DEVNULL
        )
        for _ in range(rounds):
            for way, pixels in (("pool", 2**62), ("threads", launch.THREAD_PIXELS)):
                command = [sys.executable, "-c", COMMAND.format(pixels=pixels), "reconstruct", pattern, "-o", out, "--overwrite"]
                began, cpu = time.monotonic(), cpu_seconds()
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                watcher = Watcher(process.pid, 0.2)
                watcher.start()
                code = process.wait()
                seconds = time.monotonic() - began
                watcher.ended.set()
                watcher.join()
                if code:
                    raise SystemExit(f"{' '.join(command)} ended with {code}")
                rows.append({"way": way, "shape": shape, "seconds": seconds, "cpu": cpu_seconds() - cpu, "peak": watcher.peak})
    return rows


def steps(seed: int, rounds: int, sizes: list[tuple[int, ...]]) -> list[dict]:
    recipe = ut.parse("2*(20*HIO + ShrinkWrap(sigma=1.5))")
    ways = {"batch": Launcher(1, 12), "pool": Launcher(cores(), 1), "threads": Launcher(cores(), 1, threads=True)}
    rows = []
    print(f"| array | batch, s | pool of {cores()}, s | threads, s | batch / pool | threads / pool |\n|---|---|---|---|---|---|")
    for shape in sizes:
        rng = np.random.default_rng(seed)
        pattern, _ = measure(poly(shape, rng), 1e7, rng)
        problem = ut.Problem.of(pattern)
        state = begin(problem, tuple(range(12)))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(1 + rounds):  # the first one warms up
            for name, way in ways.items():
                began = time.perf_counter()
                way.map(problem, [(recipe, state)])
                seconds[name].append(time.perf_counter() - began)
        row = {name: float(np.median(taken[1:])) for name, taken in seconds.items()}
        rows.append({"shape": shape, **row})
        ratios = f"{row['batch'] / row['pool']:.2f} | {row['threads'] / row['pool']:.2f}"
        print(f"| {' x '.join(map(str, shape))} | {' | '.join(f'{s:.3f}' for s in row.values())} | {ratios} |", flush=True)
    return rows


def python(seed: int) -> list[dict]:
    """Microseconds of an iteration of one start, with the compiled engine and without: those of the smallest array are Python's."""
    recipe, rows = ut.parse("20*(20*HIO + ShrinkWrap(sigma=1.5))"), []
    print("\n| array | compiled, microseconds | plain |\n|---|---|---|")
    for n in (16, 64, 128, 256):
        rng = np.random.default_rng(seed)
        pattern, _ = measure(poly((n, n), rng), 1e7, rng)
        problem = ut.Problem.of(pattern)
        row: dict = {"shape": (n, n)}
        for name, engine.PLAIN in (("compiled", False), ("plain", True)):
            taken = []
            for _ in range(4):
                began = time.perf_counter()
                Launcher(1, 1).map(problem, [(recipe, begin(problem, (0,)))], samples=25)
                taken.append(time.perf_counter() - began)
            row[name] = 1e6 * min(taken) / 400
        engine.PLAIN = False
        rows.append(row)
        print(f"| {n} x {n} | {row['compiled']:.0f} | {row['plain']:.0f} |", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two sizes, one whole run")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [(64, 64), (128, 128), (256, 256), (512, 512), (32, 32, 32), (64, 64, 64), (128, 128, 128)]
    result: dict = {"rows": steps(args.seed, args.rounds, sizes[:2] if args.quick else sizes), "python": python(args.seed), "whole": []}
    print("\n| crystal | pool: s, CPU s, GB | threads: s, CPU s, GB | time | memory |\n|---|---|---|---|---|")
    for shape in WHOLE[:1] if args.quick else WHOLE:
        rows = whole(shape, args.seed, 1 if args.quick or shape == WHOLE[-1] else 3)
        result["whole"] += rows
        pool, threads = ({k: float(np.median([r[k] for r in rows if r["way"] == way])) for k in FIGURES} for way in ("pool", "threads"))
        cells = (", ".join((f"{w['seconds']:.1f}", f"{w['cpu']:.1f}", f"{w['peak'] / 1e9:.2f}")) for w in (pool, threads))
        ratios = (f"{threads[k] / pool[k]:.2f}" for k in ("seconds", "peak"))
        print(f"| {' x '.join(map(str, shape))} | {' | '.join((*cells, *ratios))} |", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"script": "launch", "cores": cores(), "untwin": ut.__version__, **result}, indent=1))


if __name__ == "__main__":
    main()
