"""Figures of the object: magnitude and phase, its histogram, its profiles, and two objects side by side."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.bragg.strain import ISOSURFACE, level
from untwin.show.orientation import AS_STORED, Orientation, twin_of
from untwin.show.style import (
    BLUE,
    OUTSIDE,
    RED,
    Plane,
    axis_names,
    bar_axes,
    cell_name,
    centre_pixel,
    count_text,
    domain_colours,
    frame_axes,
    masked_phase,
    new_figure,
    phase_bar,
    phase_limit,
    phase_style,
    phase_wheel,
    pixel_scale,
    planes_through,
    round_length,
    upper_limit,
    window_around,
    without_mean_phase,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from untwin.runs.solution import Reconstruction

LOOSE = 1 / 3  # share of the support below the surface's level, from which it is said; no sign of a wrong result (benchmarks/hints.py)


def plot_object(solution: Reconstruction, shown: Orientation = AS_STORED) -> Figure:
    """Magnitude and phase around the support: in 2D also both at once, in 3D in three planes through its centre."""
    shown.require(solution)
    support = shown.applied(solution).support.numpy()
    image = without_mean_phase(shown.applied(solution).image.numpy(), support)
    if image.ndim == 1:
        return _plot_line(image, amplitude_unit(solution), shown)
    bulk = level(image, support)
    limit = phase_limit(image, support & (np.abs(image) >= ISOSURFACE * bulk))
    draw = _plot_plane if image.ndim == 2 else _plot_planes
    figure = draw(image, support, solution.pattern.voxel_size, shown.flip, limit, (bulk, amplitude_unit(solution)))
    if shown.sentence:
        figure.suptitle(fill(shown.sentence, 110), fontsize=10)
    return figure


def amplitude_unit(solution: Reconstruction) -> str:
    return "√photons" if solution.pattern.counted else "√intensity"


def _plot_plane(
    image: np.ndarray, support: np.ndarray, voxel: tuple[float, ...] | None, flip: str, limit: float, bulk: tuple[float, str]
) -> Figure:
    plane = planes_through(support.shape, (0, 0))[0]
    window = window_around(support)
    figure = new_figure(12.0, 3.9, _fine(window))
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.06})
    magnitude = np.abs(image)
    picture = axes[0].imshow(magnitude, cmap="gray", vmin=0, vmax=upper_limit(magnitude), interpolation="nearest")
    axes[0].set_title("magnitude")
    _density_bar(figure, picture, *bulk, cax=bar_axes(axes[0]))
    picture = axes[1].imshow(masked_phase(image, support), **phase_style(limit))
    axes[1].set_title("phase inside the support")
    phase_bar(figure, picture, limit, cax=bar_axes(axes[1]))
    axes[2].imshow(domain_colours(image), interpolation="nearest")
    axes[2].set_title("both: brightness and colour")
    phase_wheel(axes[2].inset_axes((1.16, 0.34, 0.3, 0.3)))
    for axis in axes:
        frame_axes(axis, plane, window, voxel, flip)
    return figure


def _fine(window: list[tuple[int, int]]) -> float:
    """Dots per inch at which a pixel of the object is two of a panel of four inches, from 120 to 300: there is something to enlarge."""
    return float(np.clip(2 * max(high - low for low, high in window) / 4, 120, 300))


def _density_bar(figure: Figure, picture: Any, bulk: float, unit: str, **room: Any) -> None:
    """The magnitude in units of the bulk's, whose own is in the label."""
    bar = figure.colorbar(picture, **room)
    if not bulk > 0:
        bar.set_label(f"magnitude ({unit})")
        return
    top = picture.norm.vmax / bulk
    step = round_length(top / 3)
    values = [k * step for k in range(int(top / step) + 1)]
    bar.set_ticks([v * bulk for v in values], labels=[f"{v:g}" for v in values])
    bar.set_label(f"relative density\n(1: the bulk, {bulk:.3g} {unit})")


def _plot_line(image: np.ndarray, unit: str, shown: Orientation) -> Figure:
    figure = new_figure(9.0, 3.6)
    axes = figure.subplots(1, 2)
    for axis, values, label in zip(axes, (np.abs(image), np.angle(image)), (f"magnitude ({unit})", "phase (rad)")):
        axis.plot(values, ".-", color=BLUE, linewidth=1)
        axis.set(xlabel="pixel", ylabel=label)
        if shown.flip:
            axis.invert_xaxis()
    return figure


def _plot_planes(
    image: np.ndarray, support: np.ndarray, voxel: tuple[float, ...] | None, flip: str, limit: float, bulk: tuple[float, str]
) -> Figure:
    window = window_around(support)
    planes = planes_through(support.shape, centre_pixel(support))
    figure, axes = _panels_to_scale(planes, window, voxel)
    magnitude = np.abs(image)
    style = {"cmap": "gray", "vmin": 0, "vmax": upper_limit(magnitude), "interpolation": "nearest"}
    upper = lower = None
    for column, plane in enumerate(planes):
        upper = axes[0, column].imshow(magnitude[plane.index], **style)
        lower = axes[1, column].imshow(masked_phase(image[plane.index], support[plane.index]), **phase_style(limit))
        axes[0, column].set_title(plane.title, fontsize=11)
        for axis in axes[:, column]:
            frame_axes(axis, plane, window, voxel, flip)
    assert upper is not None  # there are three planes
    _density_bar(figure, upper, *bulk, ax=list(axes[0]))
    phase_bar(figure, lower, limit, ax=list(axes[1]))
    return figure


