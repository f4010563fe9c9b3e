"""What format a file has, by its content, and which of its arrays is meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.data import arrays, detector_files, foreign, matlab5, raster, text, tiff
from untwin.data.header import Entry, entry_named, listed
from untwin.data.typed import user_path
from untwin.errors import InputError, readable_errors

READABLE = (
    "CXI, HDF5 or NeXus (.cxi .h5 .nxs), NumPy (.npy .npz), TIFF, EDF, CBF, MATLAB (.mat), PNG, JPEG, "
    "a table of numbers (.txt .csv), or a folder of frames"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
STARTS = {
    b"PK\x03\x04": "numpy",
    b"PK\x05\x06": "numpy",
    b"\x93NUMPY": "numpy",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"II+\x00": "tiff",
    b"MM\x00+": "tiff",
    b"###CBF": "cbf",
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpeg",
}


@dataclass(frozen=True)
class Format:
    """How a format is known and read. HDF5 is known likewise, and read by a walk of its own (hdf5.Tree).

    name: for messages. entries: what the file declares. load: one of its arrays. has_names: are its arrays named, or is it one?
    is_one: of the first foreign.HEAD bytes and the ending of the name, where the first bytes (STARTS) do not tell.
    """

    name: str
    entries: Callable[[Path], list[Entry]]
    load: Callable[[Path, str], np.ndarray]
    has_names: bool = False
    is_one: Callable[[bytes, str], bool] = lambda head, ending: False


FORMATS = {
    "numpy": Format("NumPy", arrays.entries, arrays.load, has_names=True),
    "tiff": Format("TIFF", tiff.entries, tiff.load),
    "cbf": Format("CBF", detector_files.cbf_entries, detector_files.cbf_load),
    "edf": Format("EDF", detector_files.edf_entries, detector_files.edf_load, is_one=lambda head, _: detector_files.is_edf(head)),
    "png": Format("PNG", raster.entries, raster.load),
    "jpeg": Format("JPEG", raster.entries, raster.load),
    "matlab": Format("MATLAB 5", matlab5.entries, matlab5.load, has_names=True, is_one=lambda head, _: matlab5.is_matlab(head)),
    "text": Format("text", text.entries, text.load, is_one=text.is_one),
}


def existing(path: str | Path) -> Path:
    """The path of a file that can be opened; an InputError otherwise."""
    try:
        file = user_path(path)
        if file.is_dir():
            raise InputError(f"{path} is a folder; expected a file: {READABLE}")
        if not file.exists():
            near = _near(file)
            raise InputError(f"{path} does not exist.{f' Did you mean {near}?' if near else ' Check the path.'}")
        if not file.is_file():
            raise InputError(f"{path} is not a regular file; expected {READABLE}")
        if file.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy it again. Readable: {READABLE}")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~ of nobody
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be opened: {error}") from error
    return file


def kind(path: Path) -> str:
    """'hdf5' or the key of FORMATS, from the content."""
    with readable_errors(path, "a file"), path.open("rb") as file:
        head = file.read(foreign.HEAD)
        offset, size = 0, path.stat().st_size
        while offset < min(size, 2**20):  # HDF5 allows a block of the user's own in front
            file.seek(offset)
            if file.read(8) == _HDF5:
                return "hdf5"
            offset = max(512, 2 * offset)
    ending = path.suffix.lower()
    for magic, name in STARTS.items():
        if head.startswith(magic):
            return name
    for name, format in FORMATS.items():
        if format.is_one(head, ending):
            return name
    if text.is_table(head):
        raise InputError(f"{path.name} looks like a table of numbers as text; name it .txt to have it read, or numpy.savetxt it anew")
    if (other := foreign.named(head, ending)) is not None:
        raise InputError(f"{path.name} is {other}. Readable: {READABLE}")
    raise InputError(f"{path.name} is in no format that untwin reads (it starts with {head[:16]!r}). Readable: {READABLE}")


def array(path: Path, format: str, name: str | None, prefer: Sequence[str], purpose: str, option: str) -> tuple[str, np.ndarray]:
    """One array of a file of any format, with its name.

    name: as the user wrote it, or None: then the first of `prefer` that exists, else the only mask or support by its name where one is
    looked for, else the only grid of numbers.
    purpose, option: what is looked for and which option would choose, for the messages.
    """
    if format == "hdf5":
        from untwin.data import hdf5

        with readable_errors(path, "HDF5"), hdf5.opened(path) as tree:
            entry = choose_entry(tree.entries(), name, prefer, path.name, purpose, option, tree)
            return entry.name, tree.load(tree.find(entry.name))
    reader = FORMATS[format]
    with readable_errors(path, reader.name):
        entry = choose_entry(reader.entries(path), name, prefer, path.name, purpose, option)
        return entry.name, reader.load(path, entry.name)


def has_names(format: str) -> bool:
    """Can a file of this format hold several arrays, each with a name?"""
    return format == "hdf5" or (format in FORMATS and FORMATS[format].has_names)


def holds(path: Path, format: str, name: str) -> bool:
    """Is there an array of this name?"""
    if format == "hdf5":
        from untwin.data import hdf5

        with readable_errors(path, "HDF5"), hdf5.opened(path) as tree:
            return tree.find(name) is not None
    with readable_errors(path, FORMATS[format].name):
        return any(e.name == name for e in FORMATS[format].entries(path))


def choose_entry(
    entries: Sequence[Entry], name: str | None, prefer: Sequence[str], what: str, purpose: str, option: str, tree=None
) -> Entry:
    """Which array is meant; see `array`. With a tree, a path that its walk did not list may still be followed."""
    import h5py

    if name is not None:
        node = tree.find(name) if tree is not None else None
        if isinstance(node, h5py.Dataset):
            return Entry(name, node.shape or (), node.dtype)
        if len(entries) == 1 and not entries[0].name:
            raise InputError(f"{what} holds one array without a name, not {name}; leave {option}= away")
        return entry_named(entries, name, what)
    for preferred in prefer:
        for entry in entries:
            if entry.name.strip("/") == preferred.strip("/"):
                return entry
    if len(entries) == 1 and not entries[0].name:
        return entries[0]
    grids = [e for e in entries if e.is_grid]
    grids = [e for e in grids if e.companion == purpose] or [e for e in grids if not e.companion]
    if len(grids) == 1:
        return grids[0]
    choose = f"Choose one: {option}=NAME (--{option} NAME)" if option == "data" else f"Choose one: {option}=NAME"
    if grids:
        raise InputError(f"{what} holds {len(grids)} arrays that could be the {purpose}: {listed(grids)}. {choose}")
    odd = [e for e in entries if e.is_number]
    if len(odd) == 1:
        return odd[0]
    raise InputError(f"No 2D or 3D {purpose} in {what}. Found: {listed(odd)}. {choose}")


def squeezed_grid(values: np.ndarray, what: str, stack: bool = False) -> np.ndarray:
    """The array without axes of length 1; an InputError unless two or three remain. stack: of three, one may have fewer than 8 pixels."""
    if values.ndim > 2:
        values = values.reshape([n for n in values.shape if n != 1] or [1])
    shape = "×".join(map(str, values.shape)) or "a single value"
    if values.ndim > 3:
        raise InputError(
            f"{what} has {values.ndim} axes ({shape}): {values.shape[0]} volumes? Expected 2D or 3D; take one with frames=4 (--frames 4), "
            "each of four axes as a pattern of its own with --frames each. Ptychography data are not supported"
        )
    if values.ndim < 2:
        raise InputError(f"{what} has {values.ndim} axes ({shape}); expected a 2D image or a 3D volume")
    short = sorted(values.shape)[1 if stack and values.ndim == 3 else 0]
    if math.prod(values.shape) == 0 or short < 8:
        raise InputError(f"{what} has shape {shape}; expected at least 8 pixels along each axis")
    return values


def _near(path: Path) -> str:
    import difflib

    try:
        names = [p.name for p in path.parent.iterdir()]
    except OSError:
        return ""
    return next(iter(difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)), "")
