"""Small pictures without axes: of a result in the table of a batch, of anything in a notebook. Panels are (rows, columns, 3), 0 to 1."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from untwin.show.style import OUTSIDE, masked_phase, phase_style, planes_through, upper_limit, window_around

Window = list[tuple[int, int]]
WIDEST = 4  # times its height, at most


def strip(panels: Sequence[np.ndarray], height: int) -> bytes:
    """A PNG of the panels side by side, each of this height: large pixels stay pixels, and small ones are averaged."""
    from PIL import Image

    pictures = []
    for panel in panels:
        picture = Image.fromarray((255 * panel).clip(0, 255).astype(np.uint8))
        width = min(WIDEST * height, max(8, round(picture.width * height / picture.height)))
        pictures.append(picture.resize((width, height), Image.Resampling.NEAREST if picture.height <= height else Image.Resampling.BOX))
    gap = max(1, height // 32)
    canvas = Image.new("RGB", (sum(p.width + gap for p in pictures) - gap, height), OUTSIDE)
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + gap
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.repeat(((values - low) / (high - low if high > low else 1.0))[..., None], 3, -1)


def coloured(values: Any, style: dict[str, Any]) -> np.ndarray:
    """values: a masked array. style: of imshow, with cmap and either norm or vmin and vmax."""
    if (norm := style.get("norm")) is None:
        norm = lambda v: (v - style["vmin"]) / (style["vmax"] - style["vmin"])  # noqa: E731
    return np.asarray(style["cmap"](norm(values)))[..., :3]


def object_panels(image: np.ndarray, support: np.ndarray, window: Window | None = None) -> list[np.ndarray]:
    """Magnitude and phase, of a volume in the plane through the middle of its first axis. window: what of the array; by default around the
    support."""
    if image.ndim == 1:
        image, support = np.repeat(image[None], 8, 0), np.repeat(support[None], 8, 0)
        window = None if window is None else [(0, 8), *window]
    window = window or window_around(support)
    plane = planes_through(image.shape, [int((low + high) // 2) for low, high in window])[0]
    rows, columns = slice(*window[plane.rows]), slice(*window[plane.columns])
    x, inside = image[plane.index][rows, columns], support[plane.index][rows, columns]
    phase = masked_phase(x * np.exp(-1j * np.angle(image.sum(dtype=np.complex128))), inside)
    return [grey(np.abs(x), 0, upper_limit(np.abs(image))), coloured(phase, phase_style())]
