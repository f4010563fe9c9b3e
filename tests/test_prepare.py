"""From frames to a pattern: laws of each step, on small simulated scans with the faults of detectors, and on a measured one."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from rocking import PEAK, SHAPE, light, poisson, scan, without
from untwin.bragg.crop import about, oversampling
from untwin.bragg.curvature import deviation
from untwin.bragg.prepare import prepare
from untwin.bragg.window import match
from untwin.data.measurement import Pattern
from untwin.errors import GuessWarning, InputError
from untwin.fourier import is_fast


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return light()


@pytest.fixture(scope="module")
def counts(expected) -> np.ndarray:
    return poisson(expected)


def prepared(measured, *guesses: str, **options) -> Pattern:
    """With these guesses, each a pattern of its sentence, and no other."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GuessWarning)
        pattern = prepare(measured, **options)
    sentences = [str(w.message) for w in caught]
    assert len(sentences) == len(guesses), sentences
    assert all(any(re.search(g, s) for s in sentences) for g in guesses), sentences
    assert set(sentences) <= set(pattern.warnings)
    return pattern


def said_by(pattern: Pattern, text: str) -> str:
    """The one step that says this."""
    (sentence,) = (s for s in pattern.preparation if re.search(text, s))
    return sentence


def box(pattern: Pattern) -> tuple[slice, ...]:
    """Of the frames, rows and columns that a pattern holds."""
    ranges = re.findall(r"(?:frames|rows|columns) (-?\d+) to (-?\d+)", said_by(pattern, "^Crop"))
    return tuple(slice(int(a), int(b) + 1) for a, b in ranges)


def centred(pattern: Pattern) -> np.ndarray:
    return np.fft.fftshift(pattern.intensity)


