"""How fast samples are made: a data set on disk, CDI NN in memory, 3D crystals; and how much memory a data set takes.

    python benchmarks/simulate.py --seed 1 --json benchmarks/results/simulate.json

Two worker processes with one thread each. Memory: the largest of any process, for a data set and for one of four times its samples.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from untwin import __version__
from untwin.simulate.crystals import crystal, simulation
from untwin.simulate.dataset import write


def draw(text: str, seed: int, indices: range, batch: int) -> int:
    """Draw samples and drop them."""
    recipe = simulation(text)
    for at in range(0, len(indices), batch):
        recipe.draw(seed, indices[at : at + batch])
    return len(indices)


def in_memory(text: str, seed: int, count: int, batch: int, workers: int) -> float:
    """Samples per second, over a pool that has been warmed up."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(draw, *zip(*[(text, seed, range(k, k + 1), 1) for k in range(2 * workers)])))
        share = -(-count // workers)
        began = time.perf_counter()
        list(pool.map(draw, *zip(*[(text, seed, range(k * share, (k + 1) * share), batch) for k in range(workers)])))
        return workers * share / (time.perf_counter() - began)


def peak(recipe: str, seed: int, count: int) -> float:
    """MiB, the peak of a fresh process that writes a data set."""
    code = (
        "import resource, sys, tempfile; from untwin.simulate.dataset import write\n"
        f"write(tempfile.mkdtemp(dir=sys.argv[1]), {recipe!r}, {seed}, {count}, shard={count})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    with tempfile.TemporaryDirectory() as folder:
        return float(subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a fiftieth of everything")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    few = 50 if args.quick else 1
    rows = []
    print("| what | samples | seconds | per second | |\n|---|---|---|---|---|")

    def tell(what: str, count: int, seconds: float, note: str = "") -> None:
        rows.append({"what": what, "samples": count, "seconds": seconds, "rate": count / seconds, "note": note})
        print(f"| {what} | {count:,} | {seconds:.1f} | {count / seconds:,.1f} | {note} |", flush=True)

    count = 100_000 // few
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        write(folder, "crystals-2d", args.seed, count, workers=args.workers)
        seconds = time.perf_counter() - began
        size = sum(p.stat().st_size for p in Path(folder).iterdir())
    tell("crystals-2d, 64 x 64, to disk", count, seconds, f"{size / 1e6:,.0f} MB, {size / count:,.0f} bytes each")
    for what, recipe, count, batch in (
        ("cdi-nn, 32 x 32, in memory", repr(simulation("cdi-nn")), 40_000 // few, 128),
        ("crystals 64 x 64 x 64, two dislocations, in memory", repr(crystal((64, 64, 64), dislocations=2)), max(8, 200 // few), 1),
    ):
        rate = in_memory(recipe, args.seed, count, batch, args.workers)
        tell(what, count, count / rate)
    memory = [peak("crystals-2d", args.seed, n) for n in (500, 2000)]
    print(f"\nlargest memory: {memory[0]:.0f} MiB for 500 samples in one file, {memory[1]:.0f} MiB for 2000")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"script": "simulate", "seed": args.seed, "untwin": __version__, "workers": args.workers, "cores": os.cpu_count()}
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        args.json.write_text(json.dumps(told | {"rows": rows, "memory_mib": memory, "memory_of_script_mib": own}, indent=1))


if __name__ == "__main__":
    main()
