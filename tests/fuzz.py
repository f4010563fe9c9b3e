"""Well-formed files of every kind, damaged in every way, and the law that every reader keeps: InputError, or finite data.

    python tests/fuzz.py --seed 7 --count 200                        200 cases of each kind
    python tests/fuzz.py --seed 7 --only "npz" --case 31 --keep x    that one again, its file kept as x

Case k of a kind is a function of (seed, kind, k). Each runs in a forked child, because libhdf5 can crash: a crash, a hang, another
exception, a warning that is no GuessWarning, more than 300 MB or 2 s of CPU, and a run payload break the law.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from untwin.config import resolved
from untwin.data.cxi import write_pattern
from untwin.data.dataset import Shards
from untwin.data.image import read_image, read_plane, write_image
from untwin.data.read import read, read_object, read_support
from untwin.errors import GuessWarning, InputError
from untwin.judge.resolution import Curve
from untwin.judge.trust import Verdict
from untwin.learn import digits
from untwin.model.networks import weights
from untwin.model.networks.architecture import CdiNN, architecture
from untwin.runs.archive import load, save
from untwin.runs.checkpoint import load_state, save_state
from untwin.runs.names import parse, parse_rule
from untwin.runs.solution import History, Reconstruction, Start
from untwin.simulate import shapes
from untwin.simulate.crystals import simulation
from untwin.simulate.dataset import write as write_dataset
from untwin.simulate.detector import measure
from untwin.solve.state import Member, State

SECONDS, MEGABYTES = 2.0, 300
HANGS = 20.0  # seconds of CPU, after which a process is ended from within: how long it takes a busy machine says nothing
BLOCKED = 300.0  # seconds, after which one that waits for nothing is
Rng = np.random.Generator


# well-formed files


@lru_cache(maxsize=1)
def pattern():
    rng = np.random.default_rng(0)
    return measure(shapes.poly((32, 32), rng), 1e5, rng, stop=1.5)[0]


def counts() -> np.ndarray:
    return np.fft.fftshift(pattern().intensity)


def solution() -> Reconstruction:
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 32, 32)).astype(np.float32))
    image = torch.complex(image[0], image[1])
    curve = Curve((0.1, 0.2), (0.9, 0.4), 0.5, 0.15)
    return Reconstruction(
        image=image, support=image.abs() > 1, pattern=pattern(), recipe="20*ER", seed=0, positivity=False, verdict=Verdict(True, "good"),
        numbers={"r_factor": 0.1, "chi": float("nan")},
        starts=(Start(0, 0.1, 2.0, 90), Start(1, 0.2, 3.0, 80, error=0.1, twin=True, reason="no")),
        history=(History("ER", (0, 10), (0.5, 0.1)),), prtf=curve, fsc=curve, modes=image[None], mode_weights=(1.0,), warnings=("a doubt",),
    )  # fmt: skip


def h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": "data"})
        data = entry.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": "data"})
        data.create_dataset("data", data=counts(), chunks=(16, 16), compression="gzip")
        data["mask"] = np.zeros((32, 32), np.uint8)
        entry["title"] = "text"


def nexus(path: Path) -> None:
    """A master that holds its frames itself, with masks, limits and a geometry, each in a group of a class."""
    with h5py.File(path, "w") as file:
        instrument, detector = "entry/instrument", "entry/instrument/detector"
        classes = {"entry": "NXentry", "entry/data": "NXdata", instrument: "NXinstrument", detector: "NXdetector",
                   f"{instrument}/beam": "NXbeam", f"{instrument}/source": "NXsource",
                   f"{detector}/detectorSpecific": "NXcollection"}  # fmt: skip
        for name, nx_class in classes.items():
            file.create_group(name).attrs["NX_class"] = nx_class
        for k in (1, 2):
            file[f"entry/data/data_{k:06d}"] = np.stack([counts().astype(np.int32)] * 8)
        detector = file[detector]
        detector["pixel_mask"], detector["detectorSpecific/pixel_mask"] = np.eye(32, dtype=np.uint32), np.zeros((32, 32), np.float32)
        detector["flatfield"] = np.full((32, 32), 1.1)
        numbers = {"distance": (1500.0, "mm"), "x_pixel_size": (75.0, "um"), "y_pixel_size": (7.5e-5, "m"), "beam_center_x": (3.0, ""),
                   "beam_center_y": (4.0, ""), "saturation_value": (2**20, ""), "bit_depth_image": (32, ""), "count_time": (1e-6, "s"),
                   "countrate_correction_applied": (0, ""), "underload_value": (0, "")}  # fmt: skip
        for name, (value, units) in numbers.items():
            detector[name] = value
            detector[name].attrs["units"] = units
        file["entry/instrument/beam/incident_wavelength"] = np.full(16, 1.5)
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "angstrom"
        file["entry/instrument/source/energy"], file["entry/instrument/source/probe"] = 6.0, "x-ray"


def matlab(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        pairs = np.zeros((32, 32), [("real", "f8"), ("imag", "f8")])
        pairs["real"], pairs["imag"] = counts(), 1
        for name, values, kind in (("obj", pairs, "double"), ("I", counts(), "single"), ("mask", np.eye(32, dtype=np.uint8), "logical")):
            file[name] = values
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)


def npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, intensity=counts(), mask=counts() < 0, support=counts() > 9)


def tiff(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.stack([counts().astype(np.uint16)] * 9), compression="zlib", metadata={"axes": "QYX"})


def edf(path: Path) -> None:
    header = "{{\nHeaderID = EH:{0:06d}:000000:000000 ;\nByteOrder = LowByteFirst ;\nDataType = SignedInteger ;\n"
    header += "Dim_1 = 32 ;\nDim_2 = 32 ;\nSize = 4096 ;\nWaveLength = 1e-10 ;\n"
    frames = (header.format(k).encode().ljust(510) + b"}\n" + (counts() + k).astype("<i4").tobytes() for k in range(8))
    path.write_bytes(b"".join(frames))


def cbf(path: Path) -> None:
    from fabio.cbfimage import CbfImage

    image = CbfImage(data=counts().astype(np.int32) - 1)
    image.header["_array_data.header_contents"] = "# Detector: PILATUS 300K\r\n# Pixel_size 172e-6 m x 172e-6 m\r\n# Wavelength 1.5 A"
    image.write(str(path))


def mat5(path: Path, packed: bool) -> None:
    from scipy.io import savemat

    arrays = {"intensity": counts(), "mask": counts() < 0, "psi": counts() * 1j, "exp": {"data": counts(), "name": "x", "e": 9.0}}
    savemat(path, arrays, do_compression=packed)


def jpeg(path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.minimum(counts(), 255).astype(np.uint8)).save(path)


def grey_png(path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.minimum(counts(), 65535).astype(np.uint16)).save(path)


def table(path: Path) -> None:
    np.savetxt(path, counts(), fmt="%d", header="counts")


def frames(path: Path) -> None:
    """A folder of frames; the damaged one is the second."""
    import tifffile

    for k in range(8):
        tifffile.imwrite(path.with_name(f"f_{k + 1}.tif"), (counts() + k).astype(np.uint16), compression="zlib")


def idx(path: Path) -> None:
    path.write_bytes(gzip.compress(struct.pack(">4i", 2051, 3, 28, 28) + bytes(3 * 784)))


def numpy(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, values)


def checkpoint(path: Path) -> None:
    x = torch.ones(1, 8, 8, dtype=torch.complex64)
    save_state(State(x, x, x.abs() > 0, x.abs() > 0, (Member(3),), memory={"a": x, "b": (1, None)}), path)


def network(path: Path) -> None:
    weights.save(path, CdiNN().build(), CdiNN(), {"a": [1]}, half=True)


def shards(path: Path) -> None:
    write_dataset(path.parent / "set", "cells", 0, 2, shard=2, workers=1)
    shutil.copy(path.parent / "set" / path.name, path)


# readers: whatever they give must be finite


def as_pattern(path: Path) -> Iterator[Any]:
    p = read(path)
    yield p.intensity
    assert (p.intensity >= 0).all() and p.measured.any() and p.intensity.shape == p.measured.shape
    yield np.array(p.voxel_size or 0)


def as_part(path: Path) -> Iterator[Any]:
    yield read(f"{path}::/I", energy="8keV", distance=2, pixel_size="55um").intensity


def as_object(path: Path) -> Iterator[Any]:
    yield read_object(path).image


def as_mask(path: Path) -> Iterator[Any]:
    good = path.with_name("fuzz-good.npy")
    numpy(good, counts())
    yield read(good, mask=path).intensity


def as_support(path: Path) -> Iterator[Any]:
    yield read_support(path, pattern())


def as_result(path: Path) -> Iterator[Any]:
    s = load(path)
    yield s.image
    from untwin.runs.archive import summary

    json.dumps(summary(s))
    assert s.image.shape == s.support.shape == s.pattern.shape and isinstance(s.recipe, str)


def as_picture(path: Path) -> Iterator[Any]:
    yield read_image(path).values
    yield read_plane(path, "the mask")


def as_stack(path: Path) -> Iterator[Any]:
    yield from as_pattern(path.parent)


def as_digits(path: Path) -> Iterator[Any]:
    digits._images.cache_clear()
    shutil.copy(path, path.with_name("train-images-idx3-ubyte.gz"))
    yield digits._images(str(path.parent), "training")


def as_weights(path: Path) -> Iterator[Any]:
    yield from (p.detach().numpy() for p in weights.load(path).net.parameters())


def as_state(path: Path) -> Iterator[Any]:
    state = load_state(path)  # a start that has failed stays in its state, so it need not be finite
    assert state.x.shape == state.support.shape and len(state.seeds) == len(state.x)
    yield np.array(state.seeds)


def as_set(path: Path) -> Iterator[Any]:
    folder = path.parent / "set"
    shutil.copy(path, folder / path.name)
    for sample in (Shards(folder)[0], Shards(folder)[-1]):
        yield sample["image"]


def as_toml(path: Path) -> Iterator[Any]:
    run = resolved(path, {})
    if run.recipe is not None:
        parse(run.recipe)
    yield np.array(run.centre or 0.0)


def as_text(path: Path) -> Iterator[Any]:
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    refused = 0
    for reader in (parse, parse_rule, architecture, simulation):
        try:
            reader(text)
        except InputError:
            refused += 1
    if refused == 4:
        raise InputError("refused by all")
    yield np.zeros(1)


@dataclass(frozen=True)
class Kind:
    """name: of the file. make: writes a good one. readers: who reads it. edits: how it is changed by someone who knows the format."""

    name: str
    make: Callable[[Path], Any]
    readers: tuple[Callable[[Path], Iterator[Any]], ...]
    edits: tuple[Callable[[Path, Rng], None], ...] = ()


# changes that know nothing of the format


def damaged(content: bytes, rng: Rng) -> bytes:
    """Cut, flipped, overwritten, repeated, exchanged: one to four times."""
    b = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        n = len(b)
        if n < 4:
            break
        early = rng.random() < 0.5  # headers are at the beginning
        at = int(rng.integers(0, min(n, 512) if early else n))
        size = int(min(n - at, rng.integers(1, 65)))
        match int(rng.integers(0, 9)):
            case 0:
                del b[at if rng.random() < 0.7 else n // 2 :]
            case 1:
                for _ in range(int(rng.integers(1, 9))):
                    b[int(rng.integers(0, min(n, 512) if early else n))] ^= 1 << int(rng.integers(0, 8))
            case 2:
                b[at : at + size] = bytes(size)
            case 3:
                b[at : at + size] = b"\xff" * size
            case 4:
                b[at:at] = b[at : at + size] * int(rng.integers(1, 4))
            case 5:
                to = int(rng.integers(0, n - size + 1))
                b[at : at + size], b[to : to + size] = b[to : to + size], b[at : at + size]
            case 6:
                width = int(rng.choice([2, 4, 8]))
                top = 2 ** (8 * width)
                value = (0, 1, top // 2 - 1, top // 2, top - 1, top // 16)[int(rng.integers(0, 6))]
                b[at : at + width] = value.to_bytes(width, str(rng.choice(["little", "big"])))
            case 7:
                places = [i for i, c in enumerate(b[:4096]) if chr(c).isdigit()]
                if places:
                    b[int(rng.choice(places))] = ord(str(rng.choice(list("0123456789-e."))))
            case 8:
                del b[at : at + size]
    return bytes(b)


HOSTILE: list[Any] = [
    None, True, -1, 0, 3, 2**31, 2**63, 10**30, 1e308, float("inf"), float("nan"), "", "x", "\0", "../../../etc/passwd", "9" * 5000,
    [], {}, [[[[]]]], ["a"] * 50, {"a": {"b": 1}},
]  # fmt: skip


def edited(value: Any, rng: Rng) -> Any:
    """A JSON value with one thing in it replaced, doubled or gone."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = str(rng.choice(list(value)))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: edited(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(0, len(value)))
        if rng.random() < 0.2:
            return value + value[:1]
        return [*value[:at], edited(value[at], rng), *value[at + 1 :]]
    return HOSTILE[int(rng.integers(0, len(HOSTILE)))]


