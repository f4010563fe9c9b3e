"""solvephase side by side with untwin, on the same data: crystals without a support, and the speed of HIO.

    python -m venv /tmp/solvephase && /tmp/solvephase/bin/pip install solvephase==0.2.0
    python benchmarks/rival.py --solvephase /tmp/solvephase/bin/python --seed 20500 --json benchmarks/results/rival.json

Crystals: objects, photons, floor and success as in benchmarks/recover.py; half of them "poly", half "defect". solvephase gets the support
of the autocorrelation and one of the two recipes for an unknown support that its documentation holds ("guide": docs/guide/cdi.md,
"example": examples/06_cdi_multistart.py), each with 16 starts and constraint="complex"; its answer is the start of least misfit, and
"best of 16" is the start that the truth would choose. untwin gets the pattern and nothing else. CPU: seconds of the process with all its
threads and children, everything after import; threads are limited to one.
HIO: one start, half of each axis as support, the mean of long runs against short ones, so that nothing but iterations is counted; both in
turn, medians of the rounds. What the JSON file holds already is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from recover import floor_of
from untwin.processes import one_thread
from untwin.runs.launch import run_here
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.begin import begin

INSTALL = "python -m venv /tmp/solvephase && /tmp/solvephase/bin/pip install solvephase==0.2.0"
KINDS = ("poly", "defect")
RECIPES = {
    "guide": {"schedule": "hio:800,er:100", "shrinkwrap": {"every": 20, "threshold": 0.2, "stop": 800}},
    "example": {"schedule": "hio:800,er:200", "shrinkwrap": {"every": 20, "sigma": 3.0, "sigma_min": 1.0, "threshold": 0.1}},
}
PLANS: dict[str, dict] = {
    "automatic plan": {},
    "method='classical'": {"method": "classical"},
    "method='classical', starts=4": {"method": "classical", "starts": 4},
}

CDI = """
import json, sys, time
import numpy as np, solvephase as sp
data, settings = np.load(sys.argv[1]), json.loads(sys.argv[3])
cpu = time.process_time()
support = sp.autocorrelation_support(data["intensity"])
found = sp.cdi(np.sqrt(data["intensity"]), support, starts=16, constraint="complex", seed=0, **settings)
cpu = time.process_time() - cpu
np.savez(sys.argv[2], object=found.object, objects=found.objects, cpu=cpu, version=sp.__version__)
"""
HIO = """
import json, sys, time
import numpy as np, solvephase as sp
data, settings = np.load(sys.argv[1]), json.loads(sys.argv[3])
def took(n):
    cpu = time.process_time()
    found = sp.cdi(data["amplitude"], data["support"], schedule=f"hio:{n}", seed=0, precision=settings["precision"])
    return time.process_time() - cpu, str(found.object.dtype)
