"""Detectors of several chips whose frames leave out what lies between the chips: the rows and columns are put in, not measured, so that the
pixels lie where they are (TIM2 at 34-ID-C: AdvancedPhotonSource/cohere_beamlines, aps_34idc/detectors.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untwin.bragg.detectors import Detector

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Seam:
    """at: (row, column) of the detector before which the seam lies. width: (rows, columns). window: of the detector, as the log counts
    it: (first row, rows, first column, columns)."""

    at: tuple[int, int]
    width: tuple[int, int]
    window: Window

    def crosses(self) -> bool:
        """Does it go through the frames?"""
        return any(0 < inside < self.window[2 * axis + 1] for axis, inside in enumerate(self._inside()))

    def wide(self, window: Window) -> Window:
        """The window where the seam counts."""
        shifts = [self.width[axis] if window[2 * axis] >= self.at[axis] else 0 for axis in (0, 1)]
        grown = [self.width[axis] if window[2 * axis] < self.at[axis] < window[2 * axis] + window[2 * axis + 1] else 0 for axis in (0, 1)]
        return window[0] + shifts[0], window[1] + grown[0], window[2] + shifts[1], window[3] + grown[1]

    def opened(self, array: np.ndarray, fill: float | bool) -> np.ndarray:
        """An array of the frames, or of the detector, with the seam in it. Any other as it is."""
        shape = (self.window[1], self.window[3])
        full = (2 * self.at[0], 2 * self.at[1])
        if array.shape not in (shape, full):
            return array
        inside = self._inside() if array.shape == shape else self.at
        for axis, at in enumerate(inside):
            if 0 < at < array.shape[axis]:
                array = np.insert(array, np.full(self.width[axis], at), fill, axis=axis)
        return array

    def size(self, frame: tuple[int, int]) -> tuple[int, int]:
        """Of a frame with the seam in it."""
        rows, columns = (n + (self.width[axis] if 0 < at < n else 0) for axis, (n, at) in enumerate(zip(frame, self._inside())))
        return rows, columns

    def point(self, row: float, column: float) -> tuple[float, float]:
        """A point of the frames, where it lies with the seam in them."""
        shifted = [
            p + (self.width[axis] if 0 < at < self.window[2 * axis + 1] and p > at - 0.5 else 0)
            for axis, (p, at) in enumerate(zip((row, column), self._inside()))
        ]
        return shifted[0], shifted[1]

    def _inside(self) -> tuple[int, int]:
        return self.at[0] - self.window[0], self.at[1] - self.window[2]


def seam(row: Detector | None, window: Window | None, frame: tuple[int, int]) -> Seam | None:
    """None where none goes through the frames, or nothing tells which part of the detector they show."""
    if row is None or row.shape is None or not any(row.seam):
        return None
    if window is None:
        window = (0, *frame[:1], 0, *frame[1:]) if frame == row.shape else None
    line = Seam((row.shape[0] // 2, row.shape[1] // 2), row.seam, window) if window is not None else None
    return line if line is not None and line.crosses() else None
