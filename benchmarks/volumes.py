"""Fresh crystals of 128^3 and 256^3 through the command line: time, memory of all processes together, error and verdict.

    python benchmarks/volumes.py --seed 2126 --count 10 --json benchmarks/results/volumes.json
    python benchmarks/volumes.py --size 256 --count 1 --json benchmarks/results/volumes_256.json

Each is `untwin simulate crystal` with its own seed (3e7 photons, no stop), then `untwin reconstruct` in a fresh process, from the file to
the report, with two workers. Memory: the proportional set size (PSS) of the process and all that it has started, summed, looked at every
--look seconds from beside: a page that several share counts once. E after alignment with the truth, as `untwin compare` has it; right is
E of at most 0.12 and the verdict TRUST. CPU seconds are those of all processes; seconds by the wall mean something on a quiet machine
only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.object import read_object
from untwin.random import derive

RIGHT = 0.12  # as in recover.py


class Watcher(threading.Thread):
    """The largest sum of PSS that a process and its children came to, bytes; and the largest resident set of one of them."""

    def __init__(self, process: int, every: float) -> None:
        super().__init__(daemon=True)
        self.process, self.every, self.peak, self.largest = process, every, 0, 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(self.every):
            sizes = [size for p in family(self.process) if (size := sizes_of(p))]
            self.peak = max(self.peak, sum(pss for pss, _ in sizes))
            self.largest = max(self.largest, max((rss for _, rss in sizes), default=0))


def family(process: int) -> list[int]:
    """A process and all that it has started."""
    children: list[str] = []
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            children += (task / "children").read_text().split()
    except OSError:
        return [process]
    return [process, *(p for child in children for p in family(int(child)))]


def sizes_of(process: int) -> tuple[int, int] | None:
    """PSS and RSS, bytes; None where it has ended."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:])
        return tuple(1024 * int(lines[name].split()[0]) for name in ("Pss", "Rss"))  # type: ignore[return-value]
    except (OSError, KeyError, ValueError):
        return None


def measured(size: int, seed: int, workers: int, every: float) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape, untwin = ",".join([str(size)] * 3), [sys.executable, "-m", "untwin"]
        simulate = ["simulate", "crystal", "--size", shape, "--seed", str(seed), "-o", str(folder / "c.cxi")]
        subprocess.run([*untwin, *simulate], check=True, stdout=subprocess.DEVNULL)
        began, cpu = time.monotonic(), cpu_seconds()
        command = [*untwin, "reconstruct", str(folder / "c.cxi"), "-o", str(folder / "out"), "--workers", str(workers)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        watcher = Watcher(process.pid, every)
        watcher.start()
        error = process.communicate()[1]
        seconds = time.monotonic() - began
        watcher.ended.set()
        watcher.join()
        if process.returncode:
            raise SystemExit(error.decode() or "failed")
        summary = json.loads((folder / "out" / "summary.json").read_text())
        files = folder / "out" / "result.cxi", folder / "c_truth.cxi"
        result, truth = (torch.fft.ifftshift(torch.as_tensor(np.asarray(read_object(p).image))) for p in files)
        e = float(ut.align(result[None], truth, 3).error)
        trusted = summary["verdict"]["trusted"]
        return {
            "size": size, "seed": seed, "workers": workers, "seconds": seconds, "cpu_seconds": cpu_seconds() - cpu, "peak": watcher.peak,
            "largest": watcher.largest, "estimate": summary["made"]["memory_estimated"], "error": e, "trusted": trusted,
            "right": trusted is True and e <= RIGHT, "verdict": summary["verdict"]["text"],
            "coherence_ratio": summary["numbers"].get("coherence_ratio"),
        }  # fmt: skip


def cpu_seconds() -> float:
    """Of all children that have ended, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=2126)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the number of the first crystal")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--look", type=float, default=0.2, help="seconds between two looks at the memory")
    parser.add_argument("--quick", action="store_true", help="one crystal of 64^3")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    size, count = (64, 1) if args.quick else (args.size, args.count)
    rows = []
    print("| crystal | seconds | CPU s | peak of all, GB | estimate | E | verdict |\n|---|---|---|---|---|---|---|")
    for i in range(args.first, args.first + count):
        row = measured(size, derive(args.seed, "volume", size, i) % 2**31, args.workers, args.look)
        rows.append(row)
        mark = {True: "TRUST", False: "DO NOT TRUST", None: "CANNOT SAY"}[row["trusted"]]
        print(
            f"| {i} | {row['seconds']:.0f} | {row['cpu_seconds']:.0f} | {row['peak'] / 1e9:.2f} | {row['estimate'] / 1e9:.2f} | "
            f"{row['error']:.3f} | {mark} |",
            flush=True,
        )
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            about = {"script": "volumes", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__, "cores": os.cpu_count()}
            args.json.write_text(json.dumps({**about, "rows": rows}, indent=1))
    print(f"\n{sum(r['right'] for r in rows)} of {len(rows)} right and trusted")


if __name__ == "__main__":
    main()