def test_a_good_scan_is_prepared_without_a_word_and_its_counts_are_those_of_the_frames(counts):
    p = prepared(scan(counts))
    inside = box(p)
    assert np.array_equal(centred(p), counts[inside]) and p.measured.all() and p.counted
    assert tuple(s.start + n // 2 for s, n in zip(inside, p.shape)) == PEAK == p.source.centre
    assert all(n % 2 == 0 and is_fast(n) for n in p.shape) and p.sensitivity is None and p.dark is None


def test_the_pattern_is_in_the_geometry_of_its_zero_frequency(counts):
    measured = scan(counts)
    p = prepared(measured)
    b = measured.instrument.sampling(*PEAK)
    assert np.allclose(p.geometry.sampling, b, rtol=1e-12)
    assert np.allclose(p.geometry.q, measured.instrument.q(PEAK[0], np.array(PEAK[1]), np.array(PEAK[2]), PEAK[0]), rtol=1e-12)
    assert np.allclose(np.prod(p.shape) * abs(np.linalg.det(p.geometry.voxel_vectors(p.shape))), (2 * np.pi) ** 3 / abs(np.linalg.det(b)))


def test_a_direct_beam_that_nobody_knows_is_put_where_the_angles_are_those_of_the_peak(counts):
    measured = scan(counts)
    lost = replace(measured, instrument=replace(measured.instrument, direct_beam=(np.nan, np.nan)))
    p = prepared(lost, "where the direct beam falls is not known")
    there = replace(measured.instrument, direct_beam=PEAK[1:])
    assert np.allclose(p.geometry.q, there.geometry(*PEAK).q, rtol=1e-12)


@pytest.mark.parametrize("phase", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("number", [1e4, 1e6, 1e8])
def test_strained_crystals_are_about_their_peak_and_lose_none_of_their_light(phase, number):
    p = prepared(scan(poisson(light(number, phase=phase))))
    assert max(abs(a - b) for a, b in zip(p.source.centre, PEAK)) <= 3
    assert p.photons > 0.95 * number


def test_a_large_scan_is_cropped_to_as_many_voxels_as_asked_and_says_what_is_left_out(counts):
    p = prepared(scan(counts), largest=24 * 48 * 48, binning=(1, 1, 1))
    assert np.prod(p.shape) <= 24 * 48 * 48
    share = float(re.search(r"with ([\d.]+) % of all counts", said_by(p, "^Crop"))[1])
    assert abs(share / 100 - p.photons / counts.sum()) < 0.002


def test_faces_and_oversampling_are_those_of_the_pattern(counts):
    p = prepared(scan(counts), crop=(32, 64, 80))
    c = centred(p)
    faces = [max(np.take(c, i, axis).max() for i in (0, -1)) for axis in range(3)]
    assert "has {:.0f}, {:.0f} and {:.0f} counts".format(*faces) in said_by(p, "faces")
    frames, rows, columns = oversampling(c, np.ones(c.shape, bool))
    assert (
        0.7 < frames * 8 / 48 < 1.4 and 0.7 < rows * 17 / 96 < 1.4 and 0.7 < columns * 21 / 112 < 1.4
    )  # of the box that the crystal is cut of


@pytest.mark.parametrize("gone", ["frame", "rows"])
def test_the_oversampling_survives_what_was_not_measured(counts, gone):
    good = np.ones(counts.shape, bool)
    good[PEAK[0] + 1 if gone == "frame" else slice(None), slice(52, 55) if gone == "rows" else slice(None)] = False
    all_of_it, rest = oversampling(counts, np.ones(counts.shape, bool)), oversampling(np.where(good, counts, 0), good)
    assert np.allclose(all_of_it, rest, rtol=0.2)


def test_behind_a_stop_the_oversampling_cannot_be_told(counts):
    behind = counts.copy()
    behind[:, 40:60, 50:66] = 0
    p = prepared(scan(behind), "a gap of the detector, a stop")
    assert "cannot be told" in said_by(p, "oversampling")


def test_binning_adds_counts_up_and_leaves_the_voxels_as_they_are(counts):
    one, two = (prepared(scan(counts), crop=(40, 80, 96), binning=b) for b in (None, (2, 1, 1)))
    assert np.array_equal(centred(one).reshape(20, 2, 80, 96).sum(1), centred(two))
    assert np.allclose(one.voxel_size, two.voxel_size)
    half = np.array(two.geometry.sampling)[0] / 4  # the middle of two frames is half a frame on, a quarter of two
    assert np.allclose(np.array(two.geometry.q) - one.geometry.q, half)


def test_an_axis_with_ample_sampling_is_binned_before_fringes_are_cut_off():
    wide = np.repeat(light(size=(4.0, 17.0, 21.0)), 1, 0)
    p = prepared(scan(poisson(wide)), largest=24 * 90 * 108)
    assert "2 frames become one" in said_by(p, "^Binning") and np.prod(p.shape) <= 24 * 90 * 108


# Faults of the detector


def test_hot_pixels_that_are_brighter_than_the_peak_are_masked_and_do_not_draw_it(counts):
    hot = counts.copy()
    hot[:, 20, 30] = poisson(np.full(len(hot), 10.0 * counts.max()), 1)
    hot[10, 70, 80] = 5 * counts.max()
    p = prepared(scan(hot), r"2 isolated pixels .* at \(20, 30\), \(70, 80\)")
    assert p.source.centre == PEAK
    f, r, c = box(p)
    good = np.fft.fftshift(p.measured)
    assert not good[:, 20 - r.start, 30 - c.start].any() and not good[10 - f.start, 70 - r.start, 80 - c.start]
    assert np.array_equal(centred(p)[good], counts[f, r, c][good])


def test_gaps_and_dead_rows_are_not_measured(counts):
    for value, sentence in ((0, "rows 60 to 62"), (-1, "gap code -1")):
        gap = counts.copy()
        gap[:, 60:63] = value
        p = prepared(scan(gap), sentence)
        good = np.fft.fftshift(p.measured)
        rows = np.arange(box(p)[1].start, box(p)[1].stop)
        assert not good[:, (rows >= 60) & (rows < 63)].any() and good[:, (rows < 60) | (rows >= 63)].all()


def test_bad_pixels_of_the_files_and_of_the_user_are_not_measured(counts):
    measured, bad, mask = scan(counts), np.zeros(SHAPE[1:], bool), np.zeros(SHAPE[1:], int)
    bad[40, 50], mask[42, 60] = True, 1
    p = prepared(replace(measured, frames=replace(measured.frames, bad=bad)), mask=mask)
    _, r, c = box(p)
    assert np.array_equal(~np.fft.fftshift(p.measured), np.broadcast_to((bad | (mask > 0))[r, c], p.shape))


def test_frames_that_are_missing_or_empty_are_not_measured(counts):
    empty = counts.copy()
    empty[20] = 0
    for measured, sentence in ((without(scan(counts), 20), "step over frame 20 of 48"), (scan(empty), "frame 20 of 48 holds nothing")):
        p = prepared(measured, sentence)
        frames = np.fft.fftshift(p.measured).all((1, 2))
        assert np.flatnonzero(~frames).tolist() == [20 - box(p)[0].start] and p.source.centre == PEAK


def test_frames_that_the_files_lack_and_saturated_pixels_are_not_measured(counts):
    measured, absent = scan(counts), np.zeros(len(counts), bool)
    absent[20] = True
    frames = replace(measured.frames, absent=absent, saturation=0.8 * counts.max())
    p = prepared(replace(measured, frames=frames), "voxels count .* or more, where the detector saturates")
    f, r, c = box(p)
    expected = (counts[f, r, c] < 0.8 * counts.max()) & ~absent[f, None, None]
    assert np.array_equal(np.fft.fftshift(p.measured), expected)


def test_what_a_crop_has_beyond_the_scan_is_not_measured(counts):
    p = prepared(scan(counts), "from the straight grid", crop=(48, 96, 112))
    assert "reaches beyond the scan" in said_by(p, "^Crop")
    f, r, c = box(p)
    assert p.measured.sum() == np.prod([min(s.stop, n) - max(s.start, 0) for s, n in zip((f, r, c), SHAPE)])


# Flat field, dark, monitor


@pytest.fixture(scope="module")
def flat() -> np.ndarray:
    """Of a detector of which the frames show a part. Pixels differ by 15 %."""
    return np.random.default_rng(9).normal(1, 0.15, (200, 240)).clip(0.3)


WINDOW = (63, 101)


def shown(flat: np.ndarray) -> np.ndarray:
    return flat[WINDOW[0] : WINDOW[0] + SHAPE[1], WINDOW[1] : WINDOW[1] + SHAPE[2]]


@pytest.fixture(scope="module")
def through(expected, flat) -> np.ndarray:
    return poisson((expected + 0.5) * shown(flat), 3)


def measured_flat(flat: np.ndarray, photons: float) -> np.ndarray:
    return np.random.default_rng(4).poisson(photons * flat)


def test_the_window_of_the_flat_is_found_and_the_counts_stay_counts(through, flat):
    p = prepared(scan(through, flat=measured_flat(flat, 2000)))
    assert f"rows {WINDOW[0]} to {WINDOW[0] + SHAPE[1] - 1} and columns {WINDOW[1]} to " in said_by(p, "The frames show")
    f, r, c = box(p)
    assert np.array_equal(centred(p), through[f, r, c])
    true = np.broadcast_to(shown(flat)[r, c], p.shape)
    assert np.abs(np.fft.fftshift(p.sensitivity) / (true / true.mean()) - 1).std() < 0.03


def test_a_window_that_the_files_state_is_confirmed_or_contradicted(through, flat):
    whole = measured_flat(flat, 2000)
    stated = (*WINDOW[:1], SHAPE[1], *WINDOW[1:], SHAPE[2])
    assert "confirmed" in said_by(prepared(scan(through, flat=whole, window=stated)), "The frames show")
    prepared(scan(through, flat=whole, window=(0, SHAPE[1], 0, SHAPE[2])), "but the flat fits them at rows 63 to 158")


def test_a_flat_is_missed_only_where_it_should_show_beside_fringes():
    rng = np.random.default_rng(0)
    flat = rng.normal(1, 0.09, (200, 200))
    r, c = np.mgrid[:64, :64] / 64
    fringes = 300 * np.sin(np.pi * r) * np.sin(np.pi * c) * (1 + 0.9 * np.cos(50 * r) * np.cos(50 * c)) + 20
    total = rng.poisson(fringes * flat[20:84, 30:94])
    own, other = (match(total, np.zeros((64, 64), bool), flat, 0.0, at) for at in ((20, 30), (120, 100)))
    assert not own.absent and own.deviations > 0.5 * own.expected and other.absent


def test_a_dark_of_the_detector_lies_in_the_window_although_the_flat_is_of_a_frame(through, flat):
    dark = np.zeros(flat.shape)
    dark[WINDOW[0] + 48, WINDOW[1] + 60] = 50
    p = prepared(scan(through, flat=shown(measured_flat(flat, 2000)), dark=dark, window=(*WINDOW[:1], SHAPE[1], *WINDOW[1:], SHAPE[2])))
    _, r, c = box(p)
    assert np.argwhere(~np.fft.fftshift(p.measured)[0]).tolist() == [[48 - r.start, 60 - c.start]]
    assert said_by(p, "^Dark") == "Dark: 1 hot pixel, above 1 counts."


def test_a_flat_that_the_frames_do_not_bear_is_doubted(through):
    prepared(scan(through, flat=measured_flat(np.random.default_rng(8).normal(1, 0.15, SHAPE[1:]).clip(0.3), 2000)), "light enough to bear")


def test_a_noisy_flat_is_drawn_towards_one(through, flat):
    """It is nearer to the true one than as it was measured."""
    noisy = measured_flat(flat, 50)
    p = prepared(scan(through, flat=noisy))
    assert "its contrast is lowered" in said_by(p, "Flat field")
    _, r, c = box(p)
    true, raw = shown(flat)[r, c], shown(noisy)[r, c]
    error = [np.std(a / a.mean() - true / true.mean()) for a in (np.fft.fftshift(p.sensitivity)[0], raw)]
    assert error[0] < 0.8 * error[1]


def test_a_flat_that_is_all_noise_is_not_used(counts):
    p = prepared(scan(counts, flat=np.random.default_rng(0).poisson(40.0, SHAPE[1:])), "noise is all there is of its contrast")
    assert p.sensitivity is None


def test_hot_pixels_of_the_dark_are_masked_and_the_rest_of_it_is_in_the_model(expected):
    dark = np.zeros(SHAPE[1:])
    dark[45:55, 30:90] = 0.5
    counts = poisson(expected + dark)
    dark[60, 70] = 100
    p = prepared(scan(counts, dark=dark))
    _, r, c = box(p)
    assert np.array_equal(~np.fft.fftshift(p.measured), np.broadcast_to((dark == 100)[r, c], p.shape))
    assert np.allclose(np.fft.fftshift(p.dark)[0], np.where(dark == 100, 0, dark)[r, c])


def test_a_dark_of_a_longer_time_gives_its_hot_pixels_alone(counts):
    dark = np.ones(SHAPE[1:], int)
    dark[60, 70] = 1000
    p = prepared(scan(counts, dark=dark), "It is not of the time of one frame")
    assert p.dark is None and not p.measured.all()


def test_the_monitor_is_in_the_model_and_frames_without_a_beam_are_not_measured(expected):
    beam = np.random.default_rng(2).uniform(0.8, 1.2, len(expected))
    beam[25] = 0
    counts = poisson(expected * beam[:, None, None])
    p = prepared(scan(counts, monitor=5e4 * beam), r"monitor is 0, NaN or below .* \(25\)")
    f = box(p)[0]
    light_of = np.fft.fftshift(p.sensitivity)[:, 0, 0]
    some = beam[f] > 0
    assert np.allclose(light_of[some] / light_of[some].mean(), beam[f][some] / beam[f][some].mean(), rtol=1e-5)
    assert np.array_equal(np.fft.fftshift(p.measured).all((1, 2)), some)
    prepared(scan(counts, monitor=5e4 * beam), "frame 25 of 48 holds nothing", monitor=False)


# The peak


def test_a_second_crystal_with_a_brighter_but_smaller_peak_is_not_taken_and_masked(expected):
    other = light(2e5, peak=(34, 24, 90), size=(24.0, 40.0, 40.0))
    assert other.max() > expected.max()
    p = prepared(scan(poisson(expected + other)), "another peak at .34, 24, 90.", "the light about .34, 24, 90.* of another crystal")
    assert p.source.centre == PEAK
    f, r, c = box(p)
    hidden = ~np.fft.fftshift(p.measured)
    assert hidden[34 - f.start, 24 - r.start, 90 - c.start]
    assert (other[f, r, c] * hidden).sum() > 0.8 * other.sum() and (expected[f, r, c] * hidden).sum() < 0.01 * expected.sum()
    assert prepared(scan(poisson(expected + other)), "another peak", keep_strays=True).measured.all()


def test_of_two_peaks_that_are_alike_the_user_chooses(expected):
    both = scan(poisson(expected + light(8e5, peak=(34, 24, 90))))
    with pytest.raises(InputError, match=r"two peaks, at \(22, 50, 58\) .* and at \(34, 24, 90\).*centre="):
        prepare(both)
    with pytest.warns(GuessWarning, match="another crystal"):
        assert prepare(both, centre=(22, 50, 58)).source.centre == PEAK


def test_of_two_peaks_with_as_many_counts_the_brighter_is_taken(expected):
    wide = light(1e6, peak=(34, 24, 90), size=(4.0, 6.0, 7.0), background=0.0)
    p = prepared(scan(poisson(expected + wide)), r"another peak at \(3\d, 2\d, 9\d\)", "a second crystal, or a strongly strained one; left")
    assert p.source.centre == PEAK


@pytest.mark.parametrize("phase", [0.0, 2.0, 4.0, 8.0])
def test_the_fringes_of_a_crystal_are_no_other_crystal(phase):
    for number in (1e5, 1e8):
        assert prepared(scan(poisson(light(number, phase=phase, size=(12.0, 12.0, 12.0))))).measured.all()


@pytest.mark.parametrize(
    ("peak", "text"),
    [((22, 3, 58), "3 rows from the edge of 96.*move the detector"), ((4, 50, 58), "4 frames from the edge of 48.*scan further")],
)
def test_a_peak_at_the_edge_is_refused(peak, text):
    with pytest.raises(InputError, match=text):
        prepare(scan(poisson(light(peak=peak))))


@pytest.mark.parametrize("level", [0.05, 50.0])
def test_no_peak_is_refused_however_the_beam_varies(level):
    beam = np.random.default_rng(0).uniform(0.7, 1.3, len(np.arange(SHAPE[0])))
    with pytest.raises(InputError, match="no peak was found"):
        prepare(scan(poisson(np.full(SHAPE, level) * beam[:, None, None])))


# Bad input


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"crop": (64, 64, 64)}, "larger than the scan of 48×96×112.*64 frames of 48"),
        ({"crop": (33, 64, 64)}, "crop has 33 frames.*such as 36"),
        ({"crop": (32, 64)}, "crop=.*expected whole numbers"),
        ({"binning": (1, 4, 1)}, "binning 4 rows would leave an oversampling of 1"),
        ({"binning": (0, 1, 1)}, "binning=.*expected whole numbers"),
        ({"largest": 0}, "largest=0; expected a whole number"),
        ({"centre": (22, 500, 58)}, "outside the scan of 48×96×112"),
        ({"centre": "here"}, "expected the frame, row and column"),
        ({"centre": (22, 2, 58)}, "2 rows from the edge"),
        ({"monitor": np.zeros(48)}, "the monitor is 0 or NaN in every frame"),
        ({"monitor": np.ones(47)}, "one number for each of the 48 frames"),
        ({"mask": np.zeros((9, 9))}, "mask has shape .9, 9."),
        ({"flat": np.ones((50, 300))}, "flat has shape .50, 300.*of another detector"),
        ({"flat": np.random.default_rng(0).uniform(0.5, 1.5, (200, 240))}, "does not tell which part of it they show.*window="),
        ({"flat": np.ones((200, 240)), "window": (0, 10, 0, 10)}, "window .* has 10×10 pixels"),
        ({"flat": np.zeros(SHAPE[1:])}, "flat is 0 or NaN in every pixel"),
        ({"dark": np.zeros((200, 240))}, "dark has shape .*nothing says which part"),
    ],
)
def test_what_cannot_be_is_refused_in_words(counts, options, text):
    with pytest.raises(InputError, match=text):
        prepare(scan(counts), **options)


