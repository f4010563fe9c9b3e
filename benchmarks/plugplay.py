"""Plug-and-play with the shipped denoiser against the untrained prior and the classical answers, each of those at its oracle weight.

    python benchmarks/plugplay.py --seed 7 --size 256 --json benchmarks/results/plugplay.json
    python benchmarks/plugplay.py --seed 7 --size 128 --algorithms
    python benchmarks/plugplay.py --quick

Tasks: denoise (sigma 0.02, 0.1, 0.25), deblur (a motion kernel of 17 pixels, known; 1 and 5 % noise), inpaint (60 % hidden, 0 and 5 %),
superres (by 2 and 4, 0 and 3 %). What untwin does: `ut.restore(y, physics)`, the noise estimated, nothing given. Against it: drp
(`prior="drp"`, denoise at 0.1 only: it takes minutes), total variation at the best of its weights by the truth (ADMM with the proximal map
of scikit-image), non-local means, biharmonic inpainting, bicubic interpolation. PSNR in dB, of deblurring without a border of 8 pixels.
What was denoised or deblurred was clipped to [0, 1], as cameras do. A row that is in the JSON already is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin.processes import one_thread

IMAGES = ("camera", "chelsea", "astronaut", "brick")
BORDER = 8
CASES = {
    "denoise": (0.02, 0.1, 0.25),
    "deblur": (0.01, 0.05),
    "inpaint": (0.0, 0.05),
    "superres 2": (0.0, 0.03),
    "superres 4": (0.0,),
}


def clean(name: str, size: int) -> torch.Tensor:
    """(channels, size, size), 0 to 1: the middle square of the picture, brought to the size."""
    from skimage import data, transform

    image = np.asarray(getattr(data, name)(), dtype=np.float64) / 255
    image = image if image.ndim == 3 else image[..., None]
    n = min(image.shape[:2])
    top, left = (image.shape[0] - n) // 2, (image.shape[1] - n) // 2
    small = transform.resize(image[top : top + n, left : left + n], (size, size), anti_aliasing=True)
    return torch.from_numpy(np.moveaxis(small, -1, 0).copy()).float()


def trajectory(size: int, rng: np.random.Generator) -> torch.Tensor:
    """(size, size), sum 1: a smooth random path, as of a camera that is not held still."""
    from scipy import ndimage

    path = ndimage.gaussian_filter1d(np.cumsum(rng.normal(size=(400, 2)), 0), 60, axis=0)
    path = (path - path.min(0)) / np.ptp(path, axis=0).max() * (size - 5) + 2
    path += (size - 1) / 2 - (path.max(0) + path.min(0)) / 2
    k = np.histogram2d(*path.T, bins=size, range=[[-0.5, size - 0.5]] * 2)[0]
    k = ndimage.gaussian_filter(k, 0.6)
    return torch.from_numpy(k / k.sum()).float()


def problem(task: str, noise: float, name: str, size: int, seed: int) -> tuple[ut.Picture, torch.Tensor, int]:
    """What was measured, the truth in the frame of x, and the border that is not counted."""
    rng = np.random.default_rng([seed, *name.encode(), *task.encode(), round(1000 * noise)])
    kind = task.split()[0]
    x = clean(name, size + 16 if kind == "deblur" else size)
    measured, physics, border = None, ut.physics.Identity(), 0
    if kind == "deblur":
        physics, border = ut.physics.Blur(trajectory(17, rng)), BORDER + 8
    elif kind == "inpaint":
        measured = torch.from_numpy(rng.random((size, size)) > 0.6)
        physics = ut.physics.Mask(measured)
    elif kind == "superres":
        physics = ut.physics.Downsample(int(task.split()[1]))
    y = physics(x[None])[0]
    y = y + noise * torch.from_numpy(rng.normal(size=tuple(y.shape))).float()
    y = y.clamp(0, 1) if kind in ("denoise", "deblur") else y
    return ut.Picture(y, physics, measured), x, border


def score(image: torch.Tensor, truth: torch.Tensor, border: int) -> float:
    at = (slice(None), *(slice(border, n - border) for n in truth.shape[1:]))
    return -10 * math.log10(float((image.clamp(0, 1)[at] - truth[at]).square().mean()))


def total_variation(p: ut.Picture, noise: float, truth: torch.Tensor, border: int) -> tuple[float, str]:
    """The best of seven weights by the truth."""
    from skimage.restoration import denoise_tv_chambolle

    best, denoising = (-math.inf, ""), isinstance(p.physics, ut.physics.Identity)
    for weight in (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16):
        weight = weight * 40 * noise if denoising else weight

        def prox(x: torch.Tensor, _: float, weight: float = weight) -> np.ndarray:
            image = denoise_tv_chambolle(np.moveaxis(x[0].numpy(), 0, -1), weight, channel_axis=-1)
            return np.moveaxis(image, -1, 0)[None]

        step = ut.algorithms.PnPADMM(ut.priors.Denoiser(prox), noise=max(noise, 0.01), level=0.05, weight=1.0)
        image = torch.from_numpy(prox(p.y[None], 0.0)[0]) if denoising else last(p, ut.algorithms.Smooth() + 30 * step)
        best = max(best, (score(image, truth, border), f"{weight:g}"))
    return best


def last(p: ut.Picture, recipe: ut.algorithms.Recipe) -> torch.Tensor:
    return list(ut.iterate(p, recipe, ut.State.of(torch.zeros(1, *p.shape))))[-1].image[0]


def classical(task: str, p: ut.Picture, noise: float) -> dict[str, Callable[[], torch.Tensor]]:
    """What a user has in a line."""
    from skimage import restoration, transform

    y = np.moveaxis(p.y.numpy(), 0, -1)

    def back(a: Any) -> torch.Tensor:
        return torch.from_numpy(np.moveaxis(np.asarray(a, dtype=np.float32).reshape(*p.grid, -1), -1, 0).copy())

    if task == "denoise":
        return {
            "nl_means": lambda: back(
                restoration.denoise_nl_means(y, h=0.8 * noise, sigma=noise, patch_size=5, patch_distance=6, channel_axis=-1)
            )
        }
    if task == "inpaint":
        hidden = ~p.measured[0].numpy()
        return {"biharmonic": lambda: back(restoration.inpaint_biharmonic(y, hidden, channel_axis=-1))}
    if task.startswith("superres"):
        return {"bicubic": lambda: back(transform.resize(y, p.grid, order=3, mode="edge"))}
    return {}


def one(task: str, noise: float, name: str, args: argparse.Namespace) -> dict:
    """A row: scores and CPU seconds of everything on one picture."""
    p, truth, border = problem(task, noise, name, args.size, args.seed)
    row: dict[str, Any] = {"task": task, "noise": noise, "image": name, "size": args.size}
    measured = p.measured if task == "inpaint" else None
    options = {"pnp": {}} | ({"drp": {"prior": "drp"}} if task == "denoise" and noise == 0.1 and not args.without_drp else {})
    for label, given in options.items():
        done = ut.restore(p.y, p.physics, measured=measured, **given)
        row |= {label: score(done.image, truth, border), f"{label} s": done.numbers["cpu_seconds"]}
        row |= {"sigma": done.numbers["sigma"], "choice": done.choice} if label == "pnp" else {}
    for label, make in classical(task, p, noise).items():
        row[label] = score(make(), truth, border)
    row["tv"], row["tv weight"] = total_variation(p, noise, truth, border)
    if task in ("denoise", "inpaint"):
        row["given"] = score(p.y, truth, border)
    return row


def algorithms(args: argparse.Namespace) -> list[str]:
    """Deblurring by every step of plug-and-play, at settings of no more than a first guess: mean PSNR, and CPU seconds."""
    lines = ["| noise | step | PSNR | CPU s |", "|---|---|---|---|"]
    for noise in CASES["deblur"]:
        recipes = {
            "HQS, 12 steps, as restore": 12 * ut.algorithms.HQS(noise=noise, weight=0.3),
            "PnPADMM, 20 steps": 20 * ut.algorithms.PnPADMM(noise=noise, level=2 * noise, weight=0.3),
            "PnP, 100 steps": 100 * ut.algorithms.PnP(level=noise / 2),
            "RED, 100 steps": 100 * ut.algorithms.RED(level=2 * noise, weight=4 * noise),
            "GradientStep, 20 steps": 20 * ut.algorithms.GradientStep(level=2 * noise, weight=4 * noise),
        }
        results: dict[str, list[tuple[float, float]]] = {}
        for name in args.images.split(","):
            p, truth, border = problem("deblur", noise, name, args.size, args.seed)
            for label, recipe in recipes.items():
                clock = time.process_time()
                image = last(p, ut.algorithms.Smooth() + recipe)
                results.setdefault(label, []).append((score(image, truth, border), time.process_time() - clock))
        for label, pairs in results.items():
            lines.append(f"| {noise:g} | {label} | {np.mean([a for a, _ in pairs]):.2f} | {np.median([b for _, b in pairs]):.1f} |")
    return lines


def table(rows: list[dict]) -> list[str]:
    """One line for each task and noise: means, and how far the worst picture is from the best classical answer."""
    labels = ("pnp", "drp", "tv", "nl_means", "biharmonic", "bicubic")
    lines = [
        f"| task | noise | given | {' | '.join(labels)} | worst against the best classical | CPU s |",
        "|---" * (len(labels) + 5) + "|",
    ]
    for task, noise in dict.fromkeys((r["task"], r["noise"]) for r in rows):
        mine = [r for r in rows if (r["task"], r["noise"]) == (task, noise)]
        given, *cells = (f"{np.mean([r[k] for r in mine]):.2f}" if k in mine[0] else "" for k in ("given", *labels))
        worst = min(r["pnp"] - max(r[k] for k in labels[2:] if k in r) for r in mine)
        seconds = np.median([r["pnp s"] for r in mine])
        lines.append(f"| {task} | {noise:g} | {given} | {' | '.join(cells)} | {worst:+.2f} | {seconds:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--images", default=",".join(IMAGES), help="of skimage.data")
    parser.add_argument("--tasks", default=",".join(CASES))
    parser.add_argument("--algorithms", action="store_true", help="instead: deblurring by every step of plug-and-play")
    parser.add_argument("--without-drp", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one picture of 64 pixels, without drp")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.size, args.images, args.without_drp = 64, IMAGES[0], True
    if args.algorithms:
        with one_thread():
            print("\n".join(algorithms(args)))
        return
    header = {"script": "plugplay", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
    rows = json.loads(args.json.read_text())["results"] if args.json and args.json.exists() else []
    clock = time.perf_counter()
    with one_thread():
        for task in args.tasks.split(","):
            for noise in CASES[task]:
                for name in args.images.split(","):
                    if any((r["task"], r["noise"], r["image"], r["size"]) == (task, noise, name, args.size) for r in rows):
                        continue
                    rows.append(one(task, noise, name, args))
                    if args.json:
                        args.json.parent.mkdir(parents=True, exist_ok=True)
                        args.json.write_text(json.dumps({**header, "results": rows}, indent=1) + "\n")
    print("\n".join(table([r for r in rows if r["size"] == args.size])))
    print(f"{time.perf_counter() - clock:.0f} s")


if __name__ == "__main__":
    main()
