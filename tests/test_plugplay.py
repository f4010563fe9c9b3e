"""Denoisers as priors: the shipped network, any function, and the plug-and-play steps against few-line references of their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.errors import InputError
from untwin.model.networks import dncnn, weights
from untwin.runs.plugplay import deblurred
from untwin.solve.normal import least_squares, maps, norm

KERNEL = torch.tensor([[0.0, 1, 0, 0], [1, 2, 1, 1], [0, 1, 0, 0]]) / 7
HALVES = ut.priors.Denoiser(lambda x, s: x / (1 + s))  # linear, so that references are exact
STEPS = (
    ut.algorithms.PnP(HALVES, 0.2),
    ut.algorithms.RED(HALVES, 0.3, 0.2),
    ut.algorithms.HQS(HALVES, 0.05, level=0.1),
    ut.algorithms.PnPADMM(HALVES, 0.05, 0.1),
    ut.algorithms.GradientStep(HALVES),
)


def scene(n: int = 48, channels: int = 1) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    plane = 0.2 + 0.5 * ((y - n // 2) ** 2 + (x - n // 3) ** 2 < n * n / 16) + 0.2 * (x > 3 * n // 4) + 0.1 * (y / n)
    return torch.stack([plane * (1 - 0.3 * c) for c in range(channels)]).float()


def noise(shape, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def psnr(a, b) -> float:
    return -10 * math.log10(float((a - b).square().mean()))


def problem(physics=None, n: int = 16, channels: int = 1) -> ut.Picture:
    physics = physics or ut.physics.Blur(KERNEL)
    x = scene(n, channels)
    grid = physics.object_grid(tuple(x.shape[1:]))
    f = physics(torch.nn.functional.pad(x[None], (0, grid[1] - n, 0, grid[0] - n), "replicate"))[0]
    return ut.Picture(f + 0.05 * noise(f.shape).to(f.dtype), physics)


def last(problem, recipe, x=None):
    return list(ut.iterate(problem, recipe, ut.State.of(torch.zeros(1, *problem.shape) if x is None else x)))[-1]


# the network


def test_the_shipped_network_takes_the_noise_out():
    clean = scene(96, 3)
    for level in (0.02, 0.1, 0.2, 0.4):
        y = clean + level * noise(clean.shape)
        assert psnr(ut.priors.Denoiser()(y[None], level)[0], clean) > psnr(y, clean) + 6
    y = scene(64) + 0.1 * noise((1, 64, 64))
    assert psnr(ut.priors.Denoiser()(y[None], 0.1)[0], scene(64)) > 30


def test_its_card_says_whose_it_is_and_what_it_was_trained_for():
    _, card = weights.read(dncnn.FOLDER / "dncnn.safetensors")
    assert "Los Alamos" in card["licence"] and "Redistributions in binary form" in card["licence"]
    assert "scico 0.0.7" in card["origin"] and "0 to 0.2" in card["trained_for"] and dncnn.names() == ["dncnn"]


def test_large_pictures_are_worked_out_in_tiles_with_the_same_numbers(monkeypatch):
    y = noise((1, 1, 50, 71))
    one = dncnn.dncnn(y, 0.1)
    monkeypatch.setattr(dncnn, "TILE", 24)
    assert torch.allclose(dncnn.dncnn(y, 0.1), one, atol=1e-5)


def test_a_denoiser_follows_the_unit_and_the_contrast():
    y = scene(32) + 0.15 * noise((1, 32, 32))
    one = ut.priors.Denoiser()(y[None], 0.15)
    assert torch.allclose(ut.priors.Denoiser(black=5, white=25)(20 * y[None] + 5, 3.0), 20 * one + 5, atol=1e-3)
    assert torch.equal(ut.priors.Denoiser()(y[None], 0.0), y[None])
    z = torch.complex(y, y.flip(-1))[None]
    assert torch.equal(ut.priors.Denoiser()(z, 0.15).real, one)


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_any_function_is_a_denoiser(channels):
    shapes = []

    def mean(x, sigma):
        shapes.append(tuple(x.shape))
        return np.asarray(x) * (1 - sigma)  # an array will do

    d = ut.priors.Denoiser(mean, channels)
    x = noise((3, 2, 5, 7))
    assert torch.allclose(d(x, 0.25), 0.75 * x) and set(shapes) == {(1, 1 if channels == 1 else 2, 5, 7)}
    assert repr(d).startswith("Denoiser(") and "mean" in repr(d)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda: ut.priors.Denoiser("dncn"), "did you mean dncnn"),
        (lambda: ut.priors.Denoiser(3), "expected the name of a shipped network"),
        (lambda: ut.priors.Denoiser("dncnn", channels=3), "channels= is for a function"),
        (lambda: ut.priors.Denoiser(white=0), "white=0"),
        (lambda: ut.priors.Denoiser()(torch.zeros(1, 1, 32, 32), -0.1), "sigma=-0.1"),
        (lambda: ut.algorithms.PnP(level=-0.1), "level=-0.1"),
        (lambda: ut.algorithms.HQS(noise=-1), "noise=-1"),
        (lambda: ut.algorithms.PrimalDual(0), "weight=0"),
        (lambda: last(ut.Picture(torch.zeros(1, 20, 20), lambda x: x**2), ut.algorithms.PrimalDual()), "needs a linear physics"),
        (lambda: ut.restore(torch.zeros(1, 20, 20), prior="tv", loss=ut.losses.Poisson()), "white Gaussian noise"),
        (lambda: ut.restore(torch.zeros(1, 20, 20), prior="tv", steps=5), "are for a fit"),
        (lambda: ut.restore(torch.zeros(1, 20, 20), prior="tv", sigma=-0.1), "sigma=-0.1"),
        (lambda: ut.algorithms.HQS("dncnn"), r"denoiser='dncnn'\): expected Denoiser"),
        (lambda: last(problem(), ut.algorithms.PnP(ut.priors.Denoiser(lambda x, s: x, channels=3))), "takes 3 channels, the picture has 1"),
        (lambda: last(problem(), ut.algorithms.PnP(ut.priors.Denoiser(lambda x, s: x[..., 1:]))), "expected the same shape"),
        (lambda: last(problem(), ut.algorithms.PnP(ut.priors.Denoiser(lambda x, s: None))), "returned NoneType; expected a tensor"),
        (lambda: last(ut.Picture(torch.zeros(1, 9, 9)), ut.algorithms.PnP()), "16 pixels at least"),
        (lambda: last(ut.Picture(torch.zeros(1, 20, 20, 20)), ut.algorithms.PnP()), "two axes"),
        (lambda: last(ut.Picture(torch.zeros(1, 20, 20), lambda x: x**2), ut.algorithms.PnP()), "needs a linear physics"),
        (lambda: last(ut.Picture(torch.zeros(1, 20, 20), lambda x: x + 1), ut.algorithms.PnP()), "needs a linear physics"),
        (lambda: last(ut.Picture(torch.zeros(1, 20, 20), loss=ut.losses.Poisson()), ut.algorithms.HQS()), "white Gaussian noise"),
        (
            lambda: last(problem(n=32), ut.algorithms.GradientStep(ut.priors.Denoiser(lambda x, s: x.detach()))),
            "gradient",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        given()


# the linear algebra


def physics_of_every_kind():
    measured = noise((16, 16), 1) > 0
    coils = torch.complex(noise((2, 16, 16), 2), noise((2, 16, 16), 3))
    return [
        ut.physics.Identity(),
        ut.physics.Blur(KERNEL),
        ut.physics.Mask(measured),
        ut.physics.Downsample(2),
        ut.physics.MRI(measured),
        ut.physics.MRI(measured, coils),
    ]


def matrix(p: ut.Picture, dtype) -> torch.Tensor:
    n = math.prod(p.shape)
    return torch.stack([p.predict(e.reshape(1, *p.shape)).flatten() for e in torch.eye(n, dtype=dtype)], 1)


@pytest.mark.parametrize("physics", physics_of_every_kind(), ids=lambda p: type(p).__name__)
def test_least_squares_is_the_solution_of_the_normal_equations(physics):
    n = 8 if isinstance(physics, ut.physics.Downsample) else 16
    p = problem(physics, n)
    dtype = torch.complex64 if p.y.is_complex() else torch.float32
    a, z = matrix(p, dtype).to(torch.complex128), noise((1, *p.shape)).to(dtype)
    y = p.y.flatten().to(torch.complex128)
    want = torch.linalg.solve(a.mH @ a + 0.3 * torch.eye(a.shape[1]), a.mH @ y + 0.3 * z.flatten())
    assert torch.allclose(least_squares(p, z, 0.3, 300).flatten().to(want.dtype), want, atol=2e-4)
    top = float(torch.linalg.eigvalsh(a.mH @ a)[-1])
    assert 0.9 * top < norm(p, z) < 1.001 * top
    forward, adjoint = maps(p, z)
    w = noise(p.y.shape, 7).to(p.y.dtype)[None]
    assert torch.allclose((forward(z).conj() * w).sum().real, (z.conj() * adjoint(w)).sum().real, atol=1e-3)


@pytest.mark.parametrize("physics", physics_of_every_kind()[:5:2], ids=lambda p: type(p).__name__)
def test_two_iterations_are_exact_where_the_physics_is_diagonal(physics):
    p = problem(physics)
    z = torch.zeros(1, *p.shape, dtype=p.y.dtype)
    assert torch.allclose(least_squares(p, z, 0.1, 2), least_squares(p, z, 0.1, 100), atol=1e-5)


def test_a_smooth_picture_fills_holes_as_the_heat_equation_does():
    measured = torch.zeros(1, 16, 16, dtype=torch.bool)
    measured[..., 0], measured[..., -1] = True, True
    p = ut.Picture(torch.linspace(0, 1, 16).expand(1, 16, 16), ut.physics.Identity(), measured)
    image = last(p, ut.algorithms.Smooth(1e-4, 400)).image
    assert torch.allclose(image[0, 0], torch.linspace(0, 1, 16).expand(16, 16), atol=1e-3)


# the steps, against their formulas


@pytest.mark.parametrize("step", STEPS, ids=lambda s: type(s).__name__)
def test_every_step_is_its_published_formula(step):
    """With D x = x / (1 + s) and A as a matrix, in double precision."""
    p = problem()
    a, y, n = matrix(p, torch.float32).double(), p.y.flatten().double(), math.prod(p.shape)
    top, eye = float(torch.linalg.eigvalsh(a.T @ a)[-1]), torch.eye(n).double()
    x = noise((1, *p.shape)).double().flatten()
    got = last(p, 3 * step, x.float().reshape(1, *p.shape))
    v, u = x, torch.zeros_like(x)
    for _ in range(3):
        if isinstance(step, ut.algorithms.PnP):
            x = (x - a.T @ (a @ x - y) / top) / 1.2
        elif isinstance(step, ut.algorithms.RED):
            x = x - (a.T @ (a @ x - y) + 0.3 * (x - x / 1.2)) / (top + 0.3)
        elif isinstance(step, ut.algorithms.HQS):
            x = torch.linalg.solve(a.T @ a / 0.05**2 + 0.23 * eye / 0.1**2, a.T @ y / 0.05**2 + 0.23 * x / 0.1**2) / 1.1
        elif isinstance(step, ut.algorithms.PnPADMM):
            x = torch.linalg.solve(a.T @ a / 0.05**2 + 0.23 * eye / 0.1**2, a.T @ y / 0.05**2 + 0.23 * (v - u) / 0.1**2)
            v = (x + u) / 1.1
            u, x = u + x - v, x
        else:  # t = 1 / weight is short enough here
            x = torch.linalg.solve(a.T @ a + 0.1 * eye, a.T @ y + 0.1 * (x - 10 * 0.1 * (0.02 / 1.02) ** 2 * x))
    assert torch.allclose(got.x.flatten().double(), x, atol=2e-3)
    if isinstance(step, ut.algorithms.PnPADMM):
        assert torch.allclose(got.image.flatten().double(), v, atol=2e-3)


def test_starts_in_a_batch_are_single_starts():
    p, x = problem(), noise((2, 1, 18, 19))
    for step in STEPS:
        both = last(p, 2 * step, x).image
        assert torch.allclose(torch.cat([last(p, 2 * step, x[i : i + 1]).image for i in (0, 1)]), both, atol=1e-3)


@pytest.mark.parametrize("physics", [ut.physics.Blur(KERNEL), ut.physics.Mask(noise((16, 16), 1) > 0)], ids=["Blur", "Mask"])
def test_the_objective_of_the_gradient_step_never_rises(physics):
    p, step = problem(physics), ut.algorithms.GradientStep(weight=0.5, level=0.1, step_size=30)
    state = ut.State.of(noise((1, *p.shape)))
    values = [step.objective(p, state.x), *(float(s.error[0]) for s in ut.iterate(p, 12 * step, state))]
    assert all(b <= a for a, b in zip(values, values[1:])) and values[-1] < 0.5 * values[0]


def test_the_schedule_goes_down_from_49_to_the_noise_in_every_orientation():
    levels, images = [], []

    def spy(x, sigma):
        levels.append(sigma)
        images.append(x)
        return x

    p = ut.Picture(scene(16), ut.physics.Identity())
    levels.clear()
    out = last(p, 8 * ut.algorithms.HQS(ut.priors.Denoiser(spy), noise=0.02), scene(16)[None])
    tried = levels[-8:]
    assert np.allclose(tried, np.geomspace(49 / 255, 0.02, 8)) and torch.allclose(out.image, scene(16)[None], atol=1e-5)
    assert len({tuple(i.flatten().tolist()) for i in images[-8:]}) == 8


def test_recipes_of_plug_and_play_read_back():
    for recipe in (
        8 * ut.algorithms.HQS(noise=0.05),
        ut.algorithms.Smooth() + 3 * ut.algorithms.PnP(level=ut.algorithms.Ramp(0.1, 0.01)),
        ut.algorithms.RED() + ut.algorithms.GradientStep() + ut.algorithms.PnPADMM(),
    ):
        assert ut.parse(repr(recipe)) == recipe


# total variation


@pytest.mark.parametrize(
    "physics",
    [ut.physics.Blur(KERNEL), ut.physics.Mask(noise((8, 8), 1) > 0), ut.physics.Downsample(2)],
    ids=["Blur", "Mask", "Downsample"],
)
def test_primal_dual_steps_come_to_the_minimum_of_their_objective(physics):
    """Against a general minimiser of the same objective, its lengths rounded off at 1e-4."""
    from scipy.optimize import minimize

    p, step = problem(physics, 8, 2), ut.algorithms.PrimalDual(0.03)
    image = last(p, 1500 * step).image

    def value(v):
        x = torch.from_numpy(v).reshape(p.shape).requires_grad_()
        d = torch.stack([torch.nn.functional.pad(x.diff(dim=a), (0, a == 2, 0, a == 1)) for a in (1, 2)])
        f = ((physics(x[None].float())[0].double() - p.y.double()) * p.measured).square().sum() / 2
        f = f + 0.03 * (d.square().sum((0, 1)) + 1e-8).sqrt().sum()
        return f.item(), torch.autograd.grad(f, x)[0].numpy().ravel()

    best = minimize(value, np.zeros(math.prod(p.shape)), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 9000})
    reached = value(image.double().numpy().ravel())[0]
    assert reached < best.fun * 1.001 + 1e-5 and abs(step.objective(p, image) - reached) < 3e-3


def test_primal_dual_denoising_is_that_of_scikit_image():
    from skimage.restoration import denoise_tv_chambolle

    y = scene(24) + 0.1 * noise((1, 24, 24))
    want = denoise_tv_chambolle(y[0].double().numpy(), 0.1, eps=1e-9, max_num_iter=3000)
    assert np.abs(last(ut.Picture(y, ut.physics.Identity()), 400 * ut.algorithms.PrimalDual(0.1)).image[0, 0].numpy() - want).max() < 5e-3


@pytest.mark.parametrize("physics", physics_of_every_kind(), ids=lambda p: type(p).__name__)
def test_restore_by_total_variation_is_nearer_and_needs_no_seed(physics):
    x = scene(32)
    if isinstance(physics, ut.physics.MRI | ut.physics.Mask):
        known = noise((32, 32), 1) > -0.3
        physics = ut.physics.Mask(known) if isinstance(physics, ut.physics.Mask) else ut.physics.MRI(known)
    f = physics(x[None])[0]
    y = f + 0.05 * noise(f.shape).to(f.dtype)
    done = ut.restore(y, physics, "tv", sigma=0.05)
    assert done.choice.startswith("tv, total variation, as asked for") and "PrimalDual" in done.recipe
    assert isinstance(physics, ut.physics.Blur) or psnr(done.image.abs(), x) > 19
    assert torch.equal(done.image, ut.restore(y, physics, "tv", seed=5, sigma=0.05).image)


# what it is for


def test_a_picture_is_deblurred_with_its_kernel():
    x, kernel = scene(64, 3), torch.ones(3, 5) / 15
    padded = torch.nn.functional.pad(x[None], (2, 2, 1, 1), "replicate")
    y = ut.physics.Blur(kernel)(padded)[0]
    y = y + 0.01 * noise(y.shape)
    assert psnr(deblurred(y, kernel, 0.01), x) > psnr(y, x) + 6


@pytest.mark.parametrize("task", ["denoise", "inpaint", "superres", "deblur"])
def test_restore_takes_a_denoiser_for_a_photograph_and_makes_it_better(task):
    x = scene(64)
    hidden = noise((64, 64), 5) > 0.3
    given = {
        "denoise": (x + 0.1 * noise(x.shape), None, {}, x),
        "inpaint": (x.where(~hidden, torch.zeros(())), ut.physics.Mask(~hidden), {}, x),
        "superres": (ut.physics.Downsample(2)(x[None])[0], ut.physics.Downsample(2), {}, x),
        "deblur": (ut.physics.Blur(KERNEL)(x[None])[0] + 0.01 * noise((1, 62, 61)), ut.physics.Blur(KERNEL), {"sigma": 0.01}, x),
    }
    y, physics, options, truth = given[task]
    done = ut.restore(y, physics, **options)
    assert done.choice.startswith("pnp") and done.image.shape == truth.shape and "HQS" in done.recipe or task == "denoise"
    assert psnr(done.image, truth) > {"denoise": 28, "inpaint": 28, "superres": 26, "deblur": 26}[task]
    assert done.numbers["sigma_estimated"] == (task != "deblur") and not done.statistic and len(done.plot().axes) == 2
    assert abs(done.numbers["sigma"] - {"denoise": 0.1, "deblur": 0.01}.get(task, 0.0)) < 0.012


def test_where_a_smooth_picture_is_nearer_to_data_that_were_left_out_it_is_taken():
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing="ij")
    truth = (0.5 + 0.3 * torch.sin(3 * x + 2 * y))[None]
    known = noise((40, 40), 3) > 0.8
    done = ut.restore(truth.where(known, torch.zeros(())), ut.physics.Mask(known), measured=known)
    assert done.choice.startswith("biharmonic interpolation, because") and "HQS" not in done.recipe and psnr(done.image, truth) > 45
    asked = ut.restore(truth.where(known, torch.zeros(())), ut.physics.Mask(known), "pnp", measured=known)
    assert "HQS" in asked.recipe and psnr(asked.image, truth) < psnr(done.image, truth)


def test_coarse_pixels_are_half_total_variation_and_the_result_says_how_to_get_it_alone():
    y, physics = ut.physics.Downsample(4)(scene(64)[None])[0], ut.physics.Downsample(4)
    both, one, other = (ut.restore(y, physics, prior) for prior in ("auto", "pnp", "tv"))
    assert torch.allclose(both.image, (one.image + other.image) / 2, atol=1e-6) and both.numbers["weight"] == 0.5
    assert "half of it is total variation" in both.choice and "--prior pnp or tv" in both.choice
    assert both.recipe == f"0.50 of {one.recipe}, 0.50 of {other.recipe}"


@pytest.mark.parametrize(
    ("phase", "level", "real"), [(0, 0.0, True), (0, 0.02, True), (0.2, 0.0, False), (0.2, 0.02, False), (3, 0.02, False)]
)
@pytest.mark.parametrize("n", [48, 49])
def test_k_space_tells_whether_its_picture_is_real(phase, level, real, n):
    from untwin.runs.kspace import real_in_kspace

    sampled = (noise((n,), 3) > 0).expand(n, n) | (noise((n, n), 4) > 0)
    physics = ut.physics.MRI(sampled)
    y = physics(torch.polar(scene(n), phase * torch.linspace(-1, 1, n).square().expand(1, n, n))[None])[0]
    y = y + level * torch.complex(noise(y.shape), noise(y.shape, 1)) * sampled
    p = ut.Picture(y, physics, sampled.expand(y.shape))
    assert real_in_kspace(p) == real
    assert not real_in_kspace(ut.Picture(y.abs(), ut.physics.Identity())), "no k-space"
    done = ut.restore(y, physics, "tv", measured=sampled.expand(y.shape))
    assert done.image.is_complex() != real and ("is real, as its k-space tells" in done.choice) == real


def test_what_the_network_makes_is_no_brighter_than_what_it_was_shown():
    """What it adds to peaks beyond white would grow from step to step."""
    x = scene(48)
    x[0, 20, 20] = 2.0
    y = x + 0.01 * noise(x.shape)
    for level in (0.02, 0.1):
        z = ut.priors.Denoiser()(y[None], level)
        assert y.min() <= z.min() + 1e-6 and z.max() <= y.max() + 1e-6


@pytest.mark.parametrize("turns", [0.0, 3.0])
def test_a_phase_in_k_space_does_not_spoil_the_picture(turns):
    """Real and imaginary parts below black are pictures, too."""
    x, g = scene(48), torch.Generator().manual_seed(2)
    sampled = torch.rand((48, 48), generator=g) < 0.3
    sampled[18:30, 18:30] = True
    physics = ut.physics.MRI(sampled)
    y = physics(torch.polar(x, turns * torch.linspace(-1, 1, 48).expand(1, 48, 48))[None])[0]
    image = ut.restore(y, physics, "pnp", measured=sampled.expand(y.shape), sigma=0).image.abs()
    assert psnr(image, x) > psnr(physics.adjoint(y[None])[0].abs(), x) + 1


def test_a_picture_without_noise_stays_as_it_is():
    x = scene(64)
    done = ut.restore(x)
    assert torch.allclose(done.image, x, atol=1e-6) and done.numbers["sigma"] == 0 and "taken as none" in done.warnings[0]
    assert not ut.restore(x, sigma=0.02).warnings


def test_where_pixels_are_missing_both_are_mixed_as_those_tell_that_were_left_out():
    x = scene(64) + 0.05 * noise((1, 64, 64), 7)
    known = noise((64, 64), 8) > 0.2
    y = x.where(known, torch.zeros(()))
    mixed = ut.restore(y, ut.physics.Mask(known), measured=known)
    assert "% of it is biharmonic interpolation" in mixed.choice and 0 < mixed.numbers["weight"] < 1
    assert "HQS" in mixed.recipe and "order=2" in mixed.recipe.split(" of ", 2)[2]
    asked = ut.restore(y, ut.physics.Mask(known), "pnp", measured=known)
    assert psnr(mixed.image, scene(64)) > psnr(asked.image, scene(64)) - 0.15, "a tenth of the pixels tells the weight, with its chance"
    assert torch.equal(ut.restore(y, ut.physics.Mask(known), measured=known).image, mixed.image)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"loss": ut.losses.Poisson(0.01)}, "the noise is not white and Gaussian"),
        ({"stop": ut.rules.EMV()}, "a stop or a number of steps"),
        ({"y": torch.zeros(1, 40)}, "1 axes"),
        ({"y": torch.zeros(1, 9, 9)}, "smaller than 16"),
        ({"y": torch.zeros(2, 20, 20)}, "2 channels"),
        ({"physics": lambda x: x.square()}, "not linear"),
        ({"y": torch.zeros(1, 20, 20, dtype=torch.complex64)}, "complex"),
        (
            {"y": torch.zeros(1, 20, 20, dtype=torch.complex64), "physics": ut.physics.MRI(torch.ones(20, 20) > 0)},
            "pnp, a trained denoiser, because",
        ),
        ({"physics": lambda x: 2 * x}, "pnp, a trained denoiser, because"),
        ({"prior": "pnp"}, "as asked for"),
        ({"prior": ut.algorithms.Fit(ut.priors.Grid())}, "as asked for"),
    ],
)
def test_the_result_says_which_prior_was_taken_and_why(given, why):
    from untwin.runs.restore import PRIORS, _chosen

    given = dict(given)
    problem = ut.Picture(
        given.pop("y", torch.zeros(1, 20, 20)), given.pop("physics", ut.physics.Identity()), loss=given.pop("loss", ut.losses.Squared())
    )
    prior, choice = _chosen(given.get("prior"), problem, "stop" in given)
    assert why in choice and "auto" in PRIORS
    assert isinstance(prior, ut.priors.Denoiser) == choice.startswith("pnp")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prior": "pnp", "sigma": -0.1}, "sigma=-0.1"),
        ({"prior": "pnp", "stop": ut.rules.EMV()}, "are for a fit"),
        ({"prior": "pnp", "steps": 4}, "are for a fit"),
        ({"prior": "dip", "sigma": 0.1}, "is for a denoiser"),
        ({"prior": "pnp", "loss": ut.losses.Poisson()}, "white Gaussian noise"),
        ({"prior": ut.priors.Denoiser(lambda x, s: x, channels=3)}, "takes 3 channels"),
    ],
)
def test_what_restore_cannot_do_with_a_denoiser_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        ut.restore(scene(32), **given)


def test_an_interrupted_plug_and_play_goes_on_with_the_same_numbers(tmp_path):
    y, reports = ut.physics.Blur(KERNEL)(scene(40)[None])[0], []

    def interrupt(*_):
        reports.append(1)
        if len(reports) == 5:
            raise KeyboardInterrupt

    options = {"physics": ut.physics.Blur(KERNEL), "sigma": 0.01}
    complete = ut.restore(y, **options)
    with pytest.raises(KeyboardInterrupt):
        ut.restore(y, **options, checkpoint=tmp_path / "c", report=interrupt)
    again = ut.restore(y, **options, checkpoint=tmp_path / "c", report=lambda *a: reports.append(a[0]))
    assert torch.equal(again.image, complete.image) and reports[5] == 4


def test_the_command_says_what_it_took(tmp_path, monkeypatch, capsys):
    from untwin import cli

    np.save(tmp_path / "y.npy", (scene(40)[0] + 0.1 * noise((40, 40))).numpy())
    monkeypatch.chdir(tmp_path)
    for arguments, said in ((["--sigma", "0.1"], "(given)"), ([], "(estimated)"), (["--prior", "pnp"], "as asked for")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["restore", "y.npy", "--overwrite", *arguments])
        assert not stop.value.code and said in capsys.readouterr().out
    page = (tmp_path / "y_restored" / "report.html").read_text()
    assert "Prior: pnp" in page and "statistic of the stopping rule" not in page
    for arguments, says in (
        (["--prior", "pnp", "--noise", "shot"], "for gaussian noise"),
        (["--prior", "pnp", "--stop", "EMV"], "is a rule for a fit"),
        (["--prior", "drp", "--sigma", "0.1"], "is for pnp and tv"),
        (["--prior", "tv", "--noise", "impulse"], "for gaussian noise"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["restore", "y.npy", "-o", "out", *arguments])
        assert stop.value.code == 2 and says in capsys.readouterr().err and not (tmp_path / "out").exists()
