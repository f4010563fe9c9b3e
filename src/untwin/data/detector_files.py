"""EDF of the ESRF and CBF of the Pilatus: a text header, then the numbers. Headers are read here, so that nothing is taken on trust that is
not there; the compression of CBF is undone by fabio (extra `detector`)."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.data.header import Entry, affordable, entry_named
from untwin.data.measurement import Geometry
from untwin.errors import InputError

_HEADER = 2**18  # bytes of one header at most, as in fabio
_FRAMES = 20_000  # of one EDF file
_TYPES = {  # of EDF by fabio 2026.6 (edfimage.DATA_TYPES): names of several generations of programs
    "int8": "signedbyte signed8", "uint8": "unsignedbyte unsigned8",
    "int16": "signedshort signed16", "uint16": "unsignedshort unsigned16 unsignedshortinteger",
    "int32": "signedinteger signed32 signedlong", "uint32": "unsignedinteger unsigned32 unsignedlong",
    "int64": "signed64", "uint64": "unsigned64",
    "float32": "floatvalue float floatieee32 float32", "float64": "double doublevalue floatieee64 doubleieee64",
}  # fmt: skip
_NUMBER = r"([0-9][0-9.]*(?:[eE][+-]?[0-9]+)?)"


@dataclass(frozen=True)
class Frame:
    """One array in a file: its header (keys in capitals), where its numbers begin, what they are."""

    header: dict[str, str]
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype


# EDF


def is_edf(head: bytes) -> bool:
    """A brace, then `key = value ;`. SMV files of ADSC detectors, which begin likewise, are told apart by their first key."""
    return re.match(rb"\s{0,4}\{\s{0,4}[A-Za-z_][\w ]{0,80}=", head) is not None and b"HEADER_BYTES" not in head[:32]


def edf_entries(path: Path) -> list[Entry]:
    """One entry where all frames are alike: the frames are the slowest axis; otherwise one for each, named by its number."""
    return [entry for entry, _ in _edf_series(path)]


def edf_load(path: Path, name: str) -> np.ndarray:
    series = _edf_series(path)
    entry = entry_named([e for e, _ in series], name, path.name)
    affordable(entry, path.name)
    frames = next(f for e, f in series if e is entry)
    values = np.empty(entry.shape, entry.dtype).reshape(len(frames), -1)
    with path.open("rb") as file:
        for row, frame in zip(values, frames):
            file.seek(frame.start)
            row[:] = np.fromfile(file, frame.dtype, row.size)
    return values.reshape(entry.shape)


def edf_geometry(path: Path) -> Geometry:
    """By the keys of the ESRF's small-angle scattering, in SI units, where the values can be such."""
    header = _edf_frames(path)[0].header
    size = tuple(_within(header.get(f"PSIZE_{axis}"), 1e-7, 1e-2) for axis in (2, 1))
    return Geometry(
        wavelength=_within(header.get("WAVELENGTH"), 1e-13, 1e-7),
        distance=_within(header.get("SAMPLEDISTANCE"), 1e-3, 1e3),
        pixel_size=(size[0], size[1]) if size[0] and size[1] else None,
    )


def _edf_series(path: Path) -> list[tuple[Entry, list[Frame]]]:
    frames = _edf_frames(path)
    kinds = {(f.shape, f.dtype) for f in frames}
    native = [f.dtype.newbyteorder("=") for f in frames]
    if len(kinds) == 1:
        shape = frames[0].shape if len(frames) == 1 else (len(frames), *frames[0].shape)
        return [(Entry("", shape, native[0]), frames)]
    return [(Entry(str(k), f.shape, dtype), [f]) for k, (f, dtype) in enumerate(zip(frames, native))]


