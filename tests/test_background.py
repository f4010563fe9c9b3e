"""What the counts alone say of the detector: the floor, hot pixels, saturation."""

from __future__ import annotations

import numpy as np
import pytest

from untwin import fourier
from untwin.data.measurement import Pattern
from untwin.data.outliers import outliers
from untwin.model.background import Background, flat_background
from untwin.simulate.shapes import CLASSES

CRYSTALS = ("poly", "defect", "complex")


def pattern(name: str = "poly", floor: float = 0, photons: float = 1e6, blur: float = 0, seed: int = 0, shape=(64, 64)) -> Pattern:
    import torch

    x = CLASSES[name](shape, np.random.default_rng(seed)).astype(complex)
    mean = np.abs(np.fft.fftn(x)) ** 2
    mean *= photons / mean.sum()
    if blur:
        mean = fourier.blur(torch.from_numpy(mean)[None], torch.tensor([blur], dtype=torch.float64), 2)[0].clamp(min=0).numpy()
    counts = np.random.default_rng(seed + 50).poisson(mean + floor)
    return Pattern(intensity=counts.astype(np.float32), measured=np.ones(shape, dtype=bool))


def without(p: Pattern, hole: np.ndarray) -> Pattern:
    return Pattern(intensity=np.where(hole, 0, p.intensity), measured=~hole)


# the floor


@pytest.mark.parametrize("name", [*CRYSTALS, "real"])
@pytest.mark.parametrize("photons", [1e4, 1e5, 1e6])
def test_nothing_lies_under_an_ideal_pattern(name, photons):
    for seed in range(2):
        floor = flat_background(pattern(name, photons=photons, seed=seed))
        assert floor is not None and floor.level == 0 and floor.error > 0 and str(floor) == "none seen"


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("blur", [0.3, 0.5])
def test_partial_coherence_is_no_floor(name, blur):
    assert all(flat_background(pattern(name, blur=blur, seed=seed)).level == 0 for seed in range(2))


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize(("true", "blur"), [(2, 0), (5, 0), (2, 0.3), (5, 0.5)])
def test_a_floor_is_found_and_its_error_is_its_error(name, true, blur):
    floor = flat_background(pattern(name, true, blur=blur))
    assert (
        abs(floor.level - true) < min(0.3 * true, 3 * floor.error) and floor.error < 0.25 * true and "counts per pixel, flat" in str(floor)
    )


def test_a_floor_of_half_a_count_is_found_where_the_pattern_is_dark():
    assert all(0.3 < flat_background(pattern(name, 0.5, photons=1e5)).level < 0.7 for name in CRYSTALS)


@pytest.mark.parametrize("mask", ["gap", "stop"])
def test_a_mask_does_not_matter(mask):
    k = np.fft.fftfreq(64, 1 / 64)
    hole = np.broadcast_to(np.abs(k - 8) < 2, (64, 64)) if mask == "gap" else np.add.outer(k**2, k**2) < 16
    assert flat_background(without(pattern("defect"), hole)).level == 0
    assert flat_background(without(pattern("poly", 5), hole)).level == pytest.approx(5, abs=1)


def test_in_space_and_far_oversampled():
    assert flat_background(pattern(shape=(32, 32, 32))).level == 0
    assert flat_background(pattern("complex", 2, shape=(32, 32, 32))).level == pytest.approx(2, abs=0.5)
    small = np.zeros((128, 128), dtype=complex)
    small[:64, :64] = CLASSES["poly"]((64, 64), np.random.default_rng(3))
    mean = np.abs(np.fft.fft2(small)) ** 2
    for true in (0, 2):
        counts = np.random.default_rng(4).poisson(mean * 1e7 / mean.sum() + true).astype(np.float32)
        assert flat_background(Pattern(intensity=counts, measured=counts >= 0)).level == pytest.approx(true, abs=0.6)


def test_nothing_is_said_where_nothing_was_counted():
    p = pattern(floor=5)
    ones = np.ones((64, 64), dtype=bool)
    assert flat_background(Pattern(intensity=p.intensity * 0.37, measured=ones)) is None
    assert flat_background(Pattern(intensity=p.intensity * 10, measured=ones)) is None, "a gain of ten"
    assert flat_background(pattern(shape=(11, 11))) is None
    few = np.zeros((64, 64), dtype=bool)
    few[:10, :10] = True
    assert flat_background(without(p, ~few)) is None


