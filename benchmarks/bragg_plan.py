"""The plan for scans about a Bragg peak beside the plan by size, on crystals that are none too easy: how often right, how often trusted.

    python benchmarks/bragg_plan.py --seed 20 --count 3 --json benchmarks/results/bragg_plan.json

Faceted crystals with a smooth phase (poly) and with dislocations (defect), 32^3, 1e5 and 1e6 counts, with and without a blur of 0.4
pixels. With --by-size the same pattern without its geometry, too, which gets the plan by size. corr: sqrt(1 - E^2) with the truth.
Wrong: below 0.95.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from strain_scene import geometry
from untwin.data.measurement import Geometry
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

SIZE, WRONG = 32, 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--count", type=int, default=3, help="crystals of each kind")
    parser.add_argument("--by-size", action="store_true", help="the plan by size, too: much slower")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    place, rows = geometry(SIZE), []
    print("| crystal | counts | blur | plan | corr | trusted | agreement | CPU s |\n|---|---|---|---|---|---|---|---|")
    for i, kind, photons, blur in itertools.product(range(args.count), ("poly", "defect"), (1e6, 1e5), (0.0, 0.4)):
        rng = np.random.default_rng((args.seed, i))
        pattern, truth = measure(CLASSES[kind]((SIZE,) * 3, rng), photons, rng, coherence=blur)
        for plan, where in (("bragg", place), ("size", Geometry()))[: 1 + args.by_size]:
            solution = ut.reconstruct(replace(pattern, geometry=where), seed=i, workers=args.workers)
            error = float(ut.align(solution.image[None], torch.from_numpy(truth), 3).error[0])
            row = {"kind": kind, "crystal": i, "photons": photons, "blur": blur, "plan": plan, "corr": (1 - error**2) ** 0.5}
            row |= {"trusted": solution.verdict.trusted, "verdict": solution.verdict.text}
            row |= {name: solution.numbers[name] for name in ("agreement", "r_factor", "cpu_seconds")}
            rows.append(row)
            figures = f"{row['corr']:.3f} | {row['trusted']} | {row['agreement']:.3f} | {row['cpu_seconds']:.0f}"
            print(f"| {kind} {i} | {photons:.0e} | {blur:g} | {plan} | {figures} |", flush=True)
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                about = {"script": "bragg_plan", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__}
                args.json.write_text(json.dumps({**about, "rows": rows}, indent=1))
    for plan in dict.fromkeys(r["plan"] for r in rows):
        of = [r for r in rows if r["plan"] == plan]
        wrong = [r for r in of if r["corr"] < WRONG]
        trusted, both = (sum(r["trusted"] is True for r in group) for group in (of, wrong))
        print(f"{plan}: {len(of) - len(wrong)} of {len(of)} right, {trusted} trusted, {both} wrong and trusted")


if __name__ == "__main__":
    main()
