"""What a reconstruction left in a file: an object, or a support."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from untwin.data import door
from untwin.data.measurement import Pattern
from untwin.errors import InputError


@dataclass(frozen=True)
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
    """The object in a result (.cxi of untwin or PyNX), an .npy, an .npz (`image`, `object` or the only complex array;
    `support` beside it) or a TIFF. Raises InputError."""
    file = door.existing(path)
    format = door.kind(file)
    if format == "hdf5":
        from untwin.data import cxi

        return cxi.read_object(file)
    from untwin.data import arrays

    support = None
    prefer: tuple[str, ...] = ("image", "object")
    if format == "numpy":
        with door.spoken(file, "NumPy"):
            entries = arrays.entries(file)
            waves = [e.name for e in entries if e.dtype.kind == "c"]
            if len(waves) == 1:
                prefer = (*prefer, waves[0])
            if len(entries) > 1 and any(e.name == "support" for e in entries):
                support = arrays.load(file, "support")
    name, values = door.array(file, format, None, prefer, "object", "data")
    return checked_object(values, support, f"{name or 'the array'} in {file.name}")


def checked_object(
    values: np.ndarray,
    support: np.ndarray | None,
    what: str,
    voxel_size: tuple[float, ...] | None = None,
    process: dict[str, str | float | int] | None = None,
) -> ObjectFile:
    """An ObjectFile, or an InputError where the values cannot be one."""
    values = door.grid(values, what)
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype=np.complex64)
    if not np.isfinite(values).all():
        raise InputError(f"{what} has values that are NaN, infinite or above 3e38; expected a finite object")
    if support is not None:
        support = np.asarray(door.grid(support, f"the support of {what}") != 0)
        if support.shape != values.shape:
            raise InputError(f"{what} has shape {values.shape}, its support {support.shape}; expected the same")
    return ObjectFile(values, support, voxel_size, process or {})


def read_support(path: str | Path, pattern: Pattern) -> np.ndarray:
    """A support for the object of `pattern`: bool, in its shape, centred at N//2. Nonzero means inside.

    The file's support is in the shape of the pattern, or of the array that the pattern was read from: cropping or
    padding a pattern changes the size of the object's pixels and not where it lies, so that pixel r of N becomes r N'/N
    of N' about the centre (nearest neighbour). Named `support` or `support_published`, or the only array; FILE::NAME
    chooses. Raises InputError.
    """
    file, name = split(path)
    format = door.kind(file)
    prefer: tuple[str, ...] = ("support", "support_published")
    if format == "hdf5":
        from untwin.data import cxi

        prefer = cxi.SUPPORTS
    name, values = door.array(file, format, name, prefer, "support", f"{file.name}::NAME instead of data")
    what = f"the support {name or 'array'} in {file.name}"
    if values.dtype.kind == "c":
        raise InputError(f"{what} is complex: an object; expected 0 outside and 1 inside")
    values = door.grid(values, what)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{what} has NaN or infinite values; expected 0 outside and 1 inside")
    support = values != 0
    if not support.any():
        raise InputError(f"{what} is empty; expected 1 inside the object")
    if support.all():
        raise InputError(f"{what} covers the whole array; expected 0 outside the object")
    if support.shape == pattern.shape:
        return support
    if support.shape != pattern.source.shape:
        raise InputError(
            f"{what} has shape {support.shape}, the pattern {pattern.shape} (its file {pattern.source.shape}); crop or pad one of them"
        )
    for axis, (old, new) in enumerate(zip(support.shape, pattern.shape, strict=True)):
        r = (np.arange(new) - new // 2) * old / new
        support = support.take(np.clip(np.rint(r).astype(int) + old // 2, 0, old - 1), axis=axis)
    return support


def split(path: str | Path) -> tuple[Path, str | None]:
    """FILE or FILE::NAME -> the file, which exists, and the name of an array in it."""
    text = str(path)
    if "::" in text and not Path(text).exists():
        before, _, name = text.rpartition("::")
        return door.existing(before), name or None
    return door.existing(path), None
