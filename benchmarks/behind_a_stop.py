"""Real nonnegative objects behind a stop that hides many speckles: the way of the ESRF logo, on simulated objects of known truth.

    python benchmarks/behind_a_stop.py --seed 1 --count 6 --json benchmarks/results/behind_a_stop.json

Textures and outlines of the class `real` at 128 x 128 (objects of 40 to 62 pixels), 3e6 photons on measured pixels, a stop of
radius 6 or 9. E, floor and success as in recover.py. "filled": the share of its bounding box that the object fills (the plan draws
the support down to 0.3 of it).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from recover import floor_of
from untwin.model.outline import hidden_speckles
from untwin.runs.launch import one_thread
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=6, help="objects per radius")
    parser.add_argument("--quick", action="store_true", help="1 object, radius 6")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print(
        "| radius | object | hidden speckles | filled | E | floor | success | trusted | R | s |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for radius in (6,) if args.quick else (6, 9):
        for i in range(1 if args.quick else args.count):
            rng = np.random.default_rng((args.seed, i))
            pattern, truth = measure(CLASSES["real"]((128, 128), rng), 3e6, rng, radius)
            wanted = torch.fft.ifftshift(torch.from_numpy(truth))
            with one_thread():
                floor = floor_of(ut.Problem.of(pattern, True), wanted)
            began = time.perf_counter()
            solution = ut.reconstruct(pattern, positivity=True)
            error = float(ut.align(torch.fft.ifftshift(solution.image)[None], wanted, 2).error[0])
            inside = np.argwhere(np.abs(truth) > 0.02 * np.abs(truth).max())
            row = {
                "radius": radius,
                "object": i,
                "speckles": hidden_speckles(pattern),
                "filled": len(inside) / float(np.prod(np.ptp(inside, axis=0) + 1)),
                "error": error,
                "floor": floor,
                "success": error <= max(0.12, 1.5 * floor),
                "trusted": solution.verdict.trusted,
                "r_factor": solution.numbers["r_factor"],
                "seconds": time.perf_counter() - began,
            }
            rows.append(row)
            cells = [f"{v:.2f}" if isinstance(v, float) and k not in ("error", "floor", "r_factor") else v for k, v in row.items()]
            print("| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)
    for radius in sorted({r["radius"] for r in rows}):
        of = [r for r in rows if r["radius"] == radius]
        print(f"\nradius {radius}: {sum(r['success'] for r in of)} of {len(of)} succeed")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"script": "behind_a_stop", "seed": args.seed, "untwin": ut.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