def test_nothing_to_prepare_is_refused():
    with pytest.raises(InputError, match="no scan"):
        prepare([])
    with pytest.raises(InputError, match="nothing was counted"):
        prepare(scan(np.zeros(SHAPE, np.int32)))


def test_motors_that_do_not_move_are_refused(counts):
    with pytest.raises(InputError, match="Do the motors move"):
        prepare(scan(counts, step=0.0))


# Repeated scans


def test_repeated_scans_are_laid_on_each_other_and_their_counts_added(expected):
    beams = (1.0, 0.5)
    first = poisson(beams[0] * expected, 5)
    second = poisson(beams[1] * light(peak=(PEAK[0] - 3, PEAK[1] + 2, PEAK[2])), 6)
    p = prepared([scan(first), scan(second, label="second")], crop=(32, 80, 96))
    assert "moved by +3, -2, +0" in said_by(p, "second")
    f, r, c = box(p)
    moved = second[f.start - 3 : f.stop - 3, r.start + 2 : r.stop + 2, c]
    assert np.array_equal(centred(p), first[f, r, c] + moved)
    assert abs(float(re.search(r"with ([\d.]+) times the light", said_by(p, "second"))[1]) - 0.5) < 0.01


def test_a_voxel_that_one_scan_did_not_measure_counts_less(expected):
    bad = np.zeros(SHAPE[1:], bool)
    bad[45, 60] = True
    second = scan(poisson(expected, 8), label="second")
    p = prepared([scan(poisson(expected, 7)), replace(second, frames=replace(second.frames, bad=bad))], crop=(32, 80, 96))
    _, r, c = box(p)
    s = np.fft.fftshift(p.sensitivity)[0]
    assert p.measured.all() and abs(s[45 - r.start, 60 - c.start] / np.median(s) - 0.5) < 0.01


