"""What every figure is made of: colours, planes, windows, scale bars and words. matplotlib is imported only when something is drawn.

Axis 0 points down and the last axis to the right, as an array is printed. Phase: cyclic CET_C2, masked outside the support.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data.atomic import atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


BLUE, GREEN, RED, GREY = "#0072B2", "#009E73", "#D55E00", "#b0b0b0"  # Okabe and Ito, 2008
OUTSIDE = "#d9d9d9"  # no phase here
UNMEASURED = "#8fa3a8"  # a grey that is in neither the inferno nor the residual's map


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as a PNG (at its own dots per inch), PDF or SVG file."""
    buffer = io.BytesIO()
    if kind == "png":
        from PIL import Image

        figure.canvas.draw()  # once: savefig draws a second time for its layout
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # pyright: ignore[reportAttributeAccessIssue]
        dpi = (round(figure.dpi), round(figure.dpi))
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=5, dpi=dpi)
    else:
        figure.savefig(buffer, format=kind, dpi=300)
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Into a file whose ending says the kind; complete or not there. Raises InputError where it cannot be written."""
    atomic_write_bytes(path, encoded(figure, path.suffix[1:].lower()))


def new_figure(width: float, height: float, dpi: float = 120) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    # notebooks look for it: by themselves they show figures of pyplot only
    setattr(figure, "_repr_png_", partial(encoded, figure, "png"))  # noqa: B010
    return figure


@dataclass(frozen=True)
class Plane:
    """index: what picks it from the array. rows, columns: the array's axes that it shows."""

    index: tuple[Any, ...]
    rows: int
    columns: int
    title: str


def planes_through(shape: Sequence[int], through: Sequence[int], reciprocal: bool = False) -> list[Plane]:
    """The array itself in 2D, the three planes through a point in 3D."""
    if len(shape) == 2:
        return [Plane((slice(None), slice(None)), 0, 1, "")]
    planes = []
    for normal in range(3):
        rows, columns = (a for a in range(3) if a != normal)
        index = tuple(int(through[normal]) if a == normal else slice(None) for a in range(3))
        name = axis_names(3)[normal]
        title = f"q{name} = 0" if reciprocal else f"{name} = {through[normal]}"
        planes.append(Plane(index, rows, columns, f"plane {title}"))
    return planes


def axis_names(d: int) -> str:
    return "zyx"[-d:]


def _projections(body: np.ndarray) -> list[np.ndarray]:
    """How much of the body lies at each position, per axis."""
    return [body.sum(axis=tuple(b for b in range(body.ndim) if b != a)) for a in range(body.ndim)]


def centre_pixel(body: np.ndarray) -> tuple[int, ...]:
    """Centre of mass to the nearest pixel; the array's centre where there is no body."""
    if not body.any():
        return tuple(n // 2 for n in body.shape)
    return tuple(int(round(float(np.average(np.arange(len(line)), weights=line)))) for line in _projections(body))


def bounding_box(body: np.ndarray) -> np.ndarray:
    """(2, d): first and one past the last position of the body, per axis."""
    ends = [np.flatnonzero(line)[[0, -1]] for line in _projections(body)]
    return np.array(ends).T + np.array([[0], [1]])


def window_around(body: np.ndarray) -> list[tuple[int, int]]:
    """Bounding box with a margin of 15 % (2 pixels at least), inside the array: first and one past last, per axis."""
    if not body.any():
        return [(0, n) for n in body.shape]
    low, high = bounding_box(body)
    margin = max(2, round(0.15 * float((high - low).max())))
    return [(max(0, int(a) - margin), min(n, int(b) + margin)) for a, b, n in zip(low, high, body.shape)]


def upper_limit(magnitude: np.ndarray) -> float:
    top = float(magnitude.max()) if magnitude.size else 0.0
    return top if top > 0 else 1.0


def without_mean_phase(image: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Turned so that its magnitude-weighted mean phase is 0: a positive object comes out positive."""
    total = image[support].sum(dtype=np.complex128)
    return image * np.exp(-1j * np.angle(total)).astype(np.complex64)


def masked_phase(image: np.ndarray, support: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(np.angle(image), ~support)


def domain_colours(image: np.ndarray, top: float | None = None) -> np.ndarray:
    """(rows, columns, 3): the phase's colour, as bright as the magnitude."""
    colour = phase_colours()((np.angle(image) + np.pi) / (2 * np.pi))[..., :3]
    return colour * (np.abs(image) / (top or upper_limit(np.abs(image))))[..., None]


def colour_map(name: str) -> Colormap:
    import colorcet

    return colorcet.cm[name]


def phase_colours() -> Colormap:
    return colour_map("CET_C2")


def with_bad(colours: Colormap, bad: str) -> Colormap:
    return colours.with_extremes(bad=bad)


def phase_limit(image: np.ndarray, inside: np.ndarray) -> float:
    """Where the colours of the phase end, radians: a round number above 99 % of what is inside where that is less than a quarter of a turn,
    else π, and the colours are cyclic."""
    phase = np.abs(np.angle(image[inside]))
    most = max(0.01, float(np.percentile(phase, 99))) if phase.size else math.pi
    if most > math.pi / 2:
        return math.pi
    power = 10.0 ** math.floor(math.log10(most))
    return next(m * power for m in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if m * power >= most * (1 - 1e-9))


def phase_style(limit: float = math.pi) -> dict[str, Any]:
    """limit: where the colours end, radians; at π they are cyclic."""
    colours = phase_colours() if limit == math.pi else colour_map("CET_D1A")
    return {"cmap": with_bad(colours, OUTSIDE), "vmin": -limit, "vmax": limit, "interpolation": "nearest"}


def bar_axes(axis: Axes) -> Axes:
    """Room for a colour bar as high as the picture."""
    return axis.inset_axes((1.03, 0.0, 0.05, 1.0))


def phase_bar(figure: Figure, picture: Any, limit: float = math.pi, **room: Any) -> None:
    if limit < math.pi:
        figure.colorbar(picture, label="phase (rad)", extend="both", **room)
        return
    bar = figure.colorbar(picture, label="phase (rad)", **room)
    bar.set_ticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], labels=["−π", "−π/2", "0", "π/2", "π"])


