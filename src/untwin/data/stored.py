"""What a file holds, before any decision: its pattern, the mask beside it, the geometry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from untwin.data import belongings, cxi, detector_files, eiger, folder, formats, geometry, halves, hdf5, matlab, nexus, raster
from untwin.data.belongings import without_nan
from untwin.data.header import Entry, affordable
from untwin.data.measurement import Geometry
from untwin.data.object import split
from untwin.data.reading import Reading
from untwin.data.realspace import require_diffraction
from untwin.data.tiff import axes_of_pages
from untwin.data.typed import user_path
from untwin.data.unwritten import never_written
from untwin.errors import InputError, readable_errors

Named = str | Path | np.ndarray | None  # what there is beside a pattern: a file, an array of one, or an array


@dataclass(frozen=True, eq=False)
class Stored:
    """An array and what lies beside it. mask: True where bad; mask_name: where it lies, if there is one alone. limited: bool, what the
    detector cannot have counted right, whatever the mask. missing: True where the file never wrote. beam: (y, x) of the direct beam.
    flat, dark: of a pattern that untwin has stored. axes: what the file calls the axes of the array, each empty where it does not; or none.
    origin: (row, column) of the detector that its first pixel is, for messages. cornered: the array is in FFT order, by its format.
    one_of_many: one volume of an array of four axes, which `frames` has chosen.

    file, format: it comes from ("hdf5", a key of formats.FORMATS, "folder"), or None and "memory". name: of the array in its file, empty
    where there is one only.
    """

    values: np.ndarray
    name: str = ""
    file: Path | None = None
    format: str = "memory"
    mask: np.ndarray | None = None
    mask_name: str | None = None
    limited: np.ndarray | None = None
    beam: tuple[float, float] | None = None
    geometry: Geometry = field(default_factory=Geometry)
    flat: np.ndarray | None = None
    dark: np.ndarray | None = None
    axes: tuple[str, ...] = ()
    missing: np.ndarray | None = None
    origin: tuple[int, int] = (0, 0)
    cornered: bool = False
    one_of_many: bool = False

    @property
    def what(self) -> str:
        """For messages."""
        if self.format == "folder":
            return f"the stack {self.file}"
        return f"{self.name or 'the array'} in {self.file.name}" if self.file else self.name or "the array"


def location(named: str | Path, file: Path | None, format: str) -> tuple[Path, str | None]:
    """(file, name in it) of what lies beside a pattern of this file: a file, FILE::NAME, or an array of the pattern's own file."""
    text = str(named)
    if "::" in text or text.startswith("~") or file is None or not formats.has_names(format) or Path(text).exists():
        return split(text)
    return file, text


def from_hdf5(tree: hdf5.Tree, file: Path, reading: Reading, name: str | None, guesses: list[str]) -> Stored:
    """name: of the array, as in FILE::NAME; `reading.data` comes before it."""
    import h5py

    name, node = chosen(tree, file, reading.data or name)
    frames = reading.frames
    number = None
    if isinstance(node, h5py.Group):
        series = eiger.joined(tree, name, guesses)
        values, absent = series.values, series.absent[:, None, None]
        missing = np.broadcast_to(absent, values.shape) if absent.any() else None
    else:
        require_diffraction(tree, node, f"{name} in {file.name}")
        number = volume_number(matlab.entry_of(node, name).shape, frames, f"{name} in {file.name}")
        values = tree.load(node) if number is None else tree.volume(node, number)
        missing = never_written(node)
        if missing is not None:
            missing = matlab.arranged(node, missing if number is None else missing[matlab.at_first(node, number)])
        guesses += eiger.alone(tree, name)
    locations = [location(n, file, "hdf5") for n in (reading.mask, reading.flat, reading.dark) if isinstance(n, str | Path)]
    named = [inside for path, inside in locations if path == file and inside]
    others = belongings.belongings(tree, name, node, values, reading.mask is not None, guesses, named)
    flat, dark = cxi.stored_flat_and_dark(tree, name)
    limited = others.limited
    return Stored(
        values, name, file, "hdf5",
        mask=others.bad,
        mask_name=next((m for m in others.masks if len(others.masks) == 1 and "::" not in m), None),
        limited=None if limited is None else np.broadcast_to(limited, values.shape),
        missing=missing,
        geometry=geometry.geometry(tree, name, node, guesses),
        beam=belongings.beam_centre(tree, nexus.groups_of(tree, name, node)),
        flat=flat,
        dark=dark,
        axes=() if isinstance(node, h5py.Group) or number is not None else hdf5.axis_names(node),
        one_of_many=number is not None,
    )  # fmt: skip


def volume_number(shape: tuple[int, ...], frames: str | int | None, what: str) -> int | None:
    """Which volume of an array of four axes `frames` chooses, the first axis counted; None of any other array, or where it says nothing.
    Raises InputError where there is no such volume."""
    if len(shape) != 4 or 1 in shape or frames is None:
        return None
    text = str(frames).strip()
    n = shape[0]
    if not re.fullmatch(r"-?\d{1,9}", text) or not -n <= int(text) < n:
        raise InputError(f"frames={frames}: {what} has {n} volumes, 0 to {n - 1}; choose one, such as frames={n - 1} (--frames {n - 1})")
    return int(text) % n


