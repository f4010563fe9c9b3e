"""Patterns stored in few levels: how far the object is off, and how far rounding alone says it is (`rounding_error`).

    python benchmarks/levels.py --json benchmarks/results/levels.json

64 x 64, 1e6 photons, the counts times a factor and rounded to 0 ... levels, said to be no counts. E: of the result against the object that
was simulated, after alignment. 255 are 8 bits. After a kill the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.measurement import Noise
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

LEVELS = (255, 1023, 4095, 16_383, 65_535)
KINDS = ("poly", "defect", "complex")
PHOTONS = 1e6


def one(levels: int, kind: str, seed: int) -> dict:
    """Simulate, store, reconstruct and compare one object."""
    rng = np.random.default_rng([77, seed])
    truth = CLASSES[kind]((64, 64), rng)
    pattern = measure(truth, PHOTONS, rng)[0]
    numbers = np.round(pattern.intensity.astype(np.float64) / pattern.intensity.max() * levels)
    solution = ut.reconstruct(ut.Pattern(numbers, pattern.measured, noise=Noise("unknown")), seed=1, workers=1)
    error = float(ut.align(solution.image[None], torch.as_tensor(truth, dtype=torch.complex64), 2).error[0])
    said = solution.verdict.trusted
    rounding = solution.numbers["rounding_error"]
    agreement = solution.numbers["agreement"]
    return {"levels": levels, "class": kind, "seed": seed, "E": error, "rounding": rounding, "agreement": agreement, "trusted": said}


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = ["| levels | n | E | `rounding_error` | families agree | trusted: E to 0.1 / above |", "|---|---|---|---|---|---|"]
    for levels in LEVELS:
        some = [r for r in rows if r["levels"] == levels]
        if not some:
            continue
        e, r = (np.array([row[name] for row in some]) for name in ("E", "rounding"))
        trusted = e[[row["trusted"] is True for row in some]]
        alike = sum(row["agreement"] < 0.1 for row in some)
        cells = f"{e.min():.2f} to {e.max():.2f} | {r.min():.2f} to {r.max():.2f} | {alike}"
        lines.append(f"| {levels} | {len(some)} | {cells} | {(trusted <= 0.1).sum()} / {(trusted > 0.1).sum()} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--count", type=int, default=4, help="objects of each class")
    parser.add_argument("--quick", action="store_true", help="one object of each class, two levels")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = json.loads(args.json.read_text())["rows"] if args.json and args.json.exists() else []
    done = {(r["levels"], r["class"], r["seed"]) for r in rows}
    levels, count = (LEVELS[:2], 1) if args.quick else (LEVELS, args.count)
    for task in itertools.product(levels, KINDS, range(args.seed, args.seed + count)):
        if task in done:
            continue
        rows.append(one(*task))
        print(rows[-1], flush=True)
        if args.json:
            args.json.write_text(json.dumps({"untwin": ut.__version__, "photons": PHOTONS, "rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
