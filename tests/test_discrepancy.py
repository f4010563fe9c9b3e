"""The noise of a picture is estimated rightly, and a fit is stopped where what is left of the data is as large as that."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import untwin as ut
from samples import pattern, state, thing
from test_fit import DIP, blank, last
from test_run import resumed_like
from test_stopping import Film
from untwin.errors import InputError
from untwin.model.noise_level import expected
from untwin.runs.names import parse, parse_rule
from untwin.solve.recipe import Until
from untwin.solve.run import iterate


def smooth(shape=(1, 48, 50)) -> np.ndarray:
    rows, columns = np.linspace(0, 1, shape[1])[:, None], np.linspace(0, 1, shape[2])
    return np.stack([0.5 + 0.4 * np.sin(3 * rows + k) * np.cos(2 * columns) for k in range(shape[0])])


def noisy(sigma: float, shape=(1, 48, 50), seed: int = 0) -> np.ndarray:
    return smooth(shape) + sigma * np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(1, 48, 50), (3, 40, 33), (1, 400), (1, 16, 17, 18), (1, 1, 900), (1, 900, 1)])
def test_sigma_is_estimated_along_any_number_of_axes(sigma, shape):
    x = smooth(shape) if len(shape) == 3 and 1 not in shape[1:] else np.full(shape, 0.4)
    y = x + sigma * np.random.default_rng(1).normal(size=shape)
    assert ut.metrics.estimate_sigma(y) == pytest.approx(sigma, rel=0.12)


@pytest.mark.parametrize("sigma", [0.1, 0.25])
def test_clipping_is_seen_through(sigma):
    y = np.clip(noisy(sigma), 0, 1)
    assert ut.metrics.estimate_sigma(y) == pytest.approx(sigma, rel=0.12)


def test_pixels_that_were_not_measured_have_no_say():
    y = noisy(0.1)
    measured = np.random.default_rng(2).random(y.shape) < 0.6
    assert ut.metrics.estimate_sigma(np.where(measured, y, 7.0), measured) == pytest.approx(0.1, rel=0.15)
    with pytest.raises(InputError, match="give sigma"):
        ut.metrics.estimate_sigma(y, np.arange(50) % 2 * np.ones(y.shape) > 0)


def test_the_noise_of_k_space_is_that_of_its_border():
    rng = np.random.default_rng(0)
    w = 0.02 * (rng.normal(size=(1, 40, 42)) + 1j * rng.normal(size=(1, 40, 42))) / math.sqrt(2)
    w[0, 17:23, 18:24] += 5
    assert ut.metrics.estimate_sigma(w) == pytest.approx(0.02, rel=0.12)


def test_a_picture_without_noise_has_hardly_any():
    assert ut.metrics.estimate_sigma(smooth()) < 1e-3


@pytest.mark.parametrize("power", [1, 2])
def test_noise_that_grows_with_the_picture_is_estimated_in_its_own_unit(power):
    x = smooth()
    y = x + 0.1 * x ** (power / 2) * np.random.default_rng(3).normal(size=x.shape)
    assert ut.metrics.estimate_sigma(y, power=power) == pytest.approx(0.1, rel=0.12)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (0.0, math.inf), (-math.inf, 1.0), (-math.inf, math.inf)])
def test_the_variance_that_clipping_leaves_is_that_of_a_simulation(limits):
    x, sigma = np.array([-0.1, 0.05, 0.5, 0.9, 1.1]), 0.2
    drawn = np.clip(x + sigma * np.random.default_rng(0).normal(size=(200_000, 5)), *limits)
    v = expected(torch.from_numpy(drawn.mean(0)), {"sigma": sigma, "power": 0, "low": limits[0], "high": limits[1]})
    assert np.allclose(v.numpy(), drawn.var(0), rtol=0.03)


# the rule


def approach(y: torch.Tensor, sigma: float, n: int = 40) -> torch.Tensor:
    """(starts, n, *shape): frames whose misfit falls from 4 to 0.04 times sigma²; that of start 1 falls twice as fast."""
    g = torch.Generator().manual_seed(5)
    noise = torch.randn(y.shape, generator=g)
    noise = noise / noise.square().mean().sqrt()
    size = torch.stack([torch.linspace(2, 0.2, n), torch.cat([torch.linspace(2, 0.2, n // 2), torch.full((n - n // 2,), 0.2)])])
    return y + sigma * size[..., None, None, None] * noise


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_each_start_is_stopped_where_its_misfit_has_fallen_to_the_noise(tau):
    y = torch.from_numpy(noisy(0.1)).float()
    frames = approach(y, 0.1)
    p = ut.Picture(y)
    states = list(iterate(p, Until(ut.rules.Discrepancy(0.1, tau), 40 * Film(frames)), blank(p, (0, 1))))
    ratios = (frames - y).square().mean((2, 3, 4)) / 0.01
    at = [int((row <= tau).nonzero()[0]) for row in ratios]
    assert at[1] < at[0] and states[-1].step == at[0] + 1, "the run ends with the last start"
    for row in range(2):
        assert torch.equal(states[-1].image[row], frames[row, at[row]])


def test_a_misfit_that_stands_still_ends_the_fit_after_the_patience():
    y = torch.from_numpy(noisy(0.1)).float()
    p = ut.Picture(y)
    states = list(iterate(p, Until(ut.rules.Discrepancy(1e-4, patience=7), 40 * Film((y + 0.1).expand(1, 40, *y.shape))), blank(p)))
    assert states[-1].step == 8


def test_sigma_is_estimated_where_it_is_not_known():
    y = torch.from_numpy(noisy(0.1)).float()
    p = ut.Picture(y)
    assert float(ut.rules.Discrepancy().first(p, blank(p))["sigma"]) == pytest.approx(ut.metrics.estimate_sigma(y.numpy()))
    assert float(ut.rules.Discrepancy(0.2).first(p, blank(p))["sigma"]) == 0.2


def test_a_pattern_knows_its_own_noise():
    x = thing((24, 26), 1)
    p = ut.Problem(pattern(x, photons=1e5))
    x = x[None].to(torch.complex64)
    ratio = p.relative_misfit(x * p.brightness(p.predict(x)).sqrt(), p.noise(None))
    assert float(ratio) == pytest.approx(1, abs=0.15), "of the truth it is 1, however few photons a pixel has"


def test_a_run_goes_on_from_any_of_its_states():
    p = ut.Picture(torch.from_numpy(np.clip(noisy(0.1, (1, 14, 16)), 0, 1)).float())
    resumed_like(p, Until(ut.rules.Discrepancy(0.05, patience=4), 6 * ut.algorithms.Fit(DIP)), blank(p, (0, 3)))


def test_the_rule_is_its_own_text():
    for rule in (ut.rules.Discrepancy(), ut.rules.Discrepancy(0.1, 1.0), ut.rules.Discrepancy(sigma=0.2, patience=9)):
        assert parse_rule(repr(rule)) == rule
    assert parse("Until(Discrepancy(sigma=0.1), 20*Fit(DoubleDIP()))").rule == ut.rules.Discrepancy(0.1)


@pytest.mark.parametrize("wrong", [{"sigma": -0.1}, {"sigma": math.nan}, {"tau": 0.0}, {"patience": 0}, {"sigma": "much"}], ids=str)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        ut.rules.Discrepancy(**wrong)


def test_where_the_noise_is_not_known_it_says_so_before_the_first_step():
    y = torch.rand(1, 12, 13)
    with pytest.raises(InputError, match="impulses"):
        last(p := ut.Picture(y, loss=ut.losses.Absolute()), Until(ut.rules.Discrepancy(), 2 * ut.algorithms.Fit(DIP)), blank(p))
    x = thing((12, 14), 1)
    far = ut.Problem(pattern(x, photons=2e4))
    with pytest.raises(InputError, match="leave sigma out"):
        last(
            far,
            Until(ut.rules.Discrepancy(0.1), 2 * ut.algorithms.RAAR()),
            state(x[None].to(torch.complex64), torch.ones(12, 14, dtype=torch.bool)),
        )
