"""The far field: adjoint, unitary, magnitudes, and what it cannot tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from laws import adjoint
from samples import close, pattern, problem, thing, wave
from untwin.model.alignment import twin
from untwin.model.losses import Amplitude, Intensity, Poisson
from untwin.model.waves.farfield import FarField

GRIDS = [(16, 16), (15, 9), (13, 11), (16, 7), (8, 6, 10), (9, 5, 15), (7, 5, 11)]
EVERY = [(s, o) for s in GRIDS for o in ((), (0.5,) * len(s), (0.5, 0.0, 0.5)[: len(s)])]


@pytest.mark.parametrize(("shape", "offset"), EVERY)
def test_backpropagate_is_the_adjoint_and_the_inverse_of_propagate(shape, offset):
    f = FarField(len(shape), offset)
    x, w = wave(shape, 1, 2), wave(shape, 2, 2)
    adjoint(f.propagate, f.backpropagate, x, w, within=1e-12)
    assert close(f.backpropagate(f.propagate(x)), x) < 1e-13
    assert close(f.propagate(f.backpropagate(w)), w) < 1e-13
    assert float(f.propagate(x).norm()) == pytest.approx(float(x.norm()), rel=1e-13)


@pytest.mark.parametrize(("shape", "offset"), EVERY)
def test_the_intensity_is_the_squared_modulus_of_the_wave(shape, offset):
    f, x = FarField(len(shape), offset), wave(shape, 3, 2)
    assert not f(x).is_complex()
    assert close(f(x), f.propagate(x).abs().square()) < 1e-14


@pytest.mark.parametrize(("shape", "offset"), EVERY)
def test_the_wave_is_the_continuous_transform_at_k_minus_offset(shape, offset):
    """Σ x(r) exp(−2πi (k − offset)·r / N) / √N with r from −N/2: the true zero frequency lies at index `offset`."""
    x = wave(shape, 4).numpy()
    k, s = (1, 2, 3)[: len(shape)], offset or (0.0,) * len(shape)
    r = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    phase = sum((q - o) * a / n for q, o, a, n in zip(k, s, r, shape))
    want = (x * np.exp(-2j * np.pi * phase)).sum() / np.sqrt(x.size)
    got = complex(FarField(len(shape), offset).propagate(torch.from_numpy(x))[k])
    assert abs(got - want) < 1e-12


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("half", [False, True])
def test_a_real_object_has_a_pattern_that_mirrors_about_its_true_centre(shape, half):
    offset = (0.5,) * len(shape) if half else ()
    f = FarField(len(shape), offset)(thing(shape, 1, real=True))
    axes = tuple(range(len(shape)))
    assert close(f.flip(axes).roll((2 if half else 1,) * len(shape), axes), f) < 1e-13


@pytest.mark.parametrize("loss", [Amplitude(), Intensity(), Poisson()], ids=repr)
@pytest.mark.parametrize("shape", [(18, 18), (17, 19), (12, 13, 12)])
def test_the_misfit_is_blind_to_shift_twin_and_global_phase(shape, loss):
    d, axes = len(shape), tuple(range(-len(shape), 0))
    p = problem(pattern(thing(shape, 2), hide=0.2, photons=1e4), loss=loss)
    x = thing(shape, 3).unsqueeze(0)
    e = float(p.misfit(x))
    assert e > 1
    assert float(p.misfit(x.roll((1, 5, 2)[:d], axes))) == pytest.approx(e, rel=1e-12)
    assert float(p.misfit(x * np.exp(1.1j))) == pytest.approx(e, rel=1e-12)
    y = twin(x, d)
    assert close(p.predict(y), p.predict(x)) < 1e-13
    assert float(p.misfit(y)) == pytest.approx(e, rel=1e-12)


@pytest.mark.parametrize("shape", [(18, 18), (17, 19)])
def test_with_a_half_pixel_offset_the_misfit_is_still_blind(shape):
    p = problem(pattern(thing(shape, 2), (0.5, 0.5), photons=1e4))
    x = thing(shape, 3).unsqueeze(0)
    e = float(p.misfit(x))
    assert float(p.misfit(x.roll((1, -2), (-2, -1)))) == pytest.approx(e, rel=1e-12)
    assert float(p.misfit(twin(x, 2))) == pytest.approx(e, rel=1e-12)