def _edf_frames(path: Path) -> list[Frame]:
    size, frames, general = path.stat().st_size, [], {}
    with path.open("rb") as file:
        for header, start in _edf_headers(file, path.name):
            if "EDF_DATAFORMATVERSION" in header:  # a block for all that follow
                general = {k: v for k, v in header.items() if not k.startswith("EDF_")}
                file.seek(start + _integer(header.get("EDF_BINARYSIZE", "0"), "EDF_BinarySize", path.name))
                continue
            frame = _edf_frame(general | header, start, path.name)
            needed = math.prod(frame.shape) * frame.dtype.itemsize
            stored = _integer(header.get("EDF_BINARYSIZE", header.get("SIZE", str(needed))), "Size", path.name)
            if needed > stored or start + needed > size:
                available = max(0, min(stored, size - start))
                raise InputError(f"{path.name} is cut short: frame {len(frames)} needs {needed:,} bytes, {available:,} are there; copy it")
            frames.append(frame)
            if len(frames) > _FRAMES:
                raise InputError(f"{path.name} holds more than {_FRAMES:,} frames; write them into several files")
            file.seek(start + stored)
    if not frames:
        raise InputError(f"{path.name} is an EDF file without any frame; copy or write it again")
    return frames


def _edf_headers(file, what: str) -> Iterator[tuple[dict[str, str], int]]:
    """(header, where it ends) one after the other, from where the file is."""
    while True:
        at, text = file.tell(), b""
        while (end := re.search(rb"\}\r?\n", text)) is None:
            block = file.read(512)
            text += block
            if not text.strip(b" \t\r\n\0"):
                if not block or len(text) > _HEADER:
                    return
            elif not text.lstrip(b" \t\r\n\0").startswith(b"{"):
                raise InputError(f"{what}: expected the header of a frame at byte {at:,}; copy or write it again")
            elif not block or len(text) > _HEADER:
                raise InputError(f"{what}: the header at byte {at:,} has no end; copy or write it again")
        header = {}
        for line in text[: end.start()].decode("latin-1").lstrip(" \t\r\n\0")[1:].split(";"):
            key, equal, value = line.partition("=")
            if equal:
                header[key.strip(" \t\r\n\0").upper()] = value.strip(" \t\r\n\0")
        yield header, at + end.end()


def _edf_frame(header: dict[str, str], start: int, what: str) -> Frame:
    if "EDF_BINARYFILENAME" in header:
        raise InputError(f"{what} keeps its numbers in another file; write it as one, such as with fabio.open(FILE).convert('tif')")
    if not header.get("COMPRESSION", "NO").upper().startswith("NO"):
        raise InputError(f"{what} is compressed ({header['COMPRESSION']}); write it without, such as with fabio.open(FILE).convert('tif')")
    kind = header.get("DATATYPE", "").lower()
    dtype = next((np.dtype(name) for name, texts in _TYPES.items() if kind in texts.split()), None)
    if dtype is None:
        raise InputError(f"{what}: DataType = {header.get('DATATYPE', 'nothing')}; expected one such as SignedInteger or FloatValue")
    order = ">" if "high" in header.get("BYTEORDER", "").lower() else "<"
    axes = [k for k in range(1, 9) if f"DIM_{k}" in header]
    shape = tuple(_integer(header[f"DIM_{k}"], f"Dim_{k}", what) for k in reversed(axes))
    if not math.prod(shape) or not axes:
        raise InputError(f"{what}: the header names no size (Dim_1, Dim_2); copy or write it again")
    return Frame(header, start, shape, dtype.newbyteorder(order))


def _integer(text: str, key: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}(\.0*)?", text, re.ASCII):
        raise InputError(f"{what}: {key} = {text[:40]!r}; expected a whole number")
    return int(text.partition(".")[0])


# CBF


def cbf_entries(path: Path) -> list[Entry]:
    header = _cbf(path)
    return [Entry("", header.shape, header.dtype)]


def cbf_load(path: Path, name: str) -> np.ndarray:
    frame = _cbf(path)
    entry = entry_named([Entry("", frame.shape, frame.dtype)], name, path.name)
    affordable(entry, path.name)
    try:
        from fabio.compression import decByteOffset
    except ImportError:
        raise InputError(f"{path.name} is a CBF file, which is read with fabio: pip install 'untwin[detector]'") from None
    with path.open("rb") as file:
        file.seek(frame.start)
        packed = file.read(int(frame.header["SIZE"]))
    md5 = frame.header.get("CONTENT-MD5", "").encode()
    if md5 and base64.b64encode(hashlib.md5(packed, usedforsecurity=False).digest()) != md5:
        raise InputError(f"{path.name} is damaged: the MD5 of its data is not that in its header; copy it again or write it anew")
    count = math.prod(frame.shape)
    values = decByteOffset(packed + bytes(16), size=count, dtype=str(frame.dtype))  # its last step looks up to 15 bytes ahead
    if len(values) != count:
        raise InputError(f"{path.name} is damaged: {len(values):,} pixels of {count:,} are there; copy it again")
    return np.asarray(values).astype(frame.dtype, copy=False).reshape(frame.shape)


