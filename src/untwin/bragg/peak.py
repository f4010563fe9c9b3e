"""Where in a scan the Bragg peak is: the light that hangs together and has the most counts, whatever single pixels are brighter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from untwin.bragg.survey import Survey
from untwin.errors import InputError

SURE = 6.0  # standard deviations of counting, of a place with light
FEWEST = 100.0  # counts of a peak
CORE = 0.05  # of its brightest place: a peak goes down to there. The first fringe of a cube has 0.047
ALIKE = 0.5  # of the counts of the strongest peak: of those that have so many the brightest is meant, if no other is so bright
NOTABLE = 0.02  # likewise: so much is worth a word
NEAR = 8  # pixels or frames between the peak and the edge at least: a crop of 16
HALF = 0.5  # of the brightest place: a peak so bright at the edge is cut off
MIRROR = 0.25  # of the light at a place is at least at its mirror image about the peak, where it is the peak's own


@dataclass(frozen=True)
class Peak:
    """at: (frame, row, column). counts: of its core. others: peaks that are not its own fringes, and their counts over its."""

    at: tuple[int, int, int]
    counts: float
    others: tuple[tuple[tuple[int, int, int], float], ...] = ()


def peak_of(survey: Survey, centre: Sequence[float] | None = None) -> Peak:
    """The Bragg peak of a scan: it has the most counts, and of those with about as many it is the brightest. With `centre` the one there.

    Raises InputError where there is none, where it is at the edge, and where two are alike.
    """
    light = survey.light
    smooth, sure = _smooth(light, survey.background)
    cores = [] if not sure.any() else sorted(_cores(smooth, sure, light), key=lambda c: -c[1])
    if centre is not None:
        at = _checked(centre, survey.shape)
        near = smooth[tuple(_block(at, survey))]
        _require_inside(at, survey.shape, "centre")
        return Peak(at, float(near))
    cores = [(core, counts) for core, counts in cores if counts >= FEWEST]
    if not cores:
        raise InputError(_no_peak(survey, smooth))
    strongest = cores[0][1]
    cores.sort(key=lambda c: (c[1] <= ALIKE * strongest, -_brightest(c[0], smooth)))
    peaks = [(_centre(core, light, survey), counts) for core, counts in cores[:20]]
    at, counts = peaks[0]
    if len(peaks) > 1 and peaks[1][1] > ALIKE * strongest and _brightest(cores[1][0], smooth) > ALIKE * _brightest(cores[0][0], smooth):
        _require_no_break(at, peaks[1][0], survey)
        raise InputError(
            f"there are two peaks, at {_text(at)} with {counts:,.0f} counts and at {_text(peaks[1][0])} with {peaks[1][1]:,.0f} "
            "(frame, row, column). They are two crystals, and the counts do not say which is meant; choose one with centre= (--centre)"
        )
    _require_inside(at, survey.shape, "the peak")
    _require_uncut(cores[0][0], smooth, survey, at)
    others = [(p, c / counts) for p, c in peaks[1:] if c > NOTABLE * counts and not _is_fringe(p, at, smooth, survey)]
    return Peak(at, counts, tuple(others))


def _brightest(core: np.ndarray, smooth: np.ndarray) -> float:
    return float(smooth[tuple(core.T)].max())


def _smooth(light: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over 3 blocks along each axis, float32, and where they are no noise, bool."""
    from scipy import ndimage

    total, noise = (27 * np.asarray(ndimage.uniform_filter(a, 3, mode="constant"), dtype=np.float32) for a in (light, background))
    return total, total > SURE * np.sqrt(np.maximum(noise, 0) + 1) + SURE


