"""The figure of the paper, from simulated crystals and the public interface alone. Three minutes of processor time.

    python paper/figures.py [--count 3] [--output paper/untwin.png]

Upper row: a crystal with vortices behind a beamstop, what the automatic plan makes of its pattern, and the truth. Lower row, for 64 x 64
pixels: of the single starts of all runs with 1e6 photons the R-factor and the error; of all runs the difference of independent families
and the error. Errors are E of docs/benchmarks.md, to the truth, after shift, twin and global phase. What is drawn is printed, too.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import colorcet
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import untwin as ut
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

SHAPE = (64, 64)
KINDS = {"poly": "polygon", "defect": "vortices", "complex": "texture"}
PHOTONS = (1e4, 3e4, 1e5, 1e6)
MARKS = {True: ("o", "#0072b2", "TRUST"), None: ("s", "#e69f00", "CANNOT SAY"), False: ("x", "#d55e00", "DO NOT TRUST")}


@dataclass(frozen=True, eq=False)
class Run:
    """One simulated object, its result and the error of the result."""

    kind: str
    photons: float
    pattern: Any
    truth: np.ndarray
    solution: Any
    error: float


def run(kind: str, photons: float, seed: int, stop: float = 0.0) -> Run:
    rng = np.random.default_rng(seed)
    pattern, truth = measure(CLASSES[kind](SHAPE, rng), photons, rng, stop)
    solution = ut.reconstruct(pattern, seed=seed)
    return Run(kind, photons, pattern, truth, solution, ut.compare(solution.image.numpy(), truth).error_with_ramp)


def crystal(axes: np.ndarray, shown: Run) -> None:
    """Pattern, magnitude, phase, true phase."""
    truth, image = shown.truth, ut.compare(shown.solution.image.numpy(), shown.truth).aligned
    counts = np.ma.masked_where(~np.fft.fftshift(shown.pattern.measured), np.fft.fftshift(shown.pattern.intensity))
    axes[0].imshow(np.log10(1 + counts), cmap="gray", interpolation="nearest")
    axes[0].set_title(f"pattern, {shown.photons:.0e} photons")
    inside = np.abs(truth) > 0.1 * np.abs(truth).max()
    rows, columns = (np.flatnonzero(inside.any(a)) for a in (1, 0))
    window = slice(rows[0] - 3, rows[-1] + 4), slice(columns[0] - 3, columns[-1] + 4)
    axes[1].imshow(np.abs(image)[window], cmap="gray", interpolation="nearest")
    axes[1].set_title("magnitude")
    for axis, values, name in ((axes[2], image, "phase"), (axes[3], truth, "true phase")):
        phase = np.where(inside, np.angle(values * np.exp(-1j * np.angle((values * inside).sum()))), np.nan)
        axis.imshow(phase[window], cmap=colorcet.cm.CET_C6, vmin=-np.pi, vmax=np.pi, interpolation="nearest")
        axis.set_title(name)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])


def single_starts(axis: plt.Axes, runs: list[Run]) -> None:
    """Of runs whose result is right the starts it was chosen from: their error to it is that to the truth but for its own."""
    right = [r.solution for r in runs if r.photons == PHOTONS[-1] and r.error < 0.1]
    starts = [s for solution in right for s in solution.starts if s.role == "start" and not s.reason]
    axis.semilogy([s.r_factor for s in starts], [max(s.error, 1e-3) for s in starts], "k.", alpha=0.5)
    axis.axhline(0.1, color="gray", linewidth=0.8)
    axis.set(xlabel="R-factor of a single start", ylabel="error", title=f"{len(starts)} single starts")
    low = sorted(s.r_factor for s in starts)[: len(starts) // 2]
    half = [s for s in starts if s.r_factor <= low[-1]]
    wrong = sum(s.error >= 0.1 for s in half)
    print(f"single starts: {len(starts)}; of the half with the lowest R-factors {wrong} of {len(half)} are wrong")


def verdicts(axis: plt.Axes, runs: list[Run]) -> None:
    for trusted, (mark, colour, name) in MARKS.items():
        those = [r for r in runs if r.solution.verdict.trusted is trusted]
        agreement = [max(r.solution.numbers.get("agreement", np.nan), 1e-3) for r in those]
        axis.loglog(agreement, [r.error for r in those], mark, color=colour, markersize=4, label=name)
        right = sum(r.error < 0.1 for r in those)
        worst = max((r.error for r in those), default=np.nan)
        print(f"{name}: {len(those)} runs, {right} right (error below 0.1), worst error {worst:.3f}")
    axis.axhline(0.1, color="gray", linewidth=0.8)
    title = f"{len(runs)} runs, {PHOTONS[0]:.0e} to {PHOTONS[-1]:.0e} photons"
    axis.set(xlabel="difference of independent families", ylabel="error", title=title)
    axis.legend(fontsize="small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3, help="objects of each class for each number of photons")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("untwin.png"))
    args = parser.parse_args()
    shown = run("defect", 1e6, 22000, stop=2.0)
    print(f"upper row: error {shown.error:.3f}; {shown.solution.verdict.text}")
    runs = [run(kind, photons, 22001 + k) for kind in KINDS for photons in PHOTONS for k in range(args.count)]
    figure = plt.figure(figsize=(8, 5.2), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.3))
    crystal(upper.subplots(1, 4), shown)
    left, right = lower.subplots(1, 2)
    single_starts(left, runs)
    verdicts(right, runs)
    figure.savefig(args.output, dpi=200)
    print(f"{args.output}")


if __name__ == "__main__":
    main()
