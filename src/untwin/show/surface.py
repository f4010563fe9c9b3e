"""The surface of a volume: its triangles, and a painting of them from two sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.bragg.strain import ISOSURFACE, level
from untwin.show.orientation import AS_STORED, Orientation
from untwin.show.style import (
    bounding_box,
    new_figure,
    phase_bar,
    phase_limit,
    phase_style,
    pixel_scale,
    scale_bar,
    upper_limit,
    without_mean_phase,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from untwin.runs.solution import Reconstruction

PAINTED = 8_000  # triangles at most: matplotlib sorts and paints them one by one, and the page has a view of its own


def steps_of(solution: Reconstruction) -> tuple[np.ndarray, str, bool]:
    """(3, 3): row a the step (x, y, z) from one voxel of a volume to the next along axis a; its unit, nm or pixels; and True where it is in
    the laboratory, with y up, and not in the array, with y down."""
    pattern = solution.pattern
    vectors, voxel = pattern.geometry.voxel_vectors(pattern.shape), pattern.voxel_size
    if vectors is not None:
        return 1e9 * vectors, "nm", True
    scale, unit = pixel_scale(voxel)
    return np.diag(scale)[:, ::-1], unit, False


def plot_isosurface(solution: Reconstruction, shown: Orientation = AS_STORED) -> Figure | None:
    """The surface at half the bulk's magnitude, coloured by phase, from two opposite sides (3D only). Where the geometry is that of a scan
    about a Bragg peak, in the laboratory."""
    if solution.image.ndim != 3:
        return None
    solution = shown.applied(solution)
    support = solution.support.numpy()
    image = without_mean_phase(solution.image.numpy(), support)
    steps, unit, upright = steps_of(solution)
    surface = surface_of(image, ISOSURFACE * level(image, support), steps, PAINTED)
    if surface is None:
        return None
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limit = phase_limit(image, support & (np.abs(image) >= surface.level))
    style, scale = phase_style(limit), Normalize(-limit, limit)
    colours = style["cmap"](scale(surface.phase))[:, :3]
    mirror = np.array([-1.0 if name in shown.flip else 1.0 for name in "xyz"])
    figure, axes = paint_surface(surface, colours, unit, upright, mirror)
    phase_bar(figure, ScalarMappable(scale, style["cmap"]), limit, ax=list(axes))
    share = surface.level / upper_limit(np.abs(image))
    figure.suptitle(f"surface at half the bulk's magnitude ({share:.2f} of the largest)")
    return figure


def paint_surface(surface: Surface, colours: np.ndarray, unit: str, upright: bool, mirror: np.ndarray | None = None) -> tuple[Figure, Any]:
    """A figure with room for a bar of colours, and its two axes. colours: (faces, 3), 0 to 1. unit: of the points, nm or pixels.
    upright: y points up, as in the laboratory, and not down, as rows do. mirror: (3,), -1 for each of x, y, z that is flipped."""
    from matplotlib.collections import PolyCollection

    mirror = np.ones(3) if mirror is None else mirror
    figure = new_figure(11.0, 5.2)
    axes = figure.subplots(1, 2)
    turns, corners = (25.0, 205.0), []
    for axis, turn, title in zip(axes, turns, ["looking along z", "from the opposite side"]):
        normal = viewed(surface.normals * mirror, turn, upright)
        normal *= np.where(normal[:, 2:] > 0, -1, 1)  # every face that shows turns its outside to the eye
        shade = 0.5 + 0.5 * np.clip(normal @ np.array([-0.3, -0.4, -0.87]), 0, 1)
        triangles = viewed(surface.points * mirror, turn, upright)[surface.faces]
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
        _triad(axis, viewed(np.diag(mirror), turn, upright), x + 0.75 * half, y + 1.2 * half, 0.17 * half)
    return figure, axes


@dataclass(frozen=True, eq=False)
class Surface:
    """points: (p, 3) x, y, z in nm or pixels. indices: (p, 3), the same in the array's voxels. faces: (f, 3) triangles of them,
    counter-clockwise as seen from outside.
    outward: (p, 3), of length 1, away from what is bright. values: (p,) complex, of the object. level: of the magnitude."""

    points: np.ndarray
    indices: np.ndarray
    faces: np.ndarray
    outward: np.ndarray
    values: np.ndarray
    level: float

    @property
    def normals(self) -> np.ndarray:
        """(f, 3), smoothed."""
        mean = self.outward[self.faces].sum(1)
        return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-30)

    @property
    def phase(self) -> np.ndarray:
        """(f,) radians."""
        return np.angle(self.values[self.faces].sum(1))


def surface_of(image: np.ndarray, level: float, steps: np.ndarray, most: int = PAINTED) -> Surface | None:
    """Where the magnitude falls to the level. steps: (3, 3), row a the step (x, y, z) from one voxel to the next along axis a. most:
    triangles; of more, every second, third ... voxel is taken. None where there is nothing above 0."""
    from scipy.ndimage import map_coordinates
    from skimage.measure import marching_cubes

    if not level > 0:
        return None
    low, high = bounding_box(np.abs(image) > level)
    part = np.pad(image[tuple(slice(a, b) for a, b in zip(low, high))], 1)
    magnitude, step = np.abs(part), 1
    points, faces, _, _ = marching_cubes(magnitude, level)
    while len(faces) > most and step < 8:
        step += 1
        points, faces, _, _ = marching_cubes(magnitude, level, step_size=step)
    # the phase of the complex sum of neighbours: the zeros outside the support do not turn it
    values = map_coordinates(np.real(part), points.T, order=1) + 1j * map_coordinates(np.imag(part), points.T, order=1)
    indices = points - 1 + low
    points = indices @ steps
    if np.linalg.det(steps[:, ::-1]) < 0:  # marching cubes turns its triangles by the axes of the array
        faces = faces[:, ::-1]
    corners = points[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = np.zeros_like(points)
    for corner in range(3):
        np.add.at(outward, faces[:, corner], flat)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-30)
    return Surface(points, indices, faces, outward, values, level)


def viewed(points: np.ndarray, turn: float, upright: bool = False) -> np.ndarray:
    """(x, y, z) as (right, down, away) for an eye that looks along z, walks `turn` degrees around y and 20 up. upright: the eye is turned
    by half a turn about z, so that it sees y up and x to the left."""
    a, e = math.radians(turn), math.radians(20)
    x, y, z = (points * (-1, -1, 1)).T if upright else points.T
    right, away = x * math.cos(a) + z * math.sin(a), z * math.cos(a) - x * math.sin(a)
    return np.stack([right, y * math.cos(e) - away * math.sin(e), y * math.sin(e) + away * math.cos(e)], 1)


def _triad(axis: Axes, tips: np.ndarray, x: float, y: float, length: float) -> None:
    """tips: (3, 3), where x, y and z point, as the eye sees them."""
    for name, tip in zip("xyz", tips[:, :2]):
        axis.annotate("", (x + length * tip[0], y + length * tip[1]), (x, y), arrowprops={"arrowstyle": "->", "shrinkA": 0})
        axis.text(x + 1.35 * length * tip[0], y + 1.35 * length * tip[1], name, ha="center", va="center")
