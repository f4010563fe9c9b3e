"""Every task of restore with its default prior, against what a user has in one line of scikit-image.

    python benchmarks/restore.py --seed 41 --json benchmarks/results/restore.json

Pictures of 128 x 128 on which no setting of the denoiser was chosen (one in colour), as the command line would do them:
denoise: Gaussian noise of 0.1, clipped. denoise 0.05: the same, weaker. inpaint: 60 % of the pixels unknown, no noise. inpaint noisy:
60 % unknown, noise of 0.05. superres: 4 times coarser, no noise. deblur: a kernel of 9 x 9 (Gaussian, deviation 1.5), noise of 0.01,
borders that are not periodic. mri: a fifth of the lines of k-space at random and the middle twelve, noise of 0.01 (white is 1).
Classical, each at the setting that is best for that very picture (an oracle that a user does not have), but "fixed": total variation
(Chambolle; for the other tasks proximal gradient steps with it), non-local means, biharmonic inpainting, bicubic interpolation,
Richardson-Lucy, Wiener, zero filling. dB against the clean picture; deblurring without a border of 8 pixels.
A run that is in the JSON already is not made again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from skimage import restoration, transform

import untwin as ut
from stopping import clean
from untwin.processes import one_thread
from untwin.runs.tasks import job

PICTURES = ("astronaut", "chelsea", "coffee", "brick")
COLOUR = ("astronaut",)
TASKS = ("denoise", "denoise 0.05", "inpaint", "inpaint noisy", "superres", "deblur", "mri")
WEIGHTS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
Array = np.ndarray


def psnr(x: Array, truth: Array, border: int = 0) -> float:
    at = (slice(None), *(slice(border, n - border) for n in truth.shape[1:]))
    return float(-10 * np.log10(np.mean((np.clip(x, 0, 1)[at] - truth[at]) ** 2)))


def variation(x: Array, weight: float, n: int = 200) -> Array:
    return restoration.denoise_tv_chambolle(x, weight, channel_axis=0, max_num_iter=n)


def by_variation(physics: Callable, y: Array, begin: Array, weight: float, steps: int = 60) -> Array:
    """min ‖A x − y‖²/2 + weight TV(x) by accelerated proximal gradients (Beck and Teboulle, 2009). physics: linear, of torch."""

    def forward(x: Array) -> torch.Tensor:
        return physics(torch.from_numpy(x).float()[None])[0]

    def adjoint(r: torch.Tensor) -> Array:
        a = physics.adjoint(r[None])[0]
        return (a.real if a.is_complex() else a).numpy().astype(np.float64)

    v = np.random.default_rng(0).normal(size=begin.shape)
    for _ in range(15):
        v = adjoint(forward(v))
        norm = float(np.linalg.norm(v))
        v /= norm
    x, z, t = begin, begin, 1.0
    for _ in range(steps):
        new = variation(z - adjoint(forward(z) - torch.from_numpy(y)) / norm, weight / norm, 20)
        following = (1 + np.sqrt(1 + 4 * t * t)) / 2
        x, z, t = new, new + (t - 1) / following * (new - x), following
    return x


def oracle(makes: dict[str, Callable[[], Array]], truth: Array, border: int) -> tuple[float, str, float]:
    """dB of the best, its setting and the seconds of one."""
    clock, best = time.process_time(), (-np.inf, "")
    for name, make in makes.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best = max(best, (psnr(make(), truth, border), name))
    return *best, (time.process_time() - clock) / len(makes)


def kernel_of(size: int = 9, sigma: float = 1.5) -> Array:
    k = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    return np.outer(k, k) / np.outer(k, k).sum()


def case(task: str, truth: Array, rng: np.random.Generator) -> tuple[Array, dict, dict[str, dict[str, Callable[[], Array]]], Array, int]:
    """What was measured, the options of the job, the classical methods with their settings, what is scored against, the border left out."""
    c, n, _ = truth.shape
    if task.startswith("denoise"):
        sigma = 0.05 if "0.05" in task else 0.1
        y = np.clip(truth + sigma * rng.normal(size=truth.shape), 0, 1)

        def means() -> Array:
            v = np.moveaxis(y, 0, -1) if c > 1 else y[0]
            v = restoration.denoise_nl_means(v, 5, 6, 0.8 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1 if c > 1 else None)
            return np.moveaxis(v, -1, 0) if c > 1 else v[None]

        methods = {
            "TV": {f"{w:g}": lambda w=w: variation(y, w) for w in WEIGHTS},
            "TV, fixed 0.1": {"0.1": lambda: variation(y, 0.1)},
            "non-local means": {"h = 0.8 σ": means},
        }
        return y, {"task": "denoise"}, methods, truth, 0
    if task.startswith("inpaint"):
        hidden = rng.random((n, n)) < 0.6
        sigma = 0.05 if "noisy" in task else 0.0
        y = np.where(hidden, 0, np.clip(truth + sigma * rng.normal(size=truth.shape), 0, 1))
        mask = ut.physics.Mask(torch.from_numpy(~hidden))

        def biharmonic() -> Array:
            return restoration.inpaint_biharmonic(y, hidden, channel_axis=0)

        methods = {"biharmonic": {"": biharmonic}}
        if sigma:
            start = biharmonic()
            methods["biharmonic, then TV"] = {f"{w:g}": lambda w=w: variation(start, w) for w in WEIGHTS}
            methods["TV"] = {f"{w:g}": lambda w=w: by_variation(mask, np.float32(y), start, w) for w in (0.01, 0.02, 0.05)}
        return y, {"task": "inpaint", "mask": hidden.astype(float)}, methods, truth, 0
    if task == "superres":
        physics = ut.physics.Downsample(4)
        y = physics(torch.from_numpy(truth).float()).numpy()

        def bicubic() -> Array:
            return transform.resize(y, truth.shape, order=3, mode="edge")

        methods = {
            "bicubic": {"": bicubic},
            "TV": {f"{w:g}": lambda w=w: by_variation(physics, y, bicubic(), w) for w in (1e-4, 5e-4, 0.002)},
        }
        return y, {"task": "superres", "factor": 4}, methods, truth, 0
    if task == "deblur":
        kernel = kernel_of()
        physics, k = ut.physics.Blur(torch.from_numpy(kernel).float()), kernel.shape[0] // 2
        y = physics(torch.from_numpy(np.pad(truth, ((0, 0), (k, k), (k, k)), mode="reflect")).float()[None])[0].numpy()
        y = np.clip(y + 0.01 * rng.normal(size=y.shape), 0, 1)
        wide = np.pad(y, ((0, 0), (16, 16), (16, 16)), mode="reflect")

        def each(make: Callable[[Array], Array]) -> Array:
            return np.stack([make(v) for v in wide])[:, 16:-16, 16:-16]

        large = np.pad(y, ((0, 0), (k, k), (k, k)), mode="edge")
        methods = {
            "Richardson-Lucy": {f"{i}": lambda i=i: each(lambda v: restoration.richardson_lucy(v, kernel, i)) for i in (3, 5, 10, 20, 40)},
            "Wiener": {
                f"{b:g}": lambda b=b: each(lambda v: restoration.wiener(v, kernel, b, clip=False)) for b in (0.003, 0.01, 0.03, 0.1)
            },
            "TV": {f"{w:g}": lambda w=w: by_variation(physics, np.float32(y), large, w, 100)[:, k:-k, k:-k] for w in (5e-4, 1e-3, 2e-3)},
        }
        return y, {"task": "deblur", "kernel": kernel}, methods, truth, 8
    grey = truth.mean(0, keepdims=True)
    lines = rng.random(n) < 0.19
    lines[n // 2 - 6 : n // 2 + 6] = True
    sampled = np.broadcast_to(lines[:, None], (n, n)).copy()
    physics = ut.physics.MRI(torch.from_numpy(sampled))
    w = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(grey, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    w = w + 0.01 * (rng.normal(size=w.shape) + 1j * rng.normal(size=w.shape)) / np.sqrt(2)
    y = np.where(sampled, w, 0).astype(np.complex64)
    plain = physics.adjoint(torch.from_numpy(y)[None])[0].abs().numpy().astype(np.float64)
    methods = {
        "zero filled": {"": lambda: plain},
        "TV": {f"{v:g}": lambda v=v: by_variation(physics, y, plain, v, 100) for v in (0.002, 0.005, 0.01, 0.02)},
    }
    return y, {"task": "mri"}, methods, grey, 0


def run(task: str, picture: str, seed: int, prior: str) -> dict:
    truth = clean(picture, 128).double().numpy()
    truth = truth if picture in COLOUR else truth.mean(0, keepdims=True)
    y, options, methods, wanted, border = case(task, truth, np.random.default_rng([seed, PICTURES.index(picture), TASKS.index(task)]))
    clock = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        restored = job(y, options.pop("task"), prior=prior, **options).run(seed, None, "cpu", None)
    cpu = time.process_time() - clock
    x = restored.image.numpy()
    if task == "mri":  # restored in the unit of its brightest pixel
        x = x * float((x * wanted).sum() / (x * x).sum())
    found = {name: oracle(makes, wanted, border) for name, makes in methods.items()}
    return {
        "task": task, "picture": picture, "seed": seed, "prior": prior, "dB": psnr(x, wanted, border), "cpu": cpu,
        "choice": restored.choice, "steps": restored.numbers["steps"],
        "warnings": list(restored.warnings),
        "classical": {name: {"dB": dB, "setting": setting, "cpu": cpu} for name, (dB, setting, cpu) in found.items()},
    }  # fmt: skip


def table(runs: list[dict]) -> list[str]:
    lines = [
        "| task | prior | restore: dB (CPU s) | best classical: dB | difference: mean | least | by picture | classical, each in the mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, prior in dict.fromkeys((r["task"], r["prior"]) for r in runs):
        own = [r for r in runs if (r["task"], r["prior"]) == (task, prior)]
        best = [max(v["dB"] for v in r["classical"].values()) for r in own]
        over = [r["dB"] - b for r, b in zip(own, best)]
        each = ", ".join(f"{name} {np.mean([r['classical'][name]['dB'] for r in own]):.2f}" for name in own[0]["classical"])
        pictures = ", ".join(f"{r['picture']} {o:+.2f}" for r, o in zip(own, over))
        lines.append(
            f"| {task} | {prior} | {np.mean([r['dB'] for r in own]):.2f} ({np.mean([r['cpu'] for r in own]):.1f}) | {np.mean(best):.2f} | "
            f"{np.mean(over):+.2f} | {min(over):+.2f} | {pictures} | {each} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--pictures", default=",".join(PICTURES))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--priors", default="auto")
    parser.add_argument("--quick", action="store_true", help="one picture, denoised")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.pictures, args.tasks = "chelsea", "denoise"
    runs = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    for prior in args.priors.split(","):
        for task in args.tasks.split(","):
            for picture in args.pictures.split(","):
                key = {"task": task, "picture": picture, "seed": args.seed, "prior": prior}
                if any(all(r[k] == v for k, v in key.items()) for r in runs):
                    continue
                with one_thread():
                    runs.append(run(**key))
                r = runs[-1]
                each = ", ".join(f"{name} {v['dB']:.2f} ({v['setting']})" for name, v in r["classical"].items())
                print(f"{task}, {picture}, {prior}: {r['dB']:.2f} dB in {r['cpu']:.1f} s ({r['choice']}); {each}", flush=True)
                if args.json:
                    head = {"script": "restore", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                    args.json.write_text(json.dumps({**head, "runs": runs}))
    print("\n" + "\n".join(table(runs)))


if __name__ == "__main__":
    main()
