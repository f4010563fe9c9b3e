"""What format a file has, by its content, and which of its arrays is meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from untwin.data.header import Entry, entry_named, listed
from untwin.errors import InputError, readable_errors

_READABLE = "CXI, HDF5 or NeXus (.cxi .h5 .nxs), NumPy (.npy .npz), TIFF (.tif)"
_HDF5 = b"\x89HDF\r\n\x1a\n"
STARTS = {
    b"PK\x03\x04": "numpy",
    b"PK\x05\x06": "numpy",
    b"\x93NUMPY": "numpy",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"II+\x00": "tiff",
    b"MM\x00+": "tiff",
}


def existing(path: str | Path) -> Path:
    """The path of a file that can be opened; an InputError otherwise."""
    try:
        file = Path(path).expanduser()
        if file.is_dir():
            raise InputError(f"{path} is a folder; expected a file: {_READABLE}")
        if not file.exists():
            near = _near(file)
            raise InputError(f"{path} does not exist.{f' Did you mean {near}?' if near else ' Check the path.'}")
        if not file.is_file():
            raise InputError(f"{path} is not a regular file; expected {_READABLE}")
        if file.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy it again. Readable: {_READABLE}")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~ of nobody
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be opened: {error}") from error
    return file


def kind(path: Path) -> str:
    """'hdf5', 'numpy' or 'tiff', from the first bytes."""
    with readable_errors(path, "a file"), path.open("rb") as file:
        start = file.read(32)
        offset, size = 0, path.stat().st_size
        while offset < min(size, 2**20):  # HDF5 allows a block of the user's own in front
            file.seek(offset)
            if file.read(8) == _HDF5:
                return "hdf5"
            offset = max(512, 2 * offset)
    for magic, name in STARTS.items():
        if start.startswith(magic):
            return name
    hint = ""
    if start.startswith(b"version https://git-lfs"):
        hint = " It is a git-lfs pointer: fetch the data with git lfs pull."
    elif start.startswith(b"\x80"):
        hint = " It looks like a Python pickle, which is never loaded because it can run code; save it with numpy.save."
    raise InputError(f"{path.name} is in no format that untwin reads (it starts with {start[:16]!r}).{hint} Readable: {_READABLE}")


def array(path: Path, format: str, name: str | None, prefer: Sequence[str], purpose: str, option: str) -> tuple[str, np.ndarray]:
    """One array of an .npy, .npz or TIFF file, or of an HDF5 file that gives no hint of its own, with its name.

    name: as the user wrote it, or None: then the first of `prefer` that exists, else the only grid of numbers.
    purpose, option: what is looked for and which option would choose, for the messages.
    """
    from untwin.data import arrays, hdf5, tiff

    if format == "hdf5":
        with readable_errors(path, "HDF5"), hdf5.opened(path) as tree:
            entry = choose_entry(tree.entries(), name, prefer, path.name, purpose, option, tree)
            return entry.name, tree.load(tree.find(entry.name))
    module = arrays if format == "numpy" else tiff
    with readable_errors(path, "NumPy" if format == "numpy" else "TIFF"):
        entry = choose_entry(module.entries(path), name, prefer, path.name, purpose, option)
        return entry.name, module.load(path, entry.name)


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
    grids = [e for e in entries if e.is_grid and not _is_side(e.name)]
    if len(grids) == 1:
        return grids[0]
    if grids:
        raise InputError(f"{what} holds {len(grids)} arrays that could be the {purpose}: {listed(grids)}. Choose one: {option}=NAME")
    odd = [e for e in entries if e.is_number]
    if len(odd) == 1:
        return odd[0]
    raise InputError(f"No 2D or 3D {purpose} in {what}. Found: {listed(odd)}. Choose one: {option}=NAME")


def grid(values: np.ndarray, what: str) -> np.ndarray:
    """The array without axes of length 1; an InputError unless two or three remain."""
    if values.ndim > 2:
        values = values.reshape([n for n in values.shape if n != 1] or [1])
    shape = "×".join(map(str, values.shape)) or "a single value"
    if values.ndim > 3:
        raise InputError(
            f"{what} has {values.ndim} axes ({shape}): {values.shape[0]} scans? Expected 2D or 3D; save one of them "
            "on its own. "
            "Ptychography data are not supported"
        )
    if values.ndim < 2:
        raise InputError(f"{what} has {values.ndim} axes ({shape}); expected a 2D image or a 3D volume")
    if math.prod(values.shape) == 0 or min(values.shape) < 8:
        raise InputError(f"{what} has shape {shape}; expected at least 8 pixels along each axis")
    return values


def _is_side(name: str) -> bool:
    """An array that by its name accompanies the data."""
    last = name.rsplit("/", 1)[-1].lower()
    return last.startswith(("mask", "support")) or last.endswith(("_mask", "_support"))


def _near(path: Path) -> str:
    import difflib

    try:
        names = [p.name for p in path.parent.iterdir()]
    except OSError:
        return ""
    return next(iter(difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)), "")
