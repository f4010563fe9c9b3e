"""Every bad input has one clear message."""

from __future__ import annotations

import io
import os
import pickle
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from events import calls
from untwin.data import hdf5, header, probe, tiff
from untwin.data.image import read_image
from untwin.data.measurement import Pattern
from untwin.data.read import read, read_object
from untwin.errors import InputError

h5py = pytest.importorskip("h5py")
GOOD = np.random.default_rng(0).poisson(20, (32, 32)).astype(np.float32)


def refuse(path, match: str, *args, **kwargs) -> None:
    with pytest.raises(InputError, match=match):
        read(path, *args, **kwargs)


ALL = np.ones((32, 32), bool)


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        (lambda: Pattern(GOOD + 1j, ALL), "intensity is of ndarray complex64; expected an array of real numbers"),
        (lambda: Pattern("p.npy", ALL), "intensity is of str .*expected an array"),
        (lambda: Pattern([[1.0, 2.0], [3.0]], ALL), "intensity is no array"),
        (lambda: Pattern(np.ones((2, 2, 2, 2)), np.ones((2, 2, 2, 2), bool)), "2D or 3D"),
        (lambda: Pattern(np.ones((0, 4)), np.ones((0, 4), bool)), r"shape \(0, 4\), without a pixel"),
        (lambda: Pattern(GOOD, ALL[1:]), "crop or pad"),
        (lambda: Pattern(GOOD, None), "measured is of NoneType without numbers"),
        (lambda: Pattern(GOOD, ~ALL), "no pixel is measured"),
        (lambda: Pattern(0 * GOOD, ALL), "nothing was counted in 1,024 measured pixels"),
        (lambda: Pattern(GOOD, ALL & (GOOD == 0)), "no pixel is measured|nothing was counted"),
        (lambda: Pattern(np.where(GOOD < 15, np.nan, GOOD), ALL), rf"NaN or infinite in {(GOOD < 15).sum()} of 1,024 measured"),
        (lambda: Pattern(np.where(GOOD > 28, np.inf, GOOD), ALL), "infinite in"),
        (lambda: Pattern(GOOD - 12, ALL), rf"negative, NaN or infinite in {(GOOD < 12).sum()} of"),
        (lambda: Pattern(GOOD, ALL, offset=(0.5,)), r"offset=\(0.5,\): expected 2 whole or half"),
        (lambda: Pattern(GOOD, ALL, offset=(0.5, 0.3)), "expected 2 whole or half"),
        (lambda: Pattern(GOOD, ALL, offset=(0.5, np.nan)), "expected 2 whole or half"),
        (lambda: Pattern(GOOD, ALL, offset=0.5), "expected 2 whole or half"),
    ],
)
def test_what_is_no_pattern_is_refused_by_the_pattern_itself(pattern, match):
    with pytest.raises(InputError, match=match):
        pattern()


def test_lists_tensors_and_masks_of_numbers_become_arrays():
    hidden = ALL.copy()
    hidden[0, 0] = False
    with_gap = np.where(hidden, GOOD, np.nan)
    for p in (
        Pattern(GOOD.tolist(), ALL.tolist()),
        Pattern(torch.from_numpy(GOOD), torch.from_numpy(ALL)),
        Pattern(with_gap, hidden.astype(np.uint8)),
    ):
        assert p.intensity.shape == (32, 32) and p.measured.dtype == bool and p.offset == (0.0, 0.0)
        assert p.photons == GOOD[p.measured].sum(dtype=np.float64)


def npy(folder: Path, values: np.ndarray) -> Path:
    np.save(folder / "p.npy", values)
    return folder / "p.npy"


def test_no_file_a_folder_and_an_empty_file(tmp_path):
    npy(tmp_path, GOOD)
    refuse(tmp_path / "q.npy", r"does not exist\. Did you mean p.npy")
    refuse(tmp_path, "is a folder")
    (tmp_path / "e.h5").touch()
    refuse(tmp_path / "e.h5", "is empty")
    refuse("a\0b", "cannot be opened|does not exist")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        refuse(tmp_path / "fifo", "not a regular file")


