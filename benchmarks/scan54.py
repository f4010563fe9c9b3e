"""A raw scan of a gold crystal (34-ID-C scan 54): do runs that share no start agree, in the object and in the strain?

    UNTWIN_DATA=path/to/data python benchmarks/scan54.py --json benchmarks/results/scan54.json

The frames (real/34idc_scan54) are not part of untwin. Cut out by hand about the brightest voxel with the first 256 x 256 pixels of flat and
dark (pixels of more than one count in the dark, or of less than 0.3 of the median flat, are masked), or, with --prepared, a pattern that
`untwin prepare` has written. Of the mean of each run's replicas: objects: correlation after shift, twin and phase; strain: correlation of
the maps one voxel within both supports, their rms, and the rms of their difference; beside it what the replicas expect of that difference,
the rms of both spreads added.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

import untwin as ut
from strain_scene import strain_of
from untwin import fourier
from untwin.bragg.beamlines import beamline
from untwin.bragg.instrument import Instrument

CENTRE, FRAMES = (99, 126, 127), 201


def pattern(folder: Path, shape: tuple[int, ...]) -> ut.Pattern:
    import tifffile

    frames = np.stack([tifffile.imread(f) for f in sorted((folder / "frames").glob("*.tif"))])
    inside = tuple(slice(c - n // 2, c - n // 2 + n) for c, n in zip(CENTRE, shape))
    flat, dark = (tifffile.imread(folder / f"{name}.tif")[:256, :256][inside[1:]].astype(float) for name in ("whitefield", "dark"))
    bad = (dark > 1) | (flat < 0.3 * np.median(flat))
    measured = np.broadcast_to(~bad, shape)
    sample = np.stack([-0.28 + 0.005 * np.arange(FRAMES), np.full(FRAMES, 90.0), np.full(FRAMES, -5.0)], 1)
    detector = np.tile([32.174, 12.6346], (FRAMES, 1))
    at = Instrument(beamline("34idc"), sample, detector, np.full(FRAMES, 9000.0), 0.5, (55e-6, 55e-6), (128.0, 128.0))
    flat = np.broadcast_to(np.where(bad, 1.0, flat / flat[~bad].mean()), shape)
    counts, measured, flat = (np.fft.ifftshift(a) for a in (np.where(measured, frames[inside], 0), measured, flat))
    return ut.Pattern(counts.astype(np.float32), measured, geometry=at.geometry(*CENTRE), sensitivity=flat.astype(np.float32))


def maps(solution: ut.Reconstruction, reference: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(*grid) strain of the mean of the replicas, laid on the reference (centred); its spread over the replicas; and its support."""
    copies = fourier.cornered(solution.replicas, 3)
    ideal = fourier.cornered(solution.averaged().image, 3)
    by = ut.align(ideal[None], fourier.cornered(reference, 3), 3)
    copies = ut.align(torch.cat([by.x, copies]), by.x[0], 3).x
    copies = fourier.centred(copies, 3).numpy()
    inside = np.abs(copies[0]) > 0.2 * np.abs(copies[0]).max()
    strains = [strain_of(x, inside, solution.pattern.geometry) for x in copies]
    return strains[0], np.var([s - np.nanmean(s) for s in strains[1:]], axis=0, ddof=1), inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=540)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 96, 96))
    parser.add_argument("--prepared", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = Path(os.environ.get("UNTWIN_DATA", "")) / "real" / "34idc_scan54"
    if not folder.is_dir() and not args.prepared:
        sys.exit(f"no {folder}; set UNTWIN_DATA to the folder that holds real/")
    warnings.simplefilter("ignore")
    measured = ut.read(args.prepared) if args.prepared else pattern(folder, tuple(args.shape))
    rows: list[dict] = []
    runs: list[ut.Reconstruction] = []
    for seed in range(args.seed, args.seed + args.seeds):
        began = time.perf_counter()
        solution = ut.reconstruct(measured, seed=seed, workers=args.workers)
        cpu, plan = solution.numbers["cpu_seconds"], time.perf_counter() - began
        solution = ut.replicate(solution, seed=solution.seed, workers=args.workers)  # counts drawn anew for each run, as untwin bragg does
        n = solution.numbers
        row = {"seed": seed, "r_factor": n["r_factor"], "misfit": n["misfit"], "support": n["support_pixels"], "agreement": n["agreement"]}
        row |= {"coherence": [n.get("coherence_major"), n.get("coherence_minor")], "cpu_plan": cpu, "seconds_plan": plan}
        row |= {"seconds": time.perf_counter() - began, "trusted": solution.verdict.trusted, "verdict": solution.verdict.text}
        runs.append(solution)
        strain, variance, inside = maps(solution, runs[0].averaged().image)
        bulk = ndimage.binary_erosion(inside) & np.isfinite(strain) & np.isfinite(variance)
        row |= {
            "strain": float(strain[bulk].std()),
            "median": float(np.median(np.sqrt(variance[bulk]))),
            "bulk": int(bulk.sum()),
            "pairs": [],
        }
        row |= {"warnings": solution.warnings}
        for other in runs[:-1]:
            theirs, spread, region = maps(other, runs[0].averaged().image)
            both = bulk & ndimage.binary_erosion(region) & np.isfinite(theirs) & np.isfinite(spread)
            a, b = strain[both] - strain[both].mean(), theirs[both] - theirs[both].mean()
            images = [fourier.cornered(s.averaged().image, 3) for s in (solution, other)]
            error = float(ut.align(images[0][None], images[1], 3).error[0])
            pair = {"object": (1 - error**2) ** 0.5, "strain": float(np.corrcoef(a, b)[0, 1]), "difference": float((a - b).std())}
            row["pairs"].append(pair | {"expected": float(np.sqrt((variance + spread)[both].mean()))})
        rows.append(row)
        print(json.dumps(row, indent=1), flush=True)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            about = {"script": "scan54", "untwin": ut.__version__, "torch": torch.__version__, "shape": measured.shape}
            args.json.write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
