"""Supports from the estimate: thresholds, areas and islands, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from samples import REAL, lopsided, pattern, problem, state, thing, wave
from untwin.errors import InputError
from untwin.solve.recipe import Deal, Draw, Ramp
from untwin.solve.shrinkwrap import AreaWrap, ShrinkWrap, largest, without_islands

SHAPES = [(18, 18), (17, 20), (10, 9, 11)]


def bright(shape, starts=2, seed=0):
    """A problem, and a state whose estimate is a smooth blob in a faint background."""
    p = problem(pattern(thing(shape)))
    x = wave(shape, seed, starts) * 0.1 + 3 * thing(shape, seed + 1)
    return p, state(x, lopsided(shape))


def blurred(x: torch.Tensor, sigma: float) -> np.ndarray:
    """By the definition, in Fourier space, one start."""
    m = np.abs(x.numpy())
    return ndimage.fourier_gaussian(np.fft.fftn(m), sigma)  # scipy's filter: exp(−2π² σ² Σ (k/N)²), at frequency k


def area(support: torch.Tensor) -> list[int]:
    return support.flatten(1).sum(1).tolist()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("level", ["rms", "weighted", "max"])
@pytest.mark.parametrize("sigma", [0.6, 2.0])
def test_the_support_is_where_the_blurred_magnitude_is_above_the_threshold(shape, level, sigma):
    p, s = bright(shape)
    got = ShrinkWrap(threshold=0.5, sigma=sigma, level=level, smallest=0, largest=100).step(p, s)
    for row in range(2):
        m = np.fft.ifftn(blurred(s.x[row], sigma)).real
        inside = m[s.support[row].numpy()]
        value = {
            "rms": np.sqrt((inside**2).mean()),
            "weighted": np.sqrt((inside**4).sum() / (inside**2).sum()),
            "max": m.max(),
        }[level]
        clear = np.abs(m - 0.5 * value) > 1e-5
        assert np.array_equal(got.support[row].numpy()[clear], (m > 0.5 * value)[clear]) and clear.mean() > 0.99
        assert 0 < area(got.support)[row] < m.size
    assert got.x is s.x and got.image is s.image and torch.equal(got.bounds, s.bounds)


def test_the_estimate_decides_and_not_the_iterate():
    p, s = bright((18, 18))
    from dataclasses import replace

    other = replace(s, x=wave((18, 18), 9, 2))
    assert torch.equal(ShrinkWrap().step(p, other).support, ShrinkWrap().step(p, s).support)
    assert torch.equal(AreaWrap().step(p, other).support, AreaWrap().step(p, s).support)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_area_stays_between_its_multiples_of_the_bounds(shape):
    p, s = bright(shape)
    bounds = area(s.bounds)[0]
    assert area(ShrinkWrap(threshold=9.0, smallest=0.3).step(p, s).support) == [int(0.3 * bounds)] * 2
    assert area(ShrinkWrap(threshold=0.001, largest=0.8).step(p, s).support) == [int(0.8 * bounds)] * 2
    assert area(ShrinkWrap(threshold=9.0, smallest=0).step(p, s).support) == [1, 1]
    free = ShrinkWrap(threshold=0.5, smallest=0, largest=100).step(p, s)
    held = ShrinkWrap(threshold=0.5, smallest=0.3, largest=0.8).step(p, s)
    for row, n in enumerate(area(free.support)):
        assert area(held.support)[row] == min(max(n, int(0.3 * bounds)), int(0.8 * bounds))


def test_each_start_has_its_own_threshold_and_its_own_limit():
    p, s = bright((18, 18), 3)
    got = ShrinkWrap(threshold=Deal((0.1, 0.5, 9.0)), sigma=0.7, largest=100, smallest=0.1).step(p, s)
    for row, t in enumerate((0.1, 0.5, 9.0)):
        alone = ShrinkWrap(threshold=t, sigma=0.7, largest=100, smallest=0.1).step(p, s)
        assert torch.equal(got.support[row], alone.support[row])
    assert area(got.support)[0] > area(got.support)[1] > area(got.support)[2]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.05, 0.37, 1.0])
def test_an_area_wrap_takes_exactly_that_share_of_the_bounds_and_the_brightest_of_it(shape, share):
    p, s = bright(shape)
    got = AreaWrap(area=share, sigma=0.7).step(p, s).support
    assert area(got) == [int(share * area(s.bounds)[0])] * 2
    assert not bool((got & ~s.bounds).any())
    for row in range(2):
        m = torch.from_numpy(np.fft.ifftn(blurred(s.x[row], 0.7)).real)
        rest = s.bounds[row] & ~got[row]
        if bool(rest.any()):
            assert float(m[got[row]].min()) >= float(m[rest].max()) - 1e-6


def test_for_a_real_object_an_area_wrap_looks_at_the_positive_part():
    p = problem(pattern(thing((18, 18), real=True)), REAL)
    x = thing((18, 18), 1, real=True).unsqueeze(0) + 0.01
    x = torch.where((torch.arange(18) % 18 == 2)[:, None], -50 * x, x)
    got = AreaWrap(area=0.5, sigma=0).step(p, state(x, lopsided((18, 18)))).support
    assert bool(got.any()) and not bool(got[0, 2].any())


def test_an_area_wrap_never_leaves_the_bounds():
    p = problem(pattern(thing((18, 18), real=True)), REAL)
    x = thing((18, 18), 1, real=True).unsqueeze(0)
    x[:, 1] = -1
    s = state(x, lopsided((18, 18)))
    got = AreaWrap(area=1.0, sigma=0).step(p, s).support
    assert not bool((got & ~s.bounds).any())


@given(arrays(float, (2, 7, 5), elements=st.floats(0, 1, width=32), unique=True), st.integers(1, 35), st.integers(1, 35))
def test_the_largest_pixels_are_as_many_as_asked_and_none_left_out_is_larger(m, a, b):
    got = largest(torch.from_numpy(m), torch.tensor([float(a), float(b)])).numpy()
    for row, n in enumerate((a, b)):
        assert got[row].sum() == min(n, (m[row] > 0).sum())
        assert not (~got[row]).any() or m[row][got[row]].min() > m[row][~got[row]].max()


# islands


def parts(support: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels of the face neighbours on a periodic grid: a plain labelling, joined across every edge."""
    labels, n = ndimage.label(support)
    parent = list(range(n + 1))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for axis in range(support.ndim):
        for i, j in zip(labels.take(0, axis).ravel(), labels.take(-1, axis).ravel()):
            if i and j:
                parent[root(i)] = root(j)
    return np.array([root(i) for i in range(n + 1)])[labels], n


