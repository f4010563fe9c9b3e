"""What a verdict is worth where photons are few: trusted objects and their errors, with and without the look at the noise.

    python benchmarks/few_photons.py --json benchmarks/results/few_photons.json

The automatic plan on fresh objects of four classes, 64 x 64, no stop. Right: E < 0.1, modulo sub-pixel shift, twin and global phase, which
is what TRUST promises. "before": the verdict without `noise_error`, which is read off the text. Foretold: the median of noise_error over E
where both are known.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.random import derive
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

ROWS = [("poly", False), ("complex", False), ("real", True), ("defect", False)]
PHOTONS = (1e3, 3e3, 1e4, 3e4, 1e5)


def one(kind: str, positivity: bool, photons: float, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    pattern, truth = measure(CLASSES[kind]((64, 64), rng), photons, rng)
    solution = ut.reconstruct(pattern, positivity=positivity, workers=1)
    image, wanted = (torch.fft.ifftshift(x) for x in (solution.image, torch.from_numpy(truth)))
    return {
        "error": float(ut.align(image[None], wanted, 2).error[0]),
        "trusted": solution.verdict.trusted,
        "before": True if "noise alone leaves" in solution.verdict.text else solution.verdict.trusted,
        "foretold": solution.numbers.get("noise_error"),
        "photons per pixel": solution.numbers["photons"] / solution.numbers["support_pixels"],
        "cpu": solution.numbers["cpu_seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print("| class | photons | right | trusted: right / wrong | before: right / wrong | worst E trusted, before | foretold / E |")
    print("|---|---|---|---|---|---|---|")
    for kind, positivity in ROWS:
        for photons in PHOTONS:
            runs = [one(kind, positivity, photons, derive(args.seed, kind, int(photons), k)) for k in range(args.count)]
            rows.append({"class": kind, "photons": photons, "runs": runs})
            right = [r["error"] < 0.1 for r in runs]
            cells = [f"{kind} | {photons:g} | {sum(right)} of {len(runs)}"]
            for name in ("trusted", "before"):
                given = [r[name] is True for r in runs]
                cells.append(f"{sum(t and g for t, g in zip(given, right))} / {sum(t and not g for t, g in zip(given, right))}")
            worst = [max((r["error"] for r in runs if r[name] is True), default=float("nan")) for name in ("trusted", "before")]
            ratio = [r["foretold"] / r["error"] for r in runs if r["foretold"] is not None and r["before"] is True]
            cells += [f"{worst[0]:.3f}, {worst[1]:.3f}", f"{np.median(ratio):.2f} ({len(ratio)})" if ratio else ""]
            print("| " + " | ".join(cells) + " |", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"seed": args.seed, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
