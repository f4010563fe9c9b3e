"""Beamlines as they are simulated: angles at which gold's 111 is in the middle of the detector, and the cameras that stand there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from untwin.bragg.detectors import Detector, detector, gaps


@dataclass(frozen=True)
class Camera:
    """A photon-counting detector. name: as the beamline's files have it; its pixels and gaps are those of bragg.detectors. dtype: of the
    numbers in files; blank: what they hold in gaps. marked: whether that number says by itself that the pixel is none (the largest of its
    type: DECTRIS)."""

    name: str
    dtype: str = "int32"
    blank: int = 0
    marked: bool = False

    @cached_property
    def detector(self) -> Detector:
        row = detector(self.name)
        assert row is not None and row.shape is not None, self.name
        return row

    @property
    def shape(self) -> tuple[int, int]:
        """Of all of it."""
        assert self.detector.shape is not None
        return self.detector.shape

    @property
    def pixel(self) -> float:
        """m."""
        return self.detector.pixel

    def gaps(self) -> np.ndarray:
        """bool, of the camera's shape."""
        mask = gaps(self.detector, self.shape)
        return np.zeros(self.shape, dtype=bool) if mask is None else mask


@dataclass(frozen=True)
class Station:
    """energy: eV. distance: m. middle: (row, column) of the camera where the window's middle lies. sample, detector: degrees, as the row
    of the beamline orders its circles; those of the sample at the peak. rocking: the circle that turns, by `step` degrees per frame.
    direct: (row, column) of the direct beam, counted from the window's middle; far away where the detector has no circles."""

    energy: float
    distance: float
    camera: Camera
    middle: tuple[int, int]
    sample: tuple[float, ...]
    detector: tuple[float, ...]
    rocking: str
    step: float
    direct: tuple[float, float] = (0.0, 0.0)


# The camera of 34-ID-C: frames, flat and spec file of a scan that the beamline wrote in 2020
MAXIPIX = Camera("mpxgaas", "uint32")
MERLIN = Camera("merlin", "uint32")
TIMEPIX = Camera("34idcTIM2")
EIGER_4M = Camera("eiger4m", "uint32", 2**32 - 1, marked=True)
EIGER_9M = Camera("eiger9m", "uint32", 2**32 - 1, marked=True)

# Angles: 34-ID-C those of the same measured scan (gold 111 to 0.8 %); the others so that 2θ is gold's 111 (d = 0.23546 nm) at the energy to
# 0.1 degrees, with a small angle beside it where the beamline has one. Distances: a field of view of about 1.3 µm with the camera's pixels.
# Steps: likewise along the rocking curve. Middles: 40 pixels beside a gap, so that it crosses the pattern away from the peak.
STATIONS = {
    "34idc": Station(9000, 0.5, TIMEPIX, (128, 128), (0.22, 90, -5), (32.174, 12.6346), "theta", 0.01),
    "id01": Station(9000, 0.5, MAXIPIX, (215, 320), (0, 17.05, 40), (1.2, 34.0), "eta", 0.01),
    "p10": Station(8790, 0.7, EIGER_4M, (474, 900), (0, 17.4, 90, 12), (1.35, 34.83), "om", 0.01),
    "nanomax": Station(9500, 0.55, MERLIN, (300, 215), (0.6, 16.1), (32.15, 1.5), "gonphi", 0.01),
    "cristal": Station(8500, 0.5, MAXIPIX, (215, 180), (18.0, 25), (0.8, 36.07), "omega", 0.01),
    "sixs": Station(8500, 0.5, MAXIPIX, (301, 320), (0.4, 31.0), (0.4, 35.8, 4.0), "mu", 0.01),
    "id27": Station(33000, 2.6, EIGER_9M, (1140, 300), (8.0,), (), "nath", 0.01, direct=(35.0, -5586.0)),
    "bm02": Station(9000, 0.5, MERLIN, (215, 330), (0, 17.0, 90, 3), (1.0, 34.0), "eta", 0.01),
}
