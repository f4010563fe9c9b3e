"""Shift, twin, global phase: alignment takes all three away."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samples import close, lopsided, thing, wave
from untwin import fourier
from untwin.model.alignment import align, canonical, centring, extent, flipped, nearest, rolled, shift, twin
from untwin.model.symmetry import FarFieldSymmetry
from untwin.model.waves.farfield import FarField

SHAPES = [(16, 16), (17, 15), (16, 13), (12, 12, 12), (9, 12, 10)]
FINE = 4e-3  # shifts are found to 1/512 pixel, which moves a smooth object by about 2π/512 · 0.15 of its norm per axis


def smooth(shape: tuple[int, ...], seed: int = 0, starts: int = 1) -> torch.Tensor:
    """Complex noise blurred by 1.2 pixels, in an envelope: band-limited, so that a fraction of a pixel makes sense."""
    d, x = len(shape), wave(shape, seed, starts) * lopsided(shape)
    sigma = torch.tensor([1.2])
    return torch.complex(fourier.blur(x.real, sigma, d), fourier.blur(x.imag, sigma, d))


def rows(*by: float) -> torch.Tensor:
    return torch.tensor([by], dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_twin_twice_is_the_object_and_once_is_conj_x_of_minus_r(shape):
    d, x = len(shape), wave(shape, 1, 2)
    y = twin(x, d)
    assert torch.equal(twin(y, d), x)
    r = (1, 3, 2)[:d]
    assert y[(0, *r)] == x[(0, *((-a) % n for a, n in zip(r, shape)))].conj()
    assert y[(0,) * (d + 1)] == x[(0,) * (d + 1)].conj()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_twin_has_the_same_far_field(shape):
    d, x = len(shape), wave(shape, 2, 2)
    assert close(FarField(d)(twin(x, d)), FarField(d)(x)) < 1e-13
    assert close(fourier.forward(twin(x, d), d), fourier.forward(x, d).conj()) < 1e-13


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shift_by_whole_pixels_is_a_roll_and_shifts_add(shape):
    d, x = len(shape), smooth(shape)
    by = (3.0, -2.0, 1.0)[:d]
    assert close(shift(x, rows(*by), d), x.roll(tuple(int(v) for v in by), tuple(range(-d, 0)))) < 1e-13
    half = shift(shift(x, rows(*(v / 2 for v in by)), d), rows(*(v / 2 for v in by)), d)
    assert close(half, shift(x, rows(*by), d)) < 1e-4  # the Nyquist row of even sizes has no half shift


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("by", [(0, 0, 0), (3, -2, 5), (-6, 7, 0), (8, 5, 6)])
def test_align_undoes_whole_shifts_the_twin_and_the_phase_of_any_object(shape, turned, by):
    """White noise in a tight support: nothing is smooth about it."""
    d, ref = len(shape), thing(shape, 3)
    x = ref.unsqueeze(0)
    x = (twin(x, d) if turned else x).roll(by[:d], tuple(range(-d, 0))) * np.exp(2.1j)
    for subpixel in (True, False):
        a = align(x, ref, d, subpixel)
        assert float(a.error) < 1e-6 and bool(a.twin) is turned
        assert close(a.x[0], ref) < 1e-6
        assert float(a.factor.abs()) == pytest.approx(1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("by", [(0.5, 0.5, 0.5), (-3.3, 2.71, 0.4), (0.013, -5.49, 4.5)])
def test_align_undoes_fractional_shifts_of_smooth_objects(shape, turned, by):
    d, ref = len(shape), smooth(shape, 4)[0]
    x = shift(ref.unsqueeze(0), rows(*by[:d]), d)
    x = (twin(x, d) if turned else x) * np.exp(-0.6j) * 3
    a = align(x, ref, d)
    assert float(a.error) < FINE and bool(a.twin) is turned
    assert close(a.x[0] / 3, ref) < 1.5 * FINE


def test_the_shift_that_align_reports_is_the_one_that_was_made():
    ref = smooth((20, 18), 5)[0]
    a = align(shift(ref.unsqueeze(0), rows(2.3, -4.6), 2), ref, 2)
    assert a.by[0].tolist() == pytest.approx([-2.3, 4.6], abs=3e-3)


def test_single_precision_is_enough():
    ref = smooth((20, 18), 5)[0].to(torch.complex64)
    a = align(twin(ref.unsqueeze(0), 2).roll((3, 4), (1, 2)), ref, 2)
    assert float(a.error) < 2e-3 and a.x.dtype == torch.complex64


def test_the_error_is_its_formula():
    x, y = wave((12, 11), 6, 1), wave((12, 11), 7)
    a = align(x, y, 2)
    overlap = abs(complex(torch.vdot(y.flatten(), a.x[0].flatten()))) / float(y.norm() * a.x[0].norm())
    assert float(a.error) == pytest.approx(np.sqrt(1 - overlap**2), abs=1e-9)
    assert 0.5 < float(a.error) < 1


def test_the_error_is_symmetric_and_blind_to_scale():
    for seed in range(4):
        x, y = smooth((16, 15), 10 + seed), smooth((16, 15), 20 + seed)
        e = float(align(x, y[0], 2).error)
        assert float(align(y, x[0], 2).error) == pytest.approx(e, abs=1e-3)
        assert float(align(7 * x, y[0], 2).error) == pytest.approx(e, abs=1e-9)


def test_a_batch_is_aligned_one_by_one():
    ref = smooth((16, 15), 8)[0]
    x = torch.cat([smooth((16, 15), 9, 2), shift(twin(ref.unsqueeze(0), 2), rows(1.5, 2), 2), ref.unsqueeze(0)])
    together = align(x, ref, 2)
    assert together.twin.tolist()[2:] == [True, False]
    for row in range(4):
        alone = align(x[row : row + 1], ref, 2)
        assert float(alone.error) == pytest.approx(float(together.error[row]), abs=1e-9)
        assert close(alone.x[0], together.x[row]) < 1e-9


def test_an_empty_object_is_as_far_as_can_be_and_no_nan():
    a = align(torch.zeros(1, 8, 8, dtype=torch.complex128), thing((8, 8)), 2)
    assert float(a.error) == 1 and bool(a.x.isfinite().all())


def test_real_objects_are_aligned_too():
    ref = thing((16, 13), 9, real=True)
    a = align(ref.flip((0, 1)).roll((4, 5), (0, 1)).unsqueeze(0), ref, 2)
    assert float(a.error) < 1e-6 and bool(a.twin)


def test_distances_are_a_symmetric_table_with_an_empty_diagonal():
    x = smooth((16, 15), 11, 4)
    x[3] = twin(x[:1], 2)[0].roll((2, 3), (0, 1)) * 1j
    t = FarFieldSymmetry(2).distances(x)
    assert torch.equal(t, t.T) and float(t.diagonal().abs().max()) == 0
    assert float(t[0, 3]) < 1e-3 and float(t[0, 1]) > 0.2
    assert float(t[1, 2]) == pytest.approx(float(align(x[2:3], x[1], 2).error), abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_centre_brings_the_centre_of_mass_to_index_zero_wherever_it_was(shape):
    d, axes = len(shape), tuple(range(-len(shape), 0))
    x = thing(shape, 12).unsqueeze(0)

    def centre(y):
        return y.roll(centring(y[0]), axes)

    home = centre(x)
    assert torch.equal(centre(home), home)
    for by in ((1, 2, 3), (7, -4, 5), (8, 6, 6)):
        assert torch.equal(centre(x.roll(by[:d], axes)), home)
    weight = home[0].abs().square()
    for axis, n in enumerate(shape):
        angle = 2 * torch.pi * torch.arange(n) / n
        line = weight.sum(dim=tuple(a for a in range(d) if a != axis))
        assert abs(float(torch.atan2((line * angle.sin()).sum(), (line * angle.cos()).sum()))) <= np.pi / n + 1e-9


def copies(x: torch.Tensor, seed: int, real: bool = False) -> torch.Tensor:
    """Each of x moved by whole pixels, turned or not, and with a phase of its own."""
    g, d = torch.Generator().manual_seed(seed), x.ndim - 1
    by = torch.stack([torch.randint(0, n, (len(x),), generator=g) for n in x.shape[1:]], 1)
    turned = (torch.rand(len(x), generator=g) < 0.5).reshape((-1,) + (1,) * d)
    y = rolled(torch.where(turned, twin(x, d), x), by, d)
    return y if real else y * torch.exp(2j * torch.pi * torch.rand(len(x), generator=g, dtype=torch.float64)).reshape(turned.shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("real", [False, True])
def test_the_canonical_copy_is_the_same_for_every_copy(shape, real):
    d, x = len(shape), smooth(shape, 3, 40)
    x = x.abs().square() if real else x
    chosen, distance = canonical(x, d)
    for seed in range(3):
        again, _ = canonical(copies(x, seed, real), d)
        assert close(again, chosen) < 1e-9
    assert close(canonical(chosen, d)[0], chosen) < 1e-12
    assert close(fourier.forward(chosen, d).abs(), fourier.forward(x, d).abs()) < 1e-12
    assert (distance > 0).all() and chosen.is_complex() != real


def test_an_object_without_skewness_is_told_from_its_twin_by_its_waves():
    """The magnitude is its own mirror image, the phase is not."""
    x = torch.zeros(1, 16, 16, dtype=torch.complex128)
    x[0, 4:9, 5:10] = 1
    r = torch.arange(16, dtype=torch.float64)
    x = x * torch.exp(1j * (0.1 * (r[:, None] - 6) ** 2 + 0.05 * (r - 7) * (r[:, None] - 6)))
    assert close(canonical(copies(x, 0), 2)[0], canonical(x, 2)[0]) < 1e-9
    assert close(canonical(twin(x, 2), 2)[0], canonical(x, 2)[0]) < 1e-9 < close(twin(x, 2), x)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_brings_every_copy_back(shape):
    d, x = len(shape), smooth(shape, 4, 12)
    assert close(nearest(copies(x, 1), x, d), x) < 1e-9
    assert close(nearest(copies(x.abs(), 1, real=True), x.abs(), d), x.abs()) < 1e-9


def test_nearest_leaves_the_phase_alone_where_it_is_told_to():
    x = smooth((16, 13), 5, 4)
    moved = nearest(rolled(twin(x, 2), torch.tensor([[1, 2]] * 4), 2), x, 2, turn=False)
    assert close(moved, x) < 1e-9
    turned = nearest(x * torch.exp(torch.tensor(0.4j)), x, 2, turn=False)
    assert close(turned, x * torch.exp(torch.tensor(0.4j))) < 1e-9


@pytest.mark.parametrize("shape", [(8,), (9,), (6, 8), (7, 6), (4, 5, 6)], ids=str)
def test_nearest_within_a_box_has_the_pattern_of_the_larger_array(shape):
    """Objects that fill their box or a part of it, up to every edge: what comes back has their |F| in an array of twice the size."""
    d, n = len(shape), 12
    x = wave((n, *shape))
    x[n // 2 :].narrow(1, 0, 1).zero_()
    said = torch.where(torch.arange(n).reshape((-1,) + (1,) * d) % 2 == 0, flipped(x, d), wave((n, *shape)))
    moved = fourier.centred(nearest(fourier.cornered(x, d), fourier.cornered(said, d), d, wrap=False), d)

    def pattern(a):
        whole = torch.nn.functional.pad(a, [k for m in shape[::-1] for k in (0, m)])
        return torch.fft.fftn(whole, dim=tuple(range(-d, 0))).abs()

    assert close(pattern(moved), pattern(x)) < 1e-9
    assert close(moved[::2], said[::2]) < 1e-9, "the twin as it lies in the box is found"


@pytest.mark.parametrize("d", [1, 2, 3])
def test_nearest_within_a_box_carries_nothing_around_its_edges(d):
    """An object of two points at an edge: the copy across the edge is nearer to the reference, and is no copy in a larger array."""
    x, reference = torch.zeros((1, *(8,) * d)), torch.zeros((1, *(8,) * d))
    x[(0, *(5,) * d)], x[(0, *(7,) * d)] = 2.0, 1.0  # centred: 7 is the last pixel
    reference[(0, *(7,) * d)], reference[(0, *(1,) * d)] = 2.0, 1.0  # the same, two pixels on and around the edge
    corner = [fourier.cornered(a, d) for a in (x, reference)]
    around, within = (fourier.centred(nearest(*corner, d, wrap=w), d) for w in (True, False))
    assert torch.equal(around, reference)
    low, high = extent(within, d)
    assert bool((high - low == 2).all()) and float(within.sum()) == 3.0
    assert float((within * reference).sum()) == 4.0, "its large point on the reference's, the other one within"
    moved = rolled(x, torch.full((1, d), -5), d)
    back = fourier.centred(nearest(fourier.cornered(x, d), fourier.cornered(moved, d), d, wrap=False), d)
    assert torch.equal(back, moved), "shifts that stay within are all there"


def test_few_objects_jump_across_the_cut_under_two_per_cent_of_noise():
    """The share stands in docs/learn.md; no choice can make it nothing."""
    from untwin.simulate.dataset import Crystals

    x = fourier.cornered(Crystals("cdi-nn", 5, 1000).batch(range(200)).image, 2).to(torch.complex128)
    noise = wave((32, 32), 1, 200) / wave((32, 32), 1, 200).abs().square().mean().sqrt()
    noisy = x + 0.02 * x.abs().amax((1, 2), keepdim=True) * noise * (x != 0)
    one, other = canonical(x, 2)[0], canonical(noisy, 2)[0]
    apart = (one - other).flatten(1).norm(dim=1) / one.flatten(1).norm(dim=1)
    assert apart.median() < 0.06 and 0 < (apart > 0.2).double().mean() < 0.05
