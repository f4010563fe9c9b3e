"""Which part of a scan becomes the array: about the peak, large enough for its fringes, in sizes that transform fast."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from untwin.bragg.survey import Survey
from untwin.errors import InputError
from untwin.fourier import is_fast

LARGEST = 96**3  # voxels: the automatic plan takes 130 s for so many on one core (scan 54 of 34-ID-C)
SMALLEST = 16  # pixels along an axis
SURE = 6.0  # standard deviations of counting, of a place with light
ENOUGH = 2.5  # oversampling, below which nothing may be binned,
AMPLE = 6.0  # and from which on an axis is binned rather than its fringes cut off
WIDTH = 0.05  # of its peak, down to which the autocorrelation is looked at
HIDDEN = 0.22  # of the light: so much may be filled in where it was not measured, before the width of the object is lost
AXES = ("frames", "rows", "columns")


@dataclass(frozen=True)
class Crop:
    """A box of a scan. start: (frame, row, column), may lie before the first. shape: in pixels of the detector. binning: pixels in one of
    the array's, along each axis."""

    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    binning: tuple[int, int, int] = (1, 1, 1)

    @property
    def array(self) -> tuple[int, int, int]:
        """Its shape once binned."""
        frames, rows, columns = (n // b for n, b in zip(self.shape, self.binning))
        return frames, rows, columns

    @property
    def middle(self) -> tuple[int, int, int]:
        """(frame, row, column): the first pixel of those that hold the zero frequency."""
        frame, row, column = (a + n // b // 2 * b for a, n, b in zip(self.start, self.shape, self.binning))
        return frame, row, column

    def within(self, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """(of the scan, of the box): what both have."""
        low = [max(0, a) for a in self.start]
        high = [min(n, a + m) for n, a, m in zip(shape, self.start, self.shape)]
        inside = tuple(slice(a, b) for a, b in zip(low, high))
        return inside, tuple(slice(s.start - a, s.stop - a) for s, a in zip(inside, self.start))

    def shifted(self, by: Sequence[int]) -> Crop:
        frame, row, column = (a + d for a, d in zip(self.start, by))
        return Crop((frame, row, column), self.shape, self.binning)


def about(at: tuple[int, int, int], shape: Sequence[int], binning: tuple[int, int, int] = (1, 1, 1)) -> Crop:
    """The box of this shape whose array has its zero frequency, at N//2, in the pixel `at`."""
    frames, rows, columns = shape
    frame, row, column = (c - n // b // 2 * b for c, n, b in zip(at, shape, binning))
    return Crop((frame, row, column), (frames, rows, columns), binning)


def chosen(survey: Survey, at: tuple[int, int, int], sampling: Sequence[float], largest: int, binning: Sequence[int] | None) -> Crop:
    """The box about a pixel that has every fringe above noise, as far as the frames reach; where that is too large, an axis with ample
    sampling is binned, then the faces go that cost the least light for each voxel.

    sampling: the fringes' oversampling along each axis. largest: voxels of the array. binning: as the user has it; None: as said.
    """
    light = survey.light
    limits = [2 * min(c, n - c) for c, n in zip(at, survey.shape)]
    reach = _reach(survey, at)
    bins = [1, 1, 1] if binning is None else list(binning)
    sizes = [_size(min(limit, 2 * r), limit, b) for limit, r, b in zip(limits, reach, bins)]
    for name, n, b in zip(AXES, sizes, bins):
        if n < SMALLEST // 2 * b:
            raise InputError(f"binning {b} {name} leaves {n // b} of them about the peak; expected {SMALLEST // 2} at least: bin less")
    while binning is None and _voxels(sizes, bins) > largest:
        ample = [a for a in range(3) if sampling[a] / (2 * bins[a]) >= AMPLE / 2]
        if not ample:
            break
        axis = max(ample, key=lambda a: sampling[a] / bins[a])
        bins[axis] *= 2
        sizes[axis] = _size(sizes[axis], limits[axis], bins[axis])
    while _voxels(sizes, bins) > largest:
        total, options = _inside(light, survey.block, about(at, sizes)), []
        for axis in range(3):
            if (smaller := _below(sizes[axis], bins[axis])) >= SMALLEST * bins[axis]:
                fewer = [*sizes[:axis], smaller, *sizes[axis + 1 :]]
                lost = total - _inside(light, survey.block, about(at, fewer))
                options.append((lost / (_voxels(sizes, bins) - _voxels(fewer, bins)), fewer))
        if not options:
            break
        sizes = min(options)[1]
    return about(at, sizes, (bins[0], bins[1], bins[2]))


def stated(crop: Sequence[int], at: tuple[int, int, int], shape: tuple[int, int, int], binning: Sequence[int] | None) -> Crop:
    """As the user has it: in pixels of the detector. Raises InputError."""
    bins = _three("binning", binning or (1, 1, 1))
    sizes = _three("crop", crop)
    for name, n, m, b in zip(AXES, sizes, shape, bins):
        if n > m:
            raise InputError(f"crop {_times(sizes)} is larger than the scan of {_times(shape)} (frames, rows, columns): {n} {name} of {m}")
        if n % (2 * b) or not is_fast(n // b) or n < SMALLEST * b:
            good = next(k for k in itertools.count(max(n, SMALLEST * b)) if k % (2 * b) == 0 and is_fast(k // b))
            raise InputError(
                f"crop has {n} {name}{f' binned by {b}' if b > 1 else ''}; expected an even number of at least {SMALLEST} without prime "
                f"factors above 7, such as {good}"
            )
    return about(at, sizes, bins)


def _three(name: str, values: Sequence[int]) -> tuple[int, int, int]:
    try:
        a, b, c = (int(v) for v in values)
        whole_numbers = all(int(v) == v for v in values)
    except (TypeError, ValueError, OverflowError):
        a, b, c, whole_numbers = 0, 0, 0, False
    if not whole_numbers or min(a, b, c) < 1:
        example = "2,1,1" if name == "binning" else "96,96,96"
        raise InputError(f"{name}={values!r}; expected whole numbers of frames, rows and columns, such as {example}")
    return a, b, c


def checked_binning(binning: Sequence[int] | None, sampling: Sequence[float]) -> tuple[int, int, int] | None:
    """Raise InputError where it would leave less than enough oversampling."""
    if binning is None:
        return None
    bins = _three("binning", binning)
    for name, b, o in zip(AXES, bins, sampling):
        if b > 1 and not o / b >= ENOUGH:
            raise InputError(
                f"binning {b} {name} would leave an oversampling of {o / b:.2g} along them, as it is {o:.2g}; expected at least {ENOUGH} "
                f"afterwards: bin by {max(1, int(o / ENOUGH))} at most"
            )
    return bins


def oversampling(intensity: np.ndarray, measured: np.ndarray) -> tuple[float, ...]:
    """Of a centred pattern along each axis: N over the width of the object, which is half of where its autocorrelation exceeds `level` of
    its peak. NaN where what was not measured hides too much of the light.

    What was not measured is filled with what lies around it. Of simulated crystals with a frame missing at the peak, or a gap of three rows
    through it, the estimate is the true one to 12 %; behind a stop it is lost.
    """
    from scipy import fft

    full = _filled(intensity, measured)
    if full[~measured].sum(dtype=np.float64) > HIDDEN * full.sum(dtype=np.float64):
        return (float("nan"),) * intensity.ndim
    lags = np.abs(np.asarray(fft.rfftn(full.astype(np.float32))))
    return _widths(lags / lags.flat[0], full.shape, level(float(intensity.sum(dtype=np.float64))))


def level(photons: float) -> float:
    """Of the autocorrelation's peak, above which it is no noise: a lag has 1/√photons of it, the largest of 10^6 five times as much."""
    return max(WIDTH, 5 / math.sqrt(max(photons, 1.0)))


def _filled(intensity: np.ndarray, measured: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    if measured.all():
        return intensity
    amplitude = np.asarray(ndimage.gaussian_filter(np.sqrt(np.where(measured, intensity, 0), dtype=np.float32), 1.0))
    weight = np.asarray(ndimage.gaussian_filter(measured.astype(np.float32), 1.0))
    return np.where(measured, intensity, (amplitude / np.maximum(weight, 1e-3)) ** 2)


def _widths(lags: np.ndarray, shape: Sequence[int], least: float) -> tuple[float, ...]:
    result = []
    for axis, n in enumerate(shape):
        profile = lags.max(axis=tuple(a for a in range(lags.ndim) if a != axis))
        lag = np.minimum(np.arange(profile.size), n - np.arange(profile.size))
        result.append(n / (lag[profile > least].max(initial=0) + 1.0))
    return tuple(result)


def first_oversampling(
    survey: Survey, at: tuple[int, int, int], frame: np.ndarray, good: np.ndarray, missing: np.ndarray
) -> tuple[float, float, float]:
    """Before there is a crop. frame, good: (rows, columns), the frame of the peak and where it is measured. missing: (frames,) bool.

    The transform of one frame is the autocorrelation seen along the axis that the frames stand for, and that of blocks along the frames is
    it seen along the others.
    """
    half = min(128, *(min(c, n - c) for c, n in zip(at[1:], frame.shape)))
    box = tuple(slice(c - half, c + half) for c in at[1:])
    rows, columns = oversampling(frame[box], good[box])
    reach = min(at[0], survey.shape[0] - at[0])
    along = slice(at[0] - reach, at[0] + reach)
    light = np.maximum(survey.light[along], 0)
    measured = np.broadcast_to(~missing[along, None, None], light.shape)
    spectrum = np.abs(np.fft.rfft(_filled(light, measured), axis=0))
    trace = np.sqrt((spectrum.astype(np.float64) ** 2).sum((1, 2)))
    return _widths(trace / trace[0], (2 * reach,), level(float(light.sum(dtype=np.float64))))[0], rows, columns


def _inside(blocks: np.ndarray, block: int, box: Crop) -> float:
    """Sum over a box of (frames, rows, columns) in blocks: of those that are cut, the share."""
    image = blocks
    for axis in (2, 1, 0):
        edges = np.arange(blocks.shape[axis] + 1) * (1 if axis == 0 else block)
        cut = np.clip(edges, box.start[axis], box.start[axis] + box.shape[axis])
        image = image @ (np.diff(cut) / (edges[1] - edges[0]))
    return float(image)


def share(survey: Survey, box: Crop) -> float:
    """Of all counts of the scan, those inside."""
    return _inside(survey.counts, survey.block, box) / max(float(survey.counts.sum(dtype=np.float64)), 1e-30)


def _reach(survey: Survey, at: tuple[int, int, int]) -> list[int]:
    """How far from a pixel, along each axis, there is light above noise that hangs together with the peak's."""
    from scipy import ndimage

    total, noise = (27 * np.asarray(ndimage.uniform_filter(a, 3, mode="constant")) for a in (survey.light, survey.background))
    pieces, _ = ndimage.label(total > SURE * np.sqrt(np.maximum(noise, 0) + 1))  # type: ignore[misc]
    block = (1, survey.block, survey.block)
    block_of_peak = tuple(c // b for c, b in zip(at, block))
    piece = pieces[block_of_peak]
    if not piece:
        return [SMALLEST] * 3
    (box,) = ndimage.find_objects((pieces == piece).astype(np.int8))
    return [max((p - s.start + 1) * b, (s.stop - p) * b, SMALLEST // 2) for p, s, b in zip(block_of_peak, box, block)]


def _voxels(sizes: Sequence[int], bins: Sequence[int]) -> int:
    return math.prod(n // b for n, b in zip(sizes, bins))


def _size(n: int, limit: int, b: int) -> int:
    """The least good size from n on, or the largest up to the limit."""
    up = next(k for k in itertools.count(-(-n // (2 * b)) * 2 * b, 2 * b) if is_fast(k // b))
    return up if up <= limit else _below(limit + 1, b)


def _below(n: int, b: int) -> int:
    """The largest good size below n."""
    return next((k for k in range((n - 1) // (2 * b) * 2 * b, 0, -2 * b) if is_fast(k // b)), 0)


def faces(intensity: np.ndarray) -> tuple[float, ...]:
    """Of an array in FFT order, along each axis: the brightest voxel of the two faces."""
    return tuple(float(np.take(intensity, [n // 2, n // 2 - 1], axis).max()) for axis, n in enumerate(intensity.shape))


def beyond(intensity: np.ndarray) -> tuple[float, ...]:
    """Of an array in FFT order, along each axis: the share of all counts in the two faces."""
    total = max(float(intensity.sum(dtype=np.float64)), 1e-30)
    faces_of = (np.take(intensity, [n // 2, n // 2 - 1], axis) for axis, n in enumerate(intensity.shape))
    return tuple(float(f.sum(dtype=np.float64)) / total for f in faces_of)


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
