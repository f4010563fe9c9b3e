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

    from untwin.runs.solution import History, Reconstruction, Start


STAGES = {  # a class of stage -> what it has left
    "Search": "starts",
    "Reserve": "more\nfamilies",
    "Guide": "guided",
    "Contain": "contained",
    "Finish": "finished",
    "Average": "mean",
    "Refine": "refined",
    "CountValues": "counted",
    "Coherence": "coherent",
    "Strays": "no strays",
}


def plot_convergence(solution: Reconstruction) -> Figure | None:
    """R-factor against iteration of the starts, the one that ends lowest on top; and, where it is known, of the best of every family after
    each stage of the plan, and of the object that is shown."""
    lines = [(h, np.array(h.r_factor, float)) for h in solution.history]
    lines = [(h, r) for h, r in lines if (np.isfinite(r) & (r > 0)).any()]
    final = solution.numbers.get("r_factor", math.nan)
    stages = [(end.stage, np.array(end.r_factor, float)) for end in solution.course]
    stages = [(name, r[np.isfinite(r) & (r > 0)]) for name, r in stages]
    stages = [(name, r) for name, r in stages if len(r)]
    stages = [
        s for s, before in zip(stages, [("", np.zeros(0)), *stages]) if not np.array_equal(s[1], before[1])
    ]  # the others changed nothing
    if not lines and not stages:
        return None
    panels = [_draw_starts] * bool(lines) + [_draw_stages] * bool(stages)
    figure = new_figure(11.0 if len(panels) == 2 else 8.5, 4.2)
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for axis, draw in zip(axes, panels):
        if draw is _draw_starts:
            _draw_starts(axis, lines)
        else:
            _draw_stages(axis, stages, final)
        _scaled_by_octaves(axis)
    axes[0].set(ylabel="R-factor")
    if math.isfinite(final):
        figure.suptitle(f"R-factor of the object that is shown: {final:.4f}", fontsize=12)
    return figure


def _draw_starts(axis: Axes, lines: list[tuple[History, np.ndarray]]) -> None:
    ends = [float(r[np.isfinite(r) & (r > 0)][-1]) for _, r in lines]
    lowest = int(np.argmin(ends))
    others = [i for i in range(len(lines)) if i != lowest]
    for i in others:
        h, r = lines[i]
        label = "the others" if i == others[0] else None
        axis.plot(h.steps, np.where(r > 0, r, np.nan), color=GREY, linewidth=0.9, label=label)
    best, r = lines[lowest]
    label = f"{best.label} (lowest at the end)"
    mark = "o" if len(best.steps) == 1 else ""
    axis.plot(best.steps, np.where(r > 0, r, np.nan), color=BLUE, linewidth=2, marker=mark, label=label)
    axis.set(xlabel="iteration")
    axis.legend(frameon=False)
    span = f"{min(ends):.4f}" + (f" to {max(ends):.4f}" if len(ends) > 1 else "")
    axis.set_title(f"the starts, at their end {span}", fontsize=11)


def _draw_stages(axis: Axes, stages: list[tuple[str, np.ndarray]], final: float) -> None:
    """Each family's best after each stage; families keep no order from stage to stage, so that only the lowest are joined by a line."""
    at = np.arange(len(stages))
    for i, (_, r) in enumerate(stages):
        axis.plot([i] * len(r), r, "o", color=GREY, markersize=6, label="best of each family" if i == 0 else None)
    axis.plot(at, [r.min() for _, r in stages], "o-", color=BLUE, linewidth=2, label="the lowest")
    names = [STAGES.get(name, name.lower()) for name, _ in stages]
    if math.isfinite(final) and final > 0:
        axis.plot([len(stages)], [final], "D", color=RED, markersize=8, label="shown")
        names.append("shown")
    axis.set_xticks(range(len(names)), names, rotation=35 if len(names) > 6 else 0)
    axis.set(xlabel="after the stage", xlim=(-0.5, len(names) - 0.5))
    axis.legend(frameon=False)
    axis.set_title("what came of them, stage by stage", fontsize=11)