# changes that know it


def strange(rng: Rng, shape: tuple[int, ...] = (32, 32)) -> np.ndarray:
    """An array of a strange shape, type or content."""
    shapes_ = [shape, shape, shape, (), (0,), (5,), (7, 7), (2, *shape), (1, 1, 1, *shape), (3, 2, 9, 9), (32, 0), shape[::-1]]
    chosen = shapes_[int(rng.integers(0, len(shapes_)))]
    chosen = chosen if np.prod(chosen) < 10**6 else (32, 32)
    kind = str(
        rng.choice(["u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", "f16", "c8", "c16", "?", "S5", "V8", "M8[s]", "O"])
    )
    a = rng.integers(0, 100, chosen).astype("f8")
    special = [None, np.nan, np.inf, -np.inf, -1.0, -5.0, 1e38, 1e300, 0.0, 0.5][int(rng.integers(0, 10))]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if special is not None:
            a = np.where(rng.random(chosen) < rng.choice([0.01, 0.5, 1.0]), special, a)
        if kind == "O":
            trap = np.empty(chosen, object)
            trap[...] = Trap()
            return trap
        if kind in ("S5", "V8"):
            return np.zeros(chosen, kind)
        return np.nan_to_num(a).astype("i8").astype(kind) if kind == "M8[s]" else np.asarray(a).astype(kind)


