"""The detector of a scan: which pixels are bad, its flat field and its dark, as far as the frames bear them out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from untwin.bragg.options import Preparation
from untwin.bragg.scan import Scan
from untwin.bragg.survey import Survey
from untwin.bragg.window import Match, match
from untwin.data import flat as detectors
from untwin.data.companions import bad_pixels, flat_and_dark
from untwin.data.counts import counted
from untwin.data.stored import Named, Stored
from untwin.data.typed import amount
from untwin.errors import InputError

HOT = 5.0  # standard deviations of counting, and one count, above the median of a dark: more is a hot pixel
LOST = 0.9  # of the variance of a flat: with so much from counting it says nothing,
NOISY = 0.05  # and with more than so much its contrast is drawn towards 1
SHOWN = 0.8  # of the counts that a dark foretells the frames have at least, where it is one of theirs
BLOCK = 16  # pixels, of the squares in which that is looked at

Window = tuple[int, int]  # (first row, first column) of the detector that the frames show


@dataclass(frozen=True, eq=False)
class Given:
    """What there is beside the frames, of a frame or of the detector. mask: bool, (rows, columns) or (frames, rows, columns). flat, dark:
    (rows, columns). Each None where there is none. window: as the user or the files state it."""

    mask: np.ndarray | None
    flat: np.ndarray | None
    dark: np.ndarray | None
    window: Window | None


@dataclass(frozen=True, eq=False)
class Detector:
    """bad: (rows, columns) bool; each: (frames, rows, columns) bool or None: also bad, in single frames. flat: (rows, columns) float64, its
    median 1, and dark, counts in a frame; or None."""

    bad: np.ndarray
    each: np.ndarray | None = None
    flat: np.ndarray | None = None
    dark: np.ndarray | None = None

    def bad_in(self, frame: int) -> np.ndarray:
        return self.bad if self.each is None else self.bad | self.each[frame]


def extras(scan: Scan, options: Preparation, guesses: list[str]) -> Given:
    """What the scan or the user has beside the frames. Raises InputError."""
    stored = Stored(np.zeros(0), scan.label or "the scan")
    mask = None if options.mask is None else bad_pixels(stored, options.mask, guesses)
    named: list[Named] = []
    for own, option in ((scan.flat, options.flat), (scan.dark, options.dark)):
        named.append(own if option is True else None if isinstance(option, bool) else option)
    flat, dark = (None if a is None else np.asarray(a).squeeze() for a in flat_and_dark(stored, named, guesses))
    for name, a in (("flat", flat), ("dark", dark)):
        if a is not None and (a.ndim != 2 or any(n < m for n, m in zip(a.shape, scan.frames.shape[1:]))):
            raise InputError(
                f"the {name} has shape {a.shape}, the frames {scan.frames.shape[1:]}; expected that of a frame, or of the "
                f"detector, which is larger: is it of another detector? {name}=False leaves it out"
            )
    return Given(mask, flat, dark, _window(scan, options))


def _window(scan: Scan, options: Preparation) -> Window | None:
    values = scan.window if options.window is None else options.window
    if values is None:
        return None
    try:
        row, rows, column, columns = (int(v) for v in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"window={values!r}; expected first row, rows, first column, columns, such as (0, 256, 0, 256)") from error
    if (rows, columns) != tuple(scan.frames.shape[1:]) or min(row, column) < 0:
        raise InputError(f"the window {tuple(values)} of the detector has {rows}×{columns} pixels, the frames {scan.frames.shape[1:]}")
    return row, column


def first_bad(scan: Scan, extra: Given) -> np.ndarray:
    """(rows, columns) bool: what is known to be bad before the frames are looked at."""
    bad = np.zeros(scan.frames.shape[1:], bool)
    if scan.frames.bad is not None:
        bad |= scan.frames.bad != 0
    if extra.mask is not None and extra.mask.shape == bad.shape:
        bad |= extra.mask
    return bad


def detector_of(scan: Scan, extra: Given, survey: Survey, steps: list[str], guesses: list[str]) -> Detector:
    """What the frames were counted by. Raises InputError."""
    if extra.flat is not None and _noise(extra.flat) > LOST:
        guesses.append("the flat has so few counts that their noise is all there is of its contrast: not used")
        extra = replace(extra, flat=None)
    window = _shown(scan, extra, survey, first_bad(scan, extra), steps, guesses)
    shape = scan.frames.shape[1:]

    def of_frames(name: str, a: np.ndarray | None) -> np.ndarray | None:
        if a is None or a.shape[-2:] == shape:
            return a
        if window is None:
            raise InputError(
                f"the {name} has shape {a.shape}, the frames {shape}, and nothing says which part of it they show: give "
                "window=(first row, rows, first column, columns)"
            )
        if any(first + n > m for first, n, m in zip(window, shape, a.shape[-2:])):
            raise InputError(f"the {name} has shape {a.shape}: too small for frames {shape} from {window} on")
        return a[..., window[0] : window[0] + shape[0], window[1] : window[1] + shape[1]]

    bad, each = first_bad(scan, extra), None
    mask, flat, dark = (of_frames(name, getattr(extra, name)) for name in ("mask", "flat", "dark"))
    if mask is not None and mask.ndim == 3:
        if mask.shape != scan.frames.shape:
            raise InputError(f"the mask has shape {mask.shape}, the scan {scan.frames.shape}; crop or pad one of them")
        each = mask
    elif mask is not None:
        bad |= mask
    if dark is not None:
        hot, dark = _dark(dark, bad, survey, len(survey.counts), steps, guesses)
        bad |= hot
    if flat is not None:
        flat, dead = _flat(flat, scan, steps, guesses)
        bad |= dead
    steps.append(f"Bad pixels: {int(bad.sum()):,} of {bad.size:,} in every frame.")
    return Detector(bad, each, flat, dark)


def _shown(scan: Scan, extra: Given, survey: Survey, bad: np.ndarray, steps: list[str], guesses: list[str]) -> Window | None:
    """The window of the detector that the frames show, as stated, confirmed or found by the flat."""
    flat, shape = extra.flat, scan.frames.shape[1:]
    if flat is None:
        return extra.window
    own = flat.shape == shape
    noise = _noise(flat)
    best = match(survey.total, bad | survey.hot, flat, noise)
    stated = (0, 0) if own else extra.window
    if stated is not None and any(a + n > m for a, n, m in zip(stated, shape, flat.shape)):
        raise InputError(f"the flat has shape {flat.shape}: too small for frames {shape} from {stated} on; check window=")
    if stated is None:
        if not best.sure:
            raise InputError(
                f"the flat has shape {flat.shape}, the frames {shape}, and the frames' light does not tell which part of it they show "
                f"(best correlation {best.correlation:.2g} at {best.first}, elsewhere up to {best.elsewhere:.2g}). Give window=(first row, "
                "rows, first column, columns), or flat=False"
            )
        steps.append(f"The frames show {_rows(best.first, shape)} of the flat's {_times(flat.shape)} pixels: {_correlation(best)}.")
        return best.first
    fit = best if stated == best.first else match(survey.total, bad | survey.hot, flat, noise, stated)
    if best.sure and fit is best:
        steps.append(f"The frames show {_rows(stated, shape)} of the flat's {_times(flat.shape)} pixels, confirmed: {_correlation(best)}.")
    elif best.sure and not own:
        guesses.append(
            f"the files say that the frames show {_rows(stated, shape)} of the detector, but the flat fits them at "
            f"{_rows(best.first, shape)} ({_correlation(best)}; {fit.correlation:.2g} where the files say). "
            "It is taken as the files say; window= decides otherwise"
        )
    elif fit.absent:
        guesses.append(
            f"the frames have light enough to bear the flat field, and do not (correlation {fit.correlation:.2g}): is it of another "
            "detector, or window? It is used all the same; flat=False leaves it out"
        )
    else:
        steps.append("The flat is used as it is: the frames do not tell whether it is theirs.")
    return extra.window if own else stated


def _correlation(m: Match) -> str:
    elsewhere = f", elsewhere up to {m.elsewhere:.2g}" if m.elsewhere else ""
    return f"correlation {m.correlation:.2g} with their background{elsewhere}"


def _flat(flat: np.ndarray, scan: Scan, steps: list[str], guesses: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(flat, dead)."""
    values, dead = detectors.flat_field(flat, flat.shape, scan.label or "the scan", guesses)
    noise = _noise(flat)
    text = ""
    if noise > NOISY:
        values = np.maximum(1 + (1 - noise) * (values - 1), detectors.DEAD)
        text = f" As {100 * noise:.0f} % of its variance is its own counting noise, its contrast is lowered by as much."
    steps.append(f"Flat field: pixels differ by {100 * _spread(values[~dead]):.2g} %; the model is scaled by it, not the counts.{text}")
    return np.where(dead, 1.0, values), dead


