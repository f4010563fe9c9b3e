"""Total variation under a bound on the misfit, against a plain fit: where they end, and what overfitting costs after many steps.

    python benchmarks/constrained.py --seed 5 --steps 5000 --json benchmarks/results/constrained.json

One deep image prior (hourglass of 16 channels, 3 scales, no jitter, mean of outputs 0.9) on a grey picture of 64 x 64 with Gaussian
noise that is not clipped. "plain": least squares. "constrained": min TV subject to the mean squared misfit <= sigma². "penalty": the
root of the misfit and 0.45 TV. dB of the mean output: the best of the run, the last, and that at the stop of Discrepancy(sigma).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from stopping import clean, psnr
from untwin.processes import one_thread

PRIOR = ut.priors.Untrained(ut.priors.Skip(depth=3, width=16), jitter=0.0)


def forms(sigma: float) -> dict[str, ut.algorithms.Fit]:
    return {
        "plain": ut.algorithms.Fit(PRIOR, average=0.9),
        "penalty": ut.algorithms.Fit(PRIOR, average=0.9, regularizer=ut.losses.TV(0.45), root=True),
        "constrained": ut.algorithms.Fit(
            PRIOR, average=0.9, regularizer=ut.losses.TV(1.0), constraints=[ut.constraints.AtMost(ut.losses.Squared(), sigma**2)]
        ),
    }


def run(truth: torch.Tensor, y: torch.Tensor, sigma: float, fit: ut.algorithms.Fit, seed: int, steps: int) -> dict:
    problem = ut.Picture(y)
    noise, values, stop = problem.noise(sigma), [], None
    begun = state = ut.State.of(torch.zeros(1, *problem.shape), seeds=(seed,))
    clock = time.process_time()
    for state in ut.iterate(problem, steps * fit, begun):
        values.append(psnr(state.image[0], truth))
        ratio = float(problem.relative_misfit(state.image, noise)[0])
        stop = state.step if stop is None and ratio <= ut.rules.Discrepancy().tau else stop
    at = int(np.argmax(values))
    raw = float(problem.relative_misfit(state.x, noise)[0])
    return {
        "best": values[at], "best_at": at + 1, "last": values[-1], "steps": steps, "ratio": raw, "cpu": time.process_time() - clock,
        "stop_at": stop, "stop": values[(stop or steps) - 1], "curve": [round(v, 2) for v in values[:: max(1, steps // 100)]],
    }  # fmt: skip


def table(runs: list[dict]) -> list[str]:
    lines = [
        "| image | σ | form | steps | best of the run: dB (at) | last | last − best | misfit / σ² | Discrepancy: dB (at) | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in runs:
        lines.append(
            f"| {r['image']} | {r['sigma']:g} | {r['form']} | {r['steps']} | {r['best']:.2f} ({r['best_at']}) | {r['last']:.2f} | "
            f"{r['last'] - r['best']:+.2f} | {r['ratio']:.3f} | {r['stop']:.2f} ({r['stop_at'] or 'not at all'}) | {r['cpu']:.0f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--images", default="camera,brick")
    parser.add_argument("--sigmas", default="0.12,0.26")
    parser.add_argument("--forms", default="constrained,plain,penalty")
    parser.add_argument("--quick", action="store_true", help="one picture, 60 steps")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.images, args.sigmas, args.steps = "camera", "0.12", 60
    runs = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    for image in args.images.split(","):
        for sigma in map(float, args.sigmas.split(",")):
            truth = clean(image, args.size)[:1]
            y = truth + sigma * torch.from_numpy(np.random.default_rng([args.seed, round(100 * sigma)]).normal(size=truth.shape)).float()
            for form in args.forms.split(","):
                key = {"image": image, "sigma": sigma, "form": form, "seed": args.seed, "size": args.size}
                if any(all(r[k] == v for k, v in key.items()) for r in runs):
                    continue
                with one_thread():
                    runs.append(key | run(truth, y, sigma, forms(sigma)[form], args.seed, args.steps))
                print(table(runs[-1:])[-1], flush=True)
                if args.json:
                    head = {"script": "constrained", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                    args.json.write_text(json.dumps({**head, "runs": runs}))
    print("\n" + "\n".join(table(runs)))


if __name__ == "__main__":
    main()
