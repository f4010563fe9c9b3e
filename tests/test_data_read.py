"""What comes through the door: orientation, centre, values, guesses."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from untwin.data.centre import REAL, asymmetry_about, centre_of_symmetry
from untwin.data.read import read, read_support
from untwin.errors import GuessWarning, InputError


def letter(shape: tuple[int, int]) -> np.ndarray:
    """An asymmetric F, about the array's centre."""
    F = np.zeros(shape)
    y, x = shape[0] // 2 - 7, shape[1] // 2 - 4
    F[y : y + 14, x : x + 3] = 1
    F[y : y + 3, x : x + 9] = 1
    F[y + 6 : y + 8, x : x + 6] = 1
    return F


def pattern_of(x: np.ndarray, photons: float = 1e6, offset: tuple[float, ...] = (0.0, 0.0), seed: int = 0) -> np.ndarray:
    """Poisson counts with the zero frequency at N//2 + offset."""
    for axis, (n, s) in enumerate(zip(x.shape, offset)):
        r = (np.arange(n) - n // 2).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = x * np.exp(2j * np.pi * s * r / n)
    I = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))) ** 2
    return np.random.default_rng(seed).poisson(I / I.sum() * photons).astype(np.float32)


def complex_letter(shape: tuple[int, int]) -> np.ndarray:
    y, x = np.indices(shape)
    return letter(shape) * np.exp(1j * (1.2 * np.sin(y / 2.1) + np.cos(x / 1.7)))


def saved(folder: Path, values: np.ndarray, name: str = "p.npy", **more: np.ndarray) -> Path:
    path = folder / name
    if more:
        path = path.with_suffix(".npz")
        np.savez(path, intensity=values, **more)
    else:
        np.save(path, values)
    return path


def quiet_read(path: Path, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)
        return read(path, *args, **kwargs)


# laws


def test_a_good_pattern_is_read_without_a_word_and_rolled_to_fft_order(tmp_path):
    I = pattern_of(complex_letter((64, 48)))
    p = read(saved(tmp_path, I))
    assert p.warnings == () and p.offset == (0, 0) and p.source.centre == (32, 24) and p.source.shape == (64, 48)
    assert p.intensity.dtype == np.float32 and p.intensity.flags.c_contiguous and p.measured.all()
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I)


@pytest.mark.parametrize("shape", [(64, 64), (63, 64), (63, 49), (65, 66)])
def test_the_letter_keeps_its_orientation_for_odd_and_even_sizes(tmp_path, shape):
    """The pattern comes back pixel by pixel about its centre, neither mirrored nor shifted."""
    I = pattern_of(complex_letter(shape))
    p = quiet_read(saved(tmp_path, I))
    back = np.fft.fftshift(p.intensity)
    assert all(n % 2 == 0 for n in p.shape)
    for dy, dx in ((0, 0), (3, -5), (-7, 2), (20, 11), (-20, -23)):
        want = I[shape[0] // 2 + dy, shape[1] // 2 + dx]
        assert back[p.shape[0] // 2 + dy, p.shape[1] // 2 + dx] == want


def test_with_its_true_phases_the_letter_is_upright(tmp_path):
    x = complex_letter((64, 64))
    F = np.fft.fftn(np.fft.ifftshift(x))
    p = quiet_read(saved(tmp_path, (np.abs(np.fft.fftshift(F)) ** 2).astype(np.float32)))
    image = np.fft.fftshift(np.fft.ifftn(np.sqrt(p.intensity) * np.exp(1j * np.angle(F))))
    np.testing.assert_allclose(np.abs(image), letter((64, 64)), atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 64), (63, 64), (50, 45)])
