"""Detectors of the beamlines: what frames do not say of themselves. A new one is a row of the table."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

_UM = 1e-6


@dataclass(frozen=True)
class Detector:
    """name: what it is called. pixel: m, of its square pixels. shape: (rows, columns) of its full frame, or None. rows, columns: gaps
    between its chips and modules, (first, one after the last). saturation: counts from which a pixel of one exposure is not to be trusted,
    or None. seam: (rows, columns) that lie between the chips and that the frames leave out, at the middle of the shape.
    """

    name: str
    pixel: float
    shape: tuple[int, int] | None = None
    rows: tuple[tuple[int, int], ...] = ()
    columns: tuple[tuple[int, int], ...] = ()
    saturation: float | None = None
    seam: tuple[int, int] = (0, 0)
    boxes: tuple[tuple[int, int, int, int], ...] = field(default=())  # first row, one after the last, first column, one after the last


# Pixels, shapes, gaps and saturation: carnisj/bcdi (2024), experiment/detector.py; TIM1 and TIM2: AdvancedPhotonSource/cohere_beamlines
# (2026); Eiger 500K: RenZhe88/pyCXIM (2026). Names: as beamlines write them, the first that fits.
_MAXIPIX = Detector("Maxipix", 55 * _UM, (516, 516), ((255, 261),), ((255, 261),), 1e6)
_EIGER9M = Detector(
    "Eiger 9M", 75 * _UM, (3262, 3108),
    ((0, 1), (512, 550), (1062, 1100), (1612, 1650), (2162, 2200), (2712, 2750), (3261, 3262)),
    ((0, 1), (513, 515), (1028, 1040), (1553, 1555), (2068, 2080), (2593, 2595), (3107, 3108)), 4e9,
)  # fmt: skip
TABLE: tuple[tuple[str, Detector], ...] = (
    (r"34idcTIM1", Detector("34idcTIM1", 55 * _UM, (256, 256))),
    (r"34idcTIM2", Detector("34idcTIM2", 55 * _UM, (512, 512), seam=(5, 4))),
    (r"mpxgaas|mpx1x4|mpx22|mpx4\w*|maxi?pix", _MAXIPIX),
    (
        r"ei(ger)?2?[ _]?(?:si |cdte )?2m\w*",
        Detector(
            "Eiger 2M", 75 * _UM, (2164, 1030),
            ((255, 259), (511, 552), (804, 809), (1061, 1102), (1355, 1359), (1611, 1652), (1905, 1909)),
            ((255, 259), (513, 517), (771, 775)), 1e7,
            boxes=((0, 257, 72, 80), (1248, 1290, 478, 479), (1214, 1298, 481, 482), (1649, 1910, 620, 628)),
        ),
    ),
    (
        r"e(iger)?2?[ _]?(?:si |cdte )?4m",
        Detector(
            "Eiger 4M", 75 * _UM, (2167, 2070), ((0, 1), (513, 552), (1064, 1103), (1615, 1654), (2166, 2167)),
            ((0, 1), (1029, 1041), (2069, 2070)), 4e9,
        ),
    ),
    (r"e(iger)?2?[ _]?(?:si |cdte )?9m", _EIGER9M),
    (r"e(iger)?2?[ _]?(?:si |cdte )?500k?", Detector("Eiger 500K", 75 * _UM, (514, 1030))),
    (r"e(iger)?2?[ _]?(?:si |cdte )?1m", Detector("Eiger 1M", 75 * _UM, (1062, 1028))),
    (r"eiger", Detector("Eiger", 75 * _UM)),
    (r"merlin", Detector("Merlin", 55 * _UM, (515, 515), ((255, 260),), ((255, 260),), 1e6)),
    (r"lambda", Detector("Lambda", 55 * _UM, (516, 516), saturation=1.5e6)),
    (r"timepix|tim\d", Detector("Timepix", 55 * _UM, (256, 256))),
)  # fmt: skip


def detector(name: str, shape: tuple[int, int] | None = None) -> Detector | None:
    """The row of the table for a name as a file has it, or for a shape that one of them alone has; None where neither tells."""
    text = name.strip(" :")
    for pattern, row in TABLE:
        if re.search(rf"(?<![A-Za-z0-9])({pattern})(?![A-Za-z0-9])", text, re.IGNORECASE):
            alike = [r for _, r in TABLE if r.shape == shape and r.pixel == row.pixel and r.name.startswith(row.name)]
            return alike[0] if row.shape is None and len(alike) == 1 else row  # eiger: which one, by its shape
    rows = [row for _, row in TABLE if shape is not None and row.shape == shape and shape[0] > 512] if not text else []
    return rows[0] if len(rows) == 1 else None


def gaps(row: Detector, shape: tuple[int, int]) -> np.ndarray | None:
    """bool, True in the gaps of frames that show the full detector; None where there are none, or the frames show a part of it."""
    if row.shape != shape or not (row.rows or row.columns or row.boxes):
        return None
    bad = np.zeros(shape, bool)
    for first, last in row.rows:
        bad[first:last] = True
    for first, last in row.columns:
        bad[:, first:last] = True
    for top, bottom, left, right in row.boxes:
        bad[top:bottom, left:right] = True
    return bad
