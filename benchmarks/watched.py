"""What it costs to be watched: CPU seconds of a run alone, with its record, and with the page of untwin watch open beside it.

    python benchmarks/watched.py --json benchmarks/results/watched.json

The three in turn, their order reversed each time, in one process, one thread; CPU seconds of all threads of the process (of the pool of
two what its workers report). The ratios are those of each round; their median and its standard error (1.25 deviations of the mean) are
shown. `own` is what the record itself has spent by its own clock: what its thread took, and what pictures and curves took in the run's
thread, which does not depend on what else this machine does. The server's CPU seconds are those of a process of its own, which answers a
page that asks once a second and fetches every picture that is new, as watch.js does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.live.record import Record
from untwin.runs.launch import cores
from untwin.simulate.detector import measure
from untwin.simulate.shapes import poly

RECIPES = {(64, 64): "150*(20*ER + 180*HIO + ShrinkWrap) + 20*ER", (128, 128): "30*(20*ER + 180*HIO + ShrinkWrap) + 20*ER",
           (64, 64, 64): "20*ER + 80*HIO + ShrinkWrap + 10*ER"}  # fmt: skip
VARIANTS = ("alone", "record", "page")


class Timed(Record):
    """A record that knows what it has cost, CPU seconds."""

    own = 0.0

    def _take(self, part, look):
        began = time.thread_time()
        super()._take(part, look)
        self.own += time.thread_time() - began

    def lines(self, lines):
        began = time.thread_time()
        super().lines(lines)
        self.own += time.thread_time() - began

    def _attend(self):
        super()._attend()
        self.own += time.thread_time()  # of its thread, which has done nothing else


@contextmanager
def page(folder: Path) -> Iterator[list[float]]:
    """Inside, a page is open; afterwards the list holds the CPU seconds of the server, and how often it was asked."""
    command = [sys.executable, "-m", "untwin", "watch", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    address = re.search(r"http://\S+", server.stdout.readline())
    assert address
    base, _, token = address[0].partition("?token=")
    start = _cpu(server.pid)
    client = subprocess.Popen([sys.executable, __file__, f"--client={base} {token}"], stdout=subprocess.PIPE, text=True)
    cost: list[float] = []
    try:
        yield cost
    finally:
        cost.append(_cpu(server.pid) - start)
        client.terminate()
        cost.append(float(client.communicate()[0] or 0))
        server.terminate()
        server.wait()


def client(base: str, token: str) -> None:
    """Asks as the page does, until SIGTERM; prints how often."""
    import signal

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    version, pictures, count = "none", set(), 0

    def fetch(path: str) -> bytes:
        return urllib.request.urlopen(urllib.request.Request(base + path, headers={"X-Untwin-Token": token})).read()

    while not over.is_set():
        said = json.loads(fetch(f"state?item=&curves={version}"))
        version, count = said["curves_version"], count + 1
        for panel in said["panels"]:
            if panel["source"] not in pictures:
                pictures.add(panel["source"])
                fetch(panel["source"])
        over.wait(1.0)
    print(count)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(pattern: ut.Pattern, recipe: str, starts: int, workers: int, variant: str, folder: Path) -> dict[str, float]:
    """CPU seconds of one run; own: of its record; server: of the page."""
    live = Timed(folder if variant != "alone" else None, "reconstruct", "benchmark")
    cost: list[float] = []
    began, wall = time.process_time(), time.perf_counter()
    with live:
        if variant == "page":
            waited = time.process_time()
            with page(folder) as cost:
                began += time.process_time() - waited  # what it takes to start the server is none of the run's
                solution = ut.reconstruct(pattern, recipe, starts=starts, seed=1, workers=workers, live=live)
                cpu = time.process_time() - began
        else:
            solution = ut.reconstruct(pattern, recipe, starts=starts, seed=1, workers=workers, live=live)
            cpu = time.process_time() - began
    if workers > 1:
        cpu = solution.numbers["cpu_seconds"]
    result = {"cpu": cpu, "wall": time.perf_counter() - wall, "own": live.own, "r": solution.numbers["r_factor"]}
    return result | ({"server": cost[0], "asked": cost[1]} if cost else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one size, two rounds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        client(*args.client.split())
        return
    cases = [((64, 64), 12, 1), ((128, 128), 12, 1), ((64, 64, 64), 4, 2)]
    rows = []
    print("| run | alone, CPU s | record, ratio | page open, ratio | record by its own clock | server, share of the time |")
    print("|---|---|---|---|---|---|")
    for shape, starts, workers in cases[:1] if args.quick else cases:
        rng = np.random.default_rng(args.seed)
        pattern, _ = measure(poly(shape, rng), 1e7, rng)
        rounds = []
        run(pattern, "3*(20*HIO + ShrinkWrap)", starts, workers, "alone", Path())  # machine code and workers are there
        for i in range(2 if args.quick else args.rounds):
            taken = {}
            for variant in VARIANTS if i % 2 == 0 else VARIANTS[::-1]:
                with tempfile.TemporaryDirectory() as folder:
                    taken[variant] = run(pattern, RECIPES[shape], starts, workers, variant, Path(folder))
            assert len({t["r"] for t in taken.values()}) == 1, "the same bits"
            rounds.append(taken)
        row = {"shape": shape, "starts": starts, "workers": workers, "recipe": RECIPES[shape], "rounds": rounds, **summary(rounds)}
        rows.append(row)
        name = f"{' x '.join(map(str, shape))}, {starts} starts, {workers} process{'es' if workers > 1 else ''}"
        shares = f"{100 * row['own']:.2f} % | {100 * row['server']:.2f} %"
        print(f"| {name} | {row['alone']:.1f} | {text(row['record'])} | {text(row['page'])} | {shares} |", flush=True)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps({"script": "watched", "cores": cores(), "untwin": ut.__version__, "rows": rows}, indent=1))


def summary(rounds: list[dict]) -> dict:
    """Medians over the rounds. record, page: (ratio to the run alone, its standard error). own: CPU seconds of the record in its
    run's time. server: likewise."""
    result: dict = {"alone": statistics.median(r["alone"]["cpu"] for r in rounds)}
    for variant in VARIANTS[1:]:
        ratios = [r[variant]["cpu"] / r["alone"]["cpu"] for r in rounds]
        error = 1.25 * statistics.stdev(ratios) / len(ratios) ** 0.5
        result[variant] = (statistics.median(ratios), error)
    result["own"] = statistics.median(r[v]["own"] / r[v]["wall"] for r in rounds for v in VARIANTS[1:])
    result["server"] = statistics.median(r["page"]["server"] / r["page"]["wall"] for r in rounds)
    return result


def text(ratio: tuple[float, float]) -> str:
    return f"{ratio[0]:.3f} ± {ratio[1]:.3f}"


if __name__ == "__main__":
    main()
