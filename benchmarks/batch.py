"""Batches: patterns per second with two workers and with one, workers killed meanwhile, and a time series with and without --follow.

    python benchmarks/batch.py --json benchmarks/results/batch.json [--count 200] [--part throughput] [--part kills] [--part series]

Throughput: crystals of 64 x 64, the automatic plan without reports, the whole command from its start as a program; with one worker, with
two, and as two commands of half of the patterns each, which know nothing of one another: what the machine gives at best. Kills: the same
batch, and every 20 seconds a random worker is ended by SIGKILL; different counts results with one other bit than those of the undisturbed
batch, lost those that did not come to an end. Series: an object of the class "complex", 64 x 64, whose phase grows from frame to frame,
with few photons; trusted and right (E < 0.1 to the frame's truth, modulo the symmetries), trusted and wrong, and frames that lie as the
one before does (same shift and twin).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import untwin as ut
from untwin import fourier
from untwin.data.cxi import write_pattern
from untwin.model.alignment import align
from untwin.random import derive
from untwin.runs.archive import load
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES, poly

PAUSE = 20.0
FRAMES = 24


def crystals(folder: Path, count: int, seed: int) -> list[str]:
    folder.mkdir()
    files = []
    for k in range(count):
        rng = np.random.default_rng(derive(seed, "batch", k))
        pattern, _ = measure(poly((64, 64), rng), 3e6, rng)
        files.append(str(folder / f"scan_{k:03d}.cxi"))
        write_pattern(Path(files[-1]), pattern, process={})
    return files


def run(files: list[str], output: Path, workers: int, **options: Any) -> float:
    """Seconds."""
    began = time.perf_counter()
    for result in ut.reconstruct_many(files, output=output, workers=workers, report=False, **options):
        if result.error:
            print(result.name, result.error)
    return time.perf_counter() - began


def commands(*calls: tuple[list[str], Path, int]) -> float:
    """Seconds until all have ended: commands begun at once, each (files, folder, workers), from their start as programs."""
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "untwin", "reconstruct", *files, "-o", str(output), "--workers", str(workers), "--no-report"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for files, output, workers in calls
    ]
    failed = [program.wait() for program in running]
    if any(failed):
        raise SystemExit(f"a command ended with {failed}")
    return time.perf_counter() - began


def throughput(files: list[str], root: Path, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"one worker": [], "two workers": [], "two commands": []}
    for k in range(rounds):
        folder = root / f"round-{k}"
        seconds["two workers"].append(commands((files, folder / "two", 2)))
        seconds["one worker"].append(commands((files, folder / "one", 1)))
        seconds["two commands"].append(commands((files[::2], folder / "even", 1), (files[1::2], folder / "odd", 1)))
        one = seconds["one worker"][-1]
        print(
            f"{len(files)} patterns: " + ", ".join(f"{name} {s[-1]:.0f} s ({one / s[-1]:.2f})" for name, s in seconds.items()), flush=True
        )
    return {"patterns": len(files), "seconds": seconds}


def kills(files: list[str], root: Path, seed: int) -> dict[str, Any]:
    undisturbed, disturbed = root / "undisturbed", root / "disturbed"
    run(files, undisturbed, 2)
    ended, count, rng = threading.Event(), [0], random.Random(seed)

    def killer() -> None:
        while not ended.wait(PAUSE):
            workers = [
                p for p in psutil.Process().children(recursive=True) if "loky" in " ".join(p.cmdline()) and p.memory_info().rss > 1e8
            ]
            if workers:
                os.kill(rng.choice(workers).pid, signal.SIGKILL)
                count[0] += 1

    thread = threading.Thread(target=killer)
    thread.start()
    run(files, disturbed, 2)
    ended.set()
    thread.join()
    names = sorted(p.name for p in undisturbed.iterdir() if p.is_dir())
    lost = [name for name in names if not (disturbed / name / "summary.json").exists() or (disturbed / name / "checkpoint").exists()]
    same = [torch.equal(load(undisturbed / name).image, load(disturbed / name).image) for name in names if name not in lost]
    print(f"{len(names)} patterns, {count[0]} workers killed: {len(lost)} lost, {same.count(False)} different")
    return {"patterns": len(names), "killed": count[0], "lost": len(lost), "different": same.count(False)}


def series(root: Path, seed: int, photons: float) -> dict[str, Any]:
    rng = np.random.default_rng(derive(seed, "series"))
    body = CLASSES["complex"]((64, 64), rng)
    truths, files = [], []
    (root / "series").mkdir(parents=True)
    for k in range(FRAMES):
        truth = np.abs(body) * np.exp(1j * np.angle(body) * (0.8 + 0.4 * k / FRAMES))
        pattern, _ = measure(truth, photons, np.random.default_rng(derive(seed, "series", k)))
        truths.append(torch.from_numpy(truth))
        files.append(str(root / "series" / f"frame_{k:02d}.cxi"))
        write_pattern(Path(files[-1]), pattern, process={})
    rows = {}
    for follow in (False, True):
        output = root / f"series-{seed}-{follow}"
        took = run(files, output, 1, follow=follow)
        results = [load(output / Path(f).stem) for f in files]
        errors = [float(align(r.image[None], t.to(r.image.dtype), 2).error[0]) for r, t in zip(results, truths)]
        trusted = [r.verdict.trusted is True for r in results]
        alike = [_lies_alike(a.image, b.image) for a, b in zip(results, results[1:])]
        rows["follow" if follow else "alone"] = {
            "trusted and right": sum(t and e < 0.1 for t, e in zip(trusted, errors)),
            "trusted and wrong": sum(t and e >= 0.1 for t, e in zip(trusted, errors)),
            "right": sum(e < 0.1 for e in errors),
            "lie alike": sum(alike),
            "median error": float(np.median(errors)),
            "seconds": took,
        }
    print(f"series {seed}, {FRAMES} frames, {photons:g} photons: {rows}")
    return {"seed": seed, "photons": photons, **rows}


def _lies_alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    fit = align(fourier.cornered(b, 2)[None], fourier.cornered(a, 2), 2, subpixel=False)
    return not bool(fit.twin[0]) and not bool(fit.by[0].round().any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--photons", type=float, nargs="+", default=[3e4, 1e5])
    parser.add_argument("--part", action="append", choices=("throughput", "kills", "series"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    parts = args.part or ["throughput", "kills", "series"]
    report: dict[str, Any] = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = crystals(root / "scans", args.count, args.seed) if {"throughput", "kills"} & {*parts} else []
        if "throughput" in parts:
            report["throughput"] = throughput(files, root, args.rounds)
        if "kills" in parts:
            report["kills"] = kills(files, root, args.seed)
        if "series" in parts:
            report["series"] = [series(root / f"{p:g}-{k}", args.seed + k, p) for p in args.photons for k in range(2)]
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
