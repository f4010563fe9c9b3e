"""What a reconstruction left in a file: an object, or a support."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from untwin.data import cxi, formats, hdf5
from untwin.data.header import listed
from untwin.data.measurement import Pattern
from untwin.errors import GuessWarning, InputError, readable_errors


@dataclass(frozen=True, eq=False)
class ObjectFile:
    """A reconstructed object as a file holds it.

    image: (*grid) complex64, centred at N//2. support: (*grid) bool, centred likewise, or None.
    voxel_size: m per axis, or None. process: what the file says about how it was made, by name.
    """

    image: np.ndarray
    support: np.ndarray | None = None
    voxel_size: tuple[float, ...] | None = None
    process: dict[str, str | float | int] = field(default_factory=dict)


def read_object(path: str | Path) -> ObjectFile:
    """The object in a result (.cxi of untwin or PyNX), an HDF5 file (MATLAB's -v7.3, too), an .npz or MATLAB file (`image`, `object` or the
    only complex array; `support` beside it), or any other format of one array; FILE::NAME chooses an array. Raises InputError."""
    file, chosen = split(path)
    format = formats.kind(file)
    if format == "hdf5":
        return _object_from_hdf5(file, chosen)
    support = None
    prefer: tuple[str, ...] = ("image", "object")
    if formats.has_names(format):
        reader = formats.FORMATS[format]
        with readable_errors(file, reader.name):
            entries = reader.entries(file)
            waves = [e.name for e in entries if e.dtype.kind == "c"]
            if len(waves) == 1:
                prefer = (*prefer, waves[0])
            if len(entries) > 1 and any(e.name == "support" for e in entries):
                support = reader.load(file, "support")
    name, values = formats.array(file, format, chosen, prefer, "object", f"{file.name}::NAME instead of data")
    return checked_object(values, support, f"{name or 'the array'} in {file.name}")


def _object_from_hdf5(file: Path, name: str | None) -> ObjectFile:
    """The object of a result, centred: image_1 of a CXI file (support in `support`, in a PyNX mask of 0 and 1, or in
    the mask's bit 0x10000), else the default plot where that is complex, else the only complex dataset. Or what is named.
    Raises InputError."""
    import h5py

    with readable_errors(file, "HDF5"), hdf5.opened(file) as tree:
        if name is not None and not _is_image(tree, name):
            entry = formats.choose_entry(tree.entries(), name, (), file.name, "object", f"{file.name}::NAME instead of data", tree)
            return checked_object(tree.load(tree.find(entry.name)), None, f"{entry.name} in {file.name}")
        dataset = tree.find(f"{cxi.IMAGE}/data")
        support = None
        if isinstance(dataset, h5py.Dataset):
            if (tree.text(f"{cxi.IMAGE}/data_space") or "real").strip() == "diffraction":
                raise InputError(f"{cxi.IMAGE} in {file.name} is a diffraction pattern, not an object; read it with untwin.read")
            support = _stored_support(tree)
        else:
            dataset = tree.default()
            if dataset is None or dataset.dtype.kind != "c":
                waves = [e for e in tree.entries() if e.is_grid and e.dtype.kind == "c"]
                if len(waves) != 1:
                    raise InputError(f"{file.name} holds no single object; its complex arrays: {listed(waves)}. Choose with FILE::NAME")
                dataset = tree.find(waves[0].name)
        image, process = tree.load(dataset), _process(tree)
        if image.ndim == 1 and "summary" in process:  # a result of untwin: an object of one axis
            return ObjectFile(image.astype(np.complex64), support, None, process)
        if image.ndim > 3:
            image = image.reshape([n for n in image.shape if n != 1])
        image = strongest_mode(image, support, f"{dataset.name} in {file.name}")
        if tree.number(f"{cxi.IMAGE}/is_fft_shifted"):
            image = np.fft.fftshift(image)
            support = None if support is None else np.fft.fftshift(support)
        return checked_object(image, support, f"{dataset.name} in {file.name}", _voxel(tree, image.ndim), process)


def checked_object(
    values: np.ndarray,
    support: np.ndarray | None,
    what: str,
    voxel_size: tuple[float, ...] | None = None,
    process: dict[str, str | float | int] | None = None,
) -> ObjectFile:
    """An ObjectFile, or an InputError where the values cannot be one."""
    values = formats.squeezed_grid(strongest_mode(values, support, what), what)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(values, dtype=np.complex64)
    if not np.isfinite(values).all():
        raise InputError(f"{what} has values that are NaN, infinite or above 3e38; expected a finite object")
    if support is not None:
        support = np.asarray(formats.squeezed_grid(support, f"the support of {what}") != 0)
        if support.shape != values.shape:
            raise InputError(f"{what} has shape {values.shape}, its support {support.shape}; expected the same")
    return ObjectFile(values, support, voxel_size, process or {})


def strongest_mode(values: np.ndarray, support: np.ndarray | None, what: str) -> np.ndarray:
    """The mode with the greatest power, where an array holds several of one object (PyNX stacks them along its first axis): it has four
    axes, or three of which the first is too short for a volume, or one more than the support, or it is called so. Said. Any other array
    is left as it is. Raises InputError where one has values that are not finite."""
    axes = [n for n in values.shape if n != 1]
    flat = support is not None and sum(n != 1 for n in support.shape) == 2
    called = "mode" in what.partition(" in ")[0].rsplit("/", 1)[-1] and len(axes) == values.ndim
    if not (len(axes) == 4 or (len(axes) == 3 and (flat or called or axes[0] < 8 <= min(axes[1:])))):
        return values
    modes = values.reshape(axes)
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.array([float(np.square(np.abs(mode), dtype=np.float64).sum()) for mode in modes])
    k, total = int(np.argmax(power)), float(power.sum())
    if not np.isfinite(total):
        raise InputError(f"{what} holds {len(modes)} modes with values that are NaN, infinite or above 3e38; expected finite ones")
    if total > 0:
        share = f", {100 * power[k] / total:.0f} % of the power"
        warnings.warn(f"{what} holds {len(modes)} modes: mode {k} is taken{share}", GuessWarning, stacklevel=3)
    return modes[k]


def read_support(path: str | Path, pattern: Pattern) -> np.ndarray:
    """A support for the object of `pattern`: bool, in its shape, centred at N//2. Nonzero means inside.

    The file's support is in the shape of the pattern, or of the array that the pattern was read from: cropping or
    padding a pattern changes the size of the object's pixels and not where it lies, so that pixel r of N becomes r N'/N
    of N' about the centre (nearest neighbour). Named `support` or `support_published`, or the only array; FILE::NAME
    chooses. Raises InputError.
    """
    file, name = split(path)
    format = formats.kind(file)
    prefer = (*cxi.SUPPORTS, "support", "support_published")
    name, values = formats.array(file, format, name, prefer, "support", f"{file.name}::NAME instead of data")
    what = f"the support {name or 'array'} in {file.name}"
    if values.dtype.kind == "c":
        raise InputError(f"{what} is complex: an object; expected 0 outside and 1 inside")
    values = formats.squeezed_grid(values, what)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{what} has NaN or infinite values; expected 0 outside and 1 inside")
    support = values != 0
    if not support.any():
        raise InputError(f"{what} is empty; expected 1 inside the object")
    if support.all():
        raise InputError(f"{what} covers the whole array; expected 0 outside the object")
    if support.shape == pattern.shape or pattern.optics is not None:  # runs.reconstruct knows the shape of that object
        return support
    if support.shape != pattern.source.shape:
        raise InputError(
            f"{what} has shape {support.shape}, the pattern {pattern.shape} (its file {pattern.source.shape}); crop or pad one of them"
        )
    for axis, (old, new) in enumerate(zip(support.shape, pattern.shape, strict=True)):
        r = (np.arange(new) - new // 2) * old / new
        support = support.take(np.clip(np.rint(r).astype(int) + old // 2, 0, old - 1), axis=axis)
    return support


def _is_image(tree: hdf5.Tree, name: str) -> bool:
    return tree.find(name) is not None and tree.find(name) == tree.find(f"{cxi.IMAGE}/data")


def _stored_support(tree: hdf5.Tree) -> np.ndarray | None:
    import h5py

    for path in cxi.SUPPORTS:
        dataset = tree.find(path)
        if isinstance(dataset, h5py.Dataset):
            values = tree.load(dataset)
            inside = values.dtype.kind in "iu" and values.dtype.itemsize > 2 and bool(((values & cxi.INSIDE) != 0).any())
            return (values & cxi.INSIDE) != 0 if inside else values != 0
    return None


def _voxel(tree: hdf5.Tree, d: int) -> tuple[float, ...] | None:
    import h5py

    dataset = tree.find(f"{cxi.IMAGE}/voxel_size")
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != (d,) or dataset.dtype.kind != "f":
        return None
    size = tuple(float(v) for v in tree.load(dataset))
    return size if all(0 < v < np.inf for v in size) else None


def _process(tree: hdf5.Tree) -> dict[str, str | float | int]:
    import h5py

    group = next((g for g in map(tree.find, ("/entry_1/process_1", f"{cxi.IMAGE}/process_1")) if isinstance(g, h5py.Group)), None)
    items: dict[str, str | float | int] = {}
    if group is None:
        return items
    for name in map(str, group):
        path = f"{group.name}/{name}"
        item = tree.find(path)
        if not isinstance(item, h5py.Dataset) or item.size != 1:
            continue
        text = tree.text(path)
        if text is not None:
            items[name] = text
        elif item.dtype.kind in "biuf":
            items[name] = np.asarray(tree.load(item)).ravel()[0].item()
    return items


def split(path: str | Path) -> tuple[Path, str | None]:
    """FILE or FILE::NAME -> the file, which exists, and the name of an array in it."""
    text = str(path)
    if "::" in text and not Path(text).exists():
        before, _, name = text.rpartition("::")
        return formats.existing(before), name or None
    return formats.existing(path), None
