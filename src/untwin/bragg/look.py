"""A scan in two passes over its frames: the first finds out what there is, the second cuts out what is used."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from untwin.bragg.crop import Crop
from untwin.bragg.detector import Detector, detector_of, extras, first_bad
from untwin.bragg.options import Preparation
from untwin.bragg.scan import Scan
from untwin.bragg.survey import Survey, complete, survey, trusted
from untwin.data import flat as detectors
from untwin.data.companions import frames_of
from untwin.data.framing import Grids
from untwin.data.noise import Noise
from untwin.data.pixels import pixels
from untwin.data.reading import Reading
from untwin.data.stored import Stored
from untwin.data.unwritten import empty_frames, numbered


@dataclass(frozen=True, eq=False)
class Look:
    """After the first pass. missing, dim: (frames,) bool, frames without data and without a beam. beam: (frames,) float64, its intensity,
    the mean 1, or None. steps, guesses: sentences."""

    scan: Scan
    detector: Detector
    survey: Survey
    missing: np.ndarray
    dim: np.ndarray
    beam: np.ndarray | None
    steps: list[str] = field(default_factory=list)
    guesses: list[str] = field(default_factory=list)

    def frame(self, number: int) -> np.ndarray:
        """(rows, columns) float32, good pixels alone."""
        return trusted(self.scan.frames.load(number), self.detector.bad_in(number), self.scan.frames.shape[1:])


def first(scan: Scan, options: Preparation) -> Look:
    """The first pass. Raises InputError."""
    steps: list[str] = []
    guesses: list[str] = []
    scan, missing = complete(scan)
    if missing.any() and scan.frames.absent is None:  # else the reader has said so
        guesses.append(f"the motors step over {numbered(missing, len(missing))}, which {_is(missing)} missing: not measured")
    dim, beam = _beam(scan, options, steps, guesses)
    extra = extras(scan, options, guesses)
    seen_by = survey(scan, first_bad(scan, extra))
    return Look(scan, detector_of(scan, extra, seen_by, steps, guesses), seen_by, missing, dim, beam, steps, guesses)


def _is(flags: np.ndarray) -> str:
    return "is" if flags.sum() == 1 else "are"


def _beam(scan: Scan, options: Preparation, steps: list[str], guesses: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """(frames without a beam, its intensity in each) by the monitor."""
    n = scan.frames.shape[0]
    values = scan.monitor if options.monitor is True else None if isinstance(options.monitor, bool) else options.monitor
    if values is None:
        steps.append("No monitor: the beam is taken as steady.")
        return np.zeros(n, bool), None
    what = scan.label or "the scan"
    intensity, dark = detectors.beam(frames_of(Stored(np.zeros(0), what), values), scan.frames.shape, 0, what, guesses)
    beam, dim = intensity[:, 0, 0], dark[:, 0, 0]
    steps.append(f"Monitor: the beam varies by {100 * float(beam[~dim].std()):.2g} % (rms); the model is scaled by it, not the counts.")
    return dim, beam


def cut(look: Look, box: Crop, options: Preparation, guesses: list[str]) -> tuple[Grids, Noise, tuple[str, ...]]:
    """The second pass: what there is of each pixel of a box, what scatters it, and doubts. Raises InputError."""
    scan, detector = look.scan, look.detector
    (frames, rows, columns), (at, down, across) = box.within(scan.frames.shape)
    values, bad = np.zeros(box.shape, scan.frames.dtype), np.ones(box.shape, bool)
    for k, j in zip(range(frames.start, frames.stop), range(at.start, at.stop)):
        if not (look.missing[k] or look.dim[k]):
            values[j, down, across] = scan.frames.load(k)[rows, columns]
            bad[j, down, across] = detector.bad_in(k)[rows, columns]
    _leave_out_empty(values, bad, box, scan.frames.shape[0], guesses)
    if scan.frames.saturation is not None and (over := ~bad & (values >= scan.frames.saturation)).any():
        guesses.append(f"{int(over.sum()):,} voxels count {scan.frames.saturation:g} or more, where the detector saturates: not measured")
        bad |= over

    def window(a: np.ndarray | None, fill: float) -> np.ndarray | None:
        if a is None:
            return None
        result = np.full(box.shape[1:], fill)
        result[down, across] = a[rows, columns]
        return result

    beam = None
    if look.beam is not None:
        beam = np.ones(box.shape[0])
        beam[at] = look.beam[frames]
    flat, dark = window(detector.flat, 1.0), window(detector.dark, 0.0)
    stored = Stored(values, f"the crop of {scan.label or 'the scan'}", mask=bad, flat=flat, dark=dark, origin=box.start[1:])
    reading = Reading(
        monitor=beam, frames="volume", keep_strays=options.keep_strays, dead_time=options.dead_time, values=options.values,
        gain=options.gain, offset=options.offset,
    )  # fmt: skip
    arranged, noise = pixels(stored, reading, guesses)
    return arranged.grids, noise, arranged.doubts


def _leave_out_empty(values: np.ndarray, bad: np.ndarray, box: Crop, frames: int, guesses: list[str]) -> None:
    """Frames without a count where their neighbours have many are not measured."""
    nothing = empty_frames(values, bad) & ~np.asarray(bad.reshape(len(bad), -1).all(1))
    if nothing.any():
        every = np.zeros(frames, bool)
        every[np.flatnonzero(nothing) + box.start[0]] = True
        guesses.append(
            f"{numbered(every, frames)} hold{'s' if nothing.sum() == 1 else ''} nothing, where the next ones have counts: not measured"
        )
        bad[nothing] = True
