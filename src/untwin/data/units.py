"""Numbers with units: lengths in metres and energies in joules, from what a file or a user says; and whether they can be."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from untwin.data.measurement import Geometry
from untwin.errors import InputError

PLANCK_LIGHT = 1.986445857148929e-25  # h c, J m
VOLT = 1.602176634e-19  # J per eV

_METRES = {
    "m": 1.0, "metre": 1.0, "meter": 1.0, "cm": 1e-2, "centimetre": 1e-2, "centimeter": 1e-2, "mm": 1e-3, "millimetre": 1e-3,
    "millimeter": 1e-3, "um": 1e-6, "µm": 1e-6, "μm": 1e-6, "micron": 1e-6, "micrometre": 1e-6, "micrometer": 1e-6, "nm": 1e-9,
    "nanometre": 1e-9, "nanometer": 1e-9, "angstrom": 1e-10, "ångström": 1e-10, "ångstrom": 1e-10, "angstroem": 1e-10, "å": 1e-10,
    "a": 1e-10, "pm": 1e-12, "picometre": 1e-12, "picometer": 1e-12,
}  # fmt: skip
_JOULES = {
    "j": 1.0, "joule": 1.0, "ev": VOLT, "electronvolt": VOLT, "electron volt": VOLT, "kev": 1e3 * VOLT, "gev": 1e9 * VOLT,
}  # fmt: skip
_MEGA = {"MeV": 1e6 * VOLT, "meV": 1e-3 * VOLT}  # the only two that differ by a capital alone
_KINDS = {"length": _METRES, "energy": _JOULES}
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")

LIGHT = (50 * VOLT, 1e6 * VOLT)  # J: soft X-rays to gamma rays; outside a number alone is more likely in another unit
FARTHEST = 100.0  # m: no detector is farther from the object
COARSEST = 1e-2  # m: no detector has larger pixels
OBJECT = (1e-10, 1e-3)  # m: a pixel of the object is larger than an atom, and smaller than a grain of sand


def factor(units: str, kind: str) -> float | None:
    """What one of these units is in SI; None where they are not known. kind: "length" or "energy"."""
    text = units.strip().strip("'\"")
    if kind == "energy" and text in _MEGA:
        return _MEGA[text]
    known, lower = _KINDS[kind], text.replace("\u212b", "å").lower()
    return known.get(lower, known.get(lower.removesuffix("s")) if len(lower) > 3 else None)


def in_si(value: float, units: str | None, kind: str, what: str, guesses: list[str]) -> float | None:
    """A number of a file in metres or joules: by its units, or without them by what can be. None, with a sentence, where the units are
    not known. what: for the sentence, such as "distance"."""
    if units:
        step = factor(units, kind)
        if step is None:
            guesses.append(f"{what} = {value:g} has units {units!r}, which are not known: not used; give it as an option")
        return None if step is None else value * step
    step, name = _likely(value, kind, what)
    if name:
        si = "joules" if kind == "energy" else "metres"
        guesses.append(f"{what} = {value:g}: without units it means {si}, which is impossible; taken as {value:g} {name}")
    return value * step


def _likely(value: float, kind: str, what: str) -> tuple[float, str]:
    """(SI per unit, name of the unit) of a number without one; no name where it can be SI."""
    if kind == "energy":
        if value < 1e-10:
            return 1.0, ""
        return (VOLT, "eV") if value >= 50 else (1e3 * VOLT, "keV")
    if "wavelength" in what:
        return (1.0, "") if value <= 1e-5 else (1e-10, "angstrom")
    if "pixel" in what:
        return (1.0, "") if value <= COARSEST else (1e-3, "mm") if value < 1 else (1e-6, "um")
    return (1.0, "") if value <= FARTHEST else (1e-3, "mm")


def photon_energy(text: Any) -> float:
    """J, of "8.5keV", "8500 eV" or a number of eV. Raises InputError."""
    value, units = _split(text, "energy", "8.5keV, or 8500 for electronvolts")
    energy = value * (_known(units, "energy", text, "eV, keV or J") if units else VOLT)
    if not units and not LIGHT[0] <= energy <= LIGHT[1]:
        raise InputError(f"energy={text}: {value:g} eV is no energy of X-rays; expected 50 eV to 1 MeV, or a unit, such as {value:g}keV")
    return energy


def photon_wavelength(text: Any) -> float:
    """m, of "1.54angstrom", "632.8 nm" or a number of metres. Raises InputError."""
    value, units = _split(text, "wavelength", "0.154nm, or 1.54e-10 for metres")
    wavelength = value * (_known(units, "length", text, "angstrom, nm or um") if units else 1.0)
    if wavelength > 1e-3:
        raise InputError(f"wavelength={text}: {wavelength:g} m is no light; expected below 1 mm, such as 0.154nm or 1.54e-10 (m)")
    return wavelength


def detector_distance(text: Any) -> float:
    """m, of "2m", "2000 mm" or a number of metres. Raises InputError."""
    value, units = _split(text, "distance", "2m, or 2 for metres")
    distance = value * (_known(units, "length", text, "m or mm") if units else 1.0)
    if distance > FARTHEST:
        raise InputError(f"distance={text}: {distance:g} m; expected below {FARTHEST:g} m, such as 2m or {value:g}mm")
    return distance


def detector_pixel(size: Any) -> tuple[float, float]:
    """(slow, fast) in m, of "55um", "55um,75um", or one or two numbers of metres. Raises InputError."""
    example = "55um, 55um,75um (slowest axis first), or 55e-6 for metres"
    parts = size.split(",") if isinstance(size, str) else list(size) if np.ndim(size) == 1 else [size]
    if len(parts) not in (1, 2):
        raise InputError(f"pixel_size={size}: {len(parts)} sizes; expected one or two, such as {example}")
    sizes = []
    for part in parts:
        value, units = _split(part, "pixel_size", example)
        sizes.append(value * (_known(units, "length", part, "um or mm") if units else 1.0))
        if sizes[-1] > COARSEST:
            raise InputError(f"pixel_size={size}: {sizes[-1]:g} m; expected below {1e3 * COARSEST:g} mm, such as {value:g}um")
    return sizes[0], sizes[-1]


def geometry_of(options: dict[str, Any]) -> Geometry:
    """What the options energy or wavelength, distance and pixel_size say. Raises InputError."""
    energy, wavelength = options.get("energy"), options.get("wavelength")
    if energy is not None and wavelength is not None:
        raise InputError("energy and wavelength say the same twice; leave one of them out")
    distance, pixel = options.get("distance"), options.get("pixel_size")
    if energy is not None:
        light = PLANCK_LIGHT / photon_energy(energy)
    else:
        light = None if wavelength is None else photon_wavelength(wavelength)
    return Geometry(
        wavelength=light,
        distance=None if distance is None else detector_distance(distance),
        pixel_size=None if pixel is None else detector_pixel(pixel),
    )


def plain(value: Any) -> str | float | list[str | float]:
    """An option as JSON and TOML can hold it."""
    if isinstance(value, str):
        return value
    return [plain(v) for v in value] if np.ndim(value) else float(value)  # pyright: ignore[reportReturnType]


def replaced(stored: Geometry, named: Geometry, guesses: list[str]) -> Geometry:
    """The geometry of a file with what the options say in its place, which is a sentence where the two differ."""
    fields = {}
    for name, value in vars(named).items():
        own = getattr(stored, name)
        fields[name] = own if value is None else value
        if value is not None and own is not None and not _equal(value, own):
            guesses.append(f"the file's {name.replace('_', ' ')} ({_metres(own)}) is not used, because {_metres(value)} was given")
    return Geometry(**fields)


def doubts(geometry: Geometry, shape: tuple[int, ...]) -> list[str]:
    """Sentences on what cannot be: of the detector's two axes, the last ones."""
    g, sentences = geometry, []
    if g.distance is not None and g.distance > FARTHEST:
        sentences.append(f"the detector is {g.distance:g} m away: expected below {FARTHEST:g} m; are its units right?")
    if g.pixel_size and max(g.pixel_size) > COARSEST:
        sentences.append(f"the detector's pixels are {_metres(g.pixel_size)}: expected below {1e3 * COARSEST:g} mm; are their units right?")
    if g.wavelength and g.distance and g.pixel_size:
        sizes = [g.wavelength * g.distance / (n * p) for n, p in zip(shape[-2:], g.pixel_size[-2:])]
        if not all(OBJECT[0] <= s <= OBJECT[1] for s in sizes):
            sentences.append(
                f"the object's pixel is {_metres(sizes)}, by the wavelength {_metres(g.wavelength)}, the distance {g.distance:g} m and the "
                f"detector's pixels {_metres(g.pixel_size)}: expected between 1 angstrom and 1 mm. Is one of these in other units?"
            )
    return sentences


