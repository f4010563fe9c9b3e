"""Every figure of a solution, as a matplotlib Figure. matplotlib is imported only when something is drawn.

Axis 0 points down and the last axis to the right, as an array is printed. Phase: cyclic CET_C2, masked outside the
support.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data.atomic import atomic_write_bytes
from untwin.judge.trust import AGREE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from untwin.data.measurement import Pattern
    from untwin.runs.solution import Reconstruction

_BLUE, _GREEN, _RED, _GREY = "#0072B2", "#009E73", "#D55E00", "#999999"  # Okabe and Ito, 2008
_OUTSIDE = "#d9d9d9"  # no phase here
_UNMEASURED = "#8fa3a8"  # a grey that is in neither the inferno nor the residual's map
_FACES = 24_000  # matplotlib sorts and paints triangles one by one: more than this takes seconds


@dataclass(frozen=True)
class Drawing:
    """A figure of the report. draw returns None where it does not apply. caption: one sentence on how to read it.
    alt: what is in it, for someone who cannot see it."""

    draw: Callable[[Reconstruction], Figure | None]
    title: str
    caption: str
    alt: str


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as a PNG (120 dots per inch), PDF or SVG file."""
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=120 if kind == "png" else 300)
    return out.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Into a file whose ending says the kind; complete or not there. Raises InputError where it cannot be written."""
    atomic_write_bytes(path, encoded(figure, path.suffix[1:].lower()))


# ---------------------------------------------------------------------------------------------------- the object


def plot_object(solution: Reconstruction) -> Figure:
    """Magnitude and phase around the support: in 2D also both at once, in 3D in three planes through its centre."""
    image, support = _upright(solution), solution.support.numpy()
    if image.ndim == 2:
        return _object_plane(image, support, solution.pattern.voxel_size)
    return _object_planes(image, support, solution.pattern.voxel_size)


def _object_plane(image: np.ndarray, support: np.ndarray, voxel: tuple[float, ...] | None) -> Figure:
    plane = _planes(support.shape, (0, 0))[0]
    figure = _figure(12.0, 3.9)
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.06})
    magnitude = np.abs(image)
    drawn = axes[0].imshow(magnitude, cmap="gray", vmin=0, vmax=_top(magnitude), interpolation="nearest")
    axes[0].set_title("magnitude")
    figure.colorbar(drawn, cax=_beside(axes[0]), label="√photons")
    drawn = axes[1].imshow(_masked_phase(image, support), **_phase_style())
    axes[1].set_title("phase inside the support")
    _phase_bar(figure, drawn, cax=_beside(axes[1]))
    axes[2].imshow(_domain_colours(image), interpolation="nearest")
    axes[2].set_title("both: brightness and colour")
    _wheel(axes[2].inset_axes((1.14, 0.32, 0.36, 0.36)))
    for axis in axes:
        _frame(axis, plane, _window(support), voxel)
    return figure


def _object_planes(image: np.ndarray, support: np.ndarray, voxel: tuple[float, ...] | None) -> Figure:
    window = _window(support)
    planes = _planes(support.shape, _middle(support))
    figure, axes = _to_scale(planes, window, voxel)
    magnitude = np.abs(image)
    upper = lower = None
    for column, plane in enumerate(planes):
        upper = axes[0, column].imshow(magnitude[plane.index], cmap="gray", vmin=0, vmax=_top(magnitude), interpolation="nearest")
        lower = axes[1, column].imshow(_masked_phase(image[plane.index], support[plane.index]), **_phase_style())
        axes[0, column].set_title(plane.title, fontsize=11)
        for axis in axes[:, column]:
            _frame(axis, plane, window, voxel)
    assert upper is not None  # there are three planes
    figure.colorbar(upper, ax=list(axes[0]), label="magnitude (√photons)")
    _phase_bar(figure, lower, ax=list(axes[1]))
    return figure


def _to_scale(planes: list[_Plane], window: list[tuple[int, int]], voxel: tuple[float, ...] | None) -> tuple[Figure, Any]:
    """A figure of two rows of panels in which every pixel has the same size."""
    scale, _ = _unit(voxel)
    size = [(high - low) * s for (low, high), s in zip(window, scale)]
    widths, height = [size[p.columns] for p in planes], max(size[p.rows] for p in planes)
    row = float(np.clip(9.0 / sum(widths) * height, 1.6, 4.5))
    figure = _figure(11.0, 2 * row + 1.2)
    return figure, figure.subplots(2, len(planes), gridspec_kw={"width_ratios": widths})


def plot_isosurface(solution: Reconstruction) -> Figure | None:
    """The surface at half the bulk's magnitude, coloured by phase, from two opposite sides (3D only)."""
    if solution.image.ndim != 3:
        return None
    image, voxel = _upright(solution), solution.pattern.voxel_size
    surface = _surface(image, solution.support.numpy(), voxel)
    if surface is None:
        return None
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import Normalize

    figure = _figure(11.0, 5.2)
    axes = figure.subplots(1, 2)
    colours = _phase_map()((surface.phase + np.pi) / (2 * np.pi))[:, :3]
    turns, corners = (25.0, 205.0), []
    for axis, turn, title in zip(axes, turns, ["looking along z", "from the opposite side"]):
        normal = _seen(surface.normals, turn)
        normal *= np.where(normal[:, 2:] > 0, -1, 1)  # every face that shows turns its outside to the eye
        shade = 0.5 + 0.5 * np.clip(normal @ np.array([-0.3, -0.4, -0.87]), 0, 1)
        triangles = _seen(surface.points, turn)[surface.faces]
        order = np.argsort(-triangles[..., 2].mean(1))
        faces = triangles[order, :, :2]
        skin = PolyCollection(
            faces,  # pyright: ignore[reportArgumentType]
            facecolors=(colours * shade[:, None])[order],
            edgecolors="face",
            linewidths=0.3,
        )
        skin.set_rasterized(True)
        axis.add_collection(skin)
        axis.set_title(title)
        corners.append((triangles[..., :2].min((0, 1)), triangles[..., :2].max((0, 1))))
    half = 0.52 * max(float((high - low).max()) for low, high in corners)
    for axis, turn, (low, high) in zip(axes, turns, corners):
        x, y = (low + high) / 2
        axis.set(xlim=(x - half, x + half), ylim=(y + 1.4 * half, y - half), aspect="equal")
        axis.set_axis_off()
        _scale_bar(axis, 2 * half, 1.0 if voxel else None)
        _triad(axis, turn, x + 0.75 * half, y + 1.2 * half, 0.17 * half)
    _phase_bar(figure, ScalarMappable(Normalize(-np.pi, np.pi), _phase_map()), ax=list(axes))
    share = surface.level / _top(np.abs(image))
    figure.suptitle(f"surface at half the bulk's magnitude ({share:.2f} of the largest)")
    return figure


