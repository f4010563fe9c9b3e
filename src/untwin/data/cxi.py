"""CXI: measurements and results in one HDF5 layout (version 1.5), SI units, C order, centred at N//2."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data import hdf5
from untwin.data.belongings import is_bad
from untwin.data.counts import BRIGHTEST
from untwin.data.measurement import Geometry, Pattern, Source, is_sound
from untwin.data.nexus import CXI_DETECTOR as _DETECTOR
from untwin.data.noise import Noise
from untwin.data.optics import Optics
from untwin.data.units import PLANCK_LIGHT
from untwin.errors import InputError, readable_errors

if TYPE_CHECKING:
    import h5py

INVALID, INSIDE = 0x1, 0x10000  # bits of a CXI mask; 0 is a good pixel
SUPPORTS = ("/entry_1/image_1/support", "/entry_1/image_1/mask")  # PyNX keeps its support in the mask
IMAGE = "/entry_1/image_1"
INITIAL_SUPPORT = "/entry_1/process_1/initial_support"  # that the run was handed
_DATA = "/entry_1/data_1"
_MASKS = "/entry_1/instrument_1/optics_1/masks"
_STORED = f"{_DETECTOR}/pattern_1"  # what makes the measurement of a result read back as the very Pattern that was written


@dataclasses.dataclass(frozen=True)
class _PatternHeader:
    """What a Pattern holds beside its arrays."""

    geometry: Geometry
    source: Source
    offset: tuple[float, ...]
    asymmetry: float
    warnings: tuple[str, ...]
    noise: Noise | None = None
    doubts: tuple[str, ...] = ()
    preparation: tuple[str, ...] = ()
    optics: tuple[float, ...] | None = None  # Fresnel numbers; nothing in them where there are masks, or only the user knows W


def data_path(tree: hdf5.Tree) -> str | None:
    """Where a CXI file keeps its measured pattern, or None."""
    import h5py

    paths = [f"{_DETECTOR}/data", f"{_DATA}/data"]
    if (tree.text(f"{IMAGE}/data_space") or "").strip() == "diffraction":
        paths.append(f"{IMAGE}/data")
    for path in paths:
        node = tree.find(path)
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "biuf":
            return path
    return None


def holds_object(tree: hdf5.Tree) -> bool:
    """True where there is a reconstructed object."""
    return tree.find(f"{IMAGE}/data") is not None


def read_pattern(tree: hdf5.Tree) -> Pattern | None:
    """The Pattern that write_result or write_pattern stored, exactly; None in any other file."""
    if tree.find(_STORED) is None:
        return None
    from pydantic import TypeAdapter

    text = tree.text(f"{_STORED}/json") or "{}"
    header = TypeAdapter(_PatternHeader).validate_python(json.loads(text))  # which takes file names that are not UTF-8
    stored_geometry = header.geometry
    sizes = [v for v in (stored_geometry.wavelength, stored_geometry.distance, *(stored_geometry.pixel_size or ())) if v is not None]
    intensity = tree.load(tree.find(f"{_DETECTOR}/data"))
    mask = tree.load(tree.find(f"{_DETECTOR}/mask"))
    if (
        (intensity.dtype, intensity.shape) != (np.float32, mask.shape)
        or (header.optics is None and intensity.ndim not in (2, 3))
        or not intensity[~is_bad(mask)].any()
        or not ((intensity >= 0) & (intensity <= BRIGHTEST)).all()
        or len(header.offset) != intensity.ndim
        or not set(header.offset) <= {0, 0.5}
        or not all(0 < v < np.inf for v in sizes)
        or not is_sound(stored_geometry)
    ):
        raise InputError("the pattern in this result was changed after it was written; read the original file")
    flat, dark = stored_flat_and_dark(tree, f"{_DETECTOR}/data")
    optics = None if header.optics is None else Optics(_stored_masks(tree), header.optics)
    cornered = optics.cornered if optics else np.fft.ifftshift
    return Pattern(
        intensity=np.ascontiguousarray(cornered(intensity)),
        measured=np.ascontiguousarray(cornered(~is_bad(mask))),
        geometry=stored_geometry,
        source=header.source,
        offset=header.offset,
        asymmetry=header.asymmetry,
        warnings=header.warnings,
        noise=header.noise,
        doubts=header.doubts,
        preparation=header.preparation,
        sensitivity=None if flat is None else cornered(flat),
        dark=None if dark is None else cornered(dark),
        optics=optics,
    )


def _stored_masks(tree: hdf5.Tree) -> np.ndarray | None:
    import h5py

    node = tree.find(_MASKS)
    return tree.load(node) if isinstance(node, h5py.Dataset) else None


def stored_flat_and_dark(tree: hdf5.Tree, data: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Centred, of a pattern that untwin has stored; None where it has none, and for other data."""
    import h5py

    if tree.find(_STORED) is None or tree.find(data) != tree.find(f"{_DETECTOR}/data"):
        return None, None
    nodes = [tree.find(f"{_DETECTOR}/{name}") for name in ("sensitivity", "dark")]
    flat, dark = (tree.load(node) if isinstance(node, h5py.Dataset) else None for node in nodes)
    return flat, dark


