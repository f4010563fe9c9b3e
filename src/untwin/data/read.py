"""The one function: a file or an array becomes a Pattern. Every check of an input lies behind it; every guess is said."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from untwin.data import belongings, cxi, formats, hdf5, units
from untwin.data import flat as detector
from untwin.data.exposures import read_exposures
from untwin.data.folder import is_stack, sha256
from untwin.data.framing import centred, look_at_sampling
from untwin.data.measurement import Geometry, Pattern, Source, numbers
from untwin.data.noise import Values
from untwin.data.object import ObjectFile, read_object, read_support, split
from untwin.data.pixels import pixels
from untwin.data.reading import GEOMETRY, Reading
from untwin.data.stored import Named, Stored, from_array, from_folder, from_hdf5, volume_number
from untwin.errors import GuessWarning, InputError, readable_errors

__all__ = ["ObjectFile", "read", "read_object", "read_support"]


def read(
    source: str | Path | np.ndarray | Any,
    data: str | None = None,
    mask: Named = None,
    *,
    centre: Sequence[float] | None = None,
    flat: Named = None,
    dark: Named = None,
    monitor: Named = None,
    dead_time: float | str | None = None,
    frames: str | int | None = None,
    energy: str | float | None = None,
    wavelength: str | float | None = None,
    distance: str | float | None = None,
    pixel_size: str | float | Sequence[str | float] | None = None,
    keep_strays: bool = False,
    values: Values | None = None,
    gain: float | None = None,
    offset: float | None = None,
) -> Pattern:
    """The diffraction pattern in a file (its format is told by its content: docs/formats.md), in a folder of frames, or in an array.

    source: a file, FILE::NAME, a folder of frames or a pattern of their names, or an array (NumPy, torch, __array__); centred or FFT order.
    data: the dataset's path (HDF5) or the array's name (.npz, .mat), where the file leaves a choice.
    mask: a file of any of these formats (FILE::NAME chooses in it), a dataset of the same file, or an array; nonzero is a bad pixel, in the
        pattern's shape or (for a stack) one frame's. It replaces the file's own mask.
    centre: the zero frequency in the file's pixels, whole or half, one number per axis; all 0 says FFT order. Without it: the centre of
        symmetry of a real object, else FFT order, the array's middle or the peak, whichever the pattern shows.
    flat: what the detector counts where the same light falls on every pixel, in any unit: a file as for mask, or an array. Where it is 0,
        NaN or below a twentieth of its median the pixel is dead: not measured.
    dark: counts of a pixel without light in the time of one frame, likewise.
    monitor: of a stack, the intensity of the beam in each frame, in any unit: a file as for mask, or an array. A frame in which it is 0,
        NaN or below a twentieth of its median is not measured.
    dead_time: for which share of a frame's exposure a pixel is blind after each count, as a number or as seconds over seconds such as
        "1.2e-7/0.5". Light that comes then is lost and prolongs nothing. A pixel that was blind for half of the time is saturated: not
        measured. Flat, dark, monitor and dead time leave the counts alone: they are in the model (Pattern.sensitivity, dark).
    energy: of the photons, "8.5keV" or a number of eV; or wavelength: "1.54angstrom" or a number of metres.
    distance: from the object to the detector, "2m" or a number of metres.
    pixel_size: of the detector, "55um" or a number of metres, or two, slowest axis first. These four come before what the file says.
    keep_strays: hot pixels, and zeros that look like gaps or a stop, are taken as measured; saturated ones are masked all the same.
    frames: of a 3D array: "volume", or "sum" for exposures of one pattern; or which to take: a number, or a range such as "3:8". Without
        it: what they look like; frames of different patterns are refused. Of a 4D array the number of a volume along the first axis.
    values: what the numbers are: "photons", "intensity" (of another noise), "amplitudes" (square roots), "logarithm"; else their spacing
        and scatter tell, as far as they can (Pattern.noise).
    gain, offset: after amplitudes or a logarithm are undone, photons are (value − offset) / gain.

    The pattern comes back in FFT order; axes are cropped or padded with unmeasured pixels, never wrapped, to even sizes that transform
    fast. A result or a simulation of untwin gives back its measurement as it was stored. Every guess is a GuessWarning, and one of
    Pattern.warnings. Raises InputError.
    """
    reading = Reading(
        data=data, mask=mask, centre=centre, flat=flat, dark=dark, monitor=monitor, dead_time=dead_time, frames=frames, energy=energy,
        wavelength=wavelength, distance=distance, pixel_size=pixel_size, keep_strays=keep_strays, values=values, gain=gain, offset=offset,
    )  # fmt: skip
    guesses = _require_texts(source, reading)
    stored = _stored(source, reading, guesses)
    pattern = _in_geometry(stored, reading, guesses) if isinstance(stored, Pattern) else _pattern(stored, reading, guesses)
    for guess in guesses:
        warnings.warn(guess, GuessWarning, stacklevel=2)
    return pattern


def _stored(source: Any, reading: Reading, guesses: list[str]) -> Stored | Pattern:
    """What there is, before any decision; the very Pattern where untwin has stored it and nothing else is asked for."""
    if not isinstance(source, str | Path):
        if reading.data is not None:
            guesses.append(f"data={reading.data} is not used: an array in memory has no others beside it")
        _require_array(source)
        masked = isinstance(source, np.ma.MaskedArray)
        values, bad = numbers("the pattern", source.filled(0) if masked else source), np.ma.getmaskarray(source) if masked else None
        number = volume_number(values.shape, reading.frames, "the array")
        if number is not None:
            values, bad = values[number], None if bad is None else bad[number]
        return Stored(values, mask=bad, one_of_many=number is not None)
    if is_stack(source):
        return from_folder(source, reading.data, guesses)
    file, name = split(source)
    format = formats.kind(file)
    if format != "hdf5":
        return from_array(file, format, reading.data or name, reading.frames, guesses)
    with readable_errors(file, "HDF5"), hdf5.opened(file) as tree:
        if reading.is_plain and name is None and (stored := cxi.read_pattern(tree)) is not None:
            own = {} if cxi.holds_object(tree) else {"path": str(source), "sha256": sha256(file)}
            return replace(stored, source=replace(stored.source, **own)) if own else stored
        if reading.data is None and name is None and (exposures := read_exposures(tree, file)) is not None:
            if not reading.is_plain or any(getattr(reading, option) is not None for option in GEOMETRY):
                raise InputError(
                    f"{file.name} holds exposures with masks or distances, which are read as they are; leave other options out"
                )
            return exposures
        return from_hdf5(tree, file, reading, name, guesses)


def _require_texts(source: Any, reading: Reading) -> list[str]:
    """No sentences yet; InputError where a text is empty, as a variable of a shell that is not set is."""
    for name, value in {"source": source, **vars(reading)}.items():
        if isinstance(value, str) and not value.strip():
            raise InputError(f"{name} is an empty text; expected a name or a value. A variable that is not set?")
    return []


def _require_array(source: Any) -> None:
    """InputError where the source is what arrays are taken from, or a pattern already."""
    kind = type(source).__name__
    if isinstance(source, Pattern):
        raise InputError("this is a Pattern already, such as untwin.read returns; use it as it is")
    if hasattr(source, "keys") and not hasattr(source, "__array__"):
        names = ", ".join(map(str, list(source.keys())[:5]))
        raise InputError(f"this is a {kind} of {names or 'nothing'}; give the path of its file, or the array in it, such as source[NAME]")
    if hasattr(source, "read") or isinstance(source, bytes):
        raise InputError(f"this is of {kind}; give the path of the file, as a text or a Path, or an array")


def _pattern(stored: Stored, reading: Reading, guesses: list[str]) -> Pattern:
    """What is stored, about its zero frequency."""
    arranged, noise = pixels(stored, reading, guesses)
    requested = arranged.centre(reading.centre)
    if requested is None and stored.cornered:
        requested = (0.0,) * arranged.grids.intensity.ndim
    framed = centred(arranged.grids, requested, guesses)
    look_at_sampling(framed, guesses)
    guesses += belongings.other_beam(stored.beam, framed.centre, arranged.grids.intensity.shape, requested)
    geometry = _geometry(stored.geometry, framed.intensity.shape, reading, guesses)
    return Pattern(
        intensity=framed.intensity,
        measured=framed.measured,
        geometry=geometry,
        source=Source(
            path=None if stored.file is None else str(stored.file),
            dataset=stored.name or None,
            sha256=None if stored.file is None else sha256(stored.file),
            shape=arranged.grids.intensity.shape,
            centre=framed.centre,
            mask=_name_of(reading.mask) or stored.mask_name,
            flat=_name_of(reading.flat),
            dark=_name_of(reading.dark),
            options=reading.recorded(),
        ),
        offset=framed.offset,
        asymmetry=framed.asymmetry,
        warnings=tuple(guesses),
        sensitivity=None if framed.flat is None else detector.normalised(framed.flat, framed.measured),
        dark=framed.dark,
        doubts=arranged.doubts,
        noise=noise,
    )


def _in_geometry(stored: Pattern, reading: Reading, guesses: list[str]) -> Pattern:
    """A pattern that untwin has stored, in the geometry that the options name."""
    if all(getattr(reading, name) is None for name in GEOMETRY):
        return stored
    geometry = _geometry(stored.geometry, stored.shape, reading, guesses)
    source = replace(stored.source, options=stored.source.options | reading.recorded())
    return replace(stored, geometry=geometry, source=source, warnings=(*stored.warnings, *guesses))


def _geometry(stored: Geometry, shape: tuple[int, ...], reading: Reading, guesses: list[str]) -> Geometry:
    """That of the file, in which the options come first."""
    named = {name: getattr(reading, name) for name in GEOMETRY}
    geometry = units.replaced(stored, units.geometry_of(named), guesses)
    guesses += units.doubts(geometry, shape) + units.without_effect(geometry, shape, named)
    return geometry


def _name_of(named: Named) -> str | None:
    """An array has none."""
    return str(named) if isinstance(named, str | Path) else None
