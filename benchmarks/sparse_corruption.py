"""Salt and pepper in half of the pixels: double over-parameterisation as far as a CPU goes, against Absolute() with a stop.

    python benchmarks/sparse_corruption.py --seed 71 --steps 3000 --json benchmarks/results/sparse_corruption.json

min ‖y − G(θ) − (g∘g − h∘h)‖²/n (You, Zhu, Qu and Ma, NeurIPS 2020): gradient descent with rate 1 for θ and 500 for g and h, which begin
at 1e-5; their authors take 150,000 steps. The same network (hourglass of 16 channels, 3 scales, jitter 1/30) with the loss Absolute() and
Adam, whole and stopped by HeldOut. Grey picture of 64 x 64.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from stopping import clean, psnr
from untwin.model.priors.base import Parts
from untwin.processes import one_thread

PRIOR = ut.priors.Untrained(ut.priors.Skip(depth=3, width=16))


def double(y: torch.Tensor, truth: torch.Tensor, seed: int, steps: int, rate: float = 1.0, ratio: float = 500.0) -> list[float]:
    dice, shape = torch.Generator().manual_seed(seed), tuple(y.shape[1:])
    parts = PRIOR.begin(shape, 1, dice)
    numbers = {n: t.requires_grad_() for n, t in parts.trained.items()}
    g, h = ((1e-5 * torch.randn(y.shape, generator=dice)).requires_grad_() for _ in range(2))
    optimiser = torch.optim.SGD([{"params": list(numbers.values()), "lr": rate}, {"params": [g, h], "lr": rate * ratio}])
    values, mean = [], None
    for _ in range(steps):
        optimiser.zero_grad()
        x = PRIOR.image(Parts(numbers, parts.fixed), shape, 1, dice)
        (y - x - g.square() + h.square()).square().mean().backward()
        optimiser.step()
        mean = x.detach() if mean is None else torch.lerp(mean, x.detach(), 0.01)
        values.append(psnr(mean, truth))
    return values


def absolute(y: torch.Tensor, truth: torch.Tensor, seed: int, steps: int) -> tuple[list[float], float, int]:
    fit, p = ut.algorithms.Fit(PRIOR, average=0.99), ut.Picture(y, loss=ut.losses.Absolute())
    begun = ut.State.of(torch.zeros(1, *p.shape), seeds=(seed,))
    values = [psnr(s.image[0], truth) for s in ut.iterate(p, steps * fit, begun)]
    stopped = list(ut.iterate(p, ut.algorithms.Until(ut.rules.HeldOut(patience=100), steps * fit), begun))[-1]
    return values, psnr(stopped.image[0], truth), stopped.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--image", default="camera")
    parser.add_argument("--quick", action="store_true", help="30 steps")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    steps = 30 if args.quick else args.steps
    truth, rng = clean(args.image, 64)[:1], np.random.default_rng(args.seed)
    y = torch.from_numpy(np.where(rng.random(truth.shape) < 0.5, rng.integers(0, 2, truth.shape), truth.numpy())).float()
    with one_thread():
        clock = time.process_time()
        two = double(y, truth, args.seed, steps)
        cpu = time.process_time() - clock
        one, stopped, at = absolute(y, truth, args.seed, min(steps, 1000))
    rows = {
        "image": args.image, "seed": args.seed, "noisy": psnr(y, truth),
        "double over-parameterisation": {
            "best": max(two), "last": two[-1], "steps": steps, "cpu": cpu, "curve": two[:: max(1, steps // 50)],
        },
        "Absolute": {"best": max(one), "last": one[-1], "steps": len(one), "stopped": stopped, "stopped_at": at},
    }  # fmt: skip
    print(json.dumps(rows, indent=1)[:1500])
    if args.json:
        args.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
