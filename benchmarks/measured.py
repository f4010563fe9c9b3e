"""Two measured patterns: the ESRF logo (with its published support, and with none) and a gold crystal (three seeds).

    UNTWIN_DATA=path/to/data python benchmarks/measured.py --json benchmarks/results/measured.json

The files (real/esrf_logo_id10_512.npz, real/gold_34idc_3dcdinn_64.npz) are not part of untwin. R: amplitude residual on valid pixels. IoU:
overlap of the found support with the published one, over shifts and the twin. Correlation: sqrt(1 - E^2) after alignment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

import torch

import untwin as ut
from untwin.judge.compare import compared


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Intersection over union of two supports, over whole-pixel shifts and the point reflection."""
    best, b = 0.0, b.double()
    for one in (a.double(), a.double().flip((0, 1))):
        common = torch.fft.ifft2(torch.fft.fft2(b) * torch.fft.fft2(one).conj()).real.max()
        best = max(best, float(common / (one.sum() + b.sum() - common)))
    return best


def timed(pattern: ut.Pattern, seed: int, **options) -> tuple[ut.Reconstruction, dict]:
    began = time.perf_counter()
    solution = ut.reconstruct(pattern, seed=seed, **options)
    n = solution.numbers
    return solution, {
        "seed": seed,
        "r_factor": n["r_factor"],
        "seconds": time.perf_counter() - began,
        "cpu": n["cpu_seconds"],
        "starts": n["starts"],
        "agreement": n["agreement"],
        "trusted": solution.verdict.trusted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="the published support only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    real = Path(os.environ.get("UNTWIN_DATA", "")) / "real"
    logo, gold = real / "esrf_logo_id10_512.npz", real / "gold_34idc_3dcdinn_64.npz"
    if not logo.is_file() or not gold.is_file():
        sys.exit(f"no {logo.name} and {gold.name} in {real}; set UNTWIN_DATA to the folder that holds real/")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pattern, crystal = ut.read(logo), ut.read(gold)
    published = ut.read_support(logo, pattern)
    rows = []
    print("| pattern | n | R | result | verdict: trusted (families differ by) | wall s (CPU s) |\n|---|---|---|---|---|---|")

    def tell(name: str, row: dict, result: str) -> None:
        rows.append({"name": name, "result": result, **row})
        verdict = f"{row['trusted']} ({row['agreement']:.3f})"
        print(f"| {name} | 1 | {row['r_factor']:.3f} | {result} | {verdict} | {row['seconds']:.0f} ({row['cpu']:.0f}) |", flush=True)

    with_support, row = timed(pattern, args.seed, positivity=True, support=published)
    tell("ESRF logo, published support, positivity", row, "")
    if not args.quick:
        none, row = timed(pattern, args.seed, positivity=True)
        row |= {"iou": overlap(none.support, torch.from_numpy(published))}
        row |= {"correlation": compared(none.image.numpy(), with_support.image.numpy()).correlation}
        told = f"IoU {row['iou']:.2f}, correlation {row['correlation']:.3f} with the row above"
        tell("ESRF logo, no support, positivity", row, told)
        runs = []
        for k in range(3):
            solution, row = timed(crystal, args.seed + 1000 * k)
            correlations = [compared(solution.image.numpy(), r.image.numpy()).correlation for r in runs]
            runs.append(solution)
            told = ", ".join(f"{c:.3f}" for c in correlations)
            tell(f"gold crystal, seed {args.seed + 1000 * k}", row | {"correlations": correlations}, f"correlation {told}" if told else "")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"script": "measured", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__, "rows": rows}
        args.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