def _cores(smooth: np.ndarray, sure: np.ndarray, light: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """(places, counts) of each peak: (places, 3) block numbers. Light that hangs together above CORE of the brightest place of what hangs
    together at all."""
    from scipy import ndimage

    pieces, number = ndimage.label(sure)  # type: ignore[misc]
    most = np.asarray(ndimage.maximum(smooth, pieces, np.arange(number + 1)), dtype=np.float32)
    bright, count = ndimage.label(sure & (smooth >= CORE * most[pieces]))  # type: ignore[misc]
    sums = np.asarray(ndimage.sum(light, bright, np.arange(1, count + 1)))
    boxes = ndimage.find_objects(bright)
    best = np.argsort(-sums)[:20]
    return [(np.argwhere(bright[boxes[k]] == k + 1) + [s.start for s in boxes[k]], float(sums[k])) for k in best if boxes[k] is not None]


def _centre(core: np.ndarray, light: np.ndarray, survey: Survey) -> tuple[int, int, int]:
    """(frame, row, column): the middle of the light, each counted by its square, to whole numbers."""
    frames = np.arange(core[:, 0].min(), core[:, 0].max() + 1)
    weight = np.maximum(light[tuple(core.T)], 1e-30).astype(np.float64)
    trace = np.bincount(core[:, 0] - frames[0], weight, len(frames)) ** 2
    frame = int(round(float(trace @ frames / trace.sum())))
    low, high = core[:, 1:].min(0) * survey.block, (core[:, 1:].max(0) + 1) * survey.block
    window = tuple(slice(a, b) for a, b in zip(low, high))
    dark = np.kron(survey.dark, np.ones((survey.block,) * 2))[: survey.shape[1], : survey.shape[2]] / survey.block**2
    image = np.maximum(survey.total[window] - dark[window], 1e-30) ** 2
    row, column = (int(round(float(np.arange(image.shape[a]) @ image.sum(1 - a) / image.sum()))) for a in (0, 1))
    return frame, int(low[0]) + row, int(low[1]) + column


def _block(at: tuple[int, int, int], survey: Survey) -> np.ndarray:
    return np.array([at[0], at[1] // survey.block, at[2] // survey.block])


def _is_fringe(at: tuple[int, int, int], peak: tuple[int, int, int], smooth: np.ndarray, survey: Survey) -> bool:
    """Is there light at the mirror image of a place, too?"""
    spot, mirror = _block(at, survey), 2 * _block(peak, survey) - _block(at, survey)
    low, high = np.maximum(mirror - 1, 0), np.minimum(mirror + 2, smooth.shape)
    around = smooth[tuple(slice(a, b) for a, b in zip(low, high))]
    return not around.size or float(around.max()) > MIRROR * float(smooth[tuple(spot)])


def _checked(centre: Sequence[float], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    try:
        frame, row, column = (int(round(float(c))) for c in centre)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"centre is {centre!r}; expected the frame, row and column of the peak, such as 100,127,127") from error
    if not all(0 <= c < n for c, n in zip((frame, row, column), shape)):
        raise InputError(f"centre {_text((frame, row, column))} is outside the scan of {_times(shape)} (frames, rows, columns, from 0 on)")
    return frame, row, column


def _require_inside(at: tuple[int, int, int], shape: tuple[int, int, int], what: str) -> None:
    for name, c, n in zip(("frame", "row", "column"), at, shape):
        if min(c, n - c) < NEAR:
            way = "scan further" if name == "frame" else "move the detector"
            raise InputError(
                f"{what} {_text(at)} (frame, row, column) is {min(c, n - 1 - c)} {name}s from the edge of {n}: on one side nothing was "
                f"measured. Expected at least {NEAR}: {way}, or choose another peak with centre= (--centre)"
            )


def _require_no_break(at: tuple[int, int, int], other: tuple[int, int, int], survey: Survey) -> None:
    """Raise InputError where two peaks are halves of one, with frames between them that nobody measured."""
    first, last = sorted((at[0], other[0]))
    empty = first + 1 + np.flatnonzero(~survey.counts[first + 1 : last].any((1, 2)))
    if len(empty) and max(abs(a - b) for a, b in zip(at[1:], other[1:])) < NEAR:
        which = f"frame {empty[0]}, within the peak, is" if len(empty) == 1 else f"frames {empty[0]} to {empty[-1]}, within the peak, are"
        raise InputError(f"{which} missing or without beam; expected the middle of the peak: choose another scan")


def _require_uncut(core: np.ndarray, smooth: np.ndarray, survey: Survey, at: tuple[int, int, int]) -> None:
    """Raise InputError where the peak is as bright at the edge as half of its brightest place."""
    values = smooth[tuple(core.T)]
    half = core[values >= HALF * values.max()]
    for axis, name in enumerate(("first or last frame", "first or last rows", "first or last columns")):
        if half[:, axis].min() == 0 or half[:, axis].max() == smooth.shape[axis] - 1:
            way = "scan further" if axis == 0 else "move the detector"
            raise InputError(f"the peak {_text(at)} (frame, row, column) is cut off by the {name}: {way}, or choose another with centre=")


def _no_peak(survey: Survey, smooth: np.ndarray) -> str:
    frame, row, column = (int(k) for k in np.unravel_index(int(np.argmax(smooth)), smooth.shape))
    at = _text((frame, row * survey.block, column * survey.block))
    return (
        f"no peak was found in {_times(survey.shape)} (frames, rows, columns) with {survey.counts.sum(dtype=np.float64):,.0f} counts: "
        f"the brightest place {at} has {max(0.0, float(smooth.max())):.0f} counts above the background. Expected at least {FEWEST:.0f} "
        "that stand out in a few frames: is it the right scan, and is the peak on the detector? centre= (--centre) says where"
    )


def _text(at: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, at)) + ")"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
