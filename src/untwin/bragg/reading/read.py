"""The reader of raw scans: whatever a beamline wrote -> Scan, with every guess as a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from untwin.bragg import beamlines, detectors
from untwin.bragg.diffractometer import Diffractometer
from untwin.bragg.instrument import AIMED, Instrument
from untwin.bragg.reading import files as sorting
from untwin.bragg.reading import hierarchical, images, settings
from untwin.bragg.reading.log import Log
from untwin.bragg.reading.names import NAMES, Names
from untwin.bragg.reading.rows import Match
from untwin.bragg.reading.seam import Seam, seam
from untwin.bragg.reading.source import Source
from untwin.bragg.scan import Frames, Scan
from untwin.bragg.stated import Stated
from untwin.data import companions, units
from untwin.data.stored import Named, Stored
from untwin.errors import InputError

_FEWEST = 3  # points of a scan


@dataclass(frozen=True, eq=False)
class _Parts:
    """What there is. names: how this beamline calls things. detector: the row of the table, if there is one."""

    source: Source
    log: Log
    names: Names
    stated: Stated
    detector: detectors.Detector | None


def read_scan(
    *paths: str | Path,
    number: int | str | None = None,
    beamline: str | None = None,
    geometry: Stated | Diffractometer | None = None,
    energy: str | float | None = None,
    distance: str | float | None = None,
    pixel_size: Any = None,
    direct_beam: tuple[float, float] | None = None,
    dark: Named = None,
    flat: Named = None,
    mask: Named = None,
    data: str | None = None,
) -> Scan:
    """One scan about a Bragg peak.

    paths: its folder (frames, log, dark, flat field and mask are known by what they are); or its frames (a folder, 'scan_*.tif') and its
    log (spec, fio); or an HDF5 file, FILE::ENTRY of one with several scans, a master file of DECTRIS.
    number: of the scan in the log; "54.2" where it stands there twice. beamline: a row of the table (34idc, id01, p10, nanomax, cristal,
    sixs, id27); without it the files are known by the names in them. geometry: of any other diffractometer.
    energy: eV, or "9keV". distance: m, or "500 mm". pixel_size: m, or "55um". direct_beam: (row, column) of the frames where the beam falls
    when all angles of the detector are zero; without it, and where no file says, these angles are those of the peak.
    dark, flat, mask: a file, FILE::NAME or an array; of a mask, nonzero is bad. data: the dataset of the frames in an HDF5 file.

    Frames are read when they are asked for. What was guessed is in Scan.notes. Raises InputError.
    """
    notes: list[str] = []
    asked = _number(number)
    files = sorting.sorted_out(paths)
    log = images.log_of(files, asked, notes)
    in_hdf5 = _hierarchical(files, log, asked, data, mask is not None, notes)
    log = log if in_hdf5 is None or in_hdf5[1] is None else in_hdf5[1]
    detector = (log.header.get("UIMDET") or log.header.get("_ccd") or "").strip(" :") if log is not None else ""
    stated, names = _geometry(beamline, geometry, log, detector, notes)
    source = in_hdf5[0] if in_hdf5 else images.source(files, log, names, int(asked.partition(".")[0]) if asked else None, notes)
    match = images.match(source, log, names, notes)
    log = log if log is not None else Log(f"{source.label} (without a log)")
    counter = log.column(*names.image) if names.image else None  # mpx4inr: the number of a frame of mpx4
    detector = source.detector or detector or (counter[0].removesuffix("inr") if counter else "")
    scan = "" if not log.number or int(log.number.partition(".")[0]) in sorting.numbered(Path(source.label)) else f" scan {log.number}"
    source = replace(source, detector=detector, label=source.label + scan)
    parts = _Parts(source, log, names, stated, detectors.detector(detector, source.shape[1:]))
    notes += [*log.notes, *match.notes]
    match = _with_angles(parts, match, notes)
    instrument = _instrument(parts, match, (energy, distance, pixel_size, direct_beam), notes)
    settings.require_scan(instrument, names, log.what, notes)
    return _scan(parts, match, instrument, _sides(files, dark, flat, mask, notes), files, notes)


def _number(number: int | str | None) -> str:
    text = "" if number is None else str(number).strip()
    digits, point, again = text.partition(".")
    if text and not (digits.isdecimal() and (not point or again.isdecimal()) and not isinstance(number, float)):
        raise InputError(f"number={number}: expected the number of a scan, such as 54, or '54.2' for the second scan of this number")
    return f"{int(digits)}{point}{again}" if text else ""


def _hierarchical(
    files: sorting.Files, log: Log | None, asked: str, data: str | None, masked: bool, notes: list[str]
) -> tuple[Source, Log | None] | None:
    """Of the HDF5 file that was named, or lies in the folder. None where the frames are files of their own. Raises InputError."""
    masters = files.masters()
    if not masters:
        return None
    if any(len(g) >= _FEWEST for g in files.groups.values()) and not any(name for _, name in masters):
        if any(kind == "spec" for _, kind in files.logs):
            return None
        raise InputError(
            f"frames in files of their own and {len(masters)} HDF5 files, such as {masters[0][0].name}; name those of one scan"
        )
    number = asked or (log.number if log is not None else "")
    if len(masters) > 1 and number:
        masters = [(f, n) for f, n in masters if int(number.partition(".")[0]) in sorting.numbered(f)] or masters
    if len(masters) > 1:
        text = ", ".join(f.name for f, _ in masters[:6]) + (f" and {len(masters) - 6} more" if len(masters) > 6 else "")
        raise InputError(f"{len(masters)} HDF5 files: {text}; name the one of the scan, or its number with number= (--number)")
    file, name = masters[0]
    own = log is not None  # the number of a fio is that of the file, and no entry
    return hierarchical.read(file, name, "" if own else asked, data, masked, notes)


def _geometry(
    asked: str | None, geometry: Stated | Diffractometer | None, log: Log | None, detector: str, notes: list[str]
) -> tuple[Stated, Names]:
    """As it was asked for, or by the names in the files. Raises InputError."""
    own = images.beamline_of(log, detector) if log is not None else None
    if geometry is not None:
        if asked is not None:
            raise InputError("beamline and geometry say the same twice; leave one of them out")
        stated = Stated(geometry) if isinstance(geometry, Diffractometer) else geometry
        return stated, NAMES[own] if own else Names()
    if asked is None and log is None:
        raise InputError("no log (spec, fio) says where the frames were taken; name it beside them, or say it with geometry= (--geometry)")
    if asked is None and own is None:
        raise InputError(
            f"nothing tells which beamline this is; known are {', '.join(NAMES)}. beamline= (--beamline) says it, or geometry= (--geometry)"
        )
    row = beamlines.beamline(asked if asked is not None else str(own))
    key = next(k for k, r in beamlines.TABLE.items() if r is row)
    if asked is None:
        notes.append(f"read as a scan of {row.name}, by the names in its files; beamline= (--beamline) says otherwise")
    elif own is not None and own != key:
        notes.append(f"the names in the log are those of {beamlines.TABLE[own].name}; read as one of {row.name}, as was said")
    if row.doubt:
        notes.append(f"{row.name}: {row.doubt}; a measured peak decides")
    return Stated(row), NAMES.get(key, Names())


def _with_angles(parts: _Parts, match: Match, notes: list[str]) -> Match:
    """Without the points whose row has no number for an angle or for the energy, at both ends. Raises InputError for those between."""
    log, names = parts.log, parts.names
    if not log.rows:
        return match
    circles = (*parts.stated.diffractometer.sample, *parts.stated.diffractometer.detector)
    columns = [log.column(*names.circles.get(c.name, (c.name,))) for c in circles] + [log.column(*names.energy)]
    good = np.all([np.isfinite(c[1][match.row]) for c in columns if c is not None] + [np.ones(len(match.row), bool)], axis=0)
    if good.all():
        return match
    if good.sum() < _FEWEST:
        raise InputError(f"{log.what} has angles for {int(good.sum())} of {len(good)} frames; it is damaged: copy it again")
    first, last = np.flatnonzero(good)[[0, -1]]
    if not good[first : last + 1].all():
        k = int(match.row[first:][~good[first:]][0])
        raise InputError(f"{log.what} has no angles in row {k}, between others; mend the log, or leave the frames before it out")
    notes.append(f"{int((~good).sum())} frames at the ends have no angles in {log.what}: not used")
    return Match(match.frame[first : last + 1], match.row[first : last + 1])


def _instrument(parts: _Parts, match: Match, options: tuple[Any, Any, Any, Any], notes: list[str]) -> Instrument:
    """Options come first, then the geometry, then the file of the frames, then the log. Raises InputError where nothing says it."""
    energy, distance, pixel_size, direct_beam = options
    source, log, names, stated = parts.source, parts.log, parts.names, parts.stated
    d, row = stated.diffractometer, match.row
    if len(row) < _FEWEST:
        raise InputError(f"{log.what}: {len(row)} frames have a row; a scan has at least {_FEWEST}")
    pixel = units.detector_pixel(pixel_size) if pixel_size is not None else stated.pixel_size or source.pixel_size
    if pixel is None and parts.detector is not None:
        pixel = (parts.detector.pixel, parts.detector.pixel)
    if pixel is None:
        raise InputError("no file says how large the pixels of the detector are; give them, such as pixel_size='55um' (--pixel-size 55um)")
    beam = direct_beam if direct_beam is not None else stated.direct_beam or source.direct_beam or settings.beam(log, names)
    sample, angles = (settings.angles(circles, log, names, stated, row, notes) for circles in (d.sample, d.detector))
    if beam is None:
        settings.require_aim(d, angles)
        notes.append(AIMED)
    return Instrument(
        d,
        sample,
        angles,
        settings.energy(energy, log, names, stated, row, notes),
        settings.distance(distance, log, names, stated, source, notes),
        pixel,
        (float(beam[0]), float(beam[1])) if beam is not None else (np.nan, np.nan),
    )


def _sides(files: sorting.Files, dark: Named, flat: Named, mask: Named, notes: list[str]) -> dict[str, np.ndarray | None]:
    """dark, flat, mask: as they were named, or else the only file of the folder that is called so."""
    named: dict[str, Named] = {"dark": dark, "flat": flat, "mask": mask}
    for side, value in named.items():
        candidates = files.sides.get(side, [])
        if value is None and len(candidates) == 1:
            named[side] = candidates[0]
            notes.append(f"{candidates[0].name} is taken as the {side}, by its name; {side}= (--{side}) names another")
        elif value is None and candidates:
            text = ", ".join(c.name for c in candidates[:4])
            notes.append(f"{len(candidates)} files may be the {side} ({text}): none is used; {side}= (--{side}) names one")
    nothing = Stored(np.zeros((0, 0)))
    pair = companions.flat_and_dark(nothing, (named["flat"], named["dark"]), notes)
    return {"flat": pair[0], "dark": pair[1], "mask": companions.bad_pixels(nothing, named["mask"], notes)}


def _window(log: Log, shape: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """What of the detector the frames show, by the log: #UIMR5 x0 nx y0 ny at 34-ID-C."""
    words = log.header.get("UIMR5", "").split()
    try:
        x, nx, y, ny = (int(w) for w in words[:4])
    except ValueError:
        return None
    return (y, ny, x, nx) if (ny, nx) == shape[1:] and x >= 0 and y >= 0 else None


