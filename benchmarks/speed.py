"""One HIO iteration against its limit and against others, side by side in one run.

    python benchmarks/speed.py --json benchmarks/results/speed.json
    python benchmarks/speed.py --threads 2 --clock wall --json benchmarks/results/speed-two-threads.json
    python benchmarks/speed.py --cohere /path/to/its/environment/bin/python --sizes 64x64x64 128x128x128
    python benchmarks/speed.py --updates --cohere ... --sizes 64x64x64 128x128x128 --json benchmarks/results/speed-updates.json

Limit: the fastest pair of transforms that was met (untwin's own have no name of their own: an iteration is one piece of code), and 45
bytes per pixel at the speed of a copy (untwin.doctor.Limit). Forms of untwin 20 iterations in a call (a run: 10). Contestants
in turn, medians; the clock is CPU time of the process (one thread) unless --clock wall. Then the cost against the number of starts
and of threads (--starts), as whole runs of 400 HIO at 64x64x64. cohere (cohere_core) runs in an environment of its own,
64^3 and 128^3, timed by itself: HIO alone, and with a support update in each iteration, as its documented recipe has it. --updates: only
that with the NumPy back end and untwin, in turn, round by round, and what an update costs in iterations of a run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FORMS = ("untwin", "untwin, without [fast]", "untwin, plain torch")

PEER = """
import contextlib, json, os, sys, tempfile, time
import numpy as np
shape, count, package, wrap = tuple(map(int, sys.argv[1].split("x"))), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "wrap"
if package == "torch":
    import torch
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
with contextlib.redirect_stdout(sys.stderr):
    import cohere_core.controller.phasing as phasing
    amplitude = np.sqrt(np.random.default_rng(0).poisson(100, shape)).astype(np.float32)
    amplitude[tuple(n // 2 for n in shape)] = 1000
    taken = []
    for n in (count, 3 * count):
        with tempfile.TemporaryDirectory() as folder:
            np.save(folder + "/data.npy", amplitude)
            settings = {"algorithm_sequence": f"{n}*HIO", "hio_beta": 0.9, "initial_support_area": [0.5] * len(shape), "reconstructions": 1}
            if wrap:
                settings |= {"shrink_wrap_trigger": [1, 1], "shrink_wrap_type": "GAUSS", "shrink_wrap_threshold": 0.1}
                settings |= {"shrink_wrap_gauss_sigma": 1.0}
            run = phasing.create_rec(settings, folder + "/data.npy", package, -1, debug=True)
            began, cpu = time.perf_counter(), time.process_time()
            run.iterate()
            taken.append((time.perf_counter() - began, time.process_time() - cpu))
print(json.dumps([(b - a) / (2 * count) for a, b in zip(*taken)]))
"""


def contestants(shape: tuple[int, ...], threads: int) -> dict:
    """What is timed on an array beside doctor.trial."""
    import numpy as np
    import scipy.fft
    import torch

    from untwin import engine
    from untwin.doctor import trial

    both = trial(shape)
    stretch, compiled = both.pop("HIO"), engine._compiled
    rng = np.random.default_rng(0)
    amplitude = np.sqrt(rng.poisson(100, shape)).astype(np.float32)
    support = np.zeros(shape, bool)
    support[tuple(slice(0, n // 2) for n in shape)] = True
    x0 = (rng.random(shape) * support).astype(np.complex64)
    tensor = torch.from_numpy(x0)

    def form(plain: bool, machine_code: bool):
        def run() -> None:
            engine.PLAIN, engine._compiled = plain, compiled if machine_code else (lambda: None)
            stretch()
            engine.PLAIN, engine._compiled = False, compiled

        return run

    def textbook(forward, inverse, centred: bool):
        held = [x0]

        def run() -> None:
            if centred:  # as it stands in most scripts
                w = np.fft.fftshift(forward(np.fft.ifftshift(held[0])))
                y = np.fft.fftshift(inverse(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(w)))))
            else:
                w = forward(held[0])
                y = inverse(w * (amplitude / np.maximum(np.abs(w), 1e-15)))
            held[0] = np.where(support, y, held[0] - np.float32(0.9) * y)

        return run

    def pyfftw():
        import pyfftw

        a, b = (pyfftw.empty_aligned(shape, "complex64") for _ in range(2))
        axes = tuple(range(len(shape)))
        there = pyfftw.FFTW(a, b, axes=axes, threads=threads)
        back = pyfftw.FFTW(b, a, axes=axes, direction="FFTW_BACKWARD", flags=("FFTW_MEASURE", "FFTW_DESTROY_INPUT"), threads=threads)
        a[...] = x0
        return lambda: (there.execute(), back.execute())

    def mkl_fft():
        import mkl_fft

        out = np.empty_like(x0)
        return lambda: mkl_fft.ifftn(mkl_fft.fftn(x0, out=out), out=out)

    scipy_forward, scipy_inverse = (lambda v, f=f: f(v, workers=threads) for f in (scipy.fft.fftn, scipy.fft.ifftn))
    both["FFT torch"] = lambda: torch.fft.ifftn(torch.fft.fftn(tensor))
    both["FFT scipy"] = lambda: scipy_inverse(scipy_forward(x0))
    for name, made in (("FFT pyfftw", pyfftw), ("FFT mkl_fft", mkl_fft)):
        with contextlib.suppress(ImportError):
            both[name] = made()
    both |= dict(zip(FORMS, (form(False, True), form(False, False), form(True, False))))
    both["untwin, shrink wrap in each"] = wrapped(shape)
    both["scipy loop"] = textbook(scipy_forward, scipy_inverse, False)
    if np.prod(shape) < 10_000_000:
        both["numpy loop"] = textbook(np.fft.fftn, np.fft.ifftn, False)
        both["numpy loop as in textbooks"] = textbook(np.fft.fftn, np.fft.ifftn, True)
    return both


def wrapped(shape: tuple[int, ...]):
    """An HIO and a support update, as cohere's documented recipe has them."""
    import numpy as np

    import untwin as ut
    from untwin.data.measurement import Pattern
    from untwin.solve.begin import begin
    from untwin.solve.shrinkwrap import ShrinkWrap

    problem = ut.Problem(Pattern(np.random.default_rng(0).poisson(100, shape).astype(np.float32), np.ones(shape, bool)))
    held, steps = [begin(problem, (0,))], (ut.parse("HIO"), ShrinkWrap(threshold=0.1, sigma=1.0, level="max"))

    def run() -> None:
        for step in steps:
            held[0] = step.step(problem, held[0])

    return run


def measure(shape: tuple[int, ...], args: argparse.Namespace) -> dict:
    from untwin.doctor import STRETCH, Limit, timed

    pixels = 1
    for n in shape:
        pixels *= n
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    taken = timed(contestants(shape, args.threads), rounds=args.rounds, clock=clock)
    pairs = {k: v for k, v in taken.items() if k == "transforms" or k.startswith("FFT")}
    least = Limit(min(pairs.values()), 16 * pixels / taken["copy"], pixels)
    engines = {k: v / (STRETCH if k in FORMS else 1) for k, v in taken.items() if k not in pairs and k != "copy"}
    if args.cohere and len(shape) == 3 and pixels < 10_000_000:
        for package in ("np", "torch"):
            for wrap in ("", "wrap"):
                engines[f"cohere, {package}{', shrink wrap in each' if wrap else ''}"] = peer(args, shape, package, wrap)
    return {
        "shape": shape,
        "copy_GB_per_s": least.bandwidth / 1e9,
        "transforms_ms": {k: 1e3 * v for k, v in pairs.items()},
        "limit_ms": 1e3 * least.seconds,
        "iteration_ms": {k: 1e3 * v for k, v in engines.items()},
        "ratio": {k: v / least.seconds for k, v in engines.items()},
    }


def peer(args: argparse.Namespace, shape: tuple[int, ...], package: str, wrap: str) -> float:
    """Seconds of one HIO of cohere."""
    threads = {k: str(args.threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [args.cohere, "-c", PEER, "x".join(map(str, shape)), "10", package, wrap]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads, "PYTHONPATH": ""}, cwd="/")
    if done.returncode:
        sys.exit(f"cohere did not run: {done.stderr[-400:]}")
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return wall if args.clock == "wall" else cpu


def on_crystal(shape: tuple[int, ...], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of an HIO, and of an HIO with a support update, as runs of a crystal of the simulator whose support has settled."""
    import numpy as np

    import untwin as ut
    from untwin.simulate.detector import measure as measured
    from untwin.simulate.shapes import poly
    from untwin.solve.begin import begin
    from untwin.solve.run import iterate

    rng = np.random.default_rng(1)
    pattern, _ = measured(poly(shape, rng), 1e7, rng)
    problem, steps = ut.Problem.of(pattern), max(40, int(4e7 / np.prod(shape)))
    *_, state = iterate(problem, ut.parse("5*(20*HIO + ShrinkWrap)"), begin(problem, (0,)))
    recipes = {"HIO": ut.parse(f"{steps}*HIO"), "untwin": ut.parse(f"{steps}*(HIO + ShrinkWrap)")}
    taken: dict[str, list[float]] = {name: [] for name in recipes}
    for _ in range(3 * rounds):
        for name, recipe in recipes.items():
            began = clock()
            for _ in iterate(problem, recipe, state[[0]]):
                pass
            taken[name].append(1e3 * (clock() - began) / steps)
    return {name: float(np.median(values)) for name, values in taken.items()}


def updates(args: argparse.Namespace) -> list[dict]:
    """An HIO and a support update by untwin and by cohere, and an HIO of a stretch of ten, medians of rounds in turn, milliseconds.

    Of noise, where the largest values are sorted out each time; and of a crystal, without cohere."""
    import numpy as np

    from untwin.doctor import STRETCH, timed, trial

    clock, rows = time.perf_counter if args.clock == "wall" else time.process_time, []
    print(
        "| | HIO, ms | HIO + update | cohere, HIO + update | cohere over untwin | an update over an HIO "
        "| a crystal: HIO, HIO + update | an update over an HIO |\n|---|---|---|---|---|---|---|---|"
    )
    for text in args.sizes:
        shape = tuple(map(int, text.split("x")))
        both, stretch = wrapped(shape), trial(shape)["HIO"]
        each: dict[str, list[float]] = {"HIO": [], "untwin": [], "cohere": []}
        for _ in range(args.rounds):
            taken = timed({"HIO": stretch, "untwin": both}, rounds=9, clock=clock)
            each["HIO"].append(taken["HIO"] / STRETCH)
            each["untwin"].append(taken["untwin"])
            each["cohere"].append(peer(args, shape, "np", "wrap"))
        ms = {name: 1e3 * float(np.median(values)) for name, values in each.items()}
        row = {"shape": shape, "ms": ms, "ratio": ms["cohere"] / ms["untwin"], "update_over_iteration": ms["untwin"] / ms["HIO"] - 1}
        crystal = on_crystal(shape, args.rounds, clock)
        rows.append({**row, "each": each, "crystal": crystal})
        columns = [f"{ms[name]:.3g}" for name in each] + [f"{row['ratio']:.1f}", f"{row['update_over_iteration']:.2f}"]
        columns += [", ".join(f"{v:.3g}" for v in crystal.values()), f"{crystal['untwin'] / crystal['HIO'] - 1:.2f}"]
        print(f"| {text} | {' | '.join(columns)} |", flush=True)
    return rows


def starts(shape: tuple[int, ...], counts: list[int], steps: int) -> list[dict]:
    """Seconds by the wall for many starts as long as those of the automatic plan, one after the other and in two threads."""
    import numpy as np

    import untwin as ut
    from untwin.data.measurement import Pattern
    from untwin.runs.launch import Launcher
    from untwin.solve.begin import begin

    rng = np.random.default_rng(0)
    problem = ut.Problem(Pattern(rng.poisson(100, shape).astype(np.float32), np.ones(shape, bool)))
    Launcher(1, batch=1).map(problem, [(ut.parse("2*HIO"), begin(problem, (0,)))])
    recipe, rows = ut.parse(f"{steps}*HIO"), []
    for n in counts:
        state = begin(problem, tuple(range(n)))
        row: dict = {"starts": n}
        for workers in (1, 2):
            began = time.perf_counter()
            Launcher(workers, batch=1, threads=True).map(problem, [(recipe, state)])
            row[f"workers_{workers}"] = time.perf_counter() - began
        rows.append(row)
        print(f"| {n} | {row['workers_1']:.2f} | {row['workers_2']:.2f} | {row['workers_1'] / row['workers_2']:.2f} |", flush=True)
    return rows


def table(found: dict) -> str:
    """As docs/benchmarks.md has it: contestants down, sizes across."""
    rows = found["rows"]
    names = list(dict.fromkeys(name for r in rows for name in r["ratio"]))
    lines = ["| over the limit | " + " | ".join("x".join(map(str, r["shape"])) for r in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    lines.append("| *limit, ms* | " + " | ".join(f"{r['limit_ms']:.2g}" for r in rows) + " |")
    for name in names:
        lines.append(f"| {name} | " + " | ".join(f"{r['ratio'][name]:.2f}" if name in r["ratio"] else "" for r in rows) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=["256x256", "1024x1024", "64x64x64", "128x128x128", "256x256x256"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starts", nargs="*", type=int, default=[], help="numbers of starts for the second table, such as 1 2 4 8 16 32")
    parser.add_argument("--cohere", help="the python of an environment with cohere_core")
    parser.add_argument("--updates", action="store_true", help="only what a support update costs, here and in cohere (--cohere)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of a JSON file, and measure nothing")
    args = parser.parse_args()
    if args.table:
        print(table(json.loads(args.table.read_text())))
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    import numpy as np
    import torch

    import untwin

    torch.set_num_threads(args.threads)
    if args.updates:
        rows = updates(args)
        if args.json:
            about = {"script": "speed --updates", "untwin": untwin.__version__, "threads": args.threads, "clock": args.clock}
            args.json.write_text(json.dumps({**about, "processor": processor(), "rows": rows}, indent=1))
        return
    rows = []
    for text in args.sizes:
        row = measure(tuple(map(int, text.split("x"))), args)
        rows.append(row)
        print(
            f"\n{text}: limit {row['limit_ms']:.3f} ms (copy {row['copy_GB_per_s']:.0f} GB/s)\n\n| | ms | over the limit |\n|---|---|---|"
        )
        for name, v in row["transforms_ms"].items():
            print(f"| {name} | {v:.3f} | |")
        for name, v in row["iteration_ms"].items():
            print(f"| {name} | {v:.3f} | {row['ratio'][name]:.2f} |", flush=True)
    cubes = [r for r in rows if len(r["shape"]) == 3]
    exponent = None
    if len(cubes) > 1:
        n, t = (np.log([f(r) for r in cubes]) for f in (lambda r: np.prod(r["shape"]), lambda r: r["iteration_ms"]["untwin"]))
        exponent = float(np.polyfit(n, t, 1)[0])
        print(f"\ncost of an iteration ~ voxels^{exponent:.2f}")
    many = []
    if args.starts:
        print("\n| starts at 64x64x64, 400 HIO each | one thread, s | two, s | ratio |\n|---|---|---|---|")
        many = starts((64, 64, 64), args.starts, 400)
    if args.json:
        machine = {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__, "numpy": np.__version__}
        found = {"script": "speed", "untwin": untwin.__version__, "threads": args.threads, "clock": args.clock, "machine": machine}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({**found, "rows": rows, "exponent": exponent, "starts": many}, indent=1))


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
