"""Measured patterns: the ESRF logo (with its published support, and with none), a gold crystal, and a raw scan of a gold crystal.

    UNTWIN_DATA=path/to/data python benchmarks/measured.py --json benchmarks/results/measured.json

The files (real/esrf_logo_id10_512.npz, real/gold_34idc_3dcdinn_64.npz, real/34idc_scan54) are not part of untwin. The scan: 96 x 96 x 96
about the brightest voxel of the frames as they were recorded; and the same with its flat field, where pixels of more than one count in the
dark or of less than 0.3 of the median flat are masked (the frames are the first 256 x 256 pixels of both). R: amplitude residual on
valid pixels; chi²: of amplitudes. IoU: overlap of the found support with the published one, over shifts and the twin. Correlation:
sqrt(1 - E^2) after alignment, with the seeds before, none of which shares a start with another.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin.judge.compare import compare

SIZE = 96


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Intersection over union of two supports, over whole-pixel shifts and the point reflection."""
    best, b = 0.0, b.double()
    for one in (a.double(), a.double().flip((0, 1))):
        common = torch.fft.ifft2(torch.fft.fft2(b) * torch.fft.fft2(one).conj()).real.max()
        best = max(best, float(common / (one.sum() + b.sum() - common)))
    return best


def scan(folder: Path) -> tuple[ut.Pattern, ut.Pattern]:
    """The scan about its brightest voxel, raw and with flat field and mask."""
    import tifffile

    frames = np.stack([tifffile.imread(f) for f in sorted((folder / "frames").glob("*.tif"))])
    at = np.unravel_index(frames.argmax(), frames.shape)
    inside = tuple(slice(int(a) - SIZE // 2, int(a) + SIZE // 2) for a in at)
    flat, dark = (tifffile.imread(folder / f"{name}.tif").astype(float)[inside[1:]] for name in ("whitefield", "dark"))
    bad = np.broadcast_to((dark > 1) | (flat < 0.3 * np.median(flat)), (SIZE,) * 3)
    with tempfile.TemporaryDirectory() as name:
        for file, array in (("scan", frames[inside]), ("flat", flat), ("mask", bad.astype(np.uint8))):
            np.save(Path(name) / f"{file}.npy", array)
        path = Path(name) / "scan.npy"
        return ut.read(path), ut.read(path, flat=path.with_name("flat.npy"), mask=path.with_name("mask.npy"))


def timed(pattern: ut.Pattern, seed: int, **options: Any) -> tuple[ut.results.Reconstruction, dict]:
    began = time.perf_counter()
    solution = ut.reconstruct(pattern, seed=seed, **options)
    n = solution.numbers
    row = {name: n[name] for name in ("r_factor", "chi_square_amplitude", "support_pixels", "starts", "agreement")}
    row |= {name: v for name, v in n.items() if name.startswith(("coherence", "misfit", "background", "strays"))}
    row |= {"seed": seed, "seconds": time.perf_counter() - began, "cpu": n["cpu_seconds"], "trusted": solution.verdict.trusted}
    return solution, row | {"verdict": solution.verdict.text}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2, help="of each crystal")
    parser.add_argument("--only", default="", help="of the crystals, those with this in their name")
    parser.add_argument("--quick", action="store_true", help="the published support only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    real = Path(os.environ.get("UNTWIN_DATA", "")) / "real"
    logo, gold, frames = real / "esrf_logo_id10_512.npz", real / "gold_34idc_3dcdinn_64.npz", real / "34idc_scan54"
    if not all(path.exists() for path in (logo, gold, frames)):
        sys.exit(f"no {logo.name}, {gold.name} and {frames.name} in {real}; set UNTWIN_DATA to the folder that holds real/")
    warnings.simplefilter("ignore")
    pattern = ut.read(logo)
    published = ut.read_support(logo, pattern)
    rows = []
    print("| pattern | R | chi² | support | result | trusted (families differ by) | wall s (CPU s) |\n|---|---|---|---|---|---|---|")

    def write(name: str, row: dict, result: str) -> None:
        rows.append({"name": name, "result": result, **row})
        figures = f"{row['r_factor']:.3f} | {row['chi_square_amplitude']:.1f} | {row['support_pixels']:,.0f}"
        print(
            f"| {name} | {figures} | {result} | {row['trusted']} ({row['agreement']:.3f}) | {row['seconds']:.0f} ({row['cpu']:.0f}) |",
            flush=True,
        )
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            about = {"script": "measured", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__, "rows": rows}
            args.json.write_text(json.dumps(about, indent=1))

    if not args.only:
        with_support, row = timed(pattern, args.seed, positivity=True, support=published)
        write("ESRF logo, published support, positivity", row, "")
        if args.quick:
            return
        none, row = timed(pattern, args.seed, positivity=True)
        row |= {"iou": overlap(none.support, torch.from_numpy(published))}
        row |= {"correlation": compare(none.image.numpy(), with_support.image.numpy()).correlation}
        write("ESRF logo, no support, positivity", row, f"IoU {row['iou']:.2f}, correlation {row['correlation']:.3f} with the row above")
    raw, flat = scan(frames)
    for name, crystal in (("gold crystal", ut.read(gold)), ("scan 54, raw", raw), ("scan 54, flat field and mask", flat)):
        runs: list[ut.results.Reconstruction] = []
        for k in range(args.seeds if args.only in name else 0):
            solution, row = timed(crystal, args.seed + 1000 * k)
            row["correlations"] = [compare(solution.image.numpy(), r.image.numpy()).correlation for r in runs]
            runs.append(solution)
            text = ", ".join(f"{c:.3f}" for c in row["correlations"])
            write(f"{name}, seed {args.seed + 1000 * k}", row, f"correlation {text}" if text else "")


if __name__ == "__main__":
    main()