@pytest.mark.parametrize("offset", [(0, 0), (0.5, 0), (0.5, 0.5), (2, -3), (-1.5, 1)])
def test_the_centre_of_a_real_object_is_found_to_half_a_pixel(shape, offset):
    I = pattern_of(letter(shape), offset=offset)
    found = centre_of_symmetry(I, np.ones(shape, bool))
    assert found.centre == tuple(n // 2 + s for n, s in zip(shape, offset))
    assert abs(found.asymmetry) < REAL


def test_a_stop_does_not_hide_the_centre():
    y, x = np.indices((64, 64))
    measured = np.hypot(y - 32, x - 32) > 3
    found = centre_of_symmetry(pattern_of(letter((64, 64)), offset=(1, 0.5)), measured)
    assert found.centre == (33, 32.5) and found.asymmetry < REAL


@pytest.mark.parametrize("photons", [1e4, 1e5, 1e6])
def test_counting_noise_is_not_asymmetry(photons):
    I = pattern_of(letter((64, 64)), photons=photons)
    assert abs(asymmetry_about(I, np.ones(I.shape, bool), (32, 32))) < REAL
    other = centre_of_symmetry(pattern_of(complex_letter((64, 64)), photons=photons), np.ones((64, 64), bool))
    assert other.asymmetry > 5 * REAL


def test_a_half_pixel_centre_is_undone_by_the_ramp(tmp_path):
    """F(k − offset) is the transform of x exp(+2πi offset r / N): fourier.ramp(shape, offset) on the object undoes
    it."""
    torch = pytest.importorskip("torch")
    from untwin.fourier import ramp

    x = letter((64, 64))
    with pytest.warns(GuessWarning, match="mirror image"):
        p = read(saved(tmp_path, pattern_of(x, photons=1e7, offset=(0.5, 0))))
    assert p.offset == (0.5, 0) and p.source.centre == (32.5, 32) and p.asymmetry < REAL
    cornered = np.fft.ifftshift(x)
    undo = ramp((64, 64), p.offset, torch.zeros((), dtype=torch.float64)).numpy()
    displaced = cornered * undo.conj()
    np.testing.assert_allclose(displaced * undo, cornered, atol=1e-12)
    calculated = np.abs(np.fft.fftn(displaced)) ** 2
    calculated *= p.photons / calculated.sum()
    assert np.abs(np.sqrt(calculated) - np.sqrt(p.intensity)).mean() < 0.5
    wrong = np.abs(np.fft.fftn(cornered * undo)) ** 2
    assert np.abs(np.sqrt(wrong * p.photons / wrong.sum()) - np.sqrt(p.intensity)).mean() > 1


# guesses


def test_fft_order_is_recognised(tmp_path):
    I = pattern_of(complex_letter((64, 64)))
    with pytest.warns(GuessWarning, match="FFT order"):
        p = read(saved(tmp_path, np.fft.ifftshift(I)))
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I)
    assert p.source.centre == (0, 0)
    q = read(saved(tmp_path, np.fft.ifftshift(I)), centre=(0, 0))
    np.testing.assert_array_equal(q.intensity, p.intensity)


def test_a_real_object_in_fft_order_is_recognised(tmp_path):
    I = pattern_of(letter((63, 64)))
    p = quiet_read(saved(tmp_path, np.fft.ifftshift(I)))
    assert p.source.centre == (0, 0) and p.intensity[0, 0] == I.max()


def test_a_peak_far_from_the_middle_is_brought_there_without_wrapping(tmp_path):
    I = pattern_of(complex_letter((128, 128)))
    p = quiet_read(saved(tmp_path, I[20:, :]))
    assert any("the peak is at" in w for w in p.warnings)
    back = np.fft.fftshift(p.intensity)
    row = int(p.source.centre[0])
    assert abs(row - 44) <= 4 and p.shape[0] < 108
    assert back[p.shape[0] // 2 + 5, p.shape[1] // 2 + 3] == I[20:, :][row + 5, int(p.source.centre[1]) + 3]


def test_a_small_error_of_the_centre_moves_nothing_for_a_complex_object(tmp_path):
    I = pattern_of(complex_letter((64, 64)))
    p = read(saved(tmp_path, np.roll(I, 2, axis=0)))
    assert p.source.centre == (32, 32) and p.warnings == ()


def test_about_a_peak_far_from_the_middle_the_array_is_cropped_where_that_loses_hardly_any_light(tmp_path):
    """Else it is padded: in a padded band the object is free."""
    y, x = np.mgrid[:64, :64]
    bright = np.random.default_rng(0).poisson(1e4 * np.exp(-np.hypot(y - 40, x - 22) / 3)).astype(float)
    wide = bright + np.random.default_rng(1).poisson(5, (64, 64))
    assert quiet_read(saved(tmp_path, bright), centre=(40, 22)).shape == (48, 42)
    assert min(quiet_read(saved(tmp_path, wide), centre=(40, 22)).shape) > 64


def test_a_given_centre_decides_and_edges_are_unmeasured(tmp_path):
    I = pattern_of(complex_letter((64, 64)))
    p = read(saved(tmp_path, I), centre=(30, 32.5))
    assert p.offset == (0, 0.5) and p.source.centre == (30, 32.5) and p.shape == (64, 64)
    assert not np.fft.fftshift(p.measured)[:2].any() and np.fft.fftshift(p.intensity)[2, 0] == I[0, 0]


@pytest.mark.parametrize("centre", [(1,), (1, 2, 3), (70, 3), (-1, 3), "ab", (float("nan"), 2)])
def test_a_wrong_centre_is_refused(tmp_path, centre):
    with pytest.raises(InputError, match="centre"):
        read(saved(tmp_path, pattern_of(complex_letter((64, 64)))), centre=centre)


def test_square_roots_of_counts_are_squared(tmp_path):
    I = pattern_of(complex_letter((64, 64)))
    with pytest.warns(GuessWarning, match="square roots"):
        p = read(saved(tmp_path, np.sqrt(I)))
    np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I)


