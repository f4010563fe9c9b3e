"""Raw scans: what a beamline writes is read as it was measured, and what does not belong together is refused or said."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from untwin.bragg.beamlines import TABLE
from untwin.bragg.detectors import detector
from untwin.bragg.diffractometer import Circle, Diffractometer
from untwin.bragg.geometry_file import geometry_text, read_geometry
from untwin.bragg.instrument import Instrument
from untwin.bragg.reading import read_scan
from untwin.bragg.scan import Frames, Scan
from untwin.bragg.stated import Stated
from untwin.errors import InputError
from untwin.simulate.beamline_files import WRITERS, write_scan

N, ROWS, COLUMNS = 12, 20, 26
# by key: what turns, the pixel (m), whether the files have the direct beam, what they do not say
KINDS = {
    "34idc": ("theta", 55e-6, False, {}),
    "id01": ("eta", 55e-6, True, {}),
    "id01-spec": ("eta", 55e-6, True, {}),
    "p10": ("om", 75e-6, False, {}),
    "nanomax": ("gontheta", 55e-6, False, {"distance": 0.65}),
    "cristal": ("omega", 55e-6, False, {"distance": "1.2m", "pixel_size": "55um"}),
    "sixs": ("mu", 55e-6, False, {"distance": 1.1, "pixel_size": 55e-6}),
    "id27": ("nath", 75e-6, True, {"distance": 1.4, "direct_beam": (7.5, 11.25)}),
}

MINE = Diffractometer("mine", (Circle("table", "y+"), Circle("rock", "x-")), (Circle("arm", "y+"),), "y-", "x+", "me")


def counts(n: int = N, seed: int = 1) -> np.ndarray:
    """A peak that passes through, and no two frames alike."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(np.arange(n) - n / 2, np.arange(ROWS) - 9, np.arange(COLUMNS) - 14, indexing="ij")
    return rng.poisson(2 + 500 * np.exp(-(z**2) / 6 - (y**2 + x**2) / 8)).astype(np.int32)


def scan(key: str, energy_step: float = 0.0, n: int = N, **changes) -> Scan:
    """Measured at the beamline of the key, all circles off zero."""
    row = TABLE[key.partition("-")[0]]
    turning, pixel, has_beam, unsaid = KINDS[key]
    rng = np.random.default_rng(3)
    sample = np.tile(np.round(rng.uniform(-30, 30, len(row.sample)), 4), (n, 1))
    detector = np.tile(np.round(rng.uniform(5, 40, len(row.detector)), 4), (n, 1))
    if key == "sixs":  # one stage carries both
        sample[:, 0] = detector[:, 0]
    if not energy_step:
        sample[:, [c.name for c in row.sample].index(turning)] += 0.005 * np.arange(n)
    distance = {"nanomax": 0.65, "cristal": 1.2, "sixs": 1.1, "id27": 1.4}.get(key, 0.5)
    beam = (7.5, 11.25) if has_beam else (np.nan, np.nan)
    instrument = Instrument(row, sample, detector, 9000 + energy_step * np.arange(n), distance, (pixel, pixel), beam)
    values = counts(n)
    frames = Frames(values.shape, values.dtype, lambda k: values[k])
    made = Scan(frames, instrument, monitor=1000.0 + np.arange(n) % 3, exposure=0.25, detector="34idcTIM2" if key == "34idc" else "")
    return replace(made, **changes)


def written(folder: Path, key: str, measured: Scan) -> Path:
    (path,) = write_scan(folder, key, measured)
    return path


@pytest.mark.parametrize("key", WRITERS)
def test_what_a_beamline_writes_is_read_as_it_was_measured(tmp_path, key):
    measured = scan(key)
    again = read_scan(written(tmp_path, key, measured), **KINDS[key][3])
    assert again.frames.shape == measured.frames.shape and again.frames.dtype == measured.frames.dtype
    for k in (0, 5, N - 1):
        np.testing.assert_array_equal(again.frames.load(k), measured.frames.load(k))
    ours, theirs = measured.instrument, again.instrument
    assert theirs.diffractometer is ours.diffractometer
    np.testing.assert_allclose(theirs.sample, ours.sample, rtol=0, atol=1e-8)
    np.testing.assert_allclose(theirs.detector, ours.detector, rtol=0, atol=1e-8)
    np.testing.assert_allclose(theirs.energy, ours.energy, rtol=1e-8)
    np.testing.assert_allclose((theirs.distance, *theirs.pixel_size), (ours.distance, *ours.pixel_size), rtol=1e-9)
    np.testing.assert_allclose(theirs.direct_beam, ours.direct_beam, rtol=1e-9)  # nan where the files do not say
    np.testing.assert_allclose(again.monitor, measured.monitor, rtol=1e-9)
    assert any(f"read as a scan of {ours.diffractometer.name}" in note for note in again.notes)
    assert any(ours.diffractometer.doubt in note for note in again.notes)
    assert not any("missing" in note or "irregular" in note for note in again.notes), again.notes


