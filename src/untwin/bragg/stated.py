"""What the user says of a measurement that no file says."""

from __future__ import annotations

from dataclasses import dataclass, field

from untwin.bragg.diffractometer import Diffractometer

Motion = float | tuple[float, float] | str  # a constant; (start, step from frame to frame); the name of a column or motor of the log


@dataclass(frozen=True)
class Stated:
    """A diffractometer and where it stood.

    angles: degrees by the name of the circle; those that are not named are looked for in the log under this name, and are 0 without one.
    energy: eV. distance: m. pixel_size: (slow, fast), m. direct_beam: (row, column) of the frames where the beam falls when all detector
    angles are zero; None: the angles of the detector are those of the peak. monitor: the name of a column of the log.
    """

    diffractometer: Diffractometer
    angles: dict[str, Motion] = field(default_factory=dict)
    energy: Motion | None = None
    distance: float | None = None
    pixel_size: tuple[float, float] | None = None
    direct_beam: tuple[float, float] | None = None
    monitor: str | None = None