@dataclass(frozen=True, eq=False)
class _Surface:
    """points: (p, 3) x, y, z in nm or pixels. faces: (f, 3) triangles of them. normals: (f, 3), smoothed, sign unknown.
    phase: (f,) radians."""

    points: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    phase: np.ndarray
    level: float


def _surface(image: np.ndarray, support: np.ndarray, voxel: tuple[float, ...] | None) -> _Surface | None:
    """None where the support is empty."""
    from scipy.ndimage import map_coordinates
    from skimage.measure import marching_cubes

    magnitude = np.abs(image)
    level = isosurface_level(magnitude, support)
    if not level > 0:
        return None
    low, high = _box(magnitude > level)
    part = np.pad(image[tuple(slice(a, b) for a, b in zip(low, high))], 1)
    step = 1
    points, faces, _, _ = marching_cubes(np.abs(part), level)
    while len(faces) > _FACES and step < 8:
        step += 1
        points, faces, _, _ = marching_cubes(np.abs(part), level, step_size=step)
    # the phase of the complex sum of neighbours: the zeros outside the support do not turn it
    there = map_coordinates(np.real(part), points.T, order=1) + 1j * map_coordinates(np.imag(part), points.T, order=1)
    points = ((points - 1 + low) * np.array(_unit(voxel)[0]))[:, ::-1]
    corners = points[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = np.zeros_like(points)
    np.add.at(smooth, faces, flat[:, None])
    normals = smooth[faces].sum(1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return _Surface(points, faces, normals, np.angle(there[faces].sum(1)), level)


def _seen(points: np.ndarray, turn: float) -> np.ndarray:
    """(x, y, z) as (right, down, away) for an eye that looks along z, walks `turn` degrees around y and 20 up."""
    a, e = math.radians(turn), math.radians(20)
    x, y, z = points.T
    right, away = x * math.cos(a) + z * math.sin(a), z * math.cos(a) - x * math.sin(a)
    return np.stack([right, y * math.cos(e) - away * math.sin(e), y * math.sin(e) + away * math.cos(e)], 1)


def _triad(axis: Axes, turn: float, x: float, y: float, length: float) -> None:
    for name, tip in zip("xyz", _seen(np.eye(3), turn)[:, :2]):
        axis.annotate("", (x + length * tip[0], y + length * tip[1]), (x, y), arrowprops={"arrowstyle": "->", "shrinkA": 0})
        axis.text(x + 1.35 * length * tip[0], y + 1.35 * length * tip[1], name, ha="center", va="center")


def isosurface_level(magnitude: np.ndarray, support: np.ndarray) -> float:
    """Half the bulk's magnitude: where the edge of a uniform body lies after a symmetric blur. The bulk is the median
    of what exceeds half the 99th percentile in the support: no bright speck and no dim rim moves it. 0 if empty."""
    inside = magnitude[support & (magnitude > 0)]
    if inside.size == 0:
        return 0.0
    return 0.5 * float(np.median(inside[inside >= 0.5 * np.percentile(inside, 99)]))


def plot_magnitude(solution: Reconstruction) -> Figure | None:
    """Histogram of the magnitude inside the support, with the isosurface's level."""
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    level = isosurface_level(magnitude, support)
    if not level > 0:
        return None
    inside = magnitude[support]
    figure = _figure(8.0, 4.0)
    axis = figure.subplots()
    bins = int(np.clip(np.sqrt(inside.size) * 2, 12, 100))
    axis.hist(inside, bins=bins, range=(0, float(inside.max())), color=_BLUE, alpha=0.8)
    axis.axvline(level, color=_RED, linestyle="--", label=f"surface level, half the bulk: {level:.3g}")
    axis.axvline(2 * level, color="black", linestyle=":", label=f"bulk (median): {2 * level:.3g}")
    axis.set(xlabel="magnitude (√photons)", ylabel=f"{_cells(magnitude.ndim)} in the support", xlim=(0, None))
    axis.legend(frameon=False)
    voxel = solution.pattern.voxel_size
    axis.set_title(
        f"support {_size(int(support.sum()), magnitude.ndim, voxel)}, "
        f"above the level {_size(int((magnitude >= level).sum()), magnitude.ndim, voxel)}"
    )
    return figure


def plot_profiles(solution: Reconstruction) -> Figure | None:
    """Magnitude along each axis through the support's centre, with 10-90 % widths where the profile has an edge."""
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    if not magnitude[support].any():
        return None
    middle, voxel, d = _middle(support), solution.pattern.voxel_size, magnitude.ndim
    scale, unit = _unit(voxel)
    figure = _figure(3.6 * d + 0.6, 3.6)
    axes = np.atleast_1d(figure.subplots(1, d, sharey=True))
    window = _window(support)
    for axis, name in enumerate(_names(d)):
        line = tuple(slice(None) if a == axis else middle[a] for a in range(d))
        profile, inside = magnitude[line], support[line]
        place = (np.arange(len(profile)) - middle[axis]) * scale[axis]
        panel = axes[axis]
        for start, end in np.flatnonzero(np.diff(np.pad(inside.astype(int), 1))).reshape(-1, 2):
            panel.axvspan((start - 0.5 - middle[axis]) * scale[axis], (end - 0.5 - middle[axis]) * scale[axis], color=_OUTSIDE)
        panel.plot(place, profile, color=_BLUE, marker="." if window[axis][1] - window[axis][0] < 60 else "")
        low, high = window[axis]
        panel.set(xlim=((low - middle[axis]) * scale[axis], (high - 1 - middle[axis]) * scale[axis]))
        panel.set(xlabel=f"{name} ({unit})")
        widths = edge_widths(profile)
        text = [f"{w * scale[axis]:.2g}" if w is not None else "no clean edge" for w in widths]
        panel.set_title(
            f"edges along {name}, 10–90 %: {text[0]} and {text[1]}" + (f" {unit}" if any(w is not None for w in widths) else "")
        )
    axes[0].set(ylabel="magnitude (√photons)", ylim=(0, 1.08 * _top(magnitude)))
    if voxel:
        figure.suptitle("object pixel " + " × ".join(f"{s:.3g}" for s in scale) + " nm")
    return figure


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
    last = _fall(profile[above[len(above) // 2] :] / plateau)
    first = _fall(profile[above[len(above) // 2] :: -1] / plateau)
    return first, last


def _fall(outwards: np.ndarray) -> float | None:
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


# --------------------------------------------------------------------------------------------------- the pattern


def plot_pattern(pattern: Pattern) -> Figure:
    """The intensity, log scale, zero frequency in the middle: all of it in 2D, three planes through zero in 3D."""
    planes = _planes(pattern.shape, tuple(n // 2 for n in pattern.shape), reciprocal=True)
    figure = _figure(6.2 if pattern.ndim == 2 else 11.0, 5.0 if pattern.ndim == 2 else 4.0)
    axes = np.atleast_1d(figure.subplots(1, len(planes)))
    intensity, measured = np.fft.fftshift(pattern.intensity), np.fft.fftshift(pattern.measured)
    style = _intensity_style(intensity, measured)
    drawn = None
    for axis, plane in zip(axes, planes):
        drawn = axis.imshow(np.ma.masked_array(intensity[plane.index], ~measured[plane.index]), **style)
        _frequencies(axis, plane, pattern.shape)
        axis.set_title(plane.title if pattern.ndim == 3 else "intensity")
    assert drawn is not None  # there is a plane at least
    figure.colorbar(drawn, ax=list(axes), label="photons per pixel", shrink=0.9)
    figure.suptitle(f"{_count(pattern.photons)} photons" + _unmeasured_key(figure, measured))
    return figure


def plot_intensity(solution: Reconstruction) -> Figure:
    """Measured and calculated intensity on one log scale, and the difference of their square roots."""
    pattern = solution.pattern
    intensity, measured = np.fft.fftshift(pattern.intensity), np.fft.fftshift(pattern.measured)
    calculated = _calculated(solution)
    planes = _planes(pattern.shape, tuple(n // 2 for n in pattern.shape), reciprocal=True)
    flat = pattern.ndim == 2
    figure = _figure(12.0, 4.0) if flat else _figure(11.0, 10.0)
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.06}).reshape(3, 1) if flat else figure.subplots(3, 3)
    style = _intensity_style(intensity, measured)
    residuals = [
        np.ma.masked_array(np.sqrt(calculated[p.index]) - np.sqrt(np.maximum(intensity[p.index], 0)), ~measured[p.index]) for p in planes
    ]
    seen = np.concatenate([np.abs(r.compressed()) for r in residuals] + [np.zeros(1)])
    limit = max(1.0, float(np.percentile(seen, 99.5)))
    drawn: list[Any] = [None] * 3
    for column, (plane, residual) in enumerate(zip(planes, residuals)):
        where = "" if flat else f", {plane.title}"
        drawn[0] = axes[0, column].imshow(np.ma.masked_array(intensity[plane.index], ~measured[plane.index]), **style)
        drawn[1] = axes[1, column].imshow(calculated[plane.index], **style)
        drawn[2] = axes[2, column].imshow(residual, cmap=_with_bad(_colours("CET_D1A"), _UNMEASURED), vmin=-limit, vmax=limit)
        for row, title in enumerate(["measured", "calculated", "residual"]):
            axes[row, column].set_title(title + where)
            _frequencies(axes[row, column], plane, pattern.shape)
    for row, label in enumerate(["photons", "photons", "√calculated − √measured\n(counting noise: σ = 0.5)"]):
        place: dict[str, Any] = {"cax": _beside(axes[row, 0])} if flat else {"ax": list(axes[row]), "shrink": 0.85}
        figure.colorbar(drawn[row], label=label, extend="both" if row == 2 else "neither", **place)
    r = solution.numbers.get("r_factor")
    head = "calculated intensity is |F object|²" if r is None else f"R-factor {r:.4f}"
    figure.suptitle(head + _unmeasured_key(figure, measured))
    return figure


def _calculated(solution: Reconstruction) -> np.ndarray:
    """Intensity of the solution's object, zero frequency at N//2."""
    from untwin import fourier

    d = solution.image.ndim
    physics = solution.physics.on(solution.pattern)
    return fourier.centred(physics(fourier.cornered(solution.image, d).unsqueeze(0))[0], d).numpy()


def _intensity_style(intensity: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    seen = intensity[measured & (intensity > 0)]
    top = float(seen.max()) if seen.size else 1.0
    bottom = max(float(seen.min()) if seen.size else 0.1, 1e-7 * top)
    norm = LogNorm(0.7 * bottom, 1.0001 * top, clip=True)  # empty pixels take the lowest colour, one photon is seen
    return {"cmap": _with_bad(colormaps["inferno"], _UNMEASURED), "norm": norm}


def _unmeasured_key(figure: Figure, measured: np.ndarray) -> str:
    if measured.all():
        return ""
    from matplotlib.patches import Patch

    figure.legend(handles=[Patch(color=_UNMEASURED, label="not measured")], loc="outside lower center", frameon=False)
    return f"; {100 * (1 - measured.mean()):.2g} % not measured"


def _frequencies(axis: Axes, plane: _Plane, shape: tuple[int, ...]) -> None:
    """Ticks count detector pixels from the zero frequency."""
    from matplotlib.ticker import FuncFormatter

    axis.set_aspect("equal" if max(shape) <= 1.6 * min(shape) or len(shape) == 2 else "auto")
    for side, a in [(axis.yaxis, plane.rows), (axis.xaxis, plane.columns)]:
        n = shape[a]
        offset = n // 2
        step = _nice(n / 4.5)
        side.set_ticks([offset + k * step for k in range(-4, 5) if 0 <= offset + k * step <= n - 1])
        side.set_major_formatter(FuncFormatter(lambda value, _, o=offset: f"{value - o:g}".replace("-", "−")))
    names = _names(len(shape))
    axis.set_xlabel(f"$q_{names[plane.columns]}$ (pixels)", labelpad=1)
    axis.set_ylabel(f"$q_{names[plane.rows]}$ (pixels)", labelpad=0)


# ----------------------------------------------------------------------------------------------------- the trust


def plot_convergence(solution: Reconstruction) -> Figure | None:
    """R-factor against iteration; the start that ends lowest is drawn on top."""
    lines = [(h, np.array(h.r_factor, float)) for h in solution.history]
    lines = [(h, r) for h, r in lines if (np.isfinite(r) & (r > 0)).any()]
    if not lines:
        return None
    from matplotlib.ticker import FuncFormatter, LogLocator

    ends = [float(r[np.isfinite(r) & (r > 0)][-1]) for _, r in lines]
    chosen = int(np.argmin(ends))
    figure = _figure(8.5, 4.2)
    axis = figure.subplots()
    named = False
    for i, (h, r) in enumerate(lines):
        if i != chosen:
            axis.plot(
                h.steps,
                np.where(r > 0, r, np.nan),
                color=_GREY,
                linewidth=0.9,
                alpha=0.8,
                label=None if named else "the others",
            )
            named = True
    best, r = lines[chosen]
    mark = "o" if len(best.steps) == 1 else ""
    axis.plot(
        best.steps,
        np.where(r > 0, r, np.nan),
        color=_BLUE,
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
    agree = error < AGREE
    rank = np.arange(1, len(ranked) + 1)
    figure = _figure(8.5, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for panel, y in [(upper, value), (lower, error)]:
        panel.plot(
            rank[agree],
            y[agree],
            "o",
            color=_GREEN,
            markersize=7,
            linestyle="none",
            label=f"agrees with the solution (error < {AGREE:g})",
        )
        panel.plot(rank[~agree], y[~agree], "X", color=_RED, markersize=8, linestyle="none", label="does not agree")
        panel.plot(
            rank[twin],
            y[twin],
            "o",
            color="none",
            markeredgecolor="black",
            markersize=13,
            label="came out as the twin, turned back",
        )
        panel.grid(alpha=0.3)
    upper.set(ylabel="score (lower is better)" if by_score else "R-factor")
    if len(value) > 1 and value.min() > 0 and value.max() > 30 * value.min():
        upper.set_yscale("log")
    lower.axhline(AGREE, color="black", linestyle=":", linewidth=1)
    lower.set(
        xlabel="starts, best first",
        ylabel="error to the solution",
        ylim=(-0.05, max(0.3, 1.12 * np.nanmax(np.append(error, 0)))),
    )
    lower.set(xlim=(0.4, len(ranked) + 0.6))
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    handles, labels = upper.get_legend_handles_labels()
    keep = [i for i, some in enumerate([agree.any(), (~agree).any(), twin.any()]) if some]
    figure.legend([handles[i] for i in keep], [labels[i] for i in keep], loc="outside lower center", ncols=3, frameon=False)
    title = f"{agree.sum()} of {len(solution.starts)} starts agree"
    title += f", {twin.sum()} came out as the twin" if twin.any() else ""
    title += f", {len(solution.starts) - len(ranked)} failed" if len(ranked) < len(solution.starts) else ""
    title += f"; first mode {100 * solution.mode_weights[0]:.3g} %" if solution.mode_weights else ""
    figure.suptitle(title)
    return figure


def plot_resolution(solution: Reconstruction) -> Figure | None:
    """PRTF and FSC against spatial frequency, with their levels and crossings."""
    curves = [("PRTF", solution.prtf, _BLUE, "-"), ("FSC", solution.fsc, _RED, "--")]
    curves = [(name, c, colour, dash) for name, c, colour, dash in curves if c is not None and len(c.frequency)]
    if not curves:
        return None
    figure = _figure(8.5, 4.6)
    axis = figure.subplots()
    voxel = solution.pattern.voxel_size
    size = max(voxel) if voxel else None  # the coarsest axis, as in the verdict
    top = max(0.5, *(max(c.frequency) for _, c, _, _ in curves))
    found = []
    levels: dict[float, list[str]] = {}
    for name, c, colour, dash in curves:
        axis.plot(c.frequency, c.value, color=colour, linestyle=dash, linewidth=2, label=name)
        levels.setdefault(round(c.level, 4), []).append(name)
        if c.crossing is not None:
            axis.plot([c.crossing], [c.level], "o", color=colour, markersize=9, zorder=5)
            axis.vlines(c.crossing, 0, c.level, color=colour, linestyle=":", linewidth=1.2)
            found.append(f"{name}: {c.pixels:.3g} pixels" + (f" = {_length(size * c.pixels)}" if size else ""))
        else:
            found.append(f"{name}: above its level up to the detector's edge")
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
    lengths = _periods(size * 1e9 if size else 1.0, top)
    upper.set_ticks([(size * 1e9 if size else 1.0) / p for p in lengths], labels=[f"{p:g}" for p in lengths])
    upper.set_xlabel(f"full period ({'nm' if size else 'object pixels'})")
    figure.suptitle("resolution (full period)  " + "; ".join(found))
    return figure


def _periods(pixel: float, top: float) -> list[float]:
    """Round full periods, finest first, whose ticks stay apart on an axis from 0 to `top` cycles per pixel."""
    chosen: list[float] = []
    for exponent in range(-3, 8):
        for digit in (1, 1.5, 2, 2.5, 3, 4, 5, 7):
            period = digit * 10.0**exponent
            f = pixel / period
            if 0.04 * top < f <= top and (not chosen or pixel / chosen[-1] - f > 0.07 * top):
                chosen.append(period)
    return chosen


# ------------------------------------------------------------------------------------------------- two of a kind


def compare_figure(
    a: np.ndarray, b: np.ndarray, voxel_size: tuple[float, ...] | None = None, names: tuple[str, str] = ("A", "B")
) -> Figure:
    """Two aligned complex objects (centred, 2D or 3D) side by side on the same colours, and what is left between them.
    In 3D the plane through the middle that is normal to axis 0."""
    size = np.maximum(np.abs(a), np.abs(b))
    body = size > 0.1 * _top(size)
    plane = _planes(a.shape, _middle(body))[0]
    turn = np.exp(-1j * np.angle(a.sum() + b.sum()))
    both = [(x * turn)[plane.index] for x in (a, b)]
    figure, axes = _to_scale([plane] * 3, _window(body), voxel_size)
    top = _top(size)
    upper = lower = None
    for column, (x, name) in enumerate(zip(both, names)):
        upper = axes[0, column].imshow(np.abs(x), cmap="gray", vmin=0, vmax=top, interpolation="nearest")
        lower = axes[1, column].imshow(_masked_phase(x, body[plane.index]), **_phase_style())
        axes[0, column].set_title(f"magnitude, {name}")
        axes[1, column].set_title(f"phase, {name}")
    gap = np.abs(both[0] - both[1])
    from matplotlib import colormaps

    rest = axes[0, 2].imshow(gap, cmap=colormaps["inferno"], vmin=0, vmax=_top(gap), interpolation="nearest")
    whole = float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30))
    axes[0, 2].set_title(f"|{names[0]} − {names[1]}|, {100 * whole:.3g} % of {names[0]}")
    axes[1, 2].imshow(_masked_phase(both[0] * both[1].conj(), body[plane.index]), **_phase_style())
    axes[1, 2].set_title("phase difference")
    for axis in axes.flat:
        _frame(axis, plane, _window(body), voxel_size)
    assert upper is not None  # there are two objects
    figure.colorbar(upper, cax=_beside(axes[0, 1]))
    figure.colorbar(rest, cax=_beside(axes[0, 2]))
    _phase_bar(figure, lower, cax=_beside(axes[1, 2]))
    if a.ndim == 3:
        figure.suptitle(plane.title)
    return figure


# ----------------------------------------------------------------------------------------- what they are made of


@dataclass(frozen=True)
class _Plane:
    """index: what picks it from the array. rows, columns: the array's axes that it shows."""

    index: tuple[Any, ...]
    rows: int
    columns: int
    title: str


def _planes(shape: Sequence[int], through: Sequence[int], reciprocal: bool = False) -> list[_Plane]:
    """The array itself in 2D, the three planes through a point in 3D."""
    if len(shape) == 2:
        return [_Plane((slice(None), slice(None)), 0, 1, "")]
    planes = []
    for normal in range(3):
        rows, columns = (a for a in range(3) if a != normal)
        index = tuple(int(through[normal]) if a == normal else slice(None) for a in range(3))
        name = _names(3)[normal]
        title = f"$q_{name}$ = 0" if reciprocal else f"{name} = {through[normal]}"
        planes.append(_Plane(index, rows, columns, f"plane {title}"))
    return planes


def _names(d: int) -> str:
    return "zyx"[-d:]


def _upright(solution: Reconstruction) -> np.ndarray:
    """The image, turned so that its magnitude-weighted mean phase is 0: a positive object comes out positive."""
    image = solution.image.numpy()
    total = image[solution.support.numpy()].sum(dtype=np.complex128)
    return image * np.exp(-1j * np.angle(total)).astype(np.complex64)


def _lines(body: np.ndarray) -> list[np.ndarray]:
    """How much of the body lies at each position, per axis."""
    return [body.sum(axis=tuple(b for b in range(body.ndim) if b != a)) for a in range(body.ndim)]


def _middle(body: np.ndarray) -> tuple[int, ...]:
    """Centre of mass to the nearest pixel; the array's centre where there is no body."""
    if not body.any():
        return tuple(n // 2 for n in body.shape)
    return tuple(int(round(float(np.average(np.arange(len(line)), weights=line)))) for line in _lines(body))


def _box(body: np.ndarray) -> np.ndarray:
    """(2, d): first and one past the last position of the body, per axis."""
    ends = [np.flatnonzero(line)[[0, -1]] for line in _lines(body)]
    return np.array(ends).T + np.array([[0], [1]])


def _window(body: np.ndarray) -> list[tuple[int, int]]:
    """Bounding box with a margin of 15 % (2 pixels at least), inside the array: first and one past last, per axis."""
    if not body.any():
        return [(0, n) for n in body.shape]
    low, high = _box(body)
    margin = max(2, round(0.15 * float((high - low).max())))
    return [(max(0, int(a) - margin), min(n, int(b) + margin)) for a, b, n in zip(low, high, body.shape)]


def _top(magnitude: np.ndarray) -> float:
    top = float(magnitude.max()) if magnitude.size else 0.0
    return top if top > 0 else 1.0


def _masked_phase(image: np.ndarray, support: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(np.angle(image), ~support)


def _domain_colours(image: np.ndarray, top: float | None = None) -> np.ndarray:
    """(rows, columns, 3): the phase's colour, as bright as the magnitude."""
    colour = _phase_map()((np.angle(image) + np.pi) / (2 * np.pi))[..., :3]
    return colour * (np.abs(image) / (top or _top(np.abs(image))))[..., None]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _colours(name: str) -> Colormap:
    import colorcet

    return colorcet.cm[name]


def _phase_map() -> Colormap:
    return _colours("CET_C2")


def _with_bad(colours: Colormap, bad: str) -> Colormap:
    return colours.with_extremes(bad=bad)


def _phase_style() -> dict[str, Any]:
    return {"cmap": _with_bad(_phase_map(), _OUTSIDE), "vmin": -np.pi, "vmax": np.pi, "interpolation": "nearest"}


def _beside(axis: Axes) -> Axes:
    """Room for a colour bar as high as the picture."""
    return axis.inset_axes((1.03, 0.0, 0.05, 1.0))


def _phase_bar(figure: Figure, drawn: Any, **place: Any) -> None:
    bar = figure.colorbar(drawn, label="phase (rad)", **place)
    bar.set_ticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], labels=["−π", "−π/2", "0", "π/2", "π"])


def _wheel(axis: Axes) -> None:
    """The legend of _domain_colours: angle is phase, counter-clockwise from the right; radius is magnitude."""
    y, x = np.mgrid[1:-1:161j, -1:1:161j]
    disk = x + 1j * y
    colours = np.ones((*disk.shape, 4))
    colours[..., :3] = _domain_colours(np.where(np.abs(disk) <= 1, disk, 0), top=1.0)
    colours[..., 3] = np.abs(disk) <= 1
    axis.imshow(colours, extent=(-1, 1, -1, 1), interpolation="bilinear")
    axis.set_axis_off()
    for text, (right, up) in [("0", (1.25, 0)), ("π/2", (0, 1.25)), ("±π", (-1.3, 0)), ("−π/2", (0, -1.25))]:
        axis.text(right, up, text, ha="center", va="center", fontsize=9)
    axis.set_title("phase", fontsize=9, pad=16)


def _frame(axis: Axes, plane: _Plane, window: list[tuple[int, int]], voxel: tuple[float, ...] | None) -> None:
    """Zoom to the window, true proportions, and a scale bar below instead of ticks."""
    (top, bottom), (left, right) = window[plane.rows], window[plane.columns]
    axis.set(xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5), xticks=[], yticks=[])
    names = _names(len(window))
    axis.set_xlabel(f"{names[plane.columns]} →", labelpad=3, loc="right")
    axis.set_ylabel(f"← {names[plane.rows]}", labelpad=3)
    if voxel:
        axis.set_aspect(voxel[plane.rows] / voxel[plane.columns])
    _scale_bar(axis, right - left, voxel[plane.columns] * 1e9 if voxel else None)


def _scale_bar(axis: Axes, width: float, nm: float | None) -> None:
    """Below the panel, where it hides nothing: a round length of about a quarter of the panel's width (given in data
    units of `nm` each; None: they are pixels)."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    length = _nice(0.28 * width * (nm or 1.0))
    if nm is None:
        length = max(1.0, length)
    text = f"{length:g} pixel{'s' if length != 1 else ''}" if nm is None else _length(length * 1e-9)
    axis.add_artist(
        AnchoredSizeBar(
            axis.transData,
            length / (nm or 1.0),
            text,
            "upper left",
            pad=0,
            borderpad=0.4,
            sep=3,
            frameon=False,
            size_vertical=0.012 * width,  # pyright: ignore[reportArgumentType]
            fill_bar=True,
            bbox_to_anchor=(0, 0),
            bbox_transform=axis.transAxes,
        )
    )


def _nice(length: float) -> float:
    """The largest of 1, 2, 5 x 10^k at or below length."""
    if not length > 0:
        return 1.0
    base = 10.0 ** math.floor(math.log10(length) + 1e-9)
    return max(m for m in (1, 2, 5) if m * base <= length * (1 + 1e-9)) * base


def _unit(voxel: tuple[float, ...] | None) -> tuple[tuple[float, ...], str]:
    """What an object pixel is along each axis on the screen, and in which unit."""
    if not voxel:
        return (1.0,) * 3, "pixels"
    return tuple(1e9 * v for v in voxel), "nm"


def _length(metres: float) -> str:
    return f"{1e9 * metres:.3g} nm" if metres < 1e-6 else f"{1e6 * metres:.3g} µm"


def _cells(d: int) -> str:
    return "pixels" if d == 2 else "voxels"


def _count(value: float) -> str:
    """Three digits that count, in groups of three."""
    return f"{float(f'{value:.3g}'):,.0f}".replace(",", "\u2009") if 1000 <= value < 1e9 else f"{value:.3g}"


def _size(count: int, d: int, voxel: tuple[float, ...] | None) -> str:
    text = f"{count} {_cells(d)}"
    if not voxel:
        return text
    size, power = count * math.prod(voxel), "²" if d == 2 else "³"
    nm, um = size * 1e9**d, size * 1e6**d
    return text + (f" = {_count(nm)} nm{power}" if um < 0.1 else f" = {um:.3g} µm{power}")


FIGURES: dict[str, Drawing] = {
    "object": Drawing(
        plot_object,
        "The object",
        "What was reconstructed, zoomed to its support: magnitude (how strongly a point scatters) in grey, phase "
        "in cyclic colours (a full turn ends where it began; for a Bragg peak it is the displacement of the "
        "lattice), the mean phase set to 0.",
        "Magnitude and phase of the reconstructed object with a scale bar.",
    ),
    "isosurface": Drawing(
        plot_isosurface,
        "The surface",
        "Where the magnitude falls to half that of the bulk, coloured by the phase there and seen from two "
        "opposite sides; a crystal should show flat facets and no holes.",
        "Three-dimensional surface of the object from two sides, coloured by phase.",
    ),
    "intensity": Drawing(
        plot_intensity,
        "Measured and calculated intensity",
        "The detector's counts, the counts that the object would give (also where nothing was measured), and the "
        "difference of their square roots: pure noise without rings or stripes, about ±0.5 where counts are many,"
        " means that the object explains the data.",
        "Measured intensity, calculated intensity and their residual on the detector.",
    ),
    "convergence": Drawing(
        plot_convergence,
        "Convergence",
        "R-factor (relative distance between calculated and measured amplitudes, lower is better) against "
        "iteration: lines that end flat have converged, lines that end at different heights found different "
        "answers.",
        "R-factor against iteration for the starts, log scale.",
    ),
    "starts": Drawing(
        plot_starts,
        "Agreement between starts",
        "Each mark is a reconstruction from other random phases, best score first, and below how far its object "
        "is from the solution after shift, twin and phase are taken out (0 the same, 1 unrelated): an answer that"
        " many starts find is one to believe.",
        "Score of every start and its error to the solution, agreeing and disagreeing starts marked.",
    ),
    "resolution": Drawing(
        plot_resolution,
        "Resolution",
        "How reproducible each spatial frequency is: the phase retrieval transfer function compares the mean of "
        "the starts with the data, the Fourier shell correlation two independent results; where a curve falls "
        "below its level (dot) is the finest full period to believe, and half of it is the smallest feature.",
        "PRTF and FSC against spatial frequency with their threshold levels and crossings.",
    ),
    "magnitude": Drawing(
        plot_magnitude,
        "Magnitudes in the support",
        "A uniform object gives one narrow peak; what lies left of the dashed line is outside the drawn surface, "
        "so a large part there means a support that is too loose, and no clear peak means varying density or "
        "noise.",
        "Histogram of the magnitude inside the support with the surface level.",
    ),
    "profiles": Drawing(
        plot_profiles,
        "Profiles through the centre",
        "Magnitude along each axis through the centre of the support (grey band), with the distance of the 10 to "
        "90 % rise at both edges; the support cuts the object, so widths of one or two pixels show the support "
        "and not the resolution.",
        "Line profiles of the magnitude along each axis.",
    ),
}
