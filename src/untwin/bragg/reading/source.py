"""The frames of a scan as they lie in files, before they are matched with the rows of a log; and what the files say of their detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Source:
    """names: of the file, or FILE::DATASET, of each frame. numbers: of the frames, in their names, or None. bad: (rows, columns), True
    where the files say so. missing: (frames,) bool, True where the file of a frame is not there. distance, pixel_size: m; direct_beam:
    (row, column); exposure: s; each None where the files do not say. label: for titles."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    load: Callable[[int], np.ndarray]
    names: tuple[str, ...]
    numbers: list[int] | None = None
    bad: np.ndarray | None = None
    saturation: float | None = None
    detector: str = ""
    distance: float | None = None
    pixel_size: tuple[float, float] | None = None
    direct_beam: tuple[float, float] | None = None
    exposure: float | None = None
    missing: np.ndarray | None = None
    label: str = ""
