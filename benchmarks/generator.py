"""A generator that was trained on digits as a prior for digits that it has not seen, where little was measured.

    python benchmarks/generator.py --seed 5 --json benchmarks/results/generator.json

Trains a variational autoencoder (20 numbers) on the training digits of MNIST and restores digits of its test set: from m random linear
measurements with 1 % noise (m of 784), and from a picture of which 80 % is hidden. Against it: total variation at the best of its weights
by the truth, the deep image prior at its best step by the truth. Mean PSNR in dB over the digits. The images: UNTWIN_DATA/mnist.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.learn import generator
from untwin.learn.digits import _images
from untwin.processes import one_thread

SIZE, STARTS, STEPS = 28, 8, 300


def measured(kind: str, amount: float, x: torch.Tensor, seed: int) -> ut.Picture:
    """Random projections with 1 % noise, or some of the pixels."""
    g = torch.Generator().manual_seed(seed)
    if kind == "hidden":
        known = torch.rand((SIZE, SIZE), generator=g) > amount
        return ut.Picture(x.where(known, torch.zeros(())), ut.physics.Mask(known), known)
    m = int(amount)
    a = torch.randn((m, SIZE * SIZE), generator=g) / math.sqrt(m)
    y = a @ x.flatten()
    y = y + 0.01 * y.std() * torch.randn(m, generator=g)
    return ut.Picture(y[None, None], ut.physics.Forward(lambda v: (v.flatten(1) @ a.T)[:, None, None], (SIZE, SIZE)))


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(max(1e-12, float((x.clamp(0, 1) - truth).square().mean())))


def by_generator(p: ut.Picture, path: str, starts: int, seed: int) -> torch.Tensor:
    """The start with the least misfit."""
    first = ut.State.of(torch.zeros(starts, *p.shape), seeds=range(seed, seed + starts))
    state = list(ut.iterate(p, STEPS * ut.algorithms.Fit(ut.priors.Generator(path)), first))[-1]
    return state.image[int(p.misfit(state.image).argmin())]


def by_total_variation(p: ut.Picture, truth: torch.Tensor) -> float:
    best = -math.inf
    for weight in (0.003, 0.01, 0.03, 0.1):
        fit = ut.algorithms.Fit(ut.priors.Grid(), ut.algorithms.Adam(), ut.losses.TV(weight))
        best = max(best, psnr(list(ut.iterate(p, 400 * fit, ut.State.of(torch.zeros(1, *p.shape))))[-1].image[0], truth))
    return best


def by_untrained(p: ut.Picture, truth: torch.Tensor, seed: int) -> float:
    fit = ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=2, width=32, inputs=8)), average=0.9)
    states = ut.iterate(p, 300 * fit, ut.State.of(torch.zeros(1, *p.shape), seeds=(seed,)))
    return max(psnr(s.image[0], truth) for s in states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=8, help="test digits")
    parser.add_argument("--steps", type=int, default=6000, help="of the training")
    parser.add_argument("--quick", action="store_true", help="two digits, 300 steps of training")
    parser.add_argument("--data", default=os.path.join(os.environ.get("UNTWIN_DATA", ""), "mnist"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    count, steps = (2, 300) if args.quick else (args.count, args.steps)
    digits = {part: _images(args.data, part) / np.float32(255) for part in ("training", "test")}
    rows: dict[str, dict[str, list[float]]] = {}
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        clock = time.process_time()
        path = str(generator.save(Path(folder) / "digits.safetensors", generator.train(digits["training"], steps=steps), (SIZE, SIZE)))
        print(f"trained: {time.process_time() - clock:.0f} CPU s")
        chosen = np.random.default_rng(args.seed).choice(len(digits["test"]), count, replace=False)
        for kind, amount in (("measurements", 25), ("measurements", 50), ("measurements", 100), ("measurements", 400), ("hidden", 0.8)):
            row = rows.setdefault(f"{kind} {amount:g}", {})
            for i in chosen:
                x = torch.from_numpy(digits["test"][i])[None]
                p = measured(kind, amount, x, args.seed + int(i))
                clock = time.process_time()
                row.setdefault("generator", []).append(psnr(by_generator(p, path, STARTS, args.seed), x))
                row.setdefault("CPU s", []).append(time.process_time() - clock)
                row.setdefault("one start", []).append(psnr(by_generator(p, path, 1, args.seed), x))
                row.setdefault("total variation", []).append(by_total_variation(p, x))
                row.setdefault("untrained", []).append(by_untrained(p, x, args.seed))
    labels = ("generator", "one start", "total variation", "untrained", "CPU s")
    print(f"| given | {' | '.join(labels)} |\n" + "|---" * (len(labels) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{np.mean(row[k]):.1f}' for k in labels)} |")
    if args.json:
        args.json.write_text(json.dumps({"script": "generator", "seed": args.seed, "steps": steps, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
