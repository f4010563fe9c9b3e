"""What MATLAB saves with -v7.3 arrives as it was in MATLAB. The files are written as MATLAB lays them out; an independent writer agrees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from nexus_files import bad, counts
from untwin.data.read import read, read_object
from untwin.data.series import members
from untwin.errors import InputError

I = counts()
OBJECT = np.zeros((24, 20), np.complex128)
OBJECT[5:15, 6:9], OBJECT[5:8, 9:14] = 1 + 0.5j, 2j


def stored(parent: h5py.Group, name: str, array: np.ndarray) -> None:
    """A(i, j) as MATLAB writes it: axes reversed, a compound for complex numbers, bytes for logicals."""
    kind = {"c16": "double", "c8": "single", "f8": "double", "f4": "single", "b1": "logical"}.get(array.dtype.str[1:], str(array.dtype))
    values = array.T
    if array.dtype.kind == "c":
        values = np.zeros(array.T.shape, [("real", array.real.dtype), ("imag", array.real.dtype)])
        values["real"], values["imag"] = array.T.real, array.T.imag
    parent.create_dataset(name, data=values.astype("u1") if array.dtype == bool else values)
    parent[name].attrs["MATLAB_class"] = np.bytes_(kind)


def matlab(path: Path, **arrays: np.ndarray) -> h5py.File:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            stored(file, name, array)
    with path.open("r+b") as start:
        start.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return h5py.File(path, "r+")


@pytest.mark.parametrize("kind", ["c16", "c8"])
def test_an_object_is_complex_and_upright(tmp_path, kind):
    matlab(tmp_path / "o.mat", obj=OBJECT.astype(kind)).close()
    np.testing.assert_array_equal(read_object(tmp_path / "o.mat").image, OBJECT.astype(np.complex64))


@pytest.mark.parametrize(
    ("names", "turned"), [(("real", "imag"), False), (("re", "im"), False), (("imag", "real"), False), (("a", "b"), None)]
)
def test_pairs_of_numbers_of_other_writers_are_complex_too(tmp_path, names, turned):
    pairs = np.zeros(OBJECT.shape, [(n, "f8") for n in names])
    for n in names:
        pairs[n] = OBJECT.imag if n in ("imag", "im") else OBJECT.real
    with h5py.File(tmp_path / "o.h5", "w") as f:
        f["obj"] = pairs
    if turned is None:
        with pytest.raises(InputError, match="no single object"):
            read_object(tmp_path / "o.h5")
        return
    np.testing.assert_array_equal(read_object(tmp_path / "o.h5").image, OBJECT.astype(np.complex64))


def test_volumes_of_four_axes_lie_along_the_first_axis_of_matlab(tmp_path):
    volumes = np.stack([np.roll(counts((16, 20, 24)), k, 0) for k in range(3)])
    matlab(tmp_path / "v.mat", volumes=volumes).close()
    np.testing.assert_array_equal(np.fft.fftshift(read(tmp_path / "v.mat", frames=2, centre=(8, 10, 12)).intensity), volumes[2])
    assert [m.frame for m in members([tmp_path / "v.mat"], "each")] == [0, 1, 2]


def test_a_pattern_comes_with_its_logical_mask_in_the_same_axes(tmp_path):
    mask = np.zeros(I.shape, bool)
    mask[40] = True
    with matlab(tmp_path / "p.mat", I=I, mask=mask) as f:
        f["name"] = np.zeros((300, 20), np.uint16)
        f["name"].attrs["MATLAB_class"] = np.bytes_("char")
        f["nothing"] = np.zeros((16, 16), np.uint64)
        f["nothing"].attrs.update({"MATLAB_class": np.bytes_("double"), "MATLAB_empty": 1})
    p = read(tmp_path / "p.mat")
    np.testing.assert_array_equal(bad(p), mask)
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), np.where(mask, 0, I))
    assert p.source.mask == "/mask"
    with pytest.raises(InputError, match="boolean: a mask"):
        read(tmp_path / "p.mat", "/mask")


def test_a_field_is_a_path_and_several_objects_are_a_choice(tmp_path):
    with matlab(tmp_path / "o.mat", obj=OBJECT) as f:
        stored(f.create_group("result"), "psi", 2 * OBJECT)
    np.testing.assert_array_equal(read_object(f"{tmp_path / 'o.mat'}::/result/psi").image, (2 * OBJECT).astype(np.complex64))
    with pytest.raises(InputError, match=r"/obj .*/result/psi .*FILE::NAME"):
        read_object(tmp_path / "o.mat")


def test_references_are_neither_followed_nor_candidates(tmp_path):
    with matlab(tmp_path / "c.mat", I=I) as f:
        stored(f.create_group("#refs#"), "a", I + 1)
        f.create_dataset("cell", (9, 9), h5py.ref_dtype)[0, 0] = f["#refs#/a"].ref
        f["cell"].attrs["MATLAB_class"] = np.bytes_("cell")
    assert read(tmp_path / "c.mat").source.dataset == "/I"
    with pytest.raises(InputError, match="references to other arrays"):
        read(tmp_path / "c.mat", "/cell")


def test_compare_takes_a_file_and_an_array_in_one(tmp_path):
    matlab(tmp_path / "o.mat", obj=OBJECT, other=OBJECT[::-1, ::-1].conj()).close()
    np.save(tmp_path / "o.npy", OBJECT)
    for name, turned in (("obj", "not turned"), ("other", "the twin")):
        command = [sys.executable, "-m", "untwin", "compare", f"o.mat::/{name}", "o.npy"]
        out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert "correlation 1.0000" in out and turned in out


def test_an_independent_writer_agrees(tmp_path):
    hdf5storage = pytest.importorskip("hdf5storage")
    hdf5storage.savemat(str(tmp_path / "h.mat"), {"obj": OBJECT, "I": I, "c": np.array([I, I[:3]], dtype=object)}, format="7.3")
    np.testing.assert_array_equal(read_object(tmp_path / "h.mat").image, OBJECT.astype(np.complex64))
    np.testing.assert_array_equal(np.fft.fftshift(read(tmp_path / "h.mat", "/I").intensity), I)
