"""Natural pictures that fill their box, 64 x 64 of scikit-image in an array of 128 x 128, real and nonnegative, the square given or not.

    python benchmarks/pictures.py --seed 0 --json benchmarks/results/pictures.json
    python benchmarks/pictures.py --seed 1 --names brick,gravel,page,coffee,chelsea,rocket --json benchmarks/results/pictures_fresh.json
    python benchmarks/pictures.py --seed 2 --blur 0.35 --json benchmarks/results/pictures_blurred.json

The middle square of a picture, grey, resized, from 0 to 1. PSNR in dB over the square, its largest value the peak, after alignment by shift
and turn; the scale is that of the counts. Error reduction: 200 iterations from the truth in its square. Square: its support is given; none:
nothing but positivity is said. E: as in benchmarks/recover.py. Trusted: what the verdict says; a result with E above 0.25 is wrong, one
above 0.12 no success. CPU: seconds of all processes. After a kill the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.dataset import simulated
from untwin.runs.launch import one_thread, run_here

NAMES = ("camera", "astronaut", "coins", "moon", "text", "cell")
SIZE, GRID = 64, 128
WAYS = ("square", "none")


def picture(name: str) -> np.ndarray:
    """(SIZE, SIZE) from 0 to 1."""
    from skimage import color, data, transform

    a = getattr(data, name)()
    a = (color.rgb2gray(a[..., :3]) if a.ndim == 3 else a).astype(float)
    n = min(a.shape)
    top, left = ((s - n) // 2 for s in a.shape)
    a = np.array(transform.resize(a[top : top + n, left : left + n], (SIZE, SIZE), anti_aliasing=True))
    return (a - a.min()) / np.ptp(a)


def measured(name: str, photons: float, seed: int, blur: float = 0.0) -> tuple[ut.Pattern, torch.Tensor, np.ndarray]:
    """The pattern, the object in FFT order in √counts, and its square, centred. blur: σ of a Gaussian, pixels of the pattern."""
    first = (GRID - SIZE) // 2
    square = np.zeros((GRID, GRID), dtype=bool)
    square[first : first + SIZE, first : first + SIZE] = True
    x = np.zeros((GRID, GRID))
    x[square] = picture(name).ravel()
    x = np.fft.ifftshift(x)
    f = np.abs(np.fft.fft2(x, norm="ortho")) ** 2
    q = np.fft.fftfreq(GRID)
    f = np.abs(np.fft.fft2(np.fft.ifft2(f) * np.exp(-2 * (np.pi * blur) ** 2 * (q[:, None] ** 2 + q**2))))
    scale = photons / f.sum()
    counts = np.random.default_rng([seed, *name.encode()]).poisson(scale * f).astype(np.float32)
    return simulated(counts, np.ones_like(square)), torch.from_numpy(x * np.sqrt(scale)).float(), square


def scored(image: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """PSNR and E of an object in FFT order."""
    aligned = ut.align(image[None].to(torch.complex64), truth.to(torch.complex64), 2)
    square = float((aligned.x[0].real - truth).square().sum()) / SIZE**2
    return 10 * np.log10(float(truth.max()) ** 2 / square), float(aligned.error[0])


def from_truth(pattern: ut.Pattern, truth: torch.Tensor, square: np.ndarray) -> float:
    """PSNR of error reduction from the truth."""
    problem = ut.Problem.of(pattern, positivity=True)
    state = ut.State.of(truth[None], torch.from_numpy(np.fft.ifftshift(square)))
    with one_thread():
        state = run_here(problem, ut.parse("200*ER"), state).state
    return scored(problem.project_object(state.image, state.support)[0], truth)[0]


def one(name: str, way: str, args: argparse.Namespace) -> dict:
    """Simulate, reconstruct and score one picture."""
    pattern, truth, square = measured(name, args.photons, args.seed, args.blur)
    solution = ut.reconstruct(
        pattern, positivity=True, support=square if way == "square" else None, seed=args.seed, workers=1, **args.settings
    )
    psnr, error = scored(torch.fft.ifftshift(solution.image), truth)
    return {
        "name": name,
        "way": way,
        "psnr": psnr,
        "error": error,
        "from_truth": from_truth(pattern, truth, square),
        "trusted": solution.verdict.trusted,
        "agreement": solution.numbers["agreement"],
        "support": solution.numbers["support_pixels"],
        "sigma": solution.numbers.get("coherence_sigma", 0.0),
        "cpu": solution.numbers["cpu_seconds"],
    }


def table(results: list[dict]) -> str:
    """Markdown: a row for each picture, and one for the mean."""
    lines = ["| picture | support | PSNR | E | from the truth | trusted | agreement | CPU s |", "|---|---|---|---|---|---|---|---|"]
    for way in WAYS:
        rows = [r for r in results if r["way"] == way]
        lines += [
            f"| {r['name']} | {way} | {r['psnr']:.1f} | {r['error']:.3f} | {r['from_truth']:.1f} | {r['trusted']} | {r['agreement']:.3f} "
            f"| {r['cpu']:.1f} |"
            for r in rows
        ]
        if rows:
            psnr, error, floor, cpu = (float(np.mean([r[k] for r in rows])) for k in ("psnr", "error", "from_truth", "cpu"))
            trusted = [r for r in rows if r["trusted"]]
            wrong = [sum(r["error"] > limit for r in trusted) for limit in (0.25, 0.12)]
            said = f"{len(trusted)}/{len(rows)}, wrong {wrong[0]} / {wrong[1]}"
            lines.append(f"| mean | {way} | {psnr:.1f} | {error:.3f} | {floor:.1f} | {said} |  | {cpu:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--names", default=",".join(NAMES), help="pictures of skimage.data")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--photons", type=float, default=1e6)
    parser.add_argument("--blur", type=float, default=0.0, help="σ of a Gaussian blur of the pattern, pixels")
    parser.add_argument("--effort", type=float, help="as in untwin.reconstruct")
    parser.add_argument("--quick", action="store_true", help="the first picture only")
    parser.add_argument("--json", type=Path, help="written after every picture; what it holds already is not done again")
    args = parser.parse_args()
    args.settings = {} if args.effort is None else {"effort": args.effort}
    names = args.names.split(",")[: 1 if args.quick else None]
    made = {
        "script": "pictures",
        "seed": args.seed,
        "photons": args.photons,
        "settings": args.settings,
        "blur": args.blur,
        "untwin": ut.__version__,
    }
    past = json.loads(args.json.read_text()) if args.json and args.json.exists() else {"results": []}
    if past["results"] and any(past.get(k) != v for k, v in made.items()):
        parser.error(f"{args.json} holds other runs: { ({k: past.get(k) for k in made}) }; choose another name, or remove it")
    results = past["results"]
    for name in names:
        for way in args.ways.split(","):
            if not any((r["name"], r["way"]) == (name, way) for r in results):
                results.append(one(name, way, args))
                if args.json:
                    args.json.parent.mkdir(parents=True, exist_ok=True)
                    content = {**made, "torch": torch.__version__, "machine": platform.machine(), "results": results}
                    args.json.write_text(json.dumps(content, indent=1))
    print(table([r for r in results if r["name"] in names]))


if __name__ == "__main__":
    main()
