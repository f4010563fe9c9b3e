"""Where the stopping rules end, over images x noises x levels, and what the priors cost until then.

    python benchmarks/stopping.py --seed 1 --json benchmarks/results/stopping.json

Each run is one trajectory of one prior on one noisy picture with 5 % of its pixels hidden from the fit (for HeldOut). WMV, EMV and HeldOut
look at every step of it; the run ends when all have stopped, or after --steps. Gap: dB between the image that a rule returns and the best
image of that kind in the run ("raw" an output of the network, "mean" the moving mean of the outputs, weight 0.99). PSNR is against the
clean picture, on all pixels. Noise is clipped to [0, 1]. Images: those of scikit-image that are CC0 or in the public domain.
A run that is in the JSON already is not made again; --budget ends the script after so many minutes with what is complete.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.processes import one_thread

IMAGES = ("astronaut", "camera", "coffee", "chelsea", "brick", "cell", "retina")
NOISES = {  # name: (levels low and high, loss)
    "gaussian": ((0.12, 0.26), ut.Squared()),
    "impulse": ((0.30, 0.70), ut.Absolute()),
    "shot": ((25.0, 5.0), ut.Poisson(0.01)),
    "speckle": ((0.20, 0.45), ut.Squared()),
}
FITS = {
    "dip": ut.Fit(ut.Untrained(ut.Skip(width=32)), average=0.99),
    "dip without jitter": ut.Fit(ut.Untrained(ut.Skip(width=32), jitter=0.0), average=0.9),
    "drp": ut.Fit(ut.Projector(), regularizer=ut.TV(0.45), root=True, average=0.9),
}
RULES = {
    "WMV, W = 20": ut.WMV(window=20, patience=100, tolerance=0.02, burn_in=20),
    "EMV": ut.EMV(patience=100, tolerance=0.02, burn_in=20),
    "HeldOut": ut.HeldOut(patience=100),
}
PAPERS = {"WMV, W = 100": ut.WMV(patience=300), "EMV, patience 300": ut.EMV(patience=300)}  # with --papers: runs several times as long


def clean(name: str, size: int) -> torch.Tensor:
    """(channels, size, size), 0 to 1: the middle square of the image, averaged to about twice the size and brought to it."""
    from skimage import data, transform

    image = np.asarray(getattr(data, name)(), dtype=np.float64)
    image = image / 255 if image.max() > 1 else image
    image = image if image.ndim == 3 else image[..., None]
    n = min(image.shape[:2])
    top, left = (image.shape[0] - n) // 2, (image.shape[1] - n) // 2
    small = transform.resize(image[top : top + n, left : left + n], (size, size), anti_aliasing=True)
    return torch.from_numpy(np.moveaxis(small, -1, 0).copy()).float()


def noisy(x: torch.Tensor, noise: str, level: float, rng: np.random.Generator) -> torch.Tensor:
    """Clipped to [0, 1]."""
    a = x.numpy().astype(np.float64)
    if noise == "gaussian":
        y = a + level * rng.normal(size=a.shape)
    elif noise == "impulse":
        y = np.where(rng.random(a.shape) < level, rng.integers(0, 2, a.shape), a)
    elif noise == "shot":
        y = rng.poisson(a * level) / level
    else:
        y = a + a * level * rng.normal(size=a.shape)
    return torch.from_numpy(np.clip(y, 0, 1)).float()


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(float((x - truth).square().mean()))


def trajectory(truth: torch.Tensor, y: torch.Tensor, loss: ut.Loss, fit: ut.Fit, seed: int, steps: int) -> dict:
    """One run with every rule looking on."""
    problem = ut.Picture(y, loss=loss)
    given = RULES["HeldOut"].given(problem)
    zero = torch.zeros(1, *problem.shape)
    inside = torch.ones_like(zero, dtype=torch.bool)
    begun = ut.State(x=zero, image=zero, support=inside, bounds=inside, seeds=(seed,))
    watches = {name: rule.begin(problem, begun).watch for name, rule in RULES.items()}
    ended: dict[str, dict] = {}
    raw, mean, fitting, looking = [], [], 0.0, dict.fromkeys(RULES, 0.0)
    clock = time.process_time()
    for state in ut.iterate(given, steps * fit, begun):
        fitting += time.process_time() - clock
        raw.append(psnr(state.x[0], truth))
        mean.append(psnr(state.image[0], truth))
        for name, rule in RULES.items():
            if name in ended:
                continue
            clock = time.process_time()
            seen = rule.look(problem, replace(state, watch=watches[name]))
            looking[name] += time.process_time() - clock
            watches[name] = seen.watch
            if bool(rule.done(seen).all()) or state.step == steps:
                kept = rule.keep(seen)
                ended[name] = {
                    "raw": psnr(kept.x[0], truth),
                    "image": psnr(kept.image[0], truth),
                    "best_at": int(seen.watch.at[0]),
                    "stopped_at": state.step,
                    "fired": bool(rule.done(seen).all()),
                    "cpu": fitting + looking[name],
                    "cpu_look": looking[name] / state.step,
                }
        if len(ended) == len(RULES):
            break
        clock = time.process_time()
    n = len(raw)
    return {
        "steps": n,
        "cpu_step": fitting / n,
        "noisy": psnr(y, truth),
        "best_raw": max(raw),
        "best_raw_at": 1 + int(np.argmax(raw)),
        "best_mean": max(mean),
        "best_mean_at": 1 + int(np.argmax(mean)),
        "rules": ended,
        "raw": [round(v, 2) for v in raw[::10]],
        "mean": [round(v, 2) for v in mean[::10]],
    }


def told(runs: list[dict]) -> list[str]:
    """The table, one line for each prior and rule."""
    lines = [
        "| prior | rule | runs | gap of the mean output: mean, worst | gap of the raw output: mean, worst | over best raw frame | "
        "stopped at | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for prior in FITS:
        mine = [r for r in runs if r["prior"] == prior]
        for name in dict.fromkeys((*RULES, *PAPERS)) if mine else ():
            mine = [r for r in runs if r["prior"] == prior and name in r["rules"]]
            if not mine:
                continue
            own = [r["rules"][name] for r in mine]
            image = [r["best_mean"] - o["image"] for r, o in zip(mine, own)]
            frame = [r["best_raw"] - o["raw"] for r, o in zip(mine, own)]
            over = [o["image"] - r["best_raw"] for r, o in zip(mine, own)]
            cells = (
                prior,
                name,
                str(len(mine)),
                f"{np.mean(image):.2f}, {np.max(image):.2f}",
                f"{np.mean(frame):.2f}, {np.max(frame):.2f}",
                f"{np.mean(over):+.2f}",
                f"{np.median([o['stopped_at'] for o in own]):.0f}",
                f"{np.mean([o['cpu'] for o in own]):.1f}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--noises", default=",".join(NOISES))
    parser.add_argument("--priors", default=",".join(FITS))
    parser.add_argument("--quick", action="store_true", help="one image at 64 pixels, 60 steps")
    parser.add_argument("--budget", type=float, default=math.inf, help="minutes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--papers", action="store_true", help="with the window and nearly the patience of the papers, too")
    args = parser.parse_args()
    if args.papers:
        RULES.update(PAPERS)
    if args.quick:
        args.images, args.size, args.steps = "astronaut", 64, 60
    began = time.monotonic()
    kept = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    runs = {(r["image"], r["noise"], r["level"], r["prior"], r["size"], r["seed"], r["papers"]): r for r in kept}
    for prior in args.priors.split(","):
        for image in args.images.split(","):
            for noise in args.noises.split(","):
                for level in NOISES[noise][0]:
                    key = (image, noise, level, prior, args.size, args.seed, args.papers)
                    if key in runs or time.monotonic() - began > 60 * args.budget:
                        continue
                    truth = clean(image, args.size)
                    rng = np.random.default_rng([args.seed, IMAGES.index(image), list(NOISES).index(noise), round(100 * level)])
                    y = noisy(truth, noise, level, rng)
                    with one_thread():
                        run = trajectory(truth, y, NOISES[noise][1], FITS[prior], args.seed, args.steps)
                    runs[key] = dict(zip(("image", "noise", "level", "prior", "size", "seed", "papers"), key)) | run
                    own = ", ".join(f"{k} {v['image']:.2f} at {v['best_at']}/{v['stopped_at']}" for k, v in run["rules"].items())
                    print(f"{key}: best {run['best_raw']:.2f} raw, {run['best_mean']:.2f} mean; {own}", flush=True)
                    if args.json:
                        args.json.parent.mkdir(parents=True, exist_ok=True)
                        head = {"script": "stopping", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                        rules = {name: repr(rule) for name, rule in RULES.items()}
                        args.json.write_text(json.dumps({**head, "rules": rules, "runs": list(runs.values())}))
    print("\n" + "\n".join(told(list(runs.values()))))


if __name__ == "__main__":
    main()
