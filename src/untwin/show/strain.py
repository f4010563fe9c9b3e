"""Figures of a strain map in the laboratory frame: displacement, strain and its standard error in three planes, and on the surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.bragg.strain import ISOSURFACE, level
from untwin.show.style import OUTSIDE, axis_arrow, centre_pixel, colour_map, new_figure, scale_bar, window_around, with_bad
from untwin.show.surface import paint_surface, surface_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from untwin.bragg.maps import StrainMap

NM = 1e9
_MOST = 98  # percentile of |strain| in the bulk at which the colours end: the surface has larger values
# axes of the array (z, y, x) that point up and to the right in each plane, and from where the eye looks: right × up comes towards it
_PLANES = ((1, 2, "looking upstream"), (1, 0, "looking along x"), (2, 0, "from above"))


def plot_strain(m: StrainMap) -> Figure:
    """m: one on the array's grid is brought onto the laboratory's. Grey: outside the crystal, about dislocations, and where the standard
    error is above the map's limit."""
    m = m.in_frame("laboratory") if m.frame == "array" else m
    hidden = ~m.support | m.uncertain
    rows: list[tuple[str, np.ndarray, dict[str, Any]]] = [
        ("displacement along q (nm)", NM * m.displacement, diverging(NM * m.displacement, m.support)),
        ("strain", m.strain, diverging(m.strain, m.bulk)),
    ]
    if m.error is not None:
        top = float(np.nanpercentile(m.error[m.support], _MOST)) if np.isfinite(m.error[m.support]).any() else 1.0
        rows.append(("standard error of the strain", m.error, {"cmap": with_bad(colour_map("CET_L19"), OUTSIDE), "vmin": 0, "vmax": top}))
    window, middle = window_around(m.support), centre_pixel(m.support)
    spacing = np.array([m.vectors[a][2 - a] for a in range(3)]) * NM
    sizes = [(high - low) * s for (low, high), s in zip(window, spacing)]
    widths, height = [sizes[columns] for _, columns, _ in _PLANES], max(sizes[r] for r, _, _ in _PLANES)
    tall = float(np.clip(9.0 / sum(widths) * height, 1.6, 4.0))
    figure = new_figure(11.0, len(rows) * tall + 1.2)
    axes = figure.subplots(len(rows), len(_PLANES), gridspec_kw={"width_ratios": widths}, squeeze=False)
    for line, (label, values, style) in enumerate(rows):
        shown = np.ma.masked_array(values, hidden)
        picture: Any = None
        for column, (up, across, title) in enumerate(_PLANES):
            plane = _plane(shown, up, across, middle)
            picture = axes[line, column].imshow(plane, origin="lower", interpolation="nearest", **style)
            _framed(axes[line, column], up, across, window, spacing, m.axes)
            if line == 0:
                axes[0, column].set_title(title, fontsize=11)
        figure.colorbar(picture, ax=list(axes[line]), label=label, format=_scientific())
    return figure


def slices(m: StrainMap) -> tuple[dict[str, Any], list[np.ma.MaskedArray]]:
    """The strain about the crystal in the planes that plot_strain shows, rows upwards, and how they are coloured. m: on any grid."""
    window = tuple(slice(*ends) for ends in window_around(m.support))
    shown = np.ma.masked_array(m.strain, ~m.support | m.uncertain)[window]
    middle = centre_pixel(m.support[window])
    return diverging(m.strain, m.bulk), [_plane(shown, up, across, middle) for up, across, _ in _PLANES]


def _plane(values: np.ma.MaskedArray, up: int, across: int, middle: tuple[int, ...]) -> np.ma.MaskedArray:
    normal = 3 - up - across
    plane = values[tuple(middle[normal] if a == normal else slice(None) for a in range(3))]
    return plane if up < across else plane.T


def diverging(values: np.ndarray, where: np.ndarray) -> dict[str, Any]:
    """Colours about 0 that end where most of what is there does."""
    inside = np.abs(values[where & np.isfinite(values)])
    top = float(np.percentile(inside, _MOST)) if inside.size else 1.0
    top = top if top > 0 else 1.0
    return {"cmap": with_bad(colour_map("CET_D1A"), OUTSIDE), "vmin": -top, "vmax": top}


def _scientific() -> Any:
    from matplotlib.ticker import ScalarFormatter

    form = ScalarFormatter()
    form.set_powerlimits((-2, 3))
    return form


def _framed(axis: Axes, up: int, across: int, window: list[tuple[int, int]], spacing: np.ndarray, names: tuple[str, str, str]) -> None:
    (low, high), (left, right) = window[up], window[across]
    axis.set(xlim=(left - 0.5, right - 0.5), ylim=(low - 0.5, high - 0.5), xticks=[], yticks=[])
    axis_arrow(axis, f"{names[2 - across]} →")
    axis_arrow(axis, f"{names[2 - up]}\n↑", upright=True)
    axis.set_aspect(spacing[up] / spacing[across])
    scale_bar(axis, right - left, spacing[across])


def plot_strain_surface(m: StrainMap) -> Figure | None:
    """The surface at half the bulk's magnitude, coloured by the strain of the nearest voxel inside, grey where its error is above the map's
    limit, from two opposite sides."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from scipy import ndimage

    surface = surface_of(m.image, ISOSURFACE * level(m.image, m.support), NM * m.vectors)
    if surface is None:
        return None
    valid = np.isfinite(m.strain)
    if not valid.any():
        return None
    nearest = np.asarray(ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True))
    style = diverging(m.strain, m.bulk)
    index = np.rint(surface.indices[surface.faces].mean(1)).astype(int).clip(0, np.array(m.strain.shape) - 1)
    values = m.strain[tuple(nearest[(slice(None), *index.T)])]
    scale = Normalize(style["vmin"], style["vmax"], clip=True)
    grey = m.uncertain[tuple(nearest[(slice(None), *index.T)])]
    colours = np.asarray(style["cmap"](np.ma.masked_array(scale(values), grey)))[:, :3]
    figure, axes = paint_surface(surface, colours, "nm", upright=True)
    figure.colorbar(ScalarMappable(scale, style["cmap"]), ax=list(axes), label="strain", format=_scientific())
    return figure
