"""What the shipped denoiser makes of noise: at which contrast, and of colour in which channels.

    python benchmarks/denoiser.py --seed 3
    python benchmarks/denoiser.py --quick

Mean PSNR in dB over four grey pictures (contrast c: c (x - 1/2) + 1/2 with noise c sigma goes through the network) and three in colour
(each channel by itself; all together, as Denoiser() does it). None of them is in benchmarks/plugplay.py.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from plugplay import clean
from untwin.model.networks.dncnn import dncnn
from untwin.processes import one_thread

GREY, COLOUR = ("coins", "moon", "clock", "grass"), ("rocket", "retina", "coffee")
LEVELS, CONTRASTS = (0.02, 0.05, 0.1, 0.2, 0.4), (1.0, 0.75, 0.5, 0.35, 0.25)


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(float((x.clamp(0, 1) - truth).square().mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="pictures of 32 pixels")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    size = 32 if args.quick else args.size
    rows: dict[float, dict[str, list[float]]] = {s: {} for s in LEVELS}
    with one_thread(), torch.no_grad():
        for name in (*GREY, *COLOUR):
            truth = clean(name, size)
            for s, row in rows.items():
                y = truth + s * torch.randn(truth.shape, generator=torch.Generator().manual_seed(args.seed))
                planes = y.unsqueeze(1)
                images = {f"contrast {c:g}": (dncnn((planes - 0.5) * c + 0.5, s * c)[:, 0] - 0.5) / c + 0.5 for c in CONTRASTS}
                if name in COLOUR:  # each channel at the contrast that Denoiser() takes
                    images = {"channels": ut.priors.Denoiser()(planes, s)[:, 0], "colours together": ut.priors.Denoiser()(y[None], s)[0]}
                for label, image in images.items():
                    row.setdefault(label, []).append(psnr(image, truth))
    labels = list(rows[LEVELS[0]])
    print(f"| sigma | {' | '.join(labels)} |\n" + "|---" * (len(labels) + 1) + "|")
    for s, row in rows.items():
        print(f"| {s:g} | {' | '.join(f'{np.mean(row[k]):.2f}' for k in labels)} |")
    if args.json:
        args.json.write_text(json.dumps({"script": "denoiser", "seed": args.seed, "size": size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