@pytest.mark.parametrize(
    ("level", "error", "text"), [(5.02, 0.13, "5.0 ± 0.1"), (0.521, 0.034, "0.52 ± 0.03"), (41.3, 2.1, "41 ± 2"), (0, 0.1, "none seen")]
)
def test_a_floor_is_said_with_its_error(level, error, text):
    assert str(Background(level, error, 9.0)).startswith(text)


# outliers


@pytest.mark.parametrize("name", [*CRYSTALS, "real"])
@pytest.mark.parametrize("oversampling", [2.0, 2.5])
def test_light_is_never_hot(name, oversampling):
    x = CLASSES[name]((64, 64), np.random.default_rng(1))
    inside = np.argwhere(np.abs(x) > 0.02 * np.abs(x).max())
    cut = x[tuple(slice(a, b + 1) for a, b in zip(inside.min(0), inside.max(0)))]
    mean = np.abs(np.fft.fft2(cut, [round(oversampling * n) for n in cut.shape])) ** 2
    for photons in (1e4, 1e5, 1e6, 1e8):
        counts = np.random.default_rng(2).poisson(mean * photons / mean.sum()).astype(np.float32)
        p = Pattern(intensity=counts, measured=counts >= 0)
        assert not outliers(p).any and outliers(p).masked(p) is p


def test_a_square_sampled_at_its_zeros_is_not_hot():
    """Each sidelobe on the diagonals is a single pixel among zeros."""
    mean = np.abs(np.fft.fft2(np.ones((24, 24)), (48, 48))) ** 2
    counts = np.random.default_rng(0).poisson(mean * 1e6 / mean.sum()).astype(np.float32)
    assert not outliers(Pattern(intensity=counts, measured=counts >= 0)).any


@pytest.mark.parametrize("shape", [(64, 64), (24, 24, 24)])
def test_hot_pixels_are_named_and_nothing_else(shape):
    p = pattern("complex", shape=shape)
    flat, dark = p.intensity.ravel().copy(), np.flatnonzero(p.intensity.ravel() < 20)
    hot = np.random.default_rng(3).choice(dark, 10, replace=False)
    flat[hot] = 1000
    p = Pattern(intensity=flat.reshape(shape), measured=p.measured)
    seen = outliers(p)
    assert set(np.flatnonzero(seen.hot)) <= set(hot) and seen.hot.sum() >= 7 and not seen.saturated[seen.hot].any()
    assert f"{seen.hot.sum()} isolated pixels" in seen.sentences[0] and "up to 1,000: masked as hot" in seen.sentences[0]
    clean = seen.masked(p)
    assert not clean.measured[seen.hot].any() and not clean.intensity[seen.hot].any() and seen.sentences[0] in clean.warnings
    assert clean.measured.sum() == p.measured.sum() - seen.hot.sum() - seen.saturated.sum()


def test_clipped_pixels_that_nobody_masked_are_named():
    p = pattern()
    top = np.sort(p.intensity.ravel())[-80]
    clipped = Pattern(intensity=np.minimum(p.intensity, top), measured=p.measured)
    seen = outliers(clipped)
    assert (seen.saturated == (p.intensity >= top)).all() and not seen.hot.any()
    assert f"pixels sit at exactly {top:.0f}" in seen.sentences[0] and "masked as saturated" in seen.sentences[0]
    assert not outliers(seen.masked(clipped)).any
    few = np.minimum(pattern(photons=1e4).intensity, 20)
    assert not outliers(Pattern(intensity=few, measured=few >= 0)).saturated.any(), "20 counts are no detector's limit"


@pytest.mark.parametrize(("sigma", "photons"), [(0.0, 1e6), (0.3, 1e6), (0.3, 1e7)])
def test_no_pattern_is_blurred_by_more_than_its_fringes_allow(sigma, photons):
    from untwin.model.fringes import blur_bound

    p = pattern(blur=sigma, photons=photons, seed=4)
    bound = blur_bound(p)
    assert bound is not None and max(sigma, 0.05) < bound <= sigma + 0.4
    assert blur_bound(Pattern(0.5 * p.intensity, p.measured)) is None, "no counts"