def _panels_to_scale(planes: list[Plane], window: list[tuple[int, int]], voxel: tuple[float, ...] | None) -> tuple[Figure, Any]:
    """A figure of two rows of panels in which every pixel has the same size."""
    scale, _ = pixel_scale(voxel)
    size = [(high - low) * s for (low, high), s in zip(window, scale)]
    widths, height = [size[p.columns] for p in planes], max(size[p.rows] for p in planes)
    row = float(np.clip(9.0 / sum(widths) * height, 1.6, 4.5))
    figure = new_figure(11.0, 2 * row + 1.2)
    return figure, figure.subplots(2, len(planes), gridspec_kw={"width_ratios": widths})


def plot_magnitude(solution: Reconstruction) -> Figure | None:
    """Histogram of the magnitude inside the support, with the bulk's (bragg.strain.level) and the surface's."""
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    bulk = level(magnitude, support)
    if not bulk > 0:
        return None
    inside = magnitude[support] / bulk
    figure = new_figure(8.0, 4.0)
    axis = figure.subplots()
    bins = int(np.clip(np.sqrt(inside.size) * 2, 12, 100))
    axis.hist(inside, bins=bins, range=(0, float(inside.max())), color=BLUE, alpha=0.8)
    axis.axvline(1, color="black", linestyle=":", label=f"bulk: {bulk:.3g} {amplitude_unit(solution)}")
    axis.axvline(ISOSURFACE, color=RED, linestyle="--", label="surface: half of the bulk")
    axis.set(xlabel="relative density (1: the bulk)", ylabel=f"{cell_name(magnitude.ndim)} in the support", xlim=(0, None))
    axis.legend(frameon=False)
    volume = solution.pattern.geometry.voxel_volume(solution.pattern.shape)
    axis.set_title(
        f"support: {_extent_text(int(support.sum()), magnitude.ndim, volume)}; "
        f"inside the surface: {_extent_text(int((inside >= ISOSURFACE).sum()), magnitude.ndim, volume)}",
        fontsize=11,
    )
    return figure


def share_below(solution: Reconstruction) -> float:
    """Of the support, below the surface's level; 0 where there is nothing."""
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    bulk = level(magnitude, support)
    return float((magnitude[support] < ISOSURFACE * bulk).mean()) if bulk > 0 else 0.0


def loose_support(solution: Reconstruction) -> str:
    """A sentence where most of the support is dark; else nothing."""
    share = share_below(solution)
    if share <= LOOSE:
        return ""
    return f"{100 * share:.0f} % of the support lies below the surface's level: the support is loose, or the object has large faint parts."


def _extent_text(count: int, d: int, volume: float | None) -> str:
    text = f"{count} {cell_name(d)}"
    if not volume:
        return text
    size, power = count * volume, "²" if d == 2 else "³"
    nm, um = size * 1e9**d, size * 1e6**d
    return text + (f" = {count_text(nm)} nm{power}" if um < 0.1 else f" = {um:.3g} µm{power}")


def plot_profiles(solution: Reconstruction, shown: Orientation = AS_STORED) -> Figure | None:
    """Magnitude along each axis through the support's centre, with 10-90 % widths where the profile has an edge; None of exposures,
    whose object has none."""
    solution = shown.applied(solution)
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    bulk = level(magnitude, support)
    if not bulk > 0 or solution.pattern.optics is not None:
        return None
    middle, voxel, d = centre_pixel(support), solution.pattern.voxel_size, magnitude.ndim
    scale, unit = pixel_scale(voxel)
    figure = new_figure(3.6 * d + 0.6, 3.6)
    axes = np.atleast_1d(figure.subplots(1, d, sharey=True))
    window = window_around(support)
    for axis, name in enumerate(axis_names(d)):
        line = tuple(slice(None) if a == axis else middle[a] for a in range(d))
        profile, inside = magnitude[line] / bulk, support[line]
        position = (np.arange(len(profile)) - middle[axis]) * scale[axis]
        panel = axes[axis]
        for start, end in np.flatnonzero(np.diff(np.pad(inside.astype(int), 1))).reshape(-1, 2):
            panel.axvspan((start - 0.5 - middle[axis]) * scale[axis], (end - 0.5 - middle[axis]) * scale[axis], color=OUTSIDE)
        panel.plot(position, profile, color=BLUE, marker="." if window[axis][1] - window[axis][0] < 60 else "")
        low, high = window[axis]
        ends = ((low - middle[axis]) * scale[axis], (high - 1 - middle[axis]) * scale[axis])
        panel.set(xlim=ends[::-1] if name in shown.flip else ends, xlabel=f"{name} ({unit})")
        panel.set_title(_edges_text(edge_widths(profile), scale[axis], unit), fontsize=10)
    axes[0].set(ylabel="relative density (1: the bulk)", ylim=(0, 1.08 * upper_limit(magnitude) / bulk))
    pixel = "object pixel " + " × ".join(f"{s:.3g}" for s in scale) + " nm; " if voxel else ""
    figure.suptitle(f"{pixel}edges: from 10 to 90 % of the plateau", fontsize=11)
    return figure