class Trap:
    """A pickle of this leaves a file behind when it is loaded."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def other_npy(path: Path, rng: Rng) -> None:
    numpy(path, strange(rng))


def npy_header(path: Path, rng: Rng) -> None:
    """Another header over the same numbers."""
    shape = [(10**6, 10**6), (-32, -32), (32, 32, 0), (2**62, 4), (True, 32), (32.0, 32), "x", (32,) * 33, (8,), ()][
        int(rng.integers(0, 10))
    ]
    descr = str(rng.choice(["<f4", "<f8", "|O", "<U9", "<M8[s]", "f4, f4", "(1000000,)f4", "nonsense", "<f3"]))
    text = repr({"descr": descr, "fortran_order": [True, False, 7][int(rng.integers(0, 3))], "shape": shape})
    if rng.random() < 0.2:
        text = str(rng.choice(["{" * 3000, "__import__('pathlib').Path('ran').touch()", "{'descr': [", "\0" * 50, "(" * 80000]))
    head = text.encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", min(len(head), 65535)) + head + counts().tobytes())


def other_npz(path: Path, rng: Rng) -> None:
    """Arrays that are strange, doubled, missing, misdeclared, or a bomb."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for name in rng.choice(["intensity", "mask", "support", "image", "other", "../x", "intensity"], int(rng.integers(0, 4))):
            content = io.BytesIO()
            np.save(content, strange(rng))
            archive.writestr(f"{name}.npy", content.getvalue())
        if rng.random() < 0.3:
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (5_000, 4_500)})
            with archive.open("intensity.npy", "w") as member:
                member.write(head.getvalue())
                for _ in range(9 if rng.random() < 0.5 else 1):
                    member.write(bytes(10**7))
    if rng.random() < 0.3:  # what the directory says of sizes is not what is there
        b = bytearray(path.read_bytes())
        at = b.find(b"PK\x01\x02")
        if at >= 0:
            b[at + 20 : at + 24] = struct.pack("<I", int(rng.choice([0, 1, 10**6, 2**31])))
            path.write_bytes(b)


