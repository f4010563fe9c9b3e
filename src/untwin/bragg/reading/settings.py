"""From names and numbers of a log to where every frame was taken: angles, energy, distance, in the units that the rest expects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from untwin.bragg.diffractometer import Circle, Diffractometer, orientation
from untwin.bragg.instrument import Instrument
from untwin.bragg.reading.log import Log
from untwin.bragg.reading.names import Names
from untwin.bragg.reading.source import Source
from untwin.bragg.stated import Motion, Stated
from untwin.data import units
from untwin.errors import InputError

ENERGIES = (1e3, 2e5)  # eV: Bragg reflections of crystals are measured between these
DISTANCES = (0.02, 50.0)  # m
_IRREGULAR = 0.02  # of a step: farther from a straight line it is said
_ASTRAY = 0.5  # of a step: farther, and it is no scan of even steps
_STILL = 1e-7  # degrees; of the energy, relative: a change over the scan that is none
_RESTLESS = 1e-3  # degrees: motors that stand still are read back to better than that
_IN_BEAM = 0.1  # degrees between detector and beam: no peak is there, its planes would be 79 nm apart at 9 keV
_KEV = (1.0, 200.0)
ANGLE = 1e6  # CRISTAL wrote microdegrees for a while (bcdi: values above 360)


def angles(circles: Sequence[Circle], log: Log, names: Names, stated: Stated | None, row: np.ndarray, notes: list[str]) -> np.ndarray:
    """(points, circles) degrees; NaN in a column where the log has no number. A circle that nothing names is 0, which is said."""
    table, unknown = np.zeros((len(row), len(circles))), []
    for k, circle in enumerate(circles):
        motion = stated.angles.get(circle.name) if stated is not None else None
        usual = names.circles.get(circle.name, (circle.name,))
        named = (motion,) if isinstance(motion, str) else ()
        options = (*named, *usual) if motion in (None, circle.name) else named
        if motion is not None and not isinstance(motion, str):
            table[:, k] = moving(motion, row)
        elif (column := log.column(*options)) is not None:
            table[:, k] = column[1][row]
        elif (spot := log.position(*options)) is not None:
            table[:, k] = spot[1]
        elif isinstance(motion, str):
            raise InputError(f"the angle {circle.name} is to be {motion!r}, which {log.what} does not have; it has {known(log)}")
        else:
            unknown.append(circle.name)
        if np.abs(table[:, k]).max(initial=0) > 3600:
            table[:, k] /= ANGLE
            notes.append(f"{circle.name} reaches {np.abs(table[:, k]).max() * ANGLE:.4g}: taken as millionths of a degree")
    if unknown and len(unknown) == len(circles) and not (stated is not None and stated.angles):
        raise InputError(f"{log.what} names none of the circles {', '.join(unknown)}; it has {known(log)}. geometry= names them")
    if unknown:
        notes.append(f"{log.what} does not say where {', '.join(unknown)} stood: taken as 0 degrees")
    return table


def known(log: Log) -> str:
    names = sorted(set(log.columns) | set(log.positions))
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "") if names else "no names at all"


def moving(motion: Motion, row: np.ndarray) -> np.ndarray | float:
    """A constant, or start + step × row."""
    return motion[0] + motion[1] * row if isinstance(motion, tuple) else float(motion)


def energy(option: object, log: Log, names: Names, stated: Stated | None, row: np.ndarray, notes: list[str]) -> np.ndarray:
    """(points,) eV. option: energy= of read_scan. Raises InputError where nothing says it, or it cannot be."""
    if option is not None:
        value = units.photon_energy(option) / units.VOLT
        return np.full(len(row), plausible(value, f"energy={option}"))
    if stated is not None and stated.energy is not None and not isinstance(stated.energy, str):
        values = np.broadcast_to(np.asarray(moving(stated.energy, row), dtype=np.float64), row.shape).copy()
        plausible(float(np.median(values)), "the energy of the geometry")
        return values
    options = (stated.energy,) if stated is not None and isinstance(stated.energy, str) else names.energy
    if (named := log.column(*options)) is not None:
        key, values = named[0], named[1][row]
    elif (spot := log.position(*options)) is not None:
        key, values = spot[0], np.full(len(row), spot[1])
    else:
        raise InputError(f"{log.what} does not say the energy ({', '.join(options)}); give it, such as energy='9keV' (--energy 9keV)")
    return values * electron_volts(float(np.nanmedian(values)), log.units.get(key), f"{key} of {log.what}", names.energy_unit, notes)


def electron_volts(value: float, unit: str | None, what: str, usual: str, notes: list[str]) -> float:
    """What one unit of an energy is in eV: by the unit that the file states, or else by what can be. usual: of the beamline."""
    if unit:
        factor = units.factor(unit, "energy")
        if factor is None:
            notes.append(f"{what} has the unit {unit!r}, which is not known: taken by its value")
        else:
            plausible(value * factor / units.VOLT, f"{what} = {value:g} {unit}")
            return factor / units.VOLT
    factor = 1e3 if _KEV[0] <= value <= _KEV[1] else 1.0
    plausible(value * factor, f"{what} = {value:g}")
    if (factor == 1e3) != (usual == "keV"):
        notes.append(f"{what} = {value:g} is in {'keV' if factor == 1e3 else 'eV'} by its value, where this beamline writes {usual}")
    return factor


def plausible(value: float, what: str) -> float:
    """eV. Raises InputError where no crystal is measured at it."""
    if not ENERGIES[0] <= value <= ENERGIES[1]:
        expected = f"expected {ENERGIES[0] / 1e3:g} to {ENERGIES[1] / 1e3:g} keV"
        better = next((f for f in (value * 1e3, value / 1e3) if ENERGIES[0] <= f <= ENERGIES[1]), None)
        hint = f"In the wrong unit? energy='{better / 1e3:g}keV' (--energy {better / 1e3:g}keV)" if better else "energy= (--energy) says it"
        raise InputError(f"{what} is {value:g} eV, at which no crystal is measured; {expected}. {hint}")
    return value


def distance(option: object, log: Log, names: Names, stated: Stated | None, source: Source, notes: list[str]) -> float:
    """m. Raises InputError where nothing says it, or it cannot be."""
    if option is not None:
        return _far(units.detector_distance(option), f"distance={option}")
    if stated is not None and stated.distance is not None:
        return _far(stated.distance, "the distance of the geometry")
    spot = log.position(*names.distance)
    if spot is None and source.distance is not None:
        return _far(source.distance, f"the distance in {Path(source.names[0].partition('::')[0]).name}")
    if spot is None:
        where = f" ({', '.join(names.distance)})" if names.distance else ""
        raise InputError(f"{log.what} does not say how far the detector was{where}; give it, such as distance='0.5m' (--distance 0.5m)")
    key, value = spot
    unit = log.units.get(key) or names.distance_unit
    factor = units.factor(unit, "length")
    if factor is None:
        notes.append(f"{key} of {log.what} has the unit {unit!r}, which is not known: taken as {names.distance_unit}")
        factor = units.factor(names.distance_unit, "length") or 1.0
    return _far(value * factor, f"{key} of {log.what} = {value:g} {unit}")


def beam(log: Log, names: Names) -> tuple[float, float] | None:
    """(row, column) of the direct beam, where the log has it."""
    pair = [log.position(name) for name in names.beam]
    return (pair[0][1], pair[1][1]) if len(pair) == 2 and pair[0] and pair[1] else None


def require_aim(d: Diffractometer, angles: np.ndarray) -> None:
    """Raise InputError where the angles of the detector, (frames, circles), say that it stands in the direct beam."""
    rays = np.array([orientation(d.detector, a)[:, 2] for a in angles])
    if np.degrees(np.arctan2(np.hypot(rays[:, 0], rays[:, 1]), rays[:, 2])).min() < _IN_BEAM:
        why = f"all angles of the detector of {d.name} are 0" if d.detector else f"the detector of {d.name} has no circles"
        raise InputError(
            f"{why}, and nothing says where the direct beam falls. Give its row and column, counted from the first pixel of the frames "
            "(outside of them as a rule), such as direct_beam=(100, -5500) (--direct-beam 100,-5500)"
        )


def _far(value: float, what: str) -> float:
    if not DISTANCES[0] <= value <= DISTANCES[1]:
        raise InputError(
            f"{what} is {value:g} m; expected {DISTANCES[0]:g} to {DISTANCES[1]:g} m. In the wrong unit? distance= (--distance) says it"
        )
    return value


def require_scan(instrument: Instrument, names: Names, what: str, notes: list[str]) -> None:
    """Raise InputError where nothing moves, or not in even steps; say what moves, and how evenly."""
    d = instrument.diffractometer
    if not all(np.isfinite(a).all() for a in (instrument.sample, instrument.detector, instrument.energy)):
        raise InputError(f"{what} has no number for an angle or the energy of some frame; mend the log, or read fewer frames")
    columns = {c.name: instrument.sample[:, k] for k, c in enumerate(d.sample)}
    columns |= {c.name: instrument.detector[:, k] for k, c in enumerate(d.detector)}
    movers = {name: _steps(values) for name, values in columns.items()}
    movers = {
        name: s for name, s in movers.items() if abs(s[0]) * (instrument.frames - 1) > _STILL and s[1] < abs(s[0]) * instrument.frames
    }
    step, off = _steps(instrument.energy)
    if abs(step) * (instrument.frames - 1) > 1e-6 * float(instrument.energy[0]) and off < abs(step) * instrument.frames:
        movers["energy"] = step, off
    restless = max(columns, key=lambda name: float(np.ptp(columns[name])), default="")
    if not movers and restless and np.ptp(columns[restless]) > _RESTLESS:
        movers[restless] = _steps(columns[restless])
    if not movers:
        still = ", ".join(f"{name} {values[0]:g}" for name, values in columns.items())
        raise InputError(
            f"{what}: neither an angle nor the energy changes from frame to frame ({still}, {instrument.energy[0]:g} eV); a scan about a "
            "Bragg peak moves one of them. Is this the right scan, and is the motor that moved called as in the table? geometry= says it"
        )
    even = [name for name, (step, off) in movers.items() if off <= _ASTRAY * abs(step)]
    for name, (step, off) in movers.items():
        if not even:
            raise InputError(
                f"{what}: {name} does not go in even steps: up to {off:.3g} off a straight line of {step:.3g} a step. Several scans, or "
                "points of a map? Read one scan alone"
            )
        if name not in even:
            change = abs(step) * (instrument.frames - 1)
            notes.append(f"{name} drifts by {change:.2g} while {', '.join(even)} is scanned; it is used as it was read back")
        elif off > _IRREGULAR * abs(step):
            notes.append(
                f"the steps of {name} are irregular: up to {100 * off / abs(step):.2g} % of a step ({step:.4g}) off a straight line"
            )
    carriers = [c.name for c in d.sample]
    for name in [n for n in movers if n in carriers]:
        notes += [f"{name} is carried by {c}: {names.zero[c]}" for c in carriers[: carriers.index(name)] if c in names.zero]
    if len(even) > 1:
        notes.append(f"{len(even)} things move from frame to frame: {', '.join(even)}; all of them count")


def _steps(values: np.ndarray) -> tuple[float, float]:
    """(step, the farthest from a straight line)."""
    at = np.arange(len(values))
    step, start = np.polyfit(at, values, 1) if len(values) > 1 else (0.0, 0.0)
    return float(step), float(np.abs(values - start - step * at).max())