def _scan(
    parts: _Parts,
    match: Match,
    instrument: Instrument,
    sides: dict[str, np.ndarray | None],
    files: sorting.Files,
    notes: list[str],
) -> Scan:
    source, log, names = parts.source, parts.log, parts.names
    frame, row = source.shape[1:], parts.detector
    bad = detectors.gaps(row, frame) if row is not None else None
    for other in (source.bad, sides["mask"]):
        if other is not None and other.shape != frame:
            raise InputError(f"the mask has shape {other.shape}, the frames {frame}; crop or pad one of them")
        bad = other if bad is None else bad if other is None else bad | other
    absent = (match.frame < 0) | (source.missing[match.frame] if source.missing is not None else False)
    window = _window(log, source.shape)
    gap = seam(row, window, frame)
    if gap is not None:
        window = gap.wide(gap.window)
        sides |= {name: None if (side := sides[name]) is None else gap.opened(side, fill) for name, fill in (("dark", 0), ("flat", 0))}
        bad = gap.opened(bad if bad is not None else np.zeros(frame, bool), True)
        instrument = replace(instrument, direct_beam=gap.point(*instrument.direct_beam))
        notes.append(f"{row.name if row else ''} leaves out what lies between its chips: it was put in, not measured")
    seconds = log.column(*names.exposure) or log.position(*names.exposure)
    limit = source.saturation if source.saturation is not None else row.saturation if row is not None else None
    return Scan(
        Frames(
            (len(absent), *(gap.size(frame) if gap else frame)),
            source.dtype,
            _loader(source, match.frame, absent, gap),
            bad,
            tuple("" if gone else source.names[k] for k, gone in zip(match.frame, absent)),
            absent if absent.any() else None,
            limit,
        ),
        instrument,
        window=window,
        dark=sides["dark"],
        flat=sides["flat"],
        monitor=_monitor(parts, match, notes),
        exposure=float(np.nanmedian(seconds[1])) if seconds is not None else source.exposure,
        detector=source.detector or (parts.detector.name if parts.detector else ""),
        label=source.label,
        files=tuple(dict.fromkeys([*(str(f) for f, _ in files.logs), *(n.partition("::")[0] for n in source.names)])),
        notes=tuple(dict.fromkeys(notes)),
    )


def _loader(source: Source, frame: np.ndarray, absent: np.ndarray, gap: Seam | None) -> Callable[[int], np.ndarray]:
    def load(k: int) -> np.ndarray:
        values = np.zeros(source.shape[1:], source.dtype) if absent[k] else source.load(int(frame[k]))
        return values if gap is None else gap.opened(values, 0)

    return load


def _monitor(parts: _Parts, match: Match, notes: list[str]) -> np.ndarray | None:
    column = parts.log.column(*([parts.stated.monitor] if parts.stated.monitor else parts.names.monitor))
    if column is None and parts.stated.monitor:
        raise InputError(f"{parts.log.what} has no column {parts.stated.monitor}; it has {settings.known(parts.log)}")
    if column is None:
        return None
    counts = column[1][match.row]
    if not (counts > 0).all() or not np.isfinite(counts).all():
        notes.append(f"the monitor {column[0]} is not above 0 throughout (from {np.nanmin(counts):g}): not used")
        return None
    return counts
