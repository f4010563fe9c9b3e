"""Figures of the pattern: what was measured, and what the object would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.show.style import (
    UNMEASURED,
    Plane,
    axis_names,
    bar_axes,
    colour_map,
    count_text,
    logarithmic_bar,
    new_figure,
    planes_through,
    round_length,
    with_bad,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from untwin.data.measurement import Pattern
    from untwin.model.physics import Physics
    from untwin.runs.solution import Reconstruction


def plot_pattern(pattern: Pattern) -> Figure:
    """The intensity, log scale, zero frequency in the middle: all of it in 2D, three planes through zero in 3D."""
    planes = planes_through(pattern.shape, tuple(n // 2 for n in pattern.shape), reciprocal=True)
    figure = new_figure(6.2 if pattern.ndim == 2 else 11.0, 5.0 if pattern.ndim == 2 else 4.0)
    axes = np.atleast_1d(figure.subplots(1, len(planes)))
    intensity, measured = np.fft.fftshift(pattern.intensity), np.fft.fftshift(pattern.measured)
    style = intensity_style(intensity, measured)
    picture = None
    for axis, plane in zip(axes, planes):
        picture = axis.imshow(np.ma.masked_array(intensity[plane.index], ~measured[plane.index]), **style)
        _frequency_axes(axis, plane, pattern.shape)
        axis.set_title(plane.title if pattern.ndim == 3 else "intensity")
    assert picture is not None  # there is a plane at least
    unit = "photons" if pattern.counted else "in all, no counts of photons"
    logarithmic_bar(figure, picture, ax=list(axes), label="photons per pixel" if pattern.counted else "intensity", shrink=0.9)
    figure.suptitle(f"{count_text(pattern.photons)} {unit}" + _unmeasured_legend(figure, measured))
    return figure


def plot_intensity(solution: Reconstruction) -> Figure | None:
    """Measured and calculated intensity on one log scale, and the difference of their square roots; None where the physics is not known or
    there are exposures (show.exposures)."""
    if solution.physics is None or solution.pattern.optics is not None:
        return None
    pattern = solution.pattern
    intensity, measured = np.fft.fftshift(pattern.intensity), np.fft.fftshift(pattern.measured)
    calculated = _calculated(solution.physics, solution)
    planes = planes_through(pattern.shape, tuple(n // 2 for n in pattern.shape), reciprocal=True)
    flat = pattern.ndim == 2
    figure = new_figure(12.0, 4.0) if flat else new_figure(11.0, 10.0)
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.06}).reshape(3, 1) if flat else figure.subplots(3, 3)
    style = intensity_style(intensity, measured)
    residuals = [
        np.ma.masked_array(np.sqrt(calculated[p.index]) - np.sqrt(np.maximum(intensity[p.index], 0)), ~measured[p.index]) for p in planes
    ]
    sizes = np.concatenate([np.abs(r.compressed()) for r in residuals] + [np.zeros(1)])
    limit = max(1.0, float(np.percentile(sizes, 99.5)))
    colours = with_bad(colour_map("CET_D1A"), UNMEASURED)
    difference: dict[str, Any] = {"cmap": colours, "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    pictures: list[Any] = [None] * 3
    for column, (plane, residual) in enumerate(zip(planes, residuals)):
        suffix = "" if flat else f", {plane.title}"
        pictures[0] = axes[0, column].imshow(np.ma.masked_array(intensity[plane.index], ~measured[plane.index]), **style)
        pictures[1] = axes[1, column].imshow(calculated[plane.index], **style)
        pictures[2] = axes[2, column].imshow(residual, **difference)
        for row, title in enumerate(["measured", "calculated", "residual"]):
            axes[row, column].set_title(title + suffix)
            _frequency_axes(axes[row, column], plane, pattern.shape)
    counted = solution.pattern.counted
    unit, noise = ("photons", "\n(counting noise: σ = 0.5)") if counted else ("intensity", "")
    for row, label in enumerate([unit, unit, f"√calculated − √measured{noise}"]):
        room: dict[str, Any] = {"cax": bar_axes(axes[row, 0])} if flat else {"ax": list(axes[row]), "shrink": 0.85}
        if row == 2:
            figure.colorbar(pictures[row], label=label, extend="both", **room)
        else:
            logarithmic_bar(figure, pictures[row], label=label, **room)
    r = solution.numbers.get("r_factor")
    head = "calculated intensity is |F object|²" if r is None else f"R-factor {r:.4f}"
    figure.suptitle(head + _unmeasured_legend(figure, measured))
    return figure


def _calculated(physics: Physics, solution: Reconstruction) -> np.ndarray:
    """Intensity of the solution's object, zero frequency at N//2."""
    from untwin import fourier

    d = solution.image.ndim
    own = physics.on(solution.pattern)
    return fourier.centred(own(fourier.cornered(solution.image, d).unsqueeze(0))[0], d).numpy()


def intensity_style(intensity: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    counts = intensity[measured & (intensity > 0)]
    top = float(counts.max()) if counts.size else 1.0
    bottom = max(float(counts.min()) if counts.size else 0.1, 1e-7 * top)
    norm = LogNorm(0.7 * bottom, 1.0001 * top, clip=True)  # empty pixels take the lowest colour, one photon is seen
    return {"cmap": with_bad(colormaps["inferno"], UNMEASURED), "norm": norm, "interpolation": "nearest"}


def _unmeasured_legend(figure: Figure, measured: np.ndarray) -> str:
    if measured.all():
        return ""
    from matplotlib.patches import Patch

    figure.legend(handles=[Patch(color=UNMEASURED, label="not measured")], loc="outside lower center", frameon=False)
    return f"; {100 * (1 - measured.mean()):.2g} % not measured"


def _frequency_axes(axis: Axes, plane: Plane, shape: tuple[int, ...]) -> None:
    """Ticks count detector pixels from the zero frequency."""
    from matplotlib.ticker import FuncFormatter

    axis.set_aspect("equal" if max(shape) <= 1.6 * min(shape) or len(shape) == 2 else "auto")
    for side, a in [(axis.yaxis, plane.rows), (axis.xaxis, plane.columns)]:
        n = shape[a]
        offset = n // 2
        step = round_length(n / 4.5)
        side.set_ticks([offset + k * step for k in range(-4, 5) if 0 <= offset + k * step <= n - 1])
        side.set_major_formatter(FuncFormatter(lambda value, _, o=offset: f"{value - o:g}".replace("-", "−")))
    names = axis_names(len(shape))
    axis.set_xlabel(f"q{names[plane.columns]} (pixels)", labelpad=1)
    axis.set_ylabel(f"q{names[plane.rows]} (pixels)", labelpad=0)