def _noise(flat: np.ndarray) -> float:
    """Share of the variance of a flat that is its own counting noise, 1 at most; 0 where its numbers are no counts."""
    good = np.asarray(flat)[np.isfinite(flat) & (flat > 0)]
    if not good.size or not counted(good):
        return 0.0
    middle = float(np.median(good))
    return min(1.0, 1 / max(middle * _spread(good / middle) ** 2, 1e-30))


def _spread(values: np.ndarray) -> float:
    """The standard deviation of most of them."""
    return float(np.subtract(*np.percentile(values, [84.13, 15.87]))) / 2


def _dark(
    dark: np.ndarray, bad: np.ndarray, survey: Survey, frames: int, steps: list[str], guesses: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(hot pixels, the dark of the others or None where that is 0)."""
    values = detectors.dark_counts(dark, dark.shape, "the scan")
    middle = float(np.median(values))
    limit = middle + HOT * np.sqrt(middle) + 1
    hot = values > limit
    steps.append(f"Dark: {amount(int(hot.sum()), 'hot pixel')}, above {limit:.3g} counts.")
    rest = np.where(hot | bad, 0, values)
    if not rest.any():
        return hot, None
    foretold, shown = (_blocks(a) for a in (frames * rest, np.where(rest > 0, survey.total, 0)))
    if np.minimum(foretold, shown).sum() < SHOWN * foretold.sum():
        guesses.append(
            f"the dark predicts {foretold.sum():,.0f} counts, and in many places the frames have fewer. It is "
            "not of the time of one frame, and only its hot pixels are used; dark= takes another"
        )
        return hot, None
    steps.append("What is left of the dark is added to the model, not taken from the counts.")
    return hot, rest


def _blocks(image: np.ndarray) -> np.ndarray:
    """Sums over BLOCK x BLOCK pixels."""
    rows, columns = (np.arange(0, n, BLOCK) for n in image.shape)
    return np.add.reduceat(np.add.reduceat(image, rows, 0), columns, 1)


def _rows(first: Window, shape: tuple[int, ...]) -> str:
    return f"rows {first[0]} to {first[0] + shape[0] - 1} and columns {first[1]} to {first[1] + shape[1] - 1}"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
