"""Starts on a Dask cluster: against the pool of processes here, what travels, what a task costs, and how many workers are of use.

    python benchmarks/cluster.py --json benchmarks/results/cluster.json

Pool: 16 starts of a 64 x 64 x 64 crystal, two Dask workers of one thread ("local") against the pool of two, in turn, both warm; what
starting them takes is counted separately. The results are compared bit by bit. What travels: bytes of the messages of a run, as the
parcels are sealed; the problem goes once to each worker. A task: seconds of CPU of client and scheduler for one that does nothing, and
for one that carries the arrays of a start out and those of a result back. The model: with W workers a round of S starts takes

    max(t S / W, c S) + (W - 1) p / W,    t: seconds of a start, c: seconds of client and scheduler for each start, p: the problem once

since the client and the scheduler serve one start after the other while the workers compute. It does not scale beyond W = t / c.
What the client does alone between rounds (alignment, choice, verdict) is in no worker's time and is not in the model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

import untwin as ut
from untwin import cluster
from untwin.processes import one_thread, sealed
from untwin.runs import auto
from untwin.runs.cluster import _compact, afar
from untwin.runs.launch import Launcher
from untwin.simulate.detector import measure
from untwin.simulate.shapes import poly
from untwin.solve.begin import begin
from untwin.solve.recipe import length

STARTS, WORKERS = 16, (1, 10, 100, 1000)
RECIPE = "10*(20*HIO + ShrinkWrap(sigma=1.5)) + 20*ER"


def crystal(size: int, seed: int) -> ut.Problem:
    rng = np.random.default_rng(seed)
    return ut.Problem.of(measure(poly((size,) * 3, rng), 1e7, rng)[0])


def against_the_pool(size: int, rounds: int, seed: int) -> dict:
    """Seconds of the same starts in the pool and on a local cluster, in turn."""
    problem, recipe = crystal(size, seed), ut.parse(RECIPE)
    state = begin(problem, tuple(range(STARTS)))
    began = time.perf_counter()
    with afar("local", 2) as elsewhere:
        dask = Launcher(2, 1, elsewhere=elsewhere)
        dask.map(problem, [(ut.parse("2*HIO"), state[[0, 1]])])
        start_dask = time.perf_counter() - began
        began = time.perf_counter()
        pool = Launcher(2, 1)
        pool.map(problem, [(ut.parse("2*HIO"), state[[0, 1]])])
        start_pool = time.perf_counter() - began
        seconds: dict[str, list[float]] = {"pool": [], "dask": []}
        cpu: dict[str, list[float]] = {"pool": [], "dask": []}  # of the workers
        ends = {}
        for k in range(rounds + 1):
            for name, launch in (("pool", pool), ("dask", dask))[:: 1 if k % 2 else -1]:
                began, before = time.perf_counter(), launch.cpu_seconds
                ends[name] = launch.map(problem, [(recipe, state)])[0].state
                seconds[name].append(time.perf_counter() - began)
                cpu[name].append(launch.cpu_seconds - before)
    same = all(np.array_equal(getattr(ends["pool"], a).numpy(), getattr(ends["dask"], a).numpy()) for a in ("x", "image", "support"))
    best = {name: min(taken[1:]) for name, taken in seconds.items()}
    ratios = [d / p for d, p in zip(seconds["dask"][1:], seconds["pool"][1:])]
    return {"size": size, "starts": STARTS, "recipe": RECIPE, "same_bits": same, "seconds": seconds, "cpu": cpu, "best": best,
            "median_ratio": statistics.median(ratios), "begin_dask": start_dask, "begin_pool": start_pool}  # fmt: skip


def travelling(size: int, seed: int) -> dict:
    """Bytes of what travels for a start, and CPU seconds of one on one thread."""
    problem, recipe = crystal(size, seed), ut.parse(RECIPE)
    with one_thread():
        one = begin(problem, (0, 1))[[0]]
        began = time.process_time()
        ended = Launcher(1, 1).map(problem, [(recipe, one)])[0].state
        seconds = time.process_time() - began
    child = ended.replace(x=ended.image)  # of a guided generation
    what = {"problem": problem, "start": (recipe, _compact(one)), "child": (recipe, _compact(child)), "result": _compact(ended)}
    dense = sum(a.nbytes for a in (one.x, one.image, one.support, one.bounds))
    steps = length(auto.plan(problem).search.first)
    sizes = {name: len(sealed(v)) for name, v in what.items()} | {"arrays of a start": dense}
    return {"size": size, "bytes": sizes, "seconds": seconds, "steps": length(recipe), "automatic_steps": steps}


def costs(tasks: int, sizes: dict, seed: int) -> dict:
    """CPU and wall seconds of client and scheduler for a task where workers do nothing: with nothing, and with a start out and a result
    back."""
    rng = np.random.default_rng(seed)
    out, back = rng.bytes(sizes["start"]), rng.bytes(sizes["result"])
    few, taken = max(8, tasks // 20), {}
    with cluster.executor("local", 1) as executor:
        shared = cluster.Shared(back)
        for _ in range(2):  # the first to warm up
            for name, number, arguments in (("nothing", tasks, (None, len, b"")), ("laden", few, (shared, first, out))):
                began, cpu = time.perf_counter(), time.process_time()
                for future in [executor.submit_with(*arguments) for _ in range(number)]:
                    future.result()
                taken[name] = {"cpu": (time.process_time() - cpu) / number, "wall": (time.perf_counter() - began) / number}
    return taken


def first(back: bytes, out: bytes) -> bytes:
    return back


def model(seconds: float, each: float, problem: float, starts: int) -> list[dict]:
    rows = []
    for w in WORKERS:
        total = max(seconds * starts / w, each * starts) + (problem * (w - 1) / w if w > 1 else 0)
        rows.append({"workers": w, "seconds": total, "speed_up": seconds * starts / total, "efficiency": seconds * starts / total / w})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small arrays")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    size, large, rounds, tasks = (32, 48, 2, 100) if args.quick else (64, 128, 5, 1000)
    duel = against_the_pool(size, rounds, args.seed)
    best = duel["best"]
    print(f"{STARTS} starts at {size}^3: pool {best['pool']:.2f} s, Dask {best['dask']:.2f} s (best of {rounds}), median of the ratios")
    print(f"{duel['median_ratio']:.3f}; begun in {duel['begin_pool']:.1f} and {duel['begin_dask']:.1f} s; same bits: {duel['same_bits']}")
    travel = travelling(large, args.seed)
    for name, count in travel["bytes"].items():
        print(f"| {name} at {large}^3 | {count:,} bytes |", flush=True)
    cost = costs(tasks, travel["bytes"], args.seed)
    for name, taken in cost.items():
        print(f"a task with {name}: {1e3 * taken['cpu']:.2f} ms of CPU, {1e3 * taken['wall']:.2f} ms", flush=True)
    problem = cost["laden"]["cpu"] * travel["bytes"]["problem"] / (travel["bytes"]["start"] + travel["bytes"]["result"])
    models = {}
    laden, step = cost["laden"]["cpu"], travel["seconds"] / travel["steps"]
    kinds = {"short": (travel["seconds"], laden), "automatic": (step * travel["automatic_steps"], laden), "minutes": (300.0, laden)}
    for name, (seconds, each) in ({"nothing": (1.0, cost["nothing"]["cpu"])} | kinds).items():
        rows, most = model(seconds, each, problem, 1000), seconds / each
        models[name] = {"seconds_of_a_start": seconds, "each": each, "most_workers": most, "rows": rows}
        print(f"1000 starts of {seconds:.1f} s, {1e3 * each:.1f} ms of client and scheduler for each: no gain beyond {most:,.0f} workers")
        for row in rows:
            print(f"| {row['workers']:,} | {row['seconds']:,.1f} s | {row['speed_up']:.0f} | {100 * row['efficiency']:.0f} % |", flush=True)
    if args.json:
        results = {
            "script": "cluster",
            "untwin": ut.__version__,
            "against_the_pool": duel,
            "travelling": travel,
            "costs": cost,
            "models": models,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
