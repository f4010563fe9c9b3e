"""Sparse blind deconvolution of simulated maps of a scanning tunnelling microscope: motifs, maps, verdict, time.

    python benchmarks/sparse.py --seed 300 --json benchmarks/results/sparse.json
    python benchmarks/sparse.py --seed 300 --cases published,hard

Maps of `untwin.simulate.quasiparticles`: rings around defects of strength 1, defects outside the field reach in. Kernel: correlation of the
motif with the true one, any shift and sign, all channels together; of two motifs the smaller one. Map: correlation of the map with the true
one after a blur by a pixel, at the shift of the motif. Right: kernel above 0.95. Wrong: all others; flagged: not called trusted.
CPU: seconds of the process, starts and verdict included. Each seed draws motifs, defects, noise and windows anew. What the JSON file holds
already is not done again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

import untwin as ut
from untwin.model.motifs import offset, paired
from untwin.simulate.interference import quasiparticles

SIZES = (9, 15, 21)  # asked for; the motif has 15
CASES: dict[str, list[dict]] = {
    "channels": [
        {"channels": s, "density": 1.2 / 225, "snr": 1.0, "ask": k, "name": f"overlap 1.2, SNR 1, {s} channels, size {k} for 15"}
        for s in (1, 2, 3, 5, 8)
        for k in SIZES
    ],
    "overlap": [
        {"channels": 3, "density": 4.5 / 225, "snr": 4.0, "ask": k, "name": f"overlap 4.5, SNR 4, 3 channels, size {k} for 15"}
        for k in SIZES
    ],
    "large": [
        {"shape": (300, 300), "channels": 3, "density": 1.2 / 225, "snr": 1.0, "ask": 15,
         "name": "overlap 1.2, SNR 1, 3 channels, 300 x 300"},
    ],
    "two": [
        {"channels": 3, "density": 0.5 / 225, "snr": 4.0, "ask": 15, "kinds": 2, "name": "two motifs, overlap 0.5 each, SNR 4, 3 channels"},
    ],
    "published": [
        {
            "shape": (185, 185), "channels": 1, "density": 0.0273, "snr": 0.79, "ask": 25, "size": 25,
            "name": "overlap 17, SNR 0.79, 1 channel, 25 x 25 in 185 x 185",
        }
    ],
    "hard": [
        {"channels": 1, "density": 4.5 / 225, "snr": 1.0, "ask": 15, "name": "overlap 4.5, SNR 1, 1 channel"},
        {"channels": 1, "density": 11 / 225, "snr": 4.0, "ask": 15, "name": "overlap 11, SNR 4, 1 channel"},
        {"channels": 3, "density": 11 / 225, "snr": 4.0, "ask": 15, "name": "overlap 11, SNR 4, 3 channels"},
        {"channels": 1, "density": 1.2 / 225, "snr": 0.1, "ask": 15, "name": "overlap 1.2, SNR 0.1, 1 channel"},
        {"channels": 3, "density": 1.2 / 225, "snr": 4.0, "ask": 15, "lattice": 1.0,
         "name": "overlap 1.2, SNR 4, 3 channels, a lattice as strong"},
        {"channels": 3, "density": 1.2 / 225, "snr": 4.0, "ask": 15, "lattice": 1.0, "removed": True,
         "name": "the same, lattice=True"},
        {"channels": 3, "density": 1.2 / 225, "snr": 4.0, "ask": 15, "lattice": 1.0, "removed": True, "drift": 2.0,
         "name": "the same, drift 2 pixels"},
        {"channels": 3, "density": 1.2 / 225, "snr": 4.0, "ask": 15, "drift": 3.0, "spread": 0.3,
         "name": "overlap 1.2, SNR 4, 3 channels, drift 3 pixels, strengths +-30 %"},
        {"channels": 3, "density": 1e-9, "snr": 1e-9, "ask": 15, "name": "noise alone, 3 channels"},
    ],
}  # fmt: skip


def one(case: dict, seed: int) -> dict:
    """Draw, deconvolve and score."""
    options = {k: v for k, v in case.items() if k not in ("name", "ask", "removed")}
    if case["name"].startswith("noise"):
        drawn = quasiparticles(seed=seed, **{**options, "density": 0.005, "snr": 1.0})
        values = np.random.default_rng(seed).standard_normal(drawn.values.shape).astype(np.float32)
    else:
        drawn = quasiparticles(seed=seed, **options)
        values = drawn.values
    began = time.process_time()
    result = ut.deconvolve_sparse(values, case["ask"], case.get("kinds", 1), seed=seed, lattice=case.get("removed", False))
    cpu = time.process_time() - began
    order, kernels = paired(drawn.motifs, result.motifs)
    return {
        "seed": seed,
        "kernel": min(kernels),
        "map": min(mapped(drawn.maps[i], drawn.motifs[i], result.maps[j], result.motifs[j]) for i, j in enumerate(order)),
        "trusted": result.verdict.trusted,
        "cpu": cpu,
        **{k: result.numbers[k] for k in ("starts", "starts_agreeing", "agreement", "defects", "size_rows") if k in result.numbers},
        "demixing": result.numbers.get("demixing"),
        "true_defects": int((drawn.maps > 0).sum()),
    }


def mapped(truth: np.ndarray, motif: np.ndarray, strength: np.ndarray, shown: np.ndarray) -> float:
    """Correlation of two maps after a blur by a pixel, the second one moved by what its motif is moved against the true one."""
    from scipy.ndimage import gaussian_filter

    rows, columns, sign = offset(motif, shown)
    shift = [r + a // 2 - b // 2 for r, a, b in zip((rows, columns), motif.shape[1:], shown.shape[1:])]
    a, b = gaussian_filter(truth, 1.0), gaussian_filter(np.roll(sign * strength, shift, (0, 1)), 1.0)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def row(name: str, results: list[dict]) -> str:
    kernels = np.array([r["kernel"] for r in results])
    wrong = [r for r in results if r["kernel"] <= 0.95]
    trusted = sum(r["trusted"] is True for r in results)
    flagged = f"{sum(r['trusted'] is not True for r in wrong)} of {len(wrong)}" if wrong else "–"
    demixing = [r["demixing"] for r in results if r["demixing"] is not None]
    cells = [
        name,
        f"{int((kernels > 0.95).sum())} of {len(kernels)}",
        f"{kernels.min():.3f}, {np.median(kernels):.3f}",
        f"{np.median([r['map'] for r in results]):.3f}",
        f"{trusted}",
        flagged,
        f"{np.median(demixing):.2f}" if demixing else "",
        f"{np.median([r['starts'] for r in results]):.0f}",
        f"{np.median([r['cpu'] for r in results]):.1f}, {max(r['cpu'] for r in results):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| case | right | kernel: least, median | map, median | trusted | wrong ones flagged | demixing | starts | CPU s: median, most |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=100, help="of the first run; run i has seed + i")
    parser.add_argument("--count", type=int, default=20, help="runs of a case")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--quick", action="store_true", help="two runs of each")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    count = 2 if args.quick else args.count
    content = {"script": "sparse", "seed": args.seed, "count": count, "untwin": ut.__version__, "machine": platform.machine()}
    past = json.loads(args.json.read_text()) if args.json and args.json.exists() else {**content, "results": {}}
    if any(past[k] != v for k, v in content.items()):
        parser.error(f"{args.json} holds other runs: { ({k: past[k] for k in content}) }; choose another name, or remove it")
    table = past["results"]
    print(HEAD, flush=True)
    for case in (c for group in args.cases.split(",") for c in CASES[group]):
        results = table[case["name"]] = table.get(case["name"]) or [one(case, args.seed + i) for i in range(count)]
        print(row(case["name"], results), flush=True)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps({**content, "results": table}, indent=1))
    everything = [r for results in table.values() for r in results]
    wrong = [r for r in everything if r["kernel"] <= 0.95]
    print(f"\n{len(everything)} runs; wrong: {len(wrong)}, flagged: {sum(r['trusted'] is not True for r in wrong)}")


if __name__ == "__main__":
    main()
