"""Blind deblurring: four pictures of scikit-image x trajectories of 13 to 27 pixels, in a box of half the picture, no size given.

    python benchmarks/blind.py --seed 20261 --json benchmarks/results/blind.json
    python benchmarks/blind.py --seed 20261 --quick
    python benchmarks/blind.py --seed 20262 --methods "tight selfdeblur,box selfdeblur,box siren 0.04,box siren 4e-4" --paths 1

A picture of 256 x 256 (means of pixels) is blurred by a smooth random path; a window of 128 x 128, whose surroundings were blurred in, gets
Gaussian noise and is clipped to [0, 1]. gain: PSNR after the best shift to 1/4 pixel over that of the blurred window, 8 pixels of border
left out; attempt: the same of the picture that was not believed, where the verdict is no. kernel: largest normalised correlation over
shifts. RL: Richardson-Lucy with the true kernel, the best of seven numbers of iterations, each judged by the truth. A row that is in the
JSON already is not made again; its verdict is that of the numbers that it has, by the limits as they are now. The table is of the
rows of this seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from scipy.signal import fftconvolve

import untwin as ut
from untwin.judge.blur import BlurEvidence, blur_verdict
from untwin.random import derive
from untwin.runs.blind_methods import selfdeblur, siren
from untwin.solve.kernels import trimmed

IMAGES = ("camera", "chelsea", "astronaut", "brick")
SIZES = (13, 17, 20, 23, 27)  # pixels of the box that a path fills
NOISES = (0.01, 0.05)
BORDER = 8
ITERATIONS = (3, 5, 8, 12, 20, 30, 50)


def path_kernel(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size), sum 1: a smooth random path, a little blurred."""
    steps = ndimage.gaussian_filter1d(np.cumsum(rng.normal(0, 1, (400, 2)), 0), 60, axis=0)
    path = steps - steps.min(0)
    path = path / path.max() * (size - 5) + 2
    path += (size - 1) / 2 - (path.max(0) + path.min(0)) / 2
    kernel = np.zeros((size, size))
    for y, x in path:
        i, j = int(y), int(x)
        a, b = y - i, x - j
        kernel[i : i + 2, j : j + 2] += np.outer([1 - a, a], [1 - b, b])
    kernel = ndimage.gaussian_filter(kernel, 0.6)
    return kernel / kernel.sum()


def scene(name: str, n: int = 256) -> np.ndarray:
    import skimage.data

    x = getattr(skimage.data, name)().astype(float) / 255
    x = x @ [0.2126, 0.7152, 0.0722] if x.ndim == 3 else x
    side = min(512, *x.shape)
    factor = side // n
    x = x[: n * factor, : n * factor]
    return x.reshape(n, factor, n, factor).mean((1, 3))


