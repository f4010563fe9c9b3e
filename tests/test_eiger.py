"""Frames in several files behind a master are one pattern."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from nexus_files import bad, counts, group, quiet, stripe
from untwin.data import header
from untwin.data.read import read
from untwin.errors import InputError

I = counts((48, 32, 32)).astype(np.uint32)
EACH = 8  # frames in a file
SPECIAL = "/entry/instrument/detector/detectorSpecific"


def series(folder: Path, without: tuple[int, ...] = (), **special) -> Path:
    """As the DECTRIS filewriter writes it; `without`: numbers of data files that are not there."""
    for k in range(len(I) // EACH):
        if k + 1 not in without:
            with h5py.File(folder / f"s_data_{k + 1:06d}.h5", "w") as f:
                f.create_dataset("entry/data/data", data=I[EACH * k : EACH * (k + 1)], chunks=(1, 32, 32))
    with h5py.File(folder / "s_master.h5", "w") as f:
        for k in reversed(range(len(I) // EACH)):
            f[f"entry/data/data_{k + 1:06d}"] = h5py.ExternalLink(f"s_data_{k + 1:06d}.h5", "/entry/data/data")
        group(f, SPECIAL, None, pixel_mask=stripe(20, (32, 32)), flatfield=np.ones((32, 32), "f4"), **special)
        group(f, "entry/instrument/detector", None, detector_distance=(1.5, "m"), x_pixel_size=(7.5e-5, "m"), y_pixel_size=(7.5e-5, "m"))
    return folder / "s_master.h5"


@pytest.mark.parametrize("name", [None, "/entry/data", "entry/data"])
def test_the_frames_of_a_master_are_joined_in_order_under_its_mask(tmp_path, name):
    p = quiet(series(tmp_path), data=name)
    assert p.source.dataset == "/entry/data" and p.source.mask == f"{SPECIAL}/pixel_mask" and p.geometry.distance == 1.5
    np.testing.assert_array_equal(bad(p), stripe(20, I.shape) != 0)
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), np.where(bad(p), 0, I))
    again = quiet(p.source.path, data=p.source.dataset, mask=p.source.mask)
    np.testing.assert_array_equal(again.intensity, p.intensity)


def test_a_cutoff_of_the_count_rate_masks_and_its_table_is_named(tmp_path):
    top = int(np.sort(I[:, stripe(20, (32, 32)) == 0].ravel())[-2])
    path = series(tmp_path, countrate_correction_count_cutoff=top, countrate_correction_table=np.ones((100, 2)))
    p = quiet(path)
    np.testing.assert_array_equal(bad(p), (stripe(20, I.shape) != 0) | (top <= I))
    assert any("2 pixels are at or above countrate_correction_count_cutoff" in w for w in p.warnings)
    assert any(f"not used: {SPECIAL}/countrate_correction_table" in w for w in p.warnings)


def test_a_missing_file_leaves_frames_that_are_not_measured(tmp_path):
    p = quiet(series(tmp_path, without=(3,)), centre=(24, 16, 16))
    assert any("data_000003 is missing: frames 16 to 23 are not measured" in w for w in p.warnings)
    absent = bad(p).all((1, 2))
    assert list(np.flatnonzero(absent)) == list(range(16, 24))


def test_a_scan_that_ends_early_is_as_long_as_its_files(tmp_path):
    p = quiet(series(tmp_path, without=(6,)), centre=(20, 16, 16))
    assert p.shape == (40, 32, 32) and any("missing: data_000006, frames 40 to 47; the scan ends before them" in w for w in p.warnings)


def test_too_many_missing_files_and_none_at_all_are_refused(tmp_path):
    with pytest.raises(InputError, match="16 of 48 frames of /entry/data are missing"):
        read(series(tmp_path, without=(2, 3)))
    for path in tmp_path.glob("s_data*"):
        path.unlink()
    with pytest.raises(InputError, match="none of the data files of /entry/data is there"):
        read(tmp_path / "s_master.h5")


def test_files_outside_the_folder_stay_there(tmp_path):
    (tmp_path / "in").mkdir()
    master = series(tmp_path).rename(tmp_path / "in" / "s_master.h5")
    with h5py.File(master, "r+") as f:
        del f["entry/data/data_000001"]
        f["entry/data/data_000001"] = h5py.ExternalLink("../s_data_000001.h5", "/entry/data/data")
    with pytest.raises(InputError, match="outside the folder"):
        read(master)


def test_a_joined_series_respects_the_limit_of_one_array(tmp_path, monkeypatch):
    path = series(tmp_path)
    monkeypatch.setattr(header, "BUDGET", I.nbytes - 1)
    with pytest.raises(InputError, match="declares"):
        read(path)


def test_frames_of_different_shapes_are_refused(tmp_path):
    path = series(tmp_path)
    with h5py.File(tmp_path / "s_data_000002.h5", "w") as f:
        f["entry/data/data"] = I[:8, :16]
    with pytest.raises(InputError, match="frames of /entry/data differ"):
        read(path)


def test_one_of_the_files_says_where_the_others_are(tmp_path):
    master = series(tmp_path)
    p = quiet(master, data="/entry/data/data_000004")
    assert any("one of 6 datasets of one series; data=/entry/data" in w for w in p.warnings)
    p = quiet(tmp_path / "s_data_000004.h5")
    assert any("s_master.h5 beside it joins all of them" in w for w in p.warnings)


@pytest.mark.parametrize("links", [True, False])
def test_the_virtual_dataset_of_a_master_is_the_series(tmp_path, links):
    path = series(tmp_path)
    with h5py.File(path, "r+") as f:
        layout = h5py.VirtualLayout(I.shape, "u4")
        for k in range(len(I) // EACH):
            layout[EACH * k : EACH * (k + 1)] = h5py.VirtualSource(f"s_data_{k + 1:06d}.h5", "/entry/data/data", (EACH, 32, 32))
            if not links:
                del f[f"entry/data/data_{k + 1:06d}"]
        f["entry/data"].create_virtual_dataset("data", layout)
    p = quiet(path)
    np.testing.assert_array_equal(bad(p), stripe(20, I.shape) != 0)
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), np.where(bad(p), 0, I))
