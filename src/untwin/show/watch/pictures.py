"""The small pictures of a run as PNG."""

from __future__ import annotations

import io
from functools import cache

import numpy as np

from untwin.live.view import Panel
from untwin.show.style import colour_map, phase_colours

MAPS = {"signed": "CET_D1A"}


def png(panel: Panel) -> bytes:
    """Of a panel; transparent where a phase means nothing."""
    from PIL import Image

    buffer = io.BytesIO()
    if panel.kind in ("picture", "magnitude"):
        Image.fromarray(panel.pixels).save(buffer, "PNG")
        return buffer.getvalue()
    picture = Image.fromarray(panel.pixels, "L")
    picture.putpalette(_palette(panel.kind))
    picture.save(buffer, "PNG", **({"transparency": 0} if panel.kind == "phase" else {}))
    return buffer.getvalue()


@cache
def _palette(kind: str) -> bytes:
    """256 colours. Of phases the first is that of no phase."""
    if kind == "phase":
        colours = phase_colours()(np.concatenate([[0.0], np.linspace(0, 1, 255)]))
    else:
        colours = colour_map(MAPS[kind])(np.linspace(0, 1, 256))
    return (255 * colours[:, :3]).round().astype(np.uint8).tobytes()
