"""HDF5 as MATLAB writes it (save -v7.3): pairs of real and imag, the fastest axis first, logicals as bytes, text as numbers."""

from __future__ import annotations

from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np

from untwin.data.header import Entry

if TYPE_CHECKING:
    import h5py

INTERNAL = ("#refs#", "#subsystem#")  # what cells and objects refer to; nothing in them has a name of the user's
_PAIRS = ({"real", "imag"}, {"re", "im"}, {"r", "i"})


def entry_of(dataset: h5py.Dataset, path: str) -> Entry:
    """The dataset as it comes when it is loaded."""
    shape, dtype = dataset.shape or (), dataset.dtype
    if _pair(dtype):
        dtype = np.dtype(np.complex64 if dtype.itemsize == 8 and dtype[0].kind == "f" else np.complex128)
    elif matlab_class(dataset) == "logical":
        dtype = np.dtype(bool)
    return Entry(path, shape[::-1] if matlab_class(dataset) else shape, dtype)


def is_array(dataset: h5py.Dataset) -> bool:
    """False for text, and for an empty array, in whose place MATLAB stores its shape."""
    return matlab_class(dataset) != "char" and "MATLAB_empty" not in dataset.attrs


def as_saved(dataset: h5py.Dataset, values: np.ndarray) -> np.ndarray:
    """The values of a dataset, the numbers complex, and A(i, j) of MATLAB at [i, j]."""
    if names := _pair(values.dtype):
        pairs, values = values, np.empty(values.shape, entry_of(dataset, "").dtype)
        values.real, values.imag = pairs[names[0]], pairs[names[1]]
    name = matlab_class(dataset)
    if name == "logical":
        values = values != 0
    return arranged(dataset, values)


def arranged(dataset: h5py.Dataset, values: np.ndarray) -> np.ndarray:
    """What has the axes of a dataset, with A(i, j) of MATLAB at [i, j]."""
    return values.T if matlab_class(dataset) else values


def at_first(dataset: h5py.Dataset, number: int) -> tuple[int | EllipsisType, ...]:
    """Where of a dataset `number` along the first axis lies, the axes counted as they are when it is loaded."""
    return (..., number) if matlab_class(dataset) else (number,)


def matlab_class(dataset: h5py.Dataset) -> str:
    """ "double", "logical", ...; empty where the dataset is not of MATLAB."""
    value = dataset.attrs.get("MATLAB_class", b"")
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _pair(dtype: np.dtype) -> tuple[str, str] | None:
    """The names of the real and the imaginary part in a compound of these two."""
    names = dtype.names or ()
    if {n.lower() for n in names} not in _PAIRS or len(names) != 2 or any(dtype[n].kind not in "iuf" or dtype[n].shape for n in names):
        return None
    real, imag = sorted(names, key=lambda n: not n.lower().startswith("r"))
    return real, imag
