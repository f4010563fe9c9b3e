"""The picture of the first page: two measured patterns, what untwin makes of them, and its verdicts.

    UNTWIN_DATA=path/to/data python benchmarks/front_page.py --json benchmarks/results/front_page.json

The gold crystal (real/gold_34idc_3dcdinn_64.npz) with default options, the ESRF logo (real/esrf_logo_id10_512.npz) with positivity, which
`untwin inspect` advises. The files are not part of untwin; the picture is drawn from the results. It goes to docs/measured.png.
--results FOLDER keeps the results, and draws from those that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import untwin as ut
from untwin.bragg.strain import ISOSURFACE, level
from untwin.show.object import upper_limit
from untwin.show.pattern import intensity_style
from untwin.show.style import new_figure, phase_limit, phase_style, without_mean_phase
from untwin.show.surface import steps_of, surface_of, viewed

PICTURE = Path(__file__).parents[1] / "docs" / "measured.png"
MARKS = {True: ("✔ TRUST", "#00664a"), None: ("? CANNOT SAY", "#8a5a00"), False: ("✘ DO NOT TRUST", "#a33c00")}


def paint_crystal(axis: Any, solution: Any) -> None:
    """The surface at half of the bulk's magnitude, coloured by phase, from one side."""
    from matplotlib.collections import PolyCollection

    support = solution.support.numpy()
    image = without_mean_phase(solution.image.numpy(), support)
    steps, _, upright = steps_of(solution)
    surface = surface_of(image, ISOSURFACE * level(image, support), steps)
    assert surface is not None
    limit = phase_limit(image, support & (np.abs(image) >= surface.level))
    style = phase_style(limit)
    colours = style["cmap"]((surface.phase + limit) / (2 * limit))[:, :3]
    normal = viewed(surface.normals, 25.0, upright)
    normal *= np.where(normal[:, 2:] > 0, -1, 1)
    shade = 0.5 + 0.5 * np.clip(normal @ np.array([-0.3, -0.4, -0.87]), 0, 1)
    triangles = viewed(surface.points, 25.0, upright)[surface.faces]
    order = np.argsort(-triangles[..., 2].mean(1))
    skin = PolyCollection(triangles[order, :, :2], facecolors=(colours * shade[:, None])[order], edgecolors="face", linewidths=0.3)  # pyright: ignore[reportArgumentType]
    axis.add_collection(skin)
    low, high = triangles[..., :2].min((0, 1)), triangles[..., :2].max((0, 1))
    (x, y), half = (low + high) / 2, 0.56 * float((high - low).max())
    axis.set(xlim=(x - half, x + half), ylim=(y + half, y - half), aspect="equal")
    axis.set_axis_off()
    axis.set_title("its surface, coloured by phase", fontsize=10)


def paint_picture(axis: Any, solution: Any) -> None:
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    inside = tuple(slice(max(int(w.min()) - 6, 0), int(w.max()) + 7) for w in np.nonzero(support))
    axis.imshow(magnitude[inside], cmap="gray", vmin=0, vmax=upper_limit(magnitude), interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_title("the object", fontsize=10)


def paint_pattern(axis: Any, pattern: ut.Pattern) -> None:
    intensity, measured = np.fft.fftshift(pattern.intensity), np.fft.fftshift(pattern.measured)
    if intensity.ndim == 3:
        intensity, measured = intensity[intensity.shape[0] // 2], measured[intensity.shape[0] // 2]
    axis.imshow(np.ma.masked_array(intensity, ~measured), **intensity_style(intensity, measured))
    axis.set(xticks=[], yticks=[])
    axis.set_title("measured intensity", fontsize=10)


def draw(results: list[tuple[str, Any]], path: Path) -> None:
    figure = new_figure(12.0, 3.7, 100)
    parts = figure.subfigures(1, 2, wspace=0.04)
    for part, (name, solution) in zip(parts, results):
        axes = part.subplots(1, 2)
        paint_pattern(axes[0], solution.pattern)
        (paint_crystal if solution.image.ndim == 3 else paint_picture)(axes[1], solution)
        text, colour = MARKS[solution.verdict.trusted]
        part.suptitle(name, fontsize=12)
        reason = f"R = {solution.numbers['r_factor']:.3f}, E between two families {solution.numbers['agreement']:.3f}"
        if solution.verdict.trusted is None and "misfit" in solution.numbers:
            reason += f", misfit {solution.numbers['misfit']:.1f} times the noise"
        part.supxlabel(f"{text}\n", fontsize=13, color=colour, fontweight="bold")
        part.text(0.5, 0.015, reason, ha="center", fontsize=10)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="the logo alone, drawn twice")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    real = Path(os.environ.get("UNTWIN_DATA", "")) / "real"
    cases = [("ESRF logo, 512 x 512, behind a beamstop", "esrf_logo_id10_512.npz", {"positivity": True})] * (2 if args.quick else 1)
    if not args.quick:
        cases.append(("gold crystal, 64 x 64 x 64, Bragg peak", "gold_34idc_3dcdinn_64.npz", {}))
    if not all((real / file).exists() for _, file, _ in cases):
        sys.exit(f"no {', '.join(file for _, file, _ in cases)} in {real}; set UNTWIN_DATA to the folder that holds real/")
    warnings.simplefilter("ignore")
    results, rows = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.results or Path(temporary)
        for name, file, options in cases:
            stored = folder / Path(file).stem
            if not stored.exists():
                ut.reconstruct(ut.read(real / file), seed=args.seed, **options).save(stored)
            results.append((name, solution := ut.load(stored)))
            numbers = {
                k: solution.numbers.get(k) for k in ("r_factor", "agreement", "misfit", "chi_square_amplitude", "seconds", "cpu_seconds")
            }
            rows.append({"name": name, "verdict": solution.verdict.text, "trusted": solution.verdict.trusted, **numbers})
            print(rows[-1], flush=True)
    draw(results, PICTURE)
    if args.json:
        args.json.write_text(json.dumps({"script": "front_page", "seed": args.seed, "untwin": ut.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