def notes(again: Scan) -> str:
    return "\n".join(again.notes)


def frames_of(folder: Path) -> list[Path]:
    return sorted((folder / "sample_S0012").iterdir())


# frames and rows


def test_frames_are_read_one_at_a_time_when_they_are_asked_for(tmp_path):
    (path,) = write_scan(tmp_path, "id01", scan("id01"))
    again = read_scan(path)
    (tmp_path / "scan0001" / "mpxgaas_0000.h5").unlink()
    with pytest.raises(InputError, match="not there"):
        again.frames.load(3)


def test_a_frame_lost_at_the_start_is_seen_by_the_sums(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    for k, file in enumerate(frames_of(folder)):
        if k == 0:
            file.unlink()
        else:
            file.rename(file.with_name(f"sample_S0012_{k - 1:05d}.tif"))
    again = read_scan(folder)
    assert again.frames.shape[0] == N - 1 and again.instrument.sample[0, 0] == pytest.approx(scan("34idc").instrument.sample[1, 0])
    assert "frame 0 and row 1 of scan 12 of sample.spec belong together, by their sums" in notes(again)
    assert "row 0 of 12 of scan 12 of sample.spec has no frame" in notes(again)


@pytest.mark.parametrize("counters", [True, False], ids=["by their sums", "by their numbers"])
def test_a_frame_missing_between_others_is_a_point_that_was_not_measured(tmp_path, counters):
    measured = scan("34idc")
    folder = written(tmp_path, "34idc", measured)
    frames_of(folder)[4].unlink()
    if not counters:
        log = folder / "sample.spec"
        log.write_text(log.read_text().replace("ImageTot  ImageMax", "other1  other2"))
    again = read_scan(folder)
    assert again.frames.shape[0] == N and again.frames.absent is not None and list(np.flatnonzero(again.frames.absent)) == [4]
    np.testing.assert_allclose(again.instrument.sample, measured.instrument.sample, atol=1e-8)
    np.testing.assert_array_equal(again.frames.load(5), measured.frames.load(5))
    assert not again.frames.load(4).any() and again.frames.names[4] == ""
    assert "frames are missing at row 4 of 12 of scan 12 of sample.spec" in notes(again)


def test_a_doubled_frame_is_dropped_and_said(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    files = frames_of(folder)
    for k in range(N - 1, 5, -1):
        files[k].rename(files[k].with_name(f"sample_S0012_{k + 1:05d}.tif"))
    shutil.copy(files[5], files[5].with_name("sample_S0012_00006.tif"))
    again = read_scan(folder)
    assert again.frames.shape[0] == N and "of 13 has no row in scan 12 of sample.spec (it is its neighbour once more): not used" in notes(
        again
    )
    np.testing.assert_array_equal(again.frames.load(6), counts()[6])


def test_equal_neighbours_are_said_where_no_log_tells(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    (folder / "sample.spec").unlink()
    shutil.copy(frames_of(folder)[5], frames_of(folder)[6])
    stated = Stated(TABLE["34idc"], {"theta": (0.1, 0.005), "delta": 30.0, "gamma": 10.0}, 9000.0, 0.5, (55e-6, 55e-6))
    assert "are equal in every pixel: one frame twice?" in notes(read_scan(folder / "sample_S0012", geometry=stated))


def test_rows_of_an_aborted_scan_leave_frames_that_are_dropped(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    log = folder / "sample.spec"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:-2], "#C Wed.  Scan aborted after 10 points."]))
    again = read_scan(folder)
    assert again.frames.shape[0] == N - 2
    assert "frames 10 to 11 of 12 have no row" in notes(again) and "was aborted, as its log has it" in notes(again)