def other_hdf5(path: Path, rng: Rng) -> None:
    """Datasets, attributes and links that are strange, missing, elsewhere, round in circles, or a bomb."""
    with h5py.File(path, "r+") as file:
        for _ in range(int(rng.integers(1, 4))):
            names: list[str] = []
            file.visit(names.append)
            if not names:
                return
            name = str(rng.choice(names))
            group = file[name].parent if name in file else file
            last = name.rsplit("/", 1)[-1]
            with contextlib.suppress(TypeError, ValueError, OSError, KeyError, RuntimeError):
                _one_hdf5(file, group, last, rng)


def _one_hdf5(file: h5py.File, group: Any, last: str, rng: Rng) -> None:
    thing = group[last]
    shape = thing.shape if isinstance(thing, h5py.Dataset) and thing.shape else (32, 32)
    action = int(rng.integers(0, 14))
    if action < 3 and isinstance(thing, h5py.Dataset):
        text = thing[()] if h5py.check_string_dtype(thing.dtype) is not None and thing.shape == () else None
        del group[last]
        if isinstance(text, bytes) and text.startswith(b"{"):
            group[last] = json.dumps(edited(json.loads(text), rng))
        elif text is not None and action == 0:
            group[last] = str(rng.choice(["", "{", "[" * 9000, "diffraction", "null", "[]", "{}", "1", "x" * 10**6]))
        else:
            group[last] = strange(rng, shape)
        return
    if action == 3:
        thing.attrs[str(rng.choice(["default", "signal", "units", "NX_class", "axes"]))] = [
            "x", "/", "..", ".", "entry", "data", "", 5, np.zeros(9), np.nan, "eV", h5py.Empty("f4")][int(rng.integers(0, 12))]  # fmt: skip
        return
    if action == 4:
        if "default" in thing.attrs:
            del thing.attrs["default"]
        return
    del group[last]
    if action == 5:
        return
    outside = str(rng.choice(["/etc/passwd", "../secret.h5", "good.h5", "gone.h5", path_of(file), "/dev/zero", "link.h5"]))
    match action:
        case 6:
            group[last] = h5py.SoftLink(str(rng.choice([f"{group.name}/{last}", "/", "/gone", "..", group.name])))
        case 7:
            group[last] = h5py.ExternalLink(outside, str(rng.choice(["/", "/data", f"{group.name}/{last}"])))
        case 8:
            group[last] = group
        case 9:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource(str(rng.choice([outside, "."])), str(rng.choice(["data", "/entry/data/data"])), shape)
            group.create_virtual_dataset(last, layout)
        case 10:
            group.create_dataset(last, (32, 32), "f4", external=[(outside, 0, 4096)])
        case 11:
            big = [(10**5, 10**6), (2**40, 2**20), (20_000, 20_000), (5000, 5000)][int(rng.integers(0, 4))]
            group.create_dataset(last, big, "f4", chunks=(64, 64), compression="gzip")
        case 12:
            group.create_dataset(last, (32, 32), "f4", maxshape=(None, None), chunks=(2**14, int(rng.choice([64, 2**14]))))
        case 13:
            kinds = ["f2", "f4", "f8", "u8", "i4"]
            values = np.nan_to_num(rng.normal(size=shape) * rng.choice([1e-30, 1.0, 1e4, 1e300])).clip(-6e4, 6e4)
            group.create_dataset(last, data=np.abs(values).astype(str(rng.choice(kinds))), compression="gzip", shuffle=True)