def read_modes(path: str | Path) -> np.ndarray | None:
    """(k, *grid) complex, centred: the orthogonal modes in a result of untwin; None where it holds none."""
    import h5py

    with readable_errors(Path(path), "HDF5"), hdf5.opened(Path(path)) as tree:
        dataset = tree.find(f"{IMAGE}/modes")
        if not isinstance(dataset, h5py.Dataset):
            return None
        modes = tree.load(dataset)
        if modes.dtype != np.complex64 or modes.ndim not in (2, 3, 4) or not np.isfinite(modes).all():
            raise InputError(f"the modes in {Path(path).name} were changed after they were written; reconstruct again")
        return modes


def read_replicas(path: str | Path) -> np.ndarray | None:
    """(k, *grid) complex64, centred: the replicas in a result of untwin; None where it holds none."""
    import h5py

    with readable_errors(Path(path), "HDF5"), hdf5.opened(Path(path)) as tree:
        dataset, image = tree.find(f"{IMAGE}/replicas"), tree.find(f"{IMAGE}/data")
        if not isinstance(dataset, h5py.Dataset) or not isinstance(image, h5py.Dataset):
            return None
        box, first = tree.load(dataset), np.asarray(dataset.attrs.get("first", ())).astype(int)
        shape, sizes = image.shape[-first.size :], box.shape[1:]
        fits = box.ndim == 1 + first.size and first.size == image.ndim and all(0 <= f <= n - s for f, n, s in zip(first, shape, sizes))
        if box.dtype != np.complex64 or not fits or not np.isfinite(box).all():
            raise InputError(f"the replicas in {Path(path).name} were changed after they were written; reconstruct again")
        replicas = np.zeros((len(box), *shape), dtype=np.complex64)
        replicas[(slice(None), *(slice(f, f + s) for f, s in zip(first, sizes)))] = box
        return replicas


def read_initial_support(path: str | Path) -> np.ndarray | None:
    """(*grid) bool, centred: the support that a run of untwin was handed; None where there was none."""
    import h5py

    with readable_errors(Path(path), "HDF5"), hdf5.opened(Path(path)) as tree:
        dataset = tree.find(INITIAL_SUPPORT)
        return tree.load(dataset) != 0 if isinstance(dataset, h5py.Dataset) else None


