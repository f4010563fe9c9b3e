"""What a NeXus or CXI file says of the data beside them is used, or named."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from nexus_files import bad, counts, group, nexus, quiet, stripe
from untwin.data.read import read
from untwin.errors import GuessWarning, InputError

I = counts()
DETECTOR = "/entry/instrument/eiger"


def test_a_file_that_names_no_default_is_read_without_a_word(tmp_path):
    nexus(tmp_path / "a.nxs", I).close()
    p = read(tmp_path / "a.nxs")
    assert p.warnings == () and p.source.dataset == f"{DETECTOR}/data"
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I)


@pytest.mark.parametrize("name", ["pixel_mask", "pixel_mask_3", "data_mask", "mask", "dead_pixels", "bad_pixels", "hot_pixel_mask"])
@pytest.mark.parametrize("through", ["default", "link", "data"])
def test_a_mask_of_the_detector_is_used_however_the_data_are_named(tmp_path, name, through):
    nexus(tmp_path / "a.nxs", I, **{name: stripe(40)}).close()
    path = {"default": None, "link": "/entry/data/data", "data": f"{DETECTOR}/data"}[through]
    if name == "hot_pixel_mask":  # none that NeXus knows: named
        with pytest.warns(GuessWarning, match=f"not used: {DETECTOR}/{name}"):
            read(tmp_path / "a.nxs", path)
        return
    p = read(tmp_path / "a.nxs", path)
    np.testing.assert_array_equal(bad(p), stripe(40) != 0)
    assert p.warnings == () and p.source.mask == f"{DETECTOR}/{name}"


def test_every_bit_of_a_pixel_mask_is_a_fault_and_two_bits_of_a_cxi_mask_are_none(tmp_path):
    for name, some in (("pixel_mask", True), ("mask", False)):
        nexus(tmp_path / "a.nxs", I, **{name: stripe(40) * 0x1000 + stripe(41) * 0x10000}).close()
        assert bad(quiet(tmp_path / "a.nxs")).any() == some


def test_a_mask_that_an_attribute_names_is_used(tmp_path):
    with nexus(tmp_path / "a.nxs", I) as f:
        f["calibration/of_march"] = stripe(7)
        f[DETECTOR]["data"].attrs["mask"] = np.bytes_("/calibration/of_march")
    np.testing.assert_array_equal(bad(read(tmp_path / "a.nxs", "/entry/data/data")), stripe(7) != 0)


def test_masks_are_combined_and_one_of_them_can_be_chosen(tmp_path):
    with nexus(tmp_path / "a.nxs", I, pixel_mask=stripe(40), pixel_mask_1=stripe(41)) as f:
        f["entry/data/mask"] = h5py.SoftLink(f"{DETECTOR}/pixel_mask")  # the same one again
        f["entry/data/data_mask"] = stripe(50)
    with pytest.warns(GuessWarning, match="3 masks go with the data and are combined"):
        p = read(tmp_path / "a.nxs", "/entry/data/data")
    np.testing.assert_array_equal(bad(p), (stripe(40) + stripe(41) + stripe(50)) != 0)
    one = quiet(tmp_path / "a.nxs", mask=f"{DETECTOR}/pixel_mask_1")
    np.testing.assert_array_equal(bad(one), stripe(41) != 0)


def test_the_mask_of_another_shape_is_named_and_a_mask_that_is_meant_is_refused(tmp_path):
    nexus(tmp_path / "a.nxs", I, pixel_mask=stripe(40, (128, 48)), dead_pixels=np.array([[1, 2], [3, 4]])).close()
    with pytest.warns(GuessWarning, match=f"not used: {DETECTOR}/dead_pixels, {DETECTOR}/pixel_mask"):
        assert read(tmp_path / "a.nxs").measured.all()
    nexus(tmp_path / "b.nxs", I, mask=stripe(40, (128, 48))).close()
    with pytest.raises(InputError, match="crop or pad"):
        read(tmp_path / "b.nxs")


def test_nan_in_a_mask_is_bad_and_said(tmp_path):
    mask = stripe(40, dtype="f4")
    mask[3, 4] = np.nan
    nexus(tmp_path / "a.nxs", I, mask=mask).close()
    np.savez(tmp_path / "a.npz", intensity=I, mask=mask)
    np.save(tmp_path / "m.npy", mask)
    for path, options in (("a.nxs", {}), ("a.npz", {}), ("a.npz", {"mask": tmp_path / "m.npy"})):
        p = quiet(tmp_path / path, **options)
        assert bad(p).sum() == 49 and any("1 pixel of the mask" in w and "NaN: taken as bad" in w for w in p.warnings)


# what the detector cannot have counted right


def test_saturation_and_underload_are_masked_whatever_the_mask(tmp_path):
    J = I.copy()
    J[5, 5:9] = -7
    top = np.sort(J.ravel())[-3]
    nexus(tmp_path / "a.nxs", J, saturation_value=top, underload_value=0, pixel_mask=stripe(60)).close()
    for options, row in (({}, 60), ({"mask": stripe(50)}, 50)):
        with pytest.warns(GuessWarning) as said:
            p = read(tmp_path / "a.nxs", **options)
        np.testing.assert_array_equal(bad(p), (top <= J) | (J < 0) | (stripe(row) != 0))
        assert any("3 pixels are at or above saturation_value" in str(w.message) for w in said)
        assert any("4 pixels are below underload_value" in str(w.message) for w in said)


def test_the_top_of_the_bit_depth_is_masked_in_a_wider_type(tmp_path):
    J = I.copy()
    J[5, 5:7] = 2**16 - 1
    nexus(tmp_path / "a.nxs", J, bit_depth_image=16).close()
    with pytest.warns(GuessWarning, match="2 pixels are at the top of bit_depth_image"):
        assert bad(read(tmp_path / "a.nxs")).sum() == 2
    nexus(tmp_path / "b.nxs", I, bit_depth_image=16, bit_depth_readout=12).close()  # 12 bits, summed
    assert read(tmp_path / "b.nxs").warnings == ()


def test_a_limit_that_is_none_of_these_data_is_named(tmp_path):
    nexus(tmp_path / "a.nxs", I, saturation_value=1).close()
    with pytest.warns(GuessWarning, match="saturation_value = 1 .*is not used: it would mask"):
        assert read(tmp_path / "a.nxs").measured.all()


@pytest.mark.parametrize(("applied", "silent"), [(True, True), (False, False), (None, False)])
def test_a_flat_field_is_named_unless_it_is_applied_already_or_does_nothing(tmp_path, applied, silent):
    more = {} if applied is None else {"flatfield_applied": applied}
    nexus(tmp_path / "a.nxs", I, flatfield=np.full(I.shape, 1.2), **more).close()
    assert (quiet(tmp_path / "a.nxs").warnings == ()) == silent
    nexus(tmp_path / "b.nxs", I, flatfield=np.ones(I.shape), **more).close()
    assert read(tmp_path / "b.nxs").warnings == ()


def test_what_the_user_names_is_not_said_to_be_unused(tmp_path):
    flat, dark = np.full(I.shape, 1.2), np.full(I.shape, 0.5)
    with nexus(tmp_path / "a.nxs", I, flatfield=flat, dark=dark, hot_pixel_mask=stripe(40)) as f:
        f["entry/data/of_march"] = h5py.SoftLink(f"{DETECTOR}/flatfield")
    ways = {f"{DETECTOR}/flatfield": "dark", "/entry/data/of_march": "dark", f"{tmp_path / 'a.nxs'}::{DETECTOR}/dark": "flatfield"}
    for named, left in ways.items():
        option = {"flat": named} if left == "dark" else {"dark": named}
        (said,) = [w for w in quiet(tmp_path / "a.nxs", **option).warnings if "not used" in w]
        assert f"not used: {DETECTOR}/{left}, {DETECTOR}/hot_pixel_mask. " in said
    whole = quiet(tmp_path / "a.nxs", flat=f"{DETECTOR}/flatfield", dark=f"{DETECTOR}/dark", mask=f"{DETECTOR}/hot_pixel_mask")
    assert not any("not used" in w for w in whole.warnings) and (bad(whole) == (stripe(40) != 0)).all()
    nexus(tmp_path / "b.nxs", I, flatfield=flat).close()
    (said,) = [w for w in quiet(tmp_path / "a.nxs", flat=f"{tmp_path / 'b.nxs'}::{DETECTOR}/flatfield").warnings if "not used" in w]
    assert f"not used: {DETECTOR}/dark, {DETECTOR}/flatfield, " in said


def test_a_flat_beside_the_data_does_not_hide_which_array_the_data_are(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["scan"], f["flat"], f["dark"] = I, np.full(I.shape, 0.9), np.ones(I.shape)
    p = quiet(tmp_path / "a.h5")
    assert p.source.dataset == "/scan" and len(p.warnings) == 1 and "/dark, /flat" in p.warnings[0]


def test_a_count_rate_that_nobody_corrected_is_said_where_it_is_high(tmp_path):
    for seconds, words in ((1e-3, 1), (10.0, 0)):
        nexus(tmp_path / "a.nxs", I, countrate_correction_applied=0, count_time=(seconds, "s")).close()
        assert len(quiet(tmp_path / "a.nxs").warnings) == words


# geometry

LENGTHS = {"distance": (1500.0, "mm"), "y_pixel_size": (50.0, b"um"), "x_pixel_size": (0.1, "mm")}


@pytest.mark.parametrize("where", ["beam", "sample beam", "monochromator", "source", "cxi"])
def test_the_geometry_is_read_wherever_nexus_puts_it(tmp_path, where):
    with nexus(tmp_path / "a.nxs", I, **LENGTHS) as f:
        entry, instrument = f["entry"], f["entry/instrument"]
        if where == "beam":
            group(instrument, "b", "NXbeam", incident_wavelength=(1.5, "angstrom"))
        elif where == "sample beam":
            group(group(entry, "s", "NXsample"), "b", "NXbeam", incident_energy=(12.39841984 / 1.5, "keV"))
        elif where == "monochromator":
            group(instrument, "DCM", "NXmonochromator", energy=(12398.41984 / 1.5, "eV"))
        elif where == "source":
            group(instrument, "s", "NXsource", energy=(12.39841984 / 1.5, "keV"))
        else:
            group(f, "entry_1/instrument_1/source_1", None, energy=1.986445857e-25 / 1.5e-10)
        if where != "source":
            group(instrument, "ring", "NXsource", energy=(6.0, "GeV"))
    p = read(tmp_path / "a.nxs")
    g = p.geometry
    assert g.wavelength == pytest.approx(1.5e-10) and g.distance == pytest.approx(1.5) and g.pixel_size == pytest.approx((5e-5, 1e-4))
    assert p.voxel_size == pytest.approx((1.5e-10 * 1.5 / (64 * 5e-5), 1.5e-10 * 1.5 / (48 * 1e-4))) and p.warnings == ()


def test_the_energy_of_electrons_is_no_photon_energy(tmp_path):
    with nexus(tmp_path / "a.nxs", I, **LENGTHS) as f:
        group(f["entry/instrument"], "s", "NXsource", energy=(6.0, "GeV"))
    assert read(tmp_path / "a.nxs").geometry.wavelength is None
    with nexus(tmp_path / "b.nxs", I, **LENGTHS) as f:
        group(f["entry/instrument"], "gun", "NXsource", energy=(200.0, "keV"), probe="electron")
    with pytest.warns(GuessWarning, match="not of photons"):
        assert read(tmp_path / "b.nxs").geometry.wavelength is None


def test_an_energy_that_varies_is_not_used_and_said(tmp_path):
    with nexus(tmp_path / "a.nxs", I) as f:
        group(f["entry/instrument"], "m", "NXmonochromator", energy=([8.0, 8.1, 8.2], "keV"))
    with pytest.warns(GuessWarning, match="energy varies from 8 to 8.2: not used"):
        assert read(tmp_path / "a.nxs").geometry.wavelength is None


def test_the_direct_beam_is_a_question_and_no_centre(tmp_path):
    nexus(tmp_path / "a.nxs", I, beam_center_x=10.0, beam_center_y=50.0).close()
    with pytest.warns(GuessWarning, match=r"direct beam at \(50,10\)"):
        p = read(tmp_path / "a.nxs")
    assert p.source.centre == (32, 24)
    assert read(tmp_path / "a.nxs", centre=(32, 24)).warnings == (), "who says the centre is not asked"
    for y, x in ((32.6, 23.1), (900.0, 24.0)):  # the centre itself; off the detector
        nexus(tmp_path / "b.nxs", I, beam_center_x=(x, "pixel"), beam_center_y=(y, "pixel")).close()
        assert read(tmp_path / "b.nxs").warnings == ()


# files of real writers


def test_a_file_of_bliss_is_read_by_its_silx_address(tmp_path):
    """A scan's own file holds a virtual dataset of the detector's file in a folder below, which reaches its frames through a soft link."""
    (tmp_path / "scan0001").mkdir()
    with h5py.File(tmp_path / "scan0001/eiger_0000.h5", "w") as f:
        f.create_dataset("entry_0000/instrument/Eiger/data", data=I[None], chunks=(1, *I.shape))
        f["entry_0000/measurement/data"] = h5py.SoftLink("/entry_0000/instrument/Eiger/data")
    with h5py.File(tmp_path / "s.h5", "w") as f:
        layout = h5py.VirtualLayout((1, *I.shape), "i4")
        layout[:] = h5py.VirtualSource("scan0001/eiger_0000.h5", "/entry_0000/measurement/data", (1, *I.shape))
        detector = group(group(group(f, "1.1", "NXentry"), "instrument", "NXinstrument"), "eiger", "NXdetector", eiger_mask=stripe(9))
        detector.create_virtual_dataset("data", layout)
        f["1.1/measurement/eiger"] = h5py.SoftLink("/1.1/instrument/eiger/data")
        f["2.1/measurement/eiger"] = counts(seed=1)
    p = read(f"{tmp_path / 's.h5'}::/1.1/measurement/eiger")
    np.testing.assert_array_equal(bad(p), stripe(9) != 0)
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), np.where(bad(p), 0, I))


def test_a_virtual_dataset_reaches_no_other_file_through_a_soft_link(tmp_path):
    (tmp_path / "in").mkdir()
    for path in ("secret.h5", "in/other.h5"):
        with h5py.File(tmp_path / path, "w") as f:
            f["d"] = I
    for target in ("../secret.h5", "other.h5"):
        with h5py.File(tmp_path / "in/a.h5", "w") as f:
            f["outside"] = h5py.ExternalLink(target, "/")
            f["soft"], f["again"] = h5py.SoftLink("/outside/d"), h5py.SoftLink("again")
        for name in ("soft", "again"):
            with h5py.File(tmp_path / "in/b.h5", "w") as f:
                layout = h5py.VirtualLayout(I.shape, "i4")
                layout[:] = h5py.VirtualSource("a.h5", name, I.shape)
                f.create_virtual_dataset("data", layout)
            with pytest.raises(InputError, match="outside the folder|goes through links|round in circles"):
                read(tmp_path / "in/b.h5")


def test_a_file_of_silx_is_read_with_its_mask_and_distance(tmp_path):
    dictdump = pytest.importorskip("silx.io.dictdump")
    detector = {"@NX_class": "NXdetector", "data": I, "pixel_mask": stripe(4), "distance": 2000.0, "distance@units": "mm"}
    plot = {"@NX_class": "NXdata", "@signal": "data", ">data": "../instrument/eiger/data"}
    entry = {"@NX_class": "NXentry", "@default": "plot", "instrument": {"@NX_class": "NXinstrument", "eiger": detector}, "plot": plot}
    dictdump.dicttonx({"@NX_class": "NXroot", "@default": "entry", "entry": entry}, str(tmp_path / "s.h5"))
    p = read(tmp_path / "s.h5")
    assert p.geometry.distance == pytest.approx(2) and p.warnings == ()
    np.testing.assert_array_equal(bad(p), stripe(4) != 0)


# shapes that are declared


def test_axes_without_an_end_are_sound_however_large_their_chunks(tmp_path):
    """HDF5 takes no memory for a chunk that is not packed: this file is small, and its chunk declares 512 MB."""
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset("data", data=I, maxshape=(None, None), chunks=(64, 48))
        f.create_dataset("fill", I.shape, "f4", maxshape=(None, None), chunks=(2**14, 2**13))
    np.testing.assert_array_equal(np.fft.fftshift(read(f"{tmp_path / 'a.h5'}::/data").intensity), I)
    with pytest.raises(InputError, match="never written"):
        read(f"{tmp_path / 'a.h5'}::/fill")


def test_what_cannot_be_is_not_called_a_reconstruction(tmp_path):
    for dtype, match in (("c8", "declares .* GiB"), ("f4", "declares .* GiB")):
        with h5py.File(tmp_path / "a.cxi", "w") as f:
            f.create_dataset("entry_1/image_1/data", (2**20, 2**20, 2**20), dtype, chunks=(64, 64, 64))
        with pytest.raises(InputError, match=match):
            read(tmp_path / "a.cxi")
    with h5py.File(tmp_path / "b.cxi", "w") as f:
        f["entry_1/image_1/data"] = I
    with pytest.raises(InputError, match="takes it as a pattern"):
        read(tmp_path / "b.cxi")
    assert read(tmp_path / "b.cxi", "/entry_1/image_1/data").shape == I.shape