def path_of(file: h5py.File) -> str:
    return Path(file.filename).name


def other_png(path: Path, rng: Rng) -> None:
    """Another size, depth or colour in the header, with its checksum put right."""
    b = bytearray(path.read_bytes())
    b[16:24] = struct.pack(">2I", *(int(v) for v in rng.choice([0, 1, 31, 65, 10**5, 2**31 - 1], 2)))
    b[24:26] = bytes(int(v) for v in rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 255], 2))
    b[29:33] = struct.pack(">I", zlib.crc32(bytes(b[12:29])))
    path.write_bytes(b)


def other_keys(path: Path, rng: Rng) -> None:
    """EDF and CBF: another value behind one of the keys, in as many bytes."""
    b = path.read_bytes()
    keys = [b"Dim_1", b"Dim_2", b"Size", b"DataType", b"ByteOrder", b"Fastest-Dimension", b"Second-Dimension", b"Binary-Size", b"Elements"]
    keys = [key for key in keys if key in b] + [b"Type"]
    key = keys[int(rng.integers(0, len(keys)))]
    at = b.find(key) + len(key) + int(rng.integers(1, 4))
    values = [
        b"0",
        b"-1",
        b"1e9",
        b"99999",
        b"2147483647",
        b"-512",
        b"4294967295999",
        b"nan",
        b"FloatValue",
        b"Signed8",
        b";",
        b"}\n{",
        b"\0",
    ]
    value = values[int(rng.integers(0, len(values)))] + b" "
    path.write_bytes(b[:at] + value + b[at + (len(value) if rng.random() < 0.7 else 0) :])


def other_mat5(path: Path, rng: Rng) -> None:
    """One variable of strange things; or a tag, a size or a flag of a good one changed, unpacked and packed again where it was packed."""
    from scipy.io import savemat

    if rng.random() < 0.4:
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            savemat(path, {"intensity": strange(rng), "s": {"data": strange(rng)}}, do_compression=bool(rng.integers(0, 2)))
        return
    b = path.read_bytes()
    kind, size = struct.unpack_from("<2I", b, 128)
    element = bytearray(zlib.decompress(b[136 : 136 + size]) if kind == 15 else b[128 : 136 + size])
    values = [0, 1, 2, 5, 6, 7, 14, 15, 17, 0x806, 0x206, 64, 4096, 2**16 | 1, 2**31 - 1, 2**31, 2**32 - 1]
    for _ in range(int(rng.integers(1, 3))):
        struct.pack_into("<I", element, 4 * int(rng.integers(0, 20)), values[int(rng.integers(0, len(values)))])
    packed = zlib.compress(bytes(element))
    changed = struct.pack("<2I", 15, len(packed)) + packed if kind == 15 else bytes(element)
    path.write_bytes(b[:128] + changed + b[136 + size :])


