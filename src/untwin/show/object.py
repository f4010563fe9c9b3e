"""Figures of the object: magnitude and phase, its surface, its histogram, its profiles, and two objects side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.bragg.strain import ISOSURFACE, level
from untwin.show.style import (
    BLUE,
    OUTSIDE,
    RED,
    Plane,
    axis_names,
    bar_axes,
    bounding_box,
    cell_name,
    centre_pixel,
    count_text,
    domain_colours,
    frame_axes,
    masked_phase,
    new_figure,
    phase_bar,
    phase_colours,
    phase_style,
    phase_wheel,
    pixel_scale,
    planes_through,
    scale_bar,
    upper_limit,
    window_around,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from untwin.runs.solution import Reconstruction

_FACES = 24_000  # matplotlib sorts and paints triangles one by one: more than this takes seconds


def plot_object(solution: Reconstruction) -> Figure:
    """Magnitude and phase around the support: in 2D also both at once, in 3D in three planes through its centre."""
    image, support = _without_mean_phase(solution), solution.support.numpy()
    if image.ndim == 1:
        return _plot_line(image)
    if image.ndim == 2:
        return _plot_plane(image, support, solution.pattern.voxel_size)
    return _plot_planes(image, support, solution.pattern.voxel_size)


def _plot_plane(image: np.ndarray, support: np.ndarray, voxel: tuple[float, ...] | None) -> Figure:
    plane = planes_through(support.shape, (0, 0))[0]
    figure = new_figure(12.0, 3.9)
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.06})
    magnitude = np.abs(image)
    picture = axes[0].imshow(magnitude, cmap="gray", vmin=0, vmax=upper_limit(magnitude), interpolation="nearest")
    axes[0].set_title("magnitude")
    figure.colorbar(picture, cax=bar_axes(axes[0]), label="√photons")
    picture = axes[1].imshow(masked_phase(image, support), **phase_style())
    axes[1].set_title("phase inside the support")
    phase_bar(figure, picture, cax=bar_axes(axes[1]))
    axes[2].imshow(domain_colours(image), interpolation="nearest")
    axes[2].set_title("both: brightness and colour")
    phase_wheel(axes[2].inset_axes((1.14, 0.32, 0.36, 0.36)))
    for axis in axes:
        frame_axes(axis, plane, window_around(support), voxel)
    return figure


def _plot_line(image: np.ndarray) -> Figure:
    figure = new_figure(9.0, 3.6)
    axes = figure.subplots(1, 2)
    for axis, values, label in zip(axes, (np.abs(image), np.angle(image)), ("magnitude (√photons)", "phase (rad)")):
        axis.plot(values, ".-", color=BLUE, linewidth=1)
        axis.set(xlabel="pixel", ylabel=label)
    return figure


def _plot_planes(image: np.ndarray, support: np.ndarray, voxel: tuple[float, ...] | None) -> Figure:
    window = window_around(support)
    planes = planes_through(support.shape, centre_pixel(support))
    figure, axes = _panels_to_scale(planes, window, voxel)
    magnitude = np.abs(image)
    upper = lower = None
    for column, plane in enumerate(planes):
        upper = axes[0, column].imshow(magnitude[plane.index], cmap="gray", vmin=0, vmax=upper_limit(magnitude), interpolation="nearest")
        lower = axes[1, column].imshow(masked_phase(image[plane.index], support[plane.index]), **phase_style())
        axes[0, column].set_title(plane.title, fontsize=11)
        for axis in axes[:, column]:
            frame_axes(axis, plane, window, voxel)
    assert upper is not None  # there are three planes
    figure.colorbar(upper, ax=list(axes[0]), label="magnitude (√photons)")
    phase_bar(figure, lower, ax=list(axes[1]))
    return figure


def _panels_to_scale(planes: list[Plane], window: list[tuple[int, int]], voxel: tuple[float, ...] | None) -> tuple[Figure, Any]:
    """A figure of two rows of panels in which every pixel has the same size."""
    scale, _ = pixel_scale(voxel)
    size = [(high - low) * s for (low, high), s in zip(window, scale)]
    widths, height = [size[p.columns] for p in planes], max(size[p.rows] for p in planes)
    row = float(np.clip(9.0 / sum(widths) * height, 1.6, 4.5))
    figure = new_figure(11.0, 2 * row + 1.2)
    return figure, figure.subplots(2, len(planes), gridspec_kw={"width_ratios": widths})


def plot_isosurface(solution: Reconstruction) -> Figure | None:
    """The surface at half the bulk's magnitude, coloured by phase, from two opposite sides (3D only). Where the geometry is that of a scan
    about a Bragg peak, in the laboratory."""
    if solution.image.ndim != 3:
        return None
    image, pattern = _without_mean_phase(solution), solution.pattern
    vectors, voxel = pattern.geometry.voxel_vectors(pattern.shape), pattern.voxel_size
    steps = 1e9 * vectors if vectors is not None else np.diag(pixel_scale(voxel)[0])[:, ::-1]
    surface = surface_of(image, ISOSURFACE * level(image, solution.support.numpy()), steps)
    if surface is None:
        return None
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = phase_colours()((surface.phase + np.pi) / (2 * np.pi))[:, :3]
    figure, axes = paint_surface(surface, colours, "nm" if voxel else "pixels", upright=vectors is not None)
    phase_bar(figure, ScalarMappable(Normalize(-np.pi, np.pi), phase_colours()), ax=list(axes))
    share = surface.level / upper_limit(np.abs(image))
    figure.suptitle(f"surface at half the bulk's magnitude ({share:.2f} of the largest)")
    return figure


def paint_surface(surface: Surface, colours: np.ndarray, unit: str, upright: bool) -> tuple[Figure, Any]:
    """A figure with room for a bar of colours, and its two axes. colours: (faces, 3), 0 to 1. unit: of the points, nm or pixels.
    upright: y points up, as in the laboratory, and not down, as rows do."""
    from matplotlib.collections import PolyCollection

    figure = new_figure(11.0, 5.2)
    axes = figure.subplots(1, 2)
    turns, corners = (25.0, 205.0), []
    for axis, turn, title in zip(axes, turns, ["looking along z", "from the opposite side"]):
        normal = _viewed(surface.normals, turn, upright)
        normal *= np.where(normal[:, 2:] > 0, -1, 1)  # every face that shows turns its outside to the eye
        shade = 0.5 + 0.5 * np.clip(normal @ np.array([-0.3, -0.4, -0.87]), 0, 1)
        triangles = _viewed(surface.points, turn, upright)[surface.faces]
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
        scale_bar(axis, 2 * half, 1.0 if unit == "nm" else None)
        _triad(axis, turn, upright, x + 0.75 * half, y + 1.2 * half, 0.17 * half)
    return figure, axes


@dataclass(frozen=True, eq=False)
class Surface:
    """points: (p, 3) x, y, z in nm or pixels. indices: (p, 3), the same in the array's voxels. faces: (f, 3) triangles of them.
    normals: (f, 3), smoothed, sign unknown. phase: (f,) radians."""

    points: np.ndarray
    indices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    phase: np.ndarray
    level: float


def surface_of(image: np.ndarray, level: float, steps: np.ndarray) -> Surface | None:
    """Where the magnitude falls to the level. steps: (3, 3), row a the step (x, y, z) from one voxel to the next along axis a. None where
    there is nothing above 0."""
    from scipy.ndimage import map_coordinates
    from skimage.measure import marching_cubes

    if not level > 0:
        return None
    low, high = bounding_box(np.abs(image) > level)
    part = np.pad(image[tuple(slice(a, b) for a, b in zip(low, high))], 1)
    step = 1
    points, faces, _, _ = marching_cubes(np.abs(part), level)
    while len(faces) > _FACES and step < 8:
        step += 1
        points, faces, _, _ = marching_cubes(np.abs(part), level, step_size=step)
    # the phase of the complex sum of neighbours: the zeros outside the support do not turn it
    values = map_coordinates(np.real(part), points.T, order=1) + 1j * map_coordinates(np.imag(part), points.T, order=1)
    indices = points - 1 + low
    points = indices @ steps
    corners = points[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = np.zeros_like(points)
    np.add.at(smooth, faces, flat[:, None])
    normals = smooth[faces].sum(1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return Surface(points, indices, faces, normals, np.angle(values[faces].sum(1)), level)


def _viewed(points: np.ndarray, turn: float, upright: bool = False) -> np.ndarray:
    """(x, y, z) as (right, down, away) for an eye that looks along z, walks `turn` degrees around y and 20 up. upright: the eye is turned
    by half a turn about z, so that it sees y up and x to the left."""
    a, e = math.radians(turn), math.radians(20)
    x, y, z = (points * (-1, -1, 1)).T if upright else points.T
    right, away = x * math.cos(a) + z * math.sin(a), z * math.cos(a) - x * math.sin(a)
    return np.stack([right, y * math.cos(e) - away * math.sin(e), y * math.sin(e) + away * math.cos(e)], 1)


def _triad(axis: Axes, turn: float, upright: bool, x: float, y: float, length: float) -> None:
    for name, tip in zip("xyz", _viewed(np.eye(3), turn, upright)[:, :2]):
        axis.annotate("", (x + length * tip[0], y + length * tip[1]), (x, y), arrowprops={"arrowstyle": "->", "shrinkA": 0})
        axis.text(x + 1.35 * length * tip[0], y + 1.35 * length * tip[1], name, ha="center", va="center")


def plot_magnitude(solution: Reconstruction) -> Figure | None:
    """Histogram of the magnitude inside the support, with the bulk's (bragg.strain.level) and the surface's."""
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    bulk = level(magnitude, support)
    if not bulk > 0:
        return None
    inside = magnitude[support]
    figure = new_figure(8.0, 4.0)
    axis = figure.subplots()
    bins = int(np.clip(np.sqrt(inside.size) * 2, 12, 100))
    axis.hist(inside, bins=bins, range=(0, float(inside.max())), color=BLUE, alpha=0.8)
    edge = ISOSURFACE * bulk
    axis.axvline(bulk, color="black", linestyle=":", label=f"bulk: {bulk:.3g}")
    axis.axvline(edge, color=RED, linestyle="--", label=f"surface, half of it: {edge:.3g}")
    axis.set(xlabel="magnitude (√photons)", ylabel=f"{cell_name(magnitude.ndim)} in the support", xlim=(0, None))
    axis.legend(frameon=False)
    volume = solution.pattern.geometry.voxel_volume(solution.pattern.shape)
    axis.set_title(
        f"support {_extent_text(int(support.sum()), magnitude.ndim, volume)}, "
        f"inside {_extent_text(int((magnitude >= edge).sum()), magnitude.ndim, volume)}"
    )
    return figure


def _extent_text(count: int, d: int, volume: float | None) -> str:
    text = f"{count} {cell_name(d)}"
    if not volume:
        return text
    size, power = count * volume, "²" if d == 2 else "³"
    nm, um = size * 1e9**d, size * 1e6**d
    return text + (f" = {count_text(nm)} nm{power}" if um < 0.1 else f" = {um:.3g} µm{power}")


def plot_profiles(solution: Reconstruction) -> Figure | None:
    """Magnitude along each axis through the support's centre, with 10-90 % widths where the profile has an edge; None of exposures,
    whose object has none."""
    magnitude, support = np.abs(solution.image.numpy()), solution.support.numpy()
    if not magnitude[support].any() or solution.pattern.optics is not None:
        return None
    middle, voxel, d = centre_pixel(support), solution.pattern.voxel_size, magnitude.ndim
    scale, unit = pixel_scale(voxel)
    figure = new_figure(3.6 * d + 0.6, 3.6)
    axes = np.atleast_1d(figure.subplots(1, d, sharey=True))
    window = window_around(support)
    for axis, name in enumerate(axis_names(d)):
        line = tuple(slice(None) if a == axis else middle[a] for a in range(d))
        profile, inside = magnitude[line], support[line]
        position = (np.arange(len(profile)) - middle[axis]) * scale[axis]
        panel = axes[axis]
        for start, end in np.flatnonzero(np.diff(np.pad(inside.astype(int), 1))).reshape(-1, 2):
            panel.axvspan((start - 0.5 - middle[axis]) * scale[axis], (end - 0.5 - middle[axis]) * scale[axis], color=OUTSIDE)
        panel.plot(position, profile, color=BLUE, marker="." if window[axis][1] - window[axis][0] < 60 else "")
        low, high = window[axis]
        panel.set(xlim=((low - middle[axis]) * scale[axis], (high - 1 - middle[axis]) * scale[axis]))
        panel.set(xlabel=f"{name} ({unit})")
        widths = edge_widths(profile)
        text = [f"{w * scale[axis]:.2g}" if w is not None else "no clean edge" for w in widths]
        panel.set_title(
            f"edges along {name}, 10–90 %: {text[0]} and {text[1]}" + (f" {unit}" if any(w is not None for w in widths) else "")
        )
    axes[0].set(ylabel="magnitude (√photons)", ylim=(0, 1.08 * upper_limit(magnitude)))
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
    a: np.ndarray, b: np.ndarray, voxel_size: tuple[float, ...] | None = None, names: tuple[str, str] = ("A", "B")
) -> Figure:
    """Two aligned complex objects (centred, 2D or 3D) side by side on the same colours, and what is left between them.
    In 3D the plane through the middle that is normal to axis 0."""
    size = np.maximum(np.abs(a), np.abs(b))
    body = size > 0.1 * upper_limit(size)
    plane = planes_through(a.shape, centre_pixel(body))[0]
    turn = np.exp(-1j * np.angle(a.sum() + b.sum()))
    both = [(x * turn)[plane.index] for x in (a, b)]
    figure, axes = _panels_to_scale([plane] * 3, window_around(body), voxel_size)
    top = upper_limit(size)
    upper = lower = None
    for column, (x, name) in enumerate(zip(both, names)):
        upper = axes[0, column].imshow(np.abs(x), cmap="gray", vmin=0, vmax=top, interpolation="nearest")
        lower = axes[1, column].imshow(masked_phase(x, body[plane.index]), **phase_style())
        axes[0, column].set_title(f"magnitude, {name}")
        axes[1, column].set_title(f"phase, {name}")
    gap = np.abs(both[0] - both[1])
    from matplotlib import colormaps

    difference = axes[0, 2].imshow(gap, cmap=colormaps["inferno"], vmin=0, vmax=upper_limit(gap), interpolation="nearest")
    relative = float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30))
    axes[0, 2].set_title(f"|{names[0]} − {names[1]}|, {100 * relative:.3g} % of {names[0]}")
    axes[1, 2].imshow(masked_phase(both[0] * both[1].conj(), body[plane.index]), **phase_style())
    axes[1, 2].set_title("phase difference")
    for axis in axes.flat:
        frame_axes(axis, plane, window_around(body), voxel_size)
    assert upper is not None  # there are two objects
    figure.colorbar(upper, cax=bar_axes(axes[0, 1]))
    figure.colorbar(difference, cax=bar_axes(axes[0, 2]))
    phase_bar(figure, lower, cax=bar_axes(axes[1, 2]))
    if a.ndim == 3:
        figure.suptitle(plane.title)
    return figure


def _without_mean_phase(solution: Reconstruction) -> np.ndarray:
    """The image, turned so that its magnitude-weighted mean phase is 0: a positive object comes out positive."""
    image = solution.image.numpy()
    total = image[solution.support.numpy()].sum(dtype=np.complex128)
    return image * np.exp(-1j * np.angle(total)).astype(np.complex64)