def cbf_bad(path: Path, values: np.ndarray) -> np.ndarray | None:
    """True where a Pilatus or an Eiger says so: gaps between modules are -1, bad pixels -2. None for other detectors."""
    return values < 0 if _cbf(path).header["DETECTOR"] else None


def cbf_geometry(path: Path) -> Geometry:
    """What the header of a Pilatus says."""
    text = _cbf(path).header["TEXT"]
    size = re.search(rf"Pixel_size\s+{_NUMBER}\s*m\s*x\s*{_NUMBER}\s*m", text)
    pair = tuple(_within(size[k], 1e-7, 1e-2) for k in (2, 1)) if size else (None, None)  # x, the fast axis, comes first in the text
    length = re.search(rf"Wavelength\s+{_NUMBER}\s*A", text)
    distance = re.search(rf"Detector_distance\s+{_NUMBER}\s*m", text)
    return Geometry(
        wavelength=_within(f"{length[1]}e-10" if length and "e" not in length[1].lower() else None, 1e-13, 1e-7),
        distance=_within(distance[1] if distance else None, 1e-3, 1e3),
        pixel_size=(pair[0], pair[1]) if pair[0] and pair[1] else None,
    )


def _cbf(path: Path) -> Frame:
    with path.open("rb") as file:
        head = file.read(_HEADER)
    at = head.find(b"\x0c\x1a\x04\xd5")  # where text ends and numbers begin
    if at < 0:
        raise InputError(f"{path.name} has the header of a CBF file and no numbers after it; copy it again")
    text = head[:at].decode("latin-1")
    fields = {k.upper(): v for k, v in re.findall(r"^(X-Binary-[\w-]+|Content-MD5):\s*\"?([^\"\r\n]*?)\"?\s*$", text, re.MULTILINE)}
    packing = re.search(r'conversions\s*=\s*"?([\w-]+)', text)
    if packing is None or packing[1].upper() != "X-CBF_BYTE_OFFSET":
        packed = packing[1] if packing else "in no way that it names"
        raise InputError(f"{path.name} is packed {packed}; expected x-CBF_BYTE_OFFSET. Write it anew with fabio")
    kind = re.fullmatch(r"(un)?signed (8|16|32|64)-bit integer", fields.get("X-BINARY-ELEMENT-TYPE", ""))
    if kind is None or "BIG" in fields.get("X-BINARY-ELEMENT-BYTE-ORDER", ""):
        raise InputError(f"{path.name} does not say which integers it holds; write it anew with fabio")
    names = ("FASTEST", "SECOND", "THIRD")
    axes = [_integer(fields.get(f"X-BINARY-SIZE-{n}-DIMENSION", "1"), f"X-Binary-Size-{n.title()}-Dimension", path.name) for n in names]
    shape = tuple(axes[::-1]) if axes[2] > 1 else (axes[1], axes[0])
    size, start = _integer(fields.get("X-BINARY-SIZE", ""), "X-Binary-Size", path.name), at + 4
    available = max(0, min(size, path.stat().st_size - start))
    if available < size or size < math.prod(shape) or not math.prod(shape):  # a byte for each pixel at least
        raise InputError(f"{path.name} is cut short: {'×'.join(map(str, shape))} pixels are not in {available:,} bytes; copy it again")
    detector = re.search(r"PILATUS|EIGER", text, re.IGNORECASE)
    header = {"TEXT": text, "SIZE": str(size), "DETECTOR": detector[0] if detector else "", "CONTENT-MD5": fields.get("CONTENT-MD5", "")}
    return Frame(header, start, shape, np.dtype(f"{'u' if kind[1] else ''}int{kind[2]}"))


def _within(text: str | None, low: float, high: float) -> float | None:
    """The number that a text begins with, where it lies between two that such a length can have."""
    number = re.match(_NUMBER, (text or "").strip())
    try:
        value = float(number[1]) if number else math.nan
    except ValueError:
        return None
    return value if low < value < high else None
