"""A strain map as files: for ParaView on a regular grid and on the oblique one of the array, and for programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from untwin.bragg.facets import facets
from untwin.bragg.frame import FRAMES
from untwin.bragg.maps import CONVENTION, StrainMap
from untwin.bragg.numbers import write_numbers
from untwin.data.atomic import atomic_write_bytes
from untwin.data.paraview import NM, write_vti, write_vts
from untwin.errors import InputError, readable_errors

FOLDER, MAP = "strain", "strain.npz"  # within that of a result


def write_maps(folder: str | Path, native: StrainMap, *others: StrainMap) -> tuple[Path, ...]:
    """Write array.vts and strain.npz of the map on the array's own grid, FRAME.vti of each of the others, numbers.csv with the facets of
    the first of them. Lengths for ParaView in nm, else in m. Files that exist are replaced. Raises InputError where nothing can be
    written."""
    folder = Path(folder)
    named = facets(others[0]) if others else ()  # which may refuse: before anything is written
    about = {"texts": _texts(native), "vectors": {"q (1/nm)": native.q / NM}}
    paths = [write_vts(folder / "array.vts", _fields(native), origin=native.origin, steps=native.vectors, **about)]
    for regular in others:
        spacing = np.array([regular.vectors[2 - axis][axis] for axis in range(3)])
        about = {"texts": _texts(regular), "vectors": {"q (1/nm)": regular.q / NM}}
        paths.append(write_vti(folder / f"{regular.frame}.vti", _fields(regular), origin=regular.origin, spacing=spacing, **about))
    table = write_numbers(folder / "numbers.csv", others[0] if others else native, named)
    return (*paths, _write_npz(folder / MAP, native), table)


def remove_maps(folder: str | Path) -> None:
    """Whatever `write_maps` has written there, and the folder where nothing else is in it. Raises InputError."""
    folder = Path(folder)
    try:
        for name in ("array.vts", *(f"{frame}.vti" for frame in FRAMES), "numbers.csv", MAP):
            (folder / name).unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise InputError(
            f"{folder} of an earlier result cannot be removed: {error.strerror}; remove it, or choose another folder"
        ) from None


def _fields(m: StrainMap) -> dict[str, np.ndarray]:
    """What ParaView shows. Outside the support there is the value of the nearest voxel inside, so that the colours of a surface are those
    of the crystal; `support` says where it ends."""
    magnitude = np.abs(m.image)
    fields = {
        "amplitude": (magnitude / max(float(magnitude.max()), 1e-30)).astype(np.float32),
        "support": m.support.astype(np.uint8),
        "surface": m.surface.astype(np.uint8),
        "core": m.core.astype(np.uint8),
        "phase": np.where(m.support, np.angle(m.image), 0).astype(np.float32),
        "uncertain": m.uncertain.astype(np.uint8),
        "displacement (nm)": _filled(NM * m.displacement),
        "strain": _filled(m.strain),
        "spacing (nm)": _filled(NM * m.spacing),
    }
    return fields if m.error is None else fields | {"strain error": _filled(m.error)}


def _filled(values: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    valid = np.isfinite(values)
    if not valid.any():
        return np.zeros(values.shape, np.float32)
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(np.asarray(nearest))], dtype=np.float32)


def _texts(m: StrainMap) -> dict[str, str]:
    texts = {"convention": CONVENTION, "frame": m.frame, "axes": ", ".join(m.axes), "lengths": "nm"}
    texts["outside"] = "outside the support and in core, displacement, strain, spacing and error are those of the nearest voxel"
    texts["axes in the laboratory (x, y, z)"] = "; ".join(", ".join(f"{v:.9f}" for v in axis) for axis in m.rotation)
    return texts | ({"notes": "\n".join(m.notes)} if m.notes else {})


def _write_npz(path: Path, m: StrainMap) -> Path:
    arrays: dict[str, Any] = {
        name: getattr(m, name)
        for name in ("image", "support", "surface", "core", "displacement", "strain", "error", "vectors", "origin", "q")
        if getattr(m, name) is not None
    }
    about = {"convention": CONVENTION, "frame": m.frame, "axes": m.axes, "notes": m.notes, "numbers": m.numbers, "lengths": "m"}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays)
    atomic_write_bytes(path, buffer.getvalue())
    return path


def read_map(path: str | Path) -> StrainMap:
    """The map on the array's own grid that `write_maps` wrote; the points of its dislocations are in no file. Raises InputError."""
    path = Path(path)
    with readable_errors(path, "a strain map"), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        arrays = {name: file[name] for name in file.files if name != "about"}
        numbers = {str(name): float(value) for name, value in about["numbers"].items()}
        return StrainMap(
            **{"error": None, **arrays},
            frame=str(about["frame"]),
            axes=tuple(about["axes"]),
            notes=tuple(about["notes"]),
            numbers=numbers,
            limit=numbers.get("strain_error_limit"),
        )
