"""Fields made of modes and of a spectrum: Zernike polynomials, smooth random fields."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.errors import InputError
from untwin.model.priors.base import Parts
from untwin.model.priors.field import RandomField
from untwin.model.priors.zernike import Zernike, orders, zernike
from untwin.runs.names import parse


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_order_of_the_modes_is_that_of_noll():
    assert orders(11) == [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0)]
    assert orders(36)[-2:] == [(7, -7), (7, 7)] and orders(22)[-1] == (6, 0)


def test_modes_are_orthonormal_on_the_disk():
    n, modes = 400, 21
    z = zernike((n, n), modes)
    i = (np.arange(n) - (n - 1) / 2) * 2 / n
    inside = z[:, np.hypot(i[:, None], i[None]) <= 1]
    assert np.abs(inside @ inside.T / inside.shape[1] - np.eye(modes)).max() < 0.02


def test_modes_have_the_formulas_of_the_textbook():
    n = 9
    y, x = (np.arange(n)[:, None] - 4.0) * 2 / n, (np.arange(n)[None] - 4.0) * 2 / n
    r2 = x**2 + y**2
    z = zernike((n, n), 11)
    book = {2: 2 * x + 0 * y, 3: 2 * y + 0 * x, 4: 3**0.5 * (2 * r2 - 1), 5: 6**0.5 * 2 * x * y, 8: 8**0.5 * (3 * r2 - 2) * x}
    book[11] = 5**0.5 * (6 * r2**2 - 6 * r2 + 1)
    for j, formula in book.items():
        np.testing.assert_allclose(z[j - 1], formula, atol=1e-12)


def test_later_modes_are_those_of_a_longer_list():
    assert np.array_equal(zernike((12, 10), 4, first=7), zernike((12, 10), 10)[6:])


def test_a_wavefront_is_the_sum_of_its_modes():
    prior = Zernike(5, first=4)
    c = torch.tensor([[0.1, 0.0, -0.3, 0.0, 2.0]])
    values = prior.values(Parts({"coefficients": c}, {}), (16, 16), 1)
    expected = np.tensordot(c.numpy(), zernike((16, 16), 5, 4), 1)
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("grid", [(16, 16), (15, 18)], ids=str)
def test_a_smooth_field_has_the_spectrum_that_it_promises(grid):
    prior = RandomField(order=2, corner=0.1)
    u = torch.randn((1, *grid), generator=dice())
    values = prior.values(Parts({"white": u}, {}), grid, 1)
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in grid), indexing="ij"))
    expected = np.fft.ifft2(np.fft.fft2(u[0].numpy()) / (1 + (f / 0.1) ** 2)).real
    np.testing.assert_allclose(values[0].numpy(), expected, atol=1e-5)


def test_there_is_nothing_on_the_margin():
    free, cut = (RandomField(margin=m).values(Parts({"white": torch.randn(1, 12, 14, generator=dice())}, {}), (12, 14), 1) for m in (0, 3))
    assert torch.equal(cut[:, 3:-3, 3:-3], free[:, 3:-3, 3:-3])
    assert float(cut.abs().sum()) == pytest.approx(float(cut[:, 3:-3, 3:-3].abs().sum()))


@pytest.mark.parametrize("prior", [Zernike(4), RandomField()], ids=repr)
def test_a_fit_begins_almost_flat_and_starts_differ_as_asked(prior):
    flat = prior.begin((8, 8), 1, dice())
    assert 0 < float(prior.image(flat, (8, 8), 1).abs().max()) < 0.2
    a, b = (type(prior)(spread=0.3).begin((8, 8), 1, dice(s)) for s in (1, 2))
    assert all(not torch.equal(a.trained[n], b.trained[n]) for n in a.trained)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Zernike(0), "modes"),
        (lambda: Zernike(first=0), "first"),
        (lambda: RandomField(corner=0.0), "corner"),
        (lambda: RandomField(margin=-1), "margin"),
        (lambda: RandomField(margin=4).check((8, 12)), "margin=2"),
        (lambda: Zernike().check((8, 8, 8)), "two axes"),
    ],
)
def test_settings_out_of_range_are_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize("prior", ["Zernike(modes=5)", "RandomField(order=2.0, margin=2)"])
def test_a_recipe_with_them_is_read_back(prior):
    recipe = parse(f"3*Fit(Polar(Uniform(), {prior}, vector=False), LBFGS())")
    assert parse(repr(recipe)) == recipe


def test_a_picture_of_few_modes_is_fitted_to_the_last_digit():
    truth = torch.from_numpy(zernike((24, 24), 8, 2)[[2, 5]].sum(0)).float()
    problem = ut.Picture(0.2 * truth[None], ut.physics.Identity())
    begun = ut.State.of(torch.zeros(1, *problem.shape), seeds=(0,))
    *_, state = ut.iterate(problem, parse("20*Fit(Zernike(8), LBFGS())"), begun)
    assert float((state.image[0, 0] - 0.2 * truth).abs().max()) < 1e-3


def test_a_line_search_goes_on_when_the_loss_becomes_another_one():
    """The first loss is far below the second, so that no step would seem to go down from what is remembered of it."""
    truth = torch.from_numpy(zernike((24, 24), 8, 2)[[2, 5]].sum(0)).float()
    problem = ut.Picture(0.2 * truth[None], ut.physics.Identity())
    begun = ut.State.of(torch.zeros(1, *problem.shape), seeds=(0,))
    states = list(ut.iterate(problem, parse("20*Fit(Zernike(8), LBFGS(), loss=Squared(), later=Absolute(), after=1)"), begun))
    first, last = (float((s.image[0, 0] - 0.2 * truth).abs().mean()) for s in (states[1], states[-1]))
    assert last < 0.1 * first