def other_jpeg(path: Path, rng: Rng) -> None:
    """Other sizes, depths and numbers of colours in the header of the frame."""
    b = bytearray(path.read_bytes())
    at = b.find(b"\xff\xc0")
    if at >= 0:
        b[at + 4] = int(rng.choice([0, 8, 12, 16]))
        b[at + 5 : at + 9] = struct.pack(">2H", *(int(v) for v in rng.choice([0, 1, 31, 33, 4000, 65535], 2)))
        b[at + 9] = int(rng.choice([0, 1, 3, 4]))
    path.write_bytes(b)


def photo(path: Path) -> None:
    from PIL import Image as Pillow

    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (20, 21, 3)).astype(np.uint8)).save(path, exif=exif)


def other_photo(path: Path, rng: Rng) -> None:
    """Another size, depth or number of colours in the header of the frame, or other EXIF."""
    b = bytearray(path.read_bytes())
    at = b.index(b"\xff\xc0")
    part = int(rng.integers(0, 3))
    if part == 0:
        b[at + 5 : at + 9] = struct.pack(">2H", *(int(v) for v in rng.choice([0, 1, 31, 65, 4000, 65535], 2)))
    elif part == 1:
        b[at + int(rng.choice([1, 4, 9]))] = int(rng.choice([0, 1, 2, 3, 4, 8, 12, 194, 255]))
    else:
        start = b.index(b"Exif")
        b[start + 6 + int(rng.integers(0, 26))] = int(rng.integers(0, 256))
    path.write_bytes(b)


def other_tiff(path: Path, rng: Rng) -> None:
    import tifffile

    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        tifffile.imwrite(path, strange(rng, (9, 32, 32)), compression=[None, "zlib"][int(rng.integers(0, 2))])
    b = bytearray(path.read_bytes())  # one entry of the directory says something else
    first = struct.unpack_from("<I", b, 4)[0]
    if first + 2 < len(b):
        entries = struct.unpack_from("<H", b, first)[0]
        at = first + 2 + 12 * int(rng.integers(0, max(1, entries)))
        value = int(rng.choice([0, 1, 2, 8, 33, 65535, 10**6, 2**31, 2**32 - 1, first]))
        if at + 12 <= len(b):
            struct.pack_into("<I", b, at + int(rng.choice([4, 8])), value)
    path.write_bytes(b)


def other_header(path: Path, rng: Rng) -> None:
    """safetensors: a header edited as JSON."""
    b = path.read_bytes()
    size = struct.unpack("<Q", b[:8])[0]
    header = json.loads(b[8 : 8 + size])
    if rng.random() < 0.5:
        card = json.loads(header["__metadata__"]["card"])
        header["__metadata__"]["card"] = json.dumps(edited(card, rng))
    else:
        header = edited(header, rng)
    if rng.random() < 0.1:
        header = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(20_000)}
    text = json.dumps(header).encode()
    if rng.random() < 0.1:
        text = b"[" * 60_000
    path.write_bytes(
        struct.pack("<Q", int(rng.choice([len(text), 2**50, len(text) + 1])) if rng.random() < 0.2 else len(text)) + text + b[8 + size :]
    )


def other_weights(path: Path, rng: Rng) -> None:
    """Values that are not finite, or of other types."""
    b = bytearray(path.read_bytes())
    size = struct.unpack("<Q", b[:8])[0]
    at = int(rng.integers(8 + size, len(b) - 4)) // 4 * 4
    b[at : at + 4] = struct.pack("<f", float(rng.choice([np.nan, np.inf, -np.inf, 3e38])))
    text = b[8 : 8 + size].replace(b'"F16"', str(rng.choice(['"F16"', '"BF16"', '"I16"', '"F99"'])).encode())
    path.write_bytes(struct.pack("<Q", len(text)) + text + b[8 + size :])


def other_state(path: Path, rng: Rng) -> None:
    """A checkpoint of strange things, of nothing, or with a trap in it."""
    x = torch.ones(1, 8, 8, dtype=torch.complex64)
    told: dict[str, Any] = {
        "__class__": "State",
        "x": x,
        "image": x,
        "support": x.abs() > 0,
        "bounds": x.abs() > 0,
        "members": ({"__class__": "Member", "seed": 3, "number": 0, "family": 0, "role": "start"},),
    }
    key = str(rng.choice(list(told)))
    told[key] = HOSTILE[int(rng.integers(0, len(HOSTILE)))] if rng.random() < 0.7 else torch.full((1, 8, 8), float("nan"))
    match int(rng.integers(0, 4)):
        case 0:
            path.write_bytes(pickle.dumps({"untwin": "state", "state": Trap()}))
        case 1:
            torch.save({"untwin": "state", "state": Trap()}, path)
        case _:
            torch.save({"untwin": "state", "state": told}, path)


