"""Is the standard error of strain right? Crystals of known strain, measured as by benchmarks/strain_scene.py, against what the plan finds.

    python benchmarks/strain_error.py --seed 10 --count 4 --json benchmarks/results/strain_error.json

300 nm, 64^3 voxels of 13 nm, strain 3e-4 rms with a surface layer, 1e7 counts, partial coherence: the automatic plan, then `replicate`.
Rows: the image as the plan shows it; the mean of the replicas (`averaged`); one start alone. corr: of the object with the truth cut to the
detector's frequencies. error: rms of strain against the exact one, one voxel below the surface and deeper, their means apart. For each
spread (of the agreeing starts; of the replicas, voxel by voxel; of the replicas, variance averaged over 3 x 3 x 3 voxels): rms of
the spread over the error of the row, and the share of voxels whose error is below twice their spread.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

import untwin as ut
from strain_scene import VOXEL, Crystal, crystal, strain_of
from untwin import fourier


def strain(one: Crystal, image: torch.Tensor) -> tuple[np.ndarray, float]:
    """(*grid) strain of an image, centred, once it lies on the truth; and the correlation of both."""
    aligned = ut.align(fourier.cornered(image, 3)[None], fourier.cornered(torch.from_numpy(one.image), 3), 3)
    x = fourier.centred(aligned.x, 3)[0].numpy()
    return strain_of(x, np.abs(x) > 0.2 * np.abs(x).max(), one.pattern.geometry), float((1 - aligned.error[0] ** 2).sqrt())


def about_mean(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where, values - values[where].mean(), 0)


def spread(one: Crystal, replicas: torch.Tensor, bulk: np.ndarray) -> np.ndarray:
    """(*grid): the variance of strain over replicas."""
    maps = np.array([strain(one, x)[0] for x in replicas])
    return np.var([about_mean(np.nan_to_num(m), bulk) for m in maps], axis=0, ddof=1)


def pooled(variance: np.ndarray, bulk: np.ndarray) -> np.ndarray:
    """Averaged over 3 x 3 x 3 voxels of the bulk."""
    total, weight = (ndimage.uniform_filter(v.astype(float), 3) for v in (np.where(bulk, variance, 0), bulk))
    return total / np.maximum(weight, 1e-9)


def measured(seed: int, photons: float | None, blur: tuple[float, ...] | None, workers: int, method: str) -> dict[str, Any]:
    one = crystal(seed, photons) if blur is None else crystal(seed, photons, blur)
    bulk = one.depth > VOXEL
    began, cpu = time.perf_counter(), time.process_time()
    solution = ut.reconstruct(one.pattern, seed=seed, workers=workers, method=method)
    n = solution.numbers
    row: dict[str, Any] = {"crystal": seed, "r_factor": n["r_factor"], "misfit": n["misfit"], "trusted": solution.verdict.trusted}
    row |= {"verdict": solution.verdict.text, "agreement": n["agreement"], "independent": len(solution.replicas)}
    row |= {"plan_seconds": time.perf_counter() - began, "plan_cpu": n["cpu_seconds"]}
    replicated = ut.replicate(solution, workers=workers)
    row |= {"seconds": time.perf_counter() - began, "replicate_cpu": time.process_time() - cpu - n["cpu_seconds"]}
    averaged = replicated.averaged()
    variance = spread(one, replicated.replicas, bulk)
    spreads = {"replicas": variance, "pooled": pooled(variance, bulk)}
    if len(solution.replicas) > 1:
        spreads = {"starts": spread(one, solution.replicas, bulk), **spreads}
    for name, image in (("start", solution.replicas[0]), ("plan", solution.image), ("averaged", averaged.image)):
        found, corr = strain(one, image)
        error = about_mean(found - one.strain, bulk & np.isfinite(found))[bulk]
        true = float(np.sqrt((error**2).mean()))
        row |= {f"{name}_corr": corr, f"{name}_error": true}
        for kind, v in spreads.items():
            row[f"{name}_{kind}_ratio"] = float(np.sqrt(v[bulk].mean())) / true
            row[f"{name}_{kind}_within"] = float((np.abs(error) < 2 * np.sqrt(v[bulk])).mean())
    row["median"] = float(np.median(np.sqrt(spreads["pooled"][bulk])))
    return row


def line(row: dict[str, Any], name: str) -> str:
    cells = [f"{row[f'{name}_corr']:.4f}", f"{row[f'{name}_error']:.2e}"]
    for kind in ("starts", "replicas", "pooled"):
        cells.append(
            f"{row[f'{name}_{kind}_ratio']:.2f}, {100 * row[f'{name}_{kind}_within']:.1f} %" if f"{name}_{kind}_ratio" in row else "-"
        )
    return f"| {row['crystal']} | {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--count", type=int, default=4, help="crystals")
    parser.add_argument("--photons", type=float, default=1e7)
    parser.add_argument("--ideal", action="store_true", help="coherent and without noise")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    print("| crystal | image | corr | error | starts: ratio, within 2 | replicas | pooled |\n|---|---|---|---|---|---|---|")
    for seed in range(args.seed, args.seed + args.count):
        photons, blur = (None, (0.0, 0.0, 0.0)) if args.ideal else (args.photons, None)
        rows.append(measured(seed, photons, blur, args.workers, args.method))
        for name in ("start", "plan", "averaged"):
            print(line(rows[-1], name), flush=True)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            about = {"script": "strain_error", "untwin": ut.__version__, "torch": torch.__version__, "photons": photons, "blur": blur}
            args.json.write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
