"""What is written comes back, and others find their way in it."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from untwin.data.cxi import write_object, write_pattern, write_result
from untwin.data.dataset import simulated
from untwin.data.measurement import Geometry, Pattern, Source
from untwin.data.read import read, read_object, read_support
from untwin.errors import GuessWarning, InputError

h5py = pytest.importorskip("h5py")

JOULE = 1.602176634e-19


def letter(shape: tuple[int, ...]) -> np.ndarray:
    F = np.zeros(shape, np.complex64)
    y, x = shape[-2] // 2 - 5, shape[-1] // 2 - 3
    F[..., y : y + 10, x : x + 2] = 1
    F[..., y : y + 2, x : x + 7] = 1j
    F[..., y + 4 : y + 6, x : x + 4] = 2
    return F


def made(shape: tuple[int, ...], **fields) -> Pattern:
    rng = np.random.default_rng(1)
    measured = rng.random(shape) > 0.1
    return Pattern(np.where(measured, rng.poisson(30, shape), 0).astype(np.float32), measured, **fields)


FULL = {
    "geometry": Geometry(wavelength=1.4586e-10, distance=1.1, pixel_size=(55e-6, 75e-6)),
    "source": Source("a.h5", "/x", "0f" * 32, (31, 40), (15.5, 20.0), "m.npy"),
    "offset": (0.5, 0.0),
    "asymmetry": 0.0123,
    "warnings": ("the first", "the second: ² λ"),
}


def same(a: Pattern, b: Pattern) -> None:
    np.testing.assert_array_equal(a.intensity, b.intensity)
    np.testing.assert_array_equal(a.measured, b.measured)
    assert a.intensity.dtype == b.intensity.dtype and a.measured.dtype == b.measured.dtype
    assert (a.geometry, a.source, a.offset, a.warnings) == (b.geometry, b.source, b.offset, b.warnings)
    np.testing.assert_equal(a.asymmetry, b.asymmetry)


@pytest.mark.parametrize("shape", [(32, 40), (31, 40), (33, 27), (16, 20, 24), (15, 20, 27)])
def test_a_result_comes_back_equal_and_upright(tmp_path, shape):
    pattern = made(shape, **(FULL if len(shape) == 2 else {}))
    image, support = letter(shape), letter(shape) != 0
    process = {"recipe": "3 * ER()", "seed": 2**63 + 5, "tau": 0.5, "history": {"er": [1, 2]}, "ok": True, "big": 2**70}
    modes = np.stack([image, 1j * image])
    path = write_result(
        tmp_path / "r.cxi",
        image=image,
        support=support,
        pattern=pattern,
        process=process,
        modes=modes,
        mode_weights=(0.9, 0.1),
    )
    same(read(path), pattern)
    back = read_object(path)
    np.testing.assert_array_equal(back.image, image)
    np.testing.assert_array_equal(back.support, support)
    assert back.image.dtype == np.complex64 and back.support.dtype == bool
    assert back.voxel_size == pattern.voxel_size or back.voxel_size == pytest.approx(pattern.voxel_size)
    assert back.process["recipe"] == "3 * ER()" and back.process["seed"] == 2**63 + 5 and back.process["tau"] == 0.5
    assert back.process["history"] == '{"er": [1, 2]}' and back.process["program"] == "untwin"
    np.testing.assert_array_equal(read_support(path, pattern), support)


@pytest.mark.parametrize("shape", [(32, 40), (31, 27), (15, 20, 27)])
def test_a_pattern_alone_comes_back_equal_and_an_object_alone_too(tmp_path, shape):
    pattern = made(shape, **({"geometry": FULL["geometry"], "offset": (0.5, 0.0)} if len(shape) == 2 else {}))
    path = write_pattern(tmp_path / "p.cxi", pattern, process={"recipe": "Simulation", "seed": 3})
    back = read(path)
    assert back.source.path == str(path) and len(back.source.sha256) == 64, "it came from this file"
    same(replace(back, source=pattern.source), pattern)
    with pytest.raises(InputError, match="no single object"):
        read_object(path)
    image = letter(shape)
    path = write_object(tmp_path / "o.cxi", image=image, support=image != 0, process={"labels": {"body": "F"}})
    found = read_object(path)
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.support, image != 0)
    assert found.process["labels"] == '{"body": "F"}'
    with pytest.raises(InputError, match="reconstruction and no measurement"):
        read(path)
    with pytest.raises(InputError, match="finite values"):
        write_object(path, image=image * np.nan, support=image != 0, process={})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.cxi", "p.cxi"]


@pytest.mark.filterwarnings("ignore")
def test_a_scan_about_a_bragg_peak_says_where_its_voxels_are(tmp_path):
    import h5py

    geometry = Geometry(1.4e-10, 0.5, sampling=((2e6, 1e5, 0.0), (0.0, 5e6, 3e5), (4e6, 0.0, 3e6)), q=(2e10, 1e10, -5e9))
    pattern = made((6, 7, 8), geometry=geometry, preparation=("Dark: none.", "Crop: 6 frames."))
    image = letter((6, 7, 8)).astype(np.complex64)
    path = write_result(tmp_path / "a.cxi", image=image, support=image != 0, pattern=pattern, process={})
    with h5py.File(path) as file:
        group = file["/entry_1/image_1/geometry_1"]
        vectors, q = group["voxel_vectors"][()], group["q"][()]
    assert np.allclose(vectors @ np.array(geometry.sampling).T, 2 * np.pi * np.diag([1 / 6, 1 / 7, 1 / 8]), atol=1e-12)
    assert tuple(q) == geometry.q
    again = read(path)
    assert (again.geometry, again.preparation) == (geometry, pattern.preparation)
    assert again.voxel_size == pytest.approx(tuple(np.linalg.norm(vectors, axis=1)))


def test_silx_finds_the_pattern(tmp_path):
    nxdata = pytest.importorskip("silx.io.nxdata")
    pattern = made((32, 40))
    with h5py.File(write_pattern(tmp_path / "p.cxi", pattern, process={})) as f:
        found = nxdata.get_default(f)
        assert found is not None and found.is_valid
        np.testing.assert_array_equal(found.signal[()], np.fft.fftshift(pattern.intensity))


def test_the_layout_is_cxi(tmp_path):
    pattern = made((32, 40), **FULL)
    image = letter((32, 40))
    write_result(tmp_path / "r.cxi", image=image, support=image != 0, pattern=pattern, process={})
    with h5py.File(tmp_path / "r.cxi") as f:
        e = f["entry_1"]
        assert f["cxi_version"][()] == 150 and e["image_1/is_fft_shifted"][()] == 0
        assert e["image_1/data_space"][()] == b"real" and f.attrs["default"] == "entry_1" and e.attrs["default"] == "data_1"
        assert set(np.unique(e["image_1/mask"])) == {0, 0x10000} and e["image_1/support"].dtype == np.uint8
        assert e["instrument_1/source_1/energy"][()] == pytest.approx(8500.2 * JOULE, rel=1e-4)
        assert e["instrument_1/detector_1/x_pixel_size"][()] == 75e-6 and e["instrument_1/detector_1/y_pixel_size"][()] == 55e-6
        assert e["instrument_1/detector_1/distance"].attrs["units"] == "m" and e["data_1/y"].attrs["units"] == "m"
        assert e["data_1/y"][16] == 0 and e["image_1/data"].compression == "gzip" and e["image_1/data"].shuffle
        np.testing.assert_array_equal(e["instrument_1/detector_1/data"], np.fft.fftshift(pattern.intensity))
        np.testing.assert_array_equal(np.asarray(e["instrument_1/detector_1/mask"]) == 0, np.fft.fftshift(pattern.measured))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [(32, 40), (16, 20, 24)])
def test_silx_finds_the_object(tmp_path, shape):
    nxdata = pytest.importorskip("silx.io.nxdata")
    image = letter(shape)
    write_result(
        tmp_path / "r.cxi",
        image=image,
        support=image != 0,
        pattern=made(shape),
        process={},
        voxel_size=(1e-8,) * len(shape),
    )
    with h5py.File(tmp_path / "r.cxi") as f:
        found = nxdata.get_default(f)
        assert found is not None and found.is_valid
        shown = image if image.ndim == 2 else image[image.shape[0] // 2]  # of a volume the middle plane: the first one is empty
        assert shown.any()
        np.testing.assert_array_equal(found.signal[()], shown)
        assert [a.shape for a in found.axes] == [(n,) for n in shape[-2:]] and found.axes_names[-1] == "x (m)"
        np.testing.assert_array_equal(nxdata.NXdata(f["entry_1/data_1"]).signal[()], image)
        planes = [f"plane_{name}" for name in "zyx"] if image.ndim == 3 else []
        for name in ("view_amplitude", "view_phase", *planes):
            assert nxdata.NXdata(f[f"entry_1/{name}"]).is_valid


def test_nothing_is_left_behind_when_writing_fails(tmp_path, monkeypatch):
    good = {"image": letter((32, 40)), "support": letter((32, 40)) != 0, "pattern": made((32, 40)), "process": {}}
    path = tmp_path / "r.cxi"
    for change, match in (
        ({"image": letter((32, 40)) * np.nan}, "NaN or infinite"),
        ({"image": letter((32, 32))}, "do not fit"),
        ({"modes": letter((2, 30, 30))}, "modes"),
    ):
        with pytest.raises(InputError, match=match):
            write_result(path, **(good | change))
    with monkeypatch.context() as patch:
        patch.setattr("untwin.data.cxi._measurement", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_result(path, **good)
    assert list(tmp_path.iterdir()) == []
    path.touch()
    with pytest.raises(InputError, match="cannot write"):
        write_result(path / "r.cxi", **good)
    write_result(path, **good)
    write_result(path, **good)
    assert [p.name for p in tmp_path.iterdir()] == ["r.cxi"]


@pytest.mark.parametrize(
    "change", ["nothing", "every pixel bad", "negative", "not finite", "another size", "an offset", "a type", "a list", "no JSON"]
)
def test_what_a_file_of_untwin_says_of_itself_is_checked_again(tmp_path, change):
    """It may have been changed since, and what it says is not looked at by anybody else."""
    path = write_pattern(tmp_path / "p.cxi", simulated(counts().astype(np.float32), np.ones((32, 40), bool)), process={})
    with h5py.File(path, "r+") as file:
        detector = file["/entry_1/instrument_1/detector_1"]
        told = json.loads(detector["pattern_1/json"][()])
        match change:
            case "every pixel bad":
                detector["mask"][...] = 1
            case "negative" | "not finite":
                detector["data"][3, 4] = -5 if change == "negative" else np.inf
            case "another size":
                del detector["mask"]
                detector["mask"] = np.zeros((32, 41), np.uint32)
            case "an offset":
                told["offset"] = [0.0, 0.3]
            case "a type":
                told["geometry"]["distance"] = "far"
            case "a list":
                told = [told]
        text = "{" if change == "no JSON" else json.dumps(told)
        del detector["pattern_1/json"]
        detector["pattern_1/json"] = text
    if change == "nothing":
        assert read(path).shape == (32, 40)
        return
    with pytest.raises(InputError, match="changed after it was written|cannot be read as HDF5"):
        read(path)


def counts(shape=(32, 40)) -> np.ndarray:
    rng = np.random.default_rng(0)
    F = np.fft.fftshift(np.fft.fftn(letter(shape) * np.exp(1j * rng.normal(size=shape))))
    return rng.poisson(np.abs(F) ** 2 * 20).astype(np.uint32)


def quiet(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)
        return read(*args, **kwargs)


def test_a_measured_cxi_brings_mask_and_geometry(tmp_path):
    mask = np.zeros((32, 40), np.uint32)
    mask[4], mask[5], mask[6] = 0x1000, 0x10, 0x1001
    for energy, units, match in (
        (8500 * JOULE, None, None),
        (8500.0, None, "8500 eV"),
        (8.5, None, "8.5 keV"),
        (8.5, "keV", None),
    ):
        with h5py.File(tmp_path / "m.cxi", "w") as f:
            f["cxi_version"] = 140
            d = f.create_group("entry_1/instrument_1/detector_1")
            d["data"], d["mask"], d["distance"] = counts(), mask, 2.0
            d["x_pixel_size"], d["y_pixel_size"] = 5e-5, 6e-5
            f["entry_1/instrument_1/source_1/energy"] = energy
            if units:
                f["entry_1/instrument_1/source_1/energy"].attrs["units"] = units
            f["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        p = quiet(tmp_path / "m.cxi", centre=(16, 20))
        assert p.geometry.wavelength == pytest.approx(1.45864e-10, rel=1e-4)
        assert p.geometry.distance == 2.0 and p.geometry.pixel_size == (6e-5, 5e-5)
        measured = np.fft.fftshift(p.measured)
        assert measured[4].all() and not measured[5:7].any() and measured.sum() == 30 * 40
        assert p.source.dataset == "/entry_1/instrument_1/detector_1/data"
        assert (match is None and p.warnings == ()) or any(match in w for w in p.warnings)


def test_the_nexus_default_decides_among_several(tmp_path):
    with h5py.File(tmp_path / "n.nxs", "w") as f:
        f["entry/a"] = counts() * 0
        f["entry/plot/b"] = counts()
        f.attrs["default"], f["entry"].attrs["default"], f["entry/plot"].attrs["signal"] = "entry", "plot", "b"
    p = quiet(tmp_path / "n.nxs", centre=(16, 20))
    assert p.source.dataset == "/entry/plot/b"
    assert quiet(tmp_path / "n.nxs", data="/entry/plot", centre=(16, 20)).photons == p.photons


def test_the_only_dataset_needs_no_name_and_one_frame_is_an_image(tmp_path):
    with h5py.File(tmp_path / "o.h5", "w") as f:
        f["x/y"], f["x/energies"], f["t"] = counts()[None], np.arange(5), "text"
    p = quiet(tmp_path / "o.h5", centre=(16, 20))
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), counts())
    assert p.source.dataset == "/x/y"


def test_an_object_of_pynx_is_read_and_is_no_measurement(tmp_path):
    image = letter((32, 40))
    with h5py.File(tmp_path / "p.cxi", "w") as f:
        f["cxi_version"] = 150
        f["entry_1/image_1/data"], f["entry_1/image_1/mask"] = image, (image != 0).astype(np.int8)
        f["entry_1/image_1/support"] = h5py.SoftLink("/entry_1/image_1/mask")
        f["entry_1/image_1/data_space"] = "real"
        f["entry_1/image_1/process_1/program"] = "PyNX"
        f["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/image_1/data")
    back = read_object(tmp_path / "p.cxi")
    np.testing.assert_array_equal(back.image, image)
    np.testing.assert_array_equal(back.support, image != 0)
    assert back.process == {"program": "PyNX"} and back.voxel_size is None
    with pytest.raises(InputError, match="reconstruction and no measurement"):
        read(tmp_path / "p.cxi")


def test_objects_in_numpy_files(tmp_path):
    image = letter((31, 40))
    np.save(tmp_path / "o.npy", image)
    np.savez(tmp_path / "o.npz", psi=image, support=image != 0, errors=np.ones((9, 9)))
    np.savez(tmp_path / "i.npz", image=image.real, other=image)
    np.testing.assert_array_equal(read_object(tmp_path / "o.npy").image, image)
    back = read_object(tmp_path / "o.npz")
    np.testing.assert_array_equal(back.image, image)
    np.testing.assert_array_equal(back.support, image != 0)
    np.testing.assert_array_equal(read_object(tmp_path / "i.npz").image, image.real)
    np.save(tmp_path / "o.npy", image * np.nan)
    with pytest.raises(InputError, match="NaN"):
        read_object(tmp_path / "o.npy")


def test_a_compressed_detector_file_is_read(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "d.h5", "w") as f:
        f.create_dataset("data", data=counts(), **hdf5plugin.Bitshuffle())
    assert quiet(tmp_path / "d.h5", centre=(16, 20)).photons == counts().sum()