def other_json(path: Path, rng: Rng) -> None:
    path.write_text(json.dumps(edited(json.loads(path.read_text()), rng)))


WORDS = [
    "(" * 300, ")", "*", "10**9", "-", "1e999", "nan", "\0", "é", "\r\n", "9" * 5000, "__import__('os')", "lambda: 0", "ER", "HIO(beta=-1)",
    "[]", "{}", "=", '"', "10*(" * 90, "Fit", "Until(WMV, 3*ER)", "+" * 5000, "1+" * 9000,
]  # fmt: skip


def other_text(path: Path, rng: Rng) -> None:
    """Words exchanged and brackets multiplied."""
    words = path.read_text().replace("(", " ( ").replace(")", " ) ").split(" ")
    for _ in range(int(rng.integers(1, 4))):
        words[int(rng.integers(0, len(words)))] = WORDS[int(rng.integers(0, len(WORDS)))]
    path.write_text("".join(words), encoding="utf-8")


TOML = 'file = "p.npy"\nseed = 3\ncentre = [3, 4.5]\nrecipe = "20*ER"\n'
RECIPE = "3*(20*ER + 180*HIO(beta=0.9) + ShrinkWrap(sigma=2)) + 20*ER"
PATTERN = (as_pattern, as_object, as_mask, as_support)
KINDS = {
    "npy": Kind("p.npy", lambda p: numpy(p, counts()), PATTERN, (other_npy, npy_header)),
    "npz": Kind("p.npz", npz, PATTERN, (other_npz,)),
    "hdf5": Kind("p.h5", h5, PATTERN, (other_hdf5,)),
    "nexus": Kind("n_master.h5", nexus, (as_pattern, as_mask), (other_hdf5,)),
    "matlab": Kind("m.mat", matlab, (as_part, as_object), (other_hdf5,)),
    "cxi": Kind("p.cxi", lambda p: write_pattern(p, pattern(), process={}), PATTERN, (other_hdf5,)),
    "tiff": Kind("p.tif", tiff, (*PATTERN, as_picture), (other_tiff,)),
    "edf": Kind("p.edf", edf, PATTERN, (other_keys,)),
    "cbf": Kind("p.cbf", cbf, PATTERN, (other_keys,)),
    "mat5": Kind("p.mat", lambda p: mat5(p, False), PATTERN, (other_mat5,)),
    "mat5-packed": Kind("p.mat", lambda p: mat5(p, True), PATTERN, (other_mat5,)),
    "grey-png": Kind("p.png", grey_png, PATTERN, (other_png,)),
    "jpeg": Kind("p.jpg", jpeg, PATTERN, (other_jpeg,)),
    "text": Kind("p.txt", table, PATTERN, (other_text,)),
    "frames": Kind("f_2.tif", frames, (as_stack,), (other_tiff,)),
    "result": Kind("result.cxi", lambda p: save(solution(), p.parent, True), (as_result, as_object, as_pattern), (other_hdf5,)),
    "png": Kind("i.png", lambda p: write_image(p, np.random.default_rng(0).random((3, 20, 21))), (as_picture,), (other_png,)),
    "photo": Kind("i.jpg", photo, (as_picture,), (other_photo,)),
    "picture": Kind("i.npy", lambda p: numpy(p, np.ones((20, 21, 3), np.uint8)), (as_picture,), (other_npy, npy_header)),
    "digits": Kind("t.gz", idx, (as_digits,)),
    "weights": Kind("w.safetensors", network, (as_weights,), (other_header, other_weights)),
    "checkpoint": Kind("state.pt", checkpoint, (as_state,), (other_state,)),
    "manifest": Kind("manifest.json", shards, (as_set,), (other_json,)),
    "shard": Kind("shard-00000.h5", shards, (as_set,), (other_hdf5,)),
    "toml": Kind("run.toml", lambda p: p.write_text(TOML), (as_toml,), (other_text,)),
    "recipe": Kind("recipe.txt", lambda p: p.write_text(RECIPE), (as_text,), (other_text,)),
}  # fmt: skip


