"""The wave that a crystal scatters to any wave vector near a Bragg peak: F(q) = ∫ ρ(r) exp(−i (q − Q)·r − i Q·u(r)) d³r.

The pixels of a scan lie on curved, turning Ewald spheres, no grid. F is summed once on a grid that is finer than its own structure, and
read off between the grid's points, which is a nonuniform Fourier transform (Dutt and Rokhlin, SIAM J. Sci. Comput. 14, 1993) with a spline
for its kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DEGREE = 5  # of the spline
FINER = (
    6.0  # times finer than 1 / extent of the object is the grid: the spline's error is (1 / 11)^6 = 6e-7 of what lies at the object's ends
)
MARGIN = DEGREE // 2 + 2  # grid points beyond the last pixel


@dataclass(frozen=True, eq=False)
class Wave:
    """F of one crystal. Coordinates are indices: q − Q = f B, f a frame, a row and a column counted from the peak.

    values: complex128, coefficients of the spline at f = first + k spacing. sampling: B, rows (x, y, z), rad/m.
    """

    values: np.ndarray
    first: np.ndarray
    spacing: np.ndarray
    sampling: np.ndarray

    def __call__(self, q: np.ndarray) -> np.ndarray:
        """(...) complex128: F at wave vectors (..., 3), counted from Q."""
        from scipy import ndimage

        at = (q @ np.linalg.inv(self.sampling) - self.first) / self.spacing
        coordinates = np.moveaxis(at, -1, 0).reshape(3, -1)
        values = ndimage.map_coordinates(self.values, coordinates, order=DEGREE, prefilter=False)
        return np.asarray(values).reshape(at.shape[:-1])


@dataclass(frozen=True, eq=False)
class Cells:
    """The crystal as points: along the axis a at the fractions k step_a of the field of view that belongs to `sampling`.

    numbers: k of each axis. points: (n0, n1, n2, 3) m. volume: of one cell, m³.
    """

    numbers: tuple[np.ndarray, ...]
    step: np.ndarray
    points: np.ndarray
    volume: float


def cells(corners: np.ndarray, sampling: np.ndarray, fine: float, margin: float) -> Cells:
    """Cells that cover a body about the origin. corners: (v, 3) of the body, m. fine: distance of the cells' planes, m. margin: m, around.

    Planes along B_a of distance d are fractions of d |B_a| / 2π of the field of view apart."""
    lengths = np.linalg.norm(sampling, axis=1)
    step = fine * lengths / (2 * np.pi)
    reach = np.abs(corners @ sampling.T).max(0) / (2 * np.pi) + margin * lengths / (2 * np.pi)
    numbers = tuple(np.arange(-np.ceil(r / s), np.ceil(r / s) + 1) for r, s in zip(reach, step))
    field = 2 * np.pi * np.linalg.inv(sampling).T
    points = sum(np.multiply.outer(k * s, v).reshape([-1 if a == axis else 1 for a in range(3)] + [3])
                 for axis, (k, s, v) in enumerate(zip(numbers, step, field)))  # fmt: skip
    return Cells(numbers, step, np.asarray(points), float(abs(np.linalg.det(field)) * step.prod()))


def wave(image: Callable[[np.ndarray], np.ndarray], grid: Cells, sampling: np.ndarray, low: np.ndarray, high: np.ndarray) -> Wave:
    """F for all f between low and high (3,), indices from the peak. image: points (..., 3) m -> ρ exp(−i Q·u)."""
    values = image(grid.points) * grid.volume
    first, spacing = np.zeros(3), np.zeros(3)
    for axis, (k, s) in enumerate(zip(grid.numbers, grid.step)):
        fraction = k * s
        spacing[axis] = 1 / (FINER * (fraction[-1] - fraction[0]))
        start, stop = np.floor(low[axis] / spacing[axis]) - MARGIN, np.ceil(high[axis] / spacing[axis]) + MARGIN
        first[axis] = start * spacing[axis]
        at = np.arange(start, stop + 1) * spacing[axis]
        spline = np.sinc(spacing[axis] * fraction) ** (DEGREE + 1)  # its transform, which reading between the points multiplies with
        phases = np.exp(-2j * np.pi * np.multiply.outer(at, fraction)) / spline
        values = np.moveaxis(np.tensordot(phases, values, (1, axis)), 0, axis)
    return Wave(np.ascontiguousarray(values), first, spacing, sampling)
