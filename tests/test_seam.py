"""A crop is told from a pattern that goes on across its edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import untwin as ut
from untwin.model.seam import outermost, seam
from untwin.simulate import shapes
from untwin.simulate.detector import measure


def ideal(shape: tuple[int, ...], photons: float, seed: int = 0) -> ut.Pattern:
    rng = np.random.default_rng(seed)
    return measure(shapes.poly(shape, rng), photons, rng)[0]


def cropped(pattern: ut.Pattern, size: int) -> ut.Pattern:
    at = tuple(slice(n // 2 - size // 2, n // 2 - size // 2 + size) for n in pattern.shape)
    cut = np.fft.ifftshift(np.fft.fftshift(pattern.intensity)[at])
    return ut.Pattern(cut, np.ones(cut.shape, dtype=bool))


@pytest.mark.parametrize("shape", [(64, 64), (31, 40), (24, 24, 24)])
@pytest.mark.parametrize("photons", [1e3, 1e6, 1e9])
def test_a_pattern_on_its_own_grid_stays_as_it_is(shape, photons):
    for seed in range(3):
        assert not seam(ideal(shape, photons, seed)).parts


def test_of_a_crop_the_outermost_pixels_are_unmeasured_and_it_is_said():
    pattern = cropped(ideal((64, 64, 64), 1e9), 24)
    fit = seam(pattern)
    assert fit.ratio > 2 and fit.significance > 5
    plan = "Plan(Inspect, Search(2*ER, starts=1))"
    inner = ut.reconstruct(pattern, plan, workers=1)
    measured = np.fft.fftshift(inner.pattern.measured)
    assert measured[1:-1, 1:-1, 1:-1].all() and measured.sum() == 22**3 and not inner.pattern.intensity[~inner.pattern.measured].any()
    assert "a crop (opposite faces differ" in inner.verdict.text and (~measured == np.fft.fftshift(outermost(pattern))).all()
    assert not seam(inner.pattern).parts, "once is enough: a result that was saved is read back as it was"


def test_faces_that_were_not_measured_or_are_dark_say_nothing():
    pattern = ideal((32, 32), 1e6)
    measured = np.ones(pattern.shape, dtype=bool)
    measured[16], measured[:, 15] = False, False
    assert not seam(replace(pattern, measured=measured, intensity=np.where(measured, pattern.intensity, 0))).parts
    intensity = np.zeros((32, 32), np.float32)
    intensity[:3, :3] = 1000
    dark = ut.Pattern(intensity, np.ones((32, 32), bool))
    assert np.isnan(seam(dark).ratio) and not seam(dark).parts