def write_result(
    path: str | Path,
    *,
    image: np.ndarray,
    support: np.ndarray,
    pattern: Pattern,
    process: dict[str, Any],
    modes: np.ndarray | None = None,
    mode_weights: tuple[float, ...] = (),
    replicas: np.ndarray | None = None,
    voxel_size: tuple[float, ...] | None = None,
    initial_support: np.ndarray | None = None,
) -> Path:
    """Write a result: the object, its support, the measurement that it rests on, and how it was made.

    image: (*grid) complex, centred at N//2; support: bool, likewise; modes: (k, *grid) with mode_weights;
        replicas: (k, *grid), of which the box is stored outside of which all are 0.
    process: strings and numbers by name; anything else is stored as JSON text.
    voxel_size: m per axis; the pattern's own if not given; pixels if that is unknown.
    initial_support: (*grid) bool, centred, that the run was handed.
    The file appears whole or not at all, and replaces one of that name. Raises InputError where it cannot be written or
    where the object is not finite.
    """

    target = Path(path)
    image = np.asarray(image)
    support = np.asarray(support)
    if support.shape != image.shape or (pattern.optics is None and image.shape != pattern.shape):
        raise InputError(f"object {image.shape} and support {support.shape} do not fit the pattern {pattern.shape}; nothing written")
    if modes is not None and (modes.shape[1:] != image.shape or len(mode_weights) not in (0, len(modes))):
        raise InputError(f"modes {modes.shape} with {len(mode_weights)} weights do not fit the object {image.shape}; nothing written")
    if replicas is not None and replicas.shape[1:] != image.shape:
        raise InputError(f"replicas {replicas.shape} do not fit the object {image.shape}; nothing written")
    if not all(np.isfinite(a).all() for a in (image, modes, replicas) if a is not None):
        raise InputError(f"the object has NaN or infinite values; nothing was written to {target}")
    with hdf5.atomic_file(target) as file:
        _write(file, image, support != 0, pattern, process, modes, mode_weights, voxel_size or pattern.voxel_size)
        if replicas is not None:
            _write_replicas(file, replicas)
        if initial_support is not None:
            _grid(file, INITIAL_SUPPORT, np.asarray(initial_support).astype(np.uint8))
    return target


def write_object(
    path: str | Path,
    *,
    image: np.ndarray,
    support: np.ndarray,
    process: dict[str, Any],
    voxel_size: tuple[float, ...] | None = None,
) -> Path:
    """Write an object without a measurement, such as the truth of a simulation; arguments, promises and errors as for write_result."""

    target, image, support = Path(path), np.asarray(image), np.asarray(support)
    if image.shape != support.shape or not np.isfinite(image).all():
        raise InputError(f"object {image.shape} and support {support.shape}: expected one shape and finite values; nothing written")
    with hdf5.atomic_file(target) as file:
        _write_object(_head(file), image, support != 0, None, (), voxel_size)
        _process_1(file, process)
    return target


