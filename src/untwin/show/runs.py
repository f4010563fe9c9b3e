"""Figures of the runs: how they converged, how far they agree, and to which resolution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from untwin.judge.trust import SAME_ERROR
from untwin.show.style import BLUE, GREEN, GREY, RED, length_text, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from untwin.runs.solution import Reconstruction


def plot_convergence(solution: Reconstruction) -> Figure | None:
    """R-factor against iteration; the start that ends lowest is drawn on top."""
    lines = [(h, np.array(h.r_factor, float)) for h in solution.history]
    lines = [(h, r) for h, r in lines if (np.isfinite(r) & (r > 0)).any()]
    if not lines:
        return None
    from matplotlib.ticker import FuncFormatter, LogLocator

    ends = [float(r[np.isfinite(r) & (r > 0)][-1]) for _, r in lines]
    lowest = int(np.argmin(ends))
    figure = new_figure(8.5, 4.2)
    axis = figure.subplots()
    labelled = False
    for i, (h, r) in enumerate(lines):
        if i != lowest:
            axis.plot(
                h.steps,
                np.where(r > 0, r, np.nan),
                color=GREY,
                linewidth=0.9,
                alpha=0.8,
                label=None if labelled else "the others",
            )
            labelled = True
    best, r = lines[lowest]
    mark = "o" if len(best.steps) == 1 else ""
    axis.plot(
        best.steps,
        np.where(r > 0, r, np.nan),
        color=BLUE,
        linewidth=2,
        marker=mark,
        label=f"{best.label} (lowest at the end)",
    )
    axis.set(yscale="log", xlabel="iteration", ylabel="R-factor")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    axis.set_title(f"R-factor at the end: {min(ends):.4f}" + (f" to {max(ends):.4f}" if len(ends) > 1 else ""))
    return figure


def plot_starts(solution: Reconstruction) -> Figure | None:
    """Every start, best first: its score, and how far its result is from the solution after alignment."""
    ranked = [s for s in solution.starts if not s.reason]
    by_score = all(math.isfinite(s.score) for s in ranked)
    ranked = [s for s in ranked if math.isfinite(s.score if by_score else s.r_factor)]
    if not ranked:
        return None
    from matplotlib.ticker import MaxNLocator

    ranked.sort(key=lambda s: s.score if by_score else s.r_factor)
    value = np.array([s.score if by_score else s.r_factor for s in ranked])
    error = np.array([s.error for s in ranked])
    twin = np.array([s.twin for s in ranked])
    agree = error < SAME_ERROR
    figure = new_figure(8.5, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for panel, y in [(upper, value), (lower, error)]:
        _mark_starts(panel, y, agree, twin)
    upper.set(ylabel="score (lower is better)" if by_score else "R-factor")
    if len(value) > 1 and value.min() > 0 and value.max() > 30 * value.min():
        upper.set_yscale("log")
    lower.axhline(SAME_ERROR, color="black", linestyle=":", linewidth=1)
    lower.set(
        xlabel="starts, best first",
        ylabel="error to the solution",
        ylim=(-0.05, max(0.3, 1.12 * np.nanmax(np.append(error, 0)))),
    )
    lower.set(xlim=(0.4, len(ranked) + 0.6))
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    handles, labels = upper.get_legend_handles_labels()
    used = [i for i, any_mark in enumerate([agree.any(), (~agree).any(), twin.any()]) if any_mark]
    figure.legend([handles[i] for i in used], [labels[i] for i in used], loc="outside lower center", ncols=3, frameon=False)
    title = f"{agree.sum()} of {len(solution.starts)} starts agree"
    title += f", {twin.sum()} came out as the twin" if twin.any() else ""
    title += f", {len(solution.starts) - len(ranked)} failed" if len(ranked) < len(solution.starts) else ""
    title += f"; first mode {100 * solution.mode_weights[0]:.3g} %" if solution.mode_weights else ""
    figure.suptitle(title)
    return figure


def _mark_starts(panel: Axes, y: np.ndarray, agree: np.ndarray, twin: np.ndarray) -> None:
    """One mark per start, best first: agreeing, not agreeing, and a ring around those that came out as the twin."""
    rank = np.arange(1, len(y) + 1)
    agrees = f"agrees with the solution (error < {SAME_ERROR:g})"
    panel.plot(rank[agree], y[agree], "o", color=GREEN, markersize=7, linestyle="none", label=agrees)
    panel.plot(rank[~agree], y[~agree], "X", color=RED, markersize=8, linestyle="none", label="does not agree")
    ring = "came out as the twin, turned back"
    panel.plot(rank[twin], y[twin], "o", color="none", markeredgecolor="black", markersize=13, label=ring)
    panel.grid(alpha=0.3)


def plot_resolution(solution: Reconstruction) -> Figure | None:
    """PRTF and FSC against spatial frequency, with their levels and crossings."""
    curves = [("PRTF", solution.prtf, BLUE, "-"), ("FSC", solution.fsc, RED, "--")]
    curves = [(name, c, colour, dash) for name, c, colour, dash in curves if c is not None and len(c.frequency)]
    if not curves:
        return None
    figure = new_figure(8.5, 4.6)
    axis = figure.subplots()
    voxel = solution.pattern.voxel_size
    size = max(voxel) if voxel else None  # the coarsest axis, as in the verdict
    top = max(0.5, *(max(c.frequency) for _, c, _, _ in curves))
    crossings = []
    levels: dict[float, list[str]] = {}
    for name, c, colour, dash in curves:
        axis.plot(c.frequency, c.value, color=colour, linestyle=dash, linewidth=2, label=name)
        levels.setdefault(round(c.level, 4), []).append(name)
        if c.crossing is not None:
            axis.plot([c.crossing], [c.level], "o", color=colour, markersize=9, zorder=5)
            axis.vlines(c.crossing, 0, c.level, color=colour, linestyle=":", linewidth=1.2)
            crossings.append(f"{name}: {c.pixels:.3g} pixels" + (f" = {length_text(size * c.pixels)}" if size else ""))
        else:
            crossings.append(f"{name}: above its level up to the detector's edge")
    if solution.prtf is not None:
        for common in (round(math.exp(-1), 4), 0.5):
            levels.setdefault(common, [])
    for level, names in levels.items():
        text = "1/e" if abs(level - math.exp(-1)) < 1e-3 else f"{level:g}"
        axis.axhline(level, color="black", linewidth=0.8, linestyle="-" if names else ":", alpha=0.6)
        axis.annotate(
            text + (f" ({', '.join(names)})" if names else ""),
            (0.006, level),
            xycoords=("axes fraction", "data"),
            va="bottom",
            fontsize=8.5,
        )
    axis.set(xlim=(0, top), ylim=(min(0.0, *(np.nanmin(c.value) for _, c, _, _ in curves)), 1.05))
    axis.set(xlabel="spatial frequency (cycles per object pixel)", ylabel="PRTF, FSC")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, loc="upper right")
    upper = axis.secondary_xaxis("top")
    lengths = _period_ticks(size * 1e9 if size else 1.0, top)
    upper.set_ticks([(size * 1e9 if size else 1.0) / p for p in lengths], labels=[f"{p:g}" for p in lengths])
    upper.set_xlabel(f"full period ({'nm' if size else 'object pixels'})")
    figure.suptitle("resolution (full period)  " + "; ".join(crossings))
    return figure


def _period_ticks(pixel: float, top: float) -> list[float]:
    """Round full periods, finest first, whose ticks stay apart on an axis from 0 to `top` cycles per pixel."""
    periods: list[float] = []
    for exponent in range(-3, 8):
        for digit in (1, 1.5, 2, 2.5, 3, 4, 5, 7):
            period = digit * 10.0**exponent
            f = pixel / period
            if 0.04 * top < f <= top and (not periods or pixel / periods[-1] - f > 0.07 * top):
                periods.append(period)
    return periods