def test_values_that_are_no_counts_are_said(tmp_path):
    flat = np.random.default_rng(0).normal(1, 0.05, (64, 64))
    with pytest.warns(GuessWarning, match="not counts"):
        p = read(saved(tmp_path, pattern_of(complex_letter((64, 64))) / flat))
    assert not p.counted


def test_saturation_is_masked(tmp_path):
    I = np.minimum(pattern_of(complex_letter((64, 64)), photons=1e7), 4095)
    with pytest.warns(GuessWarning, match=r"exactly 4095 \(2\^12 − 1\): masked as saturated"):
        p = read(saved(tmp_path, I))
    assert (~p.measured).sum() == (I == 4095).sum() and p.intensity[~p.measured].max() == 0
    I = pattern_of(complex_letter((64, 64)), photons=1e8)
    I = np.minimum(I, int(np.quantile(I, 0.75)))
    with pytest.warns(GuessWarning, match=rf"25 %\) sit at exactly {I.max():.0f}, the largest value: too many to be masked"):
        read(saved(tmp_path, I))


def test_gap_codes_and_nan_are_masked_and_small_negatives_are_zero(tmp_path):
    I = pattern_of(complex_letter((64, 64)))
    I[5] = -1
    with pytest.warns(GuessWarning, match="gap code -1: masked"):
        p = read(saved(tmp_path, I))
    assert (~np.fft.fftshift(p.measured)).sum() == 64
    band = pattern_of(complex_letter((64, 64)), photons=6e5)
    band[5:15] = -1  # half of what is dark
    with pytest.warns(GuessWarning, match="640 negative pixels .* gap code -1: masked"):
        read(saved(tmp_path, band))
    I[5] = np.nan
    with pytest.warns(GuessWarning, match="64 NaN or infinite pixels .* masked"):
        read(saved(tmp_path, I))
    I = pattern_of(complex_letter((64, 64)))
    I[5:61:7, 5:61:7] = -0.01 * np.arange(1, 65).reshape(8, 8)
    with pytest.warns(GuessWarning, match="64 pixels .* negative.*set to 0"):
        p = read(saved(tmp_path, I))
    assert p.measured.all() and p.intensity.min() == 0


def test_the_largest_integer_is_a_gap(tmp_path):
    I = pattern_of(complex_letter((64, 64))).astype(np.uint32)
    I[:, 10:12] = 2**32 - 1
    with pytest.warns(GuessWarning, match="largest uint32"):
        p = read(saved(tmp_path, I))
    assert (~p.measured).sum() == 128