def without_effect(geometry: Geometry, shape: tuple[int, ...], named: dict[str, Any]) -> list[str]:
    """A sentence where the user names a distance or a pixel, and no size of the object's pixel follows."""
    options = [name for name in ("distance", "pixel_size") if named[name] is not None]
    if not options or geometry.voxel_size(shape) is not None:
        return []
    missing = [name for name in ("wavelength", "distance", "pixel_size") if getattr(geometry, name) is None]
    why = (
        f"{' and '.join(missing)} not known"
        if missing
        else "of a 3D pattern the step along its first axis is not that of a detector's pixel"
    )
    return [f"no size of the object's pixel follows from {' and '.join(options)}: {why}"]


def _equal(a: float | Sequence[float], b: float | Sequence[float]) -> bool:
    first, second = ([v] if isinstance(v, float | int) else list(v) for v in (a, b))
    return len(first) == len(second) and all(math.isclose(x, y, rel_tol=1e-6) for x, y in zip(first, second))


def _metres(value: float | Sequence[float]) -> str:
    values = [value] if isinstance(value, float | int) else list(value)
    return " x ".join(f"{v:.4g}" for v in dict.fromkeys(values)) + " m"


def _split(value: Any, name: str, example: str) -> tuple[float, str]:
    """(number above 0, unit or nothing)."""
    match = _NUMBER.fullmatch(str(value)) if isinstance(value, str | Real) and not isinstance(value, bool) else None
    number = float(match[1]) if match else math.nan
    if match is None or not 0 < number < math.inf:
        raise InputError(f"{name}={value}: expected a number above 0 with its unit, such as {example}")
    return number, match[2]


def _known(units: str, kind: str, text: Any, expected: str) -> float:
    step = factor(units, kind)
    if step is None:
        raise InputError(f"{text}: {units!r} is no unit of {kind} that is known; expected {expected}")
    return step
