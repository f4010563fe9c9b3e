"""Pixels that are no light of the object, told by the counts: as their definitions say, pixel by pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from untwin.data import centre
from untwin.data.faults import CHANCE, NEIGHBOUR
from untwin.data.measurement import Pattern
from untwin.data.outliers import NEIGHBOURS, isolated


def pattern(shape: tuple[int, ...], seed: int) -> Pattern:
    """Speckles of every brightness, with a tenth of the pixels hidden and hot ones among the others; and in a dark patch, along the last
    axis: one beside a bright neighbour, one with two alike at two pixels, one most of whose neighbours are hidden, and one beside the zero
    frequency."""
    rng = np.random.default_rng(seed)
    x = np.zeros(shape, dtype=complex)
    x[tuple(slice(0, n // 3) for n in shape)] = np.exp(6j * rng.random(tuple(n // 3 for n in shape)))
    mean = np.abs(np.fft.fftn(x)) ** 2
    counts = rng.poisson(mean * (8 * mean.size / mean.sum())).astype(np.float32)
    hot = rng.random(shape) < 3e-3
    counts[hot] += rng.choice([90, 300, 900], int(hot.sum())).astype(np.float32)
    measured = rng.random(shape) > 0.1
    patch = (*(slice(0, 7) for _ in shape[:-1]), slice(None))
    counts[patch], measured[patch] = rng.poisson(1.0, counts[patch].shape), True
    line = (3,) * (len(shape) - 1)
    for at, value in ((5, 17_000), (6, 90_000), (11, 300), (13, 900), (15, 300), (20, 900)):
        counts[(*line, at)] = value
    counts[(0,) * (len(shape) - 1) + (1,)] = 900
    measured[(*(slice(2, 5) for _ in line), slice(19, 22))] = False
    measured[(*line, slice(19, 22))] = True
    return Pattern(np.where(measured, counts, 0), measured)


@pytest.mark.parametrize("shape", [(48, 40), (65, 46), (16, 18, 26)])
def test_hot_pixels_are_those_that_their_definition_names(shape):
    """Over whole arrays: five times the brightest neighbour and the second of the next ring, by no chance, five neighbours
    measured."""
    p = pattern(shape, 5)
    steps = [s for s in itertools.product(range(-2, 3), repeat=len(shape)) if any(s)]
    near = [s for s in steps if max(map(abs, s)) == 1]

    def around(values: np.ndarray, these: list[tuple[int, ...]]) -> np.ndarray:
        return np.stack([np.roll(values, [-a for a in s], range(len(shape))) for s in these])

    light = p.intensity.astype(np.float64)
    brightest = around(light, near).max(0)
    second = np.sort(around(light, [s for s in steps if s not in near]), axis=0)[-2]
    central = np.add.reduce(np.meshgrid(*(np.minimum(np.arange(n), n - np.arange(n)) > 1 for n in shape), indexing="ij")) == 0
    hot = (NEIGHBOUR * light > np.maximum(brightest, second)) & (stats.poisson.cdf(brightest, NEIGHBOUR * light) < CHANCE)
    hot &= (NEIGHBOUR * light > -np.log(CHANCE)) & (around(p.measured, near).sum(0) >= NEIGHBOURS) & ~central & p.measured
    assert hot.sum() >= 3 and hot[(3,) * (len(shape) - 1) + (6,)]
    assert np.array_equal(isolated(p), hot)


@pytest.mark.parametrize("shape", [(48, 40), (65, 46), (16, 18, 26)])
def test_whole_counts_and_those_that_are_nearly_so_are_as_asymmetric(shape):
    p = pattern(shape, 6)
    for middle in (tuple(n // 2 for n in shape), tuple(n / 2 - 1.5 for n in shape)):
        whole, nearly = (centre.asymmetry_about(p.intensity.astype(np.float64) * f, p.measured, middle) for f in (1, 1 + 1e-9))
        assert nearly == pytest.approx(whole, abs=1e-7)


def test_the_edges_of_a_large_real_object_are_not_hot_and_a_hot_pixel_beside_them_is():
    x = np.ones((45, 45))
    x[:, 12:33] = 0  # two slits, which fill 0.8 of the field
    mean = np.abs(np.fft.fft2(x, (56, 56))) ** 2
    counts = np.random.default_rng(3).poisson(3e6 * mean / mean.sum()).astype(np.float32)
    assert not isolated(Pattern(counts, np.ones(counts.shape, bool))).any()
    counts[20, 9] = 900
    assert np.argwhere(isolated(Pattern(counts, np.ones(counts.shape, bool)))).tolist() == [[20, 9]]


def test_two_of_many_hot_pixels_that_are_opposite_to_each_other_are_hot_as_the_others_are():
    counts = np.random.default_rng(3).poisson(2.0, (56, 56)).astype(np.float32)
    at = (np.array([20, 36, 5, 9, 17, 40]), np.array([9, 47, 8, 50, 21, 11]))
    counts[at] = 900
    hot = isolated(Pattern(counts, np.ones(counts.shape, bool)))
    assert hot[at].all() and hot.sum() == 6