@pytest.mark.parametrize(("drop_rows", "said"), [(True, "the last 2 frames have no row"), (False, "the last 2 rows have no frame")])
def test_counts_that_differ_without_sums_are_said(tmp_path, drop_rows, said):
    path = written(tmp_path, "p10", scan("p10"))
    log = path / "sample_00012.fio"
    lines = log.read_text().splitlines()
    end = next(k for k, line in enumerate(lines) if line.startswith("! Acquisition ended"))
    row = lines[end - 1]
    log.write_text("\n".join([*lines[: end - 2], *lines[end:]] if drop_rows else [*lines[:end], row, row, *lines[end:]]))
    again = read_scan(path)
    assert again.frames.shape[0] == (N - 2 if drop_rows else N) and said in notes(again)


def test_the_log_of_another_scan_is_refused_with_the_numbers(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    values = counts(seed=9)
    other = scan("34idc", frames=Frames(values.shape, values.dtype, lambda k: values[k]))
    log = written(tmp_path / "other", "34idc", other) / "sample.spec"
    first = f"{counts()[0].sum():,}"
    with pytest.raises(InputError, match=rf"is the log of another scan: 0 of 12 frames .* begin {first}, .*--number"):
        read_scan(folder / "sample_S0012", log)


def test_the_images_of_other_scans_in_the_folder_are_left_alone_and_one_that_is_missing_is_said(tmp_path):
    folder = written(tmp_path, "id01-spec", scan("id01-spec"))
    (folder / "images" / "data_mpx4_00123.edf").unlink()
    again = read_scan(folder)
    assert again.frames.shape[0] == N and "frames are missing at row 3 of 12" in notes(again)
    np.testing.assert_array_equal(again.frames.load(11), counts()[11])
    for file in (folder / "images").iterdir():
        file.rename(file.with_name(file.name.replace("001", "009")))
    with pytest.raises(InputError, match="has the frames 120 to 131 .* log of another scan"):
        read_scan(folder)


def test_a_missing_data_file_of_an_eiger_leaves_points_that_were_not_measured(tmp_path):
    values = counts(320)
    path = written(tmp_path, "p10", scan("p10", n=320, frames=Frames(values.shape, values.dtype, lambda k: values[k])))
    again = read_scan(path)
    np.testing.assert_array_equal(again.frames.load(215), values[215])
    assert again.instrument.distance == 0.5  # by the log: nobody sets that of the master file
    assert again.exposure == 0.25 and again.frames.bad is not None and not again.frames.bad.any()
    (path / "e4m" / "sample_00012_data_000002.h5").unlink()
    with pytest.raises(InputError, match="100 of 320 frames"):
        read_scan(path)


# which scan


def test_the_number_chooses_the_scan(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    log = folder / "sample.spec"
    block = log.read_text()[log.read_text().index("#S 12") :]
    log.write_text(log.read_text() + "\n" + block.replace("#S 12", "#S 13") + "\n" + block)
    assert read_scan(log, folder / "sample_S0012", number=13).frames.shape[0] == N
    with pytest.raises(InputError, match=r"scan 12 stands 2 times in sample.spec: 12 with 12 rows, 12.2 with 12 rows"):
        read_scan(folder, number=12)
    assert "scan 12.2 of" not in notes(read_scan(folder, number="12.2"))
    with pytest.raises(InputError, match="has no scan 99; it has"):
        read_scan(folder, number=99)
    with pytest.raises(InputError, match="expected the number of a scan"):
        read_scan(folder, number="last")


def test_an_entry_or_its_number_chooses_in_a_file_of_several_scans(tmp_path):
    import h5py

    path = written(tmp_path, "id01", scan("id01"))
    with h5py.File(path, "a") as file:
        file.copy("sample_12.1", "sample_13.1", expand_external=False)
    with pytest.raises(InputError, match="2 scans with frames: sample_12.1, sample_13.1"):
        read_scan(path)
    assert read_scan(path, number=13).label == "sample sample_13.1"
    assert read_scan(f"{path}::/sample_12.1").label == "sample sample_12.1"
    with pytest.raises(InputError, match="has no /sample_1.1"):
        read_scan(f"{path}::/sample_1.1")
    with pytest.raises(InputError, match="has no scan 5"):
        read_scan(path, number=5)


def test_a_master_file_alone_finds_its_log_and_a_log_its_frames(tmp_path):
    path = written(tmp_path, "p10", scan("p10"))
    for named in (path / "e4m" / "sample_00012_master.h5", path / "sample_00012.fio"):
        np.testing.assert_array_equal(read_scan(named).frames.load(4), counts()[4])
    folder = written(tmp_path / "b", "34idc", scan("34idc"))
    assert read_scan(folder / "sample.spec", number=12).frames.shape[0] == N
    (path / "sample_00012.fio").unlink()
    with pytest.raises(InputError, match="no log"):
        read_scan(path)


def test_the_folder_of_a_scan_of_bliss_is_the_scan(tmp_path):
    write_scan(tmp_path, "id01", scan("id01"))
    np.testing.assert_array_equal(read_scan(tmp_path).frames.load(4), counts()[4])


def test_a_stack_in_any_hdf5_file_is_a_scan_with_a_geometry(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["here/frames"] = counts()
        file["table"] = np.ones((4, 4))
    stated = Stated(MINE, {"rock": (1.0, 0.002)}, 9500.0, 0.8, (50e-6, 60e-6), (-3000.0, 13.0))
    for named in ("x.h5", "x.h5::here/frames"):
        np.testing.assert_array_equal(read_scan(tmp_path / named, geometry=stated).frames.load(4), counts()[4])


def test_a_detector_in_the_beam_asks_where_the_beam_falls(tmp_path):
    path = written(tmp_path / "a", "id27", scan("id27"))
    with pytest.raises(
        InputError, match=r"the detector of ESRF ID27 has no circles, and nothing says where the direct beam .*--direct-beam"
    ):
        read_scan(path, distance=1.4)
    measured = scan("34idc")
    still = replace(measured, instrument=replace(measured.instrument, detector=0 * measured.instrument.detector))
    with pytest.raises(InputError, match="all angles of the detector of APS 34-ID-C are 0"):
        read_scan(written(tmp_path / "b", "34idc", still))


def test_a_scan_of_two_circles_at_once_is_not_written_at_soleil(tmp_path):
    measured = scan("cristal")
    moved = measured.instrument.sample[:, :1] - measured.instrument.sample[0, 0]
    both = replace(measured, instrument=replace(measured.instrument, sample=measured.instrument.sample[:1] + moved))
    with pytest.raises(InputError, match="a scan of omega, phi is not known"):
        written(tmp_path, "cristal", both)


def test_links_of_hdf5_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    write_scan(tmp_path / "in", "id01", scan("id01"))
    (tmp_path / "in" / "scan0001").rename(tmp_path / "scan0001")
    import h5py

    with h5py.File(tmp_path / "in" / "sample.h5", "a") as file:
        del file["sample_12.1/instrument/mpxgaas/data"]
        file["sample_12.1/instrument/mpxgaas/data"] = h5py.ExternalLink("../scan0001/mpxgaas_0000.h5", "/entry_0000/measurement/data")
    with pytest.raises(InputError, match="no scan with frames"):
        read_scan(tmp_path / "in" / "sample.h5")


# angles, energies, lengths


@pytest.mark.parametrize(("key", "circle"), [("34idc", "phi"), ("p10", "phi"), ("p10", "om")])
def test_a_zero_that_sources_disagree_on_is_said_where_it_matters(tmp_path, key, circle):
    measured = scan(key)
    sample = np.tile(measured.instrument.sample[0], (N, 1))
    sample[:, [c.name for c in TABLE[key].sample].index(circle)] += 0.01 * np.arange(N)
    again = read_scan(written(tmp_path, key, replace(measured, instrument=replace(measured.instrument, sample=sample))))
    assert ("phi is carried by chi: cohere_beamlines takes chi as the log has it" in notes(again)) == (circle == "phi")


@pytest.mark.parametrize("key", ["34idc", "id01", "id01-spec", "p10", "nanomax"])
def test_a_scan_of_the_energy_needs_no_angle_that_moves(tmp_path, key):
    measured = scan(key, energy_step=0.5)
    again = read_scan(written(tmp_path, key, measured), **KINDS[key][3])
    np.testing.assert_allclose(again.instrument.energy, measured.instrument.energy, rtol=1e-9)
    assert np.ptp(again.instrument.sample) == np.ptp(measured.instrument.sample[0])


def test_angles_that_do_not_move_are_refused(tmp_path):
    still = scan("id01")
    still = replace(still, instrument=replace(still.instrument, sample=0 * still.instrument.sample + 3))
    with pytest.raises(InputError, match="neither an angle nor the energy changes from frame to frame"):
        read_scan(written(tmp_path, "id01", still))


def test_what_drifts_beside_the_scan_is_used_as_it_was_read_back(tmp_path):
    measured = scan("id01")
    energy = measured.instrument.energy + 0.05 * np.arange(N) + 0.1 * np.sin(7.0 * np.arange(N))
    again = read_scan(written(tmp_path, "id01", replace(measured, instrument=replace(measured.instrument, energy=energy))))
    np.testing.assert_allclose(again.instrument.energy, energy, rtol=1e-12)
    assert "energy drifts by" in notes(again) and "while eta is scanned" in notes(again)


def test_several_frames_for_each_row_are_refused(tmp_path):
    values = np.repeat(counts(), 3, axis=0)
    path = written(tmp_path, "p10", scan("p10", n=36, frames=Frames(values.shape, values.dtype, lambda k: values[k])))
    log = path / "sample_00012.fio"
    lines = log.read_text().splitlines()
    end = next(k for k, line in enumerate(lines) if line.startswith("! Acquisition ended"))
    log.write_text("\n".join([*lines[: end - 24], *lines[end:]]))
    with pytest.raises(InputError, match="36 frames and 12 rows of the log sample_00012.fio do not belong together: 3 for each"):
        read_scan(path)


def test_irregular_steps_are_said_and_back_and_forth_is_refused(tmp_path):
    measured = scan("id01")
    uneven = measured.instrument.sample.copy()
    uneven[5, 1] += 0.1 * 0.005
    again = read_scan(written(tmp_path / "a", "id01", replace(measured, instrument=replace(measured.instrument, sample=uneven))))
    assert "the steps of eta are irregular" in notes(again)
    uneven[:, 1] = 3 + 0.005 * np.abs(np.arange(N) - 6)
    with pytest.raises(InputError, match="eta does not go in even steps"):
        read_scan(written(tmp_path / "b", "id01", replace(measured, instrument=replace(measured.instrument, sample=uneven))))


@pytest.mark.parametrize(
    ("key", "old", "new", "message"),
    [
        ("p10", "fmbenergy = 9000", "fmbenergy = 9", None),  # keV, by its value
        ("p10", "fmbenergy = 9000", "fmbenergy = 0.9", r"fmbenergy .* = 0.9 is 0.9 eV, at which no crystal is measured"),
        ("id01-spec", "mononrj=9keV", "mononrj=9eV", r"mononrj .* = 9 eV is 9 eV.*In the wrong unit\? energy='9keV'"),
        ("34idc", " 500 9", " 0.5 9", r"camdist .* = 0.5 mm is 0.0005 m; expected 0.02 to 50 m"),
    ],
)
def test_energies_and_distances_in_the_wrong_unit(tmp_path, key, old, new, message):
    folder = written(tmp_path, key, scan(key))
    log = next(p for p in folder.iterdir() if p.suffix in (".spec", ".fio"))
    assert old in log.read_text()
    log.write_text(log.read_text().replace(old, new))
    if message is None:
        again = read_scan(folder)
        assert again.instrument.energy[0] == 9000 and "is in keV by its value" in notes(again)
        return
    with pytest.raises(InputError, match=message):
        read_scan(folder)


def test_options_come_before_what_the_files_say(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    again = read_scan(folder, energy="10keV", distance="0.7m", pixel_size="50um", direct_beam=(3, 4))
    i = again.instrument
    np.testing.assert_allclose((i.energy[0], i.distance, *i.pixel_size, *i.direct_beam), (10_000, 0.7, 50e-6, 50e-6, 3, 4), rtol=1e-12)
    with pytest.raises(InputError, match=r"energy=100 is 100 eV.*wrong unit\? energy='100keV'"):
        read_scan(folder, energy=100)


@pytest.mark.parametrize(("key", "missing"), [("nanomax", "how far the detector was"), ("cristal", "how far the detector was")])
def test_what_no_file_says_is_asked_for(tmp_path, key, missing):
    with pytest.raises(InputError, match=missing):
        read_scan(written(tmp_path, key, scan(key)), pixel_size="55um")
    with pytest.raises(InputError, match="how large the pixels"):
        read_scan(written(tmp_path / "b", "cristal", scan("cristal")), distance=1.2)


def test_where_nothing_says_where_the_direct_beam_falls_the_angles_are_those_of_the_peak(tmp_path):
    again = read_scan(written(tmp_path, "34idc", scan("34idc")))
    assert not again.instrument.is_aimed and "the detector's angles are taken as those of the peak" in notes(again)
    aimed = again.instrument.aimed(9, 14)
    assert aimed.is_aimed and aimed.aimed(1, 1).direct_beam == (9.0, 14.0)
    delta, gamma = np.radians(again.instrument.detector[0])  # outside delta about y, inside gamma about -x: the ray to the peak
    expected = (np.sin(delta) * np.cos(gamma), np.sin(gamma), np.cos(delta) * np.cos(gamma))
    np.testing.assert_allclose(aimed.rays(0, np.array(9), np.array(14)), expected, atol=1e-12)


# dark, flat, mask, window


def test_dark_flat_mask_and_window_are_known_by_what_they_are(tmp_path):
    full = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
    measured = scan("34idc", dark=np.zeros((256, 256), np.int32), flat=full, window=(40, ROWS, 100, COLUMNS), detector="34idcTIM1")
    folder = written(tmp_path, "34idc", measured)
    np.save(folder / "mask.npy", np.eye(ROWS, COLUMNS, dtype=np.uint8))
    again = read_scan(folder)
    assert again.window == (40, ROWS, 100, COLUMNS) and again.detector == "34idcTIM1"
    np.testing.assert_array_equal(again.flat, full)
    np.testing.assert_array_equal(again.dark, measured.dark)
    np.testing.assert_array_equal(again.frames.bad, np.eye(ROWS, COLUMNS) != 0)
    for side, name in (("dark", "dark.tif"), ("flat", "whitefield.tif"), ("mask", "mask.npy")):
        assert f"{name} is taken as the {side}" in notes(again)
    other = read_scan(folder, flat=2 * full, mask=np.zeros((ROWS, COLUMNS)))
    np.testing.assert_array_equal(other.flat, 2 * full)
    with pytest.raises(InputError, match=r"the mask has shape \(3, 3\), the frames \(20, 26\)"):
        read_scan(folder, mask=np.zeros((3, 3)))


def test_what_the_frames_leave_out_between_chips_is_put_in_and_not_measured(tmp_path):
    """TIM2: 5 rows before row 256, 4 columns before column 256."""
    flat = np.arange(512 * 512, dtype=np.float32).reshape(512, 512)
    measured = scan("34idc", flat=flat, dark=0 * flat, window=(250, ROWS, 240, COLUMNS))
    again = read_scan(written(tmp_path, "34idc", measured), direct_beam=(10.0, 15.0))
    assert again.frames.shape == (N, ROWS + 5, COLUMNS + 4) and again.window == (250, ROWS + 5, 240, COLUMNS + 4)
    frame, bad = again.frames.load(6), again.frames.bad
    expected = np.zeros((ROWS + 5, COLUMNS + 4), bool)
    expected[6:11] = True
    expected[:, 16:20] = True
    np.testing.assert_array_equal(bad, expected)
    np.testing.assert_array_equal(frame[~expected], measured.frames.load(6).ravel())
    assert again.flat is not None and again.flat.shape == (517, 516)
    first, rows, left, columns = again.window
    np.testing.assert_array_equal(again.flat[first : first + rows, left : left + columns][~expected], flat[250:270, 240:266].ravel())
    assert again.instrument.direct_beam == (15.0, 15.0)


def test_gaps_and_saturation_are_those_of_the_detector(tmp_path):
    values = np.ones((4, 516, 516), np.int32)
    measured = scan("id01", n=4, frames=Frames(values.shape, values.dtype, lambda k: values[k]), monitor=np.ones(4))
    again = read_scan(written(tmp_path, "id01", measured))
    bad = again.frames.bad
    assert again.detector == "mpxgaas" and again.frames.saturation == 1e6 and bad is not None
    assert bad[255:261].all() and bad[:, 255:261].all() and bad.sum() == 2 * 6 * 516 - 36


def test_a_monitor_that_stops_is_not_used(tmp_path):
    monitor = np.ones(N)
    monitor[4] = 0
    again = read_scan(written(tmp_path, "id01", scan("id01", monitor=monitor)))
    assert again.monitor is None and "the monitor imon is not above 0 throughout" in notes(again)


@pytest.mark.parametrize(
    ("name", "shape", "row"),
    [
        ("34idcTIM2", (256, 256), "34idcTIM2"),
        ("lambda", (516, 516), "Lambda"),
        ("mpx1x4", (516, 516), "Maxipix"),
        ("eiger", (3262, 3108), "Eiger 9M"),
        ("Dectris EIGER2 Si 4M", None, "Eiger 4M"),
        ("eiger500k", (10, 10), "Eiger 500K"),
        ("", (515, 515), "Merlin"),
        ("", (516, 516), None),  # two have it
        ("camera", (16, 16), None),
    ],
)
def test_a_detector_is_known_by_its_name_or_by_a_shape_of_its_own(name, shape, row):
    known = detector(name, shape)
    assert (known.name if known else None) == row


# beamlines


def test_a_beamline_that_is_not_known_is_refused_with_the_known_ones(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc"))
    with pytest.raises(InputError, match="beamline 'I16' is not known; known are 34idc"):
        read_scan(folder, beamline="I16")
    log = folder / "sample.spec"
    log.write_text(log.read_text().replace("camdist", "somewhere").replace("34idcTIM2", "camera"))
    with pytest.raises(InputError, match="nothing tells which beamline this is; known are 34idc"):
        read_scan(folder)
    assert read_scan(folder, beamline="34-ID-C", distance=0.5, pixel_size="55um").instrument.diffractometer is TABLE["34idc"]
    with pytest.raises(InputError, match="beamline 'bm02': what it writes is not known"):
        write_scan(tmp_path, "bm02", scan("34idc"))


def test_any_diffractometer_is_read_by_what_is_said_of_it(tmp_path):
    folder = written(tmp_path, "34idc", scan("34idc")) / "sample_S0012"
    stated = Stated(MINE, {"rock": (1.0, 0.002), "arm": 33.0}, 9500.0, 0.8, (50e-6, 60e-6), (3.0, 4.0))
    again = read_scan(folder, geometry=stated)
    i = again.instrument
    np.testing.assert_allclose(i.sample, np.stack([np.zeros(N), 1 + 0.002 * np.arange(N)], axis=1))
    assert (i.detector == 33).all() and (i.energy == 9500).all()
    assert (i.distance, i.pixel_size, i.direct_beam) == (0.8, (50e-6, 60e-6), (3.0, 4.0))
    assert "does not say where table stood: taken as 0 degrees" in notes(again)


def test_a_geometry_names_columns_of_the_log(tmp_path):
    measured = scan("34idc")
    folder = written(tmp_path, "34idc", measured)
    stated = Stated(MINE, {"rock": "Theta", "arm": "del", "table": 2.0}, "Energy", pixel_size=(55e-6, 55e-6), monitor="Monitor")
    again = read_scan(folder, geometry=stated)
    np.testing.assert_allclose(again.instrument.sample[:, 1], measured.instrument.sample[:, 0], atol=1e-8)
    assert again.instrument.distance == 0.5 and again.instrument.energy[0] == 9000 and again.monitor is not None
    with pytest.raises(InputError, match="the angle rock is to be 'wheel', which scan 12 of sample.spec does not have; it has"):
        read_scan(folder, geometry=replace(stated, angles={"rock": "wheel"}))
    with pytest.raises(InputError, match="say the same twice"):
        read_scan(folder, geometry=stated, beamline="id01")


def test_a_new_geometry_finds_the_motors_of_its_beamline_and_its_energy_must_be_possible(tmp_path):
    measured = scan("34idc")
    folder, file = written(tmp_path, "34idc", measured), tmp_path / "geometry.toml"
    text = geometry_text(TABLE["34idc"], "34idc")
    file.write_text(text, encoding="utf-8")
    again = read_scan(folder, geometry=read_geometry(file))
    np.testing.assert_allclose(again.instrument.sample, measured.instrument.sample, atol=1e-8)
    file.write_text(text.replace('# energy = "9 keV"', 'energy = "0.5 keV"'), encoding="utf-8")
    with pytest.raises(InputError, match="the energy of the geometry is 500 eV, at which no crystal is measured"):
        read_scan(folder, geometry=read_geometry(file))


# files that are not what they should be


def test_what_is_no_scan_is_refused(tmp_path):
    for arguments in ((), (tmp_path / "nothing",), (tmp_path,)):
        with pytest.raises(InputError):
            read_scan(*arguments)
    (tmp_path / "notes.txt").write_text("a text")
    with pytest.raises(InputError, match="notes.txt"):
        read_scan(tmp_path / "notes.txt")
    folder = written(tmp_path / "a", "34idc", scan("34idc"))
    for file in frames_of(folder)[2:]:
        file.unlink()
    with pytest.raises(InputError, match="2 files are frames .*; a scan has at least 3"):
        read_scan(folder)


@pytest.mark.parametrize("key", ["34idc", "p10"])
def test_a_log_that_is_cut_short_anywhere_is_read_or_refused(tmp_path, key):
    folder = written(tmp_path, key, scan(key))
    log = next(p for p in folder.iterdir() if p.suffix in (".spec", ".fio"))
    text = log.read_bytes()
    read = 0
    for end in np.linspace(1, len(text), 60).astype(int):
        log.write_bytes(text[:end])
        try:
            again = read_scan(folder)
        except InputError:
            continue
        read += 1
        assert 3 <= again.frames.shape[0] <= N == len(again.instrument.sample) or "not used" in notes(again)
    assert read > 2


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    folder = written(tmp_path / "in", "34idc", scan("34idc"))
    outside = tmp_path / "out"
    (folder / "sample_S0012").rename(outside)
    (folder / "sample_S0012").symlink_to(outside)
    with pytest.raises(InputError, match="0 files are frames"):
        read_scan(folder)


def test_a_measured_scan_is_read_from_its_folder(measured):
    again = read_scan(measured("real/34idc_scan54"))
    i = again.instrument
    assert again.frames.shape == (201, 256, 256) and again.window == (0, 256, 0, 256) and again.detector == "34idcTIM2"
    np.testing.assert_allclose(
        (i.energy[0], i.distance, *i.pixel_size, *i.detector[0]), (9000, 0.5, 55e-6, 55e-6, 32.174, 12.6346), rtol=1e-12
    )
    np.testing.assert_allclose((i.sample[1:, 0] - i.sample[:-1, 0]), 0.005, atol=1e-5)
    assert (i.sample[:, 1:] == (90, -5)).all()
    assert [again.frames.load(99)[126, 127], again.frames.load(99).max()] == [165_297, 165_297]
    assert [int(again.frames.load(k).sum()) for k in (0, 99, 200)] == [4164, 3532344, 3800]  # the log's ImageTot
    assert again.dark is not None and again.flat is not None and again.dark.shape == again.flat.shape == (512, 512)
    assert again.monitor is not None and np.std(again.monitor) / np.mean(again.monitor) == pytest.approx(0.018, abs=0.002)
    assert len(again.notes) == 4, again.notes


def test_millionths_of_a_degree_are_seen(tmp_path):
    import h5py

    path = written(tmp_path, "cristal", scan("cristal"))
    with h5py.File(path, "a") as file:
        file["exp_0012/scan_data/actuator_1_1"][...] *= 1e6
    again = read_scan(path, **KINDS["cristal"][3])
    np.testing.assert_allclose(again.instrument.sample, scan("cristal").instrument.sample, atol=1e-8)
    assert "taken as millionths of a degree" in notes(again)


def test_a_scan_of_bliss_that_ended_early_has_the_points_that_all_columns_have(tmp_path):
    import h5py

    path = written(tmp_path, "id01", scan("id01"))
    with h5py.File(path, "a") as file:
        positions = file["sample_12.1/instrument/positioners"]
        planned = np.concatenate([positions["eta"][...], positions["eta"][-1] + 0.005 * np.arange(1, 9)])
        del positions["eta"]
        positions["eta"] = planned
    again = read_scan(path)
    np.testing.assert_allclose(again.instrument.sample, scan("id01").instrument.sample, atol=1e-8)
    assert "rows beyond 12 are not used. The scan was interrupted?" in notes(again)
