"""A raw scan of a gold crystal (34-ID-C scan 54): do runs of the whole command that share no start agree, in the object and in the strain?

    UNTWIN_DATA=path/to/data python benchmarks/scan54.py --seeds 0,7,13 --json benchmarks/results/scan54.json
    python benchmarks/scan54.py --results run_0 run_7 run_13       # folders that untwin bragg has written

The frames (real/34idc_scan54) are not part of untwin. Each run is `untwin bragg FOLDER --seed S`, without another option. For each pair of
runs: objects: correlation of the images in result.cxi after shift, twin and phase; strain: correlation of their strain in the bulk of both,
and the rms of its difference; expected: what the standard errors of both expect of that difference, rms. known: median standard error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
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


def run(scan: Path, folder: Path, seed: int) -> dict[str, float]:
    """The command, and what it took: s on the clock, s of CPU."""
    began, cpu = time.perf_counter(), sum(os.times()[2:4])
    command = [sys.executable, "-m", "untwin", "bragg", str(scan), "-o", str(folder), "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - began, "cpu": sum(os.times()[2:4]) - cpu}


def described(solution: ut.results.Reconstruction, took: dict[str, float]) -> dict[str, Any]:
    n, m = solution.numbers, ut.bragg.strain(solution)
    row = {"seed": solution.seed, **took, "trusted": solution.verdict.trusted, "verdict": solution.verdict.text}
    row |= {name: n.get(name) for name in ("r_factor", "misfit", "agreement", "replicas", "cpu_seconds")}
    row |= {"bulk": int(m.bulk.sum()), "strain": m.numbers["strain_rms"], "known": m.numbers["strain_error"], "warnings": solution.warnings}
    return row | {f"extent_{axis}": m.numbers[f"extent_{axis}"] for axis in "xyz"}


def compared(one: ut.results.Reconstruction, other: ut.results.Reconstruction) -> dict[str, float]:
    """The other is laid on the first, its replicas, too."""
    images = fourier.cornered(torch.cat([other.image[None], other.replicas]), 3)
    aligned = ut.align(images, fourier.cornered(one.image, 3), 3)
    x = fourier.centred(aligned.x, 3).numpy()
    m = ut.bragg.strain(one)
    k = strain_of(x[0], np.abs(x[0]) > 0.2 * np.abs(x[0]).max(), m.vectors, np.array(one.pattern.geometry.q), replicas=x[1:])
    both = m.bulk & k.bulk & np.isfinite(m.error) & np.isfinite(k.error)
    a, b = m.strain[both], k.strain[both]
    return {
        "objects": (1 - float(aligned.error[0]) ** 2) ** 0.5,
        "strain": float(np.corrcoef(a, b)[0, 1]),
        "difference": float((a - b).std()),
        "expected": float(np.sqrt((m.error[both] ** 2 + k.error[both] ** 2).mean())),
        "voxels": int(both.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,7,13")
    parser.add_argument("--results", type=Path, nargs="+", help="compare these and run nothing")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    took: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        folders = args.results or [Path(place) / seed for seed in args.seeds.split(",")]
        scan = Path(os.environ.get("UNTWIN_DATA", "")) / "real" / "34idc_scan54"
        if not args.results and not scan.is_dir():
            sys.exit(f"no {scan}; set UNTWIN_DATA to the folder that holds real/")
        took = [{} if args.results else run(scan, folder, int(folder.name)) for folder in folders]
        solutions = [ut.load(folder) for folder in folders]
    rows = [described(s, t) for s, t in zip(solutions, took)]
    pairs = [{"seeds": [a.seed, b.seed], **compared(a, b)} for a, b in itertools.combinations(solutions, 2)]
    print("| seed | verdict | R | strain, rms | known to | replicas |\n|---|---|---|---|---|---|")
    for r in rows:
        words = {True: "TRUST", None: "CANNOT SAY", False: "DO NOT TRUST"}[r["trusted"]]
        print(f"| {r['seed']} | {words} | {r['r_factor']:.3f} | {r['strain']:.1e} | {r['known']:.1e} | {r['replicas']:.0f} |")
    print("\n| seeds | objects | strain | difference, rms | expected |\n|---|---|---|---|---|")
    for p in pairs:
        seeds = ", ".join(map(str, p["seeds"]))
        print(f"| {seeds} | {p['objects']:.4f} | {p['strain']:.3f} | {p['difference']:.1e} | {p['expected']:.1e} |")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        about = {"script": "scan54", "untwin": ut.__version__, "torch": torch.__version__, "rows": rows, "pairs": pairs}
        args.json.write_text(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
