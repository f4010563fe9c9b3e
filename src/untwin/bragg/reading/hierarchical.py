"""A scan in HDF5: BLISS (ESRF), NanoMAX, SOLEIL, and master files of DECTRIS, each known by its groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from untwin.bragg.detectors import detector
from untwin.bragg.reading.log import Log
from untwin.bragg.reading.source import Source
from untwin.data import belongings, eiger, hdf5, nexus, units
from untwin.data.hdf5 import Tree, attribute
from untwin.errors import InputError, readable_errors

_ENTRIES = 2_000  # of a file that are looked at
_OBJECTS = 5_000  # of an entry
_BLOCK = 2**26  # bytes of a chunk of frames that are unpacked at once and remembered
_SINGLE = 100_000  # numbers of a column


def read(path: Path, name: str, number: str, data: str | None, masked: bool, notes: list[str]) -> tuple[Source, Log | None]:
    """The frames and, where the file has one, the log. name: of the entry or of the dataset of the frames, or nothing. data: of the frames.
    masked: the user names a mask. Raises InputError."""
    with readable_errors(path, "HDF5"), hdf5.opened(path) as tree:
        import h5py

        node = tree.find(name) if name else None
        if name and node is None:
            raise InputError(f"{path.name} has no {name}; it has {', '.join(_entries(tree)[:12])}")
        if isinstance(node, h5py.Dataset):
            data, name = name, ""
        if data is not None:
            top = data.strip("/").partition("/")[0]
            entry = top if isinstance(tree.find(top), h5py.Group) else ""
        else:
            entry = _entry(tree, name, number, path)
        frames = _frames(tree, entry, data, path)
        log = _log(tree, entry, path, notes)
        return _source(tree, entry, frames, path, masked, notes), log


def _entries(tree: Tree) -> list[str]:
    import h5py

    names = list(map(str, tree.root))[:_ENTRIES]
    return [n for n in names if not isinstance(tree.root.get(n, getlink=True), h5py.HardLink) or isinstance(tree.find(n), h5py.Group)]


def _entry(tree: Tree, name: str, number: str, path: Path) -> str:
    """The group of the scan. Raises InputError where several may be meant."""
    import h5py

    if name and isinstance(tree.find(name), h5py.Group):
        return name.strip("/")
    entries = _entries(tree)
    if number:
        digits, _, part = number.partition(".")
        chosen = [
            e for e in entries if (m := re.search(r"(\d+)(?:\.(\d+))?$", e)) and int(m[1]) == int(digits) and (m[2] or "1") == (part or "1")
        ]
        if not chosen and len(entries) == 1:
            chosen = entries
        if not chosen:
            raise InputError(f"{path.name} has no scan {number}; it has {_listed(entries)}")
        entries = chosen
    with_frames = [e for e in entries if _candidates(tree, e)]
    if not with_frames and not number and len(_stacks(tree)) == 1:
        return ""
    if len(with_frames) != 1:
        what = "no scan with frames" if not with_frames else f"{len(with_frames)} scans with frames: {_listed(with_frames)}"
        example = with_frames[0] if with_frames else "ENTRY"
        raise InputError(f"{path.name} has {what}; choose one: {path.name}::{example}, or number= (--number)")
    return with_frames[0]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" ... {names[-1]} ({len(names)})" if len(names) > 8 else "") if names else "none"


def _candidates(tree: Tree, entry: str) -> list[str]:
    """The datasets of an entry that are frames, or the group of a series."""
    import h5py

    if not entry:
        return _stacks(tree)
    paths = []
    for group in ("measurement", "scan_data", "data"):
        node = _at(tree, f"/{entry}/{group}")
        if not isinstance(node, h5py.Group):
            continue
        if group == "data" and eiger.parts(node):
            paths.append(f"/{entry}/data" if node.get("data", getlink=True) is None else f"/{entry}/data/data")
            continue
        for name in list(map(str, node))[:_OBJECTS]:
            child = _at(tree, f"/{entry}/{group}/{name}")
            if isinstance(child, h5py.Group):
                name, child = f"{name}/frames", _at(tree, f"/{entry}/{group}/{name}/frames")
            if isinstance(child, h5py.Dataset) and child.ndim == 3 and child.dtype.kind in "iuf" and min(child.shape[1:]) >= 8:
                paths.append(f"/{entry}/{group}/{name}")
    return paths


def _stacks(tree: Tree) -> list[str]:
    """Arrays of frames anywhere in a file that is laid out in no way that is known."""
    return [e.name for e in tree.entries() if len(e.shape) == 3 and e.dtype.kind in "iuf" and min(e.shape[1:]) >= 8]


def _frames(tree: Tree, entry: str, data: str | None, path: Path) -> str:
    import h5py

    if data is not None:
        node = tree.find(data)
        if not (isinstance(node, h5py.Dataset) and node.ndim == 3) and not eiger.parts(node):
            raise InputError(f"{path.name} has no frames at {data}; it has {_listed(_candidates(tree, entry))}")
        return "/" + data.strip("/")
    paths = _candidates(tree, entry)
    if len(paths) > 1:
        paths = [p for p in paths if detector(_detector_name(p)) is not None] or paths
    if len(paths) != 1:
        raise InputError(
            f"{path.name}: {entry} has {len(paths)} arrays of frames: {_listed(paths)}. "
            f"Choose one: data={(paths or ['NAME'])[0]} ({path.name}::{(paths or ['NAME'])[0]})"
        )
    return paths[0]


def _detector_name(frames: str) -> str:
    parts = [p for p in frames.split("/") if p]
    if len(parts) < 3:
        return ""
    return parts[-2] if parts[-1] == "frames" else "" if parts[1:2] == ["data"] or parts[-2] == "scan_data" else parts[-1]


def _at(tree: Tree, path: str) -> Any:
    """As tree.find; what may not be followed is not there."""
    try:
        return tree.find(path)
    except (InputError, KeyError, OSError, RuntimeError, ValueError):
        return None


# The log


def _log(tree: Tree, entry: str, path: Path, notes: list[str]) -> Log | None:
    log = Log(f"{entry} of {path.name}", _number_of(entry, path), tree.text(f"/{entry}/title") or "")
    if _at(tree, f"/{entry}/snapshots") is not None:
        for moment in ("pre_scan", "post_scan"):
            _collect(tree, log, f"/{entry}/snapshots/{moment}")
        _collect(tree, log, f"/{entry}/measurement", depth=1)
    elif _at(tree, f"/{entry}/scan_data") is not None:
        _soleil(tree, log, entry, notes)
    elif _at(tree, f"/{entry}/instrument/positioners") is not None:
        for group in ("positioners_start", "positioners"):
            _collect(tree, log, f"/{entry}/instrument/{group}")
        _collect(tree, log, f"/{entry}/measurement")
        for name, group in (("Energy", "monochromator"), ("wavelength", "calibration")):
            _collect(tree, log, f"/{entry}/instrument/{group}", only=name)
        if "energy" not in log.positions and log.positions.get("wavelength", 0) > 0:  # of ID27, in angstrom
            metres = log.positions["wavelength"] * (units.factor(log.units.get("wavelength", "angstrom"), "length") or 1e-10)
            log.positions["energy"] = units.PLANCK_LIGHT / metres / units.VOLT / 1e3
            log.units["energy"] = "keV"
    else:
        return None
    return _evened(log, notes)


def _number_of(entry: str, path: Path) -> str:
    match = re.search(r"(\d+)(\.\d+)?$", entry) or re.search(r"(\d+)$", path.stem)
    return str(int(match[1])) if match else ""


def _collect(tree: Tree, log: Log, group: str, depth: int = 0, prefix: str = "", only: str = "") -> None:
    """Add the numbers of a group: positions those that are single, columns those in a row."""
    import h5py

    node = _at(tree, group)
    if not isinstance(node, h5py.Group):
        return
    for name in list(map(str, node))[:_OBJECTS]:
        if only and name != only:
            continue
        child = _at(tree, f"{group}/{name}")
        if isinstance(child, h5py.Group) and depth:
            _collect(tree, log, f"{group}/{name}", depth - 1, f"{prefix}{name}/")
        elif (values := _values(tree, child)) is not None:
            _add(log, prefix + name, values, attribute(child, "units"))


def _values(tree: Tree, node: Any) -> np.ndarray | None:
    """(n,) float64 of a dataset of numbers along one axis, or of one number; None for all else."""
    import h5py

    if not isinstance(node, h5py.Dataset) or node.shape is None or node.dtype.kind not in "biuf" or not 0 < int(node.size or 0) <= _SINGLE:
        return None
    if sum(n > 1 for n in node.shape) > 1:
        return None
    try:
        return np.asarray(tree.load(node), dtype=np.float64).ravel()
    except (InputError, OSError, ValueError):
        return None


def _add(log: Log, name: str, values: np.ndarray, unit: str = "") -> None:
    if len(values) == 1 and np.isfinite(values[0]):
        log.positions[name] = float(values[0])
    elif len(values) > 1:
        log.columns[name] = values
    if unit:
        log.units[name] = unit


def _soleil(tree: Tree, log: Log, entry: str, notes: list[str]) -> None:
    """Positions in CRISTAL/DEVICE/position or SIXS/GROUP/DEVICE/position, by the name of the device in small letters (and of SIXS by its
    last word, too); columns in scan_data. actuator_1_1 is the motor that scan_config names, or else mu (SIXS scans no other)."""
    import h5py

    for beamline in ("CRISTAL", "SIXS"):
        waiting = [(f"/{entry}/{beamline}", 0)]
        while waiting:
            group, depth = waiting.pop(0)
            node = _at(tree, group)
            for name in list(map(str, node))[:_OBJECTS] if isinstance(node, h5py.Group) else ():
                child = _at(tree, f"{group}/{name}")
                if isinstance(child, h5py.Group) and depth < 3:
                    waiting.append((f"{group}/{name}", depth + 1))
                elif (values := _values(tree, child)) is not None:
                    device = group.rsplit("/", 1)[-1].lower()
                    full = device if name in ("position", "position_pre") else f"{device}/{name.lower()}"
                    words = [full, re.split(r"[-_./]", full)[-1]] if beamline == "SIXS" and full == device else [full]
                    for word in words:
                        if word not in log.positions:
                            _add(log, word, values[:1], attribute(child, "units"))
    _collect(tree, log, f"/{entry}/scan_data")
    scanned = (tree.text(f"/{entry}/scan_config/name") or "").lower()
    for column in [c for c in ("actuator_1_1", "data_07") if c in log.columns]:
        motor = next((m for m in log.positions if m and m in scanned), None)
        if motor is None and (word := next((w for w in ("omega", "phi", "mu") if re.search(rf"{w}(?![a-z])", scanned)), None)) is not None:
            motor = next((m for m in log.positions if re.split(r"[-_./]", m)[-1] == word), None)
        if motor is None and _at(tree, f"/{entry}/SIXS") is not None and "mu" in log.positions:
            motor = "mu"
            notes.append(f"{log.what} does not say which motor {column} is: taken as mu, which SIXS scans")
        if motor is not None:
            log.columns[motor] = log.columns[column]
            return


def _evened(log: Log, notes: list[str]) -> Log:
    """All columns of one length: of a scan that was ended early some are longer than others."""
    lengths = Counter(len(c) for c in log.columns.values())
    if len(lengths) > 1:
        usual = lengths.most_common(1)[0][0]
        for name, values in list(log.columns.items()):
            log.columns[name] = np.concatenate([values[:usual], np.full(max(0, usual - len(values)), np.nan)])
        others = ", ".join(str(n) for n in sorted(lengths) if n != usual)
        notes.append(
            f"{log.what}: most columns have {usual} rows, some {others}; rows beyond {usual} are not used. The scan was interrupted?"
        )
    return log


# The frames


def _source(tree: Tree, entry: str, frames: str, path: Path, masked: bool, notes: list[str]) -> Source:
    import h5py

    node = tree.find(frames)
    if isinstance(node, h5py.Group):
        parts = eiger.series(tree, frames, notes)
        pieces = [(parts.name(k), n, k in parts.present) for k, n in parts.lengths.items()]
        shape, dtype = parts.shape, parts.dtype
        first = next(name for name, _, present in pieces if present)
    else:
        pieces, shape, dtype, first = [(frames, node.shape[0], True)], node.shape, node.dtype, frames
    missing = np.concatenate([np.full(n, not present) for _, n, present in pieces])
    load = _loader(path, pieces, shape[1:])
    example = tree.rows(first, slice(0, 1))
    own: list[str] = []  # what the first frame says of limits is not true of all
    bad = belongings.belongings(tree, frames, node, example, masked, own).bad if not masked else None
    groups = nexus.groups_of(tree, frames, node)
    name = _detector_name(frames)
    own_group = nexus.group(tree, f"/{entry}/instrument/{name}", tree.root) if name else None
    if own_group is not None:
        settings = nexus.group(tree, f"/{entry}/instrument/{name}/acq_parameters", tree.root)
        groups = (own_group, *([settings] if settings is not None else []), *groups)
    beam = belongings.beam_centre(tree, (own_group,)) if own_group is not None else None  # DECTRIS files have one that nobody set
    y, x = (_length(tree, groups, f"{axis}_pixel_size") for axis in "yx")
    return Source(
        (shape[0], shape[1], shape[2]),
        dtype,
        load,
        tuple(f"{path}::{name}" for name, n, _ in pieces for _ in range(n)),
        bad=None if bad is None else np.asarray(bad if bad.ndim == 2 else bad.any(0)),
        saturation=_limit(tree, groups),
        detector=name or _description(tree, groups),
        distance=_length(tree, groups, "distance") or _length(tree, groups, "detector_distance"),
        pixel_size=(y, x) if y and x else None,
        direct_beam=beam if beam and any(beam) else None,
        exposure=_number(tree, groups, "count_time") or _number(tree, groups, "acq_expo_time"),
        missing=missing if missing.any() else None,
        label=f"{path.stem.removesuffix('_master')}" + (f" {entry}" if entry not in ("", "entry", "com") else ""),
    )


def _loader(path: Path, pieces: list[tuple[str, int, bool]], frame: tuple[int, ...]) -> Callable[[int], np.ndarray]:
    """Frame number -> the frame. The frames of a chunk are unpacked at once, and the last ones remembered."""
    starts = np.cumsum([0, *(n for _, n, _ in pieces)])
    latest: dict[tuple[str, int], np.ndarray] = {}

    def load(k: int) -> np.ndarray:
        piece = int(np.searchsorted(starts, k, side="right")) - 1
        name, count, _ = pieces[piece]
        within = k - int(starts[piece])
        for (known, first), block in latest.items():
            if known == name and first <= within < first + len(block):
                return block[within - first]
        with readable_errors(path, "HDF5"), hdf5.opened(path) as tree:
            node = tree.find(name)
            chunk = int(node.chunks[0]) if node.chunks else 1
            chunk = max(1, min(chunk, _BLOCK // max(1, int(np.prod(frame)) * node.dtype.itemsize)))
            first = within - within % chunk
            block = tree.rows(name, slice(first, min(first + chunk, count)))
        latest.clear()
        latest[name, first] = block
        return block[within - first]

    return load


def _number(tree: Tree, groups: tuple[nexus.Group, ...], name: str) -> float | None:
    for group in groups:
        try:
            value = nexus.number(tree, group, name)
        except InputError:
            continue
        if value is not None:
            return value
    return None


def _length(tree: Tree, groups: tuple[nexus.Group, ...], name: str) -> float | None:
    """m."""
    for group in groups:
        value = _number(tree, (group,), name)
        if value is not None and value > 0:
            return units.in_si(value, nexus.units_of(tree, group, name) or None, "length", name, [])
    return None


def _limit(tree: Tree, groups: tuple[nexus.Group, ...]) -> float | None:
    values = [_number(tree, groups, key) for key in ("saturation_value", "countrate_correction_count_cutoff")]
    return min((v for v in values if v is not None and v > 0), default=None)


def _description(tree: Tree, groups: tuple[nexus.Group, ...]) -> str:
    for group in groups:
        if "::" not in group.path and (text := tree.text(group / "description")):
            return text
    return ""