def _edges_text(widths: tuple[float | None, float | None], scale: float, unit: str) -> str:
    if widths == (None, None):
        return "no clean edge"
    return "edges " + " and ".join("–" if w is None else f"{w * scale:.2g}" for w in widths) + f" {unit}"


def edge_widths(profile: np.ndarray) -> tuple[float | None, float | None]:
    """Distance over which the profile rises from 10 to 90 % of its plateau at its first and its last edge, pixels,
    linear between samples. None where there is no plateau (it varies by more than 15 %) or the edge is not a step."""
    above = np.flatnonzero(profile > 0.5 * np.percentile(profile, 99)) if profile.any() else np.empty(0, int)
    if len(above) < 6 or len(above) <= 0.8 * (above[-1] - above[0] + 1):
        return None, None
    trim = max(1, len(above) // 5)
    flat = profile[above[0] + trim : above[-1] - trim + 1]
    plateau = float(np.median(flat))
    if np.std(flat) > 0.15 * plateau:
        return None, None
    last = _falling_width(profile[above[len(above) // 2] :] / plateau)
    first = _falling_width(profile[above[len(above) // 2] :: -1] / plateau)
    return first, last


def _falling_width(outwards: np.ndarray) -> float | None:
    half = int(np.argmax(outwards < 0.5))
    if not outwards[half] < 0.5:
        return None
    start = half
    while start > 0 and outwards[start] < 0.9:
        start -= 1
    end = half
    while end < len(outwards) - 1 and outwards[end] > 0.1:
        end += 1
    step = outwards[start : end + 1]
    if step[0] < 0.9 or step[-1] > 0.1 or (np.diff(step) > 0).any():
        return None
    at = np.interp([-0.9, -0.1], -step, np.arange(len(step)))
    return float(at[1] - at[0])


def compare_figure(
    a: np.ndarray,
    b: np.ndarray,
    voxel_size: tuple[float, ...] | None = None,
    names: tuple[str, str] = ("A", "B"),
    shown: Orientation = AS_STORED,
) -> Figure:
    """Two aligned complex objects (centred, 2D or 3D) side by side on the same colours, and what is left between them.
    In 3D the plane through the middle that is normal to axis 0."""
    shown.require_axes(a.ndim)
    if shown.twin:
        a, b = twin_of(a), twin_of(b)
    size = np.maximum(np.abs(a), np.abs(b))
    body = size > 0.1 * upper_limit(size)
    plane = planes_through(a.shape, centre_pixel(body))[0]
    turn = np.exp(-1j * np.angle(a.sum() + b.sum()))
    both = [(x * turn)[plane.index] for x in (a, b)]
    limit = max(phase_limit(x, body[plane.index]) for x in both)
    gap_limit = phase_limit(both[0] * both[1].conj(), body[plane.index])
    figure, axes = _panels_to_scale([plane] * 3, window_around(body), voxel_size)
    top = upper_limit(size)
    upper = lower = None
    for column, (x, name) in enumerate(zip(both, names)):
        upper = axes[0, column].imshow(np.abs(x), cmap="gray", vmin=0, vmax=top, interpolation="nearest")
        lower = axes[1, column].imshow(masked_phase(x, body[plane.index]), **phase_style(limit))
        axes[0, column].set_title(f"magnitude, {name}")
        axes[1, column].set_title(f"phase, {name}")
    gap = np.abs(both[0] - both[1])
    from matplotlib import colormaps

    difference = axes[0, 2].imshow(gap, cmap=colormaps["inferno"], vmin=0, vmax=upper_limit(gap), interpolation="nearest")
    relative = float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30))
    axes[0, 2].set_title(f"|{names[0]} − {names[1]}|, {100 * relative:.3g} % of {names[0]}")
    change = axes[1, 2].imshow(masked_phase(both[0] * both[1].conj(), body[plane.index]), **phase_style(gap_limit))
    axes[1, 2].set_title("phase difference")
    for axis in axes.flat:
        frame_axes(axis, plane, window_around(body), voxel_size, shown.flip)
    assert upper is not None  # there are two objects
    figure.colorbar(upper, cax=bar_axes(axes[0, 1]))
    figure.colorbar(difference, cax=bar_axes(axes[0, 2]))
    phase_bar(figure, lower, limit, cax=bar_axes(axes[1, 1]))
    phase_bar(figure, change, gap_limit, cax=bar_axes(axes[1, 2]))
    title = "; ".join(filter(None, [plane.title, shown.sentence]))
    if title:
        figure.suptitle(fill(title, 110), fontsize=10)
    return figure