def write_pattern(path: str | Path, pattern: Pattern, *, process: dict[str, Any]) -> Path:
    """Write a measurement alone: `untwin.read` gives back this very Pattern (its source is then the file).

    process: strings and numbers by name; anything else is stored as JSON text. The file appears whole or not at all, and replaces
    one of that name. Raises InputError where it cannot be written.
    """

    target = Path(path)
    with hdf5.atomic_file(target) as file:
        entry = _head(file)
        _measurement(file, pattern)
        names = ["exposure", "z", "y", "x"][-pattern.ndim :]
        plot = _group(entry, "data_1", "NXdata", signal="data", axes=[f"q{name}" for name in names])
        plot["data"], plot["mask"] = _link(f"{_DETECTOR}/data"), _link(f"{_DETECTOR}/mask")
        axes = {f"q{name}": np.arange(n) - n // 2 for name, n in zip(names, pattern.shape, strict=True)}
        for name, values in axes.items():
            _write_number(plot, name, values, "px")
        plot.attrs["title"] = "intensity"
        if pattern.ndim == 3 and pattern.optics is None:
            _write_middle_planes(entry, pattern.centred(pattern.intensity).astype(np.float32), axes, "px", "photons", "intensity")
        _process_1(file, process)
    return target


def _write(
    file: h5py.File,
    image: np.ndarray,
    support: np.ndarray,
    pattern: Pattern,
    process: dict[str, Any],
    modes: np.ndarray | None,
    mode_weights: tuple[float, ...],
    voxel_size: tuple[float, ...] | None,
) -> None:
    _write_object(_head(file), image, support, modes, mode_weights, voxel_size)
    _scan_geometry(file, pattern)
    _measurement(file, pattern)
    _process_1(file, process)


def _scan_geometry(file: h5py.File, pattern: Pattern) -> None:
    """Of the image of a scan about a Bragg peak: where its voxels are in the laboratory, and q; anybody can redo the step with them."""
    geometry, vectors = pattern.geometry, pattern.geometry.voxel_vectors(pattern.shape)
    if vectors is None or geometry.q is None:
        return
    group = _group(file, f"{IMAGE}/geometry_1", "NXcollection")
    _write_number(group, "voxel_vectors", vectors, "m")
    _write_number(group, "q", np.array(geometry.q), "rad/m")
    group["frame"] = "laboratory: z downstream, y up, x = y x z; row a of voxel_vectors is the step along axis a of the image"
    group["phase_convention"] = "image phase = -q.u under exp(-i q.r) from object to detector, u the displacement of the lattice"


def _head(file: h5py.File) -> h5py.Group:
    file.attrs.update({"NX_class": "NXroot", "default": "entry_1"})
    file["cxi_version"] = 150
    return _group(file, "/entry_1", "NXentry", default="data_1")


def _write_object(
    entry: h5py.Group,
    image: np.ndarray,
    support: np.ndarray,
    modes: np.ndarray | None,
    mode_weights: tuple[float, ...],
    voxel_size: tuple[float, ...] | None,
) -> None:
    length = "m" if voxel_size else "px"
    step = np.array(voxel_size or (1.0,) * image.ndim, dtype=np.float64)

    result = _group(entry, "image_1", "NXcollection")
    _grid(result, "data", image.astype(np.complex64), "sqrt(photons)")
    _grid(result, "support", support.astype(np.uint8))
    _grid(result, "mask", np.where(support, INSIDE, 0).astype(np.uint32))
    result["data_space"], result["data_type"], result["is_fft_shifted"] = "real", "electron density", 0
    _write_number(result, "image_size", step * image.shape, length)
    if voxel_size:
        _write_number(result, "voxel_size", step, "m")
    if modes is not None:
        _grid(result, "modes", np.asarray(modes, dtype=np.complex64), "sqrt(photons)")
        _write_number(result, "mode_weights", np.asarray(mode_weights, dtype=np.float64), "")

    names = ["z", "y", "x"][-image.ndim :]
    magnitude, phase = np.abs(image).astype(np.float32), np.where(support, np.angle(image), 0).astype(np.float32)
    plots = {"data_1": None, "view_amplitude": (magnitude, "sqrt(photons)"), "view_phase": (phase, "rad")}
    for title, values in plots.items():
        plot = _group(entry, title, "NXdata", signal="data", axes=names)
        if values is None:
            plot["data"] = _link(f"{IMAGE}/data")
        else:
            _grid(plot, "data", *values)
        for name, n, size in zip(names, image.shape, step, strict=True):
            _write_number(plot, name, (np.arange(n) - n // 2) * size, length)
            plot[name].attrs["long_name"] = f"{name} ({length})"
    entry["data_1"].attrs["title"] = "object"
    if image.ndim == 3:
        axes = {name: (np.arange(n) - n // 2) * size for name, n, size in zip(names, image.shape, step, strict=True)}
        _write_middle_planes(entry, image.astype(np.complex64), axes, length, "sqrt(photons)", "object")


def _write_middle_planes(entry: h5py.Group, volume: np.ndarray, axes: dict[str, np.ndarray], unit: str, units: str, title: str) -> None:
    """plane_z, plane_y, plane_x (of a pattern plane_qz ...): the planes through N//2, the first of them the default plot. Viewers such as
    silx open a volume on its first plane, where there is nothing, and no attribute tells them of another. axes: by name, in `unit`."""
    names = list(axes)
    for axis, name in enumerate(names):
        others = [other for other in names if other != name]
        plot = _group(entry, f"plane_{name}", "NXdata", signal="data", axes=others)
        _grid(plot, "data", volume.take(volume.shape[axis] // 2, axis), units)
        for other in others:
            _write_number(plot, other, axes[other], unit)
            plot[other].attrs["long_name"] = f"{other} ({unit})"
        plot.attrs["title"] = f"{title}, plane {name} = 0"
    entry.attrs["default"] = f"plane_{names[0]}"


def _write_replicas(file: h5py.File, replicas: np.ndarray) -> None:
    """The smallest box that holds all that is not 0, and where in the array it begins."""
    inside = (replicas != 0).any(0)
    at = [np.flatnonzero(inside.any(tuple(a for a in range(inside.ndim) if a != axis))) for axis in range(inside.ndim)]
    box = [slice(int(i[0]), int(i[-1]) + 1) if len(i) else slice(0, 0) for i in at]
    _grid(file, f"{IMAGE}/replicas", replicas[(slice(None), *box)].astype(np.complex64), "sqrt(photons)")
    file[f"{IMAGE}/replicas"].attrs["first"] = [b.start for b in box]


def _process_1(file: h5py.File, process: dict[str, Any]) -> None:
    from untwin import __version__

    group = _group(file, "/entry_1/process_1", "NXprocess")
    for name, value in {"program": "untwin", "version": __version__, "command": "", **process}.items():
        group[str(name).replace("/", "_")] = _storable(value)


def _storable(value: Any) -> str | int | float | np.number:
    """What HDF5 can hold of a process item: text in UTF-8 without NUL, or a number of 64 bits; anything else as JSON text."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float | np.number) or (isinstance(value, int) and -(2**63) <= value < 2**64):
        return int(value) if isinstance(value, bool) else value
    return json.dumps(value, default=str)


def _measurement(file: h5py.File, pattern: Pattern) -> None:
    _group(file, "/entry_1/instrument_1", "NXinstrument")
    detector = _group(file, _DETECTOR, "NXdetector")
    _grid(detector, "data", pattern.centred(pattern.intensity).astype(np.float32), "photons")
    _grid(detector, "mask", np.where(pattern.centred(pattern.measured), 0, INVALID).astype(np.uint32))
    for name, values, units in (("sensitivity", pattern.sensitivity, ""), ("dark", pattern.dark, "counts")):
        if values is not None:
            _grid(detector, name, pattern.centred(values), units)
    if pattern.optics and pattern.optics.masks is not None:
        _group(file, _MASKS.rpartition("/")[0], "NXcollection")
        _grid(file, _MASKS, pattern.optics.masks)
    geometry = pattern.geometry
    if geometry.wavelength:
        source = _group(file, "/entry_1/instrument_1/source_1", "NXsource")
        _write_number(source, "energy", PLANCK_LIGHT / geometry.wavelength, "J")
    if geometry.distance:
        _write_number(detector, "distance", geometry.distance, "m")
    if geometry.pixel_size:
        for axis, size in zip("xyz", reversed(geometry.pixel_size)):
            _write_number(detector, f"{axis}_pixel_size", size, "m")
    stored = _group(file, _STORED, "NXcollection")
    _write_number(stored, "offset", np.array(pattern.offset), "px")
    _write_number(stored, "asymmetry", pattern.asymmetry, "")
    header = {
        "geometry": dataclasses.asdict(geometry),
        "source": dataclasses.asdict(pattern.source),
        "offset": pattern.offset,
        "asymmetry": pattern.asymmetry,
        "warnings": pattern.warnings,
        "noise": pattern.noise and dataclasses.asdict(pattern.noise),
        "doubts": pattern.doubts,
        "preparation": pattern.preparation,
        "optics": pattern.optics and pattern.optics.fresnel_numbers,
    }
    stored["json"] = json.dumps(header, default=_json_default)


def _json_default(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _link(target: str) -> h5py.SoftLink:
    import h5py

    return h5py.SoftLink(target)


def _group(parent: h5py.Group, name: str, nx_class: str, **attributes: Any) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update({"NX_class": nx_class, **attributes})
    return group


def _grid(group: h5py.Group, name: str, values: np.ndarray, units: str = "") -> None:
    group.create_dataset(name, data=values, compression="gzip", compression_opts=4, shuffle=True)
    group[name].attrs["units"] = units


def _write_number(group: h5py.Group, name: str, value: Any, units: str) -> None:
    group[name] = value
    group[name].attrs["units"] = units
