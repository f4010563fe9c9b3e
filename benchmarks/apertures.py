"""Point-symmetric objects of one density (a disc, a rectangle, a ring, a slit), coherent and behind a blur: is a wrong one trusted?

    python benchmarks/apertures.py --json benchmarks/results/apertures.json

64 x 64 and 128 x 128, 1e6 photons, a Gaussian blur of the pattern of each width, in four ways: nothing said, positivity, the support, both.
E: of the result, after alignment. After a kill the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.dataset import simulated

SIZES, BLURS, PHOTONS = (64, 128), (0.0, 0.2, 0.35), 1e6
KINDS = ("disc", "rectangle", "ring", "slit")
WAYS = ("nothing", "positivity", "support", "both")


def aperture(n: int, kind: str) -> np.ndarray:
    """(n, n), True inside, its middle at n / 2."""
    y, x = np.mgrid[:n, :n] - n // 2
    r = np.hypot(x, y)
    if kind == "disc":
        return r <= 0.15 * n
    if kind == "rectangle":
        return (np.abs(x) <= 0.13 * n) & (np.abs(y) <= 0.1 * n)
    if kind == "ring":
        return (r <= 0.16 * n) & (r >= 0.07 * n)
    return (np.abs(0.9 * x + 0.43 * y) <= 0.04 * n) & (np.abs(0.9 * y - 0.43 * x) <= 0.16 * n)


def one(n: int, kind: str, blur: float, way: str, seed: int) -> dict:
    """Simulate, reconstruct and compare one aperture."""
    inside = aperture(n, kind)
    truth = np.fft.ifftshift(inside).astype(complex)
    q = np.fft.fftfreq(n)
    envelope = np.exp(-2 * (np.pi * blur) ** 2 * (q[:, None] ** 2 + q**2))
    f = np.abs(np.fft.fft2(np.fft.ifft2(np.abs(np.fft.fft2(truth)) ** 2) * envelope))
    rng = np.random.default_rng([seed, n, KINDS.index(kind), round(100 * blur)])
    pattern = simulated(rng.poisson(PHOTONS / f.sum() * f).astype(np.float32), np.ones_like(inside))
    solution = ut.reconstruct(
        pattern, positivity=way in ("positivity", "both"), support=inside if way in ("support", "both") else None, seed=seed, workers=1
    )
    image = torch.fft.ifftshift(solution.image)[None].to(torch.complex64)
    numbers = {name: solution.numbers.get(name, 0.0) for name in ("symmetric_error", "coherence_sigma", "agreement", "cpu_seconds")}
    row = {"size": n, "kind": kind, "blur": blur, "way": way, "seed": seed}
    error = float(ut.align(image, torch.from_numpy(truth).to(torch.complex64), 2).error[0])
    return row | {"E": error, "trusted": solution.verdict.trusted} | numbers


def table(rows: list[dict]) -> str:
    """Markdown: a row for each blur and way."""
    lines = ["| blur, px | said | n | median E, most | trusted: E to 0.12 / above | not trusted, E to 0.12 |", "|---|---|---|---|---|---|"]
    for blur, way in itertools.product(BLURS, WAYS):
        some = [r for r in rows if (r["blur"], r["way"]) == (blur, way)]
        if not some:
            continue
        e, trusted = np.array([r["E"] for r in some]), np.array([r["trusted"] is True for r in some])
        right = e <= 0.12
        said = f"{(trusted & right).sum()} / {(trusted & ~right).sum()} | {(~trusted & right).sum()}"
        lines.append(f"| {blur:g} | {way} | {len(some)} | {np.median(e):.3f}, {e.max():.3f} | {said} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="64 x 64, the rectangle only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = json.loads(args.json.read_text())["rows"] if args.json and args.json.exists() else []
    done = {(r["size"], r["kind"], r["blur"], r["way"], r["seed"]) for r in rows}
    sizes, kinds = (SIZES[:1], ("rectangle",)) if args.quick else (SIZES, KINDS)
    for task in itertools.product(sizes, kinds, BLURS, WAYS):
        if (*task, args.seed) in done:
            continue
        rows.append(one(*task, args.seed))
        print(rows[-1], flush=True)
        if args.json:
            args.json.write_text(json.dumps({"untwin": ut.__version__, "photons": PHOTONS, "rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
