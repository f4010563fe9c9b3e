"""The contact sheet of a data set: what its samples look like, at one glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.show.pattern import intensity_style
from untwin.show.style import UNMEASURED, domain_colours, new_figure, phase_wheel, planes_through, upper_limit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.05  # between pictures, in their height
_KEY = 1.15  # inches below for the legend


def contact_sheet(samples: Sequence[dict[str, Any]], title: str, columns: int = 0) -> Figure:
    """Pattern and object of some samples, side by side in 2D; in 3D the planes z, y and x = centre of both, above each other.

    samples: as Shards gives them: counts, mask (detector order), index, labels and, where the set has objects, image and support (centred).
    Patterns are on a log scale, each on its own; objects have the phase as colour and the magnitude as brightness, and are all
    zoomed to the same window. columns: samples in a row; by default as many as look well.
    """
    flat = samples[0]["counts"].ndim == 2
    objects = "image" in samples[0]
    columns = min(len(samples), columns or ((6 if objects else 8) if flat else 4))
    rows = -(-len(samples) // columns)
    high = 1 if flat or not objects else 2
    wide = (1 + objects) if flat else 3
    cell = 1.35 if flat else 1.05
    width, height = columns * wide * cell + 0.2, rows * (high * cell + 0.3) + 1.4
    figure = new_figure(width, height)
    figure.get_layout_engine().set(rect=(0, _KEY / height, 1, 1 - _KEY / height))  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    half = _half(samples) if objects else 0
    for axis, sample in zip(axes, samples):
        strips = [_pattern(sample["counts"], sample["mask"])]
        if objects:
            strips.append(_object(sample["image"], half))
        _lay(axis, strips, side_by_side=flat)
        axis.set_title(_name(sample), fontsize=8, pad=3, loc="left")
    figure.suptitle(title, fontsize=11)
    from matplotlib.patches import Patch

    if any(sample["mask"].any() for sample in samples):
        key = [Patch(color=UNMEASURED, label="not measured")]
        figure.legend(handles=key, loc="center right", bbox_to_anchor=(0.5, 0.42 * _KEY / height), frameon=False, fontsize=9)
    if objects:
        phase_wheel(figure.add_axes((0.56, 0.22 * _KEY / height, 0.4 * _KEY / width, 0.4 * _KEY / height)))
    return figure


def _name(sample: dict[str, Any]) -> str:
    return f"{sample['index']}  {sample['labels'].get('body', '')}".strip()


def _half(samples: Sequence[dict[str, Any]]) -> int:
    """Half the side of a window about the centre that holds every one of the objects."""
    most = 4
    for sample in samples:
        for axis, n in enumerate(sample["support"].shape):
            line = np.flatnonzero(sample["support"].any(axis=tuple(a for a in range(sample["support"].ndim) if a != axis)))
            if len(line):
                most = max(most, n // 2 - int(line[0]) + 2, int(line[-1]) - n // 2 + 3)
    return most


def _pattern(counts: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Colours (rows, columns, 3) of each plane through the zero frequency."""
    style = intensity_style(counts.astype(np.float32), mask == 0)
    planes = planes_through(counts.shape, [n // 2 for n in counts.shape])
    return [style["cmap"](style["norm"](np.ma.masked_array(counts[p.index], mask[p.index] != 0)))[..., :3] for p in planes]


def _object(image: np.ndarray, half: int) -> list[np.ndarray]:
    """Colours of each plane through the centre, the window of the half side `half`, mean phase 0."""
    total = image.sum(dtype=np.complex128)
    image = image * np.exp(-1j * np.angle(total))
    top = upper_limit(np.abs(image))
    window = tuple(slice(max(0, n // 2 - half), n // 2 + half) for n in image.shape)
    planes = planes_through(image.shape, [n // 2 for n in image.shape])
    return [domain_colours(image[p.index][window[p.rows], window[p.columns]], top) for p in planes]


def _lay(axis: Axes, strips: list[list[np.ndarray]], side_by_side: bool) -> None:
    """Pictures of one height, those of a strip from left to right; the strips beside each other or below."""
    x = y = right = bottom = 0.0
    for strip in strips:
        if not side_by_side:
            x = 0.0
        for picture in strip:
            rows, columns = picture.shape[:2]
            width = min(3.0, columns / rows)
            axis.imshow(picture, extent=(x, x + width, y + 1, y), interpolation="nearest", aspect="equal")
            right, bottom = max(right, x + width), max(bottom, y + 1)
            x += width + _GAP
        if not side_by_side:
            y += 1 + _GAP
    axis.set(xlim=(0, right), ylim=(bottom, 0))