def kept(support: np.ndarray, share: float) -> np.ndarray:
    labels, _ = parts(support)
    size = np.bincount(labels.ravel())
    size[0] = 0
    return support & (size[labels] >= share * support.sum())


@pytest.mark.parametrize("by", [(0, 0), (5, 0), (8, 9), (3, 17)])
def test_islands_are_dropped_and_parts_across_the_edge_of_the_array_are_one(by):
    support = np.zeros((20, 20), bool)
    support[3:11, 4:12] = True  # 64
    support[14:16, 15:18] = True  # 6: 8.6 %
    support = np.roll(support, by, (0, 1))
    s = torch.from_numpy(np.stack([support, support]))
    big = np.zeros((20, 20), bool)
    big[3:11, 4:12] = True
    assert np.array_equal(without_islands(s, 0.1)[1].numpy(), np.roll(big, by, (0, 1)))
    assert torch.equal(without_islands(s, 0.05), s)


def test_islands_in_3d_across_an_edge():
    support = np.zeros((10, 9, 8), bool)
    support[2:5, 2:5, 2:5] = True
    support[7, 7, 6] = True
    s = torch.from_numpy(np.roll(support, (6, -3, 5), (0, 1, 2))[None])
    assert int(without_islands(s, 0.1).sum()) == 27


@given(arrays(bool, (9, 8), elements=st.booleans()), st.sampled_from([0.1, 0.2, 0.4]))
def test_islands_of_any_support_are_those_of_the_periodic_grid(support, share):
    got = without_islands(torch.from_numpy(support[None]), share)[0].numpy()
    assert np.array_equal(got, kept(support, share))


def test_shrink_wrap_drops_islands_when_asked():
    p = problem(pattern(thing((20, 20))))
    x = torch.zeros(1, 20, 20, dtype=torch.complex128)
    x[0, -3:, -3:] = x[0, :3, -3:] = x[0, -3:, :3] = x[0, :3, :3] = 1
    x[0, 10, 10] = 2
    s = state(x, torch.ones(20, 20, dtype=torch.bool))
    assert bool(ShrinkWrap(sigma=0.3, threshold=0.5).step(p, s).support[0, 10, 10])
    got = ShrinkWrap(sigma=0.3, threshold=0.5, islands=0.1).step(p, s).support
    assert not bool(got[0, 10, 10]) and area(got) == [36]


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": 0},
        {"threshold": Draw(-1, 1)},
        {"sigma": -1},
        {"level": "mean"},
        {"level": "max", "threshold": 1.0},
        {"level": "max", "threshold": Ramp(0.5, 1.5)},
        {"islands": 2},
        {"smallest": 0.5, "largest": 0.5},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match="ShrinkWrap"):
        ShrinkWrap(**settings)


@pytest.mark.parametrize("settings", [{"area": 0}, {"area": Ramp(0.5, 1.5)}, {"sigma": -0.1}], ids=str)
def test_areas_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match="AreaWrap"):
        AreaWrap(**settings)
