"""The outline of an object, its extents and the pixels that a stop hides, from the pattern alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from untwin.model.outline import Fill, box_widths, hidden, hidden_speckles, hull_by_noise, outline, scaled
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES


def simulated(name: str, shape=(64, 64), seed: int = 0, photons: float = 1e6, stop: float = 0.0):
    """The pattern, and the power of the object in FFT order."""
    x = CLASSES[name](shape, np.random.default_rng(seed))
    p, x = measure(x, photons, np.random.default_rng(100 + seed), stop)
    return p, np.fft.ifftshift(np.abs(x) ** 2)


def covered(power: np.ndarray, support: np.ndarray) -> float:
    """The largest share of the power that any shift of the support holds."""
    return float(np.fft.ifftn(np.fft.fftn(power) * np.fft.fftn(support).conj()).real.max() / power.sum())


@pytest.mark.parametrize("shape", [(64, 64), (63, 66)])
@pytest.mark.parametrize("seed", range(3))
def test_the_outline_of_a_crystal_has_its_area_and_holds_it(shape, seed):
    p, power = simulated("poly", shape, seed)
    found = outline(p)
    body = (power > 0.25 * power.max()).sum()
    assert 0.9 * body < found.support.sum() < 1.6 * body  # a triangle has a difference body of 6 times its area, not 4
    assert covered(power, found.support) > 0.95 and covered(power, found.bounds) > 0.99
    assert found.support.dtype == found.bounds.dtype == bool and found.support.shape == shape
    assert not (found.support & ~found.bounds).any() and found.support.flat[0]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("stop", [0.0, 2.0, 9.0])
def test_the_bounds_hold_every_object_with_and_without_a_stop(name, stop):
    for seed in range(2):
        p, power = simulated(name, (64, 64), seed, stop=stop)
        found = outline(p)
        assert covered(power, found.bounds) > 0.97 and not (found.support & ~found.bounds).any()
        assert found.support.flat[0] and found.support.mean() <= found.bounds.mean() < 0.6
        assert stop > 2 or 0.5 * (power > 0.02 * power.max()).sum() < found.support.sum()


def test_what_was_measured_is_kept_and_what_a_small_stop_hides_is_found():
    for seed in range(3):
        p, _ = simulated("poly", seed=seed, photons=1e7, stop=2.0)
        truth, _ = simulated("poly", seed=seed, photons=np.inf)
        hull = hull_by_noise(p)
        assert hull is not None
        filled = Fill(p)(~scaled(hull, p.shape, 1.0, 1.0))
        assert np.array_equal(filled[p.measured], p.intensity[p.measured])
        scale = p.intensity[p.measured].sum() / truth.intensity[p.measured].sum()
        want, got = truth.intensity[~p.measured] * scale, filled[~p.measured]
        assert np.abs(got - want).sum() < 0.15 * want.sum()


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("stop", [3.0, 6.0, 9.0])
def test_behind_a_stop_of_any_size_the_outline_is_the_objects(name, stop):
    for seed in range(2):
        p, power = simulated(name, seed=seed, stop=stop)
        found = outline(p)
        body = (power > 1e-3 * power.max()).sum()
        assert 0.9 * body < found.support.sum() < 1.7 * body and covered(power, found.support) > 0.97
        true = np.ptp(np.argwhere(np.fft.fftshift(power) > 1e-3 * power.max()), axis=0) + 1
        assert all(0.9 * t - 1 <= w <= 1.15 * t + 1 for w, t in zip(box_widths(p, 1.0), true))


def test_gaps_and_dead_pixels_do_not_hide_the_outline():
    p, power = simulated("defect", stop=2.0)
    measured = p.measured.copy()
    measured[20:22] = measured[:, 40] = measured[5, 9] = False
    gappy = replace(p, measured=measured, intensity=np.where(measured, p.intensity, 0))
    found = outline(gappy)
    assert covered(power, found.support) > 0.92 and found.support.sum() < 1.5 * outline(p).support.sum()


def test_noise_that_is_not_of_counting_leaves_it_to_the_level_of_the_floor():
    p, power = simulated("poly", photons=1e5)
    assert hull_by_noise(p) is not None
    loud = replace(p, intensity=np.random.default_rng(0).poisson(p.intensity + 10.0) * 3.0)  # gain 3
    assert hull_by_noise(loud) is None and covered(power, outline(loud).support) > 0.9


def test_other_units_and_no_noise_keep_the_outline():
    p, power = simulated("poly", photons=np.inf)
    for factor in (1.0, 1e-8, 1e8):
        found = outline(replace(p, intensity=p.intensity * factor))
        assert covered(power, found.support) > 0.97 and found.support.sum() < 2 * (power > 1e-3 * power.max()).sum()


def test_a_large_pattern_is_judged_by_its_middle():
    p, power = simulated("poly", (96, 80, 72), photons=1e7)
    found = outline(p)
    assert covered(power, found.support) > 0.97 and found.support.sum() < 2.5 * (power > 1e-3 * power.max()).sum()


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("shape", [(64, 64), (66, 63)])
def test_the_boxs_widths_are_the_objects(name, shape):
    for seed in range(3):
        p, power = simulated(name, shape, seed)
        body = np.fft.fftshift(power) > 1e-3 * power.max()
        true = np.ptp(np.argwhere(body), axis=0) + 1
        assert all(0.85 * t - 1 <= w <= 1.25 * t + 2 for w, t in zip(box_widths(p), true))


def test_what_is_hidden_around_the_zero_frequency():
    p, _ = simulated("poly")
    assert hidden(p).shape == (0, 2) and hidden_speckles(p) == 0
    p, _ = simulated("poly", stop=3.0)
    assert len(hidden(p)) == (~p.measured).sum() and np.abs(hidden(p)).max() == 3
    assert hidden_speckles(p) == pytest.approx(len(hidden(p)) * np.prod(box_widths(p)) / 64**2)
    far = p.measured.copy()
    far[30, 30] = False
    assert len(hidden(replace(p, measured=far))) == len(hidden(p))
