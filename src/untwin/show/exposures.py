"""Figures of several exposures of one object: what was measured, and what the object would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.show.pattern import intensity_style
from untwin.show.style import UNMEASURED, colour_map, count_text, logarithmic_bar, new_figure, with_bad

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from untwin.data.measurement import Pattern
    from untwin.runs.solution import Reconstruction

SHOWN = 4  # exposures, at most


def plot_exposures(pattern: Pattern) -> Figure:
    """The first exposures on one scale; numbers without two axes as points."""
    values, measured = frames(pattern, pattern.intensity), frames(pattern, pattern.measured)
    if values.ndim == 1:
        return _plot_numbers(values, measured, None)
    figure = new_figure(3.2 * len(values) + 1.2, 3.6)
    axes = np.atleast_1d(figure.subplots(1, len(values)))
    style, picture = _style(pattern, values, measured), None
    for k, axis in enumerate(axes):
        picture = axis.imshow(np.ma.masked_array(values[k], ~measured[k]), **style)
        axis.set_title(f"exposure {k + 1} of {len(pattern.intensity)}")
        axis.set_axis_off()
    assert picture is not None  # there is an exposure at least
    _bar(figure, picture, ax=list(axes), label=_unit(pattern), shrink=0.9)
    figure.suptitle(f"{count_text(pattern.photons)} {'photons' if pattern.counted else 'in all, no counts of photons'}")
    return figure


def plot_fitted_exposures(solution: Reconstruction) -> Figure | None:
    """Measured, calculated and the difference of their square roots; None where the physics is not known, and for one far field."""
    if solution.physics is None or solution.pattern.optics is None:
        return None
    pattern = solution.pattern
    waves = solution.physics.on(pattern)
    image = solution.image.unsqueeze(0)
    calculated = frames(pattern, waves(image)[0].numpy())
    values, measured = frames(pattern, pattern.intensity), frames(pattern, pattern.measured)
    if values.ndim == 1:
        return _plot_numbers(values, measured, calculated)
    residual = np.ma.masked_array(np.sqrt(np.maximum(calculated, 0)) - np.sqrt(np.maximum(values, 0)), ~measured)
    limit = max(1.0, float(np.percentile(np.abs(residual.compressed()), 99.5)))
    style = _style(pattern, values, measured)
    difference: dict[str, Any] = {"cmap": with_bad(colour_map("CET_D1A"), UNMEASURED), "vmin": -limit, "vmax": limit}
    rows = ((np.ma.masked_array(values, ~measured), style), (calculated, style), (residual, difference))
    figure = new_figure(3.0 * len(values) + 2.0, 9.0)
    axes = figure.subplots(3, len(values), squeeze=False)
    noise = "\n(counting noise: σ = 0.5)" if pattern.counted else ""
    labels = (_unit(pattern), _unit(pattern), f"√calculated − √measured{noise}")
    for row, ((pictures, kind), title, label) in enumerate(zip(rows, ("measured", "calculated", "residual"), labels)):
        for k, axis in enumerate(axes[row]):
            picture = axis.imshow(pictures[k], **kind)
            axis.set_title(f"{title}, exposure {k + 1}")
            axis.set_axis_off()
        _bar(figure, picture, ax=list(axes[row]), label=label, shrink=0.85, extend="both" if row == 2 else "neither")
    r = solution.numbers.get("r_factor")
    figure.suptitle("calculated intensity is |W object|²" if r is None else f"R-factor {r:.4f}")
    return figure


def frames(pattern: Pattern, values: np.ndarray) -> np.ndarray:
    """(exposures, rows, columns), the first ones, for people; of 3D exposures the middle plane; (numbers,) where there are no two axes."""
    values = pattern.centred(values)
    if values.ndim < 3:
        return values.ravel()
    return values[:SHOWN] if values.ndim == 3 else values[:SHOWN, values.shape[1] // 2]


def _style(pattern: Pattern, values: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    """Far fields on a logarithmic scale, near fields on a straight one."""
    if pattern.optics is not None and pattern.optics.masks is None:
        low, high = np.percentile(values[measured], (0.2, 99.8))
        return {"cmap": with_bad(colour_map("CET_L1"), UNMEASURED), "vmin": low, "vmax": high}
    return intensity_style(values, measured)


def _bar(figure: Figure, picture: Any, **room: Any) -> None:
    from matplotlib.colors import LogNorm

    if isinstance(picture.norm, LogNorm):
        logarithmic_bar(figure, picture, **room)
    else:
        figure.colorbar(picture, **room)


def _unit(pattern: Pattern) -> str:
    return "photons per pixel" if pattern.counted else "intensity"


def _plot_numbers(values: np.ndarray, measured: np.ndarray, calculated: np.ndarray | None) -> Figure:
    figure = new_figure(6.0, 4.0)
    axis = figure.subplots()
    if calculated is None:
        axis.plot(np.flatnonzero(measured), np.sqrt(values[measured]), ".", markersize=3)
        axis.set(xlabel="measurement", ylabel="√intensity")
        return figure
    axis.plot(np.sqrt(values[measured]), np.sqrt(calculated[measured]), ".", markersize=3)
    top = float(np.sqrt(values[measured].max()))
    axis.plot([0, top], [0, top], color="0.6", linewidth=1, zorder=0)
    axis.set(xlabel="√measured", ylabel="√calculated", aspect="equal")
    return figure