def case(kind: str, seed: int, k: int, good: Path, folder: Path) -> Path:
    """The damaged file of one case. good: the folder of well-formed ones."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), k])
    shutil.copytree(good / kind, folder, dirs_exist_ok=True)
    path = folder / KINDS[kind].name
    edits = KINDS[kind].edits
    knowing = bool(edits) and rng.random() < 0.6
    if knowing:
        edits[int(rng.integers(0, len(edits)))](path, rng)
    if not knowing or rng.random() < 0.15:
        path.write_bytes(damaged(path.read_bytes(), rng))
    return path


def prepared(kinds: list[str], folder: Path) -> None:
    for kind in kinds:
        (folder / kind).mkdir()
        KINDS[kind].make(folder / kind / KINDS[kind].name)


# the law


def broken(kind: str, path: Path) -> list[str]:
    """What of the law one file breaks, reader by reader; called in a process of its own."""
    found = []
    os.chdir(path.parent)
    for reader in KINDS[kind].readers:
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        said = ""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                for values in reader(path):
                    if not np.isfinite(np.asarray(values)).all():
                        said = "accepted values that are not finite"
            except InputError as error:
                text = str(error)
                if "\n" in text or len(text) > 2000 or not text:
                    said = f"its message is not one line: {text[:200]!r}"
            except BaseException as error:
                said = f"{type(error).__name__}: {str(error)[:200]}"
        loud = [str(w.message)[:120] for w in caught if not issubclass(w.category, GuessWarning)]
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        seconds = time.process_time() - began
        if loud:
            said += f" warns: {loud[0]}"
        if more > MEGABYTES:
            said += f" takes {more:.0f} MB"
        if seconds > SECONDS:
            said += f" takes {seconds:.1f} s"
        if Path("ran").exists():
            said += " RUNS CODE"
        if said:
            found.append(f"{reader.__name__}: {said.strip()}")
    return found


def run(jobs: list[tuple[str, Callable[[Path], Path]]]) -> Iterator[tuple[int, list[str]]]:
    """The jobs that break the law, by number, with what is wrong. A job is a kind of file, and what makes the file in a folder. Children
    take them one after the other; one that crashes or hangs is replaced."""
    context = multiprocessing.get_context("fork")
    at = 0
    while at < len(jobs):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(jobs, at, there))
        process.start()
        there.close()
        while at < len(jobs):
            try:
                if not here.poll(BLOCKED):
                    os.kill(process.pid or 0, signal.SIGKILL)
                    yield at, ["hangs"]
                    break
                found = here.recv()
            except EOFError:
                process.join()
                yield at, ["hangs" if process.exitcode == -signal.SIGPROF else f"ends the process: {process.exitcode}"]
                break
            if found:
                yield at, found
            at += 1
        else:
            process.join()
            return
        process.join()
        at += 1


def _child(jobs: list[tuple[str, Callable[[Path], Path]]], first: int, there: Any) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else 0
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**32, size + 2**32))  # for the machine; the law asks for far less
    with open(os.devnull, "w") as silent:
        os.dup2(silent.fileno(), 2)
    for kind, make in jobs[first:]:
        signal.setitimer(signal.ITIMER_PROF, HANGS)
        with tempfile.TemporaryDirectory() as name:
            there.send(broken(kind, make(Path(name))))
            os.chdir("/")
    there.close()
    os._exit(0)


def jobs_of(seed: int, kinds: list[str], cases: range, good: Path) -> list[tuple[str, Callable[[Path], Path]]]:
    return [(kind, lambda folder, kind=kind, k=k: case(kind, seed, k, good, folder)) for kind in kinds for k in cases]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--count", type=int, default=200, help="cases of each kind")
    parser.add_argument("--only", choices=list(KINDS))
    parser.add_argument("--case", type=int)
    parser.add_argument("--keep", type=Path, help="where the file of --case goes")
    parser.add_argument("--json", type=Path, help="where the count goes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [args.only] if args.only else list(KINDS)
    cases = range(args.count) if args.case is None else range(args.case, args.case + 1)
    print(f"seed {args.seed}: {len(cases)} cases of {', '.join(kinds)}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        prepared(kinds, Path(name))
        if args.keep:
            with tempfile.TemporaryDirectory() as folder:
                shutil.copy(case(kinds[0], args.seed, cases[0], Path(name), Path(folder)), args.keep)
        jobs = jobs_of(args.seed, kinds, cases, Path(name))
        wrong = 0
        for i, found in run(jobs):
            wrong += 1
            print(f"--seed {args.seed} --only {kinds[i // len(cases)]} --case {cases[i % len(cases)]}: {'; '.join(found)}", flush=True)
    print(f"{len(jobs)} files, {wrong} break the law")
    if args.json:
        args.json.write_text(json.dumps({"seed": args.seed, "kinds": kinds, "files": len(jobs), "broken": wrong}, indent=1) + "\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