took(10)
(short, kind), (long, _) = took(settings["short"]), took(settings["long"])
np.savez(sys.argv[2], each=(long - short) / (settings["long"] - settings["short"]), kind=kind, version=sp.__version__)
"""


def peer(python: str, code: str, arrays: dict[str, np.ndarray], **settings: object) -> dict[str, np.ndarray]:
    """What `code` saves, run by another interpreter on one thread with the arrays in a file; ends the script where it does not run."""
    one = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "AOCORE_FFT_WORKERS", "AOCORE_BLAS_THREADS")
    env = {**os.environ, **dict.fromkeys(one, "1"), "PYTHONPATH": ""}
    with tempfile.TemporaryDirectory() as folder:
        given, taken = f"{folder}/given.npz", f"{folder}/taken.npz"
        np.savez(given, allow_pickle=False, **arrays)
        command = [python, "-c", code, given, taken, json.dumps(settings)]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd="/")
        if done.returncode:
            sys.exit(f"solvephase did not run:\n{done.stderr[-800:]}\nInstall it into an environment of its own:\n    {INSTALL}")
        with np.load(taken) as found:
            return {k: found[k] for k in found.files}


def crystal(kind: str, size: int, seed: tuple[int, ...], photons: float, python: str) -> dict:
    """Simulate one object, reconstruct it with each and score all."""
    rng = np.random.default_rng(seed)
    pattern, truth = measure(CLASSES[kind]((size, size), rng), photons, rng)
    wanted = torch.fft.ifftshift(torch.from_numpy(truth))

    def errors(images: np.ndarray) -> list[float]:
        x = torch.fft.ifftshift(torch.from_numpy(images.astype(np.complex64)), dim=(-2, -1))
        return [float(ut.align(one[None], wanted, 2).error[0]) for one in x]

    with one_thread():
        floor = floor_of(ut.Problem.of(pattern), wanted)
    given = {"intensity": np.fft.fftshift(pattern.intensity).astype(np.float64)}
    scores: dict = {"kind": kind, "seed": list(seed), "floor": floor, "limit": max(0.12, 1.5 * floor), "found": {}}
    for name, settings in RECIPES.items():
        found = peer(python, CDI, given, **settings)
        error, each = errors(found["object"][None])[0], errors(found["objects"])
        scores["found"][f"solvephase, {name}"] = {"error": error, "best": min(each), "cpu": float(found["cpu"])}
        scores["solvephase"] = str(found["version"])
    for name, options in PLANS.items():
        solution = ut.reconstruct(pattern, seed=0, workers=1, **options)
        error = errors(solution.image.numpy()[None])[0]
        scores["found"][f"untwin, {name}"] = {
            "error": error, "cpu": solution.numbers["cpu_seconds"], "trusted": solution.verdict.trusted,
        }  # fmt: skip
    return scores


def hio(shape: tuple[int, int], python: str, rounds: int, short: int, long: int) -> dict:
    """Seconds of an iteration, one start, each in turn."""
    rng = np.random.default_rng(0)
    intensity = rng.poisson(100, shape).astype(np.float32)
    support = np.zeros(shape, bool)
    support[tuple(slice(n // 4, n // 4 + n // 2) for n in shape)] = True
    problem = ut.Problem(ut.Pattern(intensity, np.ones(shape, bool)))
    begun = begin(problem, (0,), torch.fft.ifftshift(torch.from_numpy(support)))
    given = {"amplitude": np.fft.fftshift(np.sqrt(intensity)).astype(np.float64), "support": support}

    def untwin() -> float:
        def took(n: int) -> float:
            cpu = time.process_time()
            run_here(problem, ut.parse(f"{n}*HIO"), begun)
            return time.process_time() - cpu

        with one_thread():
            took(10)
            least = took(short)
            return (took(long) - least) / (long - short)

    kinds = {"untwin": str(begun.x.dtype).removeprefix("torch.")}

    def rival(precision: str | None) -> Callable[[], float]:
        def once() -> float:
            found = peer(python, HIO, given, precision=precision, short=short, long=long)
            kinds[f"solvephase, {precision or 'as it comes'}"] = str(found["kind"])
            return float(found["each"])

        return once

    contestants = {"untwin": untwin, "solvephase, as it comes": rival(None), "solvephase, single": rival("single")}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, action in contestants.items():
            times[name].append(action())
    return {"shape": list(shape), "seconds": times, "kinds": kinds}


def crystals_table(objects: list[dict]) -> str:
    """Contestants down."""
    lines = [
        "| | n | success (usable) | median E | best of 16: success | CPU s: mean, median (max) | trusted |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(name for o in objects for name in o["found"]):
        rows = [(o["found"][name], o["limit"]) for o in objects]
        success = [r["error"] <= limit for r, limit in rows]
        usable = [r["error"] <= max(0.25, limit) for r, limit in rows]
        best = [r["best"] <= limit for r, limit in rows if "best" in r]
        cpu = [r["cpu"] for r, _ in rows]
        spent = f"{np.mean(cpu):.2f}, {np.median(cpu):.2f} ({max(cpu):.2f})"
        trusted = [r["trusted"] is True for r, _ in rows if "trusted" in r]
        cells = (
            name, str(len(rows)), f"{np.mean(success):.2f} ({np.mean(usable):.2f})", f"{np.median([r['error'] for r, _ in rows]):.3f}",
            f"{np.mean(best):.2f}" if best else "", spent, f"{np.mean(trusted):.2f}" if trusted else "",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + f"\n\nFloor: {np.median([o['floor'] for o in objects]):.3f} (median)."


def speed_table(found: dict) -> str:
    """Iterations per second and the ratio, medians of the rounds."""
    shape = " x ".join(map(str, found["shape"]))
    lines = [f"| HIO, {shape}, one thread | numbers | iterations/s | untwin is faster by |", "|---|---|---|---|"]
    ours = statistics.median(found["seconds"]["untwin"])
    for name, times in found["seconds"].items():
        middle = statistics.median(times)
        lines.append(f"| {name} | {found['kinds'][name]} | {1 / middle:.0f} | {middle / ours:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solvephase", metavar="PYTHON", help="the python of an environment with solvephase")
    parser.add_argument("--seed", type=int, default=20500)
    parser.add_argument("--count", type=int, default=40, help="crystals of each size")
    parser.add_argument("--sizes", default="64,128", help="of the crystals' patterns")
    parser.add_argument("--photons", type=float, default=1e6)
    parser.add_argument("--rounds", type=int, default=7, help="of the speed of HIO")
    parser.add_argument("--quick", action="store_true", help="two crystals of the first size, two rounds")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not args.solvephase:
        parser.error(f"solvephase runs in an environment of its own; make one, and name its python with --solvephase:\n    {INSTALL}")
    sizes = [int(n) for n in args.sizes.split(",")][: 1 if args.quick else None]
    count, rounds = (2, 2) if args.quick else (args.count, args.rounds)
    head = {"script": "rival", "seed": args.seed, "photons": args.photons}
    past = json.loads(args.json.read_text()) if args.json and args.json.exists() else {**head, "crystals": {}, "speed": {}}
    if any(past[k] != v for k, v in head.items()):
        parser.error(f"{args.json} holds other runs: { ({k: past[k] for k in head}) }; choose another name, or remove it")
    past |= {"untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}

    def keep() -> None:
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(past, indent=1))

    past["speed"] = past["speed"] or hio((256, 256), args.solvephase, rounds, 200, 1000)
    keep()
    print(speed_table(past["speed"]), flush=True)
    for size in sizes:
        objects = past["crystals"].setdefault(str(size), [])
        while len(objects) < count:
            kind, seed = KINDS[len(objects) % len(KINDS)], (args.seed, size, len(objects))
            objects.append(crystal(kind, size, seed, args.photons, args.solvephase))
            keep()
        print(f"\n{size} x {size}, {args.photons:g} photons:\n\n{crystals_table(objects)}", flush=True)


if __name__ == "__main__":
    main()
