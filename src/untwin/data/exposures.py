"""Several exposures of one object in an HDF5 file, with what W was: masks, Fresnel numbers, or distances.

| dataset                        | what                                                                                     |
| exposures                      | (exposures, *detector) intensities; with masks the zero frequency at N // 2               |
| masks                          | (exposures, *object) complex (or real and an imaginary part of its own: masks_imaginary)  |
| fresnel_numbers                | (exposures,), pixel size² / (wavelength x distance)                                      |
| distances                      | (exposures,) m, with the attributes wavelength and pixel_size (m) of `exposures`          |
| mask                           | nonzero: a bad pixel; one frame's or all                                                  |
| flat                           | one frame's or all: the exposures are divided by it (near field: the empty beam)          |
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from untwin.data import hdf5
from untwin.data.folder import sha256
from untwin.data.measurement import Geometry, Pattern, Source
from untwin.data.optics import Optics
from untwin.errors import InputError

if TYPE_CHECKING:
    import h5py

DATA, MASKS, NUMBERS, DISTANCES = "exposures", "masks", "fresnel_numbers", "distances"


def read_exposures(tree: hdf5.Tree, file: Path) -> Pattern | None:
    """The Pattern of such a file; None for any other. Raises InputError where it is one, and something does not fit."""
    node = _dataset(tree, DATA)
    kinds = [name for name in (MASKS, NUMBERS, DISTANCES) if _dataset(tree, name) is not None]
    if node is None or not kinds:
        return None
    if len(kinds) > 1:
        raise InputError(f"{file.name} holds {' and '.join(kinds)} beside {DATA}; expected one of them: masks, or the near field's numbers")
    if node.dtype.kind not in "iuf" or node.ndim not in (3, 4):
        raise InputError(f"{DATA} in {file.name} is {node.dtype} of shape {node.shape}; expected numbers (exposures, height, width)")
    values = np.asarray(tree.load(node), dtype=np.float64)
    optics = _optics(tree, node, kinds[0], file)
    count = len(optics.masks) if optics.masks is not None else len(optics.fresnel_numbers)
    if count != len(values):
        raise InputError(f"{file.name} has {len(values)} exposures and {count} of {kinds[0]}; expected one for each")
    bad = _companion(tree, "mask", values.shape, file)
    measured = np.isfinite(values) & (values >= 0) & (True if bad is None else bad == 0)
    if (flat := _companion(tree, "flat", values.shape, file)) is not None:
        flat = np.broadcast_to(flat, values.shape)
        measured &= np.isfinite(flat) & (flat > 0)
        values = np.divide(values, flat, out=np.zeros(values.shape), where=measured)
    values = np.where(measured, values, 0).astype(np.float32)
    return Pattern(
        intensity=np.ascontiguousarray(optics.cornered(values)),
        measured=np.ascontiguousarray(optics.cornered(measured)),
        geometry=Geometry(wavelength=_attribute(node, "wavelength")),
        source=Source(path=str(file), dataset=f"/{DATA}", sha256=sha256(file), shape=values.shape),
        optics=optics,
    )


def write_exposures(path: str | Path, exposures: np.ndarray, optics: Optics, measured: np.ndarray | None = None) -> Path:
    """Write such a file: exposures (exposures, *detector), the zero frequency of far fields at N // 2; measured: bool, likewise. It appears
    whole or not at all."""
    target = Path(path)
    with hdf5.atomic_file(target) as file:
        file.create_dataset(DATA, data=exposures, compression="gzip", shuffle=True)
        file[DATA].attrs["units"] = "photons"
        if optics.masks is not None:
            file.create_dataset(MASKS, data=optics.masks, compression="gzip", shuffle=True)
        if optics.fresnel_numbers:
            file[NUMBERS] = np.asarray(optics.fresnel_numbers)
        if measured is not None and not measured.all():
            file.create_dataset("mask", data=(~measured).astype(np.uint8), compression="gzip")
    return target


def _dataset(tree: hdf5.Tree, name: str) -> h5py.Dataset | None:
    import h5py

    node = tree.find(f"/{name}")
    return node if isinstance(node, h5py.Dataset) else None


def _optics(tree: hdf5.Tree, node: h5py.Dataset, kind: str, file: Path) -> Optics:
    values = np.asarray(tree.load(tree.find(f"/{kind}")))
    if kind != MASKS and values.dtype.kind not in "iuf":
        raise InputError(f"{kind} in {file.name} is {values.dtype}; expected real numbers, one for each exposure")
    if kind == MASKS:
        part = _dataset(tree, "masks_imaginary")
        return Optics(masks=values if part is None else values + 1j * np.asarray(tree.load(part)))
    if kind == NUMBERS:
        return Optics(fresnel_numbers=tuple(map(float, values.ravel())))
    wavelength, pixel = _attribute(node, "wavelength"), _attribute(node, "pixel_size")
    if wavelength is None or pixel is None or not np.isfinite(values).all() or not (values != 0).all():
        raise InputError(
            f"{DISTANCES} in {file.name} need the attributes wavelength and pixel_size of {DATA}, in metres, and are not 0; "
            f"expected these, or {NUMBERS} instead"
        )
    return Optics(fresnel_numbers=tuple(float(pixel**2 / (wavelength * z)) for z in values.ravel()))


def _attribute(node: h5py.Dataset, name: str) -> float | None:
    """A number above 0, or None. Raises InputError where there are several that differ."""
    try:
        values = np.unique(np.asarray(node.attrs[name], dtype=np.float64))
    except (KeyError, TypeError, ValueError):
        return None
    if len(values) > 1:
        raise InputError(f"{name} of {DATA} has several values, {values.tolist()}; expected one: pixels are square here")
    return float(values[0]) if len(values) and 0 < values[0] < np.inf else None


def _companion(tree: hdf5.Tree, name: str, shape: tuple[int, ...], file: Path) -> np.ndarray | None:
    if (node := _dataset(tree, name)) is None:
        return None
    values = np.asarray(tree.load(node))
    if values.shape not in (shape, shape[1:]) or values.dtype.kind not in "biuf":
        raise InputError(f"{name} in {file.name} has shape {values.shape}, the exposures {shape}; expected numbers of that, or {shape[1:]}")
    return values
