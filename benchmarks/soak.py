"""Whether long work in one process leaks: many small reconstructions, each read from a file, solved, saved and loaded, and one
in five drawn.

    python benchmarks/soak.py [--count 200] [--json benchmarks/results/soak.json]

Resident memory is taken after every reconstruction; the slope is that of a straight line through the last three quarters of them, since
libraries take what they keep in the first. Files and threads are those of the process after the first quarter and at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.cxi import write_pattern
from untwin.runs.archive import load
from untwin.show.object import plot_object
from untwin.show.style import save_figure
from untwin.simulate.detector import measure
from untwin.simulate.shapes import poly


def held() -> dict[str, float]:
    """Resident megabytes, open files and threads of this process (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    return {"megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 2**20, "files": files, "threads": threads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(args.seed)
    rows, began = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        path = write_pattern(Path(name) / "p.cxi", measure(poly((32, 32), rng), 1e6, rng)[0], process={})
        for i in range(args.count):
            solution = ut.reconstruct(ut.read(path), "2*(10*HIO + 5*ER + ShrinkWrap)", starts=2, seed=args.seed + i, workers=1)
            solution.save(Path(name) / "run", overwrite=True)
            found = load(Path(name) / "run")
            if i % 5 == 0:
                save_figure(plot_object(found), Path(name) / "figure.png")
            rows.append(held())
            if i % 25 == 24:
                print({k: round(v, 1) for k, v in rows[-1].items()}, flush=True)
    rest = rows[len(rows) // 4 :]
    slope = 100 * float(np.polyfit(np.arange(len(rest)), [r["megabytes"] for r in rest], 1)[0])
    more = {k: int(rest[-1][k] - rest[0][k]) for k in ("files", "threads")}
    told = {"command": " ".join(["python benchmarks/soak.py", *sys.argv[1:]]), "reconstructions": args.count}
    told |= {"megabytes_per_100": slope, "more_files": more["files"], "more_threads": more["threads"]}
    told |= {"seconds": time.perf_counter() - began, "megabytes": [round(r["megabytes"], 2) for r in rows]}
    print(f"{slope:.2f} MB per 100 reconstructions, {more['files']} more files, {more['threads']} more threads")
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n")
    if slope >= 1 or more["files"] > 0 or more["threads"] > 0:
        raise SystemExit("it leaks")


if __name__ == "__main__":
    main()
