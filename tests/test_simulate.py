"""Objects and detectors: as large, as bright and as noisy as asked, each a function of its seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from untwin.errors import InputError
from untwin.simulate.detector import beamstop, measure
from untwin.simulate.shapes import CLASSES, blob, polytope, smooth_field

SHAPES = [(64, 64), (63, 50), (24, 24, 26)]


def make(name: str, shape: tuple[int, ...] = (64, 64), seed: int = 0) -> np.ndarray:
    return CLASSES[name](shape, np.random.default_rng(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CLASSES)
def test_an_object_is_small_enough_near_the_centre_and_zero_elsewhere(name, shape):
    if name == "defect" and len(shape) == 3:
        shape = (64, 64, 64)  # smaller ones: the next test
    for seed in range(3 if len(shape) == 2 else 1):
        x = make(name, shape, seed)
        assert x.shape == shape and x.dtype == np.complex64 and np.isfinite(x).all()
        assert 0.1 < np.abs(x).max() <= 1.001
        inside = np.argwhere(np.abs(x) > 0.05)
        extent = np.ptp(inside, axis=0) + 1
        assert 0.3 * min(shape) - 3 <= extent.max() <= 31 / 64 * min(shape) + 3
        assert (np.abs(inside.mean(0) - np.array(shape) // 2) < 0.15 * min(shape)).all()


def test_a_small_crystal_can_have_defects():
    for seed in range(4):
        x = make("defect", (24, 24, 24), seed)
        assert x.shape == (24, 24, 24) and np.isfinite(x).all() and np.abs(x).max() > 0.1


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_is_a_function_of_its_seed(name):
    assert np.array_equal(make(name, seed=4), make(name, seed=4))
    assert not np.array_equal(make(name, seed=4), make(name, seed=5))


def test_the_classes_are_what_they_say():
    for seed in range(3):
        x = make("real", seed=seed)
        assert x.real.min() >= 0 and not x.imag.any()
        m = np.abs(make("poly", seed=seed))
        assert (m[m > 0.5] > 0.99).mean() > 0.75 and m.max() == pytest.approx(1)
        assert np.abs(np.angle(make("poly", seed=seed))).max() <= np.pi
        assert np.abs(make("complex", seed=seed).imag).max() > 0.1


def test_the_parts_have_the_extent_that_was_asked_for():
    rng = np.random.default_rng(1)
    for extent in (15, 30):
        for body in (polytope((64, 64), extent, 6, rng) > 0.5, blob((64, 64), extent, rng)):
            assert abs(max(np.ptp(np.argwhere(body), axis=0)) + 1 - extent) <= 2.5
    field = smooth_field((40, 41), 3, rng)
    assert np.abs(field).max() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(32, 32), (31, 30), (12, 13, 14)])
@pytest.mark.parametrize("radius", [0, 1, 2.5, 4])
def test_a_beamstop_hides_the_pixels_within_its_radius(shape, radius):
    seen = beamstop(shape, radius)
    r = np.sqrt(sum(np.square(k) for k in np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")))
    assert seen.dtype == bool and np.array_equal(seen, r > radius if radius else np.ones(shape, bool))


@pytest.mark.parametrize("stop", [0.0, 3.0])
@pytest.mark.parametrize("photons", [1e4, 1e6])
def test_the_photons_are_as_many_as_asked_on_the_measured_pixels(stop, photons):
    p, x = measure(make("poly"), photons, np.random.default_rng(2), stop)
    assert abs(p.photons - photons) < 5 * np.sqrt(photons)
    assert p.measured.sum() == beamstop((64, 64), stop).sum() and not p.intensity[~p.measured].any()
    assert (p.intensity >= 0).all() and np.array_equal(p.intensity, p.intensity.round())
    mean = np.abs(np.fft.fftn(np.fft.ifftshift(x), norm="ortho")) ** 2
    assert mean[p.measured].sum() == pytest.approx(photons, rel=1e-5)


def test_the_counts_are_poisson_with_the_scaled_objects_intensity_as_mean():
    """Pearson's chi-square over bright pixels, and the pixels' order: zero frequency first."""
    p, x = measure(make("complex"), 1e7, np.random.default_rng(3))
    mean = np.abs(np.fft.fftn(np.fft.ifftshift(x), norm="ortho")).astype(float) ** 2
    bright = mean > 10
    z = ((p.intensity - mean)[bright] ** 2 / mean[bright]).sum()
    assert 1e-4 < stats.chi2.cdf(z, bright.sum()) < 1 - 1e-4 and bright.sum() > 300
    assert np.hypot(*(np.fft.fftfreq(64, 1 / 64)[i] for i in np.unravel_index(mean.argmax(), mean.shape))) < 6


def test_without_noise_the_pattern_is_the_intensity_itself():
    p, x = measure(make("real"), np.inf, np.random.default_rng(4))
    mean = np.abs(np.fft.fftn(np.fft.ifftshift(x.astype(complex)), norm="ortho")) ** 2
    assert np.abs(p.intensity - mean).max() < 1e-5 * mean.max() and p.photons == pytest.approx(1e9, rel=1e-5)


def test_the_noise_is_a_function_of_the_generator():
    one, two, other = (measure(make("poly"), 1e5, np.random.default_rng(s))[0].intensity for s in (5, 5, 6))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


@pytest.mark.parametrize("photons", [0, -1, float("nan")])
def test_no_photons_are_refused(photons):
    with pytest.raises(InputError, match="photons"):
        measure(make("poly"), photons, np.random.default_rng(0))