def logarithmic_bar(figure: Figure, picture: Any, **room: Any) -> Any:
    """A colour bar whose ticks are powers of ten, written without a typesetter: parsing its formulas takes longer than drawing."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    bar = figure.colorbar(picture, format=FuncFormatter(lambda value, _: power_text(value)), **room)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return bar


def power_text(value: float) -> str:
    """1000 as 10³; other numbers in three digits."""
    exponent = round(math.log10(value)) if value > 0 else 0
    if not math.isclose(value, 10.0**exponent, rel_tol=1e-6):
        return f"{value:.3g}"
    return "1" if exponent == 0 else "10" + "".join("⁻" if c == "-" else "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(c)] for c in str(exponent))


def phase_wheel(axis: Axes) -> None:
    """The legend of domain_colours: angle is phase, counter-clockwise from the right; radius is magnitude."""
    y, x = np.mgrid[1:-1:161j, -1:1:161j]
    disk = x + 1j * y
    colours = np.ones((*disk.shape, 4))
    colours[..., :3] = domain_colours(np.where(np.abs(disk) <= 1, disk, 0), top=1.0)
    colours[..., 3] = np.abs(disk) <= 1
    axis.imshow(colours, extent=(-1, 1, -1, 1), interpolation="bilinear")
    axis.set_axis_off()
    for text, (right, up) in [("0", (1.25, 0)), ("π/2", (0, 1.25)), ("±π", (-1.3, 0)), ("−π/2", (0, -1.25))]:
        axis.text(right, up, text, ha="center", va="center", fontsize=9)
    axis.set_title("phase", fontsize=9, pad=16)


def frame_axes(
    axis: Axes, plane: Plane, window: list[tuple[int, int]], voxel: tuple[float, ...] | None, flip: Collection[str] = ()
) -> None:
    """Zoom to the window, true proportions, and a scale bar below instead of ticks. flip: names of axes that point the other way."""
    (top, bottom), (left, right) = window[plane.rows], window[plane.columns]
    names = axis_names(len(window))
    across, down = names[plane.columns], names[plane.rows]
    axis.set(xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5), xticks=[], yticks=[])
    if across in flip:
        axis.invert_xaxis()
    if down in flip:
        axis.invert_yaxis()
    axis_arrow(axis, f"← {across}" if across in flip else f"{across} →")
    axis_arrow(axis, f"{down}\n↑" if down in flip else f"{down}\n↓", upright=True)
    if voxel:
        axis.set_aspect(voxel[plane.rows] / voxel[plane.columns])
    scale_bar(axis, right - left, voxel[plane.columns] * 1e9 if voxel else None)


def axis_arrow(axis: Axes, text: str, upright: bool = False) -> None:
    """The name of an axis and where it points: below the panel at the right, or left of it and not turned."""
    if upright:
        axis.set_ylabel(text, rotation=0, labelpad=8, va="center", linespacing=1.0)
    else:
        axis.set_xlabel(text, labelpad=3, loc="right")


def scale_bar(axis: Axes, width: float, nm: float | None) -> None:
    """Below the panel, where it hides nothing: a round length of about a quarter of the panel's width (given in data
    units of `nm` each; None: they are pixels)."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    length = round_length(0.28 * width * (nm or 1.0))
    if nm is None:
        length = max(1.0, length)
    text = f"{length:g} pixel{'s' if length != 1 else ''}" if nm is None else length_text(length * 1e-9)
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


def round_length(length: float) -> float:
    """The largest of 1, 2, 5 x 10^k at or below length."""
    if not length > 0:
        return 1.0
    base = 10.0 ** math.floor(math.log10(length) + 1e-9)
    return max(m for m in (1, 2, 5) if m * base <= length * (1 + 1e-9)) * base


def pixel_scale(voxel: tuple[float, ...] | None) -> tuple[tuple[float, ...], str]:
    """What an object pixel is along each axis on the screen, and in which unit."""
    if not voxel:
        return (1.0,) * 3, "pixels"
    return tuple(1e9 * v for v in voxel), "nm"


def length_text(metres: float) -> str:
    return f"{1e9 * metres:.3g} nm" if metres < 1e-6 else f"{1e6 * metres:.3g} µm"


def cell_name(d: int) -> str:
    return "pixels" if d == 2 else "voxels"


def count_text(value: float) -> str:
    """Three digits that count, in groups of three."""
    return f"{float(f'{value:.3g}'):,.0f}".replace(",", "\u2009") if 1000 <= value < 1e9 else f"{value:.3g}"
