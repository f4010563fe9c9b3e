"""PRTF and FSC: what they are for equal, for unrelated and for half-agreeing runs, and where they cross."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from samples import thing, wave
from untwin import fourier
from untwin.judge.resolution import _curve, fsc, prtf, shells

SHAPES = [(32, 32), (31, 33), (16, 18, 20)]


@pytest.mark.parametrize("shape", SHAPES)
def test_shells_are_rings_of_equal_width_up_to_half_a_cycle_per_pixel(shape):
    index, frequency = shells(shape)
    q = np.sqrt(sum(np.square(f) for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")))
    assert index.shape == shape and frequency[0] == 0 and frequency[-1] == 0.5
    width = frequency[1]
    inside = index < len(frequency)
    assert np.abs(frequency[index[inside]] - q[inside]).max() <= width / 2 + 1e-12
    assert (q[~inside] > 0.5).all() and inside[q < 0.5].all()


@pytest.mark.parametrize("shape", SHAPES)
def test_identical_runs_have_a_transfer_of_one(shape):
    w = fourier.forward(thing(shape, 1), len(shape))
    seen = torch.rand(shape, generator=torch.Generator().manual_seed(0)) > 0.2
    c = prtf(w.expand(5, *shape), seen)
    assert np.allclose(c.value, 1) and c.crossing is None and c.pixels == 2 and c.level == pytest.approx(1 / math.e)


@pytest.mark.parametrize("shape", SHAPES)
def test_runs_that_agree_up_to_a_frequency_lose_their_transfer_there(shape):
    """Random phases above 0.25 cycles per pixel: the mean of 40 of them is 0.14, below 1/e = 0.37."""
    w = fourier.forward(thing(shape, 2), len(shape))
    index, frequency = shells(shape)
    runs = w.expand(40, *shape).clone()
    noise = torch.sgn(wave(shape, 3, 40))
    outside = torch.from_numpy(index > np.searchsorted(frequency, 0.25))
    runs[:, outside] = (runs * noise)[:, outside]
    c = prtf(runs, torch.ones(shape, dtype=torch.bool))
    assert c.crossing == pytest.approx(0.26, abs=0.04) and c.pixels == pytest.approx(1 / c.crossing)
    assert c.value[0] == pytest.approx(1) and max(v for f, v in zip(c.frequency, c.value) if f > 0.3) < 0.3


def test_unmeasured_pixels_and_empty_shells_are_left_out():
    w = fourier.forward(thing((32, 32), 4), 2)
    seen = torch.ones(32, 32, dtype=torch.bool)
    index, frequency = shells((32, 32))
    seen[torch.from_numpy(index < 3)] = False
    broken = w.clone()
    broken[~seen] = 0
    c = prtf(broken.expand(3, 32, 32), seen)
    assert c.frequency[0] == frequency[3] and np.allclose(c.value, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_objects_correlate_fully_opposite_ones_not_at_all(shape):
    w = fourier.forward(thing(shape, 5), len(shape))
    c = fsc(w, 3 * w)
    assert np.allclose(c.value, 1) and c.crossing is None and c.level == 0.5
    assert np.allclose(fsc(w, w * np.exp(1j * np.pi / 3)).value, 0.5)
    assert max(fsc(w, -w).value) == 0


def test_correlation_is_symmetric_and_is_its_formula():
    a, b = wave((20, 21), 6), wave((20, 21), 7)
    assert fsc(a, b).value == pytest.approx(fsc(b, a).value)
    c = fsc(a, a + b, level=0.143)
    index, _ = shells((20, 21))
    i = torch.from_numpy(index == 4)
    want = (a[i] * (a + b)[i].conj()).sum().real / (a[i].norm() * (a + b)[i].norm())
    assert c.value[4] == pytest.approx(float(want)) and c.level == 0.143


def test_the_crossing_is_on_the_straight_line_between_two_shells():
    f = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    c = _curve(f, np.array([1.0, 0.9, 0.7, 0.2, 0.9]), 0.5)
    assert c.crossing == pytest.approx(0.2 + 0.1 * 0.2 / 0.5) and c.pixels == pytest.approx(1 / 0.24)
    assert _curve(f, np.array([1.0, np.nan, 0.7, 0.3, 0.1]), 0.5).crossing == pytest.approx(0.25)
    assert _curve(f[1:], np.array([0.4, 0.9, 0.7, 0.2]), 0.5).crossing == pytest.approx(0.1)


def test_runs_with_random_phases_everywhere_have_no_resolution():
    w = fourier.forward(thing((32, 32), 8), 2)
    for runs in (60, 3):
        c = prtf(w * torch.sgn(wave((32, 32), 9, runs)), torch.ones(32, 32, dtype=torch.bool))
        assert np.mean(c.value[4:]) < 1 / math.e
    c = prtf(w * torch.sgn(wave((32, 32), 9, 60)), torch.ones(32, 32, dtype=torch.bool))
    assert c.crossing is not None and c.pixels > 30