def case(seed: int, image: str, number: int, noise: float, n: int = 128) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y (n, n), the truth in its frame, and the kernel."""
    rng = np.random.default_rng(derive(seed, "path", number))
    kernel = path_kernel(SIZES[number % len(SIZES)], rng)
    big = scene(image, 2 * n)
    at = np.random.default_rng(derive(seed, "window", image, number)).integers(24, n - 24, 2)
    window = tuple(slice(int(a), int(a) + n) for a in at)
    y = fftconvolve(big, kernel, mode="same")[window]
    y = y + noise * np.random.default_rng(derive(seed, "noise", image, number)).standard_normal(y.shape)
    return np.clip(y, 0, 1).astype(np.float32), big[window], kernel


def psnr(image: np.ndarray, truth: np.ndarray, reach: int = 24) -> float:
    """After the best shift; image may be larger than the truth."""
    t = truth[BORDER:-BORDER, BORDER:-BORDER]
    e = image.astype(float)
    one = np.ones_like(t)
    square = fftconvolve(e * e, one, mode="valid") - 2 * fftconvolve(e, t[::-1, ::-1], mode="valid") + (t * t).sum()
    middle = (np.array(e.shape) - np.array(t.shape)) / 2
    i, j = np.indices(square.shape)
    square = np.where((abs(i - middle[0]) <= reach) & (abs(j - middle[1]) <= reach), square, np.inf)
    i, j = np.unravel_index(square.argmin(), square.shape)
    best = np.inf
    for dy in np.arange(-0.75, 0.76, 0.25):
        for dx in np.arange(-0.75, 0.76, 0.25):
            moved = ndimage.shift(e, (dy, dx), order=1, mode="nearest")[i : i + t.shape[0], j : j + t.shape[1]]
            best = min(best, float(((moved - t) ** 2).mean()))
    return -10 * np.log10(max(best, 1e-12))


def richardson_lucy(y: np.ndarray, kernel: np.ndarray, truth: np.ndarray) -> float:
    from skimage.restoration import richardson_lucy as run

    wide = np.pad(y, 24, mode="reflect").astype(float)
    return max(psnr(run(wide, kernel, num_iter=n)[24:-24, 24:-24], truth) for n in ITERATIONS)


def fitted(fit: ut.algorithms.Fit, steps: int, tight: bool = False) -> Callable[..., dict[str, Any]]:
    """In a box of half the picture, or of the size that the path fills."""

    def run(y: np.ndarray, truth: np.ndarray, kernel: np.ndarray, noise: float, seed: int) -> dict[str, Any]:
        box = len(kernel) | 1 if tight else None
        result = ut.restore(
            y[None], ut.physics.Blur(ut.physics.Unknown(), box=box), fit, stop=ut.rules.Plateau(patience=steps), steps=steps, seed=seed
        )
        return scored(result, truth, kernel)

    return run


def ours(y: np.ndarray, truth: np.ndarray, kernel: np.ndarray, noise: float, seed: int) -> dict[str, Any]:
    return scored(ut.restore(y[None], ut.physics.Blur(ut.physics.Unknown()), seed=seed), truth, kernel)


def scored(result: ut.results.Restored, truth: np.ndarray, kernel: np.ndarray) -> dict[str, Any]:
    assert result.kernel is not None
    verdict = None if result.verdict is None else result.verdict.trusted
    similarity = ut.metrics.kernel_similarity(trimmed(result.kernel), torch.from_numpy(kernel))
    row = {"psnr": psnr(result.image[0].numpy(), truth), "kernel": similarity, "verdict": verdict, "numbers": result.numbers}
    attempt = result.image if result.attempt is None else result.attempt
    return row | {"attempt": psnr(attempt[0].numpy(), truth)}


def methods(steps: int) -> dict[str, Callable[..., dict[str, Any]]]:
    """Networks of 16 channels and 4 scales, so that all have the same steps and cost."""
    after = steps // 6
    return {
        "blind": ours,
        "tight selfdeblur": fitted(selfdeblur(16, 4, after), steps, tight=True),
        "box selfdeblur": fitted(selfdeblur(16, 4, after), steps),
        "box siren 0.04": fitted(siren(16, 4), steps),
        "box siren 4e-4": fitted(siren(16, 4, 4e-4), steps),
        "box mlp 4e-4": fitted(mlp(), steps),
    }


def mlp() -> ut.algorithms.Fit:
    from dataclasses import replace

    return replace(siren(16, 4, 4e-4), kernel=ut.priors.Softmax(ut.priors.Perceptron(rate=1e-3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one picture, one path")
    parser.add_argument("--paths", type=int, default=len(SIZES))
    parser.add_argument("--steps", type=int, default=500, help="of the methods that Blind() is compared with")
    parser.add_argument("--methods", default="blind")
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = args.images.split(",")[: 1 if args.quick else None]
    rows = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    complete = {(r["seed"], r["image"], r["path"], r["noise"], r["method"]) for r in rows}
    every = methods(args.steps)
    for number in range(1 if args.quick else args.paths):
        for image in images:
            for noise in NOISES:
                y, truth, kernel = case(args.seed, image, number, noise)
                for name in args.methods.split(","):
                    if (args.seed, image, number, noise, name) in complete:
                        continue
                    clock = time.process_time()
                    row = {"seed": args.seed, "image": image, "path": number, "noise": noise, "method": name}
                    row |= {"blurred": psnr(y, truth), "rl": richardson_lucy(y, kernel, truth)}
                    cpu = time.process_time()
                    row |= every[name](y, truth, kernel, noise, args.seed)
                    row |= {"cpu": time.process_time() - cpu, "scoring": cpu - clock}
                    rows.append(row)
                    print(_line(row), flush=True)
                    if args.json:
                        args.json.parent.mkdir(parents=True, exist_ok=True)
                        args.json.write_text(json.dumps(rows, indent=1))
    print(table([judged(r) for r in rows if r["seed"] == args.seed]))


def judged(r: dict[str, Any]) -> dict[str, Any]:
    """A row with the verdict of the numbers that it has, and the picture that follows from it."""
    n = r["numbers"]
    if "gradient_ratio" not in n:
        return r
    reach = max(n["kernel_height"], n["kernel_width"]) / 63  # the box of 128 x 128
    keys = ("fit_agreement", "kernel_agreement", "kernel_change", "misfit_over_noise")
    evidence = BlurEvidence(*(n[key] for key in keys), reach, n["first_peak"], n["gradient_ratio"])
    trusted = blur_verdict(evidence).trusted
    return r | {"verdict": trusted, "psnr": r["blurred"] if trusted is False else r["attempt"]}


def _line(r: dict[str, Any]) -> str:
    return (
        f"{r['noise']:.2f} {r['image']:10s} path {r['path']} {r['method']:18s} gain {r['psnr'] - r['blurred']:+6.2f}, RL "
        f"{r['rl'] - r['blurred']:+5.2f}, kernel {r['kernel']:.2f}, verdict {r['verdict']}, {r['cpu']:.0f} s"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the paths, for each picture and for all."""
    titles = (
        "noise | method | picture | n | gain dB | least | RL dB | kernel > 0.85 | good | their gain | their least | cannot say | no | CPU s"
    )
    lines = [titles, "|".join(["---"] * (titles.count("|") + 1))]
    for noise in NOISES:
        for name in dict.fromkeys(r["method"] for r in rows):
            for image in (*IMAGES, "all"):
                some = [r for r in rows if r["noise"] == noise and r["method"] == name and image in (r["image"], "all")]
                if some:
                    lines.append(f"{noise} | {name} | {image} | " + _means(some))
    return "\n".join(lines)


def _means(some: list[dict[str, Any]]) -> str:
    gains, reference = ([r[key] - r["blurred"] for r in some] for key in ("psnr", "rl"))
    good = [g for g, r in zip(gains, some) if r["verdict"] is True]
    theirs = f"{np.mean(good):+.2f} | {min(good):+.2f}" if good else " | "
    others = " | ".join(str(sum(r["verdict"] is v for r in some)) for v in (None, False))
    return (
        f"{len(some)} | {np.mean(gains):+.2f} | {min(gains):+.2f} | {np.mean(reference):+.2f} | {sum(r['kernel'] > 0.85 for r in some)} | "
        f"{len(good)} | {theirs} | {others} | {np.mean([r['cpu'] for r in some]):.0f}"
    )


if __name__ == "__main__":
    main()
