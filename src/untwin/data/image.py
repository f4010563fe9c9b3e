"""Pictures from and to files: PNG, TIFF and NumPy, grey and colour. Values 0 to 1, channels first."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.data import arrays, formats, tiff
from untwin.data.atomic import atomic_write
from untwin.errors import GuessWarning, InputError

READABLE = "PNG, TIFF or .npy"
PIXELS = 2**26  # of a PNG


@dataclass(frozen=True, eq=False)
class Image:
    """values: (channels, height, width) float32, 0 to 1. offset, scale: the file's numbers are offset + scale * values. kind: its dtype."""

    values: np.ndarray
    offset: float = 0.0
    scale: float = 1.0
    kind: str = "float32"


def read_array(path: str | Path, what: str) -> np.ndarray:
    """The numbers in a file as they stand. Raises InputError where there are none; `what` names it in the message."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{what} {path} does not exist; check the path")
    if path.is_dir():
        raise InputError(f"{what} {path} is a folder; expected a file: {READABLE}")
    with formats.existing(path).open("rb") as file:
        head = file.read(24)
    kind = "png" if head.startswith(b"\x89PNG") else formats.STARTS.get(head[:4], "numpy" if head.startswith(b"\x93NUMPY") else "")
    try:
        if kind == "numpy" and head.startswith(b"\x93"):
            return arrays.load(path, "")
        if kind == "tiff":
            return tiff.load(path, "", colour=True)
        if kind == "png":
            from skimage.io import imread

            width, height = struct.unpack(">2I", head[16:24])
            if width * height > PIXELS:
                raise InputError(f"{what} {path} declares {width} x {height} pixels, {PIXELS:,} at most; cut it into smaller ones")
            return np.asarray(imread(path))
    except InputError:
        raise
    except Exception as error:  # whatever a reader says of a broken file
        raise InputError(f"{what} {path} cannot be read ({type(error).__name__}: {error}); copy or write it again") from None
    raise InputError(f"{what} {path} is in no format that can be read here (it starts with {head[:8]!r}); expected {READABLE}")


def read_image(path: str | Path) -> Image:
    """A picture in grey or colour. Integers are divided by the largest of their type; other ranges of floats are scaled to 0..1, with a
    GuessWarning. Transparency is left out. Raises InputError where it is not a picture, or not finite."""
    a = read_array(path, "the image")
    kind = str(a.dtype)
    if a.dtype == bool or a.dtype.kind not in "uif":
        raise InputError(f"{path} holds {a.dtype}; expected integers or floats, grey or colour")
    if a.ndim == 3 and a.shape[-1] not in (1, 2, 3, 4) and a.shape[0] in (1, 3):
        a = np.moveaxis(a, 0, -1)
    if a.ndim == 2:
        a = a[..., None]
    if a.ndim != 3 or a.shape[-1] not in (1, 2, 3, 4):
        raise InputError(f"{path} has shape {a.shape}; expected (height, width) or (height, width, 3)")
    if a.shape[-1] in (2, 4):
        warnings.warn(f"{Path(path).name}: transparency is left out", GuessWarning, stacklevel=2)
        a = a[..., :-1]
    if min(a.shape[:2]) < 8:
        raise InputError(f"{path} has {a.shape[0]} x {a.shape[1]} pixels; expected 8 at least along each axis")
    offset, scale = 0.0, 1.0
    if a.dtype.kind in "ui":
        scale = float(np.iinfo(a.dtype).max)
    bad = int((~np.isfinite(a)).sum())
    if bad:
        raise InputError(
            f"{path} holds {bad} values that are NaN or infinite; replace them, and mark them in a mask for inpainting (--mask)"
        )
    if a.dtype.kind == "f" and (a.min() < 0 or a.max() > 1):
        offset, scale = float(a.min()), float(a.max() - a.min()) or 1.0
        text = f"{Path(path).name} reaches from {offset:g} to {offset + scale:g}: scaled to 0..1; result.npy is scaled back"
        warnings.warn(text, GuessWarning, stacklevel=2)
    values = (a.astype(np.float64) - offset) / scale
    return Image(np.ascontiguousarray(np.moveaxis(values, -1, 0).astype(np.float32)), offset, scale, kind)


def read_plane(path: str | Path, what: str) -> np.ndarray:
    """A mask, a kernel or a sampling pattern: (height, width). Of a colour picture the largest channel."""
    a = read_array(path, what)
    if a.dtype != bool and a.dtype.kind not in "uif":
        raise InputError(f"{what} {path} holds {a.dtype}; expected numbers")
    if a.ndim == 3 and a.shape[-1] in (3, 4):
        a = a[..., :3].max(-1)
    if a.ndim != 2:
        raise InputError(f"{what} {path} has shape {a.shape}; expected (height, width)")
    if not np.isfinite(a).all():
        raise InputError(f"{what} {path} holds NaN or infinity; replace them")
    return a


def write_image(path: Path, values: np.ndarray) -> None:
    """(channels, height, width), 0 to 1, as PNG with 8 bits; complete or not there."""
    from skimage.io import imsave

    a = np.moveaxis(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8), 0, -1)
    with atomic_write(path) as temporary:
        renamed = temporary.with_suffix(".png")
        try:
            imsave(renamed, a[..., 0] if a.shape[-1] == 1 else a, check_contrast=False)
            renamed.replace(temporary)
        finally:
            renamed.unlink(missing_ok=True)
