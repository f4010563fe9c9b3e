"""Small rocking scans of a crystal, with the faults that a detector and a beamline have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from untwin.bragg.beamlines import TABLE
from untwin.bragg.instrument import Instrument
from untwin.bragg.scan import Frames, Scan

SHAPE = (48, 96, 112)
PEAK = (22, 50, 58)


def crystal(shape: tuple[int, int, int] = SHAPE, size: tuple[float, ...] = (8.0, 17.0, 21.0), phase: float = 1.0) -> np.ndarray:
    """(*shape) complex, centred: a box with one corner cut off, and a smooth phase of so many radians."""
    z, y, x = (np.arange(n).reshape([-1 if a == axis else 1 for a in range(3)]) - n // 2 for axis, n in enumerate(shape))
    inside = (abs(z) <= size[0] / 2) & (abs(y) <= size[1] / 2) & (abs(x) <= size[2] / 2)
    inside = inside & (z / size[0] + y / size[1] + x / size[2] < 0.9)
    return inside * np.exp(1j * phase * np.cos(2 * z / size[0] + 3 * y / size[1] + x / size[2]))


def light(
    counts: float = 1e6, peak: tuple[int, int, int] = PEAK, shape: tuple[int, int, int] = SHAPE, background: float = 0.02, **more
) -> np.ndarray:
    """(*shape) expected counts: the pattern of a crystal about `peak`, cut off at the edges, and a background."""
    large = tuple(2 * n for n in shape)
    pattern = np.abs(np.fft.fftshift(np.fft.fftn(crystal(large, tuple(2 * s for s in more.pop("size", (8.0, 17.0, 21.0))), **more)))) ** 2
    start = [n - c for n, c in zip(shape, peak)]
    pattern = pattern[tuple(slice(a, a + n) for a, n in zip(start, shape))]
    return counts * pattern / pattern.sum() + background


def scan(frames: np.ndarray, step: float = 0.005, **more) -> Scan:
    """Of frames in memory, at 34-ID-C: theta turns. more: fields of the Scan."""
    frames = np.asarray(frames)
    n = len(frames)
    sample = np.column_stack([0.2 + step * np.arange(n), np.full(n, 90.0), np.full(n, -5.0)])
    instrument = Instrument(TABLE["34idc"], sample, np.tile([32.0, 12.0], (n, 1)), np.full(n, 9000.0), 0.5, (55e-6, 55e-6), (50.0, 60.0))
    return Scan(Frames(frames.shape, frames.dtype, lambda k: frames[k]), instrument, **{"label": "scan", **more})


def poisson(expected: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(expected).astype(np.int32)


def without(measured: Scan, frame: int) -> Scan:
    """The same scan with one frame that nobody wrote."""
    keep = [k for k in range(measured.frames.shape[0]) if k != frame]
    i, load = measured.instrument, measured.frames.load
    return replace(
        measured,
        frames=replace(measured.frames, shape=(len(keep), *measured.frames.shape[1:]), load=lambda k: load(keep[k])),
        instrument=replace(i, sample=i.sample[keep], detector=i.detector[keep], energy=i.energy[keep]),
        monitor=None if measured.monitor is None else measured.monitor[keep],
    )
