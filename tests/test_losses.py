"""Losses and figures of merit: zero where they should be, the published formula, the slope, the expected value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from untwin.judge import metrics
from untwin.model.losses import Amplitude, Gamma, Intensity, Poisson, Squared

LOSSES = [Amplitude(), Intensity(), Poisson(), Gamma(), Gamma(2.0)]


def figures(seed: int = 0, starts: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """f (starts, 6, 5) above 0, counts with zeros, measured."""
    rng = np.random.default_rng(seed)
    f = torch.from_numpy(rng.uniform(0.2, 9, (starts, 6, 5)))
    return f, torch.from_numpy(rng.poisson(3, (6, 5)).astype(float)), torch.from_numpy(rng.random((6, 5)) > 0.3)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_is_zero_where_the_calculated_intensity_is_the_measured_one_and_above_it_elsewhere(loss):
    f, counts, seen = figures()
    assert float(loss(counts.expand(1, 6, 5), counts, seen)) == pytest.approx(0, abs=1e-9)
    assert bool((loss(f, counts, seen) > 0.1).all())


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_is_one_float64_per_start_and_looks_at_measured_pixels_only(loss):
    f, counts, seen = figures()
    e = loss(f, counts, seen)
    assert e.shape == (3,) and e.dtype == torch.float64
    assert loss(f.float(), counts.float(), seen).dtype == torch.float64
    other = torch.where(seen, f, 77 * f)
    assert torch.equal(loss(other, torch.where(seen, counts, 1e6), seen), e)
    for row in range(3):
        assert torch.equal(loss(f[row : row + 1], counts, seen), e[row : row + 1])


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_slopes_match_central_differences(loss):
    f, counts, seen = figures(1, 1)
    f.requires_grad_(True)
    loss(f, counts, seen).sum().backward()
    h = 1e-5
    for at in ((0, 0, 0), (0, 2, 3), (0, 5, 4), (0, 3, 1)):
        up, down = f.detach().clone(), f.detach().clone()
        up[at] += h
        down[at] -= h
        want = float(loss(up, counts, seen) - loss(down, counts, seen)) / (2 * h)
        assert float(f.grad[at]) == pytest.approx(want, rel=1e-6, abs=1e-6)
    assert float(f.grad[0][~seen].abs().max()) == 0 and float(f.grad[0][seen].abs().min()) > 0


def test_poisson_is_scipys_log_likelihood_of_the_counts_less_that_of_f():
    f, counts, seen = figures(2)
    I, g = counts.numpy(), f.numpy()
    want = (stats.poisson.logpmf(I, np.maximum(I, 1e-300)) - stats.poisson.logpmf(I, g))[:, seen.numpy()].sum(1)
    assert Poisson()(f, counts, seen).numpy() == pytest.approx(want, rel=1e-10)


def test_amplitude_and_intensity_are_their_formulas():
    f, counts, seen = figures(3)
    I, g, s = counts.numpy(), f.numpy(), seen.numpy()
    assert Amplitude()(f, counts, seen).numpy() == pytest.approx((((g**0.5 - I**0.5) ** 2)[:, s]).sum(1))
    assert Intensity()(f, counts, seen).numpy() == pytest.approx(((g - I) ** 2 / np.maximum(I, 1))[:, s].sum(1))


def test_gamma_is_the_log_likelihood_of_gamma_noise_less_that_of_the_data():
    """Of one look, at a small offset, in units of the squared mean."""
    f, _, seen = figures(8)
    y = f[0] * torch.from_numpy(np.random.default_rng(9).exponential(size=(6, 5)) + 0.01)
    g, s, d = f.numpy(), seen.numpy(), y.numpy()
    want = (stats.gamma.logpdf(d, 1, scale=d) - stats.gamma.logpdf(d, 1, scale=g))[:, s].sum(1) * d[s].mean() ** 2
    assert Gamma(1e-9)(f, y, seen).numpy() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("loss", [Gamma(), Gamma(1.0)], ids=repr)
def test_gamma_grows_with_the_square_of_the_unit_and_is_half_the_squared_loss_near_the_mean(loss):
    f, counts, seen = figures(10)
    assert loss(7 * f, 7 * counts, seen).numpy() == pytest.approx(49 * loss(f, counts, seen).numpy(), rel=1e-9)
    near = torch.full((1, 6, 5), 3.0, dtype=torch.float64)
    y = near[0] + 0.01 * torch.from_numpy(np.random.default_rng(11).normal(size=(6, 5)))
    assert float(loss(near, y, seen)) == pytest.approx(float(Squared()(near, y, seen)) / 2, rel=0.02)


@pytest.mark.parametrize("offset", [0.02, 0.1, 1.0])
def test_the_mean_of_speckle_is_where_the_slope_of_gamma_vanishes(offset):
    """Whatever the offset, and the number of looks."""
    y = torch.from_numpy(np.random.default_rng(12).gamma(2, 1.5, (40, 40)))
    level = y.mean().reshape(1, 1, 1).clone().requires_grad_(True)
    Gamma(offset)(level.expand(1, 40, 40), y, torch.ones(40, 40, dtype=torch.bool)).sum().backward()
    assert abs(float(level.grad)) < 1e-9 * y.numel()


def test_gamma_is_finite_for_what_is_black_or_below():
    f, y = torch.tensor([[[-1.0, 0.0, 0.0, 2.0]]], requires_grad=True), torch.tensor([[0.0, 0.0, 5.0, -3.0]])
    for data in (y, 0 * y):
        e = Gamma()(f, data, torch.ones(1, 4, dtype=torch.bool))
        assert bool(e.isfinite().all()) and bool(torch.autograd.grad(e.sum(), f)[0].isfinite().all())


def test_where_counts_are_many_the_half_deviance_is_twice_the_amplitude_loss():
    rng = np.random.default_rng(4)
    f = torch.full((1, 50, 50), 4e4, dtype=torch.float64)
    counts = torch.from_numpy(rng.poisson(4e4, (50, 50)).astype(float))
    seen = torch.ones((50, 50), dtype=torch.bool)
    assert float(Poisson()(f, counts, seen)) == pytest.approx(2 * float(Amplitude()(f, counts, seen)), rel=1e-3)
    assert float(metrics.chi_square_amplitude(f, counts, seen)) == pytest.approx(1, abs=0.1)
    assert float(metrics.chi_square_intensity(f, counts, seen)) == pytest.approx(1, abs=0.1)
    assert float(metrics.log_likelihood(f, counts, seen)) == pytest.approx(0.5, abs=0.05)


def test_the_r_factor_is_its_formula_zero_for_the_truth_and_one_for_nothing():
    f, counts, seen = figures(5)
    I, g, s = counts.numpy(), f.numpy(), seen.numpy()
    want = np.sqrt(((g**0.5 - I**0.5) ** 2)[:, s].sum(1) / I[s].sum())
    assert metrics.r_factor(f, counts, seen).numpy() == pytest.approx(want)
    assert float(metrics.r_factor(counts.expand(1, 6, 5), counts, seen)) == pytest.approx(0, abs=1e-12)
    assert float(metrics.r_factor(torch.zeros(1, 6, 5), counts, seen)) == pytest.approx(1)


@pytest.mark.parametrize("mean", [1e-3, 0.03, 0.3, 1.0, 3.0, 12.0, 29.0, 31.0, 500.0])
def test_the_expected_half_deviance_is_what_poisson_counts_have_in_the_mean(mean):
    n = 400_000
    counts = torch.from_numpy(np.random.default_rng(6).poisson(mean, n).astype(float))
    each = mean - counts + torch.xlogy(counts, counts) - counts * np.log(mean)
    got = float(metrics.expected_half_deviance(torch.tensor([[mean]]), torch.tensor([True])))
    assert abs(got - float(each.mean())) < 4.5 * float(each.std()) / np.sqrt(n) + 1e-4 * got


@pytest.mark.parametrize("mean", [1e-4, 0.01, 0.1, 0.7, 2.0, 7.0, 29.9, 30.1, 45.0, 300.0])
def test_the_expected_half_deviance_is_the_exact_sum(mean):
    k = np.arange(1500)
    each = mean - k + np.where(k > 0, k * np.log(np.maximum(k, 1) / mean), 0)
    want = (stats.poisson.pmf(k, mean) * each).sum()
    got = float(metrics.expected_half_deviance(torch.tensor([[mean]]), torch.tensor([True])))
    assert got == pytest.approx(want, rel=3e-4)


def test_the_expected_half_deviance_is_added_over_measured_pixels_of_each_start():
    f, _, seen = figures(7)
    whole = metrics.expected_half_deviance(f, seen)
    each = [metrics.expected_half_deviance(v.reshape(1, 1), torch.tensor([True])) for v in f[1][seen]]
    assert whole.shape == (3,) and float(whole[1]) == pytest.approx(float(sum(each)))


def test_scores_charge_for_unknowns_and_let_excess_noise_raise_the_scale():
    deviance, unknowns = torch.tensor([500.0, 490.0]), torch.tensor([200.0, 220.0])
    assert metrics.scores(deviance, unknowns, measured=1000).argmin() == 0  # dispersion below 1 counts as 1: 10 < 20
    assert metrics.scores(deviance, unknowns / 4, measured=1000).argmin() == 1
    assert metrics.scores(deviance * 100, unknowns, measured=1000).tolist() == pytest.approx([500 / 0.98 + 200, 500 + 220])


def test_a_tied_magnitude_and_a_zero_that_positivity_holds_are_no_unknowns():
    rng = np.random.default_rng(3)
    support = torch.from_numpy(rng.random((2, 9, 8)) < 0.5)
    x = torch.from_numpy(rng.normal(size=(2, 9, 8)) + 1j * rng.normal(size=(2, 9, 8))) * support
    pixels = support.flatten(1).sum(1)
    assert metrics.unknowns(x, support).tolist() == (2 * pixels).tolist()
    top = 0.5 * x.abs().amax((1, 2), keepdim=True)
    capped = x * (top / x.abs().clamp(min=1e-30)).clamp(max=1)
    tied = (x.abs() >= top).flatten(1).sum(1)
    assert tied.min() > 2 and metrics.unknowns(capped, support).tolist() == (2 * pixels - tied + 1).tolist()
    positive = x.real.clamp(min=0)
    assert metrics.unknowns(positive, support).tolist() == (positive > 0).flatten(1).sum(1).tolist()
    assert metrics.unknowns(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)).tolist() == [0]
