"""The first look at a pattern: what its values say before any reconstruction."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import untwin as ut
from untwin.cli.inspect import inspect
from untwin.cli.reading import ReadOptions
from untwin.data.noise import Noise
from untwin.judge.look import look


def counts(shape: tuple[int, ...], widths: tuple[int, ...], photons: float = 1e6, seed: int = 0, blur: float = 0.0) -> np.ndarray:
    """Poisson counts, centred, of a box of these widths with a random phase."""
    rng = np.random.default_rng(seed)
    x = np.zeros(shape, complex)
    inside = tuple(slice(n // 2 - w // 2, n // 2 - w // 2 + w) for n, w in zip(shape, widths))
    x[inside] = np.exp(2j * np.pi * rng.random(widths))
    intensity = np.abs(np.fft.fftn(np.fft.ifftshift(x))) ** 2
    if blur:
        lags = sum(np.fft.fftfreq(n).reshape([-1 if a == k else 1 for a in range(len(shape))]) ** 2 for k, n in enumerate(shape))
        intensity = np.fft.ifftn(np.fft.fftn(intensity) * np.exp(-2 * np.pi**2 * blur**2 * lags)).real.clip(min=0)
    return np.random.default_rng(seed + 1).poisson(np.fft.fftshift(intensity) * photons / intensity.sum())


def quiet(values: np.ndarray, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ut.GuessWarning)
        return ut.read(values, **options)


@pytest.mark.parametrize(("shape", "widths"), [((96, 64), (24, 20)), ((32, 40, 36), (10, 16, 9))])
def test_oversampling_is_told_for_each_axis(shape, widths):
    oversampling = look(
        ut.read(counts(shape, widths), centre=[n // 2 for n in shape], frames="volume" if len(shape) == 3 else None)
    ).oversampling
    np.testing.assert_allclose(oversampling, [n / w for n, w in zip(shape, widths)], rtol=0.12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_oversampling_is_told_along_an_axis_that_the_object_overfills(axis):
    """Every second slice of a volume: the sentence of the door and the row of the first look do not contradict each other."""
    whole = counts((48, 48, 48), (17, 18, 16), 1e7)
    half = look(quiet(whole[(slice(None),) * axis + (slice(None, None, 2),)], frames="volume")).oversampling
    ratios = look(quiet(whole, frames="volume")).oversampling
    assert np.isnan(half[axis]) and min(ratios) > 2
    np.testing.assert_allclose(np.delete(half, axis), np.delete(ratios, axis), rtol=0.12)


def test_where_the_object_overfills_an_axis_the_width_is_not_known_and_elsewhere_it_is():
    for seed in range(6):
        for width in (12, 20, 30, 40, 48, 56):
            p = quiet(counts((64, 64), (width, 20), 1e6, seed), centre=(32, 32))
            ratio = look(p).oversampling[0]
            assert np.isnan(ratio) if width > 32 else ratio == pytest.approx(64 / width, rel=0.2)
            assert np.isnan(ratio) or not any("oversampling below 2" in sentence for sentence in p.warnings)


def test_the_fringes_of_a_large_pattern_are_looked_at_in_its_middle():
    shape, middle = (256, 250), (128, 125)
    sharp, blurred = (look(ut.read(counts(shape, (70, 60), 1e7, blur=s), centre=middle)).blur for s in (0.0, 0.8))
    assert sharp is not None and blurred is not None and sharp <= 0.7 and blurred >= 0.8


def test_light_at_the_faces_is_that_above_a_flat_background():
    rng = np.random.default_rng(3)
    y, x = np.indices((64, 64)) - 32
    narrow = rng.poisson(400 * rng.exponential(size=(64, 64)) * np.exp(-(y**2 + (x / 4) ** 2) / 60) + 2)
    at = look(ut.read(narrow, centre=(32, 32))).faces
    assert at[0] < 3 < 30 < at[1] < 400


def test_a_pattern_without_anything_strange_has_none_of_it():
    first = look(ut.read(counts((64, 64), (20, 20), 2e4), centre=(32, 32)))
    assert first.hot == () and first.clipped == () and first.strays < 0.01
    assert first.background is not None and first.background.level == 0


def test_a_strained_crystal_alone_is_one_sided_and_has_no_strays(tmp_path, capsys):
    z, x = (np.indices((64, 64)) - 32) / 32
    inside = (np.abs(z) < 0.4) & (np.abs(x) < 0.35) & (z + x < 0.5)
    body = np.where(inside, np.exp(1j * (400 * x**3 + 200 * z**3 + 20 * x * z)), 0)
    intensity = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(body)))) ** 2
    np.save(tmp_path / "crystal.npy", np.random.default_rng(0).poisson(intensity * 3e6 / intensity.sum()))
    inspect(tmp_path / "crystal.npy", reading=ReadOptions(centre="32,32"))
    rows = capsys.readouterr().out
    assert "one-sided  " in rows and "by another crystal, or by the phase of this object" in rows and "strays" not in rows


def test_where_nothing_was_counted_nothing_is_said_of_counts():
    p = ut.read(counts((64, 64), (20, 20)), centre=(32, 32))
    scaled = look(replace(p, intensity=p.intensity * 0.37, noise=Noise("unknown")))
    assert scaled.background is None and scaled.blur is None and np.isnan(scaled.strays) and scaled.hot == ()


def test_what_was_masked_at_the_door_is_seen():
    I = counts((64, 64), (20, 20), 1e5)
    I[9, 12], I[38:41] = 10 * I.max(), 0
    with pytest.warns(ut.GuessWarning):
        first = look(ut.read(I, centre=(32, 32)))
    assert any("(9, 12)" in s for s in first.hot) and any("rows 38 to 40" in s for s in first.gaps) and first.clipped == ()
