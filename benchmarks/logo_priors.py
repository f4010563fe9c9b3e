"""The measured ESRF logo, behind its stop, with no support: every prior from random numbers.

    UNTWIN_DATA=path/to/data python benchmarks/logo_priors.py --json benchmarks/results/logo_priors.json

The object is real and not negative, and lies in a box of 0.3 of the array (its extents from the autocorrelation are 0.29). Each prior is
fitted to the amplitudes for --steps iterations, with a total variation of weight --tv for the last half. R: amplitude residual on valid
pixels. Correlation: sqrt(1 - E^2) with the classical reconstruction in the published support, after alignment. What the classical
procedure reaches without a support: measured.py.
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
from untwin.judge.metrics import r_factor
from untwin.processes import one_thread

NET = ut.priors.Skip(depth=5, width=32, inputs=16)  # nets and rates as those that found objects in priors.py
PRIORS = {
    "pixels": ut.priors.Grid(rate=0.02),
    "deep image prior": ut.priors.Untrained(NET, jitter=0.0, rate=0.04),
    "deep random projector": ut.priors.Projector(ut.priors.Skip(depth=1, width=32, inputs=3), rate=0.05),
    "SIREN": ut.priors.Implicit(ut.priors.Siren(width=64, layers=2), rate=0.003),
    "double DIP": ut.priors.DoubleDIP(NET, rate=0.04),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--tv", type=float, default=1e-3)
    parser.add_argument("--quick", action="store_true", help="20 steps")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    steps = 20 if args.quick else args.steps
    logo = Path(os.environ.get("UNTWIN_DATA", "")) / "real" / "esrf_logo_id10_512.npz"
    if not logo.is_file():
        sys.exit(f"no {logo.name} in {logo.parent}; set UNTWIN_DATA to the folder that holds real/")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pattern = ut.read(logo)
    solved = ut.reconstruct(pattern, positivity=True, support=ut.read_support(logo, pattern), workers=1)
    reference = torch.fft.ifftshift(solved.image)
    rows = []
    print(f"classical, published support: R {solved.numbers['r_factor']:.3f}, {solved.numbers['cpu_seconds']:.0f} CPU s\n")
    print("| prior | start | steps | R | correlation | CPU s |\n|---|---|---|---|---|---|", flush=True)
    for name, prior in PRIORS.items():
        problem = ut.Problem.of(pattern, positivity=not prior.complex)
        for seed in range(args.seed, args.seed + args.starts):
            one = {"loss": ut.losses.Amplitude(), "box": 0.3, "average": 0.9}
            recipe = (steps - steps // 2) * ut.algorithms.Fit(prior, **one) + (steps // 2) * ut.algorithms.Fit(
                prior, imitate=steps // 6, regularizer=ut.losses.TV(args.tv), **one
            )
            clock = time.process_time()
            with one_thread():
                state = list(ut.iterate(problem, recipe, ut.begin(problem, (seed,))))[-1]
            x = problem.project_object(state.image, state.support)
            t = problem.counts
            row = {"prior": name, "seed": seed, "steps": steps, "cpu": time.process_time() - clock}
            row["r_factor"] = float(r_factor(problem.predict(x), t.intensity, t.measured))
            row["correlation"] = (1 - float(ut.align(x, reference, 2).error[0]) ** 2) ** 0.5
            rows.append(row)
            print(f"| {name} | {seed} | {steps} | {row['r_factor']:.3f} | {row['correlation']:.3f} | {row['cpu']:.0f} |", flush=True)
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                told = {"script": "logo_priors", "untwin": ut.__version__, "torch": torch.__version__, "tv": args.tv, "rows": rows}
                args.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
