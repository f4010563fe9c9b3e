"""Light of other crystals: how high its summit stands above the pass to the Bragg peak, and whether a crystal's own light ever does.

    python benchmarks/strays.py --seed 0 --count 12 --json benchmarks/results/strays.json

Crystals of 40 x 72 x 72 voxels of each kind, 1e5 to 1e8 counts and 0.02 per voxel of background, alone, and with a second crystal of
another seed whose peak lies elsewhere and has a share of the counts. A cluster is one-sided light (data/outliers.py); its height is what
bragg/strays.py compares with its limit.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from untwin.bragg.strays import SUMMIT, clusters
from untwin.data.measurement import Pattern
from untwin.simulate.shapes import CLASSES

SHAPE = (40, 72, 72)
KINDS = ("poly", "defect", "complex")
COUNTS = (1e5, 1e6, 1e8)
SHARES = (0.003, 0.01, 0.1)
BACKGROUND = 0.02


def light(kind: str, seed: tuple[int, ...]) -> np.ndarray:
    """|F x|², centred, its sum 1."""
    x = CLASSES[kind](SHAPE, np.random.default_rng(seed))
    pattern = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))) ** 2
    return pattern / pattern.sum()


def heights(expected: np.ndarray, seed: tuple[int, ...]) -> list[tuple[float, tuple[int, ...]]]:
    counts = np.fft.ifftshift(np.random.default_rng(seed).poisson(expected + BACKGROUND)).astype(np.float32)
    return [(c.height, c.summit) for c in clusters(Pattern(counts, np.ones(SHAPE, bool)))]


def moved(pattern: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(the pattern with its peak elsewhere, cut off at the edges; where)."""
    while True:
        by = np.array([rng.integers(-n // 3, n // 3 + 1) for n in SHAPE])
        if np.abs(by / SHAPE).max() > 0.2:
            break
    to = tuple(slice(max(0, b), min(n, n + b)) for b, n in zip(by, SHAPE))
    start = tuple(slice(max(0, -b), min(n, n - b)) for b, n in zip(by, SHAPE))
    result = np.zeros(SHAPE)
    result[to] = pattern[start]
    return result, by + np.array(SHAPE) // 2


def run(seed: int, count: int) -> dict:
    alone, other = [], {share: {"seen": 0, "of": 0, "heights": []} for share in SHARES}
    for number, kind in enumerate(KINDS):
        for index in range(count):
            own = light(kind, (seed, number, index))
            for counts in COUNTS:
                alone += [h for h, _ in heights(counts * own, (seed, index))]
                for share in SHARES:
                    second, at = moved(light("poly", (seed, 99, index)), np.random.default_rng((seed, number, index)))
                    near = [h for h, s in heights(counts * (own + share * second), (seed, index)) if np.abs(np.array(s) - at).max() <= 3]
                    other[share]["of"] += 1
                    other[share]["seen"] += bool(near) and max(near) >= SUMMIT
                    other[share]["heights"] += near
    rows = {f"{s:g}": {"seen": r["seen"], "of": r["of"], "least": min(r["heights"], default=None)} for s, r in other.items()}
    return {
        "seed": seed, "crystals": len(KINDS) * count, "patterns": len(KINDS) * count * len(COUNTS), "clusters_alone": len(alone),
        "highest_alone": max(alone, default=0), "false": sum(h >= SUMMIT for h in alone), "with_another": rows,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = run(args.seed, args.count)
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
