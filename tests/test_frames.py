"""What the third axis of an array is: a volume, exposures of one pattern, patterns of their own; frames that hold nothing; modes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from untwin.data.cxi import read_pattern, write_pattern
from untwin.data.hdf5 import opened
from untwin.data.likeness import likeness
from untwin.data.object import read_object
from untwin.data.read import read
from untwin.data.realspace import resembles_object
from untwin.data.unwritten import empty_frames
from untwin.errors import GuessWarning, InputError


def crystal(shape: tuple[int, ...], seed: int = 0, extent: float = 0.3) -> np.ndarray:
    """A convex complex body, `extent` of the array wide."""
    rng = np.random.default_rng(seed)
    x = np.ix_(*((np.arange(n) - n // 2) / (n * extent) for n in shape))
    inside = np.ones(shape, bool)
    for normal in rng.normal(size=(12, len(shape))):
        inside &= sum(c * a for c, a in zip(normal / np.linalg.norm(normal), x)) < 0.5 * rng.uniform(0.75, 1.0)
    phase = sum(a * b for a, b in zip(rng.normal(size=len(shape)), x)) + 1.2 * np.sin(4 * x[-1] + 1) * np.cos(3 * x[0] + seed)
    return inside * np.exp(1j * phase)


def expected(x: np.ndarray, photons: float) -> np.ndarray:
    I = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))) ** 2
    return I * photons / I.sum()


def counts(x: np.ndarray, photons: float = 1e6, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).poisson(expected(x, photons)).astype(np.int32)


def exposures(n: int, photons: float = 1e5, shape: tuple[int, int] = (64, 48), seed: int = 0) -> np.ndarray:
    I = expected(crystal(shape, seed), photons)
    return np.random.default_rng(seed).poisson(I, (n, *shape)).astype(np.int32)


def quiet_read(source, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)
        return read(source, **options)


def noted(sentence: str, source, **options):
    """The pattern, of which this was said."""
    p = quiet_read(source, **options)
    assert any(re.search(sentence, w) for w in p.warnings), p.warnings
    return p


# a volume stays one


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(16, 32, 40), (48, 32, 32), (96, 24, 32)])
def test_a_volume_is_read_without_a_word_whichever_axis_is_the_rocking_one(shape, axis):
    I = np.moveaxis(counts(crystal(shape), 3e5), 0, axis)
    p = read(np.ascontiguousarray(I))
    assert p.warnings == () and p.doubts == ()
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I)


def test_a_finely_sampled_rocking_curve_is_a_volume():
    """Neighbouring frames correlate at 0.995 and more, as exposures do; but they change slowly all the way."""
    for thick in (4, 8, 12):
        fine = np.zeros((128, 40, 40), complex)
        fine[64 - thick // 2 :][:thick, 12:28, 12:28] = crystal((thick, 16, 16), extent=0.95)
        I = counts(fine, 1e8)
        near = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(I[60:68], I[61:69])]
        assert min(near) > 0.995
        assert read(I).warnings == ()


def test_a_prism_along_the_axis_is_a_volume_although_its_frames_are_alike():
    I = counts(np.pad(np.ones((8, 10, 12)), ((12, 12), (11, 11), (10, 10))), 1e6)
    look = likeness(I.astype(np.float32), np.ones(I.shape, bool))
    assert abs(look.change) < 1e-3 and look.kind == "volume"


def test_few_photons_with_a_peak_are_a_volume():
    for seed in range(5):
        assert read(counts(crystal((32, 32, 32), seed), 2e3), frames=None, centre=(16, 16, 16)).ndim == 3


# exposures are summed


@pytest.mark.parametrize(("n", "photons"), [(2, 1e5), (5, 3e3), (16, 1e5), (30, 300), (100, 1e4)])
def test_exposures_of_one_pattern_are_summed(n, photons):
    I = exposures(n, photons)
    with pytest.warns(GuessWarning, match=rf"the {n} frames of the array differ by no more than noise.*: summed; frames= \(--frames\)"):
        p = read(I, centre=(32, 24))
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I.sum(0))
    assert p.counted and p.doubts == () and p.source.shape == (64, 48) and p.source.centre == (32, 24)


def test_a_beam_that_goes_up_and_down_is_no_peak():
    rng = np.random.default_rng(3)
    I = expected(crystal((48, 48)), 3e4)
    for beam in (rng.uniform(0.7, 1.3, 24), np.linspace(1.3, 0.7, 24), np.where(np.arange(24) < 12, 1.3, 0.7)):
        assert quiet_read(rng.poisson(I * beam[:, None, None])).shape == (48, 48)


def test_exposures_that_are_no_counts_are_averaged():
    I = exposures(12) * np.random.default_rng(4).uniform(0.5, 1.5, (64, 48))
    p = noted("averaged", I, centre=(32, 24))
    np.testing.assert_allclose(np.fft.fftshift(p.intensity), I.mean(0), rtol=1e-6)


def test_gaps_hot_pixels_and_an_empty_frame_do_not_hide_that_frames_are_alike():
    I = exposures(20, 3e4)
    I[:, 5, 5] = np.random.default_rng(0).integers(0, 20_000, 20)
    I[7] = 0
    bad = np.zeros((64, 48), bool)
    bad[:, 20:22] = True
    p = noted(r"frame 7 of 20 holds nothing.*not measured", I, mask=bad, centre=(32, 24))
    assert p.shape == (64, 48) and any("the 19 frames" in w and "(1 without data left out)" in w for w in p.warnings)
    assert (~p.measured).sum() - 64 * 2 in (0, 1)  # the hot pixel, where it is seen


def test_frames_along_the_last_axis_are_summed_too():
    I = exposures(10)
    p = quiet_read(np.moveaxis(I, 0, 2), centre=(32, 24, 5))
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I.sum(0))


def test_flat_and_dark_go_with_the_sum():
    flat, dark = np.ones((64, 48)), np.full((64, 48), 2.0)
    flat[:, :10] = 0.8
    I = np.random.default_rng(5).poisson(expected(crystal((64, 48)), 1e5) * flat + dark, (8, 64, 48))
    p = quiet_read(I, flat=flat, dark=dark)
    assert np.fft.fftshift(p.dark).max() == 16 and p.sensitivity.shape == (64, 48)
    assert p.sensitivity.min() / p.sensitivity.max() == pytest.approx(0.8)


# patterns of their own are refused


def test_frames_of_different_objects_are_refused_with_the_way_out():
    I = np.stack([counts(crystal((48, 48), s), 1e5) for s in range(12)])
    with pytest.raises(InputError, match=r"nothing to do with their neighbours, and no volume\. Take one with frames=4 \(--frames 4\)"):
        read(I)
    np.testing.assert_array_equal(np.fft.fftshift(quiet_read(I, frames=4).intensity), I[4])
    assert quiet_read(I, frames="volume").ndim == 3 and quiet_read(I, frames="sum").photons == I.sum()
    with pytest.raises(InputError, match="3 different patterns, too few for a volume"):
        read(I, frames="2:5")


def test_an_object_that_changes_slowly_is_no_volume():
    """Neighbours are as alike as in a rocking curve, but no peak passes through."""
    x, (a, b) = crystal((48, 48)), np.indices((48, 48)) / 48
    I = np.stack([counts(x * np.exp(2j * np.sin(9 * a + 0.2 * k) * np.cos(7 * b)), 1e5, k) for k in range(30)])
    with pytest.raises(InputError, match="a time series, or positions of a scan, and no volume"):
        read(I)


def test_a_range_of_frames_is_looked_at_like_a_stack_of_its_own():
    I = np.concatenate([exposures(9), np.stack([counts(crystal((64, 48), s)) for s in range(1, 9)])])
    with pytest.raises(InputError, match="frames"):
        read(I)
    assert quiet_read(I, frames="0:9").photons == I[:9].sum()
    assert quiet_read(I, frames=":9").source.options == {"frames": ":9"}


@pytest.mark.parametrize("frames", ["x", "40", "9:3", "", ":", "1:2:3", "-99", True, "1.5"])
def test_what_is_no_choice_of_frames_is_refused(frames):
    with pytest.raises(InputError, match="frames(=| is an empty text)"):
        read(exposures(16), frames=frames)
    if frames == "40":
        with pytest.raises(InputError, match="no frames to choose from"):
            read(exposures(1)[0], frames=frames)


def test_what_cannot_be_told_is_said_and_not_trusted(tmp_path):
    """Two frames of a hundred photons: of one pattern, or not."""
    I = np.random.default_rng(0).poisson(expected(crystal((48, 48)), 60), (2, 48, 48))
    p = noted("too few photons to tell", I)
    assert p.doubts == ("its frames may be no exposures of one pattern",)
    write_pattern(tmp_path / "p.cxi", p, process={})
    with opened(tmp_path / "p.cxi") as tree:
        assert read_pattern(tree).doubts == p.doubts


def test_a_doubt_keeps_a_result_from_being_trusted():
    from dataclasses import replace

    from untwin.judge.trust import Evidence, verdict

    good = Evidence(r_factor=0.03, errors=(0.01, 0.01), starts=4, agreeing=4, twins=0)
    assert verdict(good).trusted is True
    assert verdict(replace(good, contradictions=("its frames may be no volume",))).trusted is None


# what the file says of its axes


def stacked(path: Path, I: np.ndarray, axes: list[str] | None = None, label: str = "", **options) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("entry/data")
        data = group.create_dataset("data", data=I, **options)
        if axes:
            group.attrs.update({"signal": "data", "axes": axes})
        if label:
            data.dims[0].label = label
    return path


def test_the_name_of_the_axis_is_said_and_decides_where_the_values_do_not(tmp_path):
    I = exposures(12)
    for way in ({"axes": ["time", "y", "x"]}, {"label": "exposure"}):
        p = quiet_read(stacked(tmp_path / "s.h5", I, **way))
        assert any("the file calls this axis" in w and "summed" in w for w in p.warnings)
    V = counts(crystal((32, 32, 32)))
    assert read(stacked(tmp_path / "v.h5", V, axes=["omega", "y", "x"])).warnings == ()
    assert noted("the file calls axis 0 .* time, but a peak passes through", stacked(tmp_path / "t.h5", V, axes=["time", "y", "x"])).doubts
    faint = np.random.default_rng(1).poisson(expected(crystal((24, 32, 32), 2, 0.1), 3e5) + 50)  # thin, on a background: cannot tell
    assert likeness(faint.astype(np.float32), np.ones(faint.shape, bool)).kind == "perhaps a volume"
    assert noted("cannot tell whether", faint).doubts == ("its frames may be no volume",)
    assert quiet_read(stacked(tmp_path / "z.h5", faint, axes=["rocking", "y", "x"])).doubts == ()
    with pytest.raises(InputError, match=r"\(the file calls this axis time\)"):
        read(stacked(tmp_path / "f.h5", faint, axes=["time", "y", "x"]))


def test_imagej_and_ome_say_whether_pages_are_time_or_depth(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    from untwin.data.tiff import axes_of_pages

    I = exposures(6).astype(np.uint16)
    for axes in ("TYX", "ZYX"):
        tifffile.imwrite(tmp_path / "i.tif", I, imagej=True, metadata={"axes": axes})
        assert axes_of_pages(tmp_path / "i.tif", "") == (axes[0], "", "")
        tifffile.imwrite(tmp_path / "o.ome.tif", I, metadata={"axes": axes})
        assert axes_of_pages(tmp_path / "o.ome.tif", "") == (axes[0], "", "")
    tifffile.imwrite(tmp_path / "p.tif", I)
    assert not any(axes_of_pages(tmp_path / "p.tif", ""))
    assert any("the file calls this axis Z" in w for w in quiet_read(tmp_path / "i.tif").warnings)


# frames that hold nothing


def test_frames_that_were_never_written_are_not_measured_and_the_peak_stays_the_centre(tmp_path):
    I = counts(crystal((24, 48, 48)), 1e6)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("data", shape=I.shape, dtype="u4", chunks=(1, 24, 48), fillvalue=2**32 - 1)[:17] = I[:17]
    p = noted(r"frames 17 to 23 of 24 hold nothing: the file never wrote them.*interrupted", tmp_path / "s.h5")
    assert p.source.centre == (12, 24, 24) and len(p.warnings) == 1
    measured = np.fft.fftshift(p.measured)
    assert measured[:17].all() and not measured[17:].any()
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity)[:17], I[:17])


def test_parts_of_frames_that_were_never_written_are_not_measured(tmp_path):
    I = counts(crystal((64, 64)))
    with h5py.File(tmp_path / "s.h5", "w") as file:
        data = file.create_dataset("data", shape=I.shape, dtype="i4", chunks=(32, 32))
        data[:, :32], data[:32] = I[:, :32], I[:32]
    p = noted("25 % of the pixels hold nothing: the file never wrote them", tmp_path / "s.h5")
    assert not np.fft.fftshift(p.measured)[32:, 32:].any() and p.measured.mean() == 0.75
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file.create_dataset("data", shape=(32, 32), dtype="i4")
    with pytest.raises(InputError, match="was never written"):
        read(tmp_path / "n.h5")


def test_a_virtual_dataset_with_half_of_its_sources_is_half_measured(tmp_path):
    I = counts(crystal((32, 40, 40)))
    layout = h5py.VirtualLayout(shape=I.shape, dtype="i4")
    for k in range(20):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["frame"] = I[k]
        layout[k] = h5py.VirtualSource(f"{k}.h5", "frame", shape=I.shape[1:])
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    p = noted("frames 20 to 31 of 32 hold nothing", tmp_path / "v.h5")
    assert p.shape == I.shape and np.fft.fftshift(p.measured).any((1, 2)).sum() == 20


def test_frames_of_zeros_between_bright_ones_were_not_measured():
    I = counts(crystal((48, 32, 32)), 1e6)
    I[22] = 0
    p = noted(r"frame 22 of 48 holds nothing, where the next ones have counts: not measured", I)
    assert np.flatnonzero(~np.fft.fftshift(p.measured).any((1, 2))).tolist() == [22] and p.shape == I.shape
    I[30:] = 0
    noted(r"frames 22 and 30 to 47 of 48 hold nothing.*interrupted", I)


def test_ends_that_are_honestly_dark_were_measured():
    """A rocking curve that falls to nothing: its zeros are data."""
    x = np.ix_(*(np.arange(n) - n // 2 for n in (48, 32, 32)))
    for photons in (1e3, 1e4, 1e5):
        smooth = np.exp(-((x[0] / 6) ** 2 + (x[1] / 5) ** 2 + (x[2] / 7) ** 2) / 2)
        I = np.random.default_rng(int(photons)).poisson(smooth * photons / smooth.sum())
        assert not I.any((1, 2)).all() and not empty_frames(I, np.zeros(I.shape, bool)).any()


def test_the_dark_fringes_of_a_prism_were_measured():
    """A prism of 8 of 32 frames: the intensity of every fourth is exactly 0."""
    prism = np.pad(crystal((24, 24), extent=0.4)[None] * np.ones((8, 1, 1)), ((12, 12), (4, 4), (4, 4)))
    I = np.rint(expected(prism, 1e7))
    assert (~I.any((1, 2))).sum() > 4 and not empty_frames(I, np.zeros(I.shape, bool)).any()


@pytest.mark.parametrize("code", [0, -1, np.nan, 65535, 7])
def test_a_frame_of_one_value_holds_nothing(code):
    I = counts(crystal((24, 32, 32))).astype(np.uint16 if code == 65535 else np.float32 if code != code else np.int32)
    I[10] = code
    assert np.flatnonzero(empty_frames(I, np.zeros(I.shape, bool))).tolist() == [10]


# modes and objects


def test_of_modes_the_strongest_is_the_object(tmp_path):
    modes = np.stack([crystal((16, 20, 24), s) * w for s, w in enumerate((0.3, 1.0, 0.1))]).astype(np.complex64)
    with h5py.File(tmp_path / "modes.h5", "w") as file:
        file["entry_1/image_1/data"] = modes
        file["entry_1/image_1/support"] = np.abs(modes[1]) > 0
    with pytest.warns(GuessWarning, match="holds 3 modes: mode 1 is taken"):
        np.testing.assert_array_equal(read_object(tmp_path / "modes.h5").image, modes[1])
    np.save(tmp_path / "m.npy", modes)
    with pytest.warns(GuessWarning, match="3 modes"):
        np.testing.assert_array_equal(read_object(tmp_path / "m.npy").image, modes[1])
    flat = np.stack([crystal((32, 32), s) for s in range(2)]).astype(np.complex64)
    np.save(tmp_path / "f.npy", flat)
    with pytest.warns(GuessWarning, match="2 modes"):
        assert read_object(tmp_path / "f.npy").image.shape == (32, 32)
    np.save(tmp_path / "one.npy", modes[:1])
    np.testing.assert_array_equal(read_object(tmp_path / "one.npy").image, modes[0])  # one mode is the object, without a word


def test_the_object_of_a_result_is_not_read_as_a_pattern(tmp_path):
    with h5py.File(tmp_path / "o.cxi", "w") as file:
        file["entry_1/image_1/data"] = np.abs(crystal((32, 32))).astype(np.float32)
        file["entry_1/image_1/data_space"] = "real"
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/image_1/data")
    with pytest.raises(InputError, match="is a reconstructed object"):
        read(tmp_path / "o.cxi")


def test_magnitudes_of_an_object_are_doubted_and_patterns_are_not():
    rng = np.random.default_rng(0)
    for seed, shape in enumerate([(64, 64), (48, 64), (32, 32, 32)]):
        x = crystal(shape, seed, 0.45)
        magnitude = np.abs(x) * (1 + 0.2 * rng.random(shape))
        p = noted("looks like an object", magnitude, centre=tuple(n // 2 for n in shape))
        assert p.doubts == ("what was read may be an object",)
        for photons in (1e3, 1e5, 1e8):
            I = rng.poisson(expected(x, photons)).astype(float)
            assert not any(resembles_object(v, np.ones(shape, bool)) for v in (I, np.sqrt(I), np.log1p(I), np.minimum(I, 9)))


NOISY = {
    "noise about zero, cut": lambda m, rng: np.maximum(m + 0.05 * rng.normal(size=m.shape), 0),
    "magnitude of complex noise": lambda m, rng: np.hypot(m + 0.05 * rng.normal(size=m.shape), 0.05 * rng.normal(size=m.shape)),
    "counts": lambda m, rng: rng.poisson(60 * m).astype(float),
    "8 bits": lambda m, rng: np.rint(200 * m * (1 + 0.1 * rng.random(m.shape))),
}


@pytest.mark.parametrize("way", NOISY)
@pytest.mark.parametrize("shape", [(64, 64), (48, 72), (32, 32, 32)])
def test_magnitudes_of_an_object_are_known_in_noise(way, shape):
    for seed in range(3):
        magnitude = NOISY[way](np.abs(crystal(shape, seed, 0.45)), np.random.default_rng(seed))
        assert noted("looks like an object", magnitude, frames="volume" if len(shape) == 3 else None).doubts


def test_saturated_magnitudes_are_an_object_and_a_saturated_pattern_is_none():
    for seed in range(3):
        x, rng = crystal((64, 64), seed, 0.45), np.random.default_rng(seed)
        for v in (np.abs(x) * rng.uniform(0.7, 1.3, x.shape), expected(x, 1e6), np.log1p(counts(x))):
            top = np.minimum(v, np.quantile(v[v > 0.3 * v.max()], 0.7))
            measured = top < top.max()
            assert resembles_object(np.where(measured, top, 0), measured) == (v.max() < 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_axes_of_length_1_are_none(axis):
    I = counts(crystal((48, 40)))
    p = read(np.expand_dims(I, axis))
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I)
    assert p.warnings == ()


def test_exposures_along_the_last_axis_are_summed_along_it_when_asked_to():
    frames = np.moveaxis(exposures(12), 0, 2)
    np.testing.assert_array_equal(quiet_read(frames).intensity, quiet_read(frames, frames="sum").intensity)
    assert quiet_read(frames, frames="sum").shape == (64, 48)


@pytest.mark.parametrize("asked", [None, "sum", 1, "volume"])
def test_frames_of_seven_rows_are_refused_however_they_are_taken(asked):
    frames = exposures(12)[:, 20:27]
    with pytest.raises(InputError, match="expected at least 8 pixels along each axis"):
        quiet_read(frames, frames=asked)


@pytest.mark.parametrize("number", [2, 5])
def test_a_few_large_frames_are_read_as_any_other(number):
    distance = np.hypot(*np.mgrid[-128:128, -128:128])
    frames = np.random.default_rng(0).poisson(1e4 * np.exp(-distance / 8) + 0.3, (number, 256, 256)).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read(frames, frames="sum").intensity.shape == (256, 256)
        with pytest.raises(InputError, match="at least 8 pixels along each axis"):
            read(frames, frames="volume")