def _scaled_by_octaves(axis: Axes) -> None:
    """A logarithmic scale with labels at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)


def living_starts(solution: Reconstruction) -> list[Start]:
    """The independent starts that came to something, best first."""
    ranked = [s for s in solution.starts if not s.reason]
    by_score = all(math.isfinite(s.score) for s in ranked)
    return sorted(ranked, key=lambda s: s.score if by_score else s.r_factor)


def agrees(start: Start) -> bool:
    return start.error < SAME_ERROR and not start.reason


def agreement_text(solution: Reconstruction) -> list[str]:
    """How many starts, and how many families, end at the object that is shown: the one place that counts them for the page."""
    starts, numbers = living_starts(solution), solution.numbers
    agreeing = [s for s in starts if agrees(s)]
    twins = sum(s.twin for s in agreeing)
    text = f"{len(agreeing)} of {len(starts)} single starts are like the object that is shown"
    text += f", {twins} of them as its twin" if twins else ""
    failed = sum(1 for s in solution.starts if s.reason and s.role == "start")
    text += f"; {failed} failed" if failed else ""
    families, alike = numbers.get("families", math.nan), numbers.get("families_agreeing", math.nan)
    if not (families > 1 and math.isfinite(alike)):
        return [text]
    return [text, f"after all stages {alike:.0f} of {families:.0f} families are, and the verdict rests on them"]


def plot_starts(solution: Reconstruction) -> Figure | None:
    """Every start, best first: its score, and how far its result is from the solution after alignment."""
    ranked = living_starts(solution)
    by_score = all(math.isfinite(s.score) for s in ranked)
    value = np.array([s.score if by_score else s.r_factor for s in ranked])
    if not np.isfinite(value).any():
        return None
    from matplotlib.ticker import MaxNLocator

    error = np.array([s.error for s in ranked])
    agree = np.array([agrees(s) for s in ranked])
    twin = np.array([s.twin for s in ranked]) & agree
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
        ylabel="error to the object shown",
        ylim=(-0.05, max(0.3, 1.12 * np.nanmax(np.append(error, 0)))),
    )
    lower.set(xlim=(0.4, len(ranked) + 0.6))
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    handles, labels = upper.get_legend_handles_labels()
    used = [i for i, any_mark in enumerate([agree.any(), (~agree).any(), twin.any()]) if any_mark]
    figure.legend([handles[i] for i in used], [labels[i] for i in used], loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("\n".join(agreement_text(solution)), fontsize=11)
    return figure


def _mark_starts(panel: Axes, y: np.ndarray, agree: np.ndarray, twin: np.ndarray) -> None:
    """One mark per start, best first: agreeing, not agreeing, and a ring around those that came out as the twin."""
    rank = np.arange(1, len(y) + 1)
    alike = f"like the object shown (error < {SAME_ERROR:g})"
    panel.plot(rank[agree], y[agree], "o", color=GREEN, markersize=7, linestyle="none", label=alike)
    panel.plot(rank[~agree], y[~agree], "X", color=RED, markersize=8, linestyle="none", label="another object")
    ring = "as its twin, turned back"
    panel.plot(rank[twin], y[twin], "o", color="none", markeredgecolor="black", markersize=13, label=ring)
    panel.grid(alpha=0.3)


def plot_resolution(solution: Reconstruction) -> Figure | None:
    """PRTF and FSC against spatial frequency, with their levels and crossings; None where the result is not trusted: they compare results
    with one another, and results that are wrong together are alike, too."""
    if solution.verdict.trusted is not True:
        return None
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
            crossings.append(f"{name}: above its level up to the edge of the detector")
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
    axis.legend(frameon=False, loc="best")
    upper = axis.secondary_xaxis("top")
    lengths = _period_ticks(size * 1e9 if size else 1.0, top)
    upper.set_ticks([(size * 1e9 if size else 1.0) / p for p in lengths], labels=[f"{p:g}" for p in lengths])
    upper.set_xlabel(f"full period ({'nm' if size else 'object pixels'})")
    figure.suptitle("resolution (full period)\n" + "\n".join(crossings), fontsize=11)
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
