"""What must hold for every operator, loss, metric and solver: on even, odd, prime and mixed sizes, 2D and 3D, whole or with holes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import untwin as ut
from laws import adjoint, equivariant
from samples import REAL, lopsided, pattern, problem, thing, wave
from untwin import fourier
from untwin.judge import metrics
from untwin.model.alignment import align, twin
from untwin.model.constraints import Support

SHAPES = st.one_of(st.tuples(*[st.integers(5, 17)] * 2), st.tuples(*[st.integers(3, 9)] * 3))
SEEDS = st.integers(0, 2**20)
DOUBLE, SINGLE = (torch.complex128, 1e-12), (torch.complex64, 1e-5)


def mask(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    seen = torch.from_numpy(np.random.default_rng(seed).random(shape) > 0.3)
    seen.view(-1)[0] = True
    return seen


def operator(
    name: str, shape: tuple[int, ...], seed: int, kind: torch.dtype
) -> tuple[Callable, Callable, tuple[int, ...], tuple[int, ...]]:
    """(A, A*, shape of x, shape of A x) with leading axes."""
    d = len(shape)
    real = kind.to_real()
    match name:
        case "fourier":
            return lambda x: fourier.forward(x, d), lambda w: fourier.inverse(w, d), (2, *shape), (2, *shape)
        case "far field":
            f = ut.physics.FarField(d, tuple(0.5 * (seed >> k & 1) for k in range(d)))
            return f.propagate, f.backpropagate, (2, *shape), (2, *shape)
        case "mask":
            m = ut.physics.Mask(mask(shape, seed))
            return m, m.adjoint, (1, *shape), (1, *shape)
        case "blur":
            b = ut.physics.Blur(wave(tuple(min(3 + k, n) for k, n in enumerate(shape)), seed).real.to(real))
            return b, b.adjoint, (1, *b.object_grid(shape)), (1, *shape)
        case "coarse pixels":
            c = ut.physics.Downsample(2, mean=bool(seed & 1), axes=d)
            return c, c.adjoint, (1, *c.object_grid(shape)), (1, *shape)
        case "mri":
            m = ut.physics.MRI(mask(shape, seed), wave((3, *shape), seed).to(kind))
            return m, m.adjoint, (1, *shape), (3, *shape)
    raise AssertionError(name)


@pytest.mark.parametrize("kind, within", [DOUBLE, SINGLE], ids=["float64", "float32"])
@pytest.mark.parametrize("name", ["fourier", "far field", "mask", "blur", "coarse pixels", "mri"])
@settings(max_examples=40)
@given(shape=SHAPES, seed=SEEDS)
def test_every_operator_has_its_adjoint(name, kind, within, shape, seed):
    forward, backward, before, after = operator(name, shape, seed, kind)
    adjoint(forward, backward, wave(before, seed).to(kind), wave(after, seed + 1).to(kind), within)


@given(shape=SHAPES, seed=SEEDS, starts=st.integers(1, 3))
def test_energy_is_kept(shape, seed, starts):
    """Parseval, for the transform and for the far field behind an offset; and what the far field reads adds up to it."""
    x, d = wave(shape, seed, starts), len(shape)
    f = ut.physics.FarField(d, (0.5,) * d)
    energy = float(x.abs().square().sum())
    for y in (fourier.forward(x, d), fourier.inverse(x, d), f.propagate(x), f.backpropagate(x)):
        assert abs(float(y.abs().square().sum()) / energy - 1) < 1e-12
    assert abs(float(f(x).sum()) / energy - 1) < 1e-12


# slopes


def slope(function: Callable, at: list[torch.Tensor], seed: int, h: float) -> None:
    """The derivative along a random direction, by autograd and by central differences (of fourth order). Complex variables: with
    L real, dL = Re Σ conj(∂L) dx, where torch's gradient is ∂L = ∂L/∂Re + i ∂L/∂Im (twice Wirtinger's derivative by conj x)."""
    at = [x.clone().requires_grad_(True) for x in at]
    function(*at).backward()
    directions = [
        wave(tuple(x.shape), seed + i).to(x.dtype) if x.is_complex() else wave(tuple(x.shape), seed + i).real for i, x in enumerate(at)
    ]
    with torch.no_grad():
        f = {k: float(function(*(x + k * h * v for x, v in zip(at, directions)))) for k in (-2, -1, 1, 2)}
    want = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
    got = sum(float((x.grad.conj() * v).real.sum()) if x.is_complex() else float((x.grad * v).sum()) for x, v in zip(at, directions))
    size = sum(float(x.grad.norm() * v.norm()) for x, v in zip(at, directions))
    assert abs(got - want) <= 1e-6 * size


LOSSES = [ut.losses.Amplitude(), ut.losses.Intensity(), ut.losses.Poisson(), ut.losses.Poisson(0.5)]


@pytest.mark.parametrize("hide", [0.0, 0.3], ids=["whole", "holes"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@settings(max_examples=25)
@given(shape=SHAPES, seed=SEEDS)
def test_the_slopes_of_the_misfit_are_central_differences(loss, hide, shape, seed):
    """By the complex pixels (Wirtinger), and by magnitude and phase."""
    p = problem(pattern(thing(shape, 1), hide=hide, photons=1e5, seed=seed % 7), Support(), loss=loss)
    x = wave(shape, seed, 1) * 10
    slope(lambda x: p.misfit(x).sum(), [x], seed, 1e-5)
    slope(lambda m, phase: p.misfit(torch.polar(m, phase)).sum(), [x.abs() + 1, x.angle()], seed, 1e-5)


@pytest.mark.parametrize("loss", [ut.losses.Squared(), ut.losses.Absolute(), ut.losses.Huber(0.3)], ids=repr)
@given(seed=SEEDS)
def test_the_slopes_of_the_losses_of_pictures_are_central_differences(loss, seed):
    physics = ut.physics.Blur(wave((3, 4), 1).real)
    y, seen = wave((1, 9, 8), seed).real, mask((1, 9, 8), seed)
    x = wave((1, 1, *physics.object_grid((9, 8))), seed + 1).real
    slope(lambda x: loss(physics(x), y, seen).sum(), [x], seed, 1e-8)


# symmetry


def copies(x: torch.Tensor, by: tuple[int, ...]) -> list[torch.Tensor]:
    d = len(by)
    turned = x * torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64))
    return [turned, x.roll(by, tuple(range(-d, 0))), twin(x, d)]


METRICS = [metrics.r_factor, metrics.chi_square_amplitude, metrics.chi_square_intensity, metrics.half_deviance, metrics.log_likelihood]


@given(shape=SHAPES, seed=SEEDS)
def test_magnitudes_and_metrics_do_not_see_phase_shift_and_twin(shape, seed):
    d, f = len(shape), ut.physics.FarField(len(shape))
    x = wave(shape, seed, 2) * 5
    counts = f(wave(shape, seed + 1) * 5)
    seen = mask(shape, seed)
    by = tuple(int(n) for n in np.random.default_rng(seed).integers(-9, 9, d))
    y = wave(shape, seed + 2) * 5
    error = align(x, y, d, subpixel=False).error
    for copy in copies(x, by):
        assert float((f(copy).sqrt() - f(x).sqrt()).abs().max()) <= 1e-12 * float(f(x).sqrt().max())
        for metric in METRICS:
            a, b = metric(f(copy), counts, seen), metric(f(x), counts, seen)
            assert float((a - b).abs().max()) <= 1e-10 * float(b.abs().max())
        assert float((align(copy, y, d, subpixel=False).error - error).abs().max()) <= 1e-10


ALGORITHMS = [
    ut.algorithms.ER(),
    ut.algorithms.HIO(),
    ut.algorithms.RAAR(),
    ut.algorithms.DM(),
    ut.algorithms.SF(),
    ut.algorithms.HPR(),
    ut.algorithms.RRR(),
    ut.algorithms.ADMM(),
]


@pytest.mark.parametrize("real", [False, True], ids=["complex", "positive"])
@pytest.mark.parametrize("hide", [0.0, 0.2], ids=["whole", "holes"])
@pytest.mark.parametrize("shape", [(12, 10), (13, 11), (9, 14), (5, 6, 7)], ids=str)
def test_every_solver_moves_with_its_start(shape, hide, real):
    """After 1 iteration to 1e-10, after 50 to 1e-6. Holes must be where they were for the twin, so they come in pairs."""
    measured = mask(shape, 3)
    measured &= measured.flip(tuple(range(len(shape)))).roll((1,) * len(shape), tuple(range(len(shape))))
    p = pattern(thing(shape, 1, real))
    if hide:
        p = ut.Pattern(np.where(measured, p.intensity, 0), measured.numpy())
    whole = problem(p, REAL if real else Support())
    for algorithm in ALGORITHMS:
        equivariant(whole, 1 * algorithm, lopsided(shape), within=1e-10)
        equivariant(whole, 50 * algorithm, lopsided(shape), within=1e-6)
