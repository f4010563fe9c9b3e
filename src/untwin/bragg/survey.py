"""A first look at a scan, frame by frame: enough of it to find the peak and to choose a crop, in little memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from untwin.bragg.instrument import Instrument
from untwin.bragg.scan import Scan
from untwin.data.faults import isolated
from untwin.errors import InputError

BLOCKS = 128  # at most, along an axis of a frame,
BLOCK = 4  # pixels at least: about a fringe of a pattern that is sampled well (scan 54 of 34-ID-C: 4 to 5)
DIM = 1 / 3  # of the frames, those with the fewest counts, show the background
MISSING = 0.2  # of the frames: when more seem to be missing, the angles are not those of a regular scan


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the frames leaves. Hot pixels and bad ones are counted nowhere.

    counts: (frames, rows, columns) float32 in blocks of `block` pixels. background: likewise, what it would be without the peak.
    total: (rows, columns) float64, of all frames. hot: bool, likewise, pixels that are bright by themselves whatever the frame.
    shape: of the scan in pixels. block: pixels.
    """

    counts: np.ndarray
    background: np.ndarray
    total: np.ndarray
    hot: np.ndarray
    shape: tuple[int, int, int]
    block: int

    @property
    def light(self) -> np.ndarray:
        """(frames, rows, columns) float32: counts above the background, in blocks."""
        return self.counts - self.background

    @property
    def dark(self) -> np.ndarray:
        """(rows, columns) float64, of all frames: the background, in blocks."""
        return self.background.sum(0, dtype=np.float64)


def survey(scan: Scan, bad: np.ndarray) -> Survey:
    """Of all frames of a scan. bad: (rows, columns) bool. Raises InputError."""
    n, rows, columns = shape = scan.frames.shape
    block = max(BLOCK, -(-max(rows, columns) // BLOCKS))
    at = [np.arange(0, m, block) for m in (rows, columns)]
    counts = np.zeros((n, len(at[0]), len(at[1])), np.float32)
    total = np.zeros((rows, columns))
    for k in range(n):
        frame = trusted(scan.frames.load(k), bad, (rows, columns))
        frame[isolated(frame[None], ~bad[None], 1.0)[0]] = 0
        total += frame
        counts[k] = np.add.reduceat(np.add.reduceat(frame, at[0], 0), at[1], 1)
    if not total.any():
        raise InputError(f"nothing was counted in the {n} frames of {scan.label or 'the scan'}; expected a peak: check frames and mask")
    hot = isolated(total[None], ~bad[None], 1.0)[0]
    total[hot] = 0
    return Survey(counts, _background(counts), total, hot, shape, block)


def trusted(frame: np.ndarray, bad: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(rows, columns) float32: 0 where bad, and where the number is a code (negative, NaN, the largest of its type). Raises InputError."""
    frame = np.asarray(frame)
    if frame.shape != shape or frame.dtype.kind not in "iufb":
        raise InputError(f"a frame of the scan has shape {frame.shape} and type {frame.dtype}; expected real numbers of shape {shape}")
    good = ~bad & (np.isfinite(frame) & (frame >= 0) if frame.dtype.kind == "f" else frame >= 0)
    if frame.dtype.kind in "iu" and frame.dtype.itemsize >= 2:
        good &= frame < np.iinfo(frame.dtype).max
    return np.where(good, frame, 0).astype(np.float32)


def _background(counts: np.ndarray) -> np.ndarray:
    """What the dimmest frames have in each block, times how bright the frame is where it is dim: the beam may come and go."""
    order = np.argsort(counts.sum((1, 2), dtype=np.float64), kind="stable")
    lit = order[np.searchsorted(counts.sum((1, 2), dtype=np.float64)[order], 0, side="right") :]
    few = lit[: max(1, int(DIM * len(lit)))]
    image = counts[few].mean(0, dtype=np.float64)
    around = image <= np.median(image)
    level = counts[:, around].sum(1, dtype=np.float64)
    scale = level / max(float(level[few].mean()), 1e-30)
    enough = float(level[few].mean()) > 100  # counts: fewer say nothing of the beam
    return (image * (scale if enough else np.ones(len(scale)))[:, None, None]).astype(np.float32)


def complete(scan: Scan) -> tuple[Scan, np.ndarray]:
    """The scan with a number for every step of its angles, and which of its frames are missing, bool: as the files say, or where the motors
    step over one.

    What is missing loads as zeros.
    """
    n = scan.frames.shape[0]
    if scan.frames.absent is not None:
        return scan, np.asarray(scan.frames.absent, bool)
    number = _numbers(scan.instrument)
    if number is None:
        return scan, np.zeros(n, bool)
    size = int(number[-1]) + 1
    missing = np.ones(size, bool)
    missing[number] = False
    at, load = {int(k): j for j, k in enumerate(number)}, scan.frames.load
    nothing = np.zeros(scan.frames.shape[1:], scan.frames.dtype)

    def filled(values: np.ndarray) -> np.ndarray:
        columns = values.reshape(n, -1).T
        return np.array([np.interp(np.arange(size), number, c) for c in columns]).T.reshape(size, *values.shape[1:])

    i = scan.instrument
    return replace(
        scan,
        frames=replace(scan.frames, shape=(size, *scan.frames.shape[1:]), load=lambda k: load(at[k]) if k in at else nothing, names=()),
        instrument=replace(i, sample=filled(i.sample), detector=filled(i.detector), energy=filled(i.energy)),
        monitor=None if scan.monitor is None else filled(np.asarray(scan.monitor, dtype=np.float64)),
    ), missing


def _numbers(instrument: Instrument) -> np.ndarray | None:
    """(frames,): of the steps of the motor that moves most, from 0 on, where some are stepped over; None where there are none, or where
    the motor does not step regularly."""
    motors = np.hstack([instrument.sample, instrument.detector, instrument.energy[:, None]])
    scale = np.array([1.0] * (motors.shape[1] - 1) + [float(np.mean(instrument.energy)) * np.radians(1)])  # an energy, in degrees of q
    motor = (motors / scale)[:, int(np.argmax(np.ptp(motors / scale, axis=0)))]
    if len(motor) < 4 or not (step := float(np.median(np.diff(motor)))):
        return None
    number = np.rint((motor - motor[0]) / step)
    regular = np.abs(motor - motor[0] - number * step).max() < 0.3 * abs(step) and (np.diff(number) > 0).all()
    size = number[-1] + 1
    return number.astype(int) if regular and len(motor) < size <= len(motor) / (1 - MISSING) else None
