"""What right results look like in the numbers of the report, so that its hints accuse nobody who is right.

    python benchmarks/hints.py --seed 41000 --count 24 --json benchmarks/results/hints.json

Object i is poly, defect or complex in turn (`simulate/shapes.py`), 64 x 64, with 1e5, 1e6 or 1e7 photons, every fourth behind a stop of
radius 2; reconstructed with default options. Right: error to the truth (after shift, twin and phase) below 0.1. Wrong: those of the same
objects that a recipe of 100 steps gives, with an error above 0.25.

below: share of the support below the surface's level. ratio: free over working log-likelihood. edges: the narrowest of the edge widths.
flat: R-factor of the best start at 80 % of its way over that at its end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin.bragg.strain import ISOSURFACE, level
from untwin.model.ramp import superpose
from untwin.processes import one_thread
from untwin.show.object import edge_widths
from untwin.show.style import centre_pixel
from untwin.simulate.shapes import CLASSES
from untwin.simulate.streams import Streams

SHAPE, KINDS, PHOTONS = (64, 64), ("poly", "defect", "complex"), (1e5, 1e6, 1e7)
NUMBERS = (
    *("r_factor", "chi_square_amplitude", "chi_square_intensity", "log_likelihood", "log_likelihood_expected", "misfit"),
    *("worst_shell_misfit", "working_log_likelihood", "free_log_likelihood", "first_mode_weight", "agreement", "starts", "starts_agreeing"),
    *("power_unmeasured", "hidden_speckles", "resolution_pixels"),
)


def sample(seed: int, index: int) -> tuple[np.ndarray, ut.Pattern]:
    """Truth and pattern."""
    rng = Streams(seed, [index]).generators[0]
    x = CLASSES[KINDS[index % 3]](SHAPE, rng).astype(complex)
    f = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))) ** 2
    counts = rng.poisson(f * PHOTONS[index // 3 % 3] / f.sum()).astype(np.int32)
    mask = np.zeros(SHAPE, bool)
    if index % 4 == 3:
        row, column = np.ogrid[-32:32, -32:32]
        mask = row**2 + column**2 <= 4
    return x, ut.read(counts, mask=mask)


def numbers_of(solution: ut.results.Reconstruction, truth: np.ndarray) -> dict[str, Any]:
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    bulk = level(magnitude, support)
    middle = centre_pixel(support)
    widths = [w for line in (magnitude[:, middle[1]], magnitude[middle[0]]) for w in edge_widths(line) if w is not None]
    best = min(solution.history, key=lambda h: h.r_factor[-1]) if solution.history else None
    row = {name: solution.numbers[name] for name in NUMBERS if name in solution.numbers}
    return row | {
        "error": superpose(solution.image, torch.as_tensor(truth), ramp=True).error,
        "trusted": solution.verdict.trusted,
        "below": float((magnitude[support] < ISOSURFACE * bulk).mean()),
        "ratio": row["free_log_likelihood"] / row["working_log_likelihood"],
        "edges": min(widths, default=None),
        "flat": None if best is None else best.r_factor[int(0.8 * len(best.r_factor))] / best.r_factor[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=41000)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="three objects")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with one_thread():
        for index in range(3 if args.quick else args.count):
            truth, pattern = sample(args.seed, index)
            about = {"index": index, "class": KINDS[index % 3], "photons": PHOTONS[index // 3 % 3], "stop": index % 4 == 3}
            for name, recipe in (("default", None), ("short", "50*HIO + 50*ER")):
                solution = ut.reconstruct(pattern, recipe, seed=0, workers=1)
                rows.append(about | {"run": name} | numbers_of(solution, truth))
                print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
            if args.json:
                head = {"script": "hints", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__}
                args.json.write_text(json.dumps(head | {"rows": rows}, indent=1))
    right = [r for r in rows if r["run"] == "default" and r["error"] < 0.1]
    wrong = [r for r in rows if r["error"] > 0.25]
    print(f"\n| number | {len(right)} right | {len(wrong)} wrong |\n|---|---|---|")
    for name in (*NUMBERS, "below", "ratio", "edges", "flat"):
        print("| " + " | ".join([name, *(span([r.get(name) for r in group]) for group in (right, wrong))]) + " |")


def span(values: list[float | None]) -> str:
    finite = [v for v in values if v is not None and np.isfinite(v)]
    return f"{min(finite):.3g} to {max(finite):.3g}, median {np.median(finite):.3g}" if finite else "-"


if __name__ == "__main__":
    main()
