"""Is the standard error of strain right? Crystals of known strain, measured as by benchmarks/strain_scene.py, against what the plan finds.

    python benchmarks/strain_error.py --seed 10 --count 4 --json benchmarks/results/strain_error.json

300 nm, 64^3 voxels of 13 nm, strain 3e-4 rms with a surface layer, 1e7 counts, partial coherence: the automatic plan, then `replicate`.
corr: of the object with the truth cut to the detector's frequencies. error: rms of strain against the exact one, one voxel below the
surface and deeper, their means apart; beside it that of a single start. replicas, starts: rms of the standard error over the error, and
the share of voxels whose error is below twice their standard error, once from the replicas and once from the agreeing starts alone.
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

import untwin as ut
from strain_scene import VOXEL, Crystal, crystal
from untwin import fourier
from untwin.bragg.maps import StrainMap
from untwin.bragg.strain import strain_of


def on_truth(one: Crystal, images: torch.Tensor) -> tuple[np.ndarray, float]:
    """(k, *grid) images, centred, once they lie on the truth; and the correlation of the first with it."""
    aligned = ut.align(fourier.cornered(images, 3), fourier.cornered(torch.from_numpy(one.image), 3), 3)
    return fourier.centred(aligned.x, 3).numpy(), float((1 - aligned.error[0] ** 2).sqrt())


def mapped(one: Crystal, x: np.ndarray, replicas: np.ndarray | None) -> StrainMap:
    place = one.pattern.geometry
    return strain_of(x, np.abs(x) > 0.2 * np.abs(x).max(), place.voxel_vectors(x.shape), np.array(place.q), replicas=replicas)


def compared(one: Crystal, m: StrainMap) -> tuple[float, float, float]:
    """rms of the error, the standard error over it, the share of voxels within two standard errors."""
    where = (one.depth > VOXEL) & np.isfinite(m.strain)
    deviation = np.full(where.sum(), np.nan) if m.error is None else m.error[where]
    error = (m.strain - one.strain)[where]
    error -= error.mean()
    true = float(np.sqrt((error**2).mean()))
    return true, float(np.sqrt(np.nanmean(deviation**2))) / true, float((np.abs(error) < 2 * deviation).mean())


def measured(seed: int, photons: float | None, blur: tuple[float, ...] | None, workers: int, method: str) -> dict[str, Any]:
    one = crystal(seed, photons) if blur is None else crystal(seed, photons, blur)
    began, cpu = time.perf_counter(), time.process_time()
    solution = ut.reconstruct(one.pattern, seed=seed, workers=workers, method=method)
    n = solution.numbers
    row: dict[str, Any] = {"crystal": seed, "r_factor": n["r_factor"], "misfit": n["misfit"], "trusted": solution.verdict.trusted}
    row |= {"verdict": solution.verdict.text, "agreement": n["agreement"], "independent": len(solution.replicas)}
    row |= {"plan_seconds": time.perf_counter() - began, "plan_cpu": n["cpu_seconds"]}
    replicated = ut.replicate(solution, workers=workers)
    row |= {"seconds": time.perf_counter() - began, "replicate_cpu": time.process_time() - cpu - n["cpu_seconds"]}
    row |= {"replicas": len(replicated.replicas), "warnings": replicated.warnings}
    x, row["corr"] = on_truth(one, torch.cat([solution.image[None], solution.replicas, replicated.replicas]))
    starts, replicas = x[1 : 1 + len(solution.replicas)], x[1 + len(solution.replicas) :]
    m = mapped(one, x[0], replicas)
    row["error"], row["ratio"], row["within"] = compared(one, m)
    row["start_error"] = compared(one, mapped(one, starts[0], None))[0]
    if len(starts) > 1:
        _, row["starts_ratio"], row["starts_within"] = compared(one, mapped(one, x[0], starts))
    row["median"] = m.numbers["strain_error"]
    return row


def line(row: dict[str, Any]) -> str:
    starts = f"{row['starts_ratio']:.2f}, {100 * row['starts_within']:.1f} %" if "starts_ratio" in row else ""
    spread = f"{row['ratio']:.2f}, {100 * row['within']:.1f} %"
    return f"| {row['crystal']} | {row['corr']:.4f} | {row['start_error']:.1e} | {row['error']:.1e} | {spread} | {starts} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--count", type=int, default=4, help="crystals")
    parser.add_argument("--quick", action="store_true", help="one crystal")
    parser.add_argument("--photons", type=float, default=1e7)
    parser.add_argument("--ideal", action="store_true", help="coherent and without noise")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    print("| crystal | corr | single start: error | error | replicas: ratio, within two | starts |\n|---|---|---|---|---|---|")
    for seed in range(args.seed, args.seed + (1 if args.quick else args.count)):
        photons, blur = (None, (0.0, 0.0, 0.0)) if args.ideal else (args.photons, None)
        rows.append(measured(seed, photons, blur, args.workers, args.method))
        print(line(rows[-1]), flush=True)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            about = {"script": "strain_error", "untwin": ut.__version__, "torch": torch.__version__, "photons": photons, "blur": blur}
            args.json.write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