def chosen(tree: hdf5.Tree, file: Path, data: str | None) -> tuple[str, Any]:
    """(path, dataset) of the pattern, or the group of a series that is to be joined."""
    import h5py

    if data is not None:
        node = tree.find(data)
        if isinstance(node, h5py.Group):
            signal = hdf5.attribute(node, "signal")
            if eiger.parts(node) and (not signal or eiger.is_part(signal)):
                return f"/{data.strip('/')}", node
            node = tree.find(signal, node) if signal else node
        if not isinstance(node, h5py.Dataset):
            node = tree.find(formats.choose_entry(tree.entries(), data, (), file.name, "intensity", "data").name)
        return f"/{data.strip('/')}", node
    if (path := cxi.data_path(tree)) is not None:
        return path, tree.find(path)
    default = tree.default() or nexus.default_data(tree)
    if (default is None or eiger.is_part(str(default.name))) and (path := eiger.series_path(tree)) is not None:
        return path, tree.find(path)
    if default is not None and default.dtype.kind in "biuf" and sum(n > 1 for n in default.shape or ()) in (2, 3):
        return str(default.name), default
    if cxi.holds_object(tree):
        _refuse_object(tree, file)
    entries = tree.entries()
    entry = formats.choose_entry(
        [e for e in entries if not belongings.is_companion(e.name)] or entries, None, (), file.name, "intensity", "data"
    )
    return entry.name, tree.find(entry.name)


def _refuse_object(tree: hdf5.Tree, file: Path) -> None:
    """Raise InputError for a file that holds an object alone, or what cannot be one."""
    import h5py

    name = f"{cxi.IMAGE}/data"
    node = tree.find(name)
    if isinstance(node, h5py.Dataset):
        affordable(Entry(name, node.shape or (), node.dtype), file.name)
        if node.dtype.kind != "c" and tree.text(f"{cxi.IMAGE}/data_space") is None:
            raise InputError(f"{file.name}: {name} is real, and no data_space says what it is; data={name} (--data) takes it as a pattern")
    raise InputError(
        f"{file.name} holds a reconstruction and no measurement; choose a dataset with data= (--data), or use "
        "untwin.read_object for the object"
    )


def from_array(file: Path, format: str, data: str | None, frames: str | int | None, guesses: list[str]) -> Stored:
    """Of a file of any format but HDF5, with the mask and the geometry that lie in it."""
    name, values = formats.array(file, format, data, ("intensity",), "intensity", "data")
    number = volume_number(values.shape, frames, file.name)
    values = values if number is None else values[number]
    if _is_eight_bit(file, format):
        guesses.append(f"{file.name} is a picture of a pattern with 8 bits ({formats.FORMATS[format].name}): as a rule no counts")
    bad, mask_name = None, None
    with readable_errors(file, formats.FORMATS[format].name):
        if name != "mask" and name and formats.holds(file, format, "mask"):
            bad, mask_name = without_nan(formats.FORMATS[format].load(file, "mask"), "mask", guesses) != 0, "mask"
        elif format == "cbf":
            bad = detector_files.cbf_bad(file, values)
    if cornered := format == "text" and halves.is_half(values):
        values, bad = halves.completed(values)
        guesses.append(
            f"{file.name} is a table of {len(values)} x {len(values) // 2} whole numbers whose first column is its own mirror image: "
            "taken as half of a pattern in FFT order. The other half is its mirror image. Zero frequency, highest row and column are not "
            "measured"
        )
    return Stored(
        values,
        name,
        file,
        format,
        bad,
        mask_name,
        geometry=_geometry(file, format),
        axes=axes_of_pages(file, name) if format == "tiff" and number is None else (),
        cornered=cornered,
        one_of_many=number is not None,
    )


def from_folder(path: str | Path, data: str | None, guesses: list[str]) -> Stored:
    """Of a folder of frames, or of a pattern of their names."""
    if data is not None:
        raise InputError(f"{path} is a stack of frames, each a file without a name; leave data= (--data) away")
    stack = folder.stack(path, guesses)
    values = stack.load()
    guesses += stack.sentences(values)
    if _is_eight_bit(stack.files[0], stack.format):
        guesses.append(f"the frames of {path} are pictures with 8 bits ({formats.FORMATS[stack.format].name}): as a rule no counts")
    bad = values < 0 if stack.format == "cbf" and detector_files.cbf_bad(stack.files[0], values[0]) is not None else None
    if len(values) == 1:
        guesses.append(f"{path} holds one frame: taken as a pattern in two dimensions")
    return Stored(values, "", user_path(path), "folder", bad, None, geometry=_geometry(stack.files[0], stack.format))


def _is_eight_bit(file: Path, format: str) -> bool:
    return format == "jpeg" or (format == "png" and raster.is_eight_bit(file))


def _geometry(file: Path, format: str) -> Geometry:
    readers = {"cbf": detector_files.cbf_geometry, "edf": detector_files.edf_geometry}
    with readable_errors(file, format):
        return readers[format](file) if format in readers else Geometry()