def test_scans_of_something_else_are_left_out_and_named(counts):
    other = scan(poisson(light(phase=6.0, size=(16.0, 10.0, 12.0)), 2), label="other")
    coarse = scan(counts, step=0.01, label="coarse")
    empty = scan(poisson(np.full(SHAPE, 0.05)), label="empty")
    p = prepared(
        [scan(counts), other, coarse, empty], "other .* correlate", "coarse .* steps differ", "empty .* no peak", crop=(32, 80, 96)
    )
    assert np.array_equal(centred(p), counts[box(p)]) and "1 of 4 scans" in said_by(p, "added up")


# Where the voxels lie


def test_a_box_has_its_zero_frequency_in_the_pixel_it_was_made_about():
    for binning in ((1, 1, 1), (2, 1, 3)):
        b = about((22, 50, 58), (24, 48, 48), binning)
        assert b.middle == (22, 50, 58) and b.array == tuple(n // k for n, k in zip((24, 48, 48), binning))


def test_a_bent_grid_is_named_and_a_straight_one_measured(counts):
    i = scan(counts).instrument
    small, large = (deviation(i, PEAK, about(PEAK, n)) for n in ((16, 16, 16), (40, 88, 104)))
    assert max(small) < 0.1 < max(large)
    jitter = replace(i, energy=i.energy + np.random.default_rng(0).normal(0, 0.5, i.frames))
    measured = replace(scan(counts), instrument=jitter)
    prepared(measured, "from the straight grid of its middle")


# Through a file


def test_a_prepared_pattern_is_read_back_as_it_was_written(tmp_path, through, flat):
    import untwin as ut
    from untwin.data.cxi import write_pattern

    p = scan(through, flat=measured_flat(flat, 2000), monitor=np.linspace(0.9, 1.1, SHAPE[0])).prepare()
    path = write_pattern(tmp_path / "prepared.cxi", p, process={"command": "prepare"})
    back = ut.read(path)
    assert back.geometry == p.geometry and back.preparation == p.preparation and back.warnings == p.warnings and back.noise == p.noise
    assert all(np.array_equal(getattr(back, name), getattr(p, name)) for name in ("intensity", "measured", "sensitivity"))
    assert np.allclose(back.voxel_size, p.voxel_size)


# A measured scan


def test_scan_54_of_34_id_c_is_prepared_as_by_hand(measured):
    import tifffile

    folder = measured("real/34idc_scan54")
    files = sorted((folder / "frames").glob("*.tif"))
    template = scan(np.zeros((len(files), 256, 256), np.int32), step=0.005)
    instrument = replace(
        template.instrument,
        sample=np.column_stack([np.linspace(-0.279996, 0.720004, len(files)), np.full(len(files), 90.0), np.full(len(files), -5.0)]),
        detector=np.tile([32.174, 12.6346], (len(files), 1)),
        direct_beam=(np.nan, np.nan),
    )
    real = replace(
        template,
        instrument=instrument,
        frames=replace(template.frames, load=lambda k: tifffile.imread(files[k])),
        flat=tifffile.imread(folder / "whitefield.tif"),
        dark=tifffile.imread(folder / "dark.tif"),
    )
    p = prepared(real, "pixels of the flat", "direct beam")
    assert "rows 0 to 255 and columns 0 to 255" in said_by(p, "The frames show")
    assert max(abs(a - b) for a, b in zip(p.source.centre, (99, 126, 127))) <= 2
    assert np.prod(p.shape) <= 96**3 and p.photons > 0.97 * 4.62e7 and p.counted and p.sensitivity.std() > 0.15
    assert np.isclose(np.linalg.norm(p.geometry.q), 26.91e9, rtol=1e-3)
    by_hand = prepared(real, "pixels of the flat", "direct beam", "up to 1.1.* voxels", crop=(96, 96, 96))
    start = [round(c) - 48 for c in by_hand.source.centre]
    raw = np.stack([tifffile.imread(files[k])[start[1] : start[1] + 96, start[2] : start[2] + 96] for k in range(start[0], start[0] + 96)])
    assert np.array_equal(centred(by_hand), np.where(np.fft.fftshift(by_hand.measured), raw, 0))
    assert by_hand.voxel_size == pytest.approx((31.7e-9, 13.4e-9, 13.4e-9), rel=0.02)
