"""What a page needs to show a crystal that one can turn, cut and step through: triangles and voxels, in bytes (templates/view.js)."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.bragg.strain import ISOSURFACE, level
from untwin.show.orientation import AS_STORED, Orientation
from untwin.show.strain import NM, diverging
from untwin.show.style import bounding_box, colour_map, phase_colours, phase_limit, upper_limit, without_mean_phase
from untwin.show.surface import Surface, steps_of, surface_of, viewed

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from untwin.bragg.maps import StrainMap
    from untwin.runs.solution import Reconstruction

TRIANGLES = 30_000  # in the page, at most: WebGL 1 counts 65,536 points
VOXELS = 200_000  # of a volume in the page, at most; of a larger one every second, third ... is taken
TURN = 25.0  # degrees about y, as in the painting


@dataclass(frozen=True, eq=False)
class Quantity:
    """What the crystal is coloured by. values: (*grid), NaN where it is not known. corners: (p,), the same at the points of the surface.
    low, high: where the colours end; text: what the legend says there. cyclic: high is low again."""

    label: str
    values: np.ndarray
    corners: np.ndarray
    low: float
    high: float
    text: tuple[str, str]
    colours: Colormap
    cyclic: bool = False

    def encoded(self, box: tuple[slice, ...]) -> dict[str, Any]:
        palette = (255 * self.colours(np.arange(256) / 255)[:, :3]).round().astype(np.uint8)
        parts = {"palette": palette, "surface": self._levels(self.corners), "volume": self._levels(self.values[box])}
        return {"label": self.label, "low": self.text[0], "high": self.text[1], "cyclic": self.cyclic, **_texts(parts)}

    def _levels(self, values: np.ndarray) -> np.ndarray:
        """1 to 255 from low to high, 0 where the value is not known."""
        at = 1 + 254 * (np.clip(values, self.low, self.high) - self.low) / (self.high - self.low)
        return np.where(np.isfinite(values), at, 0).round().astype(np.uint8)


def object_view(solution: Reconstruction, shown: Orientation = AS_STORED) -> dict[str, Any] | None:
    """Of a reconstructed volume, coloured by its phase; None in 2D, and where there is nothing above 0."""
    if solution.image.ndim != 3:
        return None
    solution = shown.applied(solution)
    support = solution.support.numpy()
    image = without_mean_phase(solution.image.numpy(), support)
    steps, unit, upright = steps_of(solution)
    surface = surface_of(image, ISOSURFACE * level(image, support), steps, TRIANGLES)
    if surface is None:
        return None
    inside = np.abs(image) >= surface.level
    quantity = _phase(image, support, inside, surface)
    mirror = [-1 if name in shown.flip else 1 for name in "xyz"]
    return _view(surface, np.abs(image), support, (quantity,), steps, {"unit": unit, "upright": upright, "mirror": mirror, "axes": "xyz"})


def strain_view(m: StrainMap) -> dict[str, Any] | None:
    """Of a map on a regular grid, coloured by displacement, strain or phase."""
    from scipy import ndimage

    surface = surface_of(m.image, ISOSURFACE * level(m.image, m.support), NM * m.vectors, TRIANGLES)
    if surface is None or not np.isfinite(m.strain).any():
        return None
    at = np.rint(surface.indices).astype(int).clip(0, np.array(m.support.shape) - 1)
    quantities = []
    for label, values, where in (("strain", m.strain, m.bulk), ("displacement along q (nm)", NM * m.displacement, m.support)):
        style = diverging(values, where)
        known = np.isfinite(values)
        nearest = np.asarray(ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True))
        index = tuple(nearest[(slice(None), *at.T)])
        corners = np.where(m.uncertain[index], np.nan, values[index])
        text = (f"{style['vmin']:.2g}".replace("-", "−"), f"{style['vmax']:.2g}")
        shown = np.where(m.uncertain, np.nan, values)
        quantities.append(Quantity(label, shown, corners, style["vmin"], style["vmax"], text, style["cmap"]))
    image = without_mean_phase(m.image, m.support)
    quantities.append(_phase(image, m.support, np.abs(image) >= surface.level, surface))
    frame = {"unit": "nm", "upright": True, "mirror": [1, 1, 1], "axes": list(m.axes)}
    return _view(surface, np.abs(image), m.support, tuple(quantities), NM * m.vectors, frame)


def _phase(image: np.ndarray, support: np.ndarray, inside: np.ndarray, surface: Surface) -> Quantity:
    limit = phase_limit(image, support & inside)
    cyclic = limit == math.pi
    text = ("−π", "π") if cyclic else (f"−{limit:.3g}", f"{limit:.3g}")
    colours = phase_colours() if cyclic else colour_map("CET_D1A")
    values = np.where(support, np.angle(image), np.nan)
    return Quantity("phase (rad)", values, np.angle(surface.values), -limit, limit, text, colours, cyclic)


def _view(
    surface: Surface, magnitude: np.ndarray, support: np.ndarray, quantities: tuple[Quantity, ...], steps: np.ndarray, frame: dict[str, Any]
) -> dict[str, Any]:
    """The dictionary that the page reads. Its indices count from the first voxel of the box that holds support and surface."""
    low, high = bounding_box(support | (magnitude >= surface.level))
    low, high = np.maximum(low - 1, 0), np.minimum(high + 1, support.shape)  # a rim that is dark: colours at its edge go on for ever
    size = high - low
    stride = max(1, math.ceil((float(np.prod(size)) / VOXELS) ** (1 / 3)))
    box = tuple(slice(int(a), int(b), stride) for a, b in zip(low, high))
    part = magnitude[box]
    levels = (255 * part / upper_limit(magnitude)).round().astype(np.uint8)
    relative = surface.indices - low
    middle = (relative.min(0) + relative.max(0)) / 2
    parts = {
        "points": np.round((relative + 1) / (size + 1) * 65535).clip(0, 65535).astype("<u2"),
        "normals": np.round(127 * surface.outward).astype(np.int8),
        "faces": surface.faces.astype("<u2"),
        "magnitude": levels,
    }
    return {
        **frame,
        "names": list("zyx") if list(frame["axes"]) == list("xyz") else list(reversed(frame["axes"])),
        "steps": steps.tolist(),
        "turn": viewed(np.eye(3), TURN, frame["upright"]).T.tolist(),
        "size": (size + 1).tolist(),
        "origin": middle.tolist(),
        "radius": 1.08 * float(np.linalg.norm((relative - middle) @ steps, axis=1).max()),
        "shape": list(part.shape),
        "first": low.tolist(),
        "stride": stride,
        "middle": np.rint(middle / stride).astype(int).clip(0, np.array(part.shape) - 1).tolist(),
        "level": math.ceil(255 * surface.level / upper_limit(magnitude)),
        "fields": [q.encoded(box) for q in quantities],
        **_texts(parts),
    }


def _texts(parts: dict[str, np.ndarray]) -> dict[str, str]:
    return {name: base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii") for name, values in parts.items()}
