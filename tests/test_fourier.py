"""Transforms: unitary, inverse, centred, and the sign of a shift."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from laws import adjoint
from samples import close, wave
from untwin import fourier

SHAPES = [(8, 6), (9, 7), (8, 7), (4, 5, 6), (5, 3, 7)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_transform_is_unitary_and_its_inverse_is_its_adjoint(shape):
    d, x, w = len(shape), wave(shape, 1, 2), wave(shape, 2, 2)
    f = fourier.forward(x, d)
    assert f.shape == x.shape
    assert abs(float(f.norm() / x.norm()) - 1) < 1e-14
    assert close(fourier.inverse(f, d), x) < 1e-14
    adjoint(lambda a: fourier.forward(a, d), lambda a: fourier.inverse(a, d), x, w)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_transform_is_the_sum_in_the_docstring(shape):
    """Σ x(r) exp(−2πi k·r / N) / √N, for one k, by hand."""
    x = wave(shape, 3).numpy()
    k = tuple(range(1, 1 + len(shape)))
    phase = sum(q * r / n for q, r, n in zip(k, np.indices(shape), shape))
    want = (x * np.exp(-2j * np.pi * phase)).sum() / np.sqrt(x.size)
    assert abs(complex(fourier.forward(torch.from_numpy(x), len(shape))[k]) - want) < 1e-12


def test_leading_axes_are_a_batch():
    x = wave((6, 5), 4, 3)
    assert torch.equal(fourier.forward(x, 2)[1], fourier.forward(x[1], 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_centred_and_cornered_undo_each_other(shape):
    d, x = len(shape), wave(shape, 5, 2)
    assert torch.equal(fourier.cornered(fourier.centred(x, d), d), x)
    assert torch.equal(fourier.centred(fourier.cornered(x, d), d), x)
    middle = (0, *(n // 2 for n in shape))
    assert fourier.centred(x, d)[middle] == x[(0,) * (d + 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_ramp_in_fourier_space_moves_the_object_by_plus_s(shape):
    d, x = len(shape), wave(shape, 6)
    s = tuple(range(1, 1 + d))
    moved = fourier.inverse(fourier.forward(x, d) * fourier.ramp(shape, s, x), d)
    assert close(moved, x.roll(s, tuple(range(d)))) < 1e-13


@pytest.mark.parametrize("shape", SHAPES)
def test_a_ramp_on_the_object_moves_the_pattern_by_minus_s(shape):
    d, x = len(shape), wave(shape, 7)
    s = tuple(range(1, 1 + d))
    moved = fourier.forward(x * fourier.ramp(shape, s, x), d)
    assert close(moved, fourier.forward(x, d).roll(tuple(-v for v in s), tuple(range(d)))) < 1e-13


def test_a_ramp_takes_its_precision_from_its_model():
    for real, want in ((torch.float32, torch.complex64), (torch.float64, torch.complex128)):
        assert fourier.ramp((4, 4), (1, 2), torch.empty(0, dtype=real)).dtype == want
        assert fourier.ramp((4, 4), (1, 2), torch.empty(0, dtype=want)).dtype == want


@pytest.mark.parametrize("shape", [(32, 32), (33, 31), (24, 25, 26)])
@pytest.mark.parametrize("sigma", [1.6, 2.5])
def test_a_blurred_delta_is_the_gaussian_and_keeps_its_sum(shape, sigma):
    d = len(shape)
    x = torch.zeros((1, *shape), dtype=torch.float64)
    x[(0,) * (d + 1)] = 3
    b = fourier.blur(x, torch.tensor([sigma]), d)[0].numpy()
    square = sum((np.fft.fftfreq(n, 1 / n) ** 2).reshape([-1 if a == i else 1 for a in range(d)]) for i, n in enumerate(shape))
    want = 3 * np.exp(-square / (2 * sigma**2)) / (2 * np.pi * sigma**2) ** (d / 2)
    assert b.sum() == pytest.approx(3, rel=1e-12)
    assert np.abs(b - want).max() < 1e-4 * want.max()


def test_blur_takes_one_sigma_per_start_and_zero_changes_nothing():
    x = wave((12, 9), 8, 3).real
    b = fourier.blur(x, torch.tensor([0.0, 1.0, 2.0]), 2)
    assert close(b[0], x[0]) < 1e-14
    for row, sigma in ((1, 1.0), (2, 2.0)):
        assert close(b[row], fourier.blur(x[row : row + 1], torch.tensor([sigma]), 2)[0]) < 1e-14
    assert close(fourier.blur(x, torch.tensor([1.5]), 2)[2], fourier.blur(x[2:], torch.tensor([1.5]), 2)[0]) < 1e-14


def test_fast_sizes_are_the_smallest_even_ones_with_small_factors():
    def small(n: int) -> bool:
        return n % 2 == 0 and max(p for p in range(1, n + 1) if n % p == 0 and all(p % q for q in range(2, p))) <= 7

    for n in range(1, 300):
        assert fourier.fast_size(n) == next(m for m in range(max(n, 2), 2 * n + 3) if small(m))
    assert [fourier.fast_size(n) for n in (1, 61, 64, 121, 127)] == [2, 64, 64, 126, 128]
