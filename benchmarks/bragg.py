"""From raw frames to strain, against the truth: simulated scans as a beamline writes them, read, prepared, phased, without an option.

    python benchmarks/bragg.py --seed 40 --count 3 --json benchmarks/results/bragg.json
    python benchmarks/bragg.py --seed 50 --count 1 --dislocation

Gold, 300 nm, strain 3e-4 rms with a layer at the facets, 1e7 counts, partial coherence, flat field as a file, monitor, hot and dead pixels;
frames through the curved Ewald sphere (untwin simulate scan). Then what untwin bragg does: the automatic plan, `replicate`,
strain. The object is laid on the truth (shift, twin, phase), and strain is compared on cubes in the laboratory, where the
truth has a formula; voxels deeper than DEEP below the facets; beside a dislocation, farther than three voxels from its line.

corr: of the objects. error: rms of the difference of the strains about its mean. spread / error: rms of the standard errors over it.
within two: share of voxels whose error is below twice their standard error. core: mean distance of the line that is detected from the
true one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin import fourier
from untwin.bragg.strain import strain_of
from untwin.simulate import RockingScan
from untwin.simulate.beamline_files import write_scan

DEEP = 13e-9  # m: one voxel below the surface


def measured(key: str, seed: int, dislocation: bool, workers: int) -> dict[str, Any]:
    recipe = RockingScan(key, seed=seed, dislocation=dislocation)
    scan, truth = recipe.draw()
    i = scan.instrument
    with tempfile.TemporaryDirectory() as folder:
        write_scan(Path(folder), recipe.key, scan)
        stored = ut.bragg.read_scan(folder, distance=i.distance, pixel_size=i.pixel_size)
        began, cpu = time.perf_counter(), time.process_time()
        pattern = stored.prepare()
    prepared = time.process_time() - cpu
    solution = ut.replicate(ut.reconstruct(pattern, seed=seed, workers=workers), workers=workers)
    seconds = time.perf_counter() - began
    n = solution.numbers
    vectors = pattern.geometry.voxel_vectors(pattern.shape)
    points = (np.indices(pattern.shape).reshape(3, -1).T - np.array(pattern.shape) // 2) @ vectors
    target = fourier.cornered(torch.from_numpy(truth.image(points).reshape(pattern.shape).astype(np.complex64)), 3)
    every = fourier.cornered(torch.cat([solution.image[None], solution.replicas]), 3)
    aligned = ut.align(every, target, 3)
    x = fourier.centred(aligned.x, 3).numpy()
    support = np.abs(x[0]) > 0.2 * np.abs(x[0]).max()
    native = strain_of(x[0], support, vectors, np.array(pattern.geometry.q), replicas=x[1:])
    lab = native.in_frame("laboratory")
    at = (np.indices(lab.support.shape).reshape(3, -1).T @ lab.vectors + lab.origin).reshape(*lab.support.shape, 3)
    where = (truth.depth(at) > DEEP) & np.isfinite(lab.strain) & np.isfinite(lab.error)
    if truth.screw is not None:
        where &= truth.screw.distance(at) > 3 * float(np.linalg.norm(vectors, axis=1).max())
    difference = lab.strain[where] - truth.strain(at[where])
    difference -= difference.mean()
    error, deviation = float(np.sqrt((difference**2).mean())), lab.error[where]
    row = {
        "beamline": key,
        "seed": seed,
        "shape": pattern.shape,
        "corr": float((1 - aligned.error[0] ** 2).sqrt()),
        "r_factor": n["r_factor"],
        "trusted": solution.verdict.trusted,
        "verdict": solution.verdict.text,
        "true": float(truth.strain(at[where]).std()),
        "error": error,
        "ratio": float(np.sqrt((deviation**2).mean())) / error,
        "within": float((np.abs(difference) < 2 * deviation).mean()),
        "replicas": len(x) - 1,
        "prepare_cpu": prepared,
        "seconds": seconds,
    }
    if truth.screw is not None and lab.dislocations:
        row["core"] = float(truth.screw.distance(np.concatenate(lab.dislocations)).mean())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beamline", default="34idc")
    parser.add_argument("--seed", type=int, default=40)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--dislocation", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    print("| beamline, seed | pattern | corr | R | verdict | strain, rms | error | spread / error | within two | core | s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for seed in range(args.seed, args.seed + args.count):
        r = measured(args.beamline, seed, args.dislocation, args.workers)
        rows.append(r)
        words = {True: "TRUST", None: "CANNOT SAY", False: "DO NOT TRUST"}[r["trusted"]]
        shape, core = "x".join(map(str, r["shape"])), f"{1e9 * r['core']:.0f} nm" if "core" in r else ""
        print(
            f"| {r['beamline']}, {seed} | {shape} | {r['corr']:.3f} | {r['r_factor']:.3f} | {words} | {r['true']:.1e} | {r['error']:.1e} | "
            f"{r['ratio']:.2f} | {100 * r['within']:.1f} % | {core} | {r['seconds']:.0f} |",
            flush=True,
        )
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            about = {"script": "bragg", "untwin": ut.__version__, "torch": torch.__version__, "rows": rows}
            args.json.write_text(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