@pytest.mark.parametrize(
    "content, match",
    [
        (b"{ 'EDF' }", r"is text without a table of numbers .*starts with b\"\{ 'EDF'.*Readable: CXI"),
        (b"\x00\x01\x02\x03", r"starts with b'.x00.x01.*Readable: CXI"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (pickle.dumps([1, 2]), "pickle.*never loaded"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "cannot be read as HDF5"),
        (b"\x93NUMPY\x01\x00", "cannot be read as NumPy"),
        (b"\x93NUMPY\x09\x00" + b"x" * 100, "NumPy"),
        (b"PK\x03\x04" + b"x" * 100, "cannot be read as NumPy"),
        (b"II*\x00" + b"\xff" * 100, "TIFF"),
    ],
)
def test_content_that_is_no_pattern(tmp_path, content, match):
    (tmp_path / "scan.cxi").write_bytes(content)
    refuse(tmp_path / "scan.cxi", match)


@pytest.mark.parametrize(
    "values, match",
    [
        (GOOD[0], "1 axes|No 2D or 3D"),
        (np.ones((2, 3, 16, 16)), r"4 axes \(2×3×16×16\): 2 volumes"),
        (GOOD[:5], "at least 8 pixels"),
        (np.zeros((0, 16)), "at least 8|No 2D"),
        (GOOD.astype(complex), "is complex.*not a measured intensity"),
        (GOOD > 20, "is boolean"),
        (GOOD * 0, "is 0 in every pixel"),
        (GOOD * 0 + 5, "is 5 in every pixel"),
        (GOOD * np.nan, "NaN, infinite or gap"),
        (np.where(np.arange(32) < 10, np.nan, GOOD), r"320 pixels \(31 %\) are NaN"),
        (GOOD - 25, "are negative, down to"),
        (GOOD.astype(float) * 1e200, "expected photons"),
        (np.array([["a"] * 9] * 9), "plain numbers"),
        (np.zeros((9, 9), [("a", "f4")]), "plain numbers"),
    ],
)
def test_values_that_are_no_pattern(tmp_path, values, match):
    refuse(npy(tmp_path, values), match)


def test_pickled_objects_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    trap = np.empty((9, 9), object)
    trap[:] = Trap()
    np.save(tmp_path / "t.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "t.npz", intensity=trap)
    refuse(tmp_path / "t.npy", "Python objects")
    refuse(tmp_path / "t.npz", "Python objects")
    with pytest.raises(InputError, match="Python objects"):
        read_object(tmp_path / "t.npy")
    assert not (tmp_path / "ran").exists()


def test_masks_that_do_not_fit(tmp_path):
    path = npy(tmp_path, GOOD)
    for mask, match in ((GOOD[:16], r"mask has shape \(16, 32\).*crop or pad"), (GOOD * 0 + 1, "every pixel")):
        np.save(tmp_path / "m.npy", mask)
        refuse(path, match, mask=tmp_path / "m.npy")
    refuse(path, "neither a file nor an array|does not exist", mask="nowhere.npy")


def test_a_choice_is_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", first=GOOD, second=GOOD, line=GOOD[0])
    refuse(tmp_path / "a.npz", r"2 arrays that could be the intensity: first \(32×32, float32\), second .*data=NAME")
    refuse(tmp_path / "a.npz", r"no dataset frist. Did you mean first\?", data="frist")
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["entry/m4"], f["entry/m5"], f["entry/temp"] = GOOD, GOOD, GOOD[0]
    refuse(tmp_path / "a.h5", r"/entry/m4 \(32×32, float32\), /entry/m5")
    refuse(tmp_path / "a.h5", r"no dataset /entry/m6\. Did you mean /entry/m", data="/entry/m6")
    refuse(tmp_path / "a.h5", "No 2D or 3D|1 axes", data="/entry/temp")
    refuse(npy(tmp_path, GOOD), "without a name", data="x")
    with h5py.File(tmp_path / "b.h5", "w") as f:
        f["entry/temp"], f["entry/title"], f["x"] = GOOD[0], "text", 3.0
    refuse(tmp_path / "b.h5", r"No 2D or 3D intensity in b.h5. Found: /x .*/entry/temp \(32, float32\)")


def npy_header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


def test_bombs_and_torn_files_are_refused_from_their_headers(tmp_path):
    (tmp_path / "b.npy").write_bytes(npy_header((10**5, 10**6)))
    refuse(tmp_path / "b.npy", "declares .* GiB, the limit is 8 GiB")
    (tmp_path / "c.npy").write_bytes(npy_header((64, 64)) + b"\0" * 99)
    refuse(tmp_path / "c.npy", "cut short")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as z:
        z.writestr("intensity.npy", npy_header((10**5, 10**6)))
    refuse(tmp_path / "b.npz", "declares")
    with h5py.File(tmp_path / "b.h5", "w") as f:
        f.create_dataset("data", shape=(10**5, 10**6), dtype="f8", chunks=(64, 64))
        f.create_dataset("sparse", shape=(20_000, 20_000), dtype="f4", chunks=(64, 64))
    refuse(tmp_path / "b.h5", "declares", data="data")
    refuse(tmp_path / "b.h5", "nothing was measured", data="sparse")
    with h5py.File(tmp_path / "t.h5", "w") as f:
        f["data"] = GOOD
    whole = (tmp_path / "t.h5").read_bytes()
    (tmp_path / "t.h5").write_bytes(whole[: len(whole) // 2])
    refuse(tmp_path / "t.h5", "cannot be read as HDF5.*Is it complete")


def test_torn_and_coloured_tiffs(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", GOOD)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:2000])
    refuse(tmp_path / "a.tif", "TIFF|cut short")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((32, 32, 3), np.uint8), photometric="rgb")
    refuse(tmp_path / "c.tif", "colour image")


# HDF5 that points elsewhere


@pytest.fixture
def house(tmp_path):
    """A secret outside, and a folder for the input."""
    folder = tmp_path / "in"
    folder.mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as f:
        f["g/data"] = GOOD
    GOOD.tofile(tmp_path / "secret.raw")
    return folder


def test_links_out_of_the_folder_are_not_followed(house):
    path = house / "a.h5"
    with h5py.File(path, "w") as f:
        f["direct"] = h5py.ExternalLink("../secret.h5", "/g/data")
        f["group"] = h5py.ExternalLink(str(house.parent / "secret.h5"), "/g")
        f["soft"] = h5py.SoftLink("/group/data")
        f["round"] = h5py.SoftLink("/round")
        f["gone"] = h5py.ExternalLink("gone.h5", "/data")
    for name in ("direct", "group/data", "soft"):
        refuse(path, "outside the folder", data=name)
    refuse(path, "go round in circles", data="round")
    refuse(path, "gone.h5, which is not there", data="gone")
    refuse(path, "No 2D or 3D")
    (house / "link.h5").symlink_to(house.parent / "secret.h5")
    with h5py.File(path, "w") as f:
        f["data"] = h5py.ExternalLink("link.h5", "/g/data")
    refuse(path, "outside the folder", data="data")


def test_external_storage_and_virtual_sources_stay_in_the_folder(house, monkeypatch):
    monkeypatch.chdir(house)
    with h5py.File("a.h5", "w") as f:
        f.create_dataset("ext", (32, 32), "f4", external=[(str(house.parent / "secret.raw"), 0, GOOD.nbytes)])
        layout = h5py.VirtualLayout((32, 32), "f4")
        layout[...] = h5py.VirtualSource("../secret.h5", "g/data", (32, 32))
        f.create_virtual_dataset("vds", layout)
        layout = h5py.VirtualLayout((32, 32), "f4")
        layout[...] = h5py.VirtualSource("gone.h5", "g/data", (32, 32))
        f.create_virtual_dataset("gone", layout)
    refuse("a.h5", "outside the folder", data="ext")
    refuse("a.h5", "outside the folder", data="vds")
    refuse("a.h5", "not there", data="gone")


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_links_inside_the_folder_are_followed(house):
    with h5py.File(house / "frames.h5", "w") as f:
        f["d"] = GOOD
    with h5py.File(house / "master.h5", "w") as f:
        f["entry/link"] = h5py.ExternalLink("frames.h5", "/d")
        layout = h5py.VirtualLayout((32, 32), "f4")
        layout[...] = h5py.VirtualSource("frames.h5", "d", (32, 32))
        f.create_virtual_dataset("entry/vds", layout)
        GOOD.tofile(house / "raw.bin")
        f.create_dataset("entry/ext", (32, 32), "f4", external=[("raw.bin", 0, GOOD.nbytes)])
    for name in ("link", "vds", "ext"):
        p = read(house / "master.h5", data=f"entry/{name}", centre=(16, 16))
        np.testing.assert_array_equal(np.fft.fftshift(p.intensity), GOOD)


def test_a_missing_filter_names_its_cure(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "z.h5", "w") as f:
        f.create_dataset("data", data=GOOD, compression="lzf")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    refuse(tmp_path / "z.h5", r'filter 32000\).*pip install "untwin\[detector\]"')


# found by tests/fuzz.py, or by thinking like it


def test_two_arrays_of_one_name_are_refused(tmp_path):
    """The first was checked and the last was read."""
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as z, pytest.warns(UserWarning, match="Duplicate name"):
        for values in (GOOD, GOOD[:9]):
            content = io.BytesIO()
            np.save(content, values)
            z.writestr("intensity.npy", content.getvalue())
    refuse(tmp_path / "d.npz", "two arrays of one name")


@pytest.mark.parametrize("lie", [None, 10**8])
def test_a_zip_bomb_is_refused_whatever_its_directory_says(tmp_path, monkeypatch, lie):
    monkeypatch.setattr(header, "LARGE", 2**20)  # instead of bombs that are as large as the real limit
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z, z.open("intensity.npy", "w") as member:
        member.write(npy_header((1000, 1000)))
        member.write(bytes(8 * 10**6))
    if lie:  # the compressed size, by which the ratio would look harmless
        content = bytearray(path.read_bytes())
        at = content.find(b"PK\x01\x02")
        content[at + 20 : at + 24] = lie.to_bytes(4, "little")
        path.write_bytes(content)
    refuse(path, "decompression bomb|possible zip bomb")  # the second by Pythons whose zipfile looks itself


def test_bombs_in_hdf5(house, monkeypatch):
    monkeypatch.setattr(header, "LARGE", 2**20)
    with h5py.File(house / "b.h5", "w") as f:
        f.create_dataset("zeros", data=np.zeros((1000, 1000), "f4"), chunks=(1000, 1000), compression="gzip", compression_opts=9)
        f.create_dataset("chunk", (32, 32), "f4", maxshape=(None, None), chunks=(2**14, 2**13), compression="gzip")
        f.create_dataset("lazy", (5000, 5000), "f4")
        layout = h5py.VirtualLayout((5000, 5000), "f4")
        layout[:32, :32] = h5py.VirtualSource(".", "small", (32, 32))
        f["small"] = GOOD
        f.create_virtual_dataset("wide", layout)
        f.create_dataset("entry_1/image_1/data_space", (1,), "S2000000000", chunks=(1,), compression="gzip")
        f["entry_1/image_1/data"] = GOOD
    for name, match in (("zeros", "bomb"), ("lazy", "bomb"), ("wide", "bomb"), ("chunk", "chunks of 512 MB")):
        refuse(house / "b.h5", match, data=name)
    refuse(house / "b.h5", "MB of text")


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_virtual_datasets_that_fan_out_take_no_time(tmp_path):
    """Each level names the one below it 32 times. The datasets are looked at once each, and what is too deep is refused."""
    with h5py.File(tmp_path / "v.h5", "w") as f:
        f["level0"] = GOOD
        for k in range(1, 9):
            layout = h5py.VirtualLayout((32, 32), "f4")
            for row in range(32):
                layout[row] = h5py.VirtualSource(".", f"level{k - 1}", (32, 32))[row]
            f.create_virtual_dataset(f"level{k}", layout)
        layout = h5py.VirtualLayout((6000, 32), "f4")
        for row in range(6000):
            layout[row] = h5py.VirtualSource(".", "level0", (32, 32))[0]
        f.create_virtual_dataset("long", layout)
    with calls(most=200_000):
        refuse(tmp_path / "v.h5", "refers to itself", data="level8")
        refuse(tmp_path / "v.h5", "6,000 sources, 5,000 at most", data="long")
        with hdf5.opened(tmp_path / "v.h5") as tree:
            tree._local(tree.find("level4"), 0)


def test_a_virtual_source_does_not_read_raw_values_from_the_working_folder(house, monkeypatch):
    """HDF5 looks for external values of a source where the program runs, not where the file lies."""
    monkeypatch.chdir(house.parent)
    np.full((32, 32), 7, np.float32).tofile("raw.bin")
    GOOD.tofile(house / "raw.bin")
    with h5py.File(house / "source.h5", "w") as f:
        f.create_dataset("d", (32, 32), "f4", external=[("raw.bin", 0, GOOD.nbytes)])
    with h5py.File(house / "a.h5", "w") as f:
        layout = h5py.VirtualLayout((32, 32), "f4")
        layout[...] = h5py.VirtualSource("source.h5", "d", (32, 32))
        f.create_virtual_dataset("v", layout)
    refuse(house / "a.h5", "keeps its values in another file", data="v")


def test_values_beyond_single_precision_are_refused_after_the_last_step(tmp_path):
    amplitudes = np.sqrt(GOOD.astype(float))
    amplitudes[3, 3] = 1e25  # 1e50 when squared
    refuse(npy(tmp_path, amplitudes), "expected photons")
    np.save(tmp_path / "o.npy", GOOD.astype(complex) * 1e300)
    with pytest.raises(InputError, match="above 3e38"):
        read_object(tmp_path / "o.npy")


def test_pictures_are_checked_from_their_headers(tmp_path):
    (tmp_path / "b.npy").write_bytes(npy_header((10**5, 10**4)))
    (tmp_path / "c.npy").write_bytes(npy_header((64, 64)) + b"\0" * 99)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (2**17).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0")
    for name, match in (("b.npy", "cut short"), ("c.npy", "cut short"), ("b.png", "declares 131072 x 131072 pixels")):
        with pytest.raises(InputError, match=match):
            read_image(tmp_path / name)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.png")
        with pytest.raises(InputError, match="not a regular file"):
            read_image(tmp_path / "fifo.png")


def test_a_home_of_nobody_is_no_traceback(tmp_path):
    refuse("~nobody-at-all/p.npz", "cannot be opened|does not exist")
    refuse(npy(tmp_path, GOOD), "cannot be opened|does not exist", mask="~nobody-at-all/p.npz")


def test_where_hdf5_crashes_or_never_ends_the_file_is_named(tmp_path, monkeypatch):
    """The child that looks first is made to die, and to run for ever."""
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["data"] = GOOD
    assert probe.survives(tmp_path / "a.h5")
    for i, look in enumerate((lambda path: os.kill(os.getpid(), signal.SIGKILL), forever)):
        monkeypatch.setattr(probe, "_look", look)
        with h5py.File(tmp_path / f"{i}.h5", "w") as f:
            f["data"] = GOOD
        refuse(tmp_path / f"{i}.h5", rf"{i}\.h5 is damaged in a way that stops the HDF5 library")


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
def test_much_of_everything_is_no_damage(tmp_path):
    """Thousands of attributes, of datasets, of groups in groups: read, or refused, in a number of calls that grows as they do."""
    with h5py.File(tmp_path / "attributes.h5", "w") as f:
        f.attrs.update({f"a{i}": i for i in range(2000)})
        f["data"] = GOOD
    with calls(most=2_000_000):
        assert read(tmp_path / "attributes.h5").shape == (32, 32)
    with h5py.File(tmp_path / "many.h5", "w") as f:
        for i in range(6000):
            f.create_dataset(f"d{i}", (1,), "u1")
    with calls(most=2_000_000):
        refuse(tmp_path / "many.h5", "holds more than 5000 objects; name the dataset")
    with h5py.File(tmp_path / "deep.h5", "w") as f:
        f["/".join("g" * 900)] = GOOD
    with calls(most=200_000):
        refuse(tmp_path / "deep.h5", "No 2D or 3D")


def forever(path: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
    while True:
        pass


OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a"><Image ID="Image:0">
<Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="float" SizeX="32" SizeY="32" SizeZ="9" SizeT="1" SizeC="1">
<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.tif">urn:uuid:a</UUID></TiffData>
<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="../secret.tif">urn:uuid:b</UUID></TiffData></Pixels></Image></OME>"""


def test_a_tiff_file_is_read_alone(house):
    """OME-TIFF can name other files, anywhere; so can the index of an NDTiff. Only the pages of the file itself are taken."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        house.parent / "secret.tif", GOOD + 1000, description=OME.replace('UUID="urn:uuid:a"', 'UUID="urn:uuid:b"'), metadata=None
    )
    tifffile.imwrite(house / "a.tif", GOOD, description=OME, metadata=None)
    with tifffile.TiffFile(house / "a.tif") as file:
        assert file.series[0].asarray().max() > 1000, "this file does name the other one"
    for one in tiff.entries(house / "a.tif"):
        np.testing.assert_array_equal(tiff.load(house / "a.tif", one.name), GOOD)
