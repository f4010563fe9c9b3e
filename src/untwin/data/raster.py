"""PNG and JPEG as arrays of numbers, one for each pixel. Pillow decodes them, and no other format; the size is checked before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from untwin.data.header import RATIO, Entry, affordable, entry_named
from untwin.errors import InputError
from untwin.processes import ignored

PIXELS = 2**26  # of a picture
_DTYPES = {"1": "bool", "I;16": "u2", "I;16B": "u2", "I": "i4", "F": "f4"}
_GREY = ("1", "L", "I", "F", "I;16", "I;16B")


def entries(path: Path) -> list[Entry]:
    """One picture, without a name: what its header says."""
    with opened(path, path.name) as picture:
        width, height = picture.size
        return [Entry("", (height, width), np.dtype(_DTYPES.get(picture.mode, "u1")))]


def load(path: Path, name: str) -> np.ndarray:
    """(height, width), the numbers as they stand. A picture in colours is taken where all its pixels are grey, and one with transparency
    where it is nowhere transparent; InputError otherwise."""
    affordable(entry_named(entries(path), name, path.name), path.name)
    with opened(path, path.name) as picture:
        if picture.mode in _GREY:
            return np.asarray(picture)
        values = np.asarray(picture.convert("RGBA"))
    if (values[..., 3] != 255).any():
        raise InputError(f"{path.name} is transparent in some pixels; save it in shades of grey without transparency")
    if (values[..., :3] != values[..., :1]).any():
        raise InputError(f"{path.name} is a picture in colours; expected one number for each pixel: save it in shades of grey")
    return values[..., 0].copy()


def is_eight_bit(path: Path) -> bool:
    with opened(path, path.name) as picture:
        return picture.mode not in ("I", "F", "I;16", "I;16B")


@contextmanager
def opened(path: Path, what: str, kinds: tuple[str, ...] = ("PNG", "JPEG")) -> Iterator[Any]:
    """The picture, its header read and nothing else. what: it is called in messages."""
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(26)
    if has_deep_colours(head):
        raise InputError(f"{what} is a picture in colours of 16 bits; expected one number for each pixel: save it in shades of grey")
    with ignored():  # Pillow's of large pictures and of damaged EXIF
        try:
            picture = Image.open(path, formats=kinds)
        except Image.DecompressionBombError:
            raise InputError(f"{what} declares more than {PIXELS:,} pixels; cut it into smaller ones") from None
        with picture:
            width, height = picture.size
            require_pixels(width, height, what)
            if picture.format == "JPEG" and width * height > RATIO * path.stat().st_size:  # a byte can say 256 at most, of a constant
                size = f"{width} x {height} pixels and has {path.stat().st_size} bytes"
                raise InputError(f"{what} declares {size}: cut short? Copy it again")
            if getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"{what} is an animation; save the frames as a TIFF stack")
            yield picture


def has_deep_colours(head: bytes) -> bool:
    """head: 26 bytes. Of a PNG with several numbers of 16 bits for each pixel: Pillow would make 8 bits of them, without a word."""
    return head.startswith(b"\x89PNG") and head[24:25] == b"\x10" and head[25:26] != b"\0"


def require_pixels(width: int, height: int, what: str) -> None:
    if width * height > PIXELS:
        raise InputError(f"{what} declares {width} x {height} pixels, {PIXELS:,} at most; cut it into smaller ones")
