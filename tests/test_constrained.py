"""Constraints of a fit: the image comes to meet them, what cannot be met is refused, and a run goes on from any of its states."""

from __future__ import annotations

import pytest
import torch

import untwin as ut
from test_fit import DIP, SMALL, blank, far, last, picture
from test_run import resumed_like
from untwin.errors import InputError
from untwin.runs.names import parse
from untwin.solve.constrained import AtLeast, AtMost, Equal, penalties, updated

GRID = ut.priors.Grid(rate=0.05)
BOUNDED = ut.algorithms.Fit(GRID, regularizer=ut.losses.TV(1.0), constraints=[AtMost(ut.losses.Squared(), 0.01)])


def test_a_bound_on_the_misfit_is_met_where_total_variation_is_least():
    p, truth = picture(noise=0.1)
    after = last(p, 600 * BOUNDED, blank(p))
    misfit = float(p.misfit(after.image)[0]) / p.y.numel()
    assert misfit == pytest.approx(0.01, rel=0.03), "the bound is active: less variation would cost more misfit"
    tv = ut.losses.TV(1.0)
    assert float(tv(after.image[0])) < 0.6 * float(tv(p.y))
    assert float((after.image[0] - truth).square().mean()) < 0.7 * float((p.y - truth).square().mean())


def test_a_bound_that_is_met_anyway_does_nothing():
    p, _ = picture()
    fit = ut.algorithms.Fit(DIP)
    loose = ut.algorithms.Fit(DIP, constraints=[AtMost(ut.constraints.Magnitude(), 50.0)])
    assert torch.equal(last(p, 8 * fit, blank(p)).image, last(p, 8 * loose, blank(p)).image)


@pytest.mark.parametrize(
    ("bound", "value"),
    [
        (Equal(ut.constraints.Total(), 100.0, penalty=1.0), lambda x: x.sum() / 100),
        (AtMost(ut.constraints.Magnitude(), 0.6, penalty=10.0), lambda x: x.max() / 0.6),
        (AtLeast(ut.constraints.Magnitude(), 0.4, penalty=10.0), lambda x: 0.4 / x.min()),
        (AtMost(ut.constraints.Volume(0.5), 0.3, penalty=10.0), lambda x: ut.constraints.Volume(0.5).value(x) / 0.3),
    ],
)
def test_sums_magnitudes_and_volumes_are_brought_to_their_limits(bound, value):
    p, _ = picture(noise=0.02)
    after = last(p, 500 * ut.algorithms.Fit(GRID, constraints=[bound]), blank(p)).image[0]
    assert float(value(after)) == pytest.approx(1, abs=0.05)
    assert abs(float(value(p.y)) - 1) > 0.1, "which the data alone would not do"


def test_a_pattern_takes_a_bound_on_its_deviance():
    p, s = far(starts=1)
    prior = ut.priors.Polar(GRID, GRID)
    fit = ut.algorithms.Fit(prior, regularizer=ut.losses.TV(1.0), constraints=[AtMost(ut.losses.Poisson(), 10.0)])
    after = last(p, 300 * fit, s)
    assert float(p.misfit(after.image)[0] / p.measured.sum()) < 10.5, "total variation alone would let it grow"


def test_multipliers_follow_their_formula():
    c = (torch.tensor(0.5), torch.tensor(-0.2))
    bounds = (AtMost(ut.constraints.Total(), 1.0, penalty=2.0, rate=0.1), Equal(ut.constraints.Total(), 1.0, penalty=4.0, rate=0.5))
    u = updated(bounds, (None, None), c)
    assert [float(v) for v in u] == pytest.approx([0.05, -0.1])
    assert float(penalties(bounds, u, c)) == pytest.approx(2 / 2 * 0.55**2 + 4 / 2 * 0.3**2)
    assert float(updated(bounds[:1], (torch.tensor(0.01),), (torch.tensor(-0.5),))[0]) == 0, "a bound that is met lets go"


FITS = [
    BOUNDED,
    ut.algorithms.Fit(DIP, constraints=[Equal(ut.constraints.Total(), 90.0), AtMost(ut.constraints.Magnitude(), 0.7)], average=0.5),
]


@pytest.mark.parametrize("fit", FITS, ids=repr)
def test_a_run_goes_on_with_its_multipliers_bit_for_bit(fit):
    p, _ = picture()
    resumed_like(p, 6 * fit, blank(p, (0, 3)))


@pytest.mark.parametrize("fit", FITS, ids=repr)
def test_constraints_are_their_own_text(fit):
    assert parse(repr(3 * fit)) == 3 * fit


def test_a_recipe_in_text_takes_constraints_as_a_list_as_python_does():
    text = "3*Fit(Grid(), regularizer=TV(1.0), constraints=[AtMost(Squared(), 0.01)])"
    assert parse(text) == parse(text.replace("[", "(").replace("])", ",))")) and "AtMost(Squared(), 0.01)" in repr(parse(text))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ut.algorithms.Fit(constraints=[AtMost(ut.constraints.Total(), 5.0), AtLeast(ut.constraints.Total(), 6.0)]), "contradict"),
        (lambda: ut.algorithms.Fit(constraints=[Equal(ut.constraints.Total(), 5.0), Equal(ut.constraints.Total(), 6.0)]), "contradict"),
        (lambda: ut.algorithms.Fit(constraints=[AtLeast(ut.constraints.Volume(), 1.5)]), "cannot be met"),
        (lambda: ut.algorithms.Fit(constraints=[AtMost(ut.losses.Squared(), 0.01)]), "regularizer"),
        (lambda: ut.algorithms.Fit(constraints=[AtMost(ut.constraints.Total(), 1.0)], descent=ut.algorithms.LBFGS()), "Adam"),
        (lambda: ut.algorithms.Fit(constraints=AtMost(ut.constraints.Total(), 1.0)), "expected a list"),
        (lambda: ut.algorithms.Fit(constraints=[ut.losses.TV()]), "no constraint"),
        (lambda: AtMost(ut.losses.Squared(), -0.01), "limit"),
        (lambda: AtMost(ut.losses.TV(), 0.01), "expected a loss"),
        (lambda: AtMost(ut.constraints.Total(), 1.0, penalty=0.0), "penalty"),
        (lambda: ut.constraints.Volume(0.0), "level"),
    ],
)
def test_what_cannot_be_met_is_refused_when_it_is_written(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_sum_that_no_magnitude_allows_is_refused_before_the_first_step():
    p, _ = picture()
    fit = ut.algorithms.Fit(
        ut.priors.Untrained(SMALL), constraints=[Equal(ut.constraints.Total(), 1000.0), AtMost(ut.constraints.Magnitude(), 0.5)]
    )
    with pytest.raises(InputError, match="contradict.*sum up to 0 to 180"):
        last(p, 2 * fit, blank(p))
