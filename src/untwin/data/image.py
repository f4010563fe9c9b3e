"""Pictures from and to files: PNG, JPEG, TIFF and NumPy, grey and colour. Values 0 to 1, channels first."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.data import arrays, formats, raster, tiff
from untwin.data.atomic import atomic_write_bytes
from untwin.data.shades import cut_at_half, sentence_of_shades
from untwin.errors import GuessWarning, InputError

READABLE = "PNG, JPEG, TIFF or .npy"
FLOOR = 0.5  # of the largest value: a floor of 0.1 to 0.75 that is left costs 0.0 to 0.2 dB, one of 0.9 costs 2.0 (4 pictures, noise 0.1)
DIM = 0.15  # floats below are scaled as if they reached beyond 1: a scale of 1/4 costs 0.1 dB, of 1/8 and less 0.5 to 1.0 (the same 4)
HOT = 4.0  # times what all but a thousandth of the pixels stay below: a scale of 1/4 is no loss yet (as above)


@dataclass(frozen=True, eq=False)
class Image:
    """values: (channels, height, width) float32, 0 to 1. offset, scale: the file's numbers are offset + scale * values. kind: its dtype."""

    values: np.ndarray
    offset: float = 0.0
    scale: float = 1.0
    kind: str = "float32"


_JPEG = b"\xff\xd8\xff"
# EXIF orientation: quarter turns to the left, and whether it is mirrored left to right before them
_UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}


