"""Every format, written by another program's library where there is one, gives the very numbers back, or says how to convert them."""

from __future__ import annotations

import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from untwin.cli import main
from untwin.config import Run, resolved
from untwin.data import formats, header
from untwin.data.folder import sha256
from untwin.data.read import read, read_object, read_support
from untwin.data.text import column
from untwin.errors import GuessWarning, InputError
from untwin.runs.archive import _origin

tifffile = pytest.importorskip("tifffile")
MIDDLE = (16, 16)


def counts(n: int = 32, seed: int = 0) -> np.ndarray:
    """A peak in the middle and noise, int32; no two pixels of the top are alike."""
    y, x = np.mgrid[:n, :n] - n // 2
    values = np.random.default_rng(seed).poisson(2000 * np.exp(-(x**2 + y**2) / 18) + 3)
    values[n // 2, n // 2] = values.max() + 7
    return values.astype(np.int32)


GOOD = counts()
FEW = np.random.default_rng(5).poisson(np.clip(GOOD, 0, 1800) / 9).astype(np.uint8)  # counts in 8 bits


def same(path, expected: np.ndarray = GOOD, **options) -> None:
    """Read without a word, to these numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = read(path, centre=tuple(n // 2 for n in expected.shape), **{**({"frames": "volume"} if expected.ndim == 3 else {}), **options})
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), expected)


def refuse(path, match: str, **options) -> None:
    with pytest.raises(InputError, match=match):
        read(path, **options)


def edf(path: Path, values: np.ndarray, **keys: object) -> Path:
    """As an ESRF beamline writes it, the header in 512 bytes; several frames where the array has three axes."""
    names = {"int32": "SignedInteger", "uint16": "UnsignedShort", "float32": "FloatValue", "float64": "DoubleValue"}
    with path.open("wb") as file:
        for k, frame in enumerate(values if values.ndim == 3 else values[None]):
            big = frame.dtype.byteorder == ">"
            fields = {
                "HeaderID": f"EH:{k + 1:06d}:000000:000000", "ByteOrder": "HighByteFirst" if big else "LowByteFirst",
                "DataType": names[frame.dtype.newbyteorder("=").name], "Dim_1": frame.shape[1], "Dim_2": frame.shape[0],
                "Size": frame.nbytes,
            }  # fmt: skip
            text = "{\n" + "".join(f"{k} = {v} ;\n" for k, v in (fields | keys).items())
            file.write(text.encode().ljust(510) + b"}\n" + frame.tobytes())
    return path


def cbf(path: Path, values: np.ndarray, text: str = "") -> Path:
    fabio = pytest.importorskip("fabio")
    image = fabio.cbfimage.CbfImage(data=values)
    if text:
        image.header["_array_data.header_contents"] = text
        image.header["_array_data.header_convention"] = "PILATUS_1.2"
    image.write(str(path))
    return path


PILATUS = "\r\n".join(
    ["# Detector: PILATUS 300K, S/N 3-0101", "# Pixel_size 172e-6 m x 100e-6 m", "# Count_cutoff 1048500 counts"]
    + ["# Wavelength 1.5498 A", "# Detector_distance 2.105 m", "# Beam_xy (16.0, 16.0) pixels"]
)


# EDF


@pytest.mark.parametrize("kind", ["i4", ">i4", "u2", ">u2", "f4", "f8"])
def test_an_edf_file_is_read_in_any_type_and_order(tmp_path, kind):
    same(edf(tmp_path / "a.dat", GOOD.astype(kind)))


def test_frames_of_an_edf_file_are_a_stack_and_others_are_named(tmp_path):
    stack = np.stack([counts(16, seed) for seed in range(8)])
    same(edf(tmp_path / "a.edf", stack), stack)
    two = edf(tmp_path / "b.edf", GOOD).read_bytes() + edf(tmp_path / "c.edf", counts(40)).read_bytes()
    (tmp_path / "two.edf").write_bytes(two)
    refuse(tmp_path / "two.edf", r"2 arrays that could be the intensity: 0 \(32×32, int32\), 1 \(40×40")
    same(tmp_path / "two.edf", counts(40), data="1")


def test_what_fabio_writes_as_edf_is_read_alike(tmp_path):
    fabio = pytest.importorskip("fabio")
    image = fabio.edfimage.EdfImage(data=GOOD.astype(np.float32), header={"motor_mne": "x y", "title": "a } and { in it"})
    image.append_frame(data=counts(32, 1).astype(np.float32))
    image.write(str(tmp_path / "f.edf"))
    frames = formats.FORMATS["edf"].load(tmp_path / "f.edf", "")
    np.testing.assert_array_equal(frames, np.stack([GOOD, counts(32, 1)]).astype(np.float32))


def test_lengths_in_an_edf_header_are_the_geometry(tmp_path):
    keys = {"PSize_1": "0.000172_m", "PSize_2": 1e-4, "SampleDistance": 2.5, "WaveLength": "1.5e-10"}
    g = read(edf(tmp_path / "a.edf", GOOD, **keys), centre=MIDDLE).geometry
    assert (g.wavelength, g.distance, g.pixel_size) == (1.5e-10, 2.5, (1e-4, 0.000172))
    g = read(edf(tmp_path / "a.edf", GOOD, **{**keys, "WaveLength": 1.5}), centre=MIDDLE).geometry
    assert g.wavelength is None, "1.5 m is no X-ray"


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"Dim_2": 64}, "frame 0 needs 8,192 bytes, 4,096 are there"),
        ({"Dim_2": 10**9}, "cut short"),
        ({"Dim_2": -32}, "Dim_2 = '-32'; expected a whole number"),
        ({"Size": -512}, "Size = '-512'; expected a whole number"),
        ({"Size": 10**14, "Dim_1": 10**6, "Dim_2": 10**6}, "cut short"),
        ({"DataType": "QuadrupleValue"}, "DataType = QuadrupleValue; expected"),
        ({"Compression": "GzipCompression"}, "is compressed .*fabio"),
        ({"EDF_BinaryFileName": "secret.raw"}, "keeps its numbers in another file"),
    ],
)
def test_an_edf_header_is_believed_as_far_as_the_file_goes(tmp_path, keys, match):
    refuse(edf(tmp_path / "a.edf", GOOD, **keys), match)


def test_an_edf_file_that_is_cut_short(tmp_path):
    content = edf(tmp_path / "a.edf", np.stack([GOOD, GOOD + 1])).read_bytes()
    (tmp_path / "a.edf").write_bytes(content[:-5])
    refuse(tmp_path / "a.edf", "frame 1 needs 4,096 bytes, 4,091 are there")
    (tmp_path / "a.edf").write_bytes(content[:300])
    refuse(tmp_path / "a.edf", "header at byte 0 has no end")
    (tmp_path / "a.edf").write_bytes(content + b"no frame")
    refuse(tmp_path / "a.edf", "expected the header of a frame at byte 9,216")


# CBF


def test_a_cbf_file_of_a_pilatus_brings_its_mask_and_its_geometry(tmp_path):
    values = GOOD.copy()
    values[9:12], values[20, 3] = -1, -2
    path = cbf(tmp_path / "a.cbf", values, PILATUS)
    same(path, np.maximum(values, 0))
    p = read(path, centre=MIDDLE)
    np.testing.assert_array_equal(np.fft.fftshift(p.measured), values >= 0)
    assert p.geometry.wavelength == pytest.approx(1.5498e-10, rel=1e-12)
    assert (p.geometry.distance, p.geometry.pixel_size) == (2.105, (100e-6, 172e-6)), "x, the last axis, comes first in the text"
    assert p.voxel_size == pytest.approx([1.5498e-10 * 2.105 / (32 * s) for s in (100e-6, 172e-6)])


def test_a_mask_beside_a_pilatus_leaves_its_gaps_masked(tmp_path):
    values = np.stack([counts(16, seed) for seed in range(8)])
    values[:, :6] = -1  # more than a fifth
    folder = tmp_path / "f"
    folder.mkdir()
    for k, frame in enumerate(values):
        cbf(folder / f"f_{k:05d}.cbf", frame, PILATUS)
    bad = np.zeros((16, 16), bool)
    bad[9, 3:7] = True
    for path, whole in ((folder, values), (folder / "f_00000.cbf", values[0])):
        p = read(path, mask=bad, centre=[n // 2 for n in whole.shape], frames="volume" if whole.ndim == 3 else None)
        np.testing.assert_array_equal(np.fft.fftshift(p.measured), (whole >= 0) & ~bad)
        assert not [w for w in p.warnings if "own mask" in w or "gap code" in w]


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "u2", "u4"])
def test_a_cbf_file_of_any_integers(tmp_path, kind):
    values = (GOOD // (40 if kind == "i1" else 1)).astype(kind)
    np.testing.assert_array_equal(formats.FORMATS["cbf"].load(cbf(tmp_path / "a.cbf", values), ""), values)


def test_a_damaged_cbf_file_is_named(tmp_path):
    content = cbf(tmp_path / "a.cbf", GOOD, PILATUS).read_bytes()
    at = content.index(b"\x0c\x1a\x04\xd5")
    for damage, match in (
        (content[: at + 300], "cut short: 32×32 pixels are not in 296 bytes"),
        (content[:at], "no numbers after it"),
        (content[: at + 50] + b"\x55" + content[at + 51 :], "MD5"),
        (content.replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_CANONICAL  "), "packed x-CBF_CANONICAL; expected"),
        (content.replace(b"Second-Dimension: 32", b"Second-Dimension: 99999"), "cut short"),
        (content.replace(b"signed 32-bit integer", b"signed 32-bit real IEEE"), "does not say which integers"),
    ):
        assert damage != content
        (tmp_path / "b.cbf").write_bytes(damage)
        refuse(tmp_path / "b.cbf", match)


def test_without_fabio_a_cbf_file_names_the_extra(tmp_path, monkeypatch):
    path = cbf(tmp_path / "a.cbf", GOOD)
    monkeypatch.setitem(sys.modules, "fabio.compression", None)
    refuse(path, r"CBF file, which is read with fabio: pip install 'untwin\[detector\]'")


# MATLAB


def savemat(path: Path, **arrays: object) -> Path:
    from scipy.io import savemat as save

    compress = arrays.pop("do_compression", False)
    save(path, arrays, do_compression=bool(compress))
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["i4", "u2", "f4", "f8", "u1"])
def test_a_matlab_file_is_read_packed_or_not(tmp_path, kind, packed):
    values = GOOD.astype(kind) if kind != "u1" else FEW
    path = savemat(tmp_path / "a.mat", intensity=values, mask=np.zeros((32, 32), bool), note="text", do_compression=packed)
    same(path, values)
    stack = np.stack([counts(16, seed) for seed in range(9)]).astype(kind)
    np.testing.assert_array_equal(formats.FORMATS["matlab"].load(savemat(tmp_path / "b.mat", v=stack, do_compression=packed), "v"), stack)


@pytest.mark.parametrize(("order", "mark"), [("<", b"\0\1IM"), (">", b"\1\0MI")])
def test_doubles_that_matlab_stores_as_small_integers_are_doubles(tmp_path, order, mark):
    """Else a 65535 among them would be taken for a gap. Written by hand, in both orders of bytes, the name within its tag."""
    numbers = GOOD.astype(f"{order}u2").T.tobytes()
    parts = (
        struct.pack(f"{order}4I", 6, 8, 6, 0)
        + struct.pack(f"{order}2I2i", 5, 8, 32, 32)
        + struct.pack(f"{order}I", 1 | 1 << 16)
        + b"I\0\0\0"
    )
    parts += struct.pack(f"{order}2I", 4, len(numbers)) + numbers
    content = b"MATLAB 5.0 MAT-file".ljust(124) + mark + struct.pack(f"{order}2I", 14, len(parts)) + parts
    (tmp_path / "a.mat").write_bytes(content)
    values = formats.FORMATS["matlab"].load(tmp_path / "a.mat", "I")
    assert values.dtype == float
    np.testing.assert_array_equal(values, GOOD)


def test_a_mask_an_object_and_a_support_in_matlab_files(tmp_path):
    bad = GOOD > 1900
    path = savemat(tmp_path / "a.mat", I=GOOD, mask=bad)
    assert (np.fft.fftshift(read(path, centre=MIDDLE).measured) == ~bad).all() and read(path, centre=MIDDLE).source.mask == "mask"
    wave = np.random.default_rng(1).normal(size=(32, 32)) * 1j + GOOD
    for packed in (False, True):
        o = read_object(savemat(tmp_path / "o.mat", psi=wave, other=GOOD, support=GOOD > 100, do_compression=packed))
        np.testing.assert_array_equal(o.image, wave.astype(np.complex64))
        np.testing.assert_array_equal(o.support, GOOD > 100)
    refuse(savemat(tmp_path / "o.mat", psi=wave), "is complex")
    pattern = read(path, centre=MIDDLE)
    np.testing.assert_array_equal(read_support(savemat(tmp_path / "s.mat", support=GOOD > 100), pattern), GOOD > 100)


def test_the_fields_of_a_matlab_struct_have_names(tmp_path):
    path = savemat(tmp_path / "a.mat", exp={"data": GOOD, "energy": 9.0, "name": "x", "deep": {"more": GOOD}})
    same(path)
    same(path, data="exp.data")
    refuse(path, "no dataset exp.date. Did you mean exp.data", data="exp.date")
    refuse(savemat(tmp_path / "b.mat", a=GOOD, b=counts(40)), r"2 arrays .*a \(32×32, int32\), b")


def test_a_matlab_bomb_is_refused_from_its_header(tmp_path, monkeypatch):
    path = savemat(tmp_path / "a.mat", v=np.zeros((1000, 1000)), do_compression=True)
    monkeypatch.setattr(header, "LARGE", 2**20)
    refuse(path, "decompression bomb")
    content = path.read_bytes()  # declares 32 x 32, and holds as much as before
    inner = zlib.decompress(content[136:])
    lie = zlib.compress(inner[:32] + struct.pack("<2i", 32, 32) + inner[40:])
    path.write_bytes(content[:132] + struct.pack("<I", len(lie)) + lie)
    refuse(path, "more than it declares")
    short = zlib.compress(inner[:4] + struct.pack("<I", 9000) + inner[8:32] + struct.pack("<2i", 32, 32) + inner[40:])
    path.write_bytes(content[:132] + struct.pack("<I", len(short)) + short)
    refuse(path, "more than it declares")
    path.write_bytes(content[:600])
    refuse(path, "cut short")
    huge = struct.pack("<4I2I2i2I", 6, 8, 6, 0, 5, 8, 10**5, 10**6, 1 | 1 << 16, ord("I"))
    path.write_bytes(content[:128] + struct.pack("<2I", 14, len(huge)) + huge)
    refuse(path, "declares .* GiB, the limit is")


# PNG and JPEG


def png(path: Path, values: np.ndarray) -> Path:
    from PIL import Image

    Image.fromarray(values).save(path)
    return path


def test_a_png_of_16_bits_is_read_and_one_of_8_is_a_picture(tmp_path):
    same(png(tmp_path / "a.png", GOOD.astype(np.uint16)))
    small = FEW
    for k, values in enumerate((small, np.stack([small] * 3, -1))):
        with pytest.warns(GuessWarning, match="is a picture of a pattern with 8 bits"):
            p = read(png(tmp_path / f"{k}.png", values), centre=MIDDLE)
        np.testing.assert_array_equal(np.fft.fftshift(p.intensity), small)


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_a_jpeg_is_read_as_the_picture_that_it_is(tmp_path):
    p = read(png(tmp_path / "a.jpg", (GOOD // 9).astype(np.uint8)), centre=MIDDLE, values="photons")
    assert abs(np.fft.fftshift(p.intensity) - GOOD // 9).mean() < 4 and any("JPEG" in w for w in p.warnings)


def test_a_mask_is_not_taken_for_a_pattern(tmp_path):
    refuse(
        png(tmp_path / "m.png", ((GOOD > 99) * 255).astype(np.uint8)),
        "at most 0 photons in a trusted pixel: a mask|0 in every pixel that is not saturated: a mask",
    )


def test_colours_and_transparency_are_refused(tmp_path):
    colours = np.stack([GOOD // 9, GOOD // 9, GOOD * 0], -1).astype(np.uint8)
    refuse(png(tmp_path / "a.png", colours), "picture in colours")
    veiled = np.stack([GOOD // 9] * 3 + [GOOD * 0 + 200], -1).astype(np.uint8)
    refuse(png(tmp_path / "b.png", veiled), "transparent")
    refuse(png(tmp_path / "c.jpg", colours), "picture in colours")


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_a_mask_as_a_picture(tmp_path, ending):
    np.save(tmp_path / "p.npy", GOOD)
    bad = np.zeros((32, 32), bool)
    bad[10:14, 3:20] = True
    mask = png(tmp_path / f"m.{ending}", (bad * 255).astype(np.uint8))
    p = read(tmp_path / "p.npy", mask=mask, centre=MIDDLE)
    np.testing.assert_array_equal(np.fft.fftshift(p.measured), ~bad)
    if ending == "png":
        p = read(tmp_path / "p.npy", mask=png(tmp_path / "bits.png", bad), centre=MIDDLE)
        np.testing.assert_array_equal(np.fft.fftshift(p.measured), ~bad)


def test_a_picture_that_declares_more_than_there_can_be(tmp_path):
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">2I", 2**15, 2**15) + b"\x08\0\0\0\0"
    (tmp_path / "b.png").write_bytes(head + struct.pack(">I", zlib.crc32(head[12:])) + b"\0\0\0\0IDAT\0\0\0\0")
    refuse(tmp_path / "b.png", "declares")


def test_a_jpeg_of_more_pixels_than_its_bytes_can_say(tmp_path):
    content = bytearray(png(tmp_path / "a.jpg", (GOOD // 9).astype(np.uint8)).read_bytes())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">2H", 4000, 4000)
    (tmp_path / "a.jpg").write_bytes(content)
    refuse(tmp_path / "a.jpg", "declares 4000 x 4000 pixels and has .* bytes: cut short")


# text


@pytest.mark.parametrize(("separator", "ending"), [(" ", "txt"), ("\t", "dat"), (",", "csv"), (";", "csv"), (", ", "csv")])
def test_a_table_of_numbers_is_read(tmp_path, separator, ending):
    path = tmp_path / f"a.{ending}"
    np.savetxt(path, GOOD, fmt="%d", delimiter=separator, header="counts, of a camera")
    same(path)
    np.savetxt(path, GOOD, delimiter=separator)
    same(path)


def test_lines_may_end_with_a_separator(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(",".join(map(str, row)) + "," for row in GOOD))
    same(tmp_path / "a.csv")


@pytest.mark.parametrize("header", ["", "# µ\n"])
def test_a_table_may_begin_with_a_byte_order_mark(tmp_path, header):
    text = header + "\n".join(",".join(map(str, row)) for row in GOOD)
    (tmp_path / "a.csv").write_text(text, encoding="utf-8-sig", newline="\r\n")
    same(tmp_path / "a.csv")
    (tmp_path / "m.csv").write_text("1\n2.5\n", encoding="utf-8-sig")
    assert column(tmp_path / "m.csv").tolist() == [1, 2.5]


def test_text_that_is_no_table_says_which_line(tmp_path):
    np.savetxt(tmp_path / "a.txt", GOOD, fmt="%d")
    text = (tmp_path / "a.txt").read_text()
    for changed, match in (
        (text + "1 2 3\n", "columns"),
        (text.replace("\n", "\nx ", 1), "no table of 32 columns of numbers"),
        ("x y z\n" + text, r"is text whose table begins at line 2: .*numpy.loadtxt\(FILE, skiprows=1\)"),
    ):
        (tmp_path / "b.txt").write_text(changed)
        refuse(tmp_path / "b.txt", match)
    (tmp_path / "c.log").write_text(text)
    refuse(tmp_path / "c.log", "looks like a table of numbers as text; name it .txt")


# folders


def frames(folder: Path, stack: np.ndarray, name: str = "scan_{}.tif", first: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    writers = {
        ".tif": tifffile.imwrite, ".npy": np.save, ".edf": edf, ".cbf": cbf,
        ".png": lambda path, v: png(path, v.astype(np.uint16)),
    }  # fmt: skip
    for k, frame in enumerate(stack):
        path = folder / name.format(k + first)
        writers[path.suffix](path, frame)
    return folder


STACK = np.stack([counts(16, seed) for seed in range(20)])


def test_pages_that_were_written_one_by_one_are_a_stack_and_other_shapes_are_named(tmp_path):
    """tifffile describes each write as a series of its own."""
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for frame in STACK:
            file.write(frame)
    same(tmp_path / "pages.tif", STACK)
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(GOOD)
        file.write(GOOD.astype(np.float32))
    with pytest.raises(InputError, match=r"2 arrays .* 0 .32×32, int32., 1 .32×32, float32."):
        read(tmp_path / "two.tif")
    same(f"{tmp_path}/two.tif::0")


@pytest.mark.parametrize("ending", ["tif", "npy", "edf", "cbf", "png"])
def test_a_folder_of_frames_is_a_stack_in_the_order_of_its_numbers(tmp_path, ending):
    """scan_2 comes before scan_10."""
    folder = frames(tmp_path / "f", STACK, f"scan_{{}}.{ending}")
    same(folder, STACK)
    same(tmp_path / "f" / f"scan_*.{ending}", STACK)
    same(str(tmp_path / "*" / f"scan_1?.{ending}"), STACK[9:19])
    assert read(folder, centre=(10, 8, 8), frames="volume").source.path == str(folder)


def test_what_else_lies_in_a_folder_is_said(tmp_path):
    folder = frames(tmp_path / "f", STACK)
    (folder / "log.txt").write_text("a scan\n")
    (folder / ".hidden").write_text("x")
    png(folder / "preview.png", (STACK[0] // 9).astype(np.uint8))
    with pytest.warns(GuessWarning, match=r"20 TIFF files of f are its frames; left out: log.txt, preview.png"):
        p = read(folder, centre=(10, 8, 8), frames="volume")
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), STACK)


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_missing_and_doubled_frames_are_said(tmp_path):
    folder = frames(tmp_path / "f", STACK)
    (folder / "scan_5.tif").unlink()
    p = read(folder, frames="volume")
    assert any("numbers of the 19 frames jump (4 to 6): frames are missing" in w for w in p.warnings)
    tifffile.imwrite(folder / "scan_5.tif", STACK[3])
    assert any("scan_4.tif and scan_5.tif are equal in every pixel" in w for w in read(folder, frames="volume").warnings)
    even = frames(tmp_path / "even", STACK[:10], "s_{}.tif")
    for k in range(10, 0, -1):
        (even / f"s_{k}.tif").rename(even / f"s_{2 * k:03d}.tif")
    same(even, STACK[:10])
    tifffile.imwrite(folder / "scan_05.tif", STACK[4])
    refuse(folder, "scan_05.tif and scan_5.tif have the same number")


def test_frames_that_do_not_belong_together_are_refused(tmp_path):
    folder = frames(tmp_path / "f", STACK)
    tifffile.imwrite(folder / "scan_3.tif", STACK[2, :, :9])
    refuse(folder, r"most of 16×16 int32, but scan_3.tif \(16×9 int32\)")
    tifffile.imwrite(folder / "scan_3.tif", STACK[2].astype(np.uint16))
    refuse(folder, r"scan_3.tif \(16×16 uint16\)")
    tifffile.imwrite(folder / "scan_3.tif", STACK)
    refuse(folder, "scan_3.tif holds 20×16×16 int32; expected one frame in each file")
    tifffile.imwrite(folder / "scan_3.tif", STACK[2])
    tifffile.imwrite(folder / "dark.tif", STACK[2])
    refuse(folder, r"names of 2 kinds, scan_#.tif \(20\), dark.tif \(1\); choose")
    same(folder / "scan_*.tif", STACK)
    (folder / "dark.tif").unlink()
    frames(folder, STACK, "scan_{}.edf")
    refuse(folder, "20 EDF files and 20 TIFF files|20 TIFF files and 20 EDF files")
    refuse(folder / "scan_1.*", "is of another kind than")
    refuse(folder / "scan_x*.tif", "no file fits")


def test_what_a_folder_is_not(tmp_path):
    refuse(tmp_path, "is a folder without frames")
    np.savez(tmp_path / "a.npz", intensity=GOOD, other=GOOD)
    refuse(tmp_path, "is a folder with one frame|without frames")
    (tmp_path / "result.cxi").touch()
    refuse(tmp_path, "is a folder of results")
    (tmp_path / "manifest.json").touch()
    refuse(tmp_path, "simulated data set")
    with pytest.raises(InputError, match="is a folder; expected a file"):
        read_object(tmp_path)


def test_a_folder_is_read_within_the_budget(tmp_path, monkeypatch):
    folder = frames(tmp_path / "f", STACK)
    monkeypatch.setattr(header, "BUDGET", STACK.nbytes - 1)
    refuse(folder, "declares .* GiB, the limit is")


def test_the_hash_of_a_stack_is_that_of_its_frames(tmp_path):
    folder = frames(tmp_path / "f", STACK)
    before = sha256(folder)
    assert before == sha256(folder / "scan_*.tif") == read(folder, centre=(10, 8, 8), frames="volume").source.sha256
    (folder / "log.txt").write_text("x")
    assert sha256(folder) == before
    tifffile.imwrite(folder / "scan_3.tif", STACK[0])
    assert sha256(folder) != before


@pytest.mark.parametrize(
    ("file", "stem"),
    [
        ("f", "f"),
        ("f/", "f"),
        ("f/scan_*.tif", "scan"),
        ("f/*.tif", "f"),
        ("f/[0-9]*.tif", "f"),
        ("f/scan_1.tif", "scan_1"),
        ("a.h5::/b", "a"),
    ],
)
def test_the_folder_of_results_is_named_by_what_is_read(tmp_path, monkeypatch, file, stem):
    monkeypatch.chdir(tmp_path)
    frames(tmp_path / "f", STACK[:1])
    assert Run(file=Path(file)).stem == stem


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_the_options_of_a_run_on_frames_read_them_again(tmp_path, monkeypatch):
    """From any folder; and what Python saves names the frames."""
    frames(tmp_path / "f", STACK)
    monkeypatch.chdir(tmp_path)
    for file in ("f", "f/scan_*.tif"):
        run = Run(file=Path(file))
        pattern, options = read(run.file), run.options()
        monkeypatch.chdir("/")
        again = Run(**options)
        np.testing.assert_array_equal(read(again.file).intensity, pattern.intensity)
        monkeypatch.chdir(tmp_path)
        assert _origin(pattern)["file"] == str(tmp_path / file)
    (tmp_path / "run.toml").write_text('file = "f/scan_*.tif"')
    monkeypatch.chdir("/")
    assert resolved(tmp_path / "run.toml", {}).file == tmp_path / "f" / "scan_*.tif"


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_a_pattern_of_names_goes_in_quotation_marks(tmp_path, monkeypatch, capsys):
    frames(tmp_path / "f", STACK)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["inspect", "f/scan_*.tif"])
    assert "untwin reconstruct 'f/scan_*.tif'" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["inspect", "f/scan_1.tif", "f/scan_2.tif"])
    assert "one FILE is expected, and f/scan_2.tif is another; a pattern such as" in capsys.readouterr().err


# what is not read


@pytest.mark.parametrize(
    ("content", "name", "match"),
    [
        (b"\x0e\x03\x13\x01" + bytes(99), "a.hdf", "is HDF4: .*h4toh5"),
        (b"\0\0\0\x03" + bytes(99), "a.dm3", r"is DM3 .*ncempy.io.dm.dmReader"),
        (b"\0\0\0\x04" + bytes(99), "a.dm4", "is DM4"),
        (b"SIMPLE  =                    T", "a.fits", "is FITS: .*astropy"),
        (b"root\0\0" + bytes(99), "a.root", "is ROOT: .*uproot"),
        (bytes(208) + b"MAP DA\0\0" + bytes(900), "a.mrc", "is MRC .*mrcfile"),
        (b"\x5c\x01" + bytes(342) + b"n+1\0" + bytes(99), "a.nii", "is NIfTI.*nibabel"),
        (b"\x1f\x8b\x08" + bytes(99), "a.edf.gz", "gunzip"),
        (bytes(2996) + b"\x67\x45\x23\x01" + bytes(1200), "a.spe", "is SPE .*fabio"),
        (b"#?RADIANCE\n", "a.hdr", "is Radiance HDR"),
        (b"{\nHEADER_BYTES=  512;\n", "a.img", r"is SMV \(ADSC\): .*fabio"),
        (b"\x80\x04\x95", "a.pkl", "pickle, which is never loaded"),
        (b"\x80\x99\x95", "a.raw", "numpy.fromfile"),
        (b"\xff\x4f\xff\x51" + bytes(99), "a.j2k", "is JPEG 2000"),
        (b"(\0\0\0@\0\0\0@\0\0\0\0\0\0\0\x02\0\0\0I\0" + bytes(99), "a.mat", "is a MATLAB 4 file: .*loadmat"),
        (b"1,5;2,5;3\n" * 9, "a.csv", "decimal commas"),
        (b"cnumpy._core.multiarray\n_reconstruct\n", "a.pkl", "pickle, which is never loaded"),
        (b"M\0\0\0A\0\0\0S\0\0\0K\0\0\0" + bytes(99), "a.msk", "Fit2D: .*fabio"),
        (b"<?xml version='1.0'?>", "a.xml", "is text without a table"),
        (b"\x99\x98\x97\x00", "a.xyz", r"in no format that untwin reads \(it starts with"),
    ],
)
def test_what_is_not_read_is_named_with_a_way_out(tmp_path, content, name, match):
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, match)


@pytest.mark.parametrize("name", ["a.bin", "a.h5", "a"])
def test_no_ending_deceives(tmp_path, name):
    """All but text are told by their bytes."""
    for k, path in enumerate((
        edf(tmp_path / "e.edf", GOOD), savemat(tmp_path / "m.mat", v=GOOD), png(tmp_path / "p.png", GOOD.astype(np.uint16)),
        cbf(tmp_path / "c.cbf", GOOD),
    )):  # fmt: skip
        (tmp_path / f"{k}{name}").write_bytes(path.read_bytes())
        same(tmp_path / f"{k}{name}")


# numbers at the edge


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "g", ">f8", ">i2", "u8"])
def test_every_type_of_number_gives_the_same_pattern(tmp_path, kind):
    for values in (GOOD.astype(kind), np.asfortranarray(GOOD.astype(kind))):
        np.savez(tmp_path / "a.npz", intensity=values)
        same(tmp_path / "a.npz", (GOOD.astype("f2") if kind == "f2" else GOOD).astype(np.float32))


@pytest.mark.parametrize(("kind", "factor"), [("f8", 1e-315), ("f8", 1e-40), ("f4", 1e-42), ("g", 1e-320)])
def test_numbers_that_single_precision_loses_are_refused(tmp_path, kind, factor):
    np.save(tmp_path / "a.npy", (GOOD * np.longdouble(factor)).astype(kind))
    refuse(tmp_path / "a.npy", "only; expected photons per pixel. Multiply it by a power of ten")


def test_odd_names_in_an_archive_are_names(tmp_path):
    for name in ("../up", "/etc/x", "a b", "é", "a/b", "x.npy"):
        np.savez(tmp_path / "a.npz", **{name: GOOD})
        same(tmp_path / "a.npz", data=name)
        assert not (tmp_path.parent / "up.npy").exists()


def test_a_name_that_is_no_text_is_read(tmp_path):
    if os.name != "posix":
        pytest.skip("names are bytes on POSIX only")
    path = os.fsdecode(bytes(tmp_path) + b"/\xff\xfe.edf")
    same(edf(Path(path), GOOD))
