"""Diffractometers: their circles, the directions of rotation, and how the detector's pixels lie. A beamline is a row of a table.

One frame for all, that of CXI: z downstream, y up, x = y × z. "y+" is a right-handed rotation about +y, "x-" one about −x.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from untwin.errors import InputError

AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True)
class Circle:
    """A stage that turns what it carries. name: of its motor. axis: such as "y+", at all outer circles zero."""

    name: str
    axis: str

    def __post_init__(self) -> None:
        direction(self.axis)


@dataclass(frozen=True)
class Diffractometer:
    """A row of the table.

    name: of the beamline. sample, detector: circles, the outermost first. slow, fast: where row and column numbers grow when all detector
    angles are zero, such as "y-" and "x+". source: who says so. doubt: where public sources disagree, as a sentence; or nothing.
    """

    name: str
    sample: tuple[Circle, ...]
    detector: tuple[Circle, ...]
    slow: str
    fast: str
    source: str
    doubt: str = ""

    def __post_init__(self) -> None:
        if abs(float(direction(self.slow) @ direction(self.fast))) > 0.5:
            raise InputError(f"{self.name}: rows grow along {self.slow} and columns along {self.fast}; expected two different axes")


def direction(axis: str) -> np.ndarray:
    """(3,) float64: the unit vector (x, y, z) of a text such as "y-". Raises InputError."""
    match = re.fullmatch(r"([xyz])([+-])", axis) if isinstance(axis, str) else None
    if match is None:
        raise InputError(f"{axis!r} is no direction; expected an axis of the laboratory with its sign, such as 'y+' or 'x-'")
    vector = np.zeros(3)
    vector[AXES[match[1]]] = 1 if match[2] == "+" else -1
    return vector


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3): right-handed, about a unit vector, by so many radians (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def orientation(circles: Sequence[Circle], angles: Sequence[float]) -> np.ndarray:
    """(3, 3): the rotation of what the innermost circle carries, R(a_1, t_1) ... R(a_m, t_m). angles: degrees, the outermost first."""
    total = np.eye(3)
    for circle, angle in zip(circles, angles, strict=True):
        total = total @ rotation(direction(circle.axis), np.radians(angle))
    return total


def axes(circles: Sequence[Circle], angles: Sequence[float]) -> np.ndarray:
    """(circles, 3): the axis of each in the laboratory, outer circles applied. angles: degrees."""
    return np.array([orientation(circles[:k], angles[:k]) @ direction(circle.axis) for k, circle in enumerate(circles)]).reshape(-1, 3)
