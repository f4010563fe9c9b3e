"""From what is stored to what there is of each pixel: the light, where it was measured, flat and dark. Every guess is said."""

from __future__ import annotations

import numpy as np

from untwin.data import flat as detector
from untwin.data import formats, frames
from untwin.data.companions import bad_pixels, flat_and_dark, frames_of, in_shape
from untwin.data.counts import BRIGHTEST, photons
from untwin.data.faults import require_upright_mask, without_faults
from untwin.data.framing import Grids
from untwin.data.noise import Noise, Stated
from untwin.data.reading import Reading
from untwin.data.stored import Stored
from untwin.errors import InputError

FEWEST = 4  # pixels with light, below which there is no pattern
_FAR = 100.0  # times the largest value: single precision keeps seven digits, and a floor is no higher than what stands on it
_LEAST = 1 / BRIGHTEST  # of the brightest pixel: squares of less are lost in single precision, whose least normal number is 1.2e-38


def pixels(stored: Stored, reading: Reading, guesses: list[str]) -> tuple[frames.Arranged, Noise]:
    """What there is of each pixel, as the file has it, and what scatters it. Raises InputError."""
    what = stored.what
    values = formats.squeezed_grid(stored.values, what, stack=True)
    values = values.astype(np.float32) if values.dtype == np.float16 else values  # sums above 65504 would be infinite
    _require_single_precision(values, what)
    axes = tuple(name for name, n in zip(stored.axes, stored.values.shape) if n != 1 or stored.values.ndim < 3)
    asked = frames.choice(None if stored.one_of_many else reading.frames, values.shape, axes, what)
    if values.ndim != 3 and reading.frames is not None:
        guesses.append(f"frames={reading.frames} is not used: {what} is one frame")
    bad = in_shape(values, bad_pixels(stored, reading.mask, guesses), what, guesses)
    require_upright_mask(values, bad, what)
    flat, dark = flat_and_dark(stored, (reading.flat, reading.dark), guesses)
    if flat is not None:
        flat, dead = detector.flat_field(flat, values.shape, what, guesses)
        bad = bad | dead
    dark = None if dark is None else detector.dark_counts(dark, values.shape, what)
    if reading.monitor is not None:
        beam, gone = detector.beam(frames_of(stored, reading.monitor), values.shape, asked.axis, what, guesses)
        flat, bad = (beam if flat is None else flat * beam).astype(np.float32), bad | gone
    bad = _not_measured(stored, bad, guesses)
    values, bad, flat, dark = (asked.of(a) for a in (values, bad, flat, dark))
    assert values is not None and bad is not None
    intensity, measured, noise, floor = _light(values, bad, asked, Stated(reading.values, reading.gain, reading.offset), what, guesses)
    if dark is not None and noise.form == "intensity":
        dark = np.maximum(dark - noise.offset, 0) / noise.gain
    if not reading.keep_strays:
        intensity, measured = without_faults(intensity, measured, what, guesses, dark, stored.origin)
    if not intensity.any():
        raise InputError(f"{what} is 0 in every pixel that is not saturated: a mask, or a picture of two values? Choose another")
    if (lit := int(np.count_nonzero(intensity))) < FEWEST:
        raise InputError(f"{what} has light in {lit} of {intensity.size:,} pixels alone: no diffraction pattern; check data and mask")
    if reading.dead_time is not None and (share := detector.share_of_exposure(reading.dead_time)):
        live, blind = detector.live(intensity, measured, share, noise.kind == "photons", what, guesses)
        flat, dark = live if flat is None else flat * live, None if dark is None else dark * live
        measured = measured & ~blind
        intensity = np.where(measured, intensity, intensity.dtype.type(0))
    if dark is not None:
        detector.require_light(intensity, measured, dark, guesses)
    if floor is not None:
        dark = floor if dark is None else dark + floor
    return frames.arranged(Grids(intensity, measured, flat, dark), asked, what, guesses), noise


def _not_measured(stored: Stored, bad: np.ndarray, guesses: list[str]) -> np.ndarray:
    """With what the file never wrote, and what the detector cannot have counted right."""
    if stored.missing is not None:
        missing = stored.missing.reshape(bad.shape)
        frames.never_written(missing, guesses)
        bad = bad | missing
    return bad if stored.limited is None else bad | stored.limited.reshape(bad.shape)


def _light(
    values: np.ndarray, bad: np.ndarray, asked: frames.Choice, stated: Stated, what: str, guesses: list[str]
) -> tuple[np.ndarray, np.ndarray, Noise, np.ndarray | None]:
    """The intensity, where it was measured, its noise, and its floor. Frames that hold nothing have no say in what the numbers are."""
    empty = frames.empty(values, bad, asked, what, guesses)
    some = slice(None) if not empty.any() or empty.all() else ~empty
    _require_offset_among(values[some], bad[some], stated, what)
    with np.errstate(over="ignore"):  # a gain so small that photons are infinite: refused as too many
        light = photons(values[some], bad[some], what, stated)
    guesses += light.guesses
    intensity, measured, floor = (_in_all(array, some, values.shape) for array in (light.intensity, light.measured, light.floor))
    assert intensity is not None and measured is not None
    return intensity, measured, light.noise, floor


def _in_all(array: np.ndarray | None, some: slice | np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The frames among all, the others 0."""
    if array is None or array.shape == shape:
        return array
    full = np.zeros(shape, array.dtype)
    full[some] = array
    return full


def _require_offset_among(values: np.ndarray, bad: np.ndarray, stated: Stated, what: str) -> None:
    """InputError where the offset lies so far from the values that nothing is left of their differences."""
    if stated.offset is None or stated.form not in (None, "intensity") or values.dtype.kind not in "iuf":
        return
    top = np.abs(values, where=np.isfinite(values) & ~bad, out=np.zeros(values.shape)).max()
    if abs(stated.offset) > _FAR * top > 0:
        raise InputError(
            f"offset={stated.offset:g} is far from {what}, which goes up to {top:.4g}; expected what a pixel without light reads"
        )


def _require_single_precision(values: np.ndarray, what: str) -> None:
    """InputError where the numbers are so small that single precision, in which everything is computed, loses them."""
    if values.dtype.kind == "f" and 0 < (top := np.nanmax(np.where(np.isfinite(values), values, 0))) < _LEAST:
        raise InputError(f"{what} goes up to {top:.3g} only; expected photons per pixel. Multiply it by a power of ten")
