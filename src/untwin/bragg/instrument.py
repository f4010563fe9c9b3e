"""From angles to wave vectors: q of every pixel of a scan, and how it changes from one to the next.

Units: m, rad/m, degrees as motors have them. Frame: that of CXI (z downstream, y up, x = y × z), the crystal as it stands at one frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from untwin.bragg.diffractometer import Diffractometer, axes, direction, orientation
from untwin.data.measurement import Geometry
from untwin.data.units import PLANCK_LIGHT, VOLT

BEAM = np.array([0.0, 0.0, 1.0])
AIMED = "where the direct beam falls is not known: the detector's angles are taken as those of the peak, and its d-spacing is nominal"


@dataclass(frozen=True, eq=False)
class Instrument:
    """Where every frame of a scan was taken.

    sample, detector: (frames, circles) degrees, as the table orders the circles. energy: (frames,) eV. distance: from the sample to the
    detector, m. pixel_size: (slow, fast), m. direct_beam: (row, column) of the frames where the beam falls when all detector angles are
    zero; it is what the angles of the detector are counted from. (nan, nan) where nobody has said so: then the angles of the detector are
    taken as those of the peak, and `aimed` puts it there.
    """

    diffractometer: Diffractometer
    sample: np.ndarray
    detector: np.ndarray
    energy: np.ndarray
    distance: float
    pixel_size: tuple[float, float]
    direct_beam: tuple[float, float]

    @property
    def frames(self) -> int:
        return len(self.energy)

    @property
    def is_aimed(self) -> bool:
        """Is it known where the direct beam falls?"""
        return bool(np.isfinite(self.direct_beam).all())

    def aimed(self, row: float, column: float) -> Instrument:
        """The same, with the angles of the detector those of this pixel where nothing says which pixel they are of."""
        return self if self.is_aimed else replace(self, direct_beam=(float(row), float(column)))

    def wavenumber(self, frame: int) -> float:
        """2π / wavelength, rad/m."""
        return 2 * np.pi * float(self.energy[frame]) * VOLT / PLANCK_LIGHT

    def rays(self, frame: int, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """(..., 3): unit vectors from the sample to pixels (fractions allowed)."""
        d = self.diffractometer
        rows, columns = np.broadcast_arrays(np.asarray(row, dtype=np.float64), np.asarray(column, dtype=np.float64))
        at = self.distance * BEAM
        at = at + self.pixel_size[0] * (rows - self.direct_beam[0])[..., None] * direction(d.slow)
        at = at + self.pixel_size[1] * (columns - self.direct_beam[1])[..., None] * direction(d.fast)
        at = at @ orientation(d.detector, self.detector[frame]).T
        return at / np.linalg.norm(at, axis=-1, keepdims=True)

    def q(self, frame: int, row: np.ndarray, column: np.ndarray, stance: int) -> np.ndarray:
        """(..., 3) rad/m: k_f − k_i at pixels of a frame, in the crystal as it stands at the frame `stance`: R_s(stance) R_s(frame)ᵀ q."""
        circles = self.diffractometer.sample
        q = self.wavenumber(frame) * (self.rays(frame, row, column) - BEAM)
        return q @ (orientation(circles, self.sample[stance]) @ orientation(circles, self.sample[frame]).T).T

    def sampling(self, frame: int, row: float, column: float) -> np.ndarray:
        """(3, 3) rad/m: B, row a the change of q from one index of axis a (frame, row, column) to the next, at a pixel of a frame.

        A circle of the sample that turns by Δ per frame about a: −Δ a × q. One of the detector: Δ k a × n. The energy: q ΔE / E. A pixel
        p along e at the distance r: k p / r (e − (e·n) n), n the ray (all checked against differences of `q`: tests/test_instrument.py).
        """
        d, k = self.diffractometer, self.wavenumber(frame)
        n = self.rays(frame, np.asarray(row), np.asarray(column))
        q = k * (n - BEAM)
        step = np.zeros(3)
        for axis, by in zip(axes(d.sample, self.sample[frame]), np.radians(steps(self.sample))):
            step -= by * np.cross(axis, q)
        for axis, by in zip(axes(d.detector, self.detector[frame]), np.radians(steps(self.detector))):
            step += by * k * np.cross(axis, n)
        step += q * float(steps(self.energy[:, None])[0]) / float(self.energy[frame])
        carried = orientation(d.detector, self.detector[frame])
        offsets = ((row - self.direct_beam[0]) * self.pixel_size[0], (column - self.direct_beam[1]) * self.pixel_size[1])
        length = float(np.sqrt(self.distance**2 + offsets[0] ** 2 + offsets[1] ** 2))
        pixels = []
        for name, size in zip((d.slow, d.fast), self.pixel_size):
            e = carried @ direction(name)
            pixels.append(k * size / length * (e - (e @ n) * n))
        return np.array([step, *pixels])

    def geometry(self, frame: int, row: float, column: float, binning: tuple[int, int, int] = (1, 1, 1)) -> Geometry:
        """Of an array that is cut out of the scan: its zero frequency lies at this pixel of this frame. binning: frames, rows, columns that
        one of its pixels holds."""
        sampling = self.sampling(frame, row, column) * np.asarray(binning)[:, None]
        q = self.q(frame, np.asarray(row), np.asarray(column), frame)
        return Geometry(
            wavelength=2 * np.pi / self.wavenumber(frame),
            distance=self.distance,
            sampling=tuple((float(x), float(y), float(z)) for x, y, z in sampling),
            q=(float(q[0]), float(q[1]), float(q[2])),
        )


def steps(values: np.ndarray) -> np.ndarray:
    """(columns,): the change of each column from one frame to the next, by least squares; 0 for one frame."""
    if len(values) < 2:
        return np.zeros(values.shape[1])
    at = np.arange(len(values)) - (len(values) - 1) / 2
    return at @ values / (at @ at)