def read_array(path: str | Path, what: str) -> np.ndarray:
    """The numbers in a file as they stand. Raises InputError where there are none; `what` names it in the message."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{what} {path} does not exist; check the path")
    if path.is_dir():
        raise InputError(f"{what} {path} is a folder; expected a file: {READABLE}")
    with formats.existing(path).open("rb") as file:
        head = file.read(26)
    kind = formats.STARTS.get(head[:4], "")
    try:
        if head.startswith(b"\x93NUMPY"):
            return arrays.load(path, "")
        if kind == "tiff":
            return tiff.load(path, "", colour=True)
        if head.startswith(b"\x89PNG"):
            from imageio.v3 import imread

            if raster.has_deep_colours(head):
                raise InputError(f"{what} {path} is a PNG in colours of 16 bits, not read here; save it as a TIFF, or with 8 bits")
            raster.require_pixels(*struct.unpack(">2I", head[16:24]), f"{what} {path}")
            with path.open("rb") as file:
                return np.asarray(imread(file, plugin="pillow"))
        if head.startswith(_JPEG):
            return _jpeg(path, what)
    except InputError:
        raise
    except Exception as error:  # whatever a reader says of a broken file
        raise InputError(f"{what} {path} cannot be read ({type(error).__name__}: {error}); copy or write it again") from None
    raise InputError(f"{what} {path} is in no format that can be read here (it starts with {head[:8]!r}); expected {READABLE}")


def _jpeg(path: Path, what: str) -> np.ndarray:
    """Grey or colours with 8 bits, upright by its EXIF orientation, with a GuessWarning. Nothing is decoded before its size is known."""
    with raster.opened(path, f"{what} {path}", ("JPEG",)) as picture:
        if picture.mode not in ("L", "RGB"):
            raise InputError(f"{what} {path} is a JPEG in {picture.mode}; expected grey or colours (RGB): convert it")
        try:
            orientation = picture.getexif().get(0x0112)
        except Exception:  # damaged EXIF, of whatever kind, says nothing
            orientation = None
        a = np.asarray(picture)
    if orientation in _UPRIGHT:
        quarters, mirrored = _UPRIGHT[orientation]
        a = np.rot90(a[:, ::-1] if mirrored else a, quarters)
        text = f"{path.name}: turned upright, as its EXIF orientation ({orientation}) says; a mask for it must be upright, too"
        warnings.warn(text, GuessWarning, stacklevel=4)
    return a


def read_image(path: str | Path, known: np.ndarray | None = None) -> Image:
    """A picture in grey or colour, values 0 to 1. Integers of 8 bits are divided by 255, larger ones by the smallest 2^k - 1 that is no
    less than all of them, floats by the largest, unless it is
    from 0.15 to 1. A floor that is negative, or clearly not black, becomes 0. Each of it is a
    GuessWarning, but for the full range of a type. Transparency is left out.

    known: (height, width) bool, where the numbers mean something; others have no say in the scale.
    Raises InputError where it is not a picture, or not finite."""
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
    known = known if known is not None and known.shape == a.shape[:2] else None
    if known is not None and a.dtype.kind == "f":
        a = np.where(known[..., None] | np.isfinite(a), a, 0)  # NaN is a usual mark of a pixel that was not measured
    bad = int((~np.isfinite(a)).sum()) if a.dtype.kind == "f" else 0
    if bad:
        raise InputError(
            f"{path} holds {bad} values that are NaN or infinite; replace them, and mark them in a mask for inpainting (--mask)"
        )
    offset, scale, texts = _scaling(a[known] if known is not None and known.any() else a)
    for text in texts:
        warnings.warn(f"{Path(path).name} {text}", GuessWarning, stacklevel=2)
    values = np.empty((a.shape[-1], *a.shape[:2]), np.float32)
    for row, numbers in enumerate(a):  # a whole picture in double precision would be large
        values[:, row] = ((numbers.astype(np.float64) - offset) / scale).T
    return Image(values, offset, scale, kind)


def _scaling(a: np.ndarray) -> tuple[float, float, list[str]]:
    """Which number is black and how far above it white lies; and, where that was read from the numbers `a`, what is to be said of it."""
    low, high = a.min().item(), a.max().item()
    integers = a.dtype.kind in "ui"
    if integers and a.dtype.itemsize == 1 and low >= 0:
        return 0.0, 255.0, []
    if not integers and low >= 0 and (high == 0 or DIM < high <= 1):
        return 0.0, 1.0, []
    if not np.isfinite(float(high - low)):
        raise InputError(f"the image reaches from {low:g} to {high:g}, too far to be scaled; divide it by a number")
    offset = low if low < 0 or low > FLOOR * high else 0
    scale = max(2 ** int(high - offset).bit_length() - 1, 1) if integers else (high - offset or 1.0)
    texts = []
    if not (integers and offset == 0 and scale == np.iinfo(a.dtype).max):
        black = f"{offset:g} is taken as black, " if offset else ""
        texts.append(f"reaches from {low:g} to {high:g}: scaled to 0..1, {black}{offset + scale:g} as white; result.npy is scaled back")
    most = float(np.quantile(a, 0.999)) - offset
    if 0 < HOT * most < high - offset:
        hot = int((a > offset + HOT * most).sum())
        texts.append(
            f"is scaled by {hot} value{'s' * (hot != 1)} far above all others, up to {high:g} where 99.9 % stay below {offset + most:g}: "
            "hot pixels? Mark them as unknown (--mask)"
        )
    return float(offset), float(scale), texts


def read_plane(path: str | Path, what: str, graded: bool = False) -> np.ndarray:
    """A mask, a sampling pattern or, graded, a kernel: (height, width). Of a colour picture the largest channel. A JPEG is cut at half,
    since its compression leaves no zeros; a graded one is refused. Cut, or of many shades, it is a GuessWarning."""
    a = read_array(path, what)
    if a.dtype != bool and a.dtype.kind not in "uif":
        raise InputError(f"{what} {path} holds {a.dtype}; expected numbers")
    if a.ndim == 3 and a.shape[-1] in (3, 4):
        a = a[..., :3].max(-1)
    if a.ndim != 2:
        raise InputError(f"{what} {path} has shape {a.shape}; expected (height, width)")
    if not np.isfinite(a).all():
        raise InputError(f"{what} {path} holds NaN or infinity; replace them")
    with Path(path).open("rb") as file:
        lossy = file.read(3) == _JPEG
    if not graded:
        plane, text = cut_at_half(a, f"{what} {Path(path).name}") if lossy else (a, sentence_of_shades(a, f"{what} {Path(path).name}"))
        if text:
            warnings.warn(text, GuessWarning, stacklevel=2)
        return plane
    if lossy:
        raise InputError(f"{what} {path} is a JPEG, whose compression changes small numbers; expected PNG, TIFF or .npy")
    return a


def write_image(path: Path, values: np.ndarray) -> None:
    """(channels, height, width), 0 to 1, as PNG with 8 bits; complete or not there."""
    from imageio.v3 import imwrite

    a = np.moveaxis(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8), 0, -1)
    atomic_write_bytes(path, imwrite("<bytes>", a[..., 0] if a.shape[-1] == 1 else a, plugin="pillow", extension=".png"))