def test_undersampling_is_said_and_proper_sampling_is_not(tmp_path):
    rng = np.random.default_rng(3)
    for w in (20, 25, 31):
        x = np.zeros((64, 64))
        x[32 - w // 2 : 32 - w // 2 + w, 32 - w // 2 : 32 - w // 2 + w] = rng.uniform(0.5, 1, (w, w))
        assert quiet_read(saved(tmp_path, pattern_of(x))).warnings == ()
    x = np.zeros((64, 64))
    x[4:60, 20:40] = rng.uniform(0.5, 1, (56, 20))
    with pytest.warns(GuessWarning, match="along axis 0: oversampling below 2"):
        p = read(saved(tmp_path, pattern_of(x)))
    assert len(p.warnings) == 1


@pytest.mark.parametrize("hole", ["stop", "gap"])
def test_a_hole_at_the_peak_does_not_make_an_object_too_wide(tmp_path, hole):
    y, x = np.ogrid[-32:32, -32:32]
    bad = y**2 + x**2 <= 4 if hole == "stop" else np.broadcast_to(abs(y) <= 1, (64, 64))
    for w in (20, 25, 31):
        square = np.zeros((64, 64))
        square[32 - w // 2 : 32 - w // 2 + w, 32 - w // 2 : 32 - w // 2 + w] = np.random.default_rng(w).uniform(0.5, 1, (w, w))
        p = quiet_read(saved(tmp_path, pattern_of(square)), mask=bad)
        assert not any("oversampling" in w for w in p.warnings)


def test_a_flat_pattern_stays_where_it_is(tmp_path):
    I = np.random.default_rng(0).poisson(100, (64, 64))
    p = quiet_read(saved(tmp_path, I))
    assert p.shape == (64, 64) and p.source.centre == (32, 32)


# masks


def test_a_nonzero_mask_pixel_is_bad_wherever_it_comes_from(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    I = pattern_of(complex_letter((64, 64)))
    mask = np.zeros((64, 64), np.uint8)
    mask[3:9, 40] = 1
    tifffile.imwrite(tmp_path / "m.tif", mask)
    np.save(tmp_path / "m.npy", mask * 7.0)
    inside = read(saved(tmp_path, I, mask=mask, badpix=mask))
    beside = [read(saved(tmp_path, I), mask=tmp_path / f"m.{e}") for e in ("tif", "npy")]
    for p in (inside, *beside):
        np.testing.assert_array_equal(np.fft.fftshift(p.measured), mask == 0)
    with pytest.warns(GuessWarning, match="own mask is not used"):
        read(tmp_path / "p.npz", mask="badpix")
    assert inside.source.mask == "mask" and inside.source.dataset == "intensity"


def test_a_mask_in_an_archive_has_any_of_the_names_that_it_may_have_in_hdf5(tmp_path):
    bad = np.zeros((2, 64, 64), np.uint8)
    bad[0, 3:9, 40] = bad[1, 5, 5:8] = 1
    I = pattern_of(complex_letter((64, 64)))
    p = read(saved(tmp_path, I, bad_pixels=bad[0], hot_pixels=bad[0, 0]))
    np.testing.assert_array_equal(np.fft.fftshift(p.measured), bad[0] == 0)
    with pytest.warns(GuessWarning, match="2 masks go with the data and are combined: bad_pixels, mask;"):
        p = read(saved(tmp_path, I, bad_pixels=bad[0], mask=bad[1]))
    np.testing.assert_array_equal(np.fft.fftshift(p.measured), bad.sum(0) == 0)
    with pytest.warns(GuessWarning, match="own mask is not used"):
        p = read(tmp_path / "p.npz", mask="mask")
    np.testing.assert_array_equal(np.fft.fftshift(p.measured), bad[1] == 0)


def test_a_mask_of_one_frame_serves_a_stack(tmp_path):
    I = np.random.default_rng(0).poisson(50, (16, 20, 24))
    I[8, 10, 12] = 10**6
    mask = np.zeros((20, 24), bool)
    mask[2, 3] = True
    np.save(tmp_path / "m.npy", mask)
    p = quiet_read(saved(tmp_path, I), mask=tmp_path / "m.npy")
    assert any("one frame" in w for w in p.warnings)
    assert (~p.measured).sum() == 16


def test_a_mask_that_hides_most_of_the_pattern_is_doubted(tmp_path):
    mask = np.ones((64, 64), np.uint8)
    mask[16:48, 16:48] = 0
    with pytest.warns(GuessWarning, match="invert it"):
        read(saved(tmp_path, pattern_of(complex_letter((64, 64))), mask=mask))


# tiff and support


def test_a_tiff_stack_has_its_pages_first_whatever_it_is_called(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    I = np.zeros((16, 20, 24), np.uint16)
    I[8, 10, 12], I[8, 10, 13], I[9, 10, 12], I[7, 9, 12] = 9000, 4000, 3000, 1000
    for big in (False, True):
        tifffile.imwrite(tmp_path / "scan.h5", I, bigtiff=big, photometric="minisblack")
        p = quiet_read(tmp_path / "scan.h5", centre=(8, 10, 12))
        np.testing.assert_array_equal(np.fft.fftshift(p.intensity), I)


def test_a_support_fits_the_pattern_or_its_file(tmp_path):
    I = pattern_of(complex_letter((63, 70)))
    p = quiet_read(saved(tmp_path, I))
    S = letter((63, 70)) > 0
    np.savez(tmp_path / "s.npz", support_published=S, intensity=I)
    T = read_support(tmp_path / "s.npz", p)
    assert p.shape == (64, 70) and T.shape == p.shape and T.dtype == bool
    assert abs(T.sum() - S.sum()) < 0.1 * S.sum()
    assert (T & np.pad(S, ((1, 0), (0, 0)))).sum() > 0.85 * S.sum()  # neither mirrored nor shifted
    np.save(tmp_path / "t.npy", T)
    np.testing.assert_array_equal(read_support(tmp_path / "t.npy", p), T)


def test_the_support_of_an_hdf5_file_is_the_array_of_that_name(tmp_path):
    I = pattern_of(complex_letter((64, 70)))
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["density"], file["support"] = np.abs(I), letter((64, 70)) > 0
    np.testing.assert_array_equal(read_support(tmp_path / "s.h5", quiet_read(saved(tmp_path, I))), letter((64, 70)) > 0)
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file["x"], file["g/support"] = complex_letter((64, 70)), letter((64, 70)) > 0
    np.testing.assert_array_equal(read_support(tmp_path / "deep.h5", quiet_read(tmp_path / "p.npy")), letter((64, 70)) > 0)


def test_resampling_a_support_scales_about_the_centre(tmp_path):
    p = quiet_read(saved(tmp_path, pattern_of(complex_letter((74, 64)))))
    assert p.shape == (72, 64)
    S = np.zeros((74, 64), bool)
    S[37, 32] = S[37 + 18, 32] = S[37 - 18, 32] = True
    S[37 : 37 + 19, 40] = True
    np.save(tmp_path / "s.npy", S)
    T = read_support(tmp_path / "s.npy", p)
    assert T[36, 32] and T[36, 40] and not T[35, 40] and T[:, 40].sum() in (18, 19)


def test_supports_that_do_not_fit_are_refused(tmp_path):
    p = read(saved(tmp_path, pattern_of(complex_letter((64, 64)))))
    S = letter((64, 64))
    for values, text in ((S[:32], "crop or pad"), (S * 0, "is empty"), (S * 0 + 1, "covers"), (S * 1j, "complex")):
        np.save(tmp_path / "s.npy", values)
        with pytest.raises(InputError, match=text):
            read_support(tmp_path / "s.npy", p)
    np.savez(tmp_path / "s.npz", a=S, b=S)
    with pytest.raises(InputError, match=r"2 arrays that could be the support: a \(64×64.*b \(64×64"):
        read_support(tmp_path / "s.npz", p)
    assert read_support(f"{tmp_path / 's.npz'}::b", p).sum() == S.sum()


# the house


def test_reading_needs_no_torch():
    heavy = "{'torch', 'h5py', 'tifffile', 'scipy'}"
    code = f"import sys, untwin.data.read, untwin.data.cxi; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def _measured(name: str) -> Path:
    folder = os.environ.get("UNTWIN_DATA")
    if not folder or not (Path(folder) / "real" / name).exists():
        pytest.skip(f"UNTWIN_DATA names no folder with real/{name}")
    return Path(folder) / "real" / name


def test_the_esrf_logo_has_its_measured_centre():
    path = _measured("esrf_logo_id10_512.npz")
    p = quiet_read(path)
    assert any("mirror image about (255, 256)" in w for w in p.warnings)
    assert p.source.centre == (255, 256) and p.offset == (0, 0) and p.shape == (512, 512) and abs(p.asymmetry) < 1e-3
    assert read_support(path, p).sum() == 7577


def test_the_gold_crystal_is_read_without_a_word():
    p = read(_measured("gold_34idc_3dcdinn_64.npz"), data="intensity")
    assert p.shape == (64, 64, 64) and p.warnings == () and p.photons == pytest.approx(8.29e8, rel=1e-3)
    assert p.asymmetry > REAL
