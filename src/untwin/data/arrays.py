"""NumPy files: .npy and .npz. Headers are checked before a byte of data is read; pickles are never loaded."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from untwin.data.header import Entry, affordable, entry_named, unpacked
from untwin.errors import InputError

_MANY = 10_000  # arrays in one archive


def entries(path: Path) -> list[Entry]:
    """The arrays of an .npy (one, without a name) or .npz file."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return [_npy_entry(file, "")]
    headers = []
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > _MANY:
            raise InputError(f"{path.name} holds {len(archive.infolist())} files, {_MANY} at most; save the pattern alone")
        files = archive.namelist()
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as member:
                    headers.append(_npy_entry(member, info.filename.removesuffix(".npy")))
    names = [entry.name for entry in headers]
    if len(set(names)) < len(names):
        raise InputError(f"{path.name} holds two arrays of one name; write it again")
    if not headers:
        torch = " It looks like a file of torch.save, which can run code." if any(n.endswith("data.pkl") for n in files) else ""
        raise InputError(f"{path.name} is a zip archive without NumPy arrays; expected one written by numpy.savez.{torch}")
    return headers


def load(path: Path, name: str) -> np.ndarray:
    """One array, by name for .npz."""
    entry = entry_named(entries(path), name, path.name)
    affordable(entry, path.name)
    if not zipfile.is_zipfile(path):
        _complete(entry, path.stat().st_size, path.name)
        return np.load(path, allow_pickle=False)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{entry.name}.npy")
        _complete(entry, info.file_size, path.name)
        unpacked(entry, min(info.compress_size, path.stat().st_size), path.name)
        with archive.open(info) as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def _npy_entry(file: IO[bytes], name: str) -> Entry:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"NumPy format version {version[0]}.{version[1]} is for tables, not for arrays of numbers; save plain numbers")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python, which reads the header as a literal: (Syntax or Deprecation)Warning
        shape, _, dtype = reader(file)
    return Entry(name, shape, dtype)


def _complete(entry: Entry, size: int, what: str) -> None:
    if entry.nbytes > size:
        raise InputError(f"{what} is cut short: {entry} needs {entry.nbytes} bytes, there are {size}; copy the file again")
