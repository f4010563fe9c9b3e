"""Multiplicative noise: `restore --noise speckle` and `--noise gaussian`, with the deep random projector and its stop.

    python benchmarks/speckle.py --seed 21 --stored floats --json benchmarks/results/speckle.json

Grey pictures of scikit-image, 64 x 64, 0 to 1, times gamma noise of mean 1 (L looks: its variance is 1 / L). Stored as floats, as they are,
or with 8 bits, where all above 1 is cut; read back and restored as the command line does. PSNR: against the clean picture, 1 its peak. Gap:
from the image that EMV(patience=50) keeps to the best mean output of the run, which goes on 50 steps after that stop.
A run that is in the JSON already is not made again.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from stopping import clean, psnr, walked
from untwin.data.image import read_image
from untwin.processes import one_thread
from untwin.runs.restore import fit_for
from untwin.runs.tasks import job

IMAGES = ("brick", "gravel", "rocket", "coins", "page", "retina")  # on none of which anything was chosen
LOOKS = (1, 4, 6, 10)
STORED = ("floats", "8 bits")
NOISES = ("gaussian", "speckle")


def reread(y: np.ndarray, stored: str) -> tuple[np.ndarray, float, float]:
    """y through a file: the values, the offset and the scale that lead back."""
    from skimage.io import imsave

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is scaled
        if stored == "floats":
            path = Path(folder) / "y.npy"
            np.save(path, y)
        else:
            path = Path(folder) / "y.png"
            imsave(path, np.rint(255 * y.clip(0, 1)).astype(np.uint8), check_contrast=False)
        found = read_image(path)
    return found.values, found.offset, found.scale if stored == "floats" else 1.0


def run(truth: torch.Tensor, looks: int, stored: str, noise: str, rng: np.random.Generator, seed: int) -> dict[str, float]:
    y = truth[0].numpy() * rng.gamma(looks, 1 / looks, truth.shape[1:])
    values, offset, scale = reread(y, stored)
    work = job(values, "denoise", "drp", noise)
    problem = ut.Picture(torch.from_numpy(work.y), loss=work.loss)
    rule = ut.rules.EMV(patience=50)
    begun = ut.State.of(torch.zeros(1, *problem.shape), seeds=(seed,))
    watch = rule.begin(problem, begun).rule_state
    quality, statistic, stop, at = [], [], None, 0
    for state in ut.iterate(problem, 800 * fit_for("drp", problem.grid), begun):
        watch = rule.observe(problem, state.replace(rule_state=watch)).rule_state
        statistic.append(float(watch.value[0]))
        quality.append(psnr(offset + scale * state.image[0], truth))
        at, stop = (at, stop) if stop else walked(statistic, rule.patience, rule.tolerance, rule.burn_in)
        if stop and state.step >= stop + 50:
            break
    given = psnr(torch.from_numpy(offset + scale * values), truth)
    return {"given": given, "restored": quality[at - 1], "best": max(quality), "best_at": at, "stopped": stop or 0}


def table(runs: list[dict]) -> list[str]:
    lines = [
        "| stored as | looks | pictures | given: dB | gaussian: dB | speckle: dB | difference: mean, worst | gap: mean, worst | stopped |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for stored in STORED:
        for looks in LOOKS:
            a, b = ([r for r in runs if (r["stored"], r["looks"], r["noise"]) == (stored, looks, noise)] for noise in NOISES)
            if not a or len(a) != len(b):
                continue
            by = [s["restored"] - g["restored"] for g, s in zip(a, b)]
            gap = [s["best"] - s["restored"] for s in b]
            mean = [np.mean([r[k] for r in rs]) for rs, k in ((b, "given"), (a, "restored"), (b, "restored"))]
            ended = sum(r["stopped"] > 0 for r in b)
            cells = f"{stored} | {looks} | {len(b)} | " + " | ".join(f"{m:.2f}" for m in mean)
            lines.append(f"| {cells} | {np.mean(by):+.2f}, {min(by):+.2f} | {np.mean(gap):.2f}, {max(gap):.2f} | {ended} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--stored", default=",".join(STORED))
    parser.add_argument("--quick", action="store_true", help="one picture of 32 pixels, floats")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = args.images.split(",")
    if args.quick:
        args.size, args.stored, names = 32, STORED[0], names[:1]
    runs = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    seen = {(r["image"], r["stored"], r["looks"], r["noise"], r["seed"], r["size"]) for r in runs}
    for stored in args.stored.split(","):
        for name in names:
            truth = clean(name, args.size).mean(0, keepdim=True)
            for looks in LOOKS:
                for noise in NOISES:
                    key = (name, stored, looks, noise, args.seed, args.size)
                    if key in seen:
                        continue
                    rng = np.random.default_rng([args.seed, names.index(name), looks])
                    with one_thread():
                        one = run(truth, looks, stored, noise, rng, args.seed)
                    runs.append(dict(zip(("image", "stored", "looks", "noise", "seed", "size"), key)) | one)
                    print(key, {k: round(v, 2) for k, v in one.items()}, flush=True)
                    if args.json:
                        head = {"script": "speckle", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                        args.json.parent.mkdir(parents=True, exist_ok=True)
                        args.json.write_text(json.dumps({**head, "runs": runs}))
    print("\n" + "\n".join(table(runs)))


if __name__ == "__main__":
    main()
